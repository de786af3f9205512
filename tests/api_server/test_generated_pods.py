"""Generated pods before a real API server: a patched pod is valid, and the policy agrees with the webhook."""

import os
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from model_contract.names import ENABLED_LABEL
from testbed.api_server import apply_answer, review_of
from testbed.cluster.control_plane import ControlPlane, control_plane
from testbed.generated_pods import generated_pods, well_formed
from testbed.pod_parts import GIVEN, LABELS, PROJECT_ID
from webhook.admission import admit, decide
from webhook.reasons import Outcome
from webhook.registration import policy
from webhook.settings import PREFIX, Settings

EXAMPLES: Final = int(os.environ.get("MODEL_API_TEST_PODS", "150"))
ENABLED: Final = "enabled"
PLAIN: Final = "default"
SETTINGS: Final = [
    Settings.from_mapping({PREFIX + key: value for key, value in values.items()})
    for values in (
        {},
        {"ENV_FROM": "inject", "CA_CONFIG_MAP": "ca", "SET_ARTIFACTS_PATH_ENV": "true"},
        {"STORE": "ephemeral-claim", "FETCH_DEADLINE": "10m", "IMAGE_PULL_SECRETS": "acme,mirror"},
        {"DELIVERY": "volume", "CLAIM": "models", "CLAIM_PREFIX": "a/b"},
        {"DELIVERY": "image", "MODEL_IMAGE": "registry.example/models/{project_id}:{run_id}"},
        {"TOKEN": "service-account"},
    )
]

each_pod = given(generated_pods.map(well_formed), st.sampled_from(SETTINGS))
often = hypothesis_settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with the policy, in force in the namespace `enabled` alone."""
    with control_plane(tmp_path_factory.mktemp("plane")) as started:
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": ENABLED, "labels": {ENABLED_LABEL: "true"}},
        }
        started.create("/api/v1/namespaces", namespace)
        for name in (ENABLED, PLAIN):
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            started.create(f"/api/v1/namespaces/{name}/serviceaccounts", account)
        rules, binding = policy("domino-platform")
        path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
        started.create(f"{path}ies", rules)
        started.create(f"{path}ybindings", binding)
        started.wait_for_refusal(BARE, ENABLED)
        yield started


BARE: Final = well_formed(
    {
        "metadata": {"labels": {"dominodatalab.com/workload-type": "ModelAPI"}},
        "spec": {
            "containers": [
                {
                    "name": "model",
                    "image": "wine",
                    "env": [
                        {"name": f"MLFLOW_{name}", "value": "1"}
                        for name in ("MODEL_NAME", "MODEL_OWNER", "MODEL_VERSION", "RUN_ID")
                    ],
                }
            ]
        },
    }
)


@often
@each_pod
def test_pod_that_the_webhook_admits_is_valid_if_it_was_valid_before(
    plane: ControlPlane, pod: dict[str, Any], settings: Settings
) -> None:
    refused = plane.refusal(pod, PLAIN)
    answer = admit(review_of(pod), settings)
    if not answer["response"]["allowed"]:
        return
    outcome = decide(review_of(pod), settings).outcome
    event(f"{outcome.value}, {'refused' if refused else 'accepted'} by the API server")
    admitted = apply_answer(pod, answer)

    assert (plane.refusal(admitted, PLAIN) is None) is (refused is None)


@often
@each_pod
def test_pod_with_the_defaults_of_the_api_server_is_not_changed_again(
    plane: ControlPlane, pod: dict[str, Any], settings: Settings
) -> None:
    answer = admit(review_of(pod), settings)
    admitted = apply_answer(pod, answer)
    if not answer["response"]["allowed"] or plane.refusal(admitted, PLAIN):
        return
    stored = plane.admitted(admitted, PLAIN)
    again = decide(review_of(stored), settings)

    assert again.operations == ()
    assert again.allowed


@often
@each_pod
def test_policy_passes_what_the_webhook_has_seen_and_denies_what_it_would_have_injected(
    plane: ControlPlane, pod: dict[str, Any], settings: Settings
) -> None:
    decision = decide(review_of(pod), settings)
    admitted = apply_answer(pod, admit(review_of(pod), settings))
    if not decision.allowed or plane.refusal(pod, PLAIN) or plane.refusal(admitted, PLAIN):
        return
    named = decision.model is not None and decision.outcome is Outcome.INJECTED
    event(f"{decision.outcome.value}{', by value' if named else ''}")

    assert plane.refusal(admitted, ENABLED) is None
    if named and "/artifacts/mlflow" not in str(pod["spec"]):
        assert "asks for an MLflow model and has none" in str(plane.refusal(pod, ENABLED))


@pytest.mark.parametrize(
    ("reference", "refused"),
    [
        (f"registry.example/models/{PROJECT_ID}:run", False),
        (f"registry.example:5000/{PROJECT_ID}/wine@sha256:{'0' * 64}", False),
        ("registry.example/models/another:run", True),
        (f"registry.example/models/{PROJECT_ID}0:run", True),
        (f"registry.example/models:{PROJECT_ID}", True),
        (f"{PROJECT_ID}/models:run", True),
    ],
)
def test_policy_keeps_a_model_api_from_the_image_of_another_project(
    plane: ControlPlane, reference: str, *, refused: bool
) -> None:
    """The webhook has not seen the pod, as when it is not available."""
    mount = {"name": "own", "mountPath": f"/artifacts/mlflow/jane.doe/{'0' * 32}", "readOnly": True}
    container = {"name": "model", "image": "wine", "env": GIVEN, "volumeMounts": [mount]}
    pod = well_formed({"metadata": {"labels": LABELS}, "spec": {"containers": [container]}})
    pod["spec"]["volumes"] = [{"name": "own", "image": {"reference": reference}}]

    said = plane.refusal(pod, ENABLED)

    assert (said is not None) is refused, said
    assert not refused or "mounts an image at its model that is not in a repository of the project" in str(said)


TOKEN_SECRET: Final = f"mlflow-pull-{PROJECT_ID}"


@pytest.mark.parametrize("settings", [SETTINGS[0], SETTINGS[-1]], ids=["a pull token", "a token of its account"])
@pytest.mark.parametrize(
    ("parts", "refused"),
    [
        ({"volumeMounts": [{"name": "mlflow-token", "mountPath": "/run/token"}]}, True),
        ({"env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": TOKEN_SECRET, "key": "token"}}}]}, True),
        ({"envFrom": [{"secretRef": {"name": TOKEN_SECRET}}]}, True),
        ({"volumeMounts": [{"name": "mlflow-model", "mountPath": "/model"}]}, False),
        ({}, False),
    ],
    ids=["by the volume", "by a variable", "by all variables", "the model", "nothing"],
)
def test_policy_keeps_the_token_from_an_ephemeral_container(
    plane: ControlPlane, parts: dict[str, Any], settings: Settings, *, refused: bool
) -> None:
    pod = well_formed(
        {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "model", "image": "wine", "env": GIVEN}]}}
    )
    pod["metadata"]["name"] = f"debugged-{len(str(parts))}-{settings.token}"
    stored = plane.create(f"/api/v1/namespaces/{ENABLED}/pods", apply_answer(pod, admit(review_of(pod), settings)))
    stored["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "busybox", **parts}]
    path = f"/api/v1/namespaces/{ENABLED}/pods/{pod['metadata']['name']}/ephemeralcontainers"
    answer = plane.client.put(path, params={"dryRun": "All"}, json=stored)

    assert answer.is_success is not refused
    assert ("the project's token is for mlflow-model-init alone" in answer.text) is refused
