"""An MLflow in the cluster, of the quickstart, with versions of a model `wine` and a model `slow`."""

import json
import subprocess
from collections.abc import Mapping
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
REGISTER: Final = TESTBED / "mlflow_scripts" / "register_served_models.py"
NAMESPACE: Final = "mlflow"
ADDRESS: Final = f"http://mlflow.{NAMESPACE}.svc:5000"
MODEL: Final = "wine"
PRODUCTION: Final = 2
DELETED: Final = 4

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The runs of the versions of `wine`: 1 and 2 are of one run, 3 is of another."""

    kube: Kube
    runs: Mapping[str, str]

    def move_alias(self, version: int) -> None:
        """Let the alias `production` name another version."""
        body = {"name": MODEL, "alias": "production", "version": str(version)}
        with self.kube.forwarded(NAMESPACE, "mlflow", 5000) as address:
            httpx.post(f"{address}/api/2.0/mlflow/registered-models/alias", json=body, timeout=60).raise_for_status()

    def version_without_files(self, address: str) -> str:
        """Register one more version with a source that is no directory of its run, and return its number."""
        body = {"name": MODEL, "source": f"runs:/{self.runs['1']}/nothing", "run_id": self.runs["1"]}
        made = httpx.post(f"{address}/api/2.0/mlflow/model-versions/create", json=body, timeout=60).raise_for_status()
        return str(made.json()["model_version"]["version"])


def install(kube: Kube) -> Registry:
    """Install MLflow, and train and register the models. Raises CalledProcessError."""
    text = (QUICKSTART / "mlflow.yaml").read_text().replace("mlflow-efs", NAMESPACE)
    objects = list(yaml.safe_load_all(text))
    image = next(image.tag for image in IMAGES if "/mlflow:" in image.tag)
    objects[0]["spec"]["template"]["spec"]["containers"][0]["image"] = image
    apply(kube, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, *objects])
    kube.rolled_out(NAMESPACE, "mlflow")
    with kube.forwarded(NAMESPACE, "mlflow", 5000) as address:
        runs: dict[str, str] = registered(address)["runs"]
    return Registry(kube=kube, runs=runs)


def registered(address: str) -> Json:
    """Return what the script prints that registers the models, in an environment with full MLflow."""
    environment = client_environment() | {"MLFLOW_TRACKING_URI": address}
    command: list[str | Path] = [python_of("mlflow-3.17"), REGISTER, QUICKSTART / "train.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    printed: Json = json.loads(done.stdout.splitlines()[-1])
    return printed
