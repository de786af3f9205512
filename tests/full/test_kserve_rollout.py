"""`model-api rollout` of an InferenceService, with KServe's own controller."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster.kube import Kube
from testbed.controllers.registry import NAMESPACE, Registry
from testbed.processes import installed
from tests.full.test_kserve_controller import ROW, asked, inference_service, ready, told

Json = dict[str, Any]


def rollout(kube: Kube, address: str, *options: str) -> tuple[int, str, str]:
    command = [installed("model-api"), "rollout", "inferenceservice/followed", "--model=wine", "--namespace=default"]
    environment = dict(kube.environment) | {"MLFLOW_TRACKING_URI": address}
    done = subprocess.run(
        [*command, "--format=json", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    return done.returncode, done.stdout, done.stderr


def version_of(kube: Kube) -> str:
    return str(told(kube, "followed", "/info")["model"]["version"])


def recording(path: Path, prediction: float) -> str:
    request: Json = {"inputs": [ROW]}
    path.write_text(json.dumps({"request": request, "predictions": [prediction]}) + "\n")
    return f"--compare={path}"


@pytest.mark.usefixtures("models")
def test_canary_is_tried_beside_the_service_and_then_the_service_changes(with_kserve: Kube, tmp_path: Path) -> None:
    with (
        ready(with_kserve, inference_service("followed", "mlflow://wine/1")) as name,
        with_kserve.forwarded(NAMESPACE, "mlflow", 5000) as address,
    ):
        (prediction,) = asked(with_kserve, name, f"/v1/models/{name}:predict", {"instances": [ROW]})["predictions"]
        wrong = recording(tmp_path / "wrong.jsonl", prediction + 1)
        right = recording(tmp_path / "right.jsonl", prediction)

        code, _, err = rollout(with_kserve, address, "--version=2", "--canary", wrong)
        assert code == 9, err
        assert "canary" not in with_kserve.get("inferenceservice", name)["spec"]

        code, out, err = rollout(with_kserve, address, "--version=2", "--canary", right)
        assert code == 0, err
        assert (json.loads(out)["split"], json.loads(out)["compared"]) == (False, 1)
        assert version_of(with_kserve) == "1"
        with_kserve.rolled_out("default", f"{name}-canary-predictor")

        code, _, err = rollout(with_kserve, address, "--version=2", "--full", right)
        assert code == 0, err
        spec = with_kserve.get("inferenceservice", name)["spec"]
        assert version_of(with_kserve) == "2"
        assert spec["predictor"]["model"]["storageUri"].startswith("mlflow://wine/2")
        assert not spec.get("canary")

        code, _, err = rollout(with_kserve, address, "--version=99")
        assert code == 5, err


def test_version_that_does_not_come_is_put_back(with_kserve: Kube, models: Registry) -> None:
    with (
        ready(with_kserve, inference_service("followed", "mlflow://wine/1")),
        with_kserve.forwarded(NAMESPACE, "mlflow", 5000) as address,
    ):
        empty = models.version_without_files(address)
        code, _, err = rollout(with_kserve, address, f"--version={empty}")

        assert code == 9, err
        assert "the new pods do not start" in err
        assert version_of(with_kserve) == "1"
