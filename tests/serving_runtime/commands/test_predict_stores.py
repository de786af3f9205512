"""`predict` from and into an object store, against a real server of S3."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pytest

from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.sources import find_sources
from serving_runtime.tables.object_store import BLOCK, ObjectPath
from testbed.faults import answer, only
from testbed.reverse_proxy import Exchange, reverse_proxy
from testbed.s3_server import S3Server, s3_server

Run = Callable[..., Any]
HEADER = "id,fixed acidity,pH,alcohol\n"
DAYS = {"in/day=1/a.csv": "1,7.4,3.5,9.4\n", "in/day=2/a.csv": "2,6.3,3.2,10.1\n3,8.0,3.0,11.0\n"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def lake(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a bucket with two days of rows in CSV, one in Parquet, and files that are no tables."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    name = f"lake-{len(list(server.directory.iterdir()))}"
    bucket = server.bucket(name)
    for key, rows in DAYS.items():
        (bucket / key).parent.mkdir(parents=True, exist_ok=True)
        (bucket / key).write_text(HEADER + rows)
    (bucket / "in/day=3").mkdir()
    frame = pd.read_csv(io.StringIO(HEADER + "4,5.5,3.9,12.5\n")).astype({"id": str})
    frame.to_parquet(bucket / "in/day=3/b.parquet")
    (bucket / "in/_SUCCESS").touch()
    (bucket / "in/notes.txt").write_text("no table\n")
    return name


def files_below(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "_predict.jsonl"
    }


def test_parts_that_workers_write_to_a_store_are_those_of_a_directory(
    run: Run, light_wine: Path, server: S3Server, lake: str, tmp_path: Path
) -> None:
    options = ["--model-path", light_wine, "--keep-columns", "id,day", "--output-format", "csv"]

    stored = run("predict", *options, f"s3://{lake}/in", "-o", f"s3://{lake}/out/", "--workers", "2")
    local = run("predict", *options, server.directory / lake / "in", "-o", f"{tmp_path}/out/")

    parts = files_below(server.directory / lake / "out")
    assert (stored.code, local.code) == (0, 0), stored.err
    assert list(parts) == ["day=1/a.csv", "day=2/a.csv", "day=3/b.csv"]
    assert parts["day=2/a.csv"].startswith("id,day,prediction\n2,2,")
    assert parts == files_below(tmp_path / "out")


def test_repeated_command_scores_only_changed_objects(run: Run, models: Path, server: S3Server, lake: str) -> None:
    command = ["predict", "--model-path", models / "wine", f"s3://{lake}/in/", "-o", f"s3://{lake}/out/"]
    first = json.loads(run(*command, "--summary", "json").err)
    (server.directory / lake / "in/day=1/a.csv").write_text(HEADER + "1,7.4,3.5,9.4\n9,7.4,3.5,9.4\n")
    (server.directory / lake / "out/day=3/b.parquet").unlink()

    again = json.loads(run(*command, "--summary", "json").err)

    assert (first["rows"], first["parts"], first["parts_before"]) == (4, 3, 0)
    assert (again["rows"], again["parts"], again["parts_before"]) == (5, 3, 1)


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("in/**/*.csv", ["day=1/a.csv", "day=2/a.csv"]),
        ("in/day=[23]", ["day=2/a.csv", "day=3/b.parquet"]),
        ("in/day=*/a.*", ["day=1/a.csv", "day=2/a.csv"]),
        ("in/**", ["day=1/a.csv", "day=2/a.csv", "day=3/b.parquet"]),
        ("in/day=3/b.parquet", ["b.parquet"]),
    ],
)
def test_pattern_finds_the_objects_that_match(pattern: str, wanted: list[str], lake: str) -> None:
    found = find_sources([f"s3://{lake}/{pattern}"], None)

    assert [str(source.name) for source in found] == wanted


@pytest.mark.parametrize("record", ["in/_delta_log/0.json", "in/metadata/v1.metadata.json"])
@pytest.mark.parametrize("pattern", ["in", "i*", "in/**", "in/day=1", "in/day=*"])
def test_table_with_older_versions_is_refused_in_a_store_too(
    pattern: str, record: str, server: S3Server, lake: str
) -> None:
    path = server.directory / lake / record
    path.parent.mkdir()
    path.touch()

    with pytest.raises(InputFileError, match="has a table of Delta, Hudi or Iceberg"):
        find_sources([f"s3://{lake}/{pattern}"], None)
    assert find_sources([f"s3://{lake}/in/day=1/*.csv"], None)


@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_table_with_older_versions_is_refused_before_an_engine_starts(
    scheme: str, run: Run, models: Path, server: S3Server, lake: str
) -> None:
    path = server.directory / lake / "in/_delta_log/0.json"
    path.parent.mkdir()
    path.touch()

    ended = run(
        "predict", "--engine", "spark", "--model-path", models / "wine", f"{scheme}://{lake}/in/day=3", "-o", "out/"
    )

    assert (ended.code, "has a table of Delta, Hudi or Iceberg" in ended.err) == (3, True), ended.err


def test_object_is_there_when_it_is_whole(run: Run, models: Path, server: S3Server, lake: str) -> None:
    bad = server.directory / lake / "bad.csv"
    bad.write_text(HEADER + "1,7.4,3.5,9.4\n2,high,3.5,9.4\n")
    command = ["predict", "--model-path", models / "wine"]

    refused = run(*command, f"s3://{lake}/bad.csv", "-o", f"s3://{lake}/one.parquet")
    assert not (server.directory / lake / "one.parquet").exists()
    scored = run(*command, f"s3://{lake}/in/day=3/b.parquet", "-o", f"s3://{lake}/one.parquet")

    assert (refused.code, 'line 3: "fixed acidity"' in refused.err) == (3, True)
    assert (scored.code, len(pd.read_parquet(server.directory / lake / "one.parquet"))) == (0, 1)


@pytest.mark.parametrize(
    ("source", "output"), [("large.csv", "out.csv"), ("large.csv", "out/"), ("large.parquet", "out/")]
)
def test_store_that_refuses_in_the_middle_ends_the_command_and_leaves_no_part(  # noqa: PLR0913, PLR0917  fixtures
    source: str, output: str, run: Run, models: Path, server: S3Server, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"fixed acidity": 7.4, "pH": 3.5, "alcohol": 9.4}
    bucket, address = server.directory / lake, f"s3://{lake}/{source}"
    if source.endswith("csv"):  # more than a block of text, in few rows
        pd.DataFrame([row | {"note": "x" * 4000}] * (BLOCK // 3000)).to_csv(bucket / source, index=False)
    else:
        pd.DataFrame([row]).sample(800_000, replace=True).to_parquet(bucket / source)
    refuse = answer(403, b"<Error><Code>AccessDenied</Code></Error>")

    def refuse_the_rest(exchange: Exchange) -> bool:
        asks_for_beginning = exchange.headers.get("Range", "").startswith("bytes=0-")
        return exchange.command == "GET" and not asks_for_beginning and refuse(exchange)

    with reverse_proxy(server.endpoint, only(source, refuse_the_rest), keep_host=True) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.uri)
        ended = run("predict", "--model-path", models / "wine", address, "-o", f"s3://{lake}/{output}")

    assert (ended.code, ended.err.startswith(f"error: {address} cannot be read: ")) == (8, True), ended.err
    assert [path for path in bucket.glob("out*") if path.is_file()] == []
    assert [path for path in bucket.glob("out/*") if path.name.startswith("large")] == []


WRONG = {
    "s3://{lake}/none.csv": (5, "there is no object s3://{lake}/none.csv"),
    "s3://{lake}/none-*.csv": (5, "there is no object s3://{lake}/none-*.csv"),
    "s3://no-such-bucket/in/a.csv": (5, "there is no object s3://no-such-bucket/in/a.csv"),
    "hdfs://{lake}/a.csv": (3, "hdfs://{lake}/a.csv is no file of a store; use s3://"),
    "s3://": (3, "s3:// is no file of a store"),
}


@pytest.mark.parametrize("address", WRONG)
def test_wrong_address_is_named(address: str, run: Run, models: Path, lake: str) -> None:
    code, problem = WRONG[address]

    ended = run("predict", "--model-path", models / "wine", address.format(lake=lake))

    assert (ended.code, problem.format(lake=lake) in ended.err) == (code, True), ended.err


def test_predictions_below_the_scored_key_are_refused(run: Run, models: Path, lake: str) -> None:
    ended = run("predict", "--model-path", models / "wine", f"s3://{lake}/in", "-o", f"s3://{lake}/in/out/")

    assert (ended.code, "lies in a directory that is scored" in ended.err) == (3, True)


class Interrupted(io.BytesIO):
    """Content of which one block can be read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise KeyboardInterrupt
        return super().read(size)


def test_upload_that_is_interrupted_leaves_no_part_of_an_object(server: S3Server, lake: str) -> None:
    place = ObjectPath("s3", PurePosixPath(lake) / "out.csv")

    with pytest.raises(KeyboardInterrupt):
        place.upload(Interrupted(b"1" * (BLOCK + 1)))

    assert not (server.directory / lake / "out.csv").exists()
