"""`model-api rollout` of a model API on the cluster: the webhook, the delivery and the runtime do their part."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from model_contract.model_ref import ModelRef
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import COMPUTE, MLFLOW, literals, model_deployment, service
from testbed.gate import API, ask
from testbed.lifecycle import MODULES
from testbed.processes import completed, installed
from tests.cluster.test_model_pods import WINE, predict


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The cluster's MLflow from outside, and a second version of the quickstart's model."""

    environment: Mapping[str, str]
    uri: str
    second: str = ""

    def rollout(self, workload: str, *options: str) -> tuple[int, str, str]:
        command: list[str | Path] = [
            installed("model-api"),
            "rollout",
            workload,
            "--model=wine-quality",
            f"--namespace={COMPUTE}",
        ]
        done = completed([*command, *options], env=self.environment, imported=MODULES, timeout=280)
        return done.returncode, done.stdout, done.stderr

    def version(self, run_id: str, source: str) -> str:
        body = {"name": "wine-quality", "source": source, "run_id": run_id}
        answer = ask(self.uri, "POST", f"{API}/model-versions/create", body)
        assert answer.status == 200, answer.body
        return str(answer.json["model_version"]["version"])


@pytest.fixture(scope="module")
def registry(installed: Kube, wine: ModelRef) -> Iterator[Registry]:
    with installed.forwarded(MLFLOW, "mlflow", 5000) as uri:
        environment = {**installed.environment, "MLFLOW_TRACKING_URI": uri}
        registry = Registry(environment=environment, uri=uri)
        yield replace(registry, second=registry.version(wine.run_id, f"models:/wine-quality/{wine.version}"))


def served_version(kube: Kube, name: str) -> str:
    found = json.loads(kube("get", "--raw", f"/api/v1/namespaces/{COMPUTE}/services/{name}:http/proxy/info"))
    return str(found["model"]["version"])


def recording(path: Path, prediction: float) -> Path:
    line: dict[str, Any] = {"request": WINE, "predictions": [prediction]}
    path.write_text(json.dumps(line) + "\n")
    return path


def test_new_version_serves_and_one_that_fails_is_put_back(
    quiet: Kube, wine: ModelRef, registry: Registry, tmp_path: Path
) -> None:
    quiet.apply(model_deployment("rolled", literals(wine)), service("rolled"))
    quiet.rolled_out(COMPUTE, "rolled")
    prediction = predict(quiet, "rolled")
    recorded = recording(tmp_path / "recorded.jsonl", prediction)
    to_second = ("deployment/rolled", f"--version={registry.second}", "--format=json")

    code, _, err = registry.rollout(*to_second, f"--compare={recording(tmp_path / 'other.jsonl', 99.0)}")
    assert code == 9, err
    assert "1 of 1 recorded requests are answered otherwise than allowed: lines 1" in err
    assert served_version(quiet, "rolled") == wine.version

    code, out, err = registry.rollout(*to_second, f"--compare={recorded}")
    assert code == 0, err
    result = json.loads(out)
    assert (result["changed"], result["pods"], result["compared"]) == (True, 1, 1)
    assert served_version(quiet, "rolled") == registry.second
    assert predict(quiet, "rolled") == prediction

    # A version without files: the init container ends with 5, and again after its restart.
    empty = registry.version(wine.run_id, f"runs:/{wine.run_id}/nothing")
    code, _, err = registry.rollout("deployment/rolled", f"--version={empty}")
    assert code == 9, err
    assert "the new pods do not start" in err
    assert served_version(quiet, "rolled") == registry.second
