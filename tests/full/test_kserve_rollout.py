"""`model-api rollout` of an InferenceService, with KServe's own controller."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster.kube import Kube
from testbed.controllers.load import requests_at
from testbed.controllers.registry import NAMESPACE, Registry
from testbed.processes import PATIENCE, installed
from tests.full.test_kserve_controller import ROW, asked, inference_service, pods_of, ready, told

Json = dict[str, Any]

# Requests a second during a rollout. A machine that does other things at the same time sends fewer.
RATE = float(os.environ.get("MODEL_API_TEST_RATE", "1000"))
PROMPT = 5.0  # seconds from the readiness of the new pod until only the new version answers
SECOND = 1.0  # the resolution of the times in a pod's status


def rollout(kube: Kube, address: str, *options: str) -> tuple[int, str, str]:
    named = ["inferenceservice/followed", "--model=wine", "--namespace=default"]
    command: list[str | Path] = [installed("model-api"), "rollout", *named]
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


def recording(path: Path, names: list[str], prediction: float) -> str:
    request: Json = {"dataframe_split": {"columns": names, "data": [ROW]}}
    path.write_text(json.dumps({"request": request, "predictions": [prediction]}) + "\n")
    return f"--compare={path}"


@pytest.mark.usefixtures("models")
def test_canary_is_tried_beside_the_service_and_then_the_service_changes(with_kserve: Kube, tmp_path: Path) -> None:
    with (
        ready(with_kserve, inference_service("followed", "mlflow://wine/1")) as name,
        with_kserve.forwarded(NAMESPACE, "mlflow", 5000) as address,
    ):
        (prediction,) = asked(with_kserve, name, f"/v1/models/{name}:predict", {"instances": [ROW]})["predictions"]
        names = [tensor["name"] for tensor in told(with_kserve, name, f"/v2/models/{name}")["inputs"]]
        wrong = recording(tmp_path / "wrong.jsonl", names, prediction + 1)
        right = recording(tmp_path / "right.jsonl", names, prediction)

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


@contextmanager
def watched(kube: Kube) -> Iterator[list[tuple[float, str]]]:
    """Ask the Service for its version again and again; the list gets the time of each question, and the version.

    Ask from this host, since kubectl would take a third of a processor from the load.
    """
    answers: list[tuple[float, str]] = []
    ended = threading.Event()
    url = f"http://{kube.get('service', 'followed-predictor')['spec']['clusterIP']}/info"

    def watch() -> None:
        while not ended.wait(0.2):
            begun = time.time()
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                answers.append((begun, json.load(answer)["model"]["version"]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield answers
    finally:
        ended.set()
        watcher.join()


def ready_at(pod: Json) -> float:
    (condition,) = (each for each in pod["status"]["conditions"] if each["type"] == "Ready")
    return datetime.fromisoformat(condition["lastTransitionTime"]).timestamp()


@pytest.mark.usefixtures("models")
def test_rollout_under_load_loses_no_request_and_the_new_version_answers_at_once(
    sender: Kube, with_kserve: Kube
) -> None:
    with (
        ready(with_kserve, inference_service("followed", "mlflow://wine/1")) as name,
        with_kserve.forwarded(NAMESPACE, "mlflow", 5000) as address,
    ):
        url = f"http://{name}-predictor/v1/models/{name}:predict"
        begun = time.monotonic()
        with requests_at(sender, RATE, url, {"instances": [ROW]}) as load, watched(with_kserve) as answers:
            time.sleep(5)
            code, _, err = rollout(with_kserve, address, "--version=2")
            time.sleep(PROMPT + SECOND)
        rate = load["sent"] / (time.monotonic() - begun)
        (pod,) = (each for each in pods_of(with_kserve, name) if "deletionTimestamp" not in each["metadata"])
    last_of_the_old = max(moment for moment, version in answers if version == "1")

    assert code == 0, err
    assert load["failures"] == []
    assert rate > 0.8 * RATE, f"{rate:.0f} requests a second; set MODEL_API_TEST_RATE to what this machine can send"
    assert answers[-1][1] == "2"
    assert last_of_the_old - ready_at(pod) < PROMPT + SECOND
    report(load, rate, last_of_the_old - ready_at(pod))


def report(load: Json, rate: float, late: float) -> None:
    """Print the figures, which `pytest -s` shows."""
    sys.stdout.write(
        f"\n{load['sent']} requests, {rate:.0f} a second, p50 {load['p50']:.4f} s, longest {load['longest']:.2f} s; "
        f"the old version answered until {late:.1f} s after the new pod was ready\n"
    )
