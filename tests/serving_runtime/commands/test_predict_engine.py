"""`predict --engine` without the engine's packages: refusals. The engines themselves are in tests/full."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_contract.exit_codes import ExitCode
from serving_runtime.cli import _parser

EXAMPLES = Path(__file__).parents[3] / "manifests" / "examples"
Run = Callable[..., Any]


@pytest.mark.parametrize("engine", ["spark", "ray"])
def test_engine_without_its_extra_names_it_in_one_sentence(engine: str, run: Run, models: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run("predict", "--engine", engine, "--model-path", models / "wine", "rows", "-o", "out")

    assert str(ended.value).startswith("error: the package ")
    assert f"install the extra {engine}: pip install '.[{engine}]' in a checkout" in str(ended.value)
    assert "\n" not in str(ended.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "out"], "an engine reads no standard input: name files or directories of Parquet"),
        (["rows"], "an engine writes its predictions into a new directory: name it, such as -o predictions/"),
        (
            ["rows", "-o", "out", "--errors", "errors"],
            "an engine has no file of errors: give --problem-column, a column of the output",
        ),
        (["rows", "-o", "out", "--input-format", "csv"], "an engine reads and writes Parquet only"),
        (["rows", "-o", "out", "--output-format", "jsonl"], "an engine reads and writes Parquet only"),
        (
            ["rows", "-o", "out", "--where", "a=1"],
            "--where is not for an engine: name the directories of the partitions",
        ),
        (
            ["rows", "-o", "out", "--workers", "2"],
            "Spark's own settings say how many processes there are: leave out --workers",
        ),
    ],
    ids=["standard-input", "no-output", "errors", "input-format", "output-format", "where", "workers"],
)
def test_option_that_an_engine_does_not_have_is_refused(
    arguments: list[str], sentence: str, run: Run, models: Path
) -> None:
    ended = run("predict", "--engine", "spark", "--model-path", models / "wine", *arguments)

    assert (ended.code, ended.err) == (ExitCode.INVALID_INPUT, f"error: {sentence}\n")


@pytest.mark.parametrize("engine", [[], ["--engine", "spark"], ["--engine", "ray"]], ids=["none", "spark", "ray"])
@pytest.mark.parametrize(
    ("directory", "problem"),
    [("sales", "has a table of Delta, Hudi or Iceberg"), ("empty", "holds no file to score")],
)
def test_directory_is_refused_alike_before_an_engine_starts(  # noqa: PLR0913, PLR0917  two cases, three fixtures
    directory: str, problem: str, engine: list[str], run: Run, models: Path, tmp_path: Path
) -> None:
    (tmp_path / "sales/_delta_log").mkdir(parents=True)
    (tmp_path / "sales/_delta_log/0.json").touch()
    (tmp_path / "sales/part.parquet").touch()
    (tmp_path / "empty").mkdir()

    ended = run("predict", *engine, "--model-path", models / "wine", tmp_path / directory, "-o", tmp_path / "out")

    assert ended.code == ExitCode.INVALID_INPUT
    assert ended.err.startswith(f"error: {tmp_path / directory} {problem}")


@pytest.mark.parametrize("option", [("--address", "local"), ("--result-type", "double"), ("--problem-column",)])
def test_option_of_an_engine_is_refused_without_one(option: tuple[str, ...], run: Run, models: Path) -> None:
    ended = run("predict", "--model-path", models / "wine", "rows.csv", *option)

    assert ended.code == ExitCode.INVALID_INPUT
    assert ended.err == f"error: {option[0]} is for an engine: give --engine spark or --engine ray too\n"


@pytest.mark.parametrize("module", ["spark", "ray_data"])
def test_import_without_the_extra_names_it(module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=f"install the extra {module.removesuffix('_data')}: "):
        __import__(f"serving_runtime.{module}")


def job(manifest: Any) -> list[str]:
    arguments: list[str] = manifest["spec"]["template"]["spec"]["containers"][0]["args"]
    return arguments


def spark_application(manifest: Any) -> list[str]:
    arguments: list[str] = manifest["spec"]["arguments"]
    return arguments


def ray_job(manifest: Any) -> list[str]:
    return shlex.split(manifest["spec"]["entrypoint"])[1:]


@pytest.mark.parametrize(
    ("name", "arguments", "engine"),
    [("score-table-job", job, None), ("spark-application", spark_application, "spark"), ("ray-job", ray_job, "ray")],
)
def test_command_of_each_example_manifest_can_be_read(
    name: str, arguments: Callable[[Any], list[str]], engine: str | None
) -> None:
    manifest = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())

    options = _parser().parse_args(arguments(manifest))

    assert (options.command, options.engine, options.keep_columns) == ("predict", engine, ("id",))
    assert options.output
