"""Lines of the audit log: whole and on the disk, or absent; limited in number and length."""

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_contract.tokens import Purpose, new_token
from testbed.gate import API, PROJECT, ask, gate
from testbed.mlflow_server import MlflowServer
from testbed.processes import PATIENCE, free_port
from tests.tracking_gate.conftest import wine_behind
from tracking_gate.audit import AuditError, AuditLog, RefusalSampler, line_of

WRITE_UNTIL_FULL = """
import asyncio, resource, sys
from tracking_gate.audit import AuditError, AuditLog
audit = AuditLog(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
async def main():
    written = 0
    while True:
        try:
            await audit.write(durable=True, text="x" * 70)
            written += 1
        except AuditError as error:
            print(written, error)
            return
asyncio.run(main())
"""


def write(audit: AuditLog, **fields: object) -> None:
    asyncio.run(audit.write(durable=True, **fields))


def test_line_that_has_no_room_is_not_there_in_part(tmp_path: Path) -> None:
    """The limit of 1,000 bytes is in the middle of a line, of which the system writes a part."""
    log = tmp_path / "audit.jsonl"
    done = subprocess.run([sys.executable, "-c", WRITE_UNTIL_FULL, log], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in log.read_text().splitlines()]

    assert done.stdout == f"{len(lines)} the audit log cannot be written\n"
    assert len(lines) == 7
    assert log.read_bytes().endswith(b"\n")


