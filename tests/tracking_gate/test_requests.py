"""Requests as bytes: a request that MLflow and the gate could read differently does not reach MLflow."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from model_contract.tokens import Purpose, new_token
from testbed.gate import API, PASSWORD, PROJECT, Gate, Json, ask
from testbed.processes import PATIENCE
from tests.tracking_gate.conftest import Wine, wine_behind

LOG_TRACES = Path(__file__).parents[2] / "testbed" / "mlflow_scripts" / "log_traces.py"
MOVE = f"{API}/model-versions/transition-stage"


def sent(gate: Gate, raw: bytes) -> tuple[int, bytes]:
    """Send the bytes, and return status and rest of the answer."""
    address = urlsplit(gate.uri)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        connection.sendall(raw)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return int(answer.split(b" ", 2)[1]) if answer else 0, answer


def request(target: str, body: bytes, *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: gate", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def in_staging(any_gate: Gate) -> tuple[Wine, str]:
    wine = wine_behind(any_gate)
    version = wine.version()
    wine.move(version, "Staging", any_gate.basic("jane"))
    return wine, version


@pytest.fixture
def staged(in_staging: tuple[Wine, str]) -> Iterator[tuple[Wine, str]]:
    """A version in Staging that no test changes."""
    wine, version = in_staging
    before = wine.raw(version)
    yield wine, version
    assert wine.raw(version) == before


def body(wine: Wine, version: str, /, **changes: object) -> Json:
    return {"name": wine.name, "version": version, "stage": "Production"} | changes


JSON_BODIES = {
    "an empty object": lambda _: b"{}",
    "an array": lambda whole: f"[{whole}]".encode(),
    "JSON within JSON": lambda whole: json.dumps(whole).encode(),
    "a key twice": lambda whole: whole.replace("{", '{"name": "no-such", ', 1).encode(),
    "a stage twice": lambda whole: whole.replace("}", ', "stage": "Staging"}').encode(),
    "UTF-16": lambda whole: whole.encode("utf-16"),
    "a byte order mark": lambda whole: b"\xef\xbb\xbf" + whole.encode(),
    "not JSON": lambda whole: whole.encode() + b"}",
    "NaN": lambda whole: whole.replace("}", ', "archive_existing_versions": NaN}').encode(),
    "an unknown field": lambda whole: whole.replace("}", ', "databricks_id": "1"}').encode(),
    "camel case": lambda whole: whole.replace("}", ', "archiveExistingVersions": true}').encode(),
    "nesting": lambda _: b'{"name":' + b"[" * 50_000,
    "half a surrogate pair": lambda whole: whole.replace("}", ', "archive_existing_versions": "\\ud800"}').encode(),
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("change", JSON_BODIES.values(), ids=JSON_BODIES)
def test_body_that_is_not_plain_json_is_refused(staged: tuple[Wine, str], change: object) -> None:
    wine, version = staged
    written = change(json.dumps(body(wine, version)))  # type: ignore[operator]  a lambda of the table above
    authorization = f"Authorization: Bearer {wine.gate.token(Purpose.PROMOTE)}"
    status, answer = sent(wine.gate, request(MOVE, written, authorization, "Content-Type: application/json"))

    assert status == 400
    assert b"INVALID_PARAMETER_VALUE" in answer


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "01"},
        {"version": " 1"},
        {"version": "\uff11"},
        {"version": "0_1"},
        {"version": "+1"},
        {"version": "1\n"},
        {"version": 1},
        {"version": "99999999999"},
        {"stage": "Prod"},
        {"stage": "production "},
        {"stage": "Pro\uff44uction"},
        {"stage": None},
        {"name": "a/b"},
        {"name": ""},
        {"name": "x" * 257},
        {"name": ["wine"]},
        {"archive_existing_versions": "true"},
        {"archive_existing_versions": 1},
        {"stage": "Archived", "archive_existing_versions": True},
    ],
    ids=str,
)
def test_field_that_mlflow_reads_in_another_way_is_refused(staged: tuple[Wine, str], changes: Json) -> None:
    wine, version = staged
    refused = wine.gate.ask("POST", MOVE, body(wine, version, **changes), wine.gate.bearer(Purpose.PROMOTE))

    assert (refused.status, refused.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert any(key in refused.message for key in changes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metrics": "foo"}, "each of metrics must be an object"),
        ({"metrics": [1]}, "each of metrics must be an object"),
        ({"tags": ["foo"]}, "each of tags must be an object"),
    ],
)
def test_field_of_another_kind_is_named(staged: tuple[Wine, str], fields: Json, message: str) -> None:
    wine, _ = staged
    body = {"run_id": wine.run} | fields
    refused = wine.gate.ask("POST", f"{API}/runs/log-batch", body, wine.gate.basic("jane"))

    assert (refused.status, refused.message) == (400, message)


def test_null_leaves_a_field_out_as_in_mlflow(any_gate: Gate) -> None:
    """Clients that write every field of an object send null for those that are not set."""
    wine, jane = wine_behind(any_gate, "null"), any_gate.basic("jane")
    model = f"{wine.name} of another client"
    absent = {"run_link": None, "description": None, "tags": [{"key": "note", "value": None}]}
    metric = {"run_uuid": None, "key": "m", "value": 1.0, "timestamp": 1, "step": None, "model_id": None}
    requests = [
        ("registered-models/create", {"name": model, "tags": None, "description": None}),
        ("model-versions/create", {"name": model, "source": f"runs:/{wine.run}/model", "run_id": None, **absent}),
        (
            "model-versions/transition-stage",
            body(wine, "1", name=model, stage="Staging", archive_existing_versions=None),
        ),
        ("runs/create", {"experiment_id": wine.experiment, "run_name": None, "tags": None}),
        ("runs/log-metric", {"run_id": wine.run, **metric}),
    ]

    statuses = [any_gate.ask("POST", f"{API}/{path}", document, jane).status for path, document in requests]
    missing = any_gate.ask("POST", f"{API}/runs/log-metric", {"run_id": None, **metric}, jane)
    for name in (wine.name, model):
        ask(any_gate.server.uri, "DELETE", f"{API}/registered-models/delete", {"name": name})

    assert statuses == [200] * 5
    assert (missing.status, missing.message) == (400, "run_id is missing")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Content-Type: application/x-www-form-urlencoded"],
        ["Content-Type: text/plain"],
        ["Content-Type: application/json; charset=utf-16"],
        ["Content-Type: application/json", "Content-Encoding: gzip"],
        ["Content-Type: application/json", "Transfer-Encoding: chunked"],
        ["Content-Type: application/json", "Authorization: Bearer x"],
        ["Content-Type: application/json", "Content-Length: 5"],
    ],
    ids=str,
)
def test_header_that_leaves_a_choice_is_refused(staged: tuple[Wine, str], headers: list[str]) -> None:
    wine, version = staged
    authorization = f"Authorization: Bearer {wine.gate.token(Purpose.PROMOTE)}"
    status, _ = sent(wine.gate, request(MOVE, json.dumps(body(wine, version)).encode(), authorization, *headers))

    assert status == 400


@pytest.mark.parametrize(
    "target",
    [
        MOVE.replace("model-versions/", "model-versions%2F"),
        MOVE.replace("/mlflow", "//mlflow"),
        MOVE.replace("/mlflow", "/x/../mlflow"),
        MOVE.replace("/mlflow", "/./mlflow"),
        MOVE.replace("/mlflow", "/mlflow;x=1"),
        MOVE.replace("/mlflow", "%5Cmlflow"),
        MOVE + "%00",
        MOVE + "?name=x",
        MOVE + "#x",
        "http://mlflow" + MOVE,
        MOVE + "\xe9",
        MOVE.replace("transition", "tr%c3nsition"),
    ],
)
def test_target_that_others_read_differently_is_refused(staged: tuple[Wine, str], target: str) -> None:
    wine, version = staged
    authorization = f"Authorization: Bearer {wine.gate.token(Purpose.PROMOTE)}"
    written = json.dumps(body(wine, version)).encode()
    status, _ = sent(wine.gate, request(target, written, authorization, "Content-Type: application/json"))

    assert status == 400


def test_address_that_ends_with_a_slash_is_named(gate_3: Gate) -> None:
    """MLflow itself reads such a path, which its client in Java sends for such an address."""
    refused = gate_3.ask("GET", f"/{API}/experiments/search?max_results=1", headers=gate_3.basic("jane"))

    assert (refused.status, "at the end of MLFLOW_TRACKING_URI" in refused.message) == (400, True)


def test_encoded_letters_of_a_guarded_path_are_decided_like_plain_ones(staged: tuple[Wine, str]) -> None:
    wine, version = staged
    encoded = MOVE.replace("transition", "%74ransition")
    assert wine.gate.ask("POST", encoded, body(wine, version), wine.gate.bearer(Purpose.PULL)).status == 403
    assert wine.gate.ask("POST", encoded, body(wine, version), wine.gate.basic("jane")).status == 403


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_are_not_let_through(staged: tuple[Wine, str], method: str) -> None:
    wine, version = staged
    written = json.dumps(body(wine, version)).encode()
    for override in ("X-HTTP-Method-Override: POST", "X-Method-Override: POST"):
        authorization = f"Authorization: Bearer {wine.gate.token(Purpose.PROMOTE)}"
        raw = request(MOVE, written, authorization, "Content-Type: application/json", override, method=method)
        assert sent(wine.gate, raw)[0] in {400, 403}


def test_smuggled_request_is_not_forwarded(staged: tuple[Wine, str]) -> None:
    wine, version = staged
    inner = request(MOVE, json.dumps(body(wine, version)).encode(), "Content-Type: application/json")
    authorization = f"Authorization: Bearer {wine.gate.token(Purpose.PULL)}"
    for framing in (
        ["Content-Length: 0", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding : chunked"],
    ):
        head = "\r\n".join(
            [
                "POST /api/2.0/mlflow/logged-models/search HTTP/1.1",
                "Host: gate",
                "Connection: close",
                authorization,
                *framing,
            ]
        ).encode()
        status, _ = sent(wine.gate, head + b"\r\n\r\n0\r\n\r\n" + inner)
        assert status in {400, 401, 403}


@pytest.mark.parametrize(
    ("path", "value", "status"),
    [
        ("logged-models/search", b"{}," * 60_000 + b"{}", 413),
        ("runs/log-batch", b"0," * 100_000 + b"0", 413),
        ("runs/log-batch", b'"","a\\"",' * 210_000 + b'""', 413),
        ("runs/log-batch", b'"' + b'{,[\\"\\\\' * 60_000 + b'"', 404),  # one text
    ],
    ids=["objects", "numbers", "texts", "one text"],
)
def test_body_of_many_small_values_is_not_parsed(gate_3: Gate, path: str, value: bytes, status: int) -> None:
    """Each of them takes up to 30 times its own length in memory: 32 MiB took a gigabyte."""
    headers = gate_3.basic("jane") | {"Content-Type": "application/json"}
    sent_body = b'{"run_id": "no-such", "order_by": [' + value + b"]}"
    if path == "logged-models/search":
        sent_body = sent_body.replace(b'"run_id": "no-such", ', b"")
    refused = gate_3.ask("POST", f"{API}/{path}", sent_body, headers)

    assert refused.status == status
    assert ("100000 values" in refused.message) == (status == 413)


def test_body_above_the_limit_is_not_read(staged: tuple[Wine, str]) -> None:
    wine, version = staged
    large = body(wine, version, name="x" * (1024 * 1024))
    refused = wine.gate.ask("POST", MOVE, large, wine.gate.bearer(Purpose.PROMOTE))
    chunked = "\r\n".join(
        [
            f"POST {MOVE} HTTP/1.1",
            "Host: gate",
            f"Authorization: Bearer {wine.gate.token(Purpose.PROMOTE)}",
            "Content-Type: application/json",
        ]
    ).encode()
    status, _ = sent(
        wine.gate,
        chunked
        + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 17
        + b"0\r\n\r\n",
    )

    assert (refused.status, refused.json["error_code"]) == (413, "INVALID_PARAMETER_VALUE")
    assert status == 413


NOT_ACCEPTED = {
    "unknown": f"Bearer {new_token(PROJECT, Purpose.PROMOTE).value.reveal()}",
    "mistyped": "Bearer dmg1_p_66c0a1b2c3d4e5f601234567_x",
    "a JWT that says none": "Bearer eyJhbGciOiJub25lIn0.eyJJU19TRVJWSUNFX0FDQ09VTlQiOnRydWV9.",
    "a JWT signed with secret": "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJJU19TRVJWSUNFX0FDQ09VTlQiOnRydWV9.x",
    "basic": "Basic amFuZTp3cm9uZw==",
    "another scheme": "Digest x",
    "no scheme": "token",
    "not base64": "Basic ***",
}


@pytest.mark.parametrize("authorization", NOT_ACCEPTED.values(), ids=NOT_ACCEPTED)
def test_all_unknown_credentials_get_the_same_refusal(gate_3: Gate, authorization: str) -> None:
    refused = gate_3.ask("GET", f"{API}/experiments/search", headers={"Authorization": authorization})

    assert (refused.status, refused.json["error_code"]) == (401, "UNAUTHENTICATED")
    assert refused.message in {"token not accepted", "send the token of your project as MLFLOW_TRACKING_TOKEN"}
    assert (
        'Bearer realm="mlflow-gate"' in refused.headers["WWW-Authenticate"]
        or "Basic" in refused.headers["WWW-Authenticate"]
    )


def test_two_authorizations_or_a_long_one_are_refused(gate_3: Gate) -> None:
    token = gate_3.token(Purpose.PROMOTE)
    two = request(
        "/api/2.0/mlflow/experiments/search",
        b"",
        f"Authorization: Bearer {token}",
        f"Authorization: Bearer {token}",
        method="GET",
    )

    assert sent(gate_3, two)[0] == 400
    assert (
        gate_3.ask("GET", f"{API}/experiments/search", headers={"Authorization": "Bearer " + "x" * 5000}).status == 400
    )


PROBES = [
    ("POST", f"{API}/model-versions/transition-stage"),
    ("POST", "/graphql"),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts"),
    ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/1/evil.txt"),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/evil.txt"),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/1/evil.txt"),
    ("PUT", "/ajax-api/2.0/mlflow-artifacts/artifacts/1/evil.txt"),
    ("POST", "/v1/traces"),
    ("GET", "/api/3.0/mlflow/mcp-servers"),
    ("GET", "/ajax-api/3.0/mlflow/mcp-servers"),
    ("GET", "/api/3.0/mlflow/skills"),
    ("GET", "/ajax-api/3.0/mlflow/skills"),
    ("GET", "/ajax-api/3.0/mlflow/assistant/config"),
    ("GET", "/ajax-api/3.0/jobs/abc"),
    ("POST", "/gateway/x/mlflow/invocations"),
    ("GET", "/get-artifact?path=x&run_uuid=y"),
    ("GET", "/"),
]


@pytest.mark.parametrize(("method", "path"), PROBES)
def test_nothing_is_open_without_a_credential(any_gate: Gate, method: str, path: str) -> None:
    assert any_gate.ask(method, path, b"{}", {"Content-Type": "application/json"}).status == 401
    assert not list(any_gate.server.artifacts.glob("**/evil.txt"))


@pytest.mark.parametrize(
    "path",
    [path for _, path in PROBES if "3.0" in path or path.startswith(("/v1", "/gateway"))]
    + ["/api/2.0/mlflow/webhooks", "/no/such"],
)
def test_routes_that_run_code_are_closed_to_everyone(any_gate: Gate, path: str) -> None:
    for who in (any_gate.basic("jane"), any_gate.basic("root"), any_gate.bearer(Purpose.PROMOTE)):
        refused = any_gate.ask("GET", path, headers=who)
        assert (refused.status, refused.message.endswith(("not allowed", "not supported by the gate"))) == (403, True)
        assert any_gate.ask("POST", path, {}, who).status == 403


def test_client_that_logs_traces_asks_once_for_spans(gate_3: Gate) -> None:
    wine = wine_behind(gate_3, "traced")
    env = {
        "MLFLOW_TRACKING_URI": gate_3.uri,
        "MLFLOW_TRACKING_USERNAME": "jane",
        "MLFLOW_TRACKING_PASSWORD": PASSWORD,
        "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
    }

    printed = gate_3.server.run(LOG_TRACES, wine.experiment, env=env)

    assert json.loads(printed.splitlines()[-1]) == {"spans": [2, 2, 2], "asked": 1}


def test_public_routes_need_no_credential(any_gate: Gate) -> None:
    assert any_gate.ask("GET", "/health").body == b"OK"
    assert any_gate.ask("GET", "/version").status == 200
    assert any_gate.ask("HEAD", "/health").status == 200


def test_page_of_another_site_does_not_use_a_persons_password(gate_3: Gate) -> None:
    jane = gate_3.basic("jane")
    path = f"{API}/experiments/search?max_results=1"

    assert gate_3.ask("GET", path, headers=jane | {"Origin": "https://evil.example"}).status == 403
    assert gate_3.ask("GET", path, headers=jane | {"Origin": gate_3.uri}).status == 200
    assert gate_3.ask("GET", path, headers=jane | {"Upgrade": "websocket", "Connection": "Upgrade"}).status == 403


def test_headers_that_claim_rights_do_not_reach_mlflow(gate_3: Gate) -> None:
    """MLflow's assistant takes a client without such headers for local; another header chooses a workspace."""
    jane = gate_3.basic("jane")
    claimed = {
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Host": "evil",
        "X-MLFLOW-WORKSPACE": "other",
        "Forwarded": "for=127.0.0.1",
    }

    assert gate_3.ask("GET", f"{API}/experiments/search?max_results=1", headers=jane | claimed).status == 200
    assert (
        ask(
            gate_3.server.uri, "GET", f"{API}/experiments/search?max_results=1", headers={"X-MLFLOW-WORKSPACE": "other"}
        ).status
        != 200
    )
