"""The webhook from the former version to this one and back, on the cluster, while pods are created."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import Client, KubeConfig

from model_contract.model_ref import ModelRef
from testbed.cluster import images
from testbed.cluster.images import HUB, Image
from testbed.cluster.kube import Kube, load_image
from testbed.cluster.load import Outcome, pods_at
from testbed.cluster.workloads import COMPUTE, PLATFORM, literals, model_deployment, model_pod
from testbed.former_version import ROOT, Version, former_version, this_version
from webhook.certificates.cluster import ClusterObjects
from webhook.certificates.state import read_state

RATE = 20
FORMER_TAG = "former"
WEBHOOK, DELIVERY = "model-api-webhook", "model-api-delivery"
SETTINGS = ("TOKEN=none", "STORE_SIZE=1Gi", "TRACKING_URI=http://mlflow.mlflow-efs.svc:5000")


def overlay(directory: Path, version: Version, base: str, settings: Mapping[str, Any], tags: Mapping[str, str]) -> Path:
    """Write an admin's overlay on one of the version's own, with settings, and tags of images."""
    directory.mkdir()
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(version.source / "manifests" / "overlays" / base, directory)],
        "configMapGenerator": [{"behavior": "merge", **settings}],
        "images": [{"name": name, "newTag": tag} for name, tag in tags.items()],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(document))
    return directory


def tag_of(base: str, image: str) -> str:
    """Return the tag of an image in an overlay of this version."""
    document = yaml.safe_load((ROOT / "manifests" / "overlays" / base / "kustomization.yaml").read_text())
    return next(str(entry["newTag"]) for entry in document["images"] if entry["name"] == image)


def load_former(kube: Kube, version: Version, name: str, dockerfile: str, target: str | None = None) -> None:
    """Build an image of the former version, and load it into the cluster with the tag FORMER_TAG."""
    image = Image(
        tag=f"{HUB}/{name}:{FORMER_TAG}",
        dockerfile=str(version.source / dockerfile),
        target=target,
        context=str(version.source),
    )
    images.build(image)
    load_image(kube, image.tag)


@pytest.fixture(scope="module")
def former(kube: Kube) -> Version:
    """The former version, with its images in the cluster."""
    version = former_version()
    load_former(kube, version, WEBHOOK, "Dockerfile.webhook")
    load_former(kube, version, DELIVERY, "Dockerfile.runtime", "delivery")
    return version


def webhook_overlay(directory: Path, version: Version, tag: str) -> Path:
    settings = [f"MODEL_API_WEBHOOK_{setting}" for setting in SETTINGS]
    changed = {"name": "model-api-webhook-settings", "namespace": PLATFORM, "literals": settings}
    return overlay(directory, version, "standalone", changed, dict.fromkeys((WEBHOOK, DELIVERY), tag))


def webhook_image(kube: Kube) -> str:
    found: dict[str, Any] = kube.get("-n", PLATFORM, "deployment", WEBHOOK)
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])


def change(kube: Kube, directory: Path) -> None:
    kube("apply", "-k", directory)
    kube.rolled_out(PLATFORM, WEBHOOK)
    time.sleep(6)  # an old pod answers for five seconds after its deletion has begun


def pods_of(kube: Kube, name: str) -> dict[str, tuple[int, str]]:
    """Return restarts and the delivery's image of each pod, by its uid."""
    return {
        pod["metadata"]["uid"]: (
            pod["status"]["containerStatuses"][0]["restartCount"],
            pod["spec"]["initContainers"][0]["image"],
        )
        for pod in kube.items("-n", COMPUTE, "pods", "-l", f"app={name}")
    }


def scaled(kube: Kube, name: str, replicas: int) -> dict[str, tuple[int, str]]:
    kube("-n", COMPUTE, "scale", f"deployment/{name}", f"--replicas={replicas}")
    kube.rolled_out(COMPUTE, name)
    return pods_of(kube, name)


@pytest.mark.timeout(1800)
def test_upgrade_and_the_way_back_drop_no_pod(
    installed: Kube,
    wine: ModelRef,
    former: Version,
    tmp_path: Path,
) -> None:
    """Pods that run are not touched, and each version fills new ones beside those of the other."""
    kube, tag = installed, tag_of("standalone", WEBHOOK)
    before = webhook_overlay(tmp_path / "before", former, FORMER_TAG)
    after = webhook_overlay(tmp_path / "after", this_version(), tag)
    change(kube, before)
    assert webhook_image(kube).endswith(f":{FORMER_TAG}")
    kube.apply(model_deployment("upgraded", literals(wine)))
    kube.rolled_out(COMPUTE, "upgraded")
    first = pods_of(kube, "upgraded")
    with Client(KubeConfig.from_file(kube.kubeconfig)) as client:
        api = ClusterObjects(client, PLATFORM)
        certificates = [read_state(api.secret().data)]
        outcomes: list[Outcome] = []
        counted: list[dict[str, tuple[int, str]]] = []
        for replicas, directory in ((2, after), (3, before)):
            with pods_at(RATE, model_pod("many", literals(wine)), kube.kubeconfig) as outcome:
                change(kube, directory)
                counted.append(scaled(kube, "upgraded", replicas))
            outcomes.append(outcome)
            certificates.append(read_state(api.secret().data))
    kube("-n", COMPUTE, "delete", "deployment", "upgraded", "--wait=false")
    change(kube, after)

    for outcome in outcomes:
        assert (outcome.refused, outcome.bare_seconds) == ([], [])
        assert outcome.count > RATE * 10
    assert first.items() <= counted[0].items() <= counted[1].items()
    images_of = [image.rpartition(":")[2] for _, image in counted[1].values()]
    assert sorted(images_of) == sorted([FORMER_TAG, tag, FORMER_TAG])
    assert {restarts for restarts, _ in counted[1].values()} == {0}
    assert certificates[0].leaf is not None
    assert certificates[0] == certificates[1] == certificates[2]
