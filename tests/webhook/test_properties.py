"""What holds for every pod, however odd: parts of several injectors, doubled names, nulls, and things of the wrong type."""

import os
import re
from copy import deepcopy
from typing import Any

import orjson
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from testbed.api_server import apply_answer, patch_of, review_of
from webhook.admission import admit, decide
from webhook.reasons import Outcome, Reason
from webhook.settings import PREFIX, Settings

EXAMPLES = 10_000 if os.environ.get("CI") == "true" else 500
RUN = "5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5"
MODEL = {"MLFLOW_MODEL_NAME": "wine", "MLFLOW_MODEL_OWNER": "jane.doe", "MLFLOW_MODEL_VERSION": "2", "MLFLOW_RUN_ID": RUN}
MODEL_PATH = f"/artifacts/mlflow/jane.doe/{RUN}/artifacts/model"
MODEL_PATHS = r"/artifacts/mlflow/[^/]+/[^/]+/artifacts/model"
DOMAIN = "model-api.dominodatalab.com"
OUR_VOLUMES = {"mlflow-model", "mlflow-token", "mlflow-ca", "mlflow-tmp"}

SETTINGS = [
    Settings.from_mapping({PREFIX + key: value for key, value in values.items()})
    for values in (
        {},
        {"ENV_FROM": "inject", "CA_CONFIG_MAP": "ca", "HTTPS_PROXY": "http://proxy:3128"},
        {"TOKEN": "none", "ENV_FROM": "ignore", "SET_ARTIFACTS_PATH_ENV": "true", "IMAGE_PULL_SECRETS": "acme,mirror"},
        {"STORE": "ephemeral-claim", "RUN_AS_USER": "12574"},
        {"DELIVERY": "volume", "CLAIM": "models", "CLAIM_PREFIX": "a/b", "SET_ARTIFACTS_PATH_ENV": "true"},
    )
]
GIVEN = [{"name": name, "value": value} for name, value in MODEL.items()]
ENTRIES = [
    *GIVEN,
    *({"name": name, "value": ""} for name in MODEL),
    *({"name": name, "valueFrom": {"secretKeyRef": {"name": "s", "key": name}}} for name in MODEL),
    {"name": "MLFLOW_MODEL_OWNER", "value": "../x"},
    {"name": "MLFLOW_MODEL_NAME", "value": "$(MLFLOW_RUN_ID)$$(A) -ü"},
    {"name": "MLFLOW_MODEL_VERSION", "value": "3"},
    {"name": "MLFLOW_RUN_ID", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
    {"name": "MLFLOW_RUN_ID", "value": "$(A)$(A)"},
    {"name": "A", "value": "$(A)$(A)a"},
    {"name": "MLFLOW_ARTIFACTS_PATH", "value": MODEL_PATH},
    {"name": "MLFLOW_ARTIFACTS_PATH", "value": "/mnt"},
]
OUR_MOUNT = {"name": "mlflow-model", "mountPath": MODEL_PATH, "subPath": f"jane.doe/{RUN}/artifacts/model", "readOnly": True}
MOUNTS = [
    OUR_MOUNT,
    {"name": "mlflow-model", "mountPath": "/artifacts/mlflow", "readOnly": True},
    {"name": "data", "mountPath": MODEL_PATH},
    {"name": "data", "mountPath": "//artifacts/", "readOnly": True},
    {"name": "data", "mountPath": MODEL_PATH + "/data"},
    {"name": "data", "mountPath": "/data"},
    {"name": "domsed", "mountPath": "/artifacts/mlflow"},
]
ENV_FROM = [
    {"secretRef": {"name": "s"}},
    {"prefix": "MLFLOW_", "configMapRef": {"name": "c"}},
    {"prefix": "X_", "secretRef": {"name": "x"}},
]
RESOURCES = [
    None,
    {"limits": {"cpu": "1", "memory": "1Gi"}},
    {"limits": {"cpu": 0.5, "memory": 1e9}, "requests": {"cpu": "100m"}},
    {"requests": {"memory": "0", "nvidia.com/gpu": 1}},
]
VOLUMES = [
    {"name": "mlflow-model", "emptyDir": {"sizeLimit": "20Gi"}},
    {"name": "mlflow-model", "hostPath": {"path": "/"}},
    {"name": "mlflow-tmp", "emptyDir": {"sizeLimit": "65536Ki"}},
    {"name": "shared", "persistentVolumeClaim": {"claimName": "models"}},
    {"name": "mlflow-model", "persistentVolumeClaim": {"claimName": "models"}},
    {"name": "data", "emptyDir": {}},
]
INIT_CONTAINERS = [
    {"name": "istio-init"},
    {"name": "linkerd-init"},
    {"name": "istio-proxy", "restartPolicy": "Always", "securityContext": {"runAsUser": 1337}},
    {"name": "istio-validation"},
    {"name": "linkerd-network-validator", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
    {"name": "mlflow-init", "volumeMounts": [{"name": "domsed", "mountPath": "/download"}]},
    {"name": "mlflow-model-init", "image": "mine"},
    {"name": "warm-up"},
]
LABELS = {"dominodatalab.com/workload-type": "ModelAPI", "dominodatalab.com/project-id": "66c0a1b2c3d4e5f601234567"}
ANNOTATIONS = [
    {f"{DOMAIN}/inject": "true"},
    {f"{DOMAIN}/containers": "model"},
    {f"{DOMAIN}/cpu-limit": "64", f"{DOMAIN}/memory-limit": "1Ti"},
    {f"{DOMAIN}/status": "injected"},
    {"sidecar.istio.io/status": "{}", "sidecar.istio.io/interceptionMode": "REDIRECT"},
]
JUNK = [None, 0, 1.5, True, "", "x", "\U0001f377", "../x", [], {}, [None], [[]], ["name"], {"name": None}, [{}], {"limits": "all"}]


def some(items: list[Any], *, at_most: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(items), max_size=at_most)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


containers = st.fixed_dictionaries(
    {"name": st.sampled_from(["model", "model", "sidecar", "istio-proxy"]), "env": st.one_of(st.just(GIVEN), some(ENTRIES, at_most=7))},
    optional={
        "envFrom": maybe(some(ENV_FROM, at_most=2)),
        "volumeMounts": maybe(some(MOUNTS, at_most=2)),
        "resources": st.sampled_from(RESOURCES),
    },
)
pods = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({"labels": st.just(LABELS)}, optional={"annotations": maybe(st.sampled_from(ANNOTATIONS))}),
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(containers, min_size=1, max_size=3)},
            optional={
                "initContainers": maybe(some(INIT_CONTAINERS, at_most=3)),
                "volumes": maybe(some(VOLUMES, at_most=3)),
                "imagePullSecrets": maybe(st.just([{"name": "acme"}])),
                "securityContext": st.sampled_from([None, {"runAsUser": 0}, {"fsGroup": 1}]),
                "resources": st.sampled_from(RESOURCES),
            },
        ),
    }
)
# Where, counted over all places of the pod, something is replaced by junk; most pods stay whole, or nothing but B21 would be tried.
damages = st.lists(st.tuples(st.integers(0, 400), st.sampled_from(JUNK)), max_size=2)


