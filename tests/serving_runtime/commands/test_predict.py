"""`predict`: files in, files out, through the core that serves."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from serving_runtime.codec.encode import encode
from serving_runtime.model import Model
from serving_runtime.protocols.mlflow.request import from_document
from testbed.forks import server_for
from testbed.processes import PATIENCE, completed
from testbed.runtime_server import LIBRARIES
from testbed.terminal import run_at_terminal

COLUMNS = ["fixed acidity", "pH", "alcohol"]
ROWS = [[7.4, 3.5, 9.4], [6.3, 3.2, 10.1], [8.0, 3.0, 11.0], [5.5, 3.9, 12.5], [7.0, 3.3, 9.9]]
PROGRAM: list[str | Path] = [sys.executable, "-m", "serving_runtime", "predict"]
Run = Callable[..., Any]


@pytest.fixture
def wanted(model: Callable[[str], Model]) -> list[float]:
    wine = model("wine")
    request = from_document({"dataframe_split": {"columns": COLUMNS, "data": ROWS}}, wine.metadata.signature)
    predictions: list[float] = json.loads(encode(wine.predict(request), wrapped=False))
    return predictions


def csv_text(rows: list[list[Any]]) -> str:
    return "\n".join([",".join(COLUMNS), *(",".join(map(str, row)) for row in rows)]) + "\n"


def written(path: Path) -> Path:
    frame = pd.DataFrame(ROWS, columns=COLUMNS)
    match path.name:
        case "rows.csv":
            path.write_text(csv_text(ROWS))
        case "rows.parquet":
            frame.to_parquet(path)
        case "rows.jsonl" | "lines.json":
            path.write_text(frame.to_json(orient="records", lines=True))
        case "blank line first.json":
            path.write_text("\n" + frame.to_json(orient="records", lines=True))
        case "rows.json":
            path.write_text(frame.to_json(orient="records"))
        case _:
            path.write_text(json.dumps({"dataframe_split": {"columns": COLUMNS, "data": ROWS}}))
    return path


@pytest.mark.parametrize(
    "name",
    ["rows.csv", "rows.parquet", "rows.jsonl", "lines.json", "blank line first.json", "rows.json", "body.json"],
)
def test_file_of_every_form_is_scored(name: str, run: Run, models: Path, wanted: list[float], tmp_path: Path) -> None:
    source = written(tmp_path / name)

    ended = run("predict", "--model-path", models / "wine", source, "--output-format", "jsonl", "--chunk-rows", "2")

    assert (ended.code, [json.loads(line) for line in ended.out.splitlines()]) == (0, wanted)
    assert ended.err.startswith("5 rows in ")


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "parquet"])
def test_predictions_are_written_in_every_form(
    form: str, run: Run, models: Path, wanted: list[float], tmp_path: Path
) -> None:
    output = tmp_path / f"out.{form}"

    ended = run(
        "predict", "--model-path", models / "wine", "-o", output, "--chunk-rows", "2", stdin=csv_text(ROWS).encode()
    )

    read: dict[str, Callable[[], Any]] = {
        "csv": lambda: [float(row["prediction"]) for row in csv.DictReader(output.read_text().splitlines())],
        "json": lambda: json.loads(output.read_text())["predictions"],
        "jsonl": lambda: [json.loads(line) for line in output.read_text().splitlines()],
        "parquet": pd.read_parquet(output)["prediction"].tolist if form == "parquet" else list,
    }
    assert (ended.code, read[form]()) == (0, wanted)


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_long_number_is_written_whole(form: str, run: Run, models: Path) -> None:
    command = ["predict", "--model-path", models / "chosen", "--output-format", form]

    ended = run(*command, stdin=b"expression\n[2**70 + 1]\n")

    assert (ended.code, str(2**70 + 1) in ended.out) == (0, True), ended.out


def test_wrong_row_is_named_by_its_line_and_leaves_no_file(run: Run, models: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "rows.csv", tmp_path / "out.csv"
    source.write_text(csv_text([*ROWS[:3], ["high", 3.0, 9.0], *ROWS[3:]]))

    ended = run("predict", "--model-path", models / "wine", source, "-o", output)

    assert ended.code == 3
    assert ended.err.startswith('error: line 5: "fixed acidity": ')
    assert list(tmp_path.iterdir()) == [source]


def test_line_number_includes_line_breaks_in_quoted_values(run: Run, models: Path, tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text('fixed acidity,pH,alcohol,note\n1,2,3,"two\nlines"\n\n1,low,3,\n')

    ended = run("predict", "--model-path", models / "wine", source)

    assert (ended.code, ended.err.startswith('error: line 5: "pH": ')) == (3, True)


def test_wrong_rows_go_to_a_file_and_the_others_are_scored(
    run: Run, models: Path, wanted: list[float], tmp_path: Path
) -> None:
    errors = tmp_path / "errors.jsonl"
    rows = [["x", 1, 1], *ROWS[:2], ["y", 1, "z"], *ROWS[2:]]

    ended = run(
        "predict",
        "--model-path",
        models / "wine",
        "--errors",
        errors,
        "--chunk-rows",
        "4",
        stdin=csv_text(rows).encode(),
    )

    assert ended.code == 7
    cells = [row["prediction"] for row in csv.DictReader(ended.out.splitlines())]
    assert cells == ["", *map(str, wanted[:2]), "", *map(str, wanted[2:])]
    assert [json.loads(line)["place"] for line in errors.read_text().splitlines()] == ["line 2", "line 5"]
    assert f"2 of them have no prediction, see {errors}" in ended.err


def test_missing_column_ends_the_command_with_errors_too(run: Run, models: Path, tmp_path: Path) -> None:
    ended = run("predict", "--model-path", models / "wine", "--errors", tmp_path / "errors", stdin=b"pH,alcohol\n1,2\n")

    assert ended.code == 3
    assert 'the column "fixed acidity" is missing' in ended.err


@pytest.mark.parametrize("delimiter", [";", "\t"], ids=["semicolons", "tabs"])
def test_csv_with_another_delimiter_is_refused_with_the_advice_to_use_commas(
    delimiter: str, run: Run, models: Path
) -> None:
    ended = run("predict", "--model-path", models / "wine", stdin=csv_text(ROWS).replace(",", delimiter).encode())

    assert ended.code == 3
    assert 'the column "fixed acidity" is missing' in ended.err
    assert "the fields of a CSV must be separated by commas" in ended.err


FILES = {
    "empty.csv": (b"", "the file is empty; its first line must name the columns"),
    "mark.csv": (b"\xef\xbb\xbf", "the file is empty; its first line must name the columns"),
    "latin.csv": ("fixed acidity,pH\n\xe4,1\n".encode("latin-1"), "line 2 is not UTF-8, at byte 1"),
    "carriage-returns.csv": (b"fixed acidity,pH,alcohol\r1,2,3\r", "line 1 is no CSV"),
    "cut-header.csv": (b'fixed acidity,"pH,alcohol\n1,2,3\n', "is no CSV"),
    "cut.csv": (b'fixed acidity,pH,alcohol\n1,2,"3', "line 2 is no CSV"),
    "broken.json": (b"[1, ", "the file is not JSON"),
    "deep.json": (b"[" * 10**5, "nested too deep"),
    "deep.jsonl": (b"[" * 10**5, "line 1: the body is nested too deep"),
    "short.json": (b'{"pH": 1}\n', 'the column "fixed acidity" is missing'),
    "short.jsonl": (b'{"pH": 1}\n', 'the column "fixed acidity" is missing'),
    "text.parquet": (b"no parquet", "the file cannot be read as Parquet"),
}


@pytest.mark.parametrize("name", FILES)
def test_file_that_cannot_be_read_is_refused(name: str, run: Run, models: Path, tmp_path: Path) -> None:
    content, message = FILES[name]
    (tmp_path / name).write_bytes(content)

    ended = run("predict", "--model-path", models / "wine", tmp_path / name)

    assert (ended.code, message in ended.err) == (3, True), ended.err


def test_missing_file_ends_with_not_found(run: Run, models: Path, tmp_path: Path) -> None:
    assert run("predict", "--model-path", models / "wine", tmp_path / "rows.csv").code == 5


def test_chat_bodies_are_answered_line_by_line(run: Run, models: Path) -> None:
    lines = b'{"messages": [{"role": "user"}]}\n{"prompt": "hi"}\n'

    ended = run(
        "predict", "--model-path", models / "free", "--input-format", "jsonl", "--output-format", "jsonl", stdin=lines
    )

    assert ended.code == 0
    assert [sorted(json.loads(line)["input"]) for line in ended.out.splitlines()] == [["messages"], ["prompt"]]


def test_predictions_come_while_the_input_is_still_being_written(models: Path, tmp_path: Path) -> None:
    given, output = tmp_path / "given", tmp_path / "output"
    os.mkfifo(given)
    os.mkfifo(output)
    command = [*PROGRAM, "--model-path", models / "wine", "--chunk-rows", "1"]
    server = server_for(command, LIBRARIES)
    process = server.start(command, env=os.environ, given=given, output=output, errors=tmp_path / "errors")
    with given.open("wb") as rows, output.open("rb") as predictions:
        rows.write(csv_text(ROWS[:2]).encode())
        rows.flush()
        first = [predictions.readline(), predictions.readline()]
        rows.close()
        rest = predictions.read()
    process.wait(PATIENCE)

    assert (first[0], len(first[1]) > 2, len(rest.splitlines())) == (b"prediction\n", True, 1)


@pytest.mark.parametrize("named", [False, True])
def test_wrong_row_ends_the_command_while_the_input_is_still_being_written(
    named: bool, models: Path, tmp_path: Path
) -> None:
    given, errors = tmp_path / "given", tmp_path / "errors"
    os.mkfifo(given)
    command = [*PROGRAM, "--model-path", models / "wine", *([given] if named else [])]
    process = server_for(command, LIBRARIES).start(
        command, env=os.environ, given=os.devnull if named else given, output=tmp_path / "output", errors=errors
    )
    with given.open("wb") as rows:
        rows.write(csv_text(ROWS[:1]).encode() + b"1,x,1\n")
        rows.flush()
        code = process.wait(PATIENCE)

    assert (code, errors.read_text()[:15]) == (3, "error: line 3: "), errors.read_text()


ELEMENTS = {
    "body.json": '{"inputs": ["hi", "hello"]}',
    "instances.json": '{"instances": ["hi", "hello"]}',
    "array.json": '["hi", "hello"]',
    "lines.jsonl": '"hi"\n\n"hello"\n',
    "bodies.jsonl": '{"inputs": ["hi"]}\n{"inputs": ["hello"]}\n',
    "body.jsonl": '{"inputs": ["hi", "hello"]}\n',
}


# Without a type hint an array, or a line, is a record.
LISTS = [("texts", name) for name in ELEMENTS] + [
    ("unnamed", name) for name in ELEMENTS if name not in {"array.json", "lines.jsonl"}
]


@pytest.mark.parametrize(("kind", "name"), LISTS)
def test_each_element_of_a_list_has_a_prediction(
    kind: str, name: str, run: Run, example_models: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(ELEMENTS[name])
    for chunk in ("1", "10"):
        ended = run("predict", "--model-path", example_models / kind, tmp_path / name, "--chunk-rows", chunk)

        assert (ended.code, ended.out.splitlines()) == (0, ["prediction", "2", "5"])
        assert ended.err.startswith("2 rows in ")


def test_each_line_with_an_object_has_a_prediction_of_a_model_with_a_type_hint(run: Run, example_models: Path) -> None:
    lines = b'{"name": "Ann", "age": 3}\n{"name": "Bo", "age": 4, "tags": ["new"]}\n'

    ended = run("predict", "--model-path", example_models / "people", "--input-format", "jsonl", stdin=lines)

    assert (ended.code, ended.out.splitlines()) == (0, ["prediction", "Ann is 3", "Bo is 4"])


@pytest.mark.parametrize("key", ["prompt", "messages", "dataframe_split", "inputs"])
def test_line_whose_key_is_one_of_a_protocol_is_an_element_if_the_type_hint_takes_it(
    key: str, run: Run, example_models: Path
) -> None:
    line = json.dumps({key: "a", "more": "b"}).encode()

    ended = run("predict", "--model-path", example_models / "dicts", "--input-format", "jsonl", stdin=line)

    assert (ended.code, ended.out.splitlines()) == (0, ["prediction", f"{key}='a' more='b'"])


def test_element_that_the_type_hint_refuses_is_named(run: Run, example_models: Path, tmp_path: Path) -> None:
    errors = tmp_path / "errors"

    ended = run(
        "predict",
        "--model-path",
        example_models / "texts",
        "--errors",
        errors,
        "--input-format",
        "json",
        stdin=b'["a", 1, "bc", null]',
    )

    assert (ended.code, ended.out.splitlines()) == (7, ["prediction", "1", '""', "2", '""'])
    assert [json.loads(line)["place"] for line in errors.read_text().splitlines()] == ["row 2", "row 4"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_table_for_a_type_hint_is_refused_with_the_form_to_use(form: str, run: Run, example_models: Path) -> None:
    ended = run("predict", "--model-path", example_models / "texts", "--input-format", form, stdin=b"x\nhi\n")

    assert ended.code == 3
    assert "JSON lines, one on each line (--input-format jsonl)" in ended.err


@pytest.mark.parametrize(
    ("kind", "body", "predictions"),
    [
        ("tensor", {"inputs": [[1.0, 2.0], [3.0, 4.5]]}, ["3.0", "7.5"]),
        ("tensors", {"inputs": {"ids": [[1, 2], [3, 4]], "mask": [True, False]}}, ["3", "0"]),
        ("params", {"inputs": {"a": [1, 2], "b": [2, 3]}, "params": {"times": 2}}, ["6", "10"]),
        ("params", {"inputs": [{"a": 1, "b": 2}, {"a": 2, "b": 3}], "params": {"times": 2}}, ["6", "10"]),
    ],
    ids=["tensor", "tensors", "columns", "records"],
)
def test_each_row_of_a_body_has_a_prediction(
    kind: str, body: Any, predictions: list[str], run: Run, example_models: Path
) -> None:
    ended = run(
        "predict", "--model-path", example_models / kind, "--input-format", "json", stdin=json.dumps(body).encode()
    )

    assert (ended.code, ended.out.splitlines()) == (0, ["prediction", *predictions])
    assert ended.err.startswith("2 rows in ")


def test_time_of_a_prediction_includes_the_load_of_the_model(models: Path) -> None:
    command = [*PROGRAM, "--model-path", models / "hinted", "--input-format", "json"]
    done = completed(command, env=os.environ, imported=LIBRARIES, given="[1, 2]")

    summary = r"2 rows in ([0-9.]+) s, ([0-9.]+) s of it to load the model; [0-9,]+ rows a second\n"
    found = re.fullmatch(summary, done.stderr)
    assert found, done.stderr
    assert float(found[1]) >= float(found[2]) > 0.1  # MLflow itself takes longer to import


@pytest.mark.parametrize("output", ["out.csv", "out/"])
def test_a_terminal_gets_a_bar_with_rows_rate_and_remaining_time(output: str, models: Path, tmp_path: Path) -> None:
    command = [*PROGRAM, "--model-path", models / "wine"]

    command += [written(tmp_path / "rows.csv"), "-o", f"{tmp_path}/{output}"]
    code, shown = run_at_terminal(command, os.environ, imported=LIBRARIES)

    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown)  # without colors and movements
    assert code == 0, shown
    assert re.search(r"scoring \S+ 100% 5 rows, [\d,]+ a second (\d+:\d\d:\d\d) 0:00:00", text), text
    assert text.splitlines()[-1].startswith("5 rows in ")


def test_threads_of_openblas_do_not_spin_between_two_chunks(models: Path) -> None:
    when_numpy_is_imported = (
        "import os, sys; from serving_runtime.cli import main\n"
        "def see(event, details):\n"
        "    if event == 'import' and details[0] == 'numpy':\n"
        "        print(os.environ['OPENBLAS_THREAD_TIMEOUT'], flush=True); os._exit(0)\n"
        "sys.addaudithook(see); main()"
    )
    command = [sys.executable, "-c", when_numpy_is_imported, "predict", "--model-path", models / "wine"]
    environ = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    ended = subprocess.run(command, input=csv_text(ROWS), capture_output=True, text=True, env=environ, check=True)

    assert ended.stdout == "20\n"
