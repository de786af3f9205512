"""`predict` for several files, directories and globs, with parts that are resumed."""

import csv
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from serving_runtime.commands.cli_errors import CommandError, InputFileError
from serving_runtime.commands.sources import find_sources
from testbed.closed_directory import closed_directory
from testbed.processes import Process
from testbed.runtime_server import LIBRARIES

Run = Callable[..., Any]
COLUMNS = ["id", "fixed acidity", "pH", "alcohol"]
ROWS = [["007", 7.4, 3.5, 9.4], ["8", 6.3, 3.2, 10.1], ["9", 8.0, 3.0, 11.0], ["10", 5.5, 3.9, 12.5]]


def write_csv(path: Path, rows: list[list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join(COLUMNS), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


@pytest.fixture
def wanted(run: Run, models: Path, tmp_path: Path) -> list[str]:
    """The prediction of each row."""
    ended = run("predict", "--model-path", models / "wine", write_csv(tmp_path / "all.csv", ROWS))
    (tmp_path / "all.csv").unlink()
    return [row["prediction"] for row in read_csv(ended.out)]


@pytest.fixture
def days(tmp_path: Path) -> Path:
    write_csv(tmp_path / "in/day=1/a.csv", ROWS[:1])
    write_csv(tmp_path / "in/day=2/a.csv", ROWS[1:2])
    write_csv(tmp_path / "in/day=2/b.csv", ROWS[2:])
    (tmp_path / "in/_SUCCESS").touch()
    (tmp_path / "in/notes.txt").write_text("no table\n")
    write_csv(tmp_path / "in/.hidden/a.csv", ROWS)
    return tmp_path / "in"


@pytest.mark.parametrize("names", [["in"], ["in/*"], ["in/**/*.csv"], ["in/day=1/a.csv", "in/day=2"]])
def test_rows_of_all_files_are_scored_in_order(
    names: list[str], run: Run, models: Path, days: Path, wanted: list[str]
) -> None:
    if names == ["in/*"]:
        (days / "notes.txt").unlink()

    ended = run("predict", "--model-path", models / "wine", *(days.parent / name for name in names))

    assert (ended.code, [row["prediction"] for row in read_csv(ended.out)]) == (0, wanted)


def test_files_of_several_forms_are_scored_together(run: Run, models: Path, tmp_path: Path, wanted: list[str]) -> None:
    write_csv(tmp_path / "a.csv", ROWS[:2])
    pd.DataFrame(ROWS[2:], columns=COLUMNS).to_parquet(tmp_path / "b.parquet")

    ended = run("predict", "--model-path", models / "wine", tmp_path / "a.csv", tmp_path / "b.parquet")

    assert (ended.code, [row["prediction"] for row in read_csv(ended.out)]) == (0, wanted)


def test_wrong_row_is_named_with_its_file(run: Run, models: Path, days: Path) -> None:
    write_csv(days / "day=2/a.csv", [ROWS[0], ["1", "high", 3.0, 9.0]])

    ended = run("predict", "--model-path", models / "wine", days)

    assert (ended.code, ended.err.startswith(f'error: {days}/day=2/a.csv: line 3: "fixed acidity": ')) == (3, True)


NOT_FOUND = {
    "none.csv": (5, "there is no file none.csv"),
    "none/*.csv": (5, "no file matches none/*.csv"),
    "empty": (3, "empty holds no file to score"),
    "a.csv ./a.csv": (3, "a.csv is named twice"),
    "links": (5, "links/gone.csv is a link to a file that is not there"),
    "links/*.csv": (5, "links/gone.csv is a link to a file that is not there"),
    "itself.csv": (3, "itself.csv cannot be used: Too many levels of symbolic links"),
    "x" * 300: (3, "cannot be used: File name too long"),
}


@pytest.mark.parametrize("names", NOT_FOUND)
def test_argument_without_files_is_refused(names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "a.csv", ROWS)
    (tmp_path / "empty").mkdir()
    (tmp_path / "links").mkdir()
    (tmp_path / "links/gone.csv").symlink_to("none.csv")
    (tmp_path / "itself.csv").symlink_to("itself.csv")

    with pytest.raises(CommandError) as refused:
        find_sources(names.split(), None)

    assert (refused.value.code, NOT_FOUND[names][1] in str(refused.value)) == (NOT_FOUND[names][0], True)


def test_links_to_directories_are_followed_once(tmp_path: Path) -> None:
    for name in ("in/a.csv", "in/_day=1/b.csv", "far/c.csv", "in/lost+found/d.csv", "in/_temporary/e.csv"):
        write_csv(tmp_path / name, ROWS)
    for link, target in {"in/far": "../far", "far/back": "../in"}.items():
        (tmp_path / link).symlink_to(target)

    found = find_sources([str(tmp_path / "in")], None)

    assert [source.path.name for source in found] == ["b.csv", "a.csv", "c.csv"]


def test_directory_that_cannot_be_listed_is_not_left_out() -> None:
    with closed_directory() as closed:
        with pytest.raises(InputFileError, match="closed cannot be read: Permission denied"):
            find_sources([str(closed.parent)], None)
        with pytest.raises(InputFileError, match=r"a\.csv cannot be used: Permission denied"):
            find_sources([str(closed / "a.csv")], None)


@pytest.mark.parametrize("record", ["_delta_log/0.json", ".hoodie/hoodie.properties", "metadata/v1.metadata.json"])
@pytest.mark.parametrize(
    "names", ["lake", "lake/sales", "lake/*", "lake/**", "lake/sales/data", "lake/sales/day=1", "lake/sales/day=*"]
)
def test_table_with_older_versions_is_no_directory_of_files(
    names: str, record: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "lake/sales"
    (table / record).parent.mkdir(parents=True)
    (table / record).touch()
    for name in ("data/a.csv", "day=1/a.csv"):
        (table / name).parent.mkdir()
        write_csv(table / name, ROWS)

    with pytest.raises(InputFileError, match="has a table of Delta, Hudi or Iceberg"):
        find_sources([names], None)
    for file in ("lake/sales/day=1/a.csv", "lake/sales/day=*/*.csv"):
        assert [source.path for source in find_sources([file], None)] == [Path("lake/sales/day=1/a.csv")]


def test_partition_of_hudi_is_known_by_its_own_record(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ROWS)
    (tmp_path / ".hoodie_partition_metadata").touch()

    with pytest.raises(InputFileError, match="has a table of Delta, Hudi or Iceberg"):
        find_sources([str(tmp_path)], None)


def test_directory_gets_a_part_for_each_file(
    run: Run, models: Path, days: Path, tmp_path: Path, wanted: list[str]
) -> None:
    ended = run("predict", "--model-path", models / "wine", days, "-o", f"{tmp_path}/out/")

    parts = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.csv"))
    rows = [row["prediction"] for part in parts for row in read_csv((tmp_path / "out" / part).read_text())]
    assert (ended.code, parts, rows) == (0, ["day=1/a.csv", "day=2/a.csv", "day=2/b.csv"], wanted)
    assert "4 rows in " in ended.err
    assert ended.err.endswith("; 3 parts\n")


def test_repeated_command_scores_only_what_is_not_finished(run: Run, models: Path, days: Path, tmp_path: Path) -> None:
    command = ["predict", "--model-path", models / "wine", days, "-o", f"{tmp_path}/out/", "--summary", "json"]
    assert run(*command).code == 0
    kept, changed, gone = (tmp_path / "out" / name for name in ("day=1/a.csv", "day=2/a.csv", "day=2/b.csv"))
    before = kept.stat().st_ino
    write_csv(days / "day=2/a.csv", ROWS[:3])
    gone.unlink()
    with (tmp_path / "out/_predict.jsonl").open("a") as record:
        record.write('{"part": "day=')  # a kill in the middle of a line

    again = json.loads(run(*command).err)
    last = json.loads(run(*command).err)

    assert (again["rows"], again["rows_before"], again["parts"], again["parts_before"]) == (6, 1, 3, 1)
    assert (last["rows"], last["rows_before"], last["parts"], last["parts_before"]) == (6, 6, 3, 3)
    assert (kept.stat().st_ino, len(read_csv(changed.read_text())), gone.is_file()) == (before, 3, True)


def test_parts_of_removed_files_are_counted(run: Run, models: Path, days: Path, tmp_path: Path) -> None:
    command = ["predict", "--model-path", models / "wine", days, "-o", f"{tmp_path}/out/"]
    assert run(*command).code == 0
    (days / "day=2/b.csv").unlink()

    told, counted = run(*command), json.loads(run(*command, "--summary", "json").err)

    assert told.err.endswith("; 2 parts, 2 of them finished before; 1 parts of other files stay in the directory\n")
    assert (counted["parts"], counted["parts_others"]) == (2, 1)
    (tmp_path / "out/day=2/b.csv").unlink()
    assert json.loads(run(*command, "--summary", "json").err)["parts_others"] == 0


def test_other_model_or_columns_score_every_part_again(run: Run, models: Path, days: Path, tmp_path: Path) -> None:
    command = ["predict", days, "-o", f"{tmp_path}/out/", "--summary", "json", "--model-path"]
    run(*command, models / "wine")

    kept = json.loads(run(*command, models / "wine", "--keep-columns", "id").err)

    assert (kept["parts"], kept["parts_before"]) == (3, 0)
    assert list(read_csv((tmp_path / "out/day=1/a.csv").read_text())[0]) == ["id", "prediction"]


def test_fault_leaves_the_parts_before_it_and_no_part_of_its_own(
    run: Run, models: Path, days: Path, tmp_path: Path
) -> None:
    write_csv(days / "day=2/a.csv", [["1", "high", 3.0, 9.0]])

    ended = run("predict", "--model-path", models / "wine", days, "-o", f"{tmp_path}/out/")

    assert (ended.code, ended.err.startswith(f"error: {days}/day=2/a.csv: line 2: ")) == (3, True)
    assert [path.name for path in sorted((tmp_path / "out").rglob("*")) if path.is_file()] == [
        "_predict.jsonl",
        "a.csv",
    ]


def test_refused_rows_of_each_part_are_in_a_file_of_its_name(
    run: Run, models: Path, days: Path, tmp_path: Path
) -> None:
    write_csv(days / "day=2/a.csv", [["1", "high", 3.0, 9.0], ROWS[0]])
    command = ["predict", "--model-path", models / "wine", days, "-o", f"{tmp_path}/out/", "--errors", tmp_path / "bad"]

    first, again = run(*command), run(*command)

    lines = (tmp_path / "bad/day=2/a.csv.jsonl").read_text().splitlines()
    assert (first.code, again.code, len(lines)) == (7, 7, 1)
    assert json.loads(lines[0])["place"] == f"{days}/day=2/a.csv: line 2"


def test_refused_rows_are_written_again_if_their_file_is_another_one(
    run: Run, models: Path, days: Path, tmp_path: Path
) -> None:
    write_csv(days / "day=2/a.csv", [["1", "high", 3.0, 9.0], ROWS[0]])
    command = ["predict", "--model-path", models / "wine", days, "-o", f"{tmp_path}/out/", "--errors"]
    run(*command, tmp_path / "bad")

    elsewhere = run(*command, tmp_path / "worse")
    (tmp_path / "worse/day=2/a.csv.jsonl").unlink()
    again = run(*command, tmp_path / "worse", "--summary", "json")
    without = run(*command[:-1])

    assert (elsewhere.code, (tmp_path / "worse/day=2/a.csv.jsonl").is_file()) == (7, True)
    assert (json.loads(again.err)["parts_before"], json.loads(again.err)["refused"]) == (2, 1)
    assert (without.code, without.err.startswith(f"error: {days}/day=2/a.csv: line 2: ")) == (3, True)


def test_two_files_for_one_part_are_refused(run: Run, models: Path, days: Path, tmp_path: Path) -> None:
    files = (days / "day=1/a.csv", days / "day=2/a.csv")

    ended = run("predict", "--model-path", models / "wine", *files, "-o", f"{tmp_path}/out/")

    assert (ended.code, "would both be written to" in ended.err) == (3, True)


@pytest.mark.parametrize("options", [["-o", "in/"], ["-o", "in/out/"], ["-o", "out/", "--errors", "in/bad"]])
def test_predictions_among_the_files_are_refused(
    options: list[str], run: Run, models: Path, days: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(days.parent)

    ended = run("predict", "--model-path", models / "wine", "in", *options)

    assert (ended.code, "lies in a directory that is scored" in ended.err) == (3, True)


def test_rows_that_a_former_run_refused_are_not_scored(
    run: Run, models: Path, days: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(days.parent)
    write_csv(days / "bad/a.csv", ROWS)

    ended = run("predict", "--model-path", models / "wine", "in/*=*", "in/bad", "-o", "out/", "--errors", "in/bad/")
    again = run("predict", "--model-path", models / "wine", "in/[db]*", "-o", "out/", "--errors", "in/bad/")

    assert (ended.code, "in/bad lies in a directory that is scored" in ended.err) == (3, True)
    assert (again.code, "in/bad/a.csv is in in/bad, the directory of the rows without one" in again.err) == (3, True)


def test_workers_write_the_same_parts_and_a_fault_in_one_is_one_sentence(
    run: Run, light_wine: Path, days: Path, tmp_path: Path
) -> None:
    """The file with the fault is the last one: the others have begun before, and are finished."""
    run("predict", "--model-path", light_wine, days, "-o", f"{tmp_path}/one/")
    write_csv(days / "day=3/a.csv", [["1", "high", 3.0, 9.0]])

    ended = run("predict", "--model-path", light_wine, days, "-o", f"{tmp_path}/two/", "--workers", "2")

    assert (ended.code, ended.err.startswith(f"error: {days}/day=3/a.csv: line 2: "), ended.err.count("\n")) == (
        3,
        True,
        1,
    )
    one, two = (
        {str(path.relative_to(parts)): path.read_text() for path in parts.rglob("*.csv")}
        for parts in (tmp_path / "one", tmp_path / "two")
    )
    assert (len(one), two) == (3, one)


def test_killed_command_is_resumed(run: Run, models: Path, tmp_path: Path) -> None:
    files = [write_csv(tmp_path / "in/a.csv", ROWS), write_csv(tmp_path / "in/b.csv", ROWS * 10_000)]
    out = tmp_path / "out"
    command = ["predict", "--model-path", models / "wine", "--summary", "json", *files, "-o", f"{out}/"]
    program: list[str | Path] = [sys.executable, "-m", "serving_runtime", *command, "--chunk-rows", "1"]
    killed = Process.start(program, log=tmp_path / "log", env=os.environ, imported=LIBRARIES)
    while not (out / "_predict.jsonl").exists() or not (out / "_predict.jsonl").read_text().endswith("\n"):
        assert killed.popen.poll() is None, killed.tail()
        time.sleep(0.05)
    killed.kill()
    assert not (out / "b.csv").exists()

    resumed = json.loads(run(*command).err)

    assert (resumed["rows"], resumed["rows_before"], resumed["parts_before"]) == (40_004, 4, 1)
    assert sorted(path.name for path in out.iterdir()) == ["_predict.jsonl", "a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--workers", "2"], "--workers needs a directory"),
        (["-", "a.csv"], "- is standard input, which is scored alone"),
        (["--errors", "-"], "--errors - would mix"),
        (["-o", "out.csv", "--errors", "./out.csv"], "./out.csv would get the predictions and the rows without one"),
        (["-o", "out/"], "standard input has no files"),
        (["--where", "day=1"], "--where selects files by their directories, and standard input has none"),
    ],
)
def test_options_that_need_files_or_a_directory_say_so(
    arguments: list[str], problem: str, run: Run, models: Path
) -> None:
    ended = run("predict", "--model-path", models / "wine", *arguments, stdin=b"pH\n1\n")

    assert (ended.code, problem in ended.err) == (3, True)


@pytest.mark.parametrize("arguments", [[""], ["-o", ""], ["--errors", ""]])
def test_name_that_is_empty_is_not_that_of_this_directory(arguments: list[str], run: Run, models: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run("predict", "--model-path", models / "wine", *arguments)

    assert ended.value.code == 2


def test_dash_as_output_is_standard_output(run: Run, models: Path, tmp_path: Path, wanted: list[str]) -> None:
    ended = run("predict", "--model-path", models / "wine", write_csv(tmp_path / "a.csv", ROWS), "-o", "-")

    assert (ended.code, [row["prediction"] for row in read_csv(ended.out)]) == (0, wanted)


@pytest.mark.parametrize(
    ("output", "written"),
    [
        (["-o", "out.csv", "--errors", "refused.jsonl"], "out.csv"),
        (["-o", "out/", "--errors", "refused/"], "out/a.csv"),
    ],
    ids=["one file", "parts"],
)
def test_relative_paths_are_those_of_the_start_if_the_model_changes_the_directory(
    output: list[str], written: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model" / "code").mkdir(parents=True)
    (tmp_path / "model" / "code" / "wandering_model.py").write_text(
        "import os\nclass Model:\n    def predict(self, data): os.chdir('/'); return data['a']\n"
        "def _load_pyfunc(path): os.chdir('/proc'); return Model()\n"
    )
    function = {"loader_module": "wandering_model", "code": "code"}
    (tmp_path / "model" / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": function}}))
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("a\n1\n")

    ended = run("predict", "--model-path", "model", "a.csv", "b.csv", *output)

    assert (ended.code, (tmp_path / written).read_text().splitlines()[:2]) == (0, ["a", "1"]), ended.err