def damaged(pod: dict[str, Any], replacements: list[tuple[int, Any]]) -> dict[str, Any]:
    pod = deepcopy(pod)
    for number, junk in replacements:
        places = list(all_places(pod))
        if number < len(places):
            parent, key = places[number]
            parent[key] = deepcopy(junk)
    return pod


def all_places(value: Any) -> Any:
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()):
        yield value, key
        yield from all_places(inner)


def owned(operation: dict[str, Any]) -> bool:
    """Whether an operation adds something of ours, and nothing else."""
    path, value = operation["path"], operation["value"]
    values = value if isinstance(value, list) else [value]
    if path == "/metadata/annotations":
        return set(value) == {f"{DOMAIN}/status"}
    if path == f"/metadata/annotations/{DOMAIN}~1status":
        return isinstance(value, str)
    if re.fullmatch(r"/spec/volumes(/-)?", path):
        return {volume["name"] for volume in values} <= OUR_VOLUMES
    if re.fullmatch(r"/spec/initContainers(/\d+)?", path):
        return [container["name"] for container in values] == ["mlflow-model-init"]
    if re.fullmatch(r"/spec/initContainers/\d+/securityContext/runAsUser", path):
        return isinstance(value, int)
    if re.fullmatch(r"/spec/containers/\d+/volumeMounts(/-)?", path):
        return len(values) == 1 and values[0]["readOnly"] is True and values[0]["mountPath"].startswith("/artifacts/mlflow")
    if re.fullmatch(r"/spec/containers/\d+/env/-", path):
        return value["name"] == "MLFLOW_ARTIFACTS_PATH" and re.fullmatch(MODEL_PATHS, value["value"]) is not None
    return re.fullmatch(r"/spec/imagePullSecrets(/-)?", path) is not None and {"acme", "mirror"} >= {entry["name"] for entry in values}


@hypothesis_settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(pods, damages, st.sampled_from(SETTINGS))
def test_any_pod_gets_an_answer_that_only_adds_what_is_ours_and_once(
    pod: dict[str, Any], replacements: list[tuple[int, Any]], settings: Settings
) -> None:
    pod = damaged(pod, replacements)
    before = orjson.dumps(pod)

    answer = admit(review_of(pod), settings)
    again = admit(review_of(orjson.loads(before)), settings)

    assert orjson.dumps(pod) == before
    assert orjson.dumps(answer) == orjson.dumps(again)
    assert [operation for operation in patch_of(answer) if operation["op"] != "add" or not owned(operation)] == []
    assert all(len(warning) <= 120 for warning in answer["response"].get("warnings", []))
    admitted = apply_answer(pod, answer)
    once_more = decide(review_of(admitted), settings)
    assert once_more.operations == ()
    assert (once_more.outcome is Outcome.DENIED) is (not answer["response"]["allowed"])


def with_istio_cni(pod: dict[str, Any]) -> None:
    pod["spec"]["initContainers"].append({"name": "istio-validation"})
    pod["spec"]["containers"].append({"name": "istio-proxy", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}})


def with_istio_init_in_front(pod: dict[str, Any]) -> None:
    pod["spec"]["initContainers"].insert(0, {"name": "istio-init"})


def with_another_container_of_the_model(pod: dict[str, Any]) -> None:
    pod["spec"]["containers"].append({"name": f"late-{len(pod['spec']['containers'])}", "env": deepcopy(GIVEN)})


def with_mirrored_images(pod: dict[str, Any]) -> None:
    for container in [*pod["spec"]["containers"], *pod["spec"]["initContainers"]]:
        container |= {"image": "mirror.example/image", "imagePullPolicy": "Always"}


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
@given(st.lists(st.sampled_from(LATER_WEBHOOKS), min_size=1, max_size=5), st.sampled_from(RESOURCES[:2]), st.sampled_from(SETTINGS[:3]))
def test_what_later_webhooks_change_is_completed_and_never_denied(changes: list[Any], resources: Any, settings: Settings) -> None:
    pod = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "model", "env": deepcopy(GIVEN), "resources": resources}]}}
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
