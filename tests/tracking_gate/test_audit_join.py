"""`model-api-gate audit join`: the logs of several replicas as one, and what is missing in them."""

import json
import os
from pathlib import Path

import pytest

from model_contract.exit_codes import ExitCode
from testbed.gate import MODULES
from testbed.processes import completed, installed


def line(replica: str | None, seq: int, ts: str, **fields: object) -> str:
    named = {} if replica is None else {"replica": replica}
    return json.dumps({"ts": f"2026-11-29T12:00:{ts}+00:00", "seq": seq, **named, **fields}) + "\n"


def join(*files: Path) -> tuple[int, list[dict[str, object]], list[str]]:
    done = completed([installed("model-api-gate"), "audit", "join", *files], env=os.environ, imported=MODULES)
    return done.returncode, [json.loads(text) for text in done.stdout.splitlines()], done.stderr.splitlines()


def test_lines_are_in_the_order_of_terms_and_times(tmp_path: Path) -> None:
    """The clock of b is two seconds behind, but its term is the later one; the file old is that of one process."""
    a, b, old = tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "audit.jsonl"
    old.write_text(line(None, 1, "00.000", decision="allow"))
    a.write_text(line("a", 1, "03.000", term=1, n=1) + line("a", 2, "04.000", term=1, n=2) + line("a", 1, "09.000"))
    b.write_text(line("b", 1, "03.500", term=1, n=3) + line("b", 2, "02.000", term=2, n=4))
    code, lines, faults = join(b, a, old)

    assert (code, faults) == (0, [])
    assert [(one["replica"], one["seq"]) for one in lines] == [
        ("audit", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1), ("b", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("seq", [3, 4])
def test_line_that_is_missing_is_named(tmp_path: Path, seq: int) -> None:
    log = tmp_path / "a.jsonl"
    log.write_text(line("a", 1, "01.000") + line("a", seq, "02.000"))
    code, lines, faults = join(log)

    assert (code, len(lines)) == (ExitCode.PARTIAL, 2)
    assert faults == [f"{log}, line 2: a has line {seq} after 1, so lines are missing"]


def test_move_that_has_no_end_in_any_file_is_named(tmp_path: Path) -> None:
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    moves = [{"request_id": name, "op": "transition_stage", "model": "wine"} for name in ("1", "2", "3")]
    a.write_text("".join(line("a", n, f"0{n}.000", decision="begin", **move) for n, move in enumerate(moves, 1)))
    b.write_text(
        line("b", 1, "05.000", decision="recovered", **moves[0]) + line("b", 2, "06.000", decision="deny", **moves[2])
    )
    code, _, faults = join(a, b)

    assert (code, faults) == (
        ExitCode.PARTIAL,
        [f"{a}, line 2: transition_stage of wine has begun: no line says how it ended"],
    )


def test_text_that_is_no_line_is_named_and_left_out(tmp_path: Path) -> None:
    log = tmp_path / "a.jsonl"
    log.write_text(line("a", 1, "01.000") + '{"half": \n' + line("a", 2, "02.000"))
    code, lines, faults = join(log)

    assert (code, len(lines), faults) == (
        ExitCode.PARTIAL,
        2,
        [f"{log}, line 2: it is not a line of the audit log"],
    )
