"""A server that answers as it likes: every run ends within its bounds, with a code of the table, and leaves no part of
a model.

HOSTILE_EXAMPLES makes it longer: `HOSTILE_EXAMPLES=1500 pytest --timeout=0
tests/model_delivery/test_hostile_server.py`.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ModelRef
from model_delivery import cli
from testbed.delivery import Delivery

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "60"))
# Of this process alone: other programs of the machine ask 127.0.0.1 while they wait for their own servers to start, and
# one that asked a port that was free a moment ago took an answer of the script.
ADDRESS = "127." + ".".join(str(os.getpid() // size % 250 + 2) for size in (62500, 250, 1))
REF = ModelRef(name="wine", version="1", owner="jane.doe", run_id="5f0c")
TOKEN = "dmg1_r_not-a-real-token"
MIB = 1 << 20
TLS_HANDSHAKE = b"\x16"  # of the probe that explains an answer that is not HTTP; it holds no request
CODES = {ExitCode.DONE, ExitCode.INVALID_INPUT, ExitCode.NOT_AUTHORISED, ExitCode.NOT_FOUND, ExitCode.PRECONDITION}
CODES |= {ExitCode.UNAVAILABLE, ExitCode.NO_SPACE, ExitCode.DAMAGED}
CONTENT = b"flavors: {}\n"

VERSION = {"model_version": {"status": "READY", "run_id": REF.run_id, "tags": []}}
URI = {"artifact_uri": "mlflow-artifacts:/1/r/artifacts/model"}
LISTING = {"files": [{"path": "MLmodel", "is_dir": False, "file_size": len(CONTENT)}]}
RIGHT = [json.dumps(found).encode() for found in (VERSION, URI, LISTING)] + [CONTENT]


def whole(body: bytes, status: int = 200, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


# A header of 70,000 bytes, in the short form in which hypothesis prints it; `answering` sends the long form.
LONG_HEADER = "X: long"
LONG_VALUE = b"X: " + b"y" * 70_000

names = st.one_of(
    st.sampled_from(["MLmodel", "a", "../x", "/etc/x", "a%20b", "", "..", "x" * 300, "d"]), st.text(max_size=5)
)
entries = st.fixed_dictionaries(
    {"path": names},
    optional={"is_dir": st.booleans(), "file_size": st.one_of(st.integers(-1, 10**12), st.text(max_size=3), st.none())},
)
documents = st.one_of(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=5
    ),
    st.fixed_dictionaries({"files": st.lists(entries, max_size=4)}),
    st.fixed_dictionaries(
        {
            "artifact_uri": st.sampled_from(
                ["runs:/r/m", "models:/wine/1", "s3://b/k", "http://evil/x", "mlflow-artifacts:/.."]
            )
        }
    ),
    st.sampled_from([VERSION, URI, LISTING]),
)
header = st.sampled_from(
    [
        "Location: http://127.0.0.2:1/",
        "Retry-After: 99999999999",
        "Retry-After: -1",
        "Content-Encoding: gzip",
        "Via: x",
        "Connection: close",
        "Transfer-Encoding: chunked",
        "Content-Range: bytes 7-9/10",
        "Content-Type: text/html",
        'ETag: "x"',
        LONG_HEADER,
    ]
)
bodies = documents.map(lambda found: json.dumps(found).encode()) | st.binary(max_size=40) | st.sampled_from(RIGHT)
answers = st.one_of(
    st.builds(
        lambda body, status, more: whole(body, status, *more),
        bodies,
        st.sampled_from([200, 206, 204, 301, 401, 403, 404, 416, 429, 500, 503, 700]),
        st.lists(header, max_size=2),
    ),
    st.binary(max_size=60),
    st.sampled_from(
        [
            whole(CONTENT)[:-3],
            b"HTTP/1.1 100 x\r\n\r\n" * 50,
            b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\nx",
            b"",
        ]
    ),
)


@contextmanager
def answering(script: list[bytes], *, then: bytes = b"") -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives one connection after the other the next answer of the script; what it was sent."""
    heard: list[bytes] = []
    with socket.create_server((ADDRESS, 0)) as server:

        def serve() -> None:
            left = iter(script)
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        heard.append(connection.recv(1 << 16))
                        connection.sendall(next(left, then).replace(LONG_HEADER.encode(), LONG_VALUE))

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://{ADDRESS}:{server.getsockname()[1]}", heard
        finally:
            server.shutdown(socket.SHUT_RDWR)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(script=st.lists(answers, min_size=1, max_size=6), right=st.integers(0, 4))
