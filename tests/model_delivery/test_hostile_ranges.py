"""A server that answers requests for ranges as it likes, and every moment at which a fetch in ranges can end.

HOSTILE_EXAMPLES makes the first test longer: `HOSTILE_EXAMPLES=1500 pytest --timeout=0
tests/model_delivery/test_hostile_ranges.py`.
"""

import hashlib
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model_contract.digest import FileEntry, model_digest
from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ModelRef
from model_contract.names import TAG_DIGEST
from model_delivery import cli, ranges, transfer
from testbed.delivery import Delivery
from testbed.http_server import in_thread
from testbed.registered import Registered, files_below
from tests.model_delivery.test_store import small_disk, watch

MOMENTS = (0.15, 0.2, 0.25, 0.3, 0.33, 0.36, 0.4, 0.45, 0.5, 0.6)  # seconds after the start of a fetch
EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "60"))
REF = ModelRef(name="wine", version="1", owner="jane.doe", run_id="5f0c")
MLMODEL = b"flavors: {}\n"
WEIGHTS = bytes(range(100))
RANGE = 16  # bytes: the file has seven ranges
ENTRIES = [
    FileEntry(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    for path, content in (("MLmodel", MLMODEL), ("weights.bin", WEIGHTS))
]
DIGEST = model_digest(ENTRIES)


@dataclass(kw_only=True)
class Answer:
    """An answer to a request for a range, or for the whole file; its body may be shorter than `promised`."""

    status: int
    body: bytes
    begin: int
    end: int
    size: int = len(WEIGHTS)
    etag: str = '"right"'
    promised: int = 0
    with_place: bool = True

    @property
    def headers(self) -> dict[str, str]:
        place = f"bytes {self.begin}-{self.end - 1}/{self.size}" if self.with_place and self.status == 206 else ""
        found = {"ETag": self.etag, "Content-Range": place, "Content-Length": str(self.promised)}
        return {name: value for name, value in found.items() if value}


def honest(right: Answer) -> Answer:
    return right


def as_promised(right: Answer, body: bytes) -> Answer:
    return replace(right, body=body, promised=len(body))


def flipped(body: bytes) -> bytes:
    return bytes(byte ^ 1 for byte in body)


def of_another_file(right: Answer) -> Answer:
    """A range of other content, which its tag tells apart."""
    return replace(right, body=flipped(right.body), etag='"other"') if right.status == 206 else right


LIES = {"other bytes", "200 of another file"}  # under the right tag: only the digest of the version tells
KINDS: dict[str, Callable[[Answer], Answer]] = {
    "honest": honest,
    "other bytes": lambda right: replace(right, body=flipped(right.body)),
    "cut": lambda right: replace(right, body=right.body[: len(right.body) // 2]),
    "cut at once": lambda right: replace(right, body=b""),
    "ended early": lambda right: as_promised(right, right.body[: len(right.body) // 2]),
    "longer": lambda right: as_promised(right, right.body + b"more"),
    "another place": lambda right: replace(right, begin=right.begin + 1, end=right.end + 1),
    "another size": lambda right: replace(right, size=right.size + 1),
    "another tag": of_another_file,
    "no tag": lambda right: replace(right, etag=""),
    "no place": lambda right: replace(right, with_place=False),
    "200": lambda right: as_promised(replace(right, status=200), WEIGHTS),
    "200 of another file": lambda right: as_promised(replace(right, status=200), WEIGHTS[::-1]),
    **{
        str(status): lambda right, status=status: as_promised(replace(right, status=status), b"{}")
        for status in (403, 404, 416, 500, 503, 700)
    },
}
CODES = {ExitCode.DONE, ExitCode.INVALID_INPUT, ExitCode.NOT_AUTHORISED, ExitCode.NOT_FOUND, ExitCode.PRECONDITION}
CODES |= {ExitCode.UNAVAILABLE, ExitCode.DAMAGED}


class Server(BaseHTTPRequestHandler):
    """An MLflow with one model, whose answers for its large file are as the script says, and then honest."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    script: ClassVar[Iterator[str]]
    lock: ClassVar[Lock] = Lock()

    def do_GET(self) -> None:
        if self.path.endswith("/weights.bin"):
            with self.lock:
                kind = next(self.script)
            self.file(kind)
        elif "/artifacts/" in self.path:
            self.whole(200, MLMODEL)
        else:
            self.whole(200, json.dumps(self.document()).encode())

    def document(self) -> dict[str, Any]:
        if "get-download-uri" in self.path:
            return {"artifact_uri": "mlflow-artifacts:/1/r/artifacts/model"}
        if "model-versions" in self.path:
            tags = [{"key": TAG_DIGEST, "value": DIGEST}]
            return {"model_version": {"status": "READY", "run_id": REF.run_id, "tags": tags}}
        return {"files": [{"path": entry.path, "is_dir": False, "file_size": entry.size} for entry in ENTRIES]}

    def file(self, kind: str) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        begin, end = (int(found[1]), int(found[2] or len(WEIGHTS) - 1) + 1) if found else (0, len(WEIGHTS))
        body = WEIGHTS[begin:end]
        right = Answer(status=206 if found else 200, body=body, begin=begin, end=end, promised=len(body))
        answer = KINDS[kind](right)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = answer.promised != len(answer.body)

    def whole(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name of the base class
        """Log nothing."""


@contextmanager
def answering(script: Sequence[str]) -> Iterator[str]:
    """Run the server on an address of this process alone."""

    class Scripted(Server):
        pass

    Scripted.script = itertools.chain(script, itertools.repeat("honest"))
    address = "127." + ".".join(str(os.getpid() // size % 250 + 2) for size in (62500, 250, 1))
    server = ThreadingHTTPServer((address, 0), Scripted)
    with in_thread(server):
        yield f"http://{address}:{server.server_port}"


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(script=["honest", "another tag"], parallel=2)
@example(script=["cut", "another tag"], parallel=1)
@given(script=st.lists(st.sampled_from(list(KINDS)), max_size=12), parallel=st.integers(1, 4))
def test_any_answers_to_requests_for_ranges_give_the_right_bytes_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    script: list[str],
    parallel: int,
) -> None:
    monkeypatch.setattr(ranges, "RANGE", RANGE)
    monkeypatch.setattr(ranges, "RECORDED", 5)
    monkeypatch.setattr(transfer, "SMALLEST", 2 * RANGE)
    directory = tmp_path_factory.mktemp("ranges")
    store, log = directory / "store", directory / "log"
    store.mkdir()
    log.write_text("")
    options = ["--tries=2", "--first-wait=0.01", "--longest-wait=0.02"]
    arguments = ["fetch", f"--store={store}", f"--termination-log={log}", f"--parallel={parallel}", *options]
    with answering(script) as uri:
        code = cli.main([*arguments, "--stall=1", "--deadline=10"], {**REF.variables(), "MLFLOW_TRACKING_URI": uri})
        output = "".join(capfd.readouterr()) + log.read_text()
        model = store / REF.owner / REF.run_id / "artifacts" / "model"

        assert code in CODES, output
        assert code != ExitCode.PRECONDITION or LIES & set(script), output
        assert model.exists() == (code == ExitCode.DONE), output

    if code != ExitCode.DONE:  # the next start, at an honest server
        with answering([]) as uri:
            again = cli.main(arguments, {**REF.variables(), "MLFLOW_TRACKING_URI": uri})
            assert again == ExitCode.DONE or (again == ExitCode.PRECONDITION and LIES & set(script)), output
            if again != ExitCode.DONE:
                assert cli.main(arguments, {**REF.variables(), "MLFLOW_TRACKING_URI": uri}) == ExitCode.DONE, output
    assert files_below(model) == {"MLmodel": MLMODEL, "weights.bin": WEIGHTS}, output


def test_no_part_of_a_model_is_visible_if_its_fetch_is_killed_at_any_moment(
    delivery: Delivery, mlflow_3: Registered
) -> None:
    ref = mlflow_3.ref("big")
    for moment in MOMENTS:
        with delivery.start(ref) as process:
            time.sleep(moment)
            process.kill()
        if delivery.run_directory(ref).exists():
            assert delivery.verify(ref, "--digests").code == ExitCode.DONE
            break
    ended = watch(delivery, ref, delivery.start(ref))

    assert ended.code == ExitCode.DONE, ended.output
    assert files_below(delivery.model(ref)) == mlflow_3.files("big")
    assert delivery.partial() == []


@pytest.mark.parametrize("blocks", [1, 2, 31, 32_769, 65_537, 73_727])
def test_a_disk_that_is_full_at_any_byte_ends_the_fetch_and_leaves_nothing(
    delivery: Delivery, mlflow_3: Registered, blocks: int
) -> None:
    ended = delivery.fetch(mlflow_3.ref("big"), before=["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh"])

    assert ended.code == ExitCode.NO_SPACE, ended.output
    assert list(delivery.store.iterdir()) == []
    assert delivery.fetch(mlflow_3.ref("big")).code == ExitCode.DONE


def test_a_full_disk_under_ranges_leaves_nothing(delivery: Delivery, mlflow_3: Registered, tmp_path: Path) -> None:
    inside = ["sh", "-c", '"$@"; code=$?; ls -A "$0"; exit $code', str(delivery.store)]
    ended = delivery.fetch(mlflow_3.ref("big"), "--parallel=4", before=[*small_disk(delivery.store), *inside])

    assert ended.code == ExitCode.NO_SPACE, ended.output
    assert ended.output.splitlines()[-1].startswith("error: the store has no space left for the model")
