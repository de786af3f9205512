"""The inference table of a server: its files, and what is lost of it if a disk, a store or a worker fails."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from model_contract.exit_codes import ExitCode
from testbed.processes import completed, free_port
from testbed.runtime_server import JSON, NATIVE, WITHOUT_PYARROW, RuntimeServer
from testbed.s3_server import s3_server

Start = Callable[..., RuntimeServer]
COLUMNS = ["fixed acidity", "pH", "alcohol"]
ROWS = {"dataframe_split": {"columns": COLUMNS, "data": [[7.4, 3.5, 9.4], [6.3, 3.2, 10.1]]}}
REQUESTS: dict[str, Any] = {
    "/invocations": ROWS,
    "/v2/models/wine/infer": {
        "inputs": [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.0]} for name in COLUMNS]
    },
    "/v1/models/wine:predict": {"instances": [dict.fromkeys(COLUMNS, 1.0)]},
    "/model": {"data": dict.fromkeys(COLUMNS, 1.0)},
}


def counters(server: RuntimeServer) -> dict[str, float]:
    """Return the counters of the recorder, by name or by reason."""
    return {
        sample.labels.get("reason", sample.name.removeprefix("model_api_runtime_capture_")): sample.value
        for family in text_string_to_metric_families(server.get("/metrics").body.decode())
        for sample in family.samples
        if sample.name.startswith("model_api_runtime_capture")
    }


def said(server: RuntimeServer, text: str) -> list[dict[str, Any]]:
    return [line for line in server.lines() if text in line["message"]]


def test_requests_of_all_protocols_and_workers_are_rows(start: Start, models: Path, tmp_path: Path) -> None:
    directory = tmp_path / "captured" / "wine"
    flags = (*NATIVE, "--workers", "2", "--capture", f"parquet:{directory}", "--capture-redact", "pH")
    environ = {"MLFLOW_MODEL_NAME": "wine", "MLFLOW_MODEL_VERSION": "7"}
    server = start(models / "wine", *flags, environ=environ)
    server.wait_until_ready()
    answers: list[float] = []
    for path, body in [*REQUESTS.items(), *[("/invocations", ROWS)] * 20]:
        answer = server.ask("POST", path, json.dumps(body), JSON | {"X-Request-ID": f"of{path}"})
        assert answer.status == 200, answer.body
        answers += answer.document["predictions"] if path == "/invocations" else []
    assert server.predict({"dataframe_records": [{"pH": "a text"}]}).status == 400
    server.ask_to_end()

    assert server.exit_code() == 0
    frame = pd.read_parquet(directory)
    assert len(frame) == 2 * 21 + 3
    assert sorted(frame.loc[frame["protocol"] == "invocations", "prediction"]) == pytest.approx(sorted(answers))
    assert set(frame["protocol"]) == {"invocations", "v2", "v1", "domino"}
    assert set(frame["request_id"]) == {f"of{path}" for path in REQUESTS}
    assert frame["input_pH"].isna().all()
    assert set(frame["input_alcohol"]) == {9.4, 10.1, 1.0}
    assert [set(frame[name]) for name in ("model", "version")] == [{"wine"}, {"7"}]
    assert all(digest.startswith("sha256:") and len(digest) == 71 for digest in frame["digest"])
    assert len(set(frame["digest"])) == 1
    count = duckdb.sql(f"SELECT count(*) FROM '{directory}/**/*.parquet' WHERE day = current_date").fetchall()  # noqa: S608  a path of the test
    assert count in ([(45,)], [(0,)])  # at midnight
    assert list(directory.rglob(".*")) == []


def test_digest_is_that_of_the_delivery_and_files_come_by_rows(start: Start, models: Path, tmp_path: Path) -> None:
    model = tmp_path / "run" / "artifacts" / "model"
    model.parent.mkdir(parents=True)
    model.symlink_to(models / "wine")
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({"format": 1, "digest": "sha256:delivered"}))
    directory = tmp_path / "captured"
    server = start(model, *NATIVE, "--workers", "1", "--capture", f"parquet:{directory}", "--capture-rows", "4")
    server.wait_until_ready()
    for _ in range(4):
        server.predict(ROWS)
        server.predict(ROWS)
    server.wait_until(lambda: counters(server)["written_total"] == 8)

    frames = [pd.read_parquet(file) for file in directory.rglob("*.parquet")]
    assert len(frames) >= 1
    assert sum(map(len, frames)) == 16
    assert set(frames[0]["digest"]) == {"sha256:delivered"}


def test_killed_worker_loses_its_unwritten_records_and_they_are_counted_and_told(
    start: Start, models: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "captured"
    flags = (*NATIVE, "--workers", "1", "--capture", f"parquet:{directory}", "--capture-seconds", "3600")
    server = start(models / "wine", *flags)
    server.wait_until_ready()
    for _ in range(7):
        assert server.predict(ROWS).status == 200
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    server.wait_until(lambda: server.workers() not in ([], [worker]))
    server.wait_until(lambda: server.predict(ROWS).status == 200)
    server.wait_until(lambda: counters(server).get("worker_ended") == 7)
    server.ask_to_end()

    assert server.exit_code() == 0
    (line,) = said(server, "a worker ended before it had written all recorded predictions")
    assert line["lost_requests"] == 7
    assert len(pd.read_parquet(directory)) == 2


def test_full_disk_holds_no_answer_and_files_come_when_there_is_room(
    start: Start, models: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        assert os.environ.get("CI") != "true", "CI must be able to mount a disk"
        pytest.skip("mounting a disk, which this test fills, takes the rights of root")
    try:
        flags = (*NATIVE, "--workers", "1", "--capture", f"parquet:{disk}/captured", "--capture-seconds", "1")
        server = start(models / "wine", *flags)
        server.wait_until_ready()
        with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
            while ballast.write(b"1" * 4096):
                pass
        assert server.predict(ROWS).status == 200
        server.awaited(lambda line: "recorded predictions cannot be written" in line["message"])
        assert all(server.predict(ROWS).status == 200 for _ in range(20))
        server.wait_until(lambda: not list(disk.rglob(".*")))  # one may be tried at this moment
        (disk / "ballast").unlink()
        server.wait_until(lambda: counters(server)["written_total"] == 21)

        (told,) = said(server, "recorded predictions cannot be written")
        assert "No space left" in told["reason"]
        assert len(server.awaited(lambda line: "recorded predictions are written again" in line["message"])) == 1
        assert len(pd.read_parquet(disk / "captured")) == 42
        server.ask_to_end()
        server.exit_code()
    finally:
        subprocess.run(["/bin/umount", disk], check=True)


def test_store_that_goes_away_holds_no_answer_and_gets_the_files_when_it_is_back(
    start: Start, models: Path, tmp_path: Path
) -> None:
    port = free_port()
    with s3_server(tmp_path / "s3", port=port) as store:
        bucket = store.bucket("lake")
        flags = (*NATIVE, "--workers", "1", "--capture", "parquet:s3://lake/captured", "--capture-seconds", "1")
        server = start(models / "wine", *flags, environ=dict(store.environment))
        server.wait_until_ready()
        assert server.predict(ROWS).status == 200
        server.wait_until(lambda: counters(server)["written_total"] == 1)
    assert all(server.predict(ROWS).status == 200 for _ in range(5))
    server.awaited(lambda line: "recorded predictions cannot be written" in line["message"])
    with ThreadPoolExecutor(4) as clients:
        assert {answer.status for answer in clients.map(server.predict, [ROWS] * 40)} == {200}
    with s3_server(tmp_path / "s3", port=port):
        server.wait_until(lambda: counters(server)["written_total"] == 46)
        server.ask_to_end()
        assert server.exit_code() == 0

    assert len(pd.read_parquet(bucket / "captured")) == 2 * 46
    assert "testbed-secret-key" not in server.process.log.read_text()


def test_store_that_stays_away_holds_no_end(start: Start, models: Path, tmp_path: Path) -> None:
    environ = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
    }
    # The supervisor would end a worker that is held 2 s after that time.
    flags = (*NATIVE, "--workers", "1", "--capture", "parquet:s3://lake/captured", "--stop-timeout", "3600")
    server = start(models / "wine", *flags, environ=environ)
    server.wait_until_ready()
    assert server.predict(ROWS).status == 200
    server.ask_to_end()

    assert server.exit_code() == 0
    assert said(server, "a worker ended before it had written") or said(server, "cannot be written")
    assert "hunter2" not in server.process.log.read_text()


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("parquet:/proc/captured", "/proc/captured"),
        ("parquet:hdfs://lake/captured", "s3://bucket/key"),
        ("parquet:s3://", "s3://bucket/key"),
        ("parquet", "--capture"),
        ("parquet:", "--capture"),
    ],
)
def test_table_that_cannot_be_written_ends_the_start(start: Start, models: Path, place: str, named: str) -> None:
    server = start(models / "wine", "--capture", place)

    assert server.exit_code() == ExitCode.INVALID_INPUT
    assert named in server.process.log.read_text()


def test_table_without_pyarrow_names_the_extra(models: Path, tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['pyarrow'] = None; from serving_runtime.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", blocked, "serve", "--model-path", models / "wine", "--port", str(free_port())]
    done = completed([*command, "--capture", f"parquet:{tmp_path}"], env=os.environ, imported=WITHOUT_PYARROW)

    assert done.returncode == ExitCode.INVALID_INPUT
    assert "install the extra tables: pip install '.[tables]'" in done.stderr
