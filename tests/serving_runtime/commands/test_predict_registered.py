"""`predict --model`: a registered model, fetched by the delivery from a real MLflow; and the page that shows it."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from testbed.forks import fork_server
from testbed.mlflow_server import MlflowServer
from testbed.processes import installed
from testbed.runtime_server import WITH_MLFLOW
from testbed.s3_server import s3_server

Run = Callable[..., Any]
SCRIPTS = Path(__file__).parents[1] / "scripts"
PAGE = Path(__file__).parents[3] / "docs/how-to/score-a-table.md"
ROWS = b"fixed acidity,pH,alcohol\n7.4,3.5,9.4\n"


@pytest.fixture(scope="module")
def wine_run(mlflow_3_17: MlflowServer, models: Path) -> str:
    """The run of the model `wine`, version 1, alias production."""
    return mlflow_3_17.run(SCRIPTS / "register_wine.py", str(models / "wine")).splitlines()[-1]


@pytest.fixture
def tracked(wine_run: str, mlflow_3_17: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same run, with the address of MLflow in the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_3_17.uri)
    return wine_run


@pytest.mark.parametrize("uri", ["models:/wine@production", "models:/wine/1", "runs:/{run}/model"])
def test_registered_model_is_fetched_once(uri: str, run: Run, models: Path, tracked: str, tmp_path: Path) -> None:
    command = ["predict", "--model", uri.format(run=tracked), "--model-store", tmp_path]

    ended = run(*command, stdin=ROWS)
    (fetched,) = tmp_path.rglob("MLmodel")
    before = fetched.stat().st_mtime_ns
    again = run(*command, stdin=ROWS)

    assert (ended.code, again.code, fetched.stat().st_mtime_ns) == (0, 0, before), ended.err
    assert ended.out == again.out == run("predict", "--model-path", models / "wine", stdin=ROWS).out


NOT_FOUND = {
    "models:/wine@staging": (5, "model 'wine' has no alias 'staging'; its aliases: production"),
    "models:/no such model/1": (5, "version 1 of model 'no such model'"),
    "models:/wine/Production": (3, "names a stage; name the alias, such as models:/wine@production"),
    "wine": (3, '"wine" is no URI of a model'),
    f"runs:/{'0' * 32}/model": (5, "no version was registered from"),
}


@pytest.mark.parametrize("uri", NOT_FOUND)
def test_model_that_is_not_there_ends_with_the_code_of_the_delivery(
    uri: str, run: Run, tracked: str, tmp_path: Path
) -> None:
    code, problem = NOT_FOUND[uri]

    ended = run("predict", "--model", uri, "--model-store", tmp_path, stdin=ROWS)

    assert (ended.code, problem in ended.err, ended.err.count("\n")) == (code, True, 1), ended.err


def test_two_models_are_refused(run: Run, models: Path) -> None:
    ended = run("predict", "--model", "models:/wine/1", "--model-path", models / "wine", stdin=ROWS)

    assert (ended.code, "name two models" in ended.err) == (3, True)


def lines_of_page() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if not line.startswith("pip install ")]


def test_lines_of_the_page_do_what_it_says(
    light_wine: Path, wine_run: str, mlflow_3_17: MlflowServer, tmp_path: Path
) -> None:
    shutil.copytree(light_wine, tmp_path / "model")
    (tmp_path / "wines").mkdir()
    header = "id,fixed acidity,pH,alcohol\n"
    (tmp_path / "wines/2024-01-30.csv").write_text(header + "1,7.4,3.5,9.4\n2,6.3,3.2,10.1\n")
    (tmp_path / "wines/2024-01-31.csv").write_text(header + "3,8.0,3.0,11.0\n4,high,3.9,12.5\n")
    frame = pd.DataFrame({"id": [1, 2], "fixed acidity": [7.4, 6.3], "pH": [3.5, 3.2], "alcohol": [9.4, 10.1]})
    with s3_server(tmp_path / "s3") as server:
        for root in (tmp_path / "sales", server.bucket("lake") / "sales"):
            for day in ("2024-01-30", "2024-01-31"):
                (root / f"day={day}").mkdir(parents=True)
                frame.to_parquet(root / f"day={day}/a.parquet")
        program = installed("model-api-runtime")
        (tmp_path / "bin").mkdir()
        fork_server(sys.executable, *WITH_MLFLOW).write_command(tmp_path / "bin" / program.name, program)
        environment = {
            "PATH": f"{tmp_path}/bin:{program.parent}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "MLFLOW_TRACKING_URI": mlflow_3_17.uri,
            **server.environment,
        }
        for line in lines_of_page():
            done = subprocess.run(
                ["/bin/bash", "-euc", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stderr}"

    refused = (tmp_path / "refused.jsonl").read_text()
    assert '"line 3"' in refused
    assert sorted(path.name for path in (tmp_path / "scored").iterdir()) == [
        "2024-01-30.csv",
        "2024-01-31.csv",
        "_predict.jsonl",
    ]
    scored = pd.read_parquet(tmp_path / "sales-scored/day=2024-01-31/a.parquet")
    assert list(scored) == ["id", "prediction"]
    assert [path.name for path in (tmp_path / "sales-scored").glob("day=*")] == ["day=2024-01-31"]
    stored = sorted((server.directory / "lake/scored").rglob("*.parquet"))
    assert [path.parent.name for path in stored] == ["day=2024-01-30", "day=2024-01-31"]
    assert len(list((tmp_path / "models").rglob("MLmodel"))) == 1
