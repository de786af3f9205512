"""Properties of every pod, also odd ones: parts of several injectors, doubled names, nulls, values of wrong types."""

import os
import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import orjson
from hypothesis import event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from model_contract.quantity import Quantity
from testbed.api_server import apply_answer, patch_of, review_of
from testbed.generated_pods import damaged, damages, generated_pods
from testbed.pod_parts import DOMAIN, GIVEN, LABELS, LOCAL_VOLUMES, MODEL, OUR_MOUNT, PROJECT_ID, RESOURCES
from webhook.admission import admit, decide
from webhook.reasons import Outcome, Reason
from webhook.settings import PREFIX, Settings

# In CI as many as find something; a number of its own for a long run.
# A fault of one pod in 500 is found by 1,500 in 95 runs of 100: 1 - 0.998 ** 1500.
EXAMPLES = int(os.environ.get("MODEL_API_TEST_PODS", "1500" if os.environ.get("CI") == "true" else "500"))
MODEL_PATHS = r"/artifacts/mlflow/[^/]+/[^/]+/artifacts/model"
OUR_VOLUMES = {"mlflow-model", "mlflow-token", "mlflow-ca", "mlflow-tmp"}
MODEL_DIRECTORIES = {"manifest", "models"}  # of an image
NO_TARGETS = {
    *("mlflow-model-init", "mlflow-init", "istio-proxy", "istio-init", "istio-validation"),
    *("linkerd-proxy", "linkerd-init", "linkerd-network-validator", "kuma-init", "kuma-sidecar", "kuma-validation"),
    *("consul-connect-inject-init", "consul-dataplane"),
}

SETTINGS = [
    Settings.from_mapping({PREFIX + key: value for key, value in values.items()})
    for values in (
        {},
        {"ENV_FROM": "inject", "CA_CONFIG_MAP": "ca", "HTTPS_PROXY": "http://proxy:3128"},
        {"TOKEN": "none", "ENV_FROM": "ignore", "SET_ARTIFACTS_PATH_ENV": "true", "IMAGE_PULL_SECRETS": "acme,mirror"},
        {"STORE": "ephemeral-claim", "RUN_AS_USER": "12574", "FETCH_DEADLINE": "10m"},
        {"DELIVERY": "volume", "CLAIM": "models", "CLAIM_PREFIX": "a/b", "SET_ARTIFACTS_PATH_ENV": "true"},
        {"DELIVERY": "image", "MODEL_IMAGE": "registry.example/models/{project_id}:{run_id}"},
        {"DELIVERY": "image", "MODEL_IMAGE": "registry.example/{project_id}/models", "ENV_FROM": "inject"},
        {"TOKEN": "service-account", "ENV_FROM": "inject"},
    )
]


def owned(operation: dict[str, Any], pod: dict[str, Any]) -> bool:
    """Return True if the operation adds a part of the webhook, and nothing else."""
    path, value = operation["path"], operation["value"]
    values = value if isinstance(value, list) else [value]
    if path == "/metadata/annotations":
        return set(value) <= {f"{DOMAIN}/status", LOCAL_VOLUMES}
    if path == f"/metadata/annotations/{DOMAIN}~1status":
        return isinstance(value, str)
    if path == f"/metadata/annotations/{LOCAL_VOLUMES.replace('/', '~1')}":
        written = pod["metadata"]["annotations"].get(LOCAL_VOLUMES) or ""
        return value.startswith(written) and {*value.removeprefix(written).strip(",").split(",")} <= OUR_VOLUMES
    if re.fullmatch(r"/spec/volumes(/-)?", path):
        return {volume["name"] for volume in values} <= OUR_VOLUMES
    if re.fullmatch(r"/spec/initContainers(/\d+)?", path):
        return [container["name"] for container in values] == ["mlflow-model-init"]
    if re.fullmatch(r"/spec/initContainers/\d+/securityContext/runAsUser", path):
        return isinstance(value, int)
    if re.fullmatch(r"/spec/initContainers/\d+/env/-", path) and value["name"] == "MODEL_API_PROJECT_ID":
        return set(value) == {"name", "valueFrom"}
    if re.fullmatch(r"/spec/(containers|initContainers)/\d+/volumeMounts(/-)?", path):
        return len(values) <= (2 if MODEL_DIRECTORIES & {one.get("subPath") for one in values} else 1) and all(
            one["readOnly"] is True and one["mountPath"].startswith("/artifacts/mlflow") for one in values
        )
    if re.fullmatch(r"/spec/(containers|initContainers)/\d+/env(/-)?", path):
        value = values[0]
        return value["name"] == "MLFLOW_ARTIFACTS_PATH" and re.fullmatch(MODEL_PATHS, value["value"]) is not None
    return re.fullmatch(r"/spec/imagePullSecrets(/-)?", path) is not None and {"acme", "mirror"} >= {
        entry["name"] for entry in values
    }


