"""The server as the API server sees it: HTTP over TLS, odd requests, slow clients, metrics and logs."""

import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import pytest

from testbed.api_server import review_of
from testbed.processes import PATIENCE, installed
from testbed.webhook_server import WebhookServer
from webhook.admission import admit
from webhook.server.request import is_small
from webhook.settings import Settings

Serve = Callable[..., AbstractContextManager[WebhookServer]]
JSON = {"Content-Type": "application/json"}
OLDER = b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","s3cret":"s3cret"}'


@contextmanager
def raw(server: WebhookServer) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain,
        server.trust().wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        yield wrapped


def request_bytes(body: bytes, *headers: str) -> bytes:
    head = ["POST /mutate HTTP/1.1", "Host: webhook", "Content-Type: application/json", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def received(connection: ssl.SSLSocket, answers: int = 1) -> bytes:
    """Return so many answers, or those that came before the connection was closed."""
    content = b""
    while content.count(b"HTTP/1.1 ") < answers or not complete(content):
        chunk = connection.recv(65536)
        if not chunk:
            break
        content += chunk
    return content


def complete(content: bytes) -> bool:
    head, _, body = content.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length")]
    return bool(lengths) and len(body) >= lengths[0]


def test_the_server_answers_what_the_decision_says(server: WebhookServer, pod: dict[str, Any]) -> None:
    assert server.review(pod) == admit(review_of(pod), Settings())


def test_a_dry_run_gets_the_same_answer(server: WebhookServer, pod: dict[str, Any]) -> None:
    assert server.review(pod, dryRun=True) == server.review(pod)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        pytest.param(("GET", "/mutate", {}, None), 405, id="B1 another method"),
        pytest.param(("PUT", "/mutate", JSON, b"{}"), 405, id="B1 a method with a body"),
        pytest.param(("POST", "/other", JSON, b"{}"), 404, id="B1 another path"),
        pytest.param(("POST", "/mutate/", JSON, b"{}"), 404, id="B1 a path with a slash too many"),
        pytest.param(("POST", "/mutate", {"Content-Type": "text/plain"}, b"{}"), 415, id="B1 another type"),
        pytest.param(("POST", "/mutate", {}, b"{}"), 415, id="B1 no type"),
        pytest.param(
            ("POST", "/mutate", {"Content-Type": "application/json; charset=utf-8"}, b"{}"),
            400,
            id="B1 a charset is fine",
        ),
        pytest.param(("POST", "/mutate", JSON, b""), 400, id="B2 nothing"),
        pytest.param(("POST", "/mutate", JSON, b"{"), 400, id="B2 no JSON"),
        pytest.param(("POST", "/mutate", JSON, b"[]"), 400, id="B2 no object"),
        pytest.param(("POST", "/mutate", JSON, b'{"kind": "Review"}'), 400, id="B2 another kind"),
        pytest.param(("POST", "/mutate", JSON, b'{"request": NaN}'), 400, id="B2 NaN"),
        pytest.param(("POST", "/mutate", JSON, b"[" * 100_000), 400, id="B3 too deep"),
        pytest.param(("POST", "/mutate", JSON, OLDER), 400, id="B4 an older version"),
        pytest.param(("GET", "/livez", {}, None), 200, id="alive"),
        pytest.param(("HEAD", "/readyz", {}, None), 200, id="ready, asked with HEAD"),
        pytest.param(("POST", "/readyz", {}, b""), 405, id="ready, asked with POST"),
    ],
)
def test_a_request_gets_its_status(
    server: WebhookServer, asked: tuple[str, str, dict[str, str], bytes | None], status: int
) -> None:
    answered, text = server.ask(*asked[:2], asked[3], asked[2])

    assert answered == status
    assert "s3cret" not in text
    assert len(text) < 200


def test_a_method_that_is_not_allowed_names_those_that_are(server: WebhookServer) -> None:
    with closing(server.connection()) as connection:
        connection.request("GET", "/mutate")
        answer = connection.getresponse()

        assert "POST" in str(answer.headers["Allow"])


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(server: WebhookServer) -> None:
    with raw(server) as connection:
        connection.sendall(request_bytes(b"", "Content-Length: 10000000000"))

        assert received(connection).startswith(b"HTTP/1.1 413")


def test_a_head_without_an_end_is_refused(server: WebhookServer) -> None:
    with raw(server) as connection:
        connection.sendall(b"POST /mutate HTTP/1.1\r\n" + b"X-Header: of some length\r\n" * 4000)

        assert received(connection).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x00\x01\x02 no HTTP\r\n\r\n", id="other bytes"),
        pytest.param(request_bytes(b"", "Content-Length: -1"), id="a length below 0"),
        pytest.param(request_bytes(b"", "Content-Length: 3", "Transfer-Encoding: chunked"), id="two lengths"),
        pytest.param(request_bytes(b"zz\r\n", "Transfer-Encoding: chunked"), id="a chunk without a size"),
    ],
)
def test_bytes_that_are_no_request_are_refused(server: WebhookServer, sent: bytes) -> None:
    with raw(server) as connection:
        connection.sendall(sent)

        assert received(connection).startswith(b"HTTP/1.1 400")