def test_move_does_not_happen_when_its_line_has_no_room(mlflow_3_18: MlflowServer, tmp_path: Path) -> None:
    with gate(mlflow_3_18, tmp_path / "gate") as found:
        wine = wine_behind(found)
        version = wine.version()
        full = found.audit.stat().st_size + 100
        resource.prlimit(found.process.popen.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
        refused = wine.move(version, "Staging", found.basic("jane"))
        stage, lines = wine.stage(version), found.lines()
        resource.prlimit(
            found.process.popen.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
        moved = wine.move(version, "Staging", found.basic("jane"))

        assert (refused.status, refused.message) == (503, "the audit log cannot be written")
        assert stage == "None"
        assert not [line for line in lines if line.get("op") == "transition_stage"]
        assert moved.status == 200
        assert [line["seq"] for line in found.lines()] == list(range(1, len(found.lines()) + 1))


def test_line_that_is_not_on_the_disk_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No disk fails here, so the call that would report it raises the error."""
    audit = AuditLog(str(tmp_path / "audit.jsonl"))
    write(audit, decision="begin")

    def failing(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched, pytest.raises(AuditError):
        patched.setattr("os.fsync", failing)
        write(audit, decision="begin")
    write(audit, decision="allow")

    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(line["seq"], line["decision"]) for line in lines] == [(1, "begin"), (2, "allow")]


@pytest.mark.parametrize("torn", [b'{"ts": "2026-01-01", "deci', b"{", b"\xff\xfe", b'{"whole": true}'])
def test_line_that_a_crash_has_cut_is_kept_in_a_whole_one(tmp_path: Path, torn: bytes) -> None:
    log = tmp_path / "audit.jsonl"
    log.write_bytes(b'{"seq": 1}\n' + torn)
    write(AuditLog(str(log)), decision="allow")
    first, marked, last = (json.loads(line) for line in log.read_text().splitlines())

    assert first == {"seq": 1}
    assert (marked["decision"], marked["bytes"], marked["text"]) == ("torn", len(torn), torn.decode("utf-8", "replace"))
    assert last["decision"] == "allow"


def test_file_that_ends_with_a_whole_line_is_left_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    log.write_bytes(b'{"seq": 1}\n')
    AuditLog(str(log))

    assert log.read_bytes() == b'{"seq": 1}\n'


def test_pipe_that_takes_parts_gets_whole_lines(tmp_path: Path) -> None:
    """A pipe holds 64 KiB, so a longer line is written in parts."""
    script = (
        "import asyncio; from tracking_gate.audit import AuditLog; "
        "asyncio.run(AuditLog('-').write(items=['x' * 500] * 100, more=['y' * 500] * 100))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert len(json.loads(done.stdout)["more"]) == 100


def test_line_of_which_the_system_takes_a_part_is_written_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal can end a call that writes to a pipe in its middle; here each call writes ten bytes."""
    taken = os.write
    monkeypatch.setattr("os.write", lambda file, rest: taken(file, bytes(rest[:10])))
    write(AuditLog(str(tmp_path / "audit.jsonl")), decision="begin")

    assert json.loads((tmp_path / "audit.jsonl").read_text())["decision"] == "begin"


@pytest.mark.parametrize(
    "value",
    ["x" * 14_000, ["1"] * 14_000, {"name": "x" * 14_000}, ["é" * 14_000] * 3],
    ids=["path", "list", "nested", "not ASCII"],
)
def test_line_is_bounded(value: object) -> None:
    assert len(line_of({"path": value})) < 5000


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("project", [PROJECT, "a-b"])
@pytest.mark.parametrize("written", ["{}", "/{}/api", "unknown field '{:.60}", "{0} {0}", "x" * 480 + "{}"])
def test_token_that_a_client_writes_in_another_place_is_in_no_line(
    written: str, project: str, purpose: Purpose
) -> None:
    """Such as in the path of MLFLOW_TRACKING_URI, or as the key of a tag."""
    token = new_token(project, purpose).value.reveal()
    line = line_of({"path": written.format(token), "archived": [token], "facts": {"key": token}}).decode()

    assert token.split("_")[3][:5] not in line
    assert f"{project}_..." in line


@pytest.mark.parametrize("text", ["a\nb", "a\u2028b", "a\u2029b", "a\x85b", "a\x1cb", "\ud800", 'a"b'])
def test_line_is_one_line_for_every_reader(text: str) -> None:
    line = line_of({"path": text}).decode()

    assert len(line.splitlines()) == 1
    assert json.loads(line)["path"] in {text, "?"}


def test_sample_has_some_at_once_then_one_in_a_while_and_says_how_many_are_missing() -> None:
    now = [0.0]
    sample = RefusalSampler(lambda: now[0], burst=2, seconds=10)
    taken = [sample.take("jane") for _ in range(5)]
    other = sample.take("olga")
    now[0] = 10.0

    assert taken == [0, 0, None, None, None]
    assert other == 0
    assert [sample.take("jane"), sample.take("jane")] == [3, None]


def test_refused_requests_of_unknown_callers_do_not_fill_the_log(mlflow_3_18: MlflowServer, tmp_path: Path) -> None:
    port = free_port()
    with gate(mlflow_3_18, tmp_path / "gate", f"--metrics-port={port}") as found:
        began = time.monotonic()
        for number in range(300):
            found.ask(
                "POST", f"{API}/{'x' * 14_000}", b"", {"Authorization": f"Bearer {number}", "User-Agent": "x" * 4000}
            )
        size, lines, seconds = found.audit.stat().st_size, found.lines(), time.monotonic() - began
        text = ask(f"http://127.0.0.1:{port}", "GET", "/metrics").body.decode()

    assert size < 1700 * len(lines)
    assert 1 <= len(lines) <= 21 + seconds / 10
    assert f"model_api_gate_unlogged_refusals_total {300 - len(lines)}.0" in text


def test_refusals_of_one_token_do_not_hide_those_of_another(mlflow_3_18: MlflowServer, tmp_path: Path) -> None:
    with gate(mlflow_3_18, tmp_path / "gate") as found:
        pull = found.bearer(Purpose.PULL)
        with ThreadPoolExecutor(8) as pool:  # faster than one line in 0.2 s, also on a machine with other work
            list(pool.map(lambda _: found.ask("GET", f"{API}/experiments/search", headers=pull), range(600)))
        found.ask("GET", f"{API}/experiments/search", headers=found.bearer(Purpose.PROMOTE))
        by_kind = [line["actor"]["kind"] for line in found.lines()]

    assert by_kind.count("promote") == 1
    assert 300 <= by_kind.count("pull") < 600


def test_slow_disk_does_not_stop_reading(mlflow_3_18: MlflowServer, tmp_path: Path) -> None:
    """A full pipe takes the place of a slow disk."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with gate(mlflow_3_18, tmp_path / "gate", f"--audit-log={pipe}") as found, ThreadPoolExecutor(1) as pool:
        os.write(filler := os.open(pipe, os.O_WRONLY | os.O_NONBLOCK), b"x" * 65536)
        waiting = pool.submit(found.ask, "POST", f"{API}/registered-models/create", b"", found.basic("jane"))
        time.sleep(0.5)
        answered = found.ask("GET", f"{API}/experiments/search?max_results=1", headers=found.basic("jane")).status
        was_done = waiting.done()
        os.read(reader, 65536)
        status = waiting.result(PATIENCE).status
        os.close(filler)

    os.close(reader)
    assert (answered, was_done, status) == (200, False, 400)
