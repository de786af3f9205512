"""The example for KubeRay, held to the schema of its CustomResourceDefinition, from the operator's Go module."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]  # which openapi-spec-validator brings
import pytest
import yaml

from testbed.go_programs import go

EXAMPLES: Final = Path(__file__).parents[2] / "manifests/examples"
MODULE: Final = "github.com/ray-project/kuberay/ray-operator@v1.5.0"
SUM: Final = "h1:KCjCQ7PSsvs9Ke+90CZbbs498nuaIJ/JkXk4vd54EVg="
DEFINITION: Final = "config/crd/bases/ray.io_rayjobs.yaml"


@pytest.fixture(scope="module")
def schema() -> Any:
    """The schema of a RayJob, which refuses unknown fields as `kubectl apply` does."""
    told = subprocess.run([go(), "mod", "download", "-json", MODULE], check=True, capture_output=True).stdout
    module = json.loads(told)
    assert module["Sum"] == SUM
    definition = yaml.safe_load((Path(module["Dir"]) / DEFINITION).read_text())
    return strict(
        next(one for one in definition["spec"]["versions"] if one["name"] == "v1")["schema"]["openAPIV3Schema"]
    )


def strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return list(map(strict, schema))
    if not isinstance(schema, dict):
        return schema
    found = {name: strict(value) for name, value in schema.items()}
    if isinstance(found.get("properties"), dict) and not found.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    return found


def faults(job: Any, schema: Any) -> list[str]:
    spec = {name: value for name, value in job.items() if name != "metadata"}  # which Kubernetes itself describes
    return [error.message for error in jsonschema.Draft4Validator(schema).iter_errors(spec)]


def test_example_for_kuberay_fits_its_schema(schema: Any) -> None:
    job = yaml.safe_load((EXAMPLES / "ray-job.yaml").read_text())
    wrong = copy.deepcopy(job)
    wrong["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replica"] = 1

    assert (job["kind"], faults(job, schema)) == ("RayJob", [])
    assert len(faults(wrong, schema)) == 1
