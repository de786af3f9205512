"""`model-api doctor delivery` on a real MLflow with its artifacts on S3, and with servers that are slow or away."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from model_contract.exit_codes import ExitCode
from model_delivery.bottleneck import GIBIBYTE, MEBIBYTE, Figures, Rate, bottleneck
from testbed.delivery import wait_until
from testbed.faults import only, slowly
from testbed.gate import PASSWORD, Json, gate
from testbed.processes import PATIENCE, installed
from testbed.reverse_proxy import Exchange, reverse_proxy
from tests.model_delivery.test_presigned import SIGNED, TOKEN, OnS3, on_s3, s3_mlflow

__all__ = ["on_s3", "s3_mlflow"]

MEMORY = Path("/dev/shm")  # noqa: S108  no disk of a busy machine decides about these figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Results of a run; `left` are the files of the measured directory."""

    code: int
    report: Json
    output: str
    left: list[str]


def doctor(on_s3: OnS3, uri: str, *options: str, environment: Mapping[str, str] | None = None) -> Measured:
    model = on_s3.models.ref("big")
    with TemporaryDirectory(dir=MEMORY) as directory:
        command = [str(installed("model-api")), "doctor", "delivery", f"--name={model.name}", "--version=1"]
        command += [f"--tracking-uri={uri}", f"--directory={directory}", "--seconds=4", "--format=json", *options]
        known = {"PATH": os.environ["PATH"], "MLFLOW_TRACKING_TOKEN": TOKEN, "MODEL_API_PRESIGNED_HOSTS": on_s3.host}
        done = subprocess.run(
            command, env=known | dict(environment or {}), capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        left = [path.name for path in Path(directory).iterdir()]
    assert TOKEN not in done.stdout + done.stderr
    assert SIGNED not in done.stdout + done.stderr
    report = json.loads(done.stdout) if done.returncode == 0 and "--format=text" not in options else {}
    return Measured(code=done.returncode, report=report, output=done.stdout + done.stderr, left=left)


def late(exchange: Exchange) -> bool:
    time.sleep(2)
    return False


def test_rates_of_both_ways_are_measured_and_nothing_is_left(on_s3: OnS3) -> None:
    done = doctor(on_s3, on_s3.server.uri, "--max-mib=16", "--seconds=60")

    assert done.code == ExitCode.DONE, done.output
    assert done.report["seconds"]["gate"] is None
    for way in done.report["ways"].values():
        assert 16 * MEBIBYTE <= way["bytes"] < 24 * MEBIBYTE, done.output
        assert way["bytes_per_second"] > 0
    assert done.left == []


def test_slow_proxy_is_told_from_a_slow_store(on_s3: OnS3) -> None:
    with reverse_proxy(on_s3.server.uri, only("artifacts/artifacts/", slowly(2))) as proxy:
        slow_proxy = doctor(on_s3, proxy.uri, "--max-mib=16")
    # Each of eight connections gets one piece of 64 KiB in the time of the other way, which is slow on a busy machine.
    on_s3.store.rules = [only(SIGNED, slowly(20))]
    slow_store = doctor(on_s3, on_s3.server.uri, "--max-mib=4", "--seconds=20")

    assert slow_proxy.report["slow"] == "gate or mlflow", slow_proxy.output
    assert "MODEL_API_PRESIGNED_HOSTS" in slow_proxy.report["sentence"]
    assert slow_store.report["slow"] == "store", slow_store.output


def test_server_that_answers_late_is_named_and_the_run_is_bounded(on_s3: OnS3) -> None:
    with reverse_proxy(on_s3.server.uri, late) as proxy:
        done = doctor(on_s3, proxy.uri, "--seconds=30", "--max-mib=1")

    assert done.report["slow"] == "mlflow", done.output


def test_run_that_is_ended_in_the_middle_leaves_nothing(on_s3: OnS3, tmp_path: Path) -> None:
    model = on_s3.models.ref("big")
    with reverse_proxy(on_s3.server.uri, only("artifacts/artifacts/", slowly(0.5))) as proxy:
        command = [installed("model-api"), "doctor", "delivery", f"--name={model.name}", "--version=1"]
        command += [f"--tracking-uri={proxy.uri}", f"--directory={tmp_path}", "--seconds=600"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until(lambda: any(path.stat().st_size > MEBIBYTE for path in tmp_path.rglob("weights.bin")))
        there = list(tmp_path.iterdir())
        process.terminate()
        code = process.wait(PATIENCE)

    assert there
    assert (code, list(tmp_path.iterdir())) == (143, [])


def test_way_that_is_not_there_says_why(on_s3: OnS3) -> None:
    unset = doctor(on_s3, on_s3.server.uri, "--max-mib=1", environment={"MODEL_API_PRESIGNED_HOSTS": ""})
    other = doctor(
        on_s3, on_s3.server.uri, "--max-mib=1", "--format=text", environment={"MODEL_API_PRESIGNED_HOSTS": "a.example"}
    )

    assert unset.report["ways"]["presigned"] == {"fault": "MODEL_API_PRESIGNED_HOSTS is not set"}
    assert "does not allow" in " ".join(other.output.split())


def test_machine_without_a_directory_for_temporary_files_is_named() -> None:
    """Let no file be written, as in a container with a read-only root and no volume."""
    command = [
        "/usr/bin/prlimit",
        "--fsize=0",
        installed("model-api"),
        "doctor",
        "delivery",
        "--name=wine",
        "--version=1",
    ]
    done = subprocess.run(
        [*command, "--tracking-uri=http://127.0.0.1:9"], capture_output=True, text=True, check=False, timeout=PATIENCE
    )

    assert done.returncode == ExitCode.INVALID_INPUT
    assert "name one by --directory" in done.stderr


def test_server_that_is_away_or_refuses_ends_with_its_code(on_s3: OnS3, tmp_path: Path) -> None:
    away = doctor(on_s3, "http://127.0.0.1:9")
    with gate(on_s3.server, tmp_path / "gate") as found:
        refused = doctor(on_s3, found.uri)
        person = {"MLFLOW_TRACKING_TOKEN": "", "MLFLOW_TRACKING_USERNAME": "jane", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        allowed = doctor(on_s3, found.uri, "--max-mib=1", environment=person)

    assert (away.code, refused.code) == (ExitCode.UNAVAILABLE, ExitCode.NOT_AUTHORISED), refused.output
    assert "127.0.0.1:9" in away.output
    assert allowed.report["seconds"]["gate"] > 0, allowed.output
    assert PASSWORD not in allowed.output


FAST = Rate(bytes=GIBIBYTE, seconds=2)
SLOW = Rate(bytes=GIBIBYTE, seconds=20)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({}, ""),
        ({"connection": 1.0, "gate": 1.1, "mlflow": 1.2, "listing": 1.3}, "network"),
        ({"gate": 1.0, "mlflow": 1.1, "listing": 1.2}, "gate"),
        ({"mlflow": 1.0, "listing": 1.1}, "mlflow"),
        ({"listing": 1.0}, "store"),
        ({"gate": None, "mlflow": 1.0, "listing": 1.1}, "mlflow"),
        ({"disk": 100.0 * MEBIBYTE}, "disk"),
        ({"ways": {"proxy": SLOW, "presigned": FAST}}, "gate or mlflow"),
        ({"ways": {"proxy": FAST, "presigned": SLOW}}, "store"),
        ({"ways": {"proxy": FAST, "presigned": Rate(fault="not set")}}, ""),
        ({"ways": {"proxy": Rate(fault="cut")}}, "mlflow"),
        ({"ways": {"object store": Rate(fault="cut")}}, "store"),
        ({"ways": {"object store": FAST}, "listing": 1.0}, "store"),
        ({"ways": {"object store": FAST}}, ""),
        ({"listing": 1.0, "listed": 10_000}, ""),
    ],
)
def test_part_that_stands_out_is_named(changes: Json, part: str) -> None:
    usual: Json = {"connection": 0.001, "gate": 0.002, "mlflow": 0.004, "listing": 0.008, "disk": 2000.0 * MEBIBYTE}
    figures = Figures(**(usual | {"model_bytes": GIBIBYTE, "ways": {"proxy": FAST, "presigned": FAST}} | changes))

    assert bottleneck(figures).part == part
