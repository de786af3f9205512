"""Fifty pods of one node that mount the image of a model: the registry sends each layer once."""

from pathlib import Path
from typing import Any

import pytest

from model_contract.model_ref import ModelRef
from model_contract.names import MODEL_VOLUME
from testbed.cluster.image_volumes import packaged_model
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import COMPUTE, literals, model_deployment, settings
from tests.cluster.test_model_pods import pods_of

PODS = 50
SLEEP: dict[str, Any] = {"command": ["sleep", "3600"], "readinessProbe": None}


@pytest.mark.timeout(1200)  # the images of the checkout may have to be built
def test_fifty_pods_that_start_together_pull_each_layer_once(
    quiet: Kube,
    wine: ModelRef,
    tmp_path: Path,
) -> None:
    with (
        packaged_model(quiet, wine, tmp_path) as packaged,
        settings(quiet, {"DELIVERY": "image", "MODEL_IMAGE": packaged.template}),
    ):
        quiet.apply(model_deployment("fifty", literals(wine), replicas=PODS, **SLEEP))
        quiet.rolled_out(COMPUTE, "fifty", seconds=600)

        pods = pods_of(quiet, "fifty")
        assert len(pods) == PODS
        assert all(MODEL_VOLUME in [volume["name"] for volume in pod["spec"]["volumes"]] for pod in pods)
        assert packaged.registry.downloads() == dict.fromkeys(packaged.blobs, 1)
        quiet("-n", COMPUTE, "delete", "deployment", "fifty", "--wait=true")
