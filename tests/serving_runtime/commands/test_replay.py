"""`replay`: recorded requests are asked again, of the model or of a server, and the answers compared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.processes import free_port
from testbed.runtime_server import JSON, NATIVE, serving

Run = Callable[..., Any]
ROWS = {"dataframe_records": [{"fixed acidity": 1.0, "pH": 2.0, "alcohol": 3.0}]}


def recorded(request: Any, response: Any, *, status: int = 200, path: str = "/invocations") -> dict[str, Any]:
    kept = {"ts": "2026-01-31T12:00:00Z", "request_id": "a", "protocol": "invocations"}
    return {**kept, "path": path, "request": request, "response": response, "status": status}


def recording(path: Path, *entries: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


@pytest.fixture
def predicted(run: Run, models: Path) -> float:
    body = json.dumps(ROWS["dataframe_records"]).encode()
    ended = run(
        "predict", "--model-path", models / "wine", "--input-format", "json", "--output-format", "jsonl", stdin=body
    )
    value: float = json.loads(ended.out)
    return value


def test_same_answers_end_with_zero(run: Run, models: Path, predicted: float, tmp_path: Path) -> None:
    file = recording(
        tmp_path / "r.jsonl", recorded(ROWS, {"predictions": [predicted]}), recorded({"inputs": {}}, None, status=400)
    )

    ended = run("replay", "--model-path", models / "wine", file)

    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "2 requests: 2 same, 0 different, 0 skipped\n"


def test_different_prediction_is_reported_with_its_line(
    run: Run, models: Path, predicted: float, tmp_path: Path
) -> None:
    same, other = recorded(ROWS, {"predictions": [predicted]}), recorded(ROWS, {"predictions": [predicted + 1]})
    file = recording(tmp_path / "r.jsonl", same, other, recorded(ROWS, None, status=400))

    ended = run("replay", "--model-path", models / "wine", file)

    assert ended.code == 6
    lines = ended.out.splitlines()
    assert lines[0].startswith(f"{file}:2: [0]: ")
    assert lines[1] == f"{file}:3: status 200, recorded 400"


def test_recording_of_the_server_is_replayed(run: Run, models: Path, tmp_path: Path) -> None:
    file = tmp_path / "recorded.jsonl"
    flags = (*NATIVE, "--workers", "1", "--capture", f"jsonl:{file}")
    with serving(models / "wine", *flags, log=tmp_path / "log") as server:
        assert server.predict(ROWS).status == 200
        tensor = {"name": "input-0", "shape": [1, 3], "datatype": "FP64", "data": [7.4, 3.5, 9.4]}
        assert server.ask("POST", "/v2/models/model/infer", json.dumps({"inputs": [tensor]}), JSON).status == 200
        server.ask_to_end()
        server.exit_code()

    ended = run("replay", "--model-path", models / "wine", file)

    assert (ended.code, ended.err) == (0, "2 requests: 2 same, 0 different, 0 skipped\n")


def test_difference_within_the_tolerance_is_the_same(run: Run, models: Path, predicted: float, tmp_path: Path) -> None:
    file = recording(tmp_path / "r.jsonl", recorded(ROWS, {"predictions": [predicted * (1 + 1e-9)]}))

    assert run("replay", "--model-path", models / "wine", file).code == 6
    assert run("replay", "--model-path", models / "wine", file, "--tolerance", "1e-6").code == 0


def test_recorded_requests_of_every_protocol_are_sent_to_the_server(
    run: Run, models: Path, predicted: float, tmp_path: Path
) -> None:
    v1 = recorded({"instances": [[1.0, 2.0, 3.0]]}, {"predictions": [predicted]}, path="/v1/models/model:predict")
    file = recording(tmp_path / "r.jsonl", recorded(ROWS, {"predictions": [predicted]}), v1, recorded(None, None))

    with serving(models / "wine", *NATIVE, "--workers", "1", log=tmp_path / "log") as server:
        ended = run("replay", file, "--url", server.url)

    assert (ended.code, ended.err) == (0, "3 requests: 2 same, 0 different, 1 skipped\n")


def test_server_that_does_not_answer_ends_with_unavailable(run: Run, tmp_path: Path) -> None:
    file = recording(tmp_path / "r.jsonl", recorded(ROWS, {}))

    assert run("replay", file, "--url", f"http://127.0.0.1:{free_port()}").code == 8


@pytest.mark.parametrize(
    "line", [b'{"path": "/invocations"}', b"\x1f\x8b\x08", b"[" * 10**5], ids=["no request", "no text", "deep"]
)
def test_line_that_is_no_request_is_refused_with_its_number(
    line: bytes, run: Run, models: Path, tmp_path: Path
) -> None:
    (tmp_path / "r.jsonl").write_bytes(line + b"\n")

    ended = run("replay", "--model-path", models / "wine", tmp_path / "r.jsonl")

    assert (ended.code, "line 1 of " in ended.err) == (3, True)
