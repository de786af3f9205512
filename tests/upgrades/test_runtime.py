"""Models, records and unfinished work of one version's delivery and runtime, taken up by the other's."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyarrow import dataset

from testbed.environments import saved_models
from testbed.former_version import ROOT, Version, environment
from testbed.mlflow_server import MlflowServer
from testbed.processes import free_port, running
from testbed.registered import files_below
from testbed.runtime_server import NATIVE, RuntimeServer
from tests.upgrades.conftest import Step, new_model
from tests.upgrades.test_delivery import delivery_of

COLUMNS = [f"measure {number}" for number in range(11)]
ROW = [number / 10 for number in range(11)]
REQUEST = {"dataframe_split": {"columns": COLUMNS, "data": [ROW]}}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("saved") / "elastic-net"
    return saved_models("3.17", ROOT / "benchmarks" / "save_model.py", directory, "elastic-net")


@contextmanager
def serving(version: Version, model: Path, *flags: str, log: Path) -> Iterator[RuntimeServer]:
    port = free_port()
    command = [version.command("model-api-runtime"), "serve", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    command += [f"--model-path={model}", *NATIVE, *flags]
    with running(command, log=log, env=environment(), imported=version.imported("model-api-runtime")) as process:
        server = RuntimeServer(port=port, process=process)
        server.wait_until_ready()
        yield server


def test_delivered_model_is_served_alike_and_its_records_are_one_table(
    step: Step, model: Path, mlflow_3_17: MlflowServer, tmp_path: Path
) -> None:
    ref = new_model(mlflow_3_17.uri).version(files_below(model))
    delivery = delivery_of(step.first, tmp_path, mlflow_3_17.uri)
    assert delivery.fetch(ref).code == 0
    table, answers, described = tmp_path / "table", [], []
    for version in (step.first, step.then):
        with serving(version, delivery.model(ref), "--capture", f"parquet:{table}", log=tmp_path / "log") as server:
            answers.append(server.predict(REQUEST).document)
            described.append(server.get("/info").document["model"])

    rows = dataset.dataset(table, format="parquet", partitioning="hive", exclude_invalid_files=False).to_table()
    assert answers[0] == answers[1]
    assert (
        described[0].items() <= described[1].items()
        if step.is_upgrade
        else described[1].items() <= described[0].items()
    )
    assert rows.num_rows == 2
    assert rows.column("digest").to_pylist()[0] == rows.column("digest").to_pylist()[1] is not None


def test_recording_of_one_version_is_replayed_by_the_other(step: Step, model: Path, tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.jsonl"
    with serving(step.first, model, "--capture", f"jsonl:{recorded}", log=tmp_path / "log") as server:
        assert server.predict(REQUEST).status == 200
    done = step.then.run("model-api-runtime", "replay", recorded, f"--model-path={model}")

    assert len(recorded.read_text().splitlines()) == 1
    assert done.returncode == 0, done.stderr


def test_predictions_that_one_version_began_are_ended_by_the_other(step: Step, model: Path, tmp_path: Path) -> None:
    tables, out = tmp_path / "tables", tmp_path / "out"
    tables.mkdir()
    text = ",".join(COLUMNS) + "\n" + ",".join(map(str, ROW)) + "\n"
    command = ["model-api-runtime", "predict", f"--model-path={model}", tables]
    for number in range(2):
        (tables / f"{number}.csv").write_text(text)
    begun = step.first.run(*command, "-o", f"{out}/")
    (out / "_predict.jsonl").write_text("".join((out / "_predict.jsonl").read_text().splitlines(keepends=True)[:1]))
    (out / ".1.csv.partial").write_text("the beginning of an output")
    finished = {line["part"] for line in map(json.loads, (out / "_predict.jsonl").read_text().splitlines())}
    before = {name: (out / name).stat().st_mtime_ns for name in finished}
    (tables / "2.csv").write_text(text)
    ended = step.then.run(*command, "-o", f"{out}/", "--summary=json")

    assert (begun.returncode, ended.returncode) == (0, 0), begun.stderr + ended.stderr
    assert before
    assert {name: (out / name).stat().st_mtime_ns for name in finished} == before
    assert {path.name for path in out.iterdir()} == {"0.csv", "1.csv", "2.csv", "_predict.jsonl"}
    assert len({(out / f"{number}.csv").read_bytes() for number in range(3)}) == 1  # of the same rows
