"""Stores, claims and unfinished fetches of one version, used by the other."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_contract.model_ref import ModelRef
from model_contract.tokens import Purpose
from testbed.delivery import Delivery, wait_until
from testbed.faults import only, stall
from testbed.former_version import Version
from testbed.gate import PROJECT, Json
from testbed.mlflow_server import MlflowServer, mlflow_server
from testbed.registered import files_below
from testbed.reverse_proxy import reverse_proxy
from tests.model_delivery.test_store import noted
from tests.upgrades.conftest import OWNER, Registered, State, Step, gate_of, new_model

MIB = 1 << 20
FILES = {"MLmodel": b"flavors: {}\n", "data/weights.bin": os.urandom(4096)}


def delivery_of(version: Version, directory: Path, uri: str) -> Delivery:
    return Delivery(directory=directory, uri=uri, command=(str(version.command("model-api-delivery")),))


def test_model_in_a_store_is_found_without_a_request(step: Step, registered: Registered, tmp_path: Path) -> None:
    ref = registered.version(FILES)
    made = delivery_of(step.first, tmp_path, registered.uri).fetch(ref)
    nowhere = delivery_of(step.then, tmp_path, "http://127.0.0.1:9")
    found = nowhere.fetch(ref)

    assert (made.code, found.code) == (0, 0), made.output + found.output
    assert nowhere.verify(ref, "--digests").code == 0
    assert files_below(nowhere.model(ref)) == FILES


def test_second_version_of_the_same_files_is_added_to_the_manifest(
    step: Step, registered: Registered, tmp_path: Path
) -> None:
    """Each version reads what both have written."""
    ref = registered.version(FILES)
    body = {"name": registered.name, "source": f"runs:/{ref.run_id}/model", "run_id": ref.run_id}
    number = str(registered.post("model-versions/create", body)["model_version"]["version"])
    again = ModelRef(name=ref.name, version=number, owner=ref.owner, run_id=ref.run_id)
    first = delivery_of(step.first, tmp_path, registered.uri)
    then = delivery_of(step.then, tmp_path, registered.uri)

    assert (first.fetch(ref).code, then.fetch(again).code) == (0, 0)
    assert [one.verify(each).code for one in (first, then) for each in (ref, again)] == [0, 0, 0, 0]


def test_fetch_that_was_killed_is_ended_by_the_other_version(
    step: Step, registered: Registered, tmp_path: Path
) -> None:
    files = {"MLmodel": b"flavors: {}\n", "weights.bin": os.urandom(40 * MIB)}
    ref = registered.version(files)
    slow_file = only("weights.bin", stall(4 * MIB))
    with reverse_proxy(registered.uri, slow_file) as slow:
        first = delivery_of(step.first, tmp_path, slow.uri)
        with first.start(ref) as process:
            wait_until(lambda: sum(noted(first.store).values()) > 2 * MIB)
            process.kill()
    left = first.partial()
    then = delivery_of(step.then, tmp_path, registered.uri)
    ended = then.fetch(ref)

    assert left
    assert ended.code == 0, ended.output
    assert files_below(then.model(ref)) == files
    assert then.partial() == []
    assert first.verify(ref, "--digests").code == 0


def test_directory_of_a_storage_uri_is_found_without_a_download(
    step: Step, registered: Registered, tmp_path: Path
) -> None:
    ref = registered.version(FILES)
    uri = f"mlflow://{ref.name}/{ref.version}"
    made = delivery_of(step.first, tmp_path, registered.uri).fetch_storage(uri)
    with reverse_proxy(registered.uri) as proxy:
        then = delivery_of(step.then, tmp_path, proxy.uri)
        found = then.fetch_storage(uri)

        assert (made.code, found.code) == (0, 0), made.output + found.output
        assert proxy.paths("weights.bin") == []
    assert {path: (then.store / path).read_bytes() for path in FILES} == FILES


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """An MLflow without models of other tests, all of which a sync would fetch."""
    with mlflow_server("3.17", tmp_path_factory.mktemp("alone")) as server:
        yield server


def sync(version: Version, directory: Path, uri: str, *options: str) -> Json:
    command = [version.command("model-api-delivery"), "sync", f"--store={directory / 'store'}", f"--owner={OWNER}"]
    command += [f"--tokens={directory / 'tokens'}", f"--termination-log={directory / 'none'}", *options]
    environment = {"PATH": os.environ["PATH"], "MLFLOW_TRACKING_URI": uri}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: Json = json.loads(done.stdout)
    return found


def test_claim_stays_in_step_and_keeps_its_grace(step: Step, alone: MlflowServer, tmp_path: Path) -> None:
    model, state = new_model(alone.uri), State.made_by(step.first, tmp_path)
    leaves, stays = model.version(stage="Staging"), model.version(stage="Production")
    for name in ("tokens", "store"):
        (tmp_path / name).mkdir()
    (tmp_path / "tokens" / PROJECT).write_text(state.token(Purpose.PULL))
    with gate_of(step.then, state, alone) as gate:
        made = sync(step.first, tmp_path, gate.uri)
        model.move(leaves, "Archived")
        marked = sync(step.first, tmp_path, gate.uri)
        went_on = sync(step.then, tmp_path, gate.uri)
        time.sleep(1)
        removed = sync(step.then, tmp_path, gate.uri, "--grace=1s")
        back = sync(step.first, tmp_path, gate.uri)
    model.move(stays, "Archived")

    assert (made["fetched"], marked["waiting"]) == (2, 1)
    assert (went_on["present"], went_on["fetched"], went_on["waiting"], went_on["removed"]) == (1, 0, 1, 0)
    assert removed["removed"] == 1
    assert (back["present"], back["fetched"], back["waiting"]) == (1, 0, 0)
