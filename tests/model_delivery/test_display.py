"""Progress and end of a fetch, as a person at a terminal and a reader of a pod's log see them."""

import json
import os
import re
from pathlib import Path

import pytest

from model_contract.exit_codes import ExitCode
from model_delivery import display
from model_delivery.deadline import Snapshot
from testbed.delivery import COMMAND, Delivery
from testbed.faults import only, slowly
from testbed.registered import Registered
from testbed.reverse_proxy import reverse_proxy
from testbed.terminal import run_at_terminal


def test_a_line_says_bytes_rate_and_the_time_that_is_left() -> None:
    line = display.progress_line(Snapshot(bytes=300, found=100, expected=1100, seconds=2))

    assert json.loads(line) == {"fetching": {"bytes": 300, "of": 1100, "bytes_per_second": 100, "seconds_left": 8}}


def test_a_line_leaves_out_what_is_not_known() -> None:
    line = display.progress_line(Snapshot(bytes=0, found=0, expected=0, seconds=2))

    assert json.loads(line) == {"fetching": {"bytes": 0, "bytes_per_second": 0}}


def test_lines_come_while_the_block_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(display, "LINE_SECONDS", 0.01)
    with display.progress_shown(lambda: Snapshot(bytes=1, found=0, expected=2, seconds=1)):
        errors = ""
        while errors.count("\n") < 2:
            errors += capsys.readouterr().err
    lines = errors.splitlines()

    assert len(lines) > 1
    assert all("fetching" in json.loads(line) for line in lines)


def test_a_terminal_gets_a_bar_with_rate_and_remaining_time(tmp_path: Path, mlflow_3: Registered) -> None:
    with reverse_proxy(mlflow_3.uri, only("weights.bin", slowly(0.005))) as slow:
        environment = os.environ | mlflow_3.ref("big").variables() | {"MLFLOW_TRACKING_URI": slow.uri}
        (tmp_path / "store").mkdir()
        command = [*COMMAND, "fetch", f"--store={tmp_path / 'store'}", f"--termination-log={tmp_path / 'log'}"]
        code, shown = run_at_terminal(command, environment)

    assert code == ExitCode.DONE, shown
    assert re.search(r"[\d.]+/37\.7 MB", shown)
    assert re.search(r"[\d.]+ [kM]B/s", shown)
    assert re.search(r"\d:\d\d:\d\d", shown)


def test_the_termination_log_of_a_fetch_holds_one_json_line(delivery: Delivery, mlflow_3: Registered) -> None:
    first, again = (delivery.fetch(mlflow_3.ref("plain")) for _ in range(2))
    found = [json.loads(ended.reason) for ended in (first, again)]

    assert [(one["way"], one["files"], one["bytes"]) for one in found] == [("proxy", 2, 102412), ("there", 2, 102412)]
    assert all(0 <= one["seconds"] < 60 for one in found)
    assert first.reason.count("\n") == 1
