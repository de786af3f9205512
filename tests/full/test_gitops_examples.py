"""The examples for Argo CD and Flux, held to the schemas and types of their Go modules, and to the chart."""

import copy
import subprocess
from typing import Any, Final

import pytest
import yaml

from testbed.go_programs import Release, program
from testbed.helm import ROOT, named, template
from tests.full.test_engine_manifests import faults, strict

EXAMPLES: Final = ROOT / "manifests" / "examples"
ARGO_CD: Final = Release(
    module="github.com/argoproj/argo-cd/v3",
    version="v3.5.7",
    digest="h1:Xm1BF+I5OgDKUG3SDK49vn2/Y5AMyaNVko+/JT08gj0=",
)
SOURCES: Final = Release(
    module="github.com/fluxcd/source-controller",
    version="v1.9.6",
    digest="h1:nG534/bI6nVpyHra7ONAk6xDB3xPsVT+EOLHZHXPrrc=",
)
DEFINITIONS: Final = {
    "Application": (ARGO_CD, "manifests/crds/application-crd.yaml", "v1alpha1"),
    "OCIRepository": (SOURCES, "config/crd/bases/source.toolkit.fluxcd.io_ocirepositories.yaml", "v1"),
}

Json = dict[str, Any]


def example(kind: str) -> Json:
    texts = ((EXAMPLES / name).read_text() for name in ("argo-cd.yaml", "flux.yaml"))
    found: Json = next(one for text in texts for one in yaml.safe_load_all(text) if one["kind"] == kind)
    return found


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_example_fits_the_schema_of_its_definition(kind: str) -> None:
    release, path, version = DEFINITIONS[kind]
    versions = yaml.safe_load((release.source() / path).read_text())["spec"]["versions"]
    schema = strict(next(one for one in versions if one["name"] == version)["schema"]["openAPIV3Schema"])
    schema["required"] = [
        name for name in schema.get("required", []) if name != "metadata"
    ]  # which `faults` leaves out
    found = example(kind)
    wrong = copy.deepcopy(found)
    wrong["spec"]["interal"] = "1m"

    assert faults(found, schema) == []
    assert len(faults(wrong, schema)) == 1


def decoded(release: Json) -> "subprocess.CompletedProcess[str]":
    command = program(ROOT / "testbed" / "flux", "./decode_release")
    return subprocess.run(command, input=yaml.safe_dump(release), capture_output=True, text=True, check=False)


def test_release_of_flux_has_only_fields_of_its_type() -> None:
    found = example("HelmRelease")
    wrong = copy.deepcopy(found)
    wrong["spec"]["driftDetection"]["ignored"] = []

    assert decoded(found).returncode == 0, decoded(found).stderr
    assert 'unknown field "ignored"' in decoded(wrong).stderr


def test_values_of_the_examples_are_those_of_the_chart_and_what_they_ignore_is_in_it() -> None:
    application, release = example("Application")["spec"], example("HelmRelease")["spec"]
    places = [(one["kind"], one["name"]) for one in application["ignoreDifferences"]]
    targets = [(one["target"]["kind"], one["target"]["name"]) for one in release["driftDetection"]["ignore"]]

    for values in (application["source"]["helm"]["valuesObject"], release["values"]):
        objects = {(kind, name) for kind, _, name in named(template(values))}
        assert {*places, *targets} <= objects
    assert places == targets
    assert (ROOT / application["source"]["path"] / "Chart.yaml").exists()