@hypothesis_settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(generated_pods, damages, st.sampled_from(SETTINGS))
def test_any_pod_gets_an_answer_that_only_adds_parts_of_the_webhook_and_once(
    pod: dict[str, Any], replacements: list[tuple[int, Any]], settings: Settings
) -> None:
    pod = damaged(pod, replacements)
    before = orjson.dumps(pod)

    answer = admit(review_of(pod), settings)
    again = admit(review_of(orjson.loads(before)), settings)

    assert orjson.dumps(pod) == before
    assert orjson.dumps(answer) == orjson.dumps(again)
    assert [operation for operation in patch_of(answer) if operation["op"] != "add" or not owned(operation, pod)] == []
    assert all(len(warning) <= 120 for warning in answer["response"].get("warnings", []))
    admitted = apply_answer(pod, answer)
    once_more = decide(review_of(admitted), settings)
    assert once_more.operations == ()
    assert (once_more.outcome is Outcome.DENIED) is (not answer["response"]["allowed"])


@hypothesis_settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(generated_pods, st.sampled_from(SETTINGS))
def test_admitted_pod_holds_the_webhooks_parts_as_it_writes_them_and_the_policy_lets_it_pass(
    pod: dict[str, Any], settings: Settings
) -> None:
    decision = decide(review_of(pod), settings)
    event(decision.reason.value)
    if not decision.allowed or decision.reason is Reason.MALFORMED_POD:
        return
    admitted = apply_answer(pod, admit(review_of(pod), settings))

    assert bare_targets(admitted) == []
    assert foreign_targets(admitted) == []
    if decision.reason in {Reason.INJECTED, Reason.ALREADY_INJECTED}:
        assert_holds_our_parts(admitted, settings, decision.warnings)


def assert_holds_our_parts(pod: dict[str, Any], settings: Settings, warnings: Sequence[str]) -> None:
    spec = pod["spec"]
    if settings.delivery == "image":
        assert_image_is_mounted(spec)
        return
    ours = next(one for one in spec["initContainers"] if one["name"] == "mlflow-model-init")
    others = [one for one in all_containers(spec) if one is not ours]

    assert faults_of(ours, settings) == []
    assert "mlflow-model-init" not in [one["name"] for one in others]
    assert pod["metadata"]["annotations"][f"{DOMAIN}/status"] == "injected"
    if settings.token == "pull" and settings.delivery == "fetch":
        assert [one["name"] for one in others if "mlflow-token" in str(one)] == []
        assert str(spec).count("mlflow-pull-") == 1
    if settings.delivery == "fetch" and settings.store == "empty-dir":
        assert_fits(spec, ours, " ".join(warnings))
    for index, one in enumerate(spec["initContainers"]):
        if sees_the_model(one):
            assert index > spec["initContainers"].index(ours)
    assert not says_windows(spec)


def assert_image_is_mounted(spec: dict[str, Any]) -> None:
    """Check that the model's image is in the project's repository, and that a container has both parts of it."""
    images = [one["image"]["reference"] for one in spec["volumes"] if one["name"] == "mlflow-model" and "image" in one]
    assert images
    assert [one for one in images if PROJECT_ID not in re.split(r"[/:@]", one)] == []
    parts = [
        {mount.get("subPath") for mount in one.get("volumeMounts") or [] if mount["name"] == "mlflow-model"}
        for one in all_containers(spec)
    ]
    assert any(found >= MODEL_DIRECTORIES for found in parts)


