"""Parts of generated pods: containers, variables, mounts and annotations of ours and of others, and wrong values."""

from typing import Any, Final

RUN: Final = "5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5"
MODEL: Final = {
    "MLFLOW_MODEL_NAME": "wine",
    "MLFLOW_MODEL_OWNER": "jane.doe",
    "MLFLOW_MODEL_VERSION": "2",
    "MLFLOW_RUN_ID": RUN,
}
MODEL_PATH: Final = f"/artifacts/mlflow/jane.doe/{RUN}/artifacts/model"
DOMAIN: Final = "model-api.dominodatalab.com"
PROJECT_ID: Final = "66c0a1b2c3d4e5f601234567"
LABELS: Final = {"dominodatalab.com/workload-type": "ModelAPI", "dominodatalab.com/project-id": PROJECT_ID}
OUR_VOLUMES: Final = frozenset({"mlflow-model", "mlflow-token", "mlflow-ca", "mlflow-tmp"})
LOCAL_VOLUMES: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"

GIVEN: Final = [{"name": name, "value": value} for name, value in MODEL.items()]
ENTRIES: Final[list[Any]] = [
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
TOKENS: Final = [
    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": f"mlflow-pull-{PROJECT_ID}", "key": "token"}}},
    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "mlflow-pull-another", "key": "token"}}},
]
OUR_MOUNT: Final = {
    "name": "mlflow-model",
    "mountPath": MODEL_PATH,
    "subPath": f"jane.doe/{RUN}/artifacts/model",
    "readOnly": True,
}
IMAGE: Final = f"registry.example/models/{PROJECT_ID}"
PINNED: Final = f"{IMAGE}@sha256:{'3f' * 32}"
OUR_IMAGE_MOUNTS: Final = [
    {"name": "mlflow-model", "mountPath": f"/artifacts/mlflow/jane.doe/{RUN}", "subPath": "manifest", "readOnly": True},
    {"name": "mlflow-model", "mountPath": MODEL_PATH, "subPath": "models", "readOnly": True},
]
MOUNTS: Final[list[Any]] = [
    OUR_MOUNT,
    *OUR_IMAGE_MOUNTS,
    OUR_MOUNT | {"readOnly": False},
    {"name": "mlflow-model", "mountPath": "/artifacts/mlflow", "readOnly": True},
    {"name": "mlflow-token", "mountPath": "/run/token", "readOnly": True},
    {"name": "data", "mountPath": MODEL_PATH},
    {"name": "data", "mountPath": "//artifacts/", "readOnly": True},
    {"name": "data", "mountPath": MODEL_PATH + "/data"},
    {"name": "data", "mountPath": "/data"},
    {"name": "domsed", "mountPath": "/artifacts/mlflow"},
]
ENV_FROM: Final = [
    {"secretRef": {"name": "s"}},
    {"prefix": "MLFLOW_", "configMapRef": {"name": "c"}},
    {"prefix": "X_", "secretRef": {"name": "x"}},
]
RESOURCES: Final[list[Any]] = [
    None,
    {"limits": {"cpu": "1", "memory": "1Gi"}},
    {"limits": {"cpu": 0.5, "memory": 1e9}, "requests": {"cpu": "100m"}},
    {"requests": {"memory": "0", "nvidia.com/gpu": 1}},
    {"limits": {"ephemeral-storage": "2Gi"}},
    {"limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "50Gi"}},
    {"limits": {"ephemeral-storage": "1M"}, "requests": {"ephemeral-storage": "1k"}},
]
VOLUMES: Final = [
    {"name": "mlflow-model", "emptyDir": {"sizeLimit": "20Gi"}},
    {"name": "mlflow-model", "emptyDir": {"sizeLimit": "1Gi"}},
    {"name": "mlflow-model", "emptyDir": {"sizeLimit": "1Ti"}},
    {"name": "mlflow-model", "hostPath": {"path": "/"}},
    {"name": "mlflow-token", "secret": {"secretName": "mine"}},
    {"name": "mlflow-tmp", "emptyDir": {"sizeLimit": "65536Ki"}},
    {"name": "mlflow-model", "image": {"reference": f"{IMAGE}:{RUN}", "pullPolicy": "IfNotPresent"}},
    {"name": "mlflow-model", "image": {"reference": PINNED}},
    {"name": "mlflow-model", "image": {"reference": f"registry.example/models/other:{RUN}"}},
    {"name": "shared", "persistentVolumeClaim": {"claimName": "models"}},
    {"name": "mlflow-model", "persistentVolumeClaim": {"claimName": "models"}},
    {"name": "pull", "secret": {"secretName": "mlflow-pull-another"}},
    {"name": "pull", "projected": {"sources": [{"secret": {"name": f"mlflow-pull-{PROJECT_ID}"}}]}},
    {"name": "data", "emptyDir": {}},
]
OURS: Final = {
    "name": "mlflow-model-init",
    "image": "model-api-delivery:latest",
    "command": ["model-api-delivery"],
    "args": [
        "fetch",
        "--store=/store",
        f"--run-id={RUN}",
        "--owner=jane.doe",
        "--model=wine",
        "--version=2",
        "--max-bytes=20Gi",
    ],
    "env": [
        {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow.mlflow-efs.svc:5000"},
        {"name": "MODEL_API_TOKEN_FILE", "value": "/run/model-api/token"},
        {"name": "TMPDIR", "value": "/tmp"},  # noqa: S108  a volume of the container's own
        {"name": "HOME", "value": "/tmp"},  # noqa: S108  as above
    ],
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "volumeMounts": [
        {"name": "mlflow-model", "mountPath": "/store"},
        {"name": "mlflow-token", "mountPath": "/run/model-api", "readOnly": True},
        {"name": "mlflow-tmp", "mountPath": "/tmp"},  # noqa: S108  as above
        {
            "name": "mlflow-tmp",
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            "subPath": "none",
            "readOnly": True,
        },
    ],
}
# Our init container as somebody else changed it, each in one thing.
CHANGED_OURS: Final = [
    OURS,
    OURS | {"image": "evil.example/x:1"},
    OURS | {"image": "mirror.example/cache/model-api-delivery:latest"},
    OURS | {"securityContext": OURS["securityContext"] | {"privileged": True}},  # type: ignore[operator]
    OURS | {"securityContext": OURS["securityContext"] | {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}},  # type: ignore[operator]
    OURS | {"securityContext": OURS["securityContext"] | {"runAsUser": 1000660000}},  # type: ignore[operator]
    OURS | {"restartPolicy": "Always"},
    OURS | {"envFrom": [{"configMapRef": {"name": "c"}}]},
    OURS | {"env": [*OURS["env"], {"name": "MLFLOW_TRACKING_URI", "value": "http://evil.example"}]},
    OURS | {"env": [*OURS["env"], {"name": "LD_PRELOAD", "value": "/data/x.so"}]},
    OURS | {"env": [*OURS["env"], {"name": "CLUSTER", "value": "staging"}]},
    OURS | {"resources": {"limits": {"cpu": "2", "memory": "2Gi"}}},
]
INIT_CONTAINERS: Final[list[Any]] = [
    {"name": "istio-init", "image": "istio"},
    {"name": "istio-init", "image": "istio", "env": GIVEN},
    {"name": "linkerd-init", "image": "linkerd"},
    {"name": "istio-proxy", "image": "istio", "restartPolicy": "Always", "securityContext": {"runAsUser": 1337}},
    {
        "name": "linkerd-proxy",
        "image": "linkerd",
        "restartPolicy": "Always",
        "resources": {"requests": {"cpu": "970m", "memory": "1000Mi"}},
    },
    {"name": "istio-validation", "image": "istio"},
    {"name": "linkerd-network-validator", "image": "linkerd", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
    {"name": "mlflow-init", "image": "domsed", "volumeMounts": [{"name": "domsed", "mountPath": "/download"}]},
    {"name": "mlflow-model-init", "image": "mine"},
    {"name": "warm-up", "image": "warm"},
    {"name": "warm-up", "image": "warm", "env": GIVEN},
    {"name": "warm-up", "image": "warm", "envFrom": ENV_FROM[:1]},
    {"name": "warm-up", "image": "warm", "env": GIVEN, "volumeMounts": [MOUNTS[3]]},
    {
        "name": "cache",
        "image": "cache",
        "restartPolicy": "Always",
        "env": GIVEN,
        "resources": {"limits": {"ephemeral-storage": "1Gi"}},
    },
]
EPHEMERAL_CONTAINERS: Final = [
    {"name": "debug", "image": "busybox", "env": GIVEN},
    {"name": "debug", "image": "busybox", "volumeMounts": [MOUNTS[3]]},
    {"name": "mlflow-model-init", "image": "busybox"},
]
ANNOTATIONS: Final = [
    {f"{DOMAIN}/inject": "true"},
    {f"{DOMAIN}/inject": "False"},
    {f"{DOMAIN}/containers": "model"},
    {f"{DOMAIN}/containers": "model, warm-up"},
    {f"{DOMAIN}/cpu-limit": "64", f"{DOMAIN}/memory-limit": "1Ti"},
    {f"{DOMAIN}/memory-limits": "1Gi", f"{DOMAIN}/Deadline": "5m"},
    {f"{DOMAIN}/deadline": "30m", LOCAL_VOLUMES: "data"},
    {f"{DOMAIN}/deadline": "soon"},
    {LOCAL_VOLUMES: "mlflow-tmp, mlflow-model"},
    {f"{DOMAIN}/status": "injected"},
    {f"{DOMAIN}/image": PINNED},
    {f"{DOMAIN}/image": f"registry.example/{PROJECT_ID}/models@sha256:{'3f' * 32}"},
    {f"{DOMAIN}/image": f"{IMAGE}:{RUN}"},
    {"sidecar.istio.io/status": "{}", "sidecar.istio.io/interceptionMode": "REDIRECT"},
]
OWN_LABELS: Final = [
    {},
    {f"{DOMAIN}/inject": "False"},
    {f"{DOMAIN}/containers": "model"},
    {f"{DOMAIN}/enabled": "true"},
]
WINDOWS_TERM: Final = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["windows"]}]}
LINUX_TERM: Final = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}


def required(*terms: Any) -> dict[str, Any]:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


AFFINITIES: Final = [
    required(WINDOWS_TERM),
    required(WINDOWS_TERM, LINUX_TERM),
    required(LINUX_TERM),
    {"podAffinity": {}},
]
JUNK: Final[list[Any]] = [
    *(None, 0, 1.5, True, "", "x", "\U0001f377", "../x", [], {}, [None], [[]], ["name"], {"name": None}, [{}]),
    {"limits": "all"},
]
