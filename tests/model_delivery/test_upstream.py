"""Requests to MLflow with a token, over TLS and through proxies; the token is sent to no other server."""

import http.client
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from model_contract.exit_codes import ExitCode
from testbed.delivery import Delivery, wait_until
from testbed.faults import answer, only, stall
from testbed.forward_proxy import forward_proxy
from testbed.registered import Registered
from testbed.reverse_proxy import Exchange, reverse_proxy
from testbed.token_proxy import require_token, token_proxy

TOKEN = "dmg1_r_0123456789abcdef01234567_not-a-real-token"


@pytest.fixture
def guarded(delivery: Delivery, mlflow_3: Registered) -> Iterator[Delivery]:
    """A store to be filled from an MLflow that wants a token; the token is in its file."""
    with token_proxy(mlflow_3.uri, TOKEN) as uri:
        yield with_token(replace(delivery, uri=uri), TOKEN)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def with_token(delivery: Delivery, content: str) -> Delivery:
    file = delivery.directory / "token"
    file.write_text(content)
    return replace(delivery, environment={**delivery.environment, "MODEL_API_TOKEN_FILE": str(file)})


def trusting(delivery: Delivery, authority: trustme.CA) -> Delivery:
    file = delivery.directory / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return replace(delivery, environment={**delivery.environment, "SSL_CERT_FILE": str(file)})


def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.parametrize(
    "content", [TOKEN, f"{TOKEN}\n", f" {TOKEN}\r\n"], ids=["bare", "with a newline", "with white space"]
)
def test_the_right_token_opens_the_way(guarded: Delivery, mlflow_3: Registered, content: str) -> None:
    ended = with_token(guarded, content).fetch(mlflow_3.ref("plain"))

    assert ended.code == ExitCode.DONE, ended.output


def test_a_wrong_token_is_refused_at_once(guarded: Delivery, mlflow_3: Registered) -> None:
    ended = with_token(guarded, "dmg1_r_wrong").fetch(mlflow_3.ref("plain"))

    assert ended.code == ExitCode.NOT_AUTHORISED
    assert "401 UNAUTHENTICATED: token not accepted" in ended.reason
    assert "trying again" not in ended.output


def test_without_a_token_the_reason_says_which_variable_to_set(guarded: Delivery, mlflow_3: Registered) -> None:
    ended = replace(guarded, environment={}).fetch(mlflow_3.ref("plain"))

    assert ended.code == ExitCode.NOT_AUTHORISED
    assert "MODEL_API_TOKEN_FILE is not set" in ended.reason


def test_a_token_that_may_not_read_this_model_is_refused(delivery: Delivery, mlflow_3: Registered) -> None:
    denied = answer(403, b'{"error_code": "PERMISSION_DENIED", "message": "not an object of project x"}')
    with reverse_proxy(mlflow_3.uri, only(f"/artifacts/{mlflow_3.versions['plain']['directory']}", denied)) as proxy:
        ended = with_token(replace(delivery, uri=proxy.uri), TOKEN).fetch(mlflow_3.ref("plain"))

    assert ended.code == ExitCode.NOT_AUTHORISED
    assert "403 PERMISSION_DENIED: not an object of project x" in ended.reason


def test_a_host_that_mlflow_does_not_serve_is_no_matter_of_the_token(delivery: Delivery, mlflow_3: Registered) -> None:
    address = urlsplit(mlflow_3.uri)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    connection.request("GET", "/api/2.0/mlflow/registered-models/search", headers={"Host": "mlflow.example"})
    refused = connection.getresponse()
    body = refused.read()
    connection.close()
    assert refused.status == 403

    with reverse_proxy(mlflow_3.uri, only("model-versions/get", answer(403, body))) as proxy:
        ended = with_token(replace(delivery, uri=proxy.uri), TOKEN).fetch(mlflow_3.ref("plain"))

    assert ended.code == ExitCode.INVALID_INPUT
    assert "name it in `mlflow server --allowed-hosts`" in ended.reason


NO_TOKENS = {
    "empty": "",
    "blank": "\n",
    "words": "two words",
    "lines": "line\nbreak",
    "other letters": "ünïcode",
    "no file": None,
}


@pytest.mark.parametrize("content", NO_TOKENS.values(), ids=NO_TOKENS.keys())
def test_a_file_without_a_token_is_named_and_not_shown(
    guarded: Delivery, mlflow_3: Registered, content: str | None
) -> None:
    delivery = with_token(guarded, content or "")
    if content is None:
        (guarded.directory / "token").unlink()
    ended = delivery.fetch(mlflow_3.ref("plain"))

    assert ended.code == ExitCode.INVALID_INPUT
    assert "MODEL_API_TOKEN_FILE" in ended.reason
    # The variable may hold the token itself by mistake: a path at which there is no file is not shown.
    assert (f"{guarded.directory}/token" in ended.reason) == (content is not None)
    assert not content or not content.strip() or content not in ended.output


def test_a_token_is_never_shown(delivery: Delivery, mlflow_3: Registered) -> None:
    def tell_tale(exchange: Exchange) -> bool:
        body = f'{{"error_code": "INTERNAL_ERROR", "message": "cannot use {exchange.headers["Authorization"]}"}}'
        exchange.send(500, body.encode())
        return True

    with reverse_proxy(mlflow_3.uri, tell_tale) as proxy:
        ended = with_token(replace(delivery, uri=proxy.uri), TOKEN).fetch(mlflow_3.ref("plain"))

    assert ended.code == ExitCode.UNAVAILABLE
    assert "cannot use Bearer ***" in ended.reason
    assert TOKEN not in ended.output + ended.reason


