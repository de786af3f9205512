"""The examples for the operators of Ray and Spark, held to the schemas of their CustomResourceDefinitions.

Those come from the operators' Go modules.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]  # which openapi-spec-validator brings
import pytest
import yaml

from testbed.go_programs import Release

EXAMPLES: Final = Path(__file__).parents[2] / "manifests/examples"
KUBERAY: Final = Release(
    module="github.com/ray-project/kuberay/ray-operator",
    version="v1.5.0",
    digest="h1:KCjCQ7PSsvs9Ke+90CZbbs498nuaIJ/JkXk4vd54EVg=",
)
SPARK_OPERATOR: Final = Release(
    module="github.com/kubeflow/spark-operator/v2",
    version="v2.5.2",
    digest="h1:6nX2UhwSfnYi1mtwczgFfJTMeLSL/1ajTvkFe8R7Vdc=",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An example of a `kind`, the definition of that kind, and the way to one of its numbers."""

    name: str
    kind: str
    operator: Release
    definition: str
    number: tuple[str | int, ...]


RAY_JOB: Final = Example(
    name="ray-job",
    kind="RayJob",
    operator=KUBERAY,
    definition="ray.io_rayjobs",
    number=("spec", "rayClusterSpec", "workerGroupSpecs", 0, "replicas"),
)
SPARK_APPLICATION: Final = Example(
    name="spark-application",
    kind="SparkApplication",
    operator=SPARK_OPERATOR,
    definition="sparkoperator.k8s.io_sparkapplications",
    number=("spec", "executor", "instances"),
)


def schema_of(example: Example, version: str) -> Any:
    """Return the schema of a version, which refuses unknown fields as `kubectl apply` does."""
    path = example.operator.source() / "config/crd/bases" / f"{example.definition}.yaml"
    versions = yaml.safe_load(path.read_text())["spec"]["versions"]
    return strict(next(one for one in versions if one["name"] == version)["schema"]["openAPIV3Schema"])


def strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return list(map(strict, schema))
    if not isinstance(schema, dict):
        return schema
    found = {name: strict(value) for name, value in schema.items()}
    if isinstance(found.get("properties"), dict) and not found.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    return found


def faults(manifest: Any, schema: Any) -> list[str]:
    without = {**manifest, "metadata": {}}  # which Kubernetes itself describes
    return [error.message for error in jsonschema.Draft4Validator(schema).iter_errors(without)]


def misspelled(manifest: Any, number: tuple[str | int, ...]) -> Any:
    """Return the manifest with the last letter of a field's name left out."""
    wrong = copy.deepcopy(manifest)
    *way, name = number
    place = wrong
    for step in way:
        place = place[step]
    place[str(name)[:-1]] = place.pop(name)
    return wrong


@pytest.mark.parametrize("example", [RAY_JOB, SPARK_APPLICATION], ids=lambda example: example.name)
def test_example_for_an_operator_fits_its_schema(example: Example) -> None:
    manifest = yaml.safe_load((EXAMPLES / f"{example.name}.yaml").read_text())
    schema = schema_of(example, manifest["apiVersion"].rpartition("/")[2])

    assert (manifest["kind"], faults(manifest, schema)) == (example.kind, [])
    assert len(faults(misspelled(manifest, example.number), schema)) == 1
