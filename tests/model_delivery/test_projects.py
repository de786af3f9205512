"""A store that pods of several projects share."""

import json
from dataclasses import replace
from pathlib import Path

from model_contract.exit_codes import ExitCode
from testbed.delivery import Delivery
from testbed.registered import Registered

OWN, OTHER = "66c0a1b2c3d4e5f601234567", "wine-team-2"


def of(project: str, delivery: Delivery) -> Delivery:
    return replace(delivery, environment={"MODEL_API_PROJECT_ID": project})


def test_a_model_of_another_project_is_refused(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("plain")
    fetched = of(OWN, delivery).fetch(ref)
    own, other = of(OWN, delivery).verify(ref), of(OTHER, delivery).verify(ref)

    assert fetched.code == own.code == ExitCode.DONE, fetched.output
    assert json.loads(delivery.manifest(ref).read_text())["project"] == OWN
    assert other.code == ExitCode.PRECONDITION
    assert f"the model in the store is of project {OWN}, and this pod is of project {OTHER}" in other.reason
    assert of(OTHER, delivery).fetch(ref).code == ExitCode.PRECONDITION


def test_a_manifest_without_a_project_is_taken_with_one_warning(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("plain")
    delivery.fetch(ref)
    ended = of(OWN, delivery).verify(ref)

    assert ended.code == ExitCode.DONE
    assert ended.output.count("the manifest names no project") == 1


def test_a_pod_without_a_project_reads_every_manifest(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("plain")
    of(OWN, delivery).fetch(ref)
    ended = of("", delivery).verify(ref)

    assert ended.code == ExitCode.DONE
    assert "project" not in ended.output


def test_a_project_that_is_none_is_invalid(tmp_path: Path, mlflow_3: Registered) -> None:
    ended = of("../x", Delivery(directory=tmp_path, uri=mlflow_3.uri)).verify(mlflow_3.ref("plain"))

    assert ended.code == ExitCode.INVALID_INPUT
    assert 'MODEL_API_PROJECT_ID is "../x"' in ended.reason
