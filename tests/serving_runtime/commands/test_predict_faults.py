"""`predict` when something goes wrong in the middle: a source, a disk, another run, a kill, the model."""

import bz2
import csv
import fcntl
import gzip
import json
import lzma
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from testbed.engines import children_of, command_of
from testbed.processes import PATIENCE, Process
from testbed.runtime_server import LIBRARIES

Run = Callable[..., Any]
COLUMNS = ["fixed acidity", "pH", "alcohol"]
ROW = "7.4,3.5,9.4\n"
HEADER = ",".join(COLUMNS) + "\n"
PROGRAM: list[str | Path] = [sys.executable, "-m", "serving_runtime", "predict"]


def write_csv(path: Path, rows: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "".join(f"{number / 7},3.5,9.4\n" for number in range(rows)))
    return path


def write_expressions(path: Path, expressions: Sequence[str]) -> Path:
    """Write rows of the model `chosen`, which predicts the value of the first expression that it gets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["expression"], *([one] for one in expressions)])
    return path


CHANGES = {
    "removed": "__import__('pathlib').Path({path!r}).unlink(missing_ok=True) or 1.0",
    "cut": "__import__('os').truncate({path!r}, 5) or 1.0",
    "written again": "__import__('os').utime({path!r}, (1, 1)) or 1.0",
}


@pytest.mark.parametrize("output", ["out.csv", "out/"])
@pytest.mark.parametrize("change", CHANGES)
def test_source_that_changes_while_it_is_read_leaves_no_output(
    change: str, output: str, run: Run, models: Path, tmp_path: Path
) -> None:
    path = tmp_path / "in/a.csv"
    write_expressions(path, ["1.0", CHANGES[change].format(path=str(path)), "1.0"])

    ended = run("predict", "--model-path", models / "chosen", path, "--chunk-rows", "1", "-o", f"{tmp_path}/{output}")

    assert (ended.code, f"{path} was changed or removed while it was read" in ended.err) == (3, True), ended.err
    assert [found for found in tmp_path.rglob("*.csv*") if found != path] == []


NO_TEXT = {
    "an archive in gzip": (gzip.compress(b"PK\x03\x04\x14\x00[Content_Types].xml"), "a zip archive"),
    "a workbook": (b"PK\x03\x04\x14\x00[Content_Types].xml", "a zip archive or a spreadsheet's workbook"),
    "Feather": (b"ARROW1\x00\x00", "a file of Arrow (Feather); give --input-format arrow"),
    "Parquet": (b"PAR1\x15\x04", "Parquet; give --input-format parquet"),
    "a stream of Arrow": (b"\xff\xff\xff\xff\x08\0\0\0", "a stream of Arrow; give --input-format arrow"),
    "UTF-16, little-endian": (b"\xff\xfe" + HEADER.encode("utf-16-le"), "text of UTF-16; save it as UTF-8"),
    "UTF-16, big-endian": (b"\xfe\xff" + HEADER.encode("utf-16-be"), "text of UTF-16; save it as UTF-8"),
    "UTF-16 without a mark": (HEADER.encode("utf-16-le"), "text of UTF-16; save it as UTF-8"),
    "UTF-32": (HEADER.encode("utf-32"), "text of UTF-32; save it as UTF-8"),
    "UTF-32 without a mark": (HEADER.encode("utf-32-be"), "text of UTF-32; save it as UTF-8"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "HDF5; write it as Parquet"),
    "Avro": (b"Obj\x01\x04\x14avro.codec\x08null", "Avro; write it as Parquet"),
}


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
@pytest.mark.parametrize("name", NO_TEXT)
def test_file_that_is_no_text_is_named_by_its_kind(
    name: str, form: str, run: Run, models: Path, tmp_path: Path
) -> None:
    content, kind = NO_TEXT[name]
    (tmp_path / "rows").write_bytes(content)

    ended = run("predict", "--model-path", models / "wine", tmp_path / "rows", "--input-format", form)

    assert (ended.code, f"the file is {kind}" in ended.err) == (3, True), ended.err


def test_names_of_columns_may_begin_as_another_kind_of_file(run: Run, models: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("ORC," + HEADER + "1," + ROW)

    assert run("predict", "--model-path", models / "wine", tmp_path / "rows.csv").code == 0


UNREADABLE = {
    "empty.csv": (b"", "the file is empty"),
    "empty.parquet": (b"", "the file cannot be read as Parquet"),
    "twice.csv": (b"pH,alcohol,fixed acidity,pH\n1,2,3,4\n", 'the file has the column "pH" twice'),
    "cut.json": (b"[", "the file is not JSON"),
}


@pytest.mark.parametrize("output", ["out.csv", "out/"])
@pytest.mark.parametrize("name", UNREADABLE)
def test_one_of_several_files_that_cannot_be_read_is_named(
    name: str, output: str, run: Run, models: Path, tmp_path: Path
) -> None:
    content, problem = UNREADABLE[name]
    write_csv(tmp_path / "in/a.csv", 2)
    (tmp_path / "in" / name).write_bytes(content)

    ended = run("predict", "--model-path", models / "wine", tmp_path / "in", "-o", f"{tmp_path}/{output}")

    assert (ended.code, f"error: {tmp_path}/in/{name}: {problem}" in ended.err) == (3, True), ended.err


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_byte_order_mark_is_no_part_of_the_rows(form: str, run: Run, models: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame([[7.4, 3.5, 9.4]] * 2, columns=COLUMNS)
    text = frame.to_csv(index=False) if form == "csv" else frame.to_json(orient="records", lines=form == "jsonl")
    (tmp_path / f"plain.{form}").write_text(text)
    (tmp_path / f"marked.{form}").write_text(text, encoding="utf-8-sig")

    plain, marked = (
        run("predict", "--model-path", models / "wine", tmp_path / f"{name}.{form}") for name in ("plain", "marked")
    )

    assert (marked.code, marked.out) == (0, plain.out), marked.err
    assert len(marked.out.splitlines()) == 3


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}


def compressed_rows(suffix: str, name: str, rows: int) -> bytes:
    """Return so many equal rows of wine, which differ from file to file by nothing."""
    line = (
        ROW if name.endswith("csv") else json.dumps(dict(zip(COLUMNS, map(float, ROW.split(",")), strict=True))) + "\n"
    )
    return PACKERS[suffix](((HEADER if name.endswith("csv") else "") + line * rows).encode())


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
@pytest.mark.parametrize("suffix", PACKERS)
def test_compressed_file_is_scored_as_what_it_holds(
    suffix: str, name: str, run: Run, models: Path, tmp_path: Path
) -> None:
    source = tmp_path / f"in/{name}{suffix}"
    source.parent.mkdir()
    source.write_bytes(compressed_rows(suffix, name, 3))

    ended = run("predict", "--model-path", models / "wine", source)
    parts = run("predict", "--model-path", models / "wine", source.parent, "-o", f"{tmp_path}/out/")
    piped = run("predict", "--model-path", models / "wine", "--input-format", name[5:], stdin=source.read_bytes())

    assert (ended.code, ended.out.splitlines()[0], len(ended.out.splitlines())) == (0, "prediction", 4), ended.err
    assert (parts.code, (tmp_path / "out" / name).exists()) == (0, True), parts.err
    assert (piped.code, piped.out) == (0, ended.out)


def test_file_of_pzstd_begins_with_a_frame_to_skip(run: Run, models: Path) -> None:
    size_of_the_next = bytes.fromhex("502a4d180400000000000000")

    ended = run("predict", "--model-path", models / "wine", stdin=size_of_the_next + compressed_rows(".zst", "csv", 3))

    assert (ended.code, len(ended.out.splitlines())) == (0, 4), ended.err


@pytest.mark.parametrize("suffix", PACKERS)
def test_compressed_file_that_is_cut_leaves_no_output(suffix: str, run: Run, models: Path, tmp_path: Path) -> None:
    whole, source, output = (
        compressed_rows(suffix, "rows.csv", 100),
        tmp_path / f"rows.csv{suffix}",
        tmp_path / "out.csv",
    )
    source.write_bytes(whole[: len(whole) * 2 // 3])

    ended = run("predict", "--model-path", models / "wine", source, "-o", output)

    assert (ended.code, output.exists()) == (3, False), ended.err
    assert ended.err.startswith(("error: the compressed file is cut", "error: the file cannot be read: "))


def test_output_is_not_named_as_if_it_were_compressed(run: Run, models: Path, tmp_path: Path) -> None:
    ended = run(
        "predict", "--model-path", models / "wine", "-o", tmp_path / "out.csv.gz", stdin=f"{HEADER}{ROW}".encode()
    )

    assert (ended.code, ended.err) == (
        3,
        f"error: {tmp_path}/out.csv.gz would not be compressed; name it without .gz\n",
    )


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_file_without_rows_has_the_columns_of_the_model(form: str, run: Run, models: Path, tmp_path: Path) -> None:
    right, wrong = (pd.DataFrame({name: pd.Series(dtype=float) for name in names}) for names in (COLUMNS, ["pH", "x"]))
    for name, frame in (("right", right), ("wrong", wrong)):
        path = tmp_path / f"{name}.{form}"
        frame.to_csv(path, index=False) if form == "csv" else frame.to_parquet(path)

    empty = run("predict", "--model-path", models / "wine", tmp_path / f"right.{form}")
    ended = run("predict", "--model-path", models / "wine", tmp_path / f"wrong.{form}")

    assert (empty.code, "0 rows" in empty.err) == (0, True), empty.err
    missing = 'the column "fixed acidity" is missing, and the model requires it (and 1 more); there are no rows'
    assert (ended.code, missing in ended.err) == (3, True), ended.err


OF_OTHER_FORMS = {
    "types in Parquet": (
        "out.parquet",
        ["[1.5]", "['a']"],
        "a Parquet column cannot hold predictions of several types",
    ),
    "an unsigned number in Parquet": (
        "out.parquet",
        ["np.array([2**63], dtype='uint64')"],
        "a Parquet column cannot hold predictions of too large numbers",
    ),
    "columns in CSV": ("out.csv", ["[{'a': 1}]", "[{'b': 1}]"], "the model predicted the column b, which earlier rows"),
}


@pytest.mark.parametrize("case", OF_OTHER_FORMS)
def test_predictions_that_the_output_cannot_hold_end_the_command_as_a_wrong_option_does(
    case: str, run: Run, models: Path, tmp_path: Path
) -> None:
    name, expressions, problem = OF_OTHER_FORMS[case]
    source = write_expressions(tmp_path / "a.csv", expressions)
    command = ["predict", "--model-path", models / "chosen", source, "--chunk-rows", "1", "-o", tmp_path / name]

    ended = run(*command)

    assert (ended.code, problem in ended.err) == (2, True), ended.err
    assert ended.err.endswith("; use --output-format jsonl\n")
    assert not (tmp_path / name).exists()
    assert run(*command, "--output-format", "jsonl").code == 0


def test_row_for_which_the_model_returns_nothing_is_refused(run: Run, models: Path, tmp_path: Path) -> None:
    source = write_expressions(tmp_path / "a.csv", ["[1.5]", "[]", "[2.5]"])
    command = ["predict", "--model-path", models / "chosen", source]

    refused = run(*command)
    scored = run(*command, "--errors", tmp_path / "errors")

    assert (refused.code, refused.err) == (3, "error: line 3: the model returned no prediction for this row\n")
    assert (scored.code, scored.out) == (7, 'prediction\n1.5\n""\n2.5\n')


def small_disk(directory: Path) -> list[str]:
    """Return a command that runs another with a disk of 64 KiB as the directory.

    If nobody may mount one here, its files have at most as much.
    """
    mount = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'
    disk = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(directory)]
    may_mount = subprocess.run([*disk, "true"], capture_output=True, check=False).returncode == 0
    return disk if may_mount else ["sh", "-c", 'ulimit -f 128; exec "$@"', "sh"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_disk_that_fills_ends_the_command_and_leaves_no_part(form: str, light_wine: Path, tmp_path: Path) -> None:
    source, out = write_csv(tmp_path / "a.csv", 40_000), tmp_path / "out"
    out.mkdir()
    command = [*small_disk(out), *PROGRAM, "--model-path", light_wine, source, "--output-format", form]

    ended = subprocess.run([*command, "-o", f"{out}/"], capture_output=True, text=True, check=False)

    assert ended.returncode == 11, ended.stderr
    assert f"error: {out}/a.{form} cannot be written: " in ended.stderr
    assert ended.stderr.endswith("; make space, and repeat the command\n")
    assert list(out.rglob(f"*.{form}")) == []


@pytest.mark.parametrize(("output", "locked"), [("out.csv", ".out.csv.partial"), ("out/", "_predict.jsonl")])
def test_output_of_another_run_is_not_touched(output: str, locked: str, run: Run, models: Path, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", 3)
    (tmp_path / "out").mkdir()
    held = (tmp_path / "out" if output == "out/" else tmp_path) / locked
    with held.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.write(b"of the other run")
        stream.flush()

        ended = run("predict", "--model-path", models / "wine", source, "-o", f"{tmp_path}/{output}")

        assert held.read_bytes() == b"of the other run"
    assert (ended.code, "another predict writes to" in ended.err) == (3, True)


def test_what_a_killed_run_left_is_replaced(run: Run, models: Path, tmp_path: Path) -> None:
    (tmp_path / ".out.csv.partial").write_text("the longer beginning of an output\n" * 100)

    ended = run(
        "predict", "--model-path", models / "wine", write_csv(tmp_path / "a.csv", 3), "-o", tmp_path / "out.csv"
    )

    assert (ended.code, len((tmp_path / "out.csv").read_text().splitlines())) == (0, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "out.csv"]


def started(arguments: Sequence[str | Path], log: Path) -> Process:
    """Start a run that saves each row by itself, so that it can be killed in the middle."""
    return Process.start([*PROGRAM, *arguments, "--chunk-rows", "1"], log=log, env=os.environ, imported=LIBRARIES)


def test_output_of_a_run_that_was_killed_and_repeated_is_that_of_one_run(
    run: Run, models: Path, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        write_csv(tmp_path / f"in/{name}.csv", 20_000)
    arguments = ["--model-path", models / "wine", tmp_path / "in", "--summary", "json", "-o"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = started([*arguments, f"{killed}/"], tmp_path / "log")
    while not list(killed.glob(".*.partial")):
        assert process.popen.poll() is None, process.tail()
        time.sleep(0.02)
    process.kill()

    resumed = run("predict", *arguments, f"{killed}/")
    run("predict", *arguments, f"{whole}/")

    assert json.loads(resumed.err)["rows"] == 60_000
    names = {path.name for path in killed.iterdir()}
    assert names == {"a.csv", "b.csv", "c.csv", "_predict.jsonl"}
    assert all((killed / name).read_bytes() == (whole / name).read_bytes() for name in names - {"_predict.jsonl"})


@pytest.mark.parametrize("options", [["-o", "a.csv"], ["-o", "out.csv", "--errors", "link.csv"]])
def test_file_that_is_scored_is_not_written(
    options: list[str], run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = write_csv(tmp_path / "a.csv", 3).read_bytes()
    (tmp_path / "link.csv").symlink_to("a.csv")

    ended = run("predict", "--model-path", models / "wine", "a.csv", *options)

    assert (ended.code, f"{options[-1]} is one of the files that are scored" in ended.err) == (3, True)
    assert (tmp_path / "a.csv").read_bytes() == before


@pytest.mark.parametrize("options", [["-o", "a.csv"], ["-o", "out.csv", "--errors", "link.csv"], ["-o", "out/"]])
def test_file_that_is_standard_input_is_not_written(
    options: list[str], run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = write_csv(tmp_path / "a.csv", 3).read_bytes()
    (tmp_path / "link.csv").symlink_to("a.csv")

    with (tmp_path / "a.csv").open() as given:
        ended = run("predict", "--model-path", models / "wine", *options, given=given)

    assert (ended.code, (tmp_path / "a.csv").read_bytes()) == (3, before), ended.err
    assert not (tmp_path / "out.csv").exists()


def test_standard_input_that_is_closed_is_named(run: Run, models: Path) -> None:
    ended = run("predict", "--model-path", models / "wine", given=None)

    assert (ended.code, ended.err) == (3, "error: standard input is closed; name a file\n")


def test_messages_do_not_go_among_the_predictions_if_their_stream_is_closed(
    run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(tmp_path / "a.csv", 3)
    monkeypatch.setattr(sys, "stderr", None)

    ended = run("predict", "--model-path", models / "wine", path)

    assert (ended.code, len(ended.out.splitlines())) == (0, 4)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_pipe_that_is_named_is_scored(suffix: str, run: Run, models: Path, tmp_path: Path) -> None:
    path, pipe = write_csv(tmp_path / "a.csv", 3), tmp_path / "pipe"
    content = gzip.compress(path.read_bytes()) if suffix else path.read_bytes()
    os.mkfifo(pipe)

    with ThreadPoolExecutor(1) as writer:
        writer.submit(pipe.write_bytes, content)
        ended = run("predict", "--model-path", models / "wine", pipe)
    refused = run("predict", "--model-path", models / "wine", pipe, "-o", f"{tmp_path}/out/")

    assert (ended.code, ended.out) == (0, run("predict", "--model-path", models / "wine", path).out)
    assert (refused.code, "is no file, but a pipe or a device" in refused.err) == (3, True)


def test_link_as_output_stays_a_link(run: Run, models: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").symlink_to("elsewhere.csv")

    ended = run(
        "predict", "--model-path", models / "wine", write_csv(tmp_path / "a.csv", 3), "-o", tmp_path / "out.csv"
    )

    assert (ended.code, (tmp_path / "out.csv").is_symlink()) == (0, True)
    assert len((tmp_path / "elsewhere.csv").read_text().splitlines()) == 4


def test_pipe_as_output_is_written_and_stays(run: Run, models: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["/bin/cat", pipe], stdout=subprocess.PIPE) as reader:
        ended = run("predict", "--model-path", models / "wine", write_csv(tmp_path / "a.csv", 3), "-o", pipe)
        if not pipe.is_fifo():
            reader.kill()  # it would wait for ever
        read = reader.communicate()[0]

    assert (ended.code, pipe.is_fifo(), len(read.splitlines())) == (0, True, 4)


def test_workers_end_with_a_command_that_is_killed(run: Run, light_wine: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_csv(tmp_path / f"in/{name}.csv", 40_000)
    arguments = ["--model-path", light_wine, tmp_path / "in", "-o", f"{tmp_path}/out/"]
    process = started([*arguments, "--workers", "2"], tmp_path / "log")
    while len(list((tmp_path / "out").glob(".*.partial"))) < 2:
        assert process.popen.poll() is None, process.tail()
        time.sleep(0.02)
    workers = children_of(process.popen.pid)
    assert workers
    process.popen.kill()
    process.popen.wait(PATIENCE)

    end = time.monotonic() + PATIENCE
    while any(command_of(worker) for worker in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert [command_of(worker) for worker in workers if command_of(worker)] == []
    again = run("predict", *arguments, "--summary", "json")
    assert json.loads(again.err)["rows"] == 80_000


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one process", "workers"])
def test_interrupt_ends_all_processes_with_one_line_and_leaves_no_part_of_a_file(
    options: list[str], light_wine: Path, tmp_path: Path
) -> None:
    """A terminal sends SIGINT to every process of the command."""
    for name in ("a", "b", "c", "d"):
        write_csv(tmp_path / f"in/{name}.csv", 40_000)
    arguments = ["--model-path", light_wine, tmp_path / "in", "-o", f"{tmp_path}/out/", *options]
    process = started(arguments, tmp_path / "log")
    while not list((tmp_path / "out").glob(".*.partial")):
        assert process.popen.poll() is None, process.tail()
        time.sleep(0.02)

    for pid in (*children_of(process.popen.pid), process.popen.pid):
        os.kill(pid, signal.SIGINT)

    assert process.popen.wait(PATIENCE) == -signal.SIGINT
    assert (tmp_path / "log").read_text() == "interrupted\n"
    assert list((tmp_path / "out").glob(".*.partial")) == []
