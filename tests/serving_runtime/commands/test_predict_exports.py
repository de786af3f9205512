"""`predict` for files as other programs export them: read as they are, or refused by what is wrong with them."""

import json
import lzma
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

FRAME = pd.DataFrame([[7.4, 3.5, 9.4], [6.3, 3.2, 10.1]], columns=["fixed acidity", "pH", "alcohol"])
TEXT = FRAME.to_csv(index=False).encode()
HEADER, ROWS = TEXT.split(b"\n", 1)
Run = Callable[..., Any]


def by_duckdb(path: Path, options: str) -> None:
    with duckdb.connect() as database:
        database.register("rows", FRAME)
        database.execute(f"COPY rows TO '{path}' ({options})")


def with_folder_of_mac(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("wines")
        archive.writestr("wines/rows.csv", TEXT)
        archive.writestr("__MACOSX/wines/._rows.csv", b"\0\5\x16\7")


def with_damage(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:  # stored as it is
        archive.writestr("rows.csv", TEXT)
    path.write_bytes(path.read_bytes().replace(b"7.4", b"7.5"))


def write_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        FRAME.to_sql("rows", database)


READ: dict[str, Callable[[Path], Any]] = {
    "padded.csv.xz": lambda path: path.write_bytes(lzma.compress(TEXT) + bytes(8)),
    "padded between.csv.xz": lambda path: path.write_bytes(
        lzma.compress(HEADER + b"\n") + bytes(4) + lzma.compress(ROWS) + bytes(1 << 21)
    ),
    "older.csv.lzma": lambda path: path.write_bytes(lzma.compress(TEXT, lzma.FORMAT_ALONE)),
    "pandas.csv.zip": lambda path: FRAME.to_csv(path, index=False),
    "pandas.jsonl.zip": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "folder.csv.zip": with_folder_of_mac,
    "duckdb.csv.gz": lambda path: by_duckdb(path, "FORMAT csv"),
    "duckdb.csv.zst": lambda path: by_duckdb(path, "FORMAT csv, FORCE_QUOTE *"),
    "duckdb.json": lambda path: by_duckdb(path, "FORMAT json, ARRAY true"),
    "fastparquet.parq": FRAME.to_parquet,
}


@pytest.mark.parametrize("name", READ)
def test_export_is_scored_as_the_rows_that_it_holds(name: str, run: Run, models: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    READ[name](tmp_path / "in" / name)

    plain = run("predict", "--model-path", models / "wine", stdin=TEXT)
    ended = run("predict", "--model-path", models / "wine", tmp_path / "in", "--output-format", "csv")

    assert (ended.code, ended.out) == (0, plain.out), ended.err


def test_record_over_several_lines_is_one_row(run: Run, models: Path, tmp_path: Path) -> None:
    record, kept = FRAME.iloc[0].to_dict(), ("--keep-columns", "pH", "--output-format", "jsonl")
    (tmp_path / "line.json").write_text(json.dumps(record))
    (tmp_path / "lines.json").write_text(json.dumps(record, indent=2))

    line, lines = (
        run("predict", "--model-path", models / "wine", tmp_path / f"{name}.json", *kept) for name in ("line", "lines")
    )

    assert (lines.code, lines.out) == (0, line.out), lines.err
    assert json.loads(lines.out)["pH"] == 3.5


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut.csv.xz": (lambda path: path.write_bytes(lzma.compress(TEXT)[:-4]), "the compressed file is cut or damaged"),
    "extended.csv.xz": (
        lambda path: path.write_bytes(lzma.compress(TEXT) + b"\0\0\0\0more"),
        "the compressed file is cut or damaged",
    ),
    "damaged.csv.zip": (with_damage, "the compressed file is cut or damaged"),
    "cut.csv.zip": (
        lambda path: (FRAME.to_csv(path, index=False), path.write_bytes(path.read_bytes()[:-30])),
        "the file is a zip archive or a spreadsheet's workbook; unpack it",
    ),
    "two files.csv.zip": (
        lambda path: (FRAME.to_csv(path, index=False), zipfile.ZipFile(path, "a").writestr("b.csv", TEXT)),
        "the file is a zip archive or a spreadsheet's workbook; unpack it",
    ),
    "Macintosh.csv": (
        lambda path: FRAME.to_csv(path, index=False, lineterminator="\r"),
        "line 1 is no CSV: a line ends with a carriage return alone; save it with line feeds",
    ),
    "for Excel.csv": (lambda path: path.write_bytes(b"sep=,\r\n" + TEXT), "line 1 tells Excel the delimiter (sep=)"),
    "for Excel in Europe.csv": (
        lambda path: path.write_bytes(b"sep=;\r\n" + TEXT.replace(b",", b";")),
        "line 1 tells Excel the delimiter (sep=); remove it, and separate the fields by commas",
    ),
    "Europe.csv": (
        lambda path: FRAME.to_csv(path, index=False, sep=";", decimal=","),
        "separated by commas, and its numbers have a decimal point",
    ),
    "tabs.tsv": (lambda path: FRAME.to_csv(path, index=False, sep="\t"), "a CSV must be separated by commas"),
    "Unicode text.txt": (
        lambda path: FRAME.to_csv(path, index=False, sep="\t", encoding="utf-16"),
        "text of UTF-16; save it as UTF-8, with commas between the fields",
    ),
    "feather.csv": (FRAME.to_feather, "the file is a file of Arrow (Feather); give --input-format arrow"),
    "rows.orc": (FRAME.to_orc, "the file is ORC; write it as Parquet"),
    "compressed.orc": (
        lambda path: FRAME.to_orc(path, engine_kwargs={"compression": "zlib"}),
        "the file is ORC; write it as Parquet",
    ),
    "rows.pkl": (FRAME.to_pickle, "the file is a pickle of Python; write it as Parquet"),
    "compressed.pkl.gz": (FRAME.to_pickle, "the file is a pickle of Python; write it as Parquet"),
    "old.pkl": (
        lambda path: FRAME.to_pickle(path, protocol=2),
        "the file is a pickle of Python; write it as Parquet",
    ),
    "rows.db": (write_database, "the file is a database of SQLite; write the table as CSV"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_export_that_is_not_read_is_refused_with_the_next_step(
    name: str, run: Run, models: Path, tmp_path: Path
) -> None:
    write, problem = REFUSED[name]
    write(tmp_path / name)

    ended = run("predict", "--model-path", models / "wine", tmp_path / name, "-o", tmp_path / "out.csv")

    assert (ended.code, problem in ended.err) == (3, True), ended.err
    assert not (tmp_path / "out.csv").exists()


def test_zip_archive_in_a_pipe_is_refused(run_with_pipe: Run, models: Path, tmp_path: Path) -> None:
    archive = tmp_path / "rows.csv.zip"
    FRAME.to_csv(archive, index=False)

    ended = run_with_pipe("predict", "--model-path", models / "wine", stdin=archive.read_bytes())

    assert (ended.code, ended.out) == (3, "")
    assert "the file is a zip archive or a spreadsheet's workbook; unpack it" in ended.err