def test_any_answer_of_a_server_ends_the_run_with_an_exit_code_and_no_part_of_a_model(
    tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str], script: list[bytes], right: int
) -> None:
    """The first answers may be right, so that what follows them is reached too. In this process: a new one for each
    would take minutes.
    """
    directory = tmp_path_factory.mktemp("hostile")
    store, token, log = directory / "store", directory / "token", directory / "log"
    store.mkdir()
    token.write_text(TOKEN)
    log.write_text("")
    with answering([whole(body, 200, "Connection: close") for body in RIGHT[:right]] + script) as (uri, heard):
        environment = {**REF.variables(), "MLFLOW_TRACKING_URI": uri, "MODEL_API_TOKEN_FILE": str(token)}
        options = [
            "--tries=2",
            "--first-wait=0.01",
            "--longest-wait=0.02",
            "--stall=0.3",
            "--deadline=5",
            "--max-bytes=1Mi",
        ]
        code = cli.main(["fetch", f"--store={store}", f"--termination-log={log}", *options], environment)
    output = "".join(capfd.readouterr()) + log.read_text()

    assert code in CODES, output
    assert TOKEN not in output
    assert all(TOKEN.encode() in request for request in heard if request[:1] not in {b"", TLS_HANDSHAKE})
    assert sorted(path.name for path in directory.iterdir()) == ["log", "store", "token"]
    shown = [path for path in store.iterdir() if not path.name.startswith(".partial-")]
    assert bool(shown) == (code == ExitCode.DONE)
    if shown:
        model = store / REF.owner / REF.run_id / "artifacts" / "model"
        assert (model / "MLmodel").is_file()


@pytest.mark.parametrize("kind", ["many files", "one long entry", "a long object", "nested"])
def test_memory_does_not_grow_with_the_answers_of_a_server(tmp_path: Path, kind: str) -> None:
    entry = b'{"path": "%07d", "is_dir": false, "file_size": 1}'
    listing = {
        "many files": b'{"files": [' + b",".join(entry % number for number in range(1_000_000)) + b"]}",
        "one long entry": b'{"files": [{"path": "' + b"x" * (60 * MIB) + b'"}]}',
        "a long object": b'{"x": [' + b"[]," * (20 * MIB) + b"0]}",
        "nested": b'{"files": ' + b"[" * (60 * MIB),
    }[kind]
    script = [whole(body, 200, "Connection: close") for body in RIGHT[:2]] + [whole(listing, 200, "Connection: close")]
    with answering(script) as (uri, _), Delivery(directory=tmp_path, uri=uri).start(REF, "--tries=1") as process:
        peak = peak_memory(process)

    assert process.returncode == ExitCode.INVALID_INPUT
    assert 0 < peak < 150 * MIB
    assert list((tmp_path / "store").iterdir()) == []


def peak_memory(process: subprocess.Popen[str]) -> int:
    """The largest resident size in bytes, of the program alone: `ru_maxrss` would count what this process had when it
    forked.
    """
    peak = 0
    while process.poll() is None:
        with contextlib.suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            peak = int(found[1]) * 1024 if found else peak
        time.sleep(0.005)
    return peak


def test_a_long_object_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with answering([whole(b'{"model_version": {"x": "' + b"y" * (60 * MIB) + b'"}}')]) as (uri, _):
        ended = Delivery(directory=tmp_path, uri=uri).fetch(REF, "--tries=1")

    assert ended.code == ExitCode.INVALID_INPUT
    assert "the answer is longer than 8388608 bytes" in ended.reason
