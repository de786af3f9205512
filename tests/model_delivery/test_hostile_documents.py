"""A server whose answer has one other value than MLflow's: each command ends with a code of the table and one line."""

import copy
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from model_contract.exit_codes import ExitCode
from model_delivery import cli
from testbed.http_server import in_thread
from tests.model_delivery.test_hostile_server import CODES

RUN = "5f0c"
MLMODEL = b"flavors: {}\n"
SURPRISES: list[Any] = [None, True, 7, -1, "", "\ud800\x1b[2J", [], [7], [{}], {}, {"a": 7}]
VERSION = {"name": "wine", "version": "1", "status": "READY", "run_id": RUN, "tags": [{"key": "a", "value": "b"}]}
# The answer to requests with the key in their path.
ANSWERS: dict[str, Any] = {
    "registered-models/get": {"registered_model": {"name": "wine", "aliases": [{"alias": "live", "version": "1"}]}},
    "model-versions/get?": {"model_version": VERSION},
    "get-download-uri": {"artifact_uri": "mlflow-artifacts:/1/r/artifacts/model"},
    "model-versions/search": {"model_versions": [{"name": "wine", "version": "1", "source": f"runs:/{RUN}/model"}]},
    "runs/get": {"run": {"info": {"experiment_id": "1", "artifact_uri": "mlflow-artifacts:/1/r/artifacts"}}},
    "logged-models/search": {"models": [{"info": {"artifact_uri": "mlflow-artifacts:/1/r/artifacts/model"}}]},
    "artifacts?path=1%2Fr%2Fartifacts%2Fmodel": {
        "files": [{"path": "MLmodel", "is_dir": False, "file_size": len(MLMODEL)}]
    },
}
COMMANDS = {
    "storage mlflow://wine@live": (
        "registered-models/get",
        "model-versions/get?",
        "get-download-uri",
        "artifacts?path",
    ),
    f"storage mlflow://runs/{RUN}/model": ("runs/get", "logged-models/search", "artifacts?path"),
    "resolve models:/wine@live": ("registered-models/get", "model-versions/get?"),
    f"resolve runs:/{RUN}/model": ("model-versions/search", "model-versions/get?"),
}


class Server(BaseHTTPRequestHandler):
    """An MLflow with one model."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    answers: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = next((document for part, document in self.answers.items() if part in self.path), None)
        body = MLMODEL if found is None else json.dumps(found).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    do_POST = do_GET  # noqa: N815  the name of the base class


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a document."""
    yield path
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in inner:
        yield from places(value, (*path, key))


def with_other(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = here = copy.deepcopy(document)
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    return changed


@pytest.mark.parametrize("command", COMMANDS)
def test_other_value_anywhere_in_an_answer_ends_the_run_with_an_exit_code_and_a_printable_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    log, asked = tmp_path / "log", COMMANDS[command]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    environment = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{server.server_port}"}
    right = 0
    with in_thread(server):
        changes = [
            (part, place, surprise)
            for part, document in ANSWERS.items()
            if part.startswith(asked)
            for place in places(document)
            for surprise in SURPRISES
        ]
        for number, (part, place, surprise) in enumerate(changes):
            Server.answers = ANSWERS | {part: with_other(ANSWERS[part], place, surprise)}
            directory = tmp_path / str(number)
            directory.mkdir()
            log.write_text("")
            words = [*command.split(), *([str(directory)] if command.startswith("storage") else [])]
            code = cli.main([*words, "--tries=1", f"--termination-log={log}"], environment)
            output = "".join(capfd.readouterr())

            assert code in CODES, (part, place, surprise, output)
            assert output.replace("\n", "").isprintable(), (part, place, surprise, output)
            assert (code == ExitCode.DONE) or log.read_text().count("\n") == 1
            assert (directory / "MLmodel").exists() == (code == ExitCode.DONE and command.startswith("storage"))
            right += code == ExitCode.DONE

    assert 0 < right < len(changes)