def test_a_token_is_in_no_process_list_and_no_environment(guarded: Delivery, mlflow_3: Registered) -> None:
    slow = reverse_proxy(mlflow_3.uri, require_token(TOKEN), only("weights.bin", stall(1 << 20)))
    with slow as proxy, replace(guarded, uri=proxy.uri).start(mlflow_3.ref("big")) as process:
        wait_until(lambda: bool(proxy.paths("weights.bin")))
        seen = b"".join(Path(f"/proc/{process.pid}/{file}").read_bytes() for file in ("cmdline", "environ"))
        process.kill()

    assert b"model_delivery" in seen
    assert TOKEN.encode() not in seen


def test_a_redirect_takes_no_token_to_another_server(delivery: Delivery, mlflow_3: Registered) -> None:
    with (
        reverse_proxy(mlflow_3.uri) as other,
        reverse_proxy(mlflow_3.uri, answer(307, headers={"Location": other.uri})) as proxy,
    ):
        ended = with_token(replace(delivery, uri=proxy.uri), TOKEN).fetch(mlflow_3.ref("plain"))

        assert ended.code == ExitCode.INVALID_INPUT
        assert other.seen == []


def test_artifacts_of_another_host_are_requested_from_the_host_of_the_token(
    delivery: Delivery, mlflow_3: Registered
) -> None:
    path = mlflow_3.versions["plain"]["directory"]
    with reverse_proxy(mlflow_3.uri) as other:
        elsewhere = answer(
            200, f'{{"artifact_uri": "mlflow-artifacts://{other.uri.removeprefix("http://")}/{path}"}}'.encode()
        )
        with reverse_proxy(mlflow_3.uri, only("get-download-uri", elsewhere)) as proxy:
            ended = with_token(replace(delivery, uri=proxy.uri), TOKEN).fetch(mlflow_3.ref("plain"))

        assert ended.code == ExitCode.DONE, ended.output
        assert other.seen == []


def test_mlflow_below_a_path_is_reached(delivery: Delivery, mlflow_3: Registered) -> None:
    def strip(exchange: Exchange) -> bool:
        inside = exchange.path.startswith("/mlflow/api/")
        exchange.path = exchange.path.removeprefix("/mlflow")
        return not inside

    with reverse_proxy(mlflow_3.uri, strip) as proxy:
        ended = replace(delivery, uri=f"{proxy.uri}/mlflow/").fetch(mlflow_3.ref("plain"))

    assert ended.code == ExitCode.DONE, ended.output


def test_a_private_authority_is_trusted_when_it_is_named(
    delivery: Delivery, mlflow_3: Registered, authority: trustme.CA
) -> None:
    with token_proxy(mlflow_3.uri, TOKEN, tls=server_tls(authority)) as uri:
        ended = trusting(with_token(replace(delivery, uri=uri), TOKEN), authority).fetch(mlflow_3.ref("plain"))

    assert ended.code == ExitCode.DONE, ended.output


def test_an_authority_that_is_not_named_is_not_trusted(
    delivery: Delivery, mlflow_3: Registered, authority: trustme.CA
) -> None:
    with reverse_proxy(mlflow_3.uri, tls=server_tls(authority)) as proxy:
        ended = trusting(with_token(replace(delivery, uri=proxy.uri), TOKEN), trustme.CA()).fetch(mlflow_3.ref("plain"))

        assert ended.code == ExitCode.INVALID_INPUT
        assert "name the CA's file in SSL_CERT_FILE" in ended.reason
        assert proxy.seen == []


def test_a_file_of_authorities_that_is_not_there_is_named(delivery: Delivery, mlflow_3: Registered) -> None:
    ended = replace(delivery, environment={"SSL_CERT_FILE": "/nowhere/ca.pem"}).fetch(mlflow_3.ref("plain"))

    assert ended.code == ExitCode.INVALID_INPUT
    assert "SSL_CERT_FILE names /nowhere/ca.pem" in ended.reason


def test_a_proxy_for_tls_tunnels_and_reads_no_token(
    delivery: Delivery, mlflow_3: Registered, authority: trustme.CA
) -> None:
    with token_proxy(mlflow_3.uri, TOKEN, tls=server_tls(authority)) as uri, forward_proxy() as forward:
        proxied = {"HTTPS_PROXY": f"http://user:pass%40word@127.0.0.1:{forward.server_port}"}
        through = trusting(with_token(replace(delivery, uri=uri, environment=proxied), TOKEN), authority)
        ended = through.fetch(mlflow_3.ref("plain"))

        assert ended.code == ExitCode.DONE, ended.output
        assert forward.read
        for line, headers in forward.read:
            assert line.startswith(f"CONNECT {uri.removeprefix('https://')} ")
            assert "Proxy-Authorization: Basic dXNlcjpwYXNzQHdvcmQ=" in headers
            assert TOKEN not in headers


def test_a_proxy_for_plain_http_relays(delivery: Delivery, mlflow_3: Registered) -> None:
    with forward_proxy() as forward:
        proxied = {"HTTP_PROXY": f"http://127.0.0.1:{forward.server_port}"}
        ended = replace(delivery, environment=proxied).fetch(mlflow_3.ref("plain"))

        assert ended.code == ExitCode.DONE, ended.output
        assert forward.read
        assert all(line.startswith(f"GET {mlflow_3.uri}/api/") for line, _ in forward.read)


def test_no_proxy_is_used_for_what_is_excepted(delivery: Delivery, mlflow_3: Registered) -> None:
    with forward_proxy() as forward:
        excepted = {"HTTP_PROXY": f"http://127.0.0.1:{forward.server_port}", "NO_PROXY": "example.com,127.0.0.0/8"}
        ended = replace(delivery, environment=excepted).fetch(mlflow_3.ref("plain"))

        assert ended.code == ExitCode.DONE, ended.output
        assert forward.read == []
