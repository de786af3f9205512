"""The checks of `doctor` that a healthy cluster does not reach, on objects as the API server gives them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from model_contract.names import ENABLED_LABEL, MODEL_API_WORKLOAD, PROJECT_ID_LABEL, WORKLOAD_TYPE_LABEL
from webhook.cli import main
from webhook.doctor import model_checks, node_checks, webhook_checks
from webhook.doctor.cluster_reader import (
    CLAIMS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    STORAGE_CLASSES,
    ClusterReader,
)
from webhook.doctor.findings import Finding, Health
from webhook.doctor.installation import Installation

Json = dict[str, Any]
COMMAND = r'"model-api-webhook ([a-z -]+)"'
PLATFORM, COMPUTE = "domino-platform", "domino-compute"
SETTINGS = {
    "MODEL_API_WEBHOOK_NAMESPACE": PLATFORM,
    "MODEL_API_WEBHOOK_TRACKING_URI": "http://mlflow.mlflow-efs.svc:5000",
    "MODEL_API_WEBHOOK_DELIVERY_IMAGE": "model-api-delivery:0.1.0",
}
DEFAULT = {"metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}


class Objects(ClusterReader):
    """A cluster of a few objects."""

    def __init__(self, *objects: tuple[Any, Json]) -> None:
        self._objects = objects

    def get(self, kind: Any, name: str, namespace: str | None = None) -> Json | None:
        return next((one for one in self.list(kind, namespace) if one["metadata"]["name"] == name), None)

    def list(self, kind: Any, namespace: str | None = None, labels: dict[str, Any] | None = None) -> Iterator[Json]:
        of_kind = (one for found, one in self._objects if found is kind)
        return (one for one in of_kind if namespace in {None, one["metadata"].get("namespace")})


def named(name: str, namespace: str | None = COMPUTE, **rest: Any) -> Json:
    return {"metadata": {"name": name, "namespace": namespace}, **rest}


def installation(*objects: tuple[Any, Json], env: Json | None = None, **settings: str) -> Installation:
    container = {
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "env": [{"name": name, "value": value} for name, value in (env or {}).items()],
    }
    deployment = named("model-api-webhook", PLATFORM, spec={"template": {"spec": {"containers": [container]}}})
    data = SETTINGS | {f"MODEL_API_WEBHOOK_{name}": value for name, value in settings.items()}
    enabled = {"metadata": {"name": COMPUTE, "labels": {ENABLED_LABEL: "true"}}}
    own = ((DEPLOYMENTS, deployment), (CONFIG_MAPS, named("settings", PLATFORM, data=data)), (NAMESPACES, enabled))
    return Installation(Objects(*own, *objects), PLATFORM)


def one(found: Iterator[Finding]) -> Finding:
    (finding,) = found
    return finding


def test_environment_that_overrides_the_config_map_is_named_with_its_end() -> None:
    found = one(
        webhook_checks.settings(
            installation(env={"MODEL_API_WEBHOOK_TRACKING_URI": "http://other:5000", "HOME": "/home/a"})
        )
    )

    assert found.health is Health.ODD
    assert "overrides its ConfigMap in MODEL_API_WEBHOOK_TRACKING_URI:" in found.found
    assert found.remedy == f"kubectl -n {PLATFORM} set env deployment/model-api-webhook MODEL_API_WEBHOOK_TRACKING_URI-"
    assert one(webhook_checks.settings(installation(env={"HOME": "/home/a"}))).health is Health.GOOD


def test_namespace_without_a_pull_token_is_named_before_its_first_pod() -> None:
    other = (SECRETS, named("mlflow-pull-66c0a1b2c3d4e5f601234567", "elsewhere"))
    found = one(model_checks.secrets(installation(other)))

    assert (found.health, COMPUTE in found.found) == (Health.ODD, True)
    assert list(model_checks.secrets(installation((SECRETS, named("mlflow-pull-66c0a1b2c3d4e5f601234567"))))) == []
    assert list(model_checks.secrets(installation(TOKEN="none"))) == []


def test_pull_token_of_a_pod_that_is_missing_is_bad() -> None:
    pod = {
        "metadata": {
            "name": "a",
            "namespace": COMPUTE,
            "labels": {WORKLOAD_TYPE_LABEL: MODEL_API_WORKLOAD, PROJECT_ID_LABEL: "0" * 24},
        }
    }

    assert one(model_checks.secrets(installation((PODS, pod)))).health is Health.BAD


def test_secret_that_pulls_the_image_must_be_in_the_namespace_of_the_pods() -> None:
    missing = one(model_checks.image_secrets(installation(IMAGE_PULL_SECRETS="acme-registry")))
    there = one(
        model_checks.image_secrets(installation((SECRETS, named("acme-registry")), IMAGE_PULL_SECRETS="acme-registry"))
    )

    assert (missing.health, there.health) == (Health.BAD, Health.GOOD)
    assert f"{COMPUTE}/acme-registry" in missing.found
    assert list(model_checks.image_secrets(installation())) == []


PENDING = {"phase": "Pending"}
STANDINGS = {
    "bound": ((CLAIMS, named("mlflow-models", status={"phase": "Bound"})), Health.GOOD, "is bound"),
    "no class and no default": (
        (CLAIMS, named("mlflow-models", status=PENDING, spec={})),
        Health.BAD,
        "the cluster has no default",
    ),
    "a class that is not there": (
        (CLAIMS, named("mlflow-models", status=PENDING, spec={"storageClassName": "fast"})),
        Health.BAD,
        "there is no StorageClass fast",
    ),
    "of the gate": (
        (CLAIMS, named("model-api-gate-audit", "mlflow-efs", status=PENDING, spec={})),
        Health.BAD,
        "mlflow-efs/model-api-gate-audit is Pending: it names no StorageClass",
    ),
}


@pytest.mark.parametrize(("claim", "health", "sentence"), STANDINGS.values(), ids=STANDINGS)
def test_claim_that_waits_says_why(claim: tuple[Any, Json], health: Health, sentence: str) -> None:
    shared = {} if "gate" in sentence else {"DELIVERY": "volume", "CLAIM": "mlflow-models"}
    found = one(model_checks.claims(installation(claim, **shared)))

    assert (found.health, sentence in found.found) == (health, True), found


def test_claim_of_each_pod_wants_a_storage_class() -> None:
    assert one(model_checks.claims(installation(STORE="ephemeral-claim"))).health is Health.BAD
    assert list(model_checks.claims(installation(STORE="ephemeral-claim", STORE_CLASS="gp3"))) == []
    assert list(model_checks.claims(installation((STORAGE_CLASSES, DEFAULT), STORE="ephemeral-claim"))) == []


def node(name: str, kubelet: str, runtime: str, system: str = "linux") -> tuple[Any, Json]:
    info = {"kubeletVersion": kubelet, "containerRuntimeVersion": runtime, "operatingSystem": system}
    return NODES, named(name, None, status={"nodeInfo": info})


IMAGES = {"DELIVERY": "image", "MODEL_IMAGE": "registry.example/models/{project_id}:{run_id}"}
ABLE = node("a", "v1.37.2", "containerd://2.4.2+unknown")
NODE_FAULTS = {
    "an old containerd": (
        node("b", "v1.36.1", "containerd://1.7.28"),
        Health.BAD,
        "containerd 1.7.28 does not mount images, which 2.1 does: b",
    ),
    "a containerd with a suffix": (
        node("b", "v1.36.1", "containerd://2.0.5~ds1"),
        Health.BAD,
        "containerd 2.0.5~ds1 does not mount images, which 2.1 does: b",
    ),
    "an old CRI-O": (node("b", "v1.35.0", "cri-o://1.32.4"), Health.BAD, "cri-o 1.32.4 does not mount images"),
    "an old kubelet": (node("b", "v1.32.9", "containerd://2.1.0"), Health.BAD, "kubelet v1.32.9 does not mount"),
    "a kubelet with a gate": (
        node("b", "v1.34.2-gke.1", "containerd://2.1.4"),
        Health.ODD,
        "kubelet v1.34.2-gke.1 mounts images only with the feature gate ImageVolume: b",
    ),
    "another runtime": (node("b", "v1.36.0", "other://3.0"), Health.ODD, "whether the container runtime other://3.0"),
}


@pytest.mark.parametrize(("worse", "health", "sentence"), NODE_FAULTS.values(), ids=NODE_FAULTS)
def test_node_that_does_not_mount_images_is_named(worse: tuple[Any, Json], health: Health, sentence: str) -> None:
    found = one(node_checks.image_volumes(installation(ABLE, worse, **IMAGES)))

    assert (found.health, sentence in found.found) == (health, True), found


def test_nodes_that_mount_images_are_counted_and_those_of_windows_left_out() -> None:
    others = (node("b", "v1.35.0", "cri-o://1.33.0"), node("w", "v1.30.0", "containerd://1.7.1", "windows"))
    found = one(node_checks.image_volumes(installation(ABLE, *others, **IMAGES)))

    assert (found.health, found.found) == (Health.GOOD, "all 2 nodes mount images")


def test_nodes_with_one_fault_are_named_together() -> None:
    old = [node(f"old-{number}", "v1.36.0", "containerd://1.6.20") for number in range(5)]
    found = one(node_checks.image_volumes(installation(*old, **IMAGES)))

    assert found.found.endswith(": old-0, old-1, old-2 and 2 more")


def test_nodes_are_good_for_other_ways_and_an_admin_learns_if_images_are_possible() -> None:
    able = one(node_checks.image_volumes(installation(ABLE)))
    old = one(node_checks.image_volumes(installation(node("b", "v1.36.0", "containerd://1.6.20"))))

    assert (able.health, able.found) == (Health.GOOD, "the nodes mount images")
    assert (old.health, old.found.startswith("not needed, and not here: containerd 1.6.20")) == (Health.GOOD, True)


def test_pull_token_is_not_missed_if_models_come_by_images() -> None:
    assert list(model_checks.secrets(installation(**IMAGES))) == []


def test_commands_that_a_remedy_names_exist() -> None:
    sources = Path(webhook_checks.__file__).parent.glob("*.py")
    named_commands = {command for source in sources for command in re.findall(COMMAND, source.read_text())}

    assert named_commands == {"certs rotate"}
    for command in named_commands:
        assert CliRunner().invoke(main, [*command.split(), "--help"]).exit_code == 0
