"""The answers of each path, over a socket."""

import json

import pytest

from testbed.runtime_server import JSON, RuntimeServer

ROWS = {"dataframe_split": {"columns": ["fixed acidity", "pH", "alcohol"], "data": [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]}}
CSV = "fixed acidity,pH,alcohol\n1.0,2.0,3.0\n0.0,0.0,0.0\n"


def test_invocations_answers_with_predictions(wine: RuntimeServer) -> None:
    answer = wine.predict(ROWS)

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert [type(value) for value in answer.document["predictions"]] == [float, float]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (CSV, {"Content-Type": "text/csv"}),
        (json.dumps(ROWS), {}),
        (json.dumps(ROWS), {"Content-Type": 'Application/JSON; charset="UTF-8"'}),
        (iter([json.dumps(ROWS)[:30].encode(), json.dumps(ROWS)[30:].encode()]), JSON),
    ],
    ids=["csv", "without a content type", "a content type in other letters", "a body in chunks"],
)
def test_invocations_reads_a_body_as_it_comes(wine: RuntimeServer, body: object, headers: dict[str, str]) -> None:
    answer = wine.ask("POST", "/invocations", body, headers)

    assert answer.document == wine.predict(ROWS).document


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_ping_answers_as_mlflow_does(wine: RuntimeServer, path: str) -> None:
    answer = wine.get(path)

    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"\n", "application/json")


def test_version_is_that_of_the_models_mlflow(wine: RuntimeServer) -> None:
    answer = wine.get("/version")

    assert (answer.status, answer.body) == (200, b"3.17.2")


@pytest.mark.parametrize(("path", "status"), [("/livez", "alive"), ("/readyz", "ready"), ("/startupz", "started")])
def test_probe_reports_the_state_of_the_server(wine: RuntimeServer, path: str, status: str) -> None:
    answer = wine.get(path)

    assert (answer.status, answer.document) == (200, {"status": status})


def test_index_names_the_routes(wine: RuntimeServer) -> None:
    routes = wine.get("/").document["routes"]

    assert routes[0] == "POST /invocations"
    assert all(
        wine.get(path).status == 200 for method, path in map(str.split, routes) if method == "GET" and "{" not in path
    )


@pytest.mark.parametrize("path", ["/", "/ping", "/version", "/livez", "/readyz", "/nowhere", "/invocations"])
def test_head_has_the_headers_of_get_and_no_body(wine: RuntimeServer, path: str) -> None:
    head, get = wine.ask("HEAD", path), wine.get(path)

    assert (head.status, head.body) == (get.status, b"")
    assert head.headers["content-length"] == str(len(get.body))


@pytest.mark.parametrize(
    ("method", "path", "status", "error_code"),
    [
        ("GET", "/nowhere", 404, "ENDPOINT_NOT_FOUND"),
        ("POST", "/invocations/", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", "/invocations", 405, "BAD_REQUEST"),
        ("POST", "/ping", 405, "BAD_REQUEST"),
        ("DELETE", "/", 405, "BAD_REQUEST"),
    ],
    ids=str,
)
def test_request_that_fits_no_route_is_refused_in_mlflows_shape(
    wine: RuntimeServer, method: str, path: str, status: int, error_code: str
) -> None:
    answer = wine.ask(method, path)

    assert answer.status == status
    assert answer.document["error_code"] == error_code
    assert set(answer.document) == {"error_code", "message"}


@pytest.mark.parametrize(("path", "allowed"), [("/invocations", "POST"), ("/ping", "GET, HEAD")])
def test_wrong_method_is_answered_with_the_allowed_ones(wine: RuntimeServer, path: str, allowed: str) -> None:
    assert wine.ask("PUT", path).headers["allow"] == allowed


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("{", JSON, 400),
        ("[]", JSON, 400),
        ('{"inputs": [[1, 2]]}', JSON, 400),
        ("x", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("x", JSON | {"Content-Encoding": "br"}, 415),
        ("x" * 10_241, JSON, 413),
    ],
    ids=["no JSON", "no object", "another shape", "another media type", "compressed in another way", "too large"],
)
def test_body_that_cannot_be_predicted_is_refused_in_mlflows_shape(
    wine: RuntimeServer, body: str, headers: dict[str, str], status: int
) -> None:
    answer = wine.ask("POST", "/invocations", body, headers)

    assert answer.status == status
    assert {"error_code", "message"} <= set(answer.document) <= {"error_code", "message", "details"}


