"""An MLflow in the cluster, of the quickstart, with versions of a model `wine` and a model `slow`."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from testbed.cluster.images import IMAGES
from testbed.cluster.kube import Kube
from testbed.controllers.install import apply
from testbed.environments import python_of
from testbed.mlflow_server import client_environment

TESTBED: Final = Path(__file__).parents[1]
QUICKSTART: Final = TESTBED.parent / "manifests" / "overlays" / "quickstart"
NAMESPACE: Final = "mlflow"
ADDRESS: Final = f"http://mlflow.{NAMESPACE}.svc:5000"
MODEL: Final = "wine"
PRODUCTION: Final = 2
DELETED: Final = 4

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Runs of the versions of `wine`: 1 and 2 are of one run, 3 is of another, 4 is deleted; 2 is production."""

    kube: Kube
    runs: dict[int, str]
    rows: list[list[float]]

    def move_alias(self, version: int) -> None:
        with self.kube.forwarded(NAMESPACE, "mlflow", 5000) as address:
            post(address, "registered-models/alias", {"name": MODEL, "alias": "production", "version": str(version)})


def install(kube: Kube) -> Registry:
    """Install MLflow, and train and register the versions."""
    text = (QUICKSTART / "mlflow.yaml").read_text().replace("mlflow-efs", NAMESPACE)
    objects = list(yaml.safe_load_all(text))
    image = next(image.tag for image in IMAGES if "/mlflow:" in image.tag)
    objects[0]["spec"]["template"]["spec"]["containers"][0]["image"] = image
    apply(kube, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, *objects])
    kube.rolled_out(NAMESPACE, "mlflow")
    with kube.forwarded(NAMESPACE, "mlflow", 5000) as address:
        first = trained(address)
        post(
            address, "model-versions/create", {"name": MODEL, "source": source(address, "1"), "run_id": first["run_id"]}
        )
        second = trained(address)
        post(
            address,
            "model-versions/create",
            {"name": MODEL, "source": source(address, "3"), "run_id": second["run_id"]},
        )
        run_script(address, TESTBED / "mlflow_scripts" / "register_slow_model.py")
        change(address, "DELETE", "model-versions/delete", {"name": MODEL, "version": str(DELETED)})
    runs = {1: first["run_id"], 2: first["run_id"], 3: second["run_id"]}
    registry = Registry(kube=kube, runs=runs, rows=second["sample"]["data"])
    registry.move_alias(PRODUCTION)
    return registry


def trained(address: str) -> Json:
    """Return run, version and rows of a newly trained version."""
    printed = run_script(address, QUICKSTART / "train.py", MODEL, "jane.doe", "wines", MODEL)
    made: Json = json.loads(printed.splitlines()[-1])
    return made


def run_script(address: str, script: Path, *arguments: str) -> str:
    """Return the output of a script with full MLflow."""
    command: list[str | Path] = [python_of("mlflow-3.17"), script, *arguments]
    environment = client_environment() | {"MLFLOW_TRACKING_URI": address}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def source(address: str, version: str) -> str:
    answer = httpx.get(f"{address}/api/2.0/mlflow/model-versions/get", params={"name": MODEL, "version": version})
    found: str = answer.raise_for_status().json()["model_version"]["source"]
    return found


def post(address: str, path: str, body: Json) -> None:
    change(address, "POST", path, body)


def change(address: str, method: str, path: str, body: Json) -> None:
    httpx.request(method, f"{address}/api/2.0/mlflow/{path}", json=body, timeout=30).raise_for_status()