def foreign_targets(pod: dict[str, Any]) -> list[str]:
    """The targets for which the policy denies the pod, since they mount another project's image."""
    labels, spec = pod["metadata"].get("labels") or {}, pod["spec"]
    if (pod["metadata"].get("annotations") or {}).get(f"{DOMAIN}/status", "").startswith("skipped:"):
        return []
    project = "/" + (labels.get("dominodatalab.com/project-id") or "/")
    foreign = {
        volume["name"]
        for volume in spec.get("volumes") or []
        if (reference := (volume.get("image") or {}).get("reference"))
        and not re.search(f"{re.escape(project)}(/|:|$)", reference.partition("@")[0])
    }
    return [
        one["name"]
        for one in all_containers(spec)
        for mount in one.get("volumeMounts") or []
        if one["name"] not in NO_TARGETS
        and names_a_model(one)
        and mount["name"] in foreign
        and f"{mount['mountPath']}/".startswith("/artifacts/mlflow/")
    ]


def bare_targets(pod: dict[str, Any]) -> list[str]:
    """The containers for which the ValidatingAdmissionPolicy denies the pod."""
    annotations = pod["metadata"].get("annotations") or {}
    if annotations.get(f"{DOMAIN}/status", "").startswith("skipped:"):
        return []
    chosen = [name.strip() for name in annotations.get(f"{DOMAIN}/containers", "").split(",") if name.strip()]
    spec = pod["spec"]
    candidates = [
        *spec["containers"],
        *(one for one in spec.get("initContainers") or [] if one["name"] not in NO_TARGETS),
    ]
    targets = [one for one in candidates if (not chosen or one["name"] in chosen) and names_a_model(one)]
    return [one["name"] for one in targets if not sees_the_model(one)]


def names_a_model(container: dict[str, Any]) -> bool:
    entries = container.get("env") or []
    last = {entry["name"]: entry for entry in entries}
    filled = {name for name, entry in last.items() if entry.get("value") or entry.get("valueFrom")}
    return filled >= MODEL.keys() and "MLFLOW_ARTIFACTS_PATH" not in [entry["name"] for entry in entries]


def sees_the_model(container: dict[str, Any]) -> bool:
    return any(
        f"{mount['mountPath']}/".startswith("/artifacts/mlflow/") for mount in container.get("volumeMounts") or []
    )


def all_containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for field in ("containers", "initContainers", "ephemeralContainers") for one in spec.get(field) or []]


def faults_of(ours: dict[str, Any], settings: Settings) -> list[str]:
    """Return each change that makes the init container do something else, or gives it more rights."""
    security, env = ours["securityContext"], {entry["name"]: entry.get("value") for entry in ours["env"]}
    right = {
        "image": ours["image"].rpartition("/")[2] == "model-api-delivery:latest",
        "command": ours["command"] == ["model-api-delivery"],
        "args": ours["args"][0] == ("fetch" if settings.delivery == "fetch" else "verify"),
        "privileged": security["privileged"] is False and security["runAsNonRoot"] is True,
        "capabilities": security["capabilities"] == {"drop": ["ALL"]},
        "restartPolicy": ours.get("restartPolicy") is None,
        "envFrom": not ours.get("envFrom"),
        "tracking": env.get("MLFLOW_TRACKING_URI") == (settings.tracking_uri if settings.delivery == "fetch" else None),
        "loader": "LD_PRELOAD" not in env,
        "project": "MODEL_API_PROJECT_ID" in env,
    }
    return [name for name, holds in right.items() if not holds]


def assert_fits(spec: dict[str, Any], ours: dict[str, Any], warnings: str) -> None:
    """Check that the volume and `--max-bytes` agree and fit into the pod's limit, or that a warning has both sizes."""
    sizes = [
        one["emptyDir"]["sizeLimit"] for one in spec["volumes"] if one["name"] == "mlflow-model" and "emptyDir" in one
    ]
    size = next(
        argument.removeprefix("--max-bytes=") for argument in ours["args"] if argument.startswith("--max-bytes=")
    )
    assert size in sizes
    limit = 0
    for one in [*spec["containers"], *(one for one in spec["initContainers"] if one.get("restartPolicy") == "Always")]:
        written = ((one.get("resources") or {}).get("limits") or {}).get("ephemeral-storage")
        limit += Quantity.parse(written).bytes if written else 0
    if limit and limit < Quantity.parse(size).bytes:
        assert "ephemeral-storage limit is" in warnings
        assert f"may take {size}" in warnings


