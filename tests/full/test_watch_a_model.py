"""The lines of docs/how-to/watch-a-model.md: the table of the model of the tutorial, and traces in a real collector."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from testbed.collector import collector
from testbed.environments import python_of, saved_models
from testbed.processes import free_port, running
from testbed.runtime_server import NATIVE, serving

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to" / "watch-a-model.md"
TUTORIAL = ROOT / "docs" / "tutorials" / "serve-a-model.md"
SAVE = ROOT / "tests" / "serving_runtime" / "scripts" / "save_models.py"
ROW = {"dataframe_records": [{"fixed acidity": 7.4, "pH": 3.5, "alcohol": 9.4}]}


def test_collector_of_the_page_shows_the_spans_of_a_request(tmp_path: Path) -> None:
    section = HOW_TO.read_text().partition("## Trace requests")[2]
    (document,) = re.findall(r"^```yaml\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    (command,) = re.findall(r"^OTEL_EXPORTER_OTLP_ENDPOINT=(\S+) model-api-runtime serve ", section, re.MULTILINE)
    port = free_port()
    config, log = tmp_path / "collector.yaml", tmp_path / "collector.log"
    config.write_text(document.replace("4318", str(port)))
    models = saved_models("3.17", SAVE, tmp_path / "models")
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": command.replace("4318", str(port)), "OTEL_BSP_SCHEDULE_DELAY": "100"}

    with (
        running([collector(), "--config", config], log=log, env=os.environ),
        serving(models / "wine", *NATIVE, log=tmp_path / "log", environ=endpoint) as server,
    ):
        server.wait_until(lambda: "Everything is ready" in log.read_text())
        answer = server.predict(ROW)
        trace = answer.headers["traceresponse"].split("-")[1]
        server.wait_until(lambda: log.read_text().count(trace) >= 4, seconds=60)

    names = set(re.findall(r"Name +: (.*)", log.read_text()))
    assert {"POST /invocations", "wait", "predict", "write"} <= names


def test_table_of_the_page_is_recorded_asked_and_plotted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = HOW_TO.read_text()
    saving = re.findall(r"^```python\n(.*?)^```$", TUTORIAL.read_text(), re.DOTALL | re.MULTILINE)[0]
    (flags,) = re.findall(r"^model-api-runtime serve --model-path iris (--model-name.*)$", page, re.MULTILINE)
    (query,) = re.findall(r"^```sql\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (plot,) = re.findall(r"^python (examples/watch/plot.py .*)$", page, re.MULTILINE)
    subprocess.run([python_of("mlflow-3.17"), "-c", saving], cwd=tmp_path, check=True, capture_output=True)
    captured = flags.replace("parquet:captured", f"parquet:{tmp_path}/captured")

    with serving(tmp_path / "iris", *NATIVE, *captured.split(), log=tmp_path / "log") as server:
        send: list[str | Path] = [sys.executable, ROOT / "examples/watch/send.py", "flowers.csv", server.url, "4"]
        subprocess.run(send, cwd=tmp_path, check=True)
        server.ask_to_end()
        code = server.exit_code()
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as database:
        found = database.execute(query).df()
    subprocess.run([sys.executable, *shlex.split(plot.replace("examples", f"{ROOT}/examples"))], check=True)

    assert code == 0
    assert list(found) == ["version", "moment", "rows", "length", "virginica"]
    rows = pd.read_parquet("captured", filters=[("version", "==", "1")])
    assert len(rows) == found["rows"].sum() > 0
    assert (tmp_path / "watch.png").read_bytes().startswith(b"\x89PNG")
