"""The settings of the server, from flags, variables and defaults."""

from dataclasses import asdict
from pathlib import Path

import pytest

from model_contract.model_ref import shown
from model_contract.settings import SettingError
from serving_runtime.settings import ServeSettings, read_settings


def read(
    flags: dict[str, str | None] | None = None, environ: dict[str, str] | None = None, *, cpus: float = 2
) -> ServeSettings:
    return read_settings(flags or {}, environ or {}, cpus=cpus)


def test_settings_have_defaults() -> None:
    assert asdict(read()) == {
        "host": "0.0.0.0",  # noqa: S104  a pod's
        "port": 8080,
        "grpc_port": None,
        "workers": 2,
        "threads": 1,
        "loader": "auto",
        "require_match": False,
        "warm_up": True,
        "batch": {"rows": None},
        "max_queue": 128,
        "max_body": 100 << 20,
        "max_rows": 1_000_000,
        "read_timeout": 10.0,
        "timeout": 60.0,
        "drain_delay": 0.0,
        "stop_timeout": 20.0,
        "capture": {"kind": "off", "path": ""},
        "capture_rows": 100_000,
        "capture_bytes": 32 << 20,
        "capture_seconds": 60.0,
        "capture_sample": 1.0,
        "capture_redact": frozenset(),
        "token_file": None,
        "model_name": "",  # then the name in the model's files
        "model_version": "",
        "coerce": "safe",
        "nan": "null",
    }


def test_flag_wins_over_variable_and_variable_over_default() -> None:
    assert read({"port": "1"}, {"PORT": "2"}).port == 1
    assert read({"port": None}, {"PORT": "2"}).port == 2
    assert read({}, {"PORT": ""}).port == 8080


@pytest.mark.parametrize(("cpus", "workers"), [(0.5, 1), (1.9, 1), (3.0, 3), (64.0, 4)])
def test_workers_are_as_many_as_processors_up_to_four(cpus: float, workers: int) -> None:
    assert read(cpus=cpus).workers == workers


def test_drain_delay_is_five_seconds_in_kubernetes() -> None:
    assert read(environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).drain_delay == 5


@pytest.mark.parametrize(("text", "size"), [("1", 1), ("10K", 10_240), ("2M", 2 << 20), ("1G", 1 << 30)])
def test_size_is_in_bytes_or_powers_of_1024(text: str, size: int) -> None:
    assert read({"max_body": text}).max_body == size


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("host", "a b", "an address or a name of this machine"),
        ("host", "", "an address or a name of this machine"),
        ("port", "0", "a port from 1 to 65535"),
        ("port", "65536", "a port from 1 to 65535"),
        ("port", "8080.0", "a port from 1 to 65535"),
        ("port", "٨٠", "a port from 1 to 65535"),
        ("grpc_port", "0", "off, or a port from 1 to 65535"),
        ("grpc_port", "on", "off, or a port from 1 to 65535"),
        ("workers", "65", "a whole number from 1 to 64"),
        ("workers", "-1", "a whole number from 1 to 64"),
        ("max_body", "100MB", "a number of bytes"),
        ("max_body", "0", "a number of bytes"),
        ("timeout", "nan", "a number of seconds from 0.1 to 86400"),
        ("timeout", "1e3", "a number of seconds from 0.1 to 86400"),
        ("timeout", "0", "a number of seconds from 0.1 to 86400"),
        ("drain_delay", "-1", "a number of seconds from 0 to 3600"),
        ("model_name", "a/b", "a name without a slash"),
        ("coerce", "Safe", "one of safe, mlflow"),
        ("nan", "NaN", "one of null, string, error"),
    ],
    ids=lambda value: repr(value) if value in {"", "a b"} else None,
)
def test_value_that_a_setting_cannot_have_is_refused_and_named(name: str, value: str, expected: str) -> None:
    with pytest.raises(SettingError) as refusal:
        read({name: value})

    assert str(refusal.value).startswith(f"--{name.replace('_', '-')}={shown(value)}: it must be {expected}")


def test_value_of_the_token_file_is_not_shown() -> None:
    with pytest.raises(SettingError, match=r"^--token-file: it must be none, or the path of a file"):
        read({"token_file": ""})


def test_refused_variable_is_named() -> None:
    with pytest.raises(SettingError, match=r'^PORT="http": it must be a port from 1 to 65535'):
        read(environ={"PORT": "http"})


@pytest.mark.parametrize(("given", "rows"), [("auto", 256), ("off", 0), ("32", 32)])
def test_batch_is_as_large_as_the_setting(given: str, rows: int) -> None:
    assert read({"batch": given}).batch.most_rows(allowed=True) == rows


@pytest.mark.parametrize(("given", "rows"), [("auto", 0), ("off", 0), ("32", 32)])
def test_batch_of_a_model_that_may_not_be_merged_needs_the_setting(given: str, rows: int) -> None:
    assert read({"batch": given}).batch.most_rows(allowed=False) == rows


def test_names_that_are_not_recorded_are_a_list() -> None:
    assert read({"capture_redact": "name, mail,"}).capture_redact == {"name", "mail"}


def test_relative_paths_are_those_of_the_directory_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's code may change the working directory while it loads."""
    monkeypatch.chdir(tmp_path)
    found = read({"token_file": "tokens", "capture": "parquet:table"})

    assert (found.token_file, found.capture.path) == (tmp_path / "tokens", str(tmp_path / "table"))
    assert read({"capture": "parquet:s3://bucket/key"}).capture.path == "s3://bucket/key"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("batch", value) for value in ("1", "on", "-2")),
        *(("capture", value) for value in ("jsonl", "jsonl:", "domino:/x", "csv:/x")),
        *(("capture_sample", value) for value in ("0", "1.1", "-0.1")),
        *(("loader", "onnx"), ("max_rows", "0")),
    ],
)
def test_value_outside_the_range_of_its_setting_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"--{name.replace('_', '-')}"):
        read({name: value})