def test_value_that_does_not_fit_is_named_by_its_place(wine: RuntimeServer) -> None:
    answer = wine.predict({"dataframe_records": [{"fixed acidity": 1.0, "pH": "acid", "alcohol": 3.0}]})

    assert answer.status == 400
    assert [detail["path"] for detail in answer.document["details"]] == ["dataframe_records[0].pH"]


@pytest.mark.parametrize(
    ("header", "advised"),
    [("fixed acidity;pH;alcohol", True), ("fixed acidity\tpH\talcohol", True), ("fixed acidity", False)],
    ids=["semicolons", "tabs", "one column"],
)
def test_csv_with_another_delimiter_is_refused_with_the_advice_to_use_commas(
    wine: RuntimeServer, header: str, advised: bool
) -> None:
    answer = wine.ask("POST", "/invocations", f"{header}\n1\n", {"Content-Type": "text/csv"})

    problems = [detail["problem"] for detail in answer.document["details"]]
    assert answer.status == 400
    assert any('the column "pH" is missing' in problem for problem in problems)
    assert any("the fields of a CSV must be separated by commas" in problem for problem in problems) is advised


def test_csv_with_semicolons_and_decimal_commas_is_refused_with_the_advice_to_use_commas(wine: RuntimeServer) -> None:
    """A spreadsheet of a country that writes decimals with commas saves its CSV so."""
    answer = wine.ask("POST", "/invocations", "fixed acidity;pH\n7,4;3,51\n", {"Content-Type": "text/csv"})

    problem = (
        "3 values, where the header has 1; the fields of a CSV must be separated by commas, and its numbers have a"
        " decimal point"
    )
    assert (answer.status, answer.document["details"]) == (400, [{"path": "csv[0]", "problem": problem}])


def test_body_in_chunks_is_held_to_the_limit_too(wine: RuntimeServer) -> None:
    assert wine.ask("POST", "/invocations", iter([b"x" * 6000] * 2), JSON).status == 413


def test_request_keeps_its_id(wine: RuntimeServer) -> None:
    assert wine.ask("GET", "/ping", headers={"X-Request-ID": "order-66"}).headers["x-request-id"] == "order-66"


@pytest.mark.parametrize("given", ["", "two words", "x" * 129], ids=["empty", "with a space", "too long"])
def test_request_without_a_good_id_gets_one(wine: RuntimeServer, given: str) -> None:
    ids = {wine.ask("GET", "/ping", headers={"X-Request-ID": given}).headers["x-request-id"] for _ in range(2)}

    assert len(ids - {given}) == 2


def test_access_log_has_the_result_of_a_request_and_none_of_its_data(wine: RuntimeServer) -> None:
    body = json.dumps({"dataframe_records": [{"fixed acidity": 1.0, "pH": "secret-value", "alcohol": 3.0}]})

    answer = wine.ask("POST", "/invocations?token=secret-query", body, JSON | {"X-Request-ID": "logged"})

    (line,) = wine.awaited(lambda line: line.get("request_id") == "logged")
    assert {name: line[name] for name in ("level", "message", "method", "path", "status", "bytes_in", "bytes_out")} == {
        "level": "info",
        "message": "request",
        "method": "POST",
        "path": "/invocations",
        "status": 400,
        "bytes_in": len(body),
        "bytes_out": len(answer.body),
    }
    assert line["ms"] > 0
    assert "secret" not in wine.process.log.read_text()


def test_access_log_leaves_out_probes(wine: RuntimeServer) -> None:
    wine.ask("GET", "/livez", headers={"X-Request-ID": "probe"})
    wine.ask("GET", "/nowhere", headers={"X-Request-ID": "no-probe"})

    assert [
        line["request_id"] for line in wine.awaited(lambda line: line.get("request_id") in {"probe", "no-probe"})
    ] == ["no-probe"]
