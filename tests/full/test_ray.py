"""Scoring on Ray Data: each row once, also if an actor is lost; refusals with their places."""

import os
import re
import signal
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from testbed.engines import (
    LONGEST,
    NULL,
    ROWS,
    TIMEOUT,
    Engines,
    command_of,
    has_each_row_once,
    rows,
    wait_for_batches,
)
from testbed.processes import free_port

pytestmark = pytest.mark.timeout(TIMEOUT)
LOCAL = ("predict", "--engine", "ray")
Table = Callable[[int], Path]


def test_lost_actor_loses_no_row(engines: Engines, engine_models: Path, table: Table, tmp_path: Path) -> None:
    log = tmp_path / "model.log"
    command = ["predict", "--engine", "ray", "--workers", "2"]
    with engines.running(
        engines.python, "-m", "serving_runtime", *command, "--model-path", engine_models / "sum", table(8),
        "-o", tmp_path / "out", "--keep-columns", "id", "--chunk-rows", "500",
        log=tmp_path / "log", MODEL_LOG=str(log), MODEL_SECONDS="0.5",
    ) as process:  # fmt: skip
        wait_for_batches(log, 4)
        actor = int(log.read_text().split()[-2])
        named = command_of(actor)
        os.kill(actor, signal.SIGKILL)
        code = process.wait(LONGEST)

    told = (tmp_path / "log").read_text(errors="replace")
    assert "ray::" in named
    assert code == 0, told
    assert re.fullmatch(r"16,000 rows in [\d.]+ s; [\d,]+ rows a second", told.rstrip().rpartition("\n")[2])
    assert has_each_row_once(tmp_path / "out", 8)
    lines = log.read_text().splitlines()
    loads = [line.split() for line in lines if line.startswith("load")]
    assert len({process for _, process, _ in loads}) == 3  # two, and the one that replaced the lost one
    assert sum(line.startswith("batch") for line in lines) > 8 * ROWS // 500  # some were repeated


def test_cluster_is_named_by_its_address(engines: Engines, engine_models: Path, table: Table, tmp_path: Path) -> None:
    directory, head = table(2), tmp_path / "head"
    command = (*LOCAL, "--model-path", engine_models / "sum", directory, "--keep-columns", "id")
    start = "import ray, time; print(ray.init(num_cpus=3, include_dashboard=False).address_info['address'], flush=True)"
    with engines.running(engines.python, "-c", f"{start}; time.sleep({TIMEOUT})", log=head, RAY_AUTH_MODE="disabled"):
        address = wait_for_address(head)
        for output, options, variables in (
            ("by-option", ("--address", address), {}),
            ("by-variable", (), {"RAY_ADDRESS": address}),
        ):
            scored = engines.run(
                *command, *options, "-o", tmp_path / output, directory=tmp_path, RAY_AUTH_MODE="disabled", **variables
            )
            assert scored.code == 0, scored.err
            assert "Connecting to existing Ray cluster" in scored.err
            assert has_each_row_once(tmp_path / output, 2)


def wait_for_address(log: Path) -> str:
    """Return the address that a cluster has printed. Raises TimeoutError."""
    end = time.monotonic() + LONGEST
    while (found := re.search(r"^[\d.]+:\d+$", log.read_text(), re.MULTILINE)) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"the cluster has printed no address after {LONGEST} s: {log.read_text()}")
        time.sleep(0.1)
    return found[0]


def test_cluster_that_does_not_answer_ends_the_command(engines: Engines, engine_models: Path, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    command = (*LOCAL, "--model-path", engine_models / "sum", "rows", "-o", "out", "--address", address)

    ended = engines.run(*command, directory=tmp_path)

    assert (ended.code, ended.last) == (
        8,
        f"error: the cluster of Ray does not answer at {address}: Connection refused",
    )


def test_far_time_of_sparks_older_type_is_no_fault_of_another_column_and_is_not_kept_as_another_one(
    engines: Engines, engine_models: Path, table: Table, tmp_path: Path
) -> None:
    directory = table(2)
    for number, year in enumerate((2024, 9999)):
        until = pa.array([datetime(year, 12, 31)] * ROWS, pa.timestamp("us"))  # noqa: DTZ001  such times have no zone
        parquet.write_table(
            rows(number * ROWS).append_column("until", until),
            directory / f"part-{number}.parquet",
            use_deprecated_int96_timestamps=True,
        )
    command = (*LOCAL, "--model-path", engine_models / "sum", directory, "--keep-columns")

    scored = engines.run(*command, "id", "-o", tmp_path / "out", directory=tmp_path)
    refused = engines.run(*command, "id,until", "-o", tmp_path / "more", directory=tmp_path)

    assert scored.code == 0, scored.err
    assert has_each_row_once(tmp_path / "out", 2)
    assert refused.code == 3, refused.err
    assert refused.last.startswith(f"error: {directory}/part-1.parquet: a time of INT96 is beyond the year 2262")


def test_row_that_is_refused_ends_the_command_with_its_file(
    engines: Engines, engine_models: Path, table: Table, tmp_path: Path
) -> None:
    directory = table(2)
    odd = rows(0).set_column(2, "count", pa.array([None if row == 1234 else row for row in range(ROWS)]))
    parquet.write_table(odd, directory / "part-1.parquet")

    ended = engines.run(
        *LOCAL, "--model-path", engine_models / "sum", directory, "-o", tmp_path / "out", directory=tmp_path
    )

    assert ended.code == 3, ended.err
    assert ended.last == (f"error: {directory}/part-1.parquet: row 1235: {NULL}")


def test_column_that_changes_its_type_in_the_last_file_ends_the_command(
    engines: Engines, engine_models: Path, table: Table, tmp_path: Path
) -> None:
    directory = table(2)
    parquet.write_table(
        rows(0).set_column(1, "size", pa.array([f"{row} m" for row in range(ROWS)])), directory / "part-1.parquet"
    )

    ended = engines.run(
        *LOCAL, "--model-path", engine_models / "sum", directory, "-o", tmp_path / "out", directory=tmp_path
    )

    assert ended.code in {1, 3}, ended.err
    assert "size" in ended.last or "string" in ended.last
