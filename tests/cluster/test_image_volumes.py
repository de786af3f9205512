"""Models from images: packaged by `model-api package`, pulled from a registry once, and mounted by the kubelet."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_contract.layout import model_path
from model_contract.model_ref import ModelRef
from model_contract.names import IMAGE_ANNOTATION, INIT_CONTAINER, MODEL_VOLUME, TOKEN_VOLUME
from testbed.cluster.image_volumes import PackagedModel, packaged_model
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import (
    COMPUTE,
    IDLE,
    PROJECT_ID,
    idle_with,
    literals,
    model_deployment,
    model_pod,
    service,
    settings,
)
from testbed.pages import Shell, blocks
from tests.cluster.test_claims import ready
from tests.cluster.test_doctor import doctor
from tests.cluster.test_model_pods import pods_of, predict

Json = dict[str, Any]


@pytest.fixture(scope="module")
def packaged(installed: Kube, wine: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackagedModel]:
    if not installed.ours:
        pytest.skip("only the nodes of testbed.cluster are told the address of a registry on this machine")
    with packaged_model(installed, wine, tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def by_image(installed: Kube, packaged: PackagedModel) -> Iterator[PackagedModel]:
    """The webhook mounts images."""
    with settings(installed, {"DELIVERY": "image", "MODEL_IMAGE": packaged.template}):
        yield packaged


def test_pods_of_a_node_mount_the_image_of_their_model_and_pull_it_once(
    quiet: Kube, wine: ModelRef, by_image: PackagedModel, tmp_path: Path
) -> None:
    quiet.apply(model_deployment("by-image", literals(wine)), service("by-image"))
    quiet.rolled_out(COMPUTE, "by-image")
    quiet.apply(model_pod("second", literals(wine), **IDLE))
    ready(quiet, "second")

    assert predict(quiet, "by-image") == predict(quiet, "wine-quality")
    [pod] = pods_of(quiet, "by-image")
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes[MODEL_VOLUME]["image"]["reference"] == f"{by_image.repository}:{wine.run_id}"
    assert TOKEN_VOLUME not in volumes
    assert INIT_CONTAINER not in [container["name"] for container in pod["spec"].get("initContainers", [])]
    downloads = by_image.registry.downloads()
    assert set(downloads) == set(by_image.blobs)
    assert set(downloads.values()) == {1}
    (check,) = blocks("deliver-by-image", "In the pod")
    for name, value in {"owner": wine.owner, "run id": wine.run_id, "namespace": COMPUTE, "pod": "second"}.items():
        check = check.replace(f"<{name}>", value)
    assert Shell(kube=quiet, folder=tmp_path).type(check) == ""


def test_image_is_named_by_digest_and_only_in_the_repository_of_the_project(
    quiet: Kube, wine: ModelRef, by_image: PackagedModel
) -> None:
    pinned, foreign = (model_pod(name, literals(wine), **IDLE) for name in ("pinned", "foreign"))
    pinned["metadata"]["annotations"] = {IMAGE_ANNOTATION: by_image.image}
    other = by_image.image.replace(PROJECT_ID, "77c0a1b2c3d4e5f601234567")
    foreign["metadata"]["annotations"] = {IMAGE_ANNOTATION: other}
    quiet.apply(pinned)
    refused = quiet.attempt("apply", "-f", "-", given=json.dumps(foreign))

    ready(quiet, "pinned")
    [volume] = [one for one in quiet.get("-n", COMPUTE, "pod", "pinned")["spec"]["volumes"] if "image" in one]
    assert volume["image"]["reference"] == by_image.image
    assert refused.returncode != 0
    assert f"names an image of another repository than the project's, {by_image.repository}" in refused.stderr


@pytest.mark.usefixtures("two_pods")
def test_doctor_sees_that_the_nodes_mount_images(quiet: Kube, by_image: PackagedModel) -> None:
    _, findings = doctor(quiet)

    assert findings["image volumes"]["found"] == "all 1 nodes mount images"
    assert findings["admission in domino-compute"]["found"] == "a model API mounts the image of its model"
    assert {finding["health"] for check, finding in findings.items() if check != "settings"} == {"good"}


def test_layout_is_that_of_kserve(quiet: Kube, wine: ModelRef, packaged: PackagedModel) -> None:
    """As KServe's controller mounts an image for `oci+native://`: its directory `models` at /mnt/models."""
    pod = model_pod("kserve", [], **idle_with("/mnt/models"))
    pod["metadata"]["labels"].pop("dominodatalab.com/workload-type")
    pod["spec"]["volumes"].append({"name": "model-dir", "image": {"reference": packaged.image}})
    mount = {"name": "model-dir", "mountPath": "/mnt/models", "subPath": "models", "readOnly": True}
    pod["spec"]["containers"][0]["volumeMounts"].append(mount)
    quiet.apply(pod)
    ready(quiet, "kserve")

    digests = "cd {} && find . -type f | sort | xargs sha256sum"
    mounted, fetched = (
        quiet("-n", COMPUTE, "exec", name, "--", "sh", "-c", digests.format(place))
        for name, place in {
            "kserve": "/mnt/models",
            "deployment/wine-quality": model_path(wine.owner, wine.run_id),
        }.items()
    )
    assert "MLmodel" in mounted
    assert mounted == fetched