def says_windows(spec: dict[str, Any]) -> bool:
    """Return True if a field that decides the operating system says Windows, and none says Linux."""
    if name := (spec.get("os") or {}).get("name"):
        return name == "windows"
    selector, affinity = spec.get("nodeSelector") or {}, str(spec.get("affinity"))
    linux = selector.get("kubernetes.io/os") == "linux" or ("linux" in affinity and "windows" not in affinity)
    windows = "windows" in selector.values() or ("windows" in affinity and "linux" not in affinity)
    return (
        windows
        or "hostProcess" in str(spec)
        or (not linux and (spec.get("runtimeClassName") or "").startswith("windows"))
    )


def with_istio_cni(pod: dict[str, Any]) -> None:
    pod["spec"]["initContainers"].append({"name": "istio-validation"})
    pod["spec"]["containers"].append({"name": "istio-proxy", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}})


def with_istio_init_in_front(pod: dict[str, Any]) -> None:
    pod["spec"]["initContainers"].insert(0, {"name": "istio-init"})


def with_another_container_of_the_model(pod: dict[str, Any]) -> None:
    pod["spec"]["containers"].append({"name": f"late-{len(pod['spec']['containers'])}", "env": deepcopy(GIVEN)})


def with_mirrored_images(pod: dict[str, Any]) -> None:
    for container in [*pod["spec"]["containers"], *pod["spec"]["initContainers"]]:
        container |= {"image": f"mirror.example/cache/{container.get('image', 'wine:7')}", "imagePullPolicy": "Always"}


def with_service_account_tokens(pod: dict[str, Any]) -> None:
    pod["spec"].setdefault("volumes", []).append({"name": "kube-api-access", "projected": {"sources": []}})
    for container in [*pod["spec"]["containers"], *pod["spec"]["initContainers"]]:
        container.setdefault("volumeMounts", []).append(
            {"name": "kube-api-access", "mountPath": "/var/run/secrets/tokens", "readOnly": True}
        )


def with_defaulted_resources(pod: dict[str, Any]) -> None:
    for container in [*pod["spec"]["containers"], *pod["spec"]["initContainers"]]:
        container.setdefault("resources", {"requests": {"cpu": "50m"}})


def with_another_variable_everywhere(pod: dict[str, Any]) -> None:
    for container in [*pod["spec"]["containers"], *pod["spec"]["initContainers"]]:
        container.setdefault("env", []).append({"name": "CLUSTER", "value": "staging"})


def without_one_of_our_volumes(pod: dict[str, Any]) -> None:
    pod["spec"]["volumes"] = [volume for volume in pod["spec"]["volumes"] if volume["name"] != "mlflow-tmp"]


def without_our_mount(pod: dict[str, Any]) -> None:
    pod["spec"]["containers"][0]["volumeMounts"] = []


def without_our_init_container(pod: dict[str, Any]) -> None:
    pod["spec"]["initContainers"] = [one for one in pod["spec"]["initContainers"] if one["name"] != "mlflow-model-init"]


LATER_WEBHOOKS = [
    with_istio_cni,
    with_istio_init_in_front,
    with_another_container_of_the_model,
    with_mirrored_images,
    with_service_account_tokens,
    with_defaulted_resources,
    with_another_variable_everywhere,
    without_one_of_our_volumes,
    without_our_mount,
    without_our_init_container,
]


@hypothesis_settings(max_examples=EXAMPLES // 10, deadline=None, database=None)
@given(
    st.lists(st.sampled_from(LATER_WEBHOOKS), min_size=1, max_size=5),
    st.sampled_from(RESOURCES[:2]),
    st.sampled_from(SETTINGS[:3]),
)
def test_changes_of_later_webhooks_are_completed_and_never_denied(
    changes: list[Any], resources: Any, settings: Settings
) -> None:
    pod = {
        "metadata": {"labels": LABELS},
        "spec": {"containers": [{"name": "model", "env": deepcopy(GIVEN), "resources": resources}]},
    }
    admitted = apply_answer(pod, admit(review_of(pod), settings))
    for change in changes:
        change(admitted)

    settled = apply_answer(admitted, admit(review_of(admitted), settings))

    assert decide(review_of(admitted), settings).outcome in {Outcome.INJECTED, Outcome.UNCHANGED}
    assert decide(review_of(settled), settings).reason is Reason.ALREADY_INJECTED
    names = [container["name"] for container in settled["spec"]["initContainers"]]
    assert names.count("mlflow-model-init") == 1
    for container in settled["spec"]["containers"]:
        if any(entry in GIVEN for entry in container.get("env", [])):
            assert OUR_MOUNT in container["volumeMounts"]