def test_a_client_that_waits_for_100_continue_gets_it(server: WebhookServer, pod: dict[str, Any]) -> None:
    body = json.dumps(review_of(pod)).encode()
    with raw(server) as connection:
        connection.sendall(request_bytes(b"", f"Content-Length: {len(body)}", "Expect: 100-continue"))

        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert received(connection).startswith(b"HTTP/1.1 200")


def test_the_query_that_the_api_server_adds_changes_nothing(server: WebhookServer, pod: dict[str, Any]) -> None:
    status, _ = server.ask("POST", "/mutate?timeout=10s", json.dumps(review_of(pod)).encode(), JSON)

    assert status == 200


def test_an_old_client_without_keep_alive_is_disconnected_after_its_answer(
    server: WebhookServer, pod: dict[str, Any]
) -> None:
    body = json.dumps(review_of(pod)).encode()
    with raw(server) as connection:
        connection.sendall(request_bytes(body, f"Content-Length: {len(body)}").replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = received(connection)

        assert b"connection: close" in answer
        assert connection.recv(1) == b""


def test_a_chunked_body_is_read(server: WebhookServer, pod: dict[str, Any]) -> None:
    body = json.dumps(review_of(pod)).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    with raw(server) as connection:
        connection.sendall(request_bytes(chunks, "Transfer-Encoding: chunked"))

        assert received(connection).startswith(b"HTTP/1.1 200")


def test_a_chunked_body_that_never_ends_is_refused(server: WebhookServer) -> None:
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b"x" * (1 << 20))
    with raw(server) as connection:
        connection.sendall(request_bytes(chunk * 9, "Transfer-Encoding: chunked"))

        assert received(connection).startswith(b"HTTP/1.1 413")


def test_requests_in_a_pipeline_are_all_answered(server: WebhookServer, pod: dict[str, Any]) -> None:
    body = json.dumps(review_of(pod)).encode()
    with raw(server) as connection:
        connection.sendall(request_bytes(body, f"Content-Length: {len(body)}") * 3)

        assert received(connection, answers=3).count(b"HTTP/1.1 200") == 3


def test_a_connection_serves_many_reviews(server: WebhookServer, pod: dict[str, Any]) -> None:
    body = json.dumps(review_of(pod)).encode()
    with closing(server.connection()) as connection:
        statuses = []
        for _ in range(20):
            connection.request("POST", "/mutate", body, JSON)
            answer = connection.getresponse()
            answer.read()
            statuses.append((answer.status, connection.sock is not None))

    assert statuses == [(200, True)] * 20


def test_clients_that_send_half_a_request_do_not_keep_others_waiting(serve: Serve, pod: dict[str, Any]) -> None:
    variables = {"MODEL_API_WEBHOOK_SERVER_READ_TIMEOUT": "600", "MODEL_API_WEBHOOK_SERVER_THREADS": "4"}
    with serve(variables) as server:
        halves = [raw(server) for _ in range(8)]
        connections = [half.__enter__() for half in halves]
        for connection in connections[:4]:
            connection.sendall(b"POST /mutate HTTP/1.1\r\nHost: web")
        for connection in connections[4:]:
            connection.sendall(request_bytes(b'{"kind":', "Content-Length: 1000"))

        assert server.review(pod)["response"]["allowed"] is True
        for half in halves:
            half.__exit__(None, None, None)


def test_clients_that_connect_and_say_nothing_do_not_keep_others_waiting(serve: Serve, pod: dict[str, Any]) -> None:
    with serve({"MODEL_API_WEBHOOK_SERVER_READ_TIMEOUT": "600", "MODEL_API_WEBHOOK_SERVER_THREADS": "2"}) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]

        assert server.review(pod)["response"]["allowed"] is True
        for connection in silent:
            connection.close()


def test_a_review_of_many_parts_is_answered_beside_the_loop(server: WebhookServer, pod: dict[str, Any]) -> None:
    pod["spec"]["containers"] += [{"name": f"sidecar-{number}"} for number in range(1500)]
    assert not is_small(json.dumps(review_of(pod)).encode())

    assert server.review(pod)["response"]["auditAnnotations"] == {"reason": "injected"}


