"""Metrics over all workers, the log, the headers, and the recorded predictions of a server."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from model_contract.exit_codes import ExitCode
from testbed.runtime_server import JSON, NATIVE, RuntimeServer

Start = Callable[..., RuntimeServer]
RECORDS = {
    "dataframe_records": [
        {"fixed acidity": 1.0, "pH": 2.0, "alcohol": 3.0},
        {"fixed acidity": 0.0, "pH": 0.0, "alcohol": 0.0},
    ]
}
TRACE = "0af7651916cd43dd8448eb211c80319c"


def numbers(server: RuntimeServer) -> dict[str, float]:
    """Each sample by its name and labels. The text is one that Prometheus' own parser reads."""
    families = text_string_to_metric_families(server.get("/metrics").body.decode())
    return {
        f"{sample.name}{sorted(sample.labels.items()) if sample.labels else ''}": sample.value
        for family in families
        for sample in family.samples
    }


def of(protocol: str, code: str) -> str:
    return f"model_api_runtime_requests_total{[('code', code), ('protocol', protocol)]}"


def test_metrics_are_those_of_all_workers_whichever_is_asked(start: Start, models: Path) -> None:
    server = start(models / "wine", *NATIVE, "--workers", "2")
    server.wait_until_ready()
    for _ in range(20):
        assert server.predict(RECORDS).status == 200
    server.predict({"dataframe_records": [{"pH": 1}]})
    server.ask("POST", "/invocations", "{", JSON)
    server.get("/nowhere")
    counted = (of("invocations", "200"), of("invocations", "400"), of("none", "404"))
    # Each worker counts a request after its answer.
    server.wait_until(lambda: sum(numbers(server).get(name, 0) for name in counted) == 23)

    seen = [numbers(server) for _ in range(10)]
    assert all(found[of("invocations", "200")] == 20 for found in seen)
    assert seen[0][of("invocations", "400")] == 2
    assert seen[0][of("none", "404")] == 1
    assert seen[0]["model_api_runtime_validation_errors_total[('kind', 'input')]"] == 1
    assert seen[0]["model_api_runtime_validation_errors_total[('kind', 'malformed')]"] == 1
    assert seen[0]["model_api_runtime_batch_rows_sum"] == 40
    assert seen[0]["model_api_runtime_request_seconds_count[('protocol', 'invocations')]"] == 22
    assert seen[0]["model_api_runtime_inflight"] == 0


def test_metrics_tell_which_model_is_served(start: Start, models: Path) -> None:
    environ = {"MLFLOW_MODEL_NAME": "wine", "MLFLOW_MODEL_VERSION": "7"}
    server = start(models / "wine", *NATIVE, "--workers", "1", environ=environ)
    server.wait_until_ready()

    assert ("flavor", "sklearn") in next(
        tuple(sample.labels.items())
        for family in text_string_to_metric_families(server.get("/metrics").body.decode())
        for sample in family.samples
        if sample.name == "model_api_runtime_model_info"
    )
    assert numbers(server)["model_api_runtime_load_seconds"] > 0


def test_log_and_headers_have_the_time_of_each_step(wine: RuntimeServer) -> None:
    headers = JSON | {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    answer = wine.ask("POST", "/invocations", json.dumps(RECORDS), headers)

    assert answer.headers["x-request-id"] == TRACE
    assert [part.partition(";")[0] for part in answer.headers["server-timing"].split(", ")] == [
        "read",
        "wait",
        "predict",
    ]
    (line,) = wine.awaited(lambda line: line.get("trace_id") == TRACE)
    assert (line["protocol"], line["rows"], line["merged"]) == ("invocations", 2, 1)
    assert line["predict_ms"] > 0


@pytest.mark.parametrize(
    "given", ["00-short-b7ad6b7169203331-01", f"00-{'0' * 32}-b7ad6b7169203331-01", f"ff-{TRACE}-b7ad6b7169203331-01"]
)
def test_malformed_trace_header_is_ignored(wine: RuntimeServer, given: str) -> None:
    assert wine.ask("GET", "/ping", headers={"traceparent": given}).headers["x-request-id"] not in {TRACE, "0" * 32}


def test_recorded_requests_predict_the_same_again_without_what_is_redacted(
    start: Start, models: Path, tmp_path: Path
) -> None:
    path = tmp_path / "recorded.jsonl"
    flags = ("--workers", "1", "--capture", f"jsonl:{path}", "--capture-redact", "pH")
    server = start(models / "wine", *NATIVE, *flags)
    server.wait_until_ready()
    answer = server.ask("POST", "/invocations", json.dumps(RECORDS), JSON | {"X-Request-ID": "first"})
    server.predict({"dataframe_records": [{"pH": "no"}]})
    server.ask_to_end()

    assert server.exit_code() == 0
    (record,) = map(json.loads, path.read_text().splitlines())
    assert (record["request_id"], record["protocol"], record["predictions"]) == (
        "first",
        "invocations",
        answer.document["predictions"],
    )
    assert record["request"] == {
        "dataframe_split": {"columns": ["fixed acidity", "pH", "alcohol"], "data": [[1.0, None, 3.0], [0.0, None, 0.0]]}
    }


def test_predictions_are_recorded_as_domino_reads_them(start: Start, models: Path, tmp_path: Path) -> None:
    environ = {"PREDICTION_DATA_DIRECTORY": str(tmp_path), "HOSTNAME": "model-65a1b2-7c9"}
    server = start(models / "wine", *NATIVE, "--workers", "1", "--capture", "domino", environ=environ)
    server.wait_until_ready()
    answer = server.ask("POST", "/invocations", json.dumps(RECORDS), JSON | {"X-Request-ID": "first"})
    log = tmp_path / "model-65a1b2-7c9.log"
    server.wait_until(lambda: log.exists() and log.read_text().count("\n") == 2)

    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["features"] for record in records] == RECORDS["dataframe_records"]
    assert [record["predictions"] for record in records] == [
        {"prediction": value} for value in answer.document["predictions"]
    ]
    assert [record["event_id"] for record in records] == ["first-0", "first-1"]
    assert {record["instance_id"] for record in records} == {"65a1b2"}
    assert set(records[0]) == {
        *("predictions", "features", "metadata", "timestamp", "__domino_timestamp"),
        *("event_id", "prediction_probability", "sample_weight", "instance_id"),
    }


@pytest.mark.parametrize(
    ("flag", "named"),
    [("jsonl:/nowhere/at/all", "/nowhere/at/all"), ("domino", "PREDICTION_DATA_DIRECTORY"), ("jsonl", "--capture")],
)
def test_recording_that_is_not_possible_ends_the_server(start: Start, models: Path, flag: str, named: str) -> None:
    server = start(models / "wine", "--capture", flag)

    assert server.exit_code() == ExitCode.INVALID_INPUT
    assert named in server.process.log.read_text()
