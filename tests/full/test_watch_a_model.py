"""The lines about traces of docs/how-to/watch-a-model.md, with OpenTelemetry's own collector."""

import os
import re
from pathlib import Path

from testbed.collector import collector
from testbed.environments import saved_models
from testbed.processes import free_port, running
from testbed.runtime_server import NATIVE, serving

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to" / "watch-a-model.md"
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