def test_reviews_are_counted_by_how_they_end(serve: Serve, pod: dict[str, Any]) -> None:
    with serve() as server:
        server.review(pod)
        server.review(pod, dryRun=True)
        pod["spec"]["containers"][0]["env"][1]["value"] = "../x"
        server.review(pod)
        pod["spec"]["containers"][0]["env"][1]["value"] = ""
        server.review(pod)
        pod["metadata"]["labels"] = {}
        server.review(pod)
        server.ask("POST", "/mutate", b"{", JSON)
        series = server.metrics()

    requests = {key.partition("{")[2]: value for key, value in series.items() if "admission_requests_total" in key}
    assert requests == {
        'dry_run="false",outcome="injected"}': 1,
        'dry_run="true",outcome="injected"}': 1,
        'dry_run="false",outcome="denied"}': 1,
        'dry_run="false",outcome="skipped"}': 1,
        'dry_run="false",outcome="unchanged"}': 1,
        'dry_run="false",outcome="error"}': 1,
    }
    assert series['model_api_webhook_denials_total{reason="invalid_owner"}'] == 1
    assert series['model_api_webhook_skips_total{reason="incomplete_env"}'] == 1
    assert series['model_api_webhook_errors_total{stage="parse"}'] == 1
    assert series['model_api_webhook_errors_total{stage="decide"}'] == 0  # or an alert misses the first
    assert series["model_api_webhook_review_bytes_count"] == 6
    assert series["model_api_webhook_in_flight_requests"] == 0
    assert series['model_api_webhook_tls_certificate_not_after_timestamp_seconds{role="leaf"}'] > time.time()


def test_a_review_is_one_line_of_log_without_what_the_pod_holds(serve: Serve, pod: dict[str, Any]) -> None:
    pod["spec"]["containers"][0]["env"].append({"name": "PASSWORD", "value": "s3cret"})
    pod["metadata"] |= {"name": None, "generateName": "model-"}
    with serve() as server:
        server.review(pod)
        line = server.logged("review")
        written = server.process.log.read_text()

    assert "s3cret" not in written
    assert "jane.doe" not in written
    assert (line["outcome"], line["reason"], line["namespace"], line["generate_name"]) == (
        "injected",
        "injected",
        "domino-compute",
        "model-",
    )
    assert (line["uid"], line["operations"], line["dry_run"], len(line["model"])) == (
        review_of(pod)["request"]["uid"],
        4,
        False,
        12,
    )
    assert line["ms"] > 0


def test_owner_and_run_are_logged_if_an_admin_asks_for_it(serve: Serve, pod: dict[str, Any]) -> None:
    with serve({"MODEL_API_WEBHOOK_SERVER_LOG_LEVEL": "debug"}) as server:
        server.review(pod)
        line = server.logged("review")

    assert line["MLFLOW_MODEL_OWNER"] == "jane.doe"


def test_a_stop_answers_every_review_that_was_sent(serve: Serve, pod: dict[str, Any]) -> None:
    body = json.dumps(review_of(pod)).encode()
    stopping = threading.Event()
    statuses: list[int] = []
    with serve() as server, ThreadPoolExecutor(8) as pool:

        def ask_until_stopped() -> None:
            with closing(server.connection()) as connection:
                while not stopping.is_set():
                    connection.request("POST", "/mutate", body, JSON)
                    answer = connection.getresponse()
                    answer.read()
                    statuses.append(answer.status)
                    if answer.headers["Connection"] == "close":
                        return

        clients = [pool.submit(ask_until_stopped) for _ in range(8)]
        while len(statuses) <= 100 and not any(client.done() for client in clients):
            time.sleep(0.01)
        server.process.popen.send_signal(signal.SIGTERM)
        code = server.process.popen.wait(PATIENCE)
        stopping.set()
        for client in clients:
            client.result(PATIENCE)

    assert code == 0
    assert set(statuses) == {200}
    assert len(statuses) > 100


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        pytest.param(
            {"MODEL_API_WEBHOOK_SERVER_PORT": "http"},
            'MODEL_API_WEBHOOK_SERVER_PORT="http": it must be a port from 1 to 65535',
            id="port",
        ),
        pytest.param(
            {"MODEL_API_WEBHOOK_SERVER_THREADS": "0"},
            'MODEL_API_WEBHOOK_SERVER_THREADS="0": it must be a whole number from 1',
            id="threads",
        ),
        pytest.param(
            {"MODEL_API_WEBHOOK_SERVER_KEY": "x"},
            "the nearest is MODEL_API_WEBHOOK_SERVER_KEY_FILE",
            id="an unknown name",
        ),
        pytest.param(
            {"MODEL_API_WEBHOOK_DELIVERY": "copy"},
            "it must be one of fetch, volume, image",
            id="a setting of the decision",
        ),
        pytest.param(
            {"MODEL_API_WEBHOOK_SERVER_KEY_FILE": "tls.key"}, "it must be an absolute path", id="a relative path"
        ),
        pytest.param(
            {"MODEL_API_WEBHOOK_SERVER_CERTIFICATE_FILE": "/no/such/tls.crt"},
            "/no/such/tls.crt: No such file or directory",
            id="no certificate",
        ),
        pytest.param(
            {"MODEL_API_WEBHOOK_SERVER_HOST": "no.such.invalid"},
            "MODEL_API_WEBHOOK_SERVER_HOST: Name or service not known; it must be an address or a name of this machine",
            id="a host that is not known",
        ),
    ],
)
def test_a_setting_that_cannot_be_right_ends_the_start_with_a_sentence(
    variables: dict[str, str], sentence: str
) -> None:
    done = subprocess.run(
        [installed("model-api-webhook"), "serve"],
        env={"PATH": os.environ["PATH"]} | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.returncode == 3
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
