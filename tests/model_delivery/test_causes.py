"""One failure, one sentence and one exit code, the same from the init container and from `model-api`."""

import contextlib
import datetime
import os
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ModelRef
from testbed import lifecycle
from testbed.delivery import Delivery
from testbed.faults import answer
from testbed.forward_proxy import forward_proxy
from testbed.processes import free_port
from testbed.reverse_proxy import reverse_proxy

REF = ModelRef(name="wine", version="1", owner="jane.doe", run_id="5f0c")
TOKEN = "dmg1_r_not-a-real-token"
PAGE = b"<!DOCTYPE html><html><head><title>Access denied</title></head></html>"
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A failure, and the environment of the run that meets it.

    `before` is a command that runs the programs, `options` are more of the fetch. `seconds` is the time limit of an
    answer.
    """

    uri: str
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Sequence[str] = ()
    options: Sequence[str] = ()
    seconds: int = 30


Failing = Callable[[Path], AbstractContextManager[Server]]


def trusting(directory: Path, authority: trustme.CA) -> dict[str, str]:
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    return {"SSL_CERT_FILE": str(directory / "ca.pem")}


def tls(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


def certified(
    names: tuple[str, ...] = ("127.0.0.1",),
    *,
    trusted: bool = True,
    not_before: datetime.datetime | None = None,
    not_after: datetime.datetime | None = None,
) -> Failing:
    """A server whose certificate is for these names, and valid then."""

    @contextmanager
    def serve(directory: Path) -> Iterator[Server]:
        authority = trustme.CA()
        leaf = authority.issue_cert(*names, not_before=not_before, not_after=not_after)
        with reverse_proxy("http://127.0.0.1:9", answer(404), tls=tls(leaf)) as proxy:
            yield Server(uri=proxy.uri, environment=trusting(directory, authority if trusted else trustme.CA()))

    return serve


@contextmanager
def old_tls(directory: Path) -> Iterator[Server]:
    authority = trustme.CA()
    context = tls(authority.issue_cert("127.0.0.1"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with reverse_proxy("http://127.0.0.1:9", answer(404), tls=context) as proxy:
        yield Server(uri=proxy.uri, environment=trusting(directory, authority))


@contextmanager
def https_to_http(_: Path) -> Iterator[Server]:
    with reverse_proxy("http://127.0.0.1:9", answer(404)) as proxy:
        yield Server(uri=proxy.uri.replace("http:", "https:"))


@contextmanager
def http_to_https(_: Path) -> Iterator[Server]:
    with reverse_proxy("http://127.0.0.1:9", answer(404), tls=tls(trustme.CA().issue_cert("127.0.0.1"))) as proxy:
        yield Server(uri=proxy.uri.replace("https:", "http:"))


@contextmanager
def refused(_: Path) -> Iterator[Server]:
    yield Server(uri=f"http://127.0.0.1:{free_port()}")


@contextmanager
def no_such_name(_: Path) -> Iterator[Server]:
    yield Server(uri="http://no-such-host.invalid:5000")


@contextmanager
def without_a_name_server(_: Path) -> Iterator[Server]:
    """Run the programs in a network of their own, from which no name server is reached."""
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    yield Server(uri="http://mlflow.example:5000", before=("unshare", *user, "--net"))


@contextmanager
def full(_: Path) -> Iterator[Server]:
    """A server whose queue is full: the kernel drops the packets of further connections, as a firewall does."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _attempt in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield Server(uri=f"http://127.0.0.1:{server.getsockname()[1]}", options=("--deadline=3",), seconds=2)


def wanting_a_certificate(*, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, other: bool = False) -> Failing:
    """A server that demands a client's certificate. The client has none, or with `other` one of another authority."""

    @contextmanager
    def serve(directory: Path) -> Iterator[Server]:
        authority, stranger = trustme.CA(), trustme.CA()
        context = tls(authority.issue_cert("127.0.0.1"))
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = context.maximum_version = version
        environment = trusting(directory, authority)
        if other:
            stranger.issue_cert("client.example").private_key_and_cert_chain_pem.write_to_path(
                str(directory / "client.pem")
            )
            environment["MLFLOW_TRACKING_CLIENT_CERT_PATH"] = str(directory / "client.pem")
        with reverse_proxy("http://127.0.0.1:9", answer(404), tls=context) as proxy:
            yield Server(uri=proxy.uri, environment=environment)

    return serve


def listening(serve: Callable[[socket.socket], object]) -> Failing:
    """A server that does this with each connection."""

    @contextmanager
    def listen(_: Path) -> Iterator[Server]:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def accept() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = server.accept()
                        with connection, contextlib.suppress(OSError):
                            serve(connection)

            threading.Thread(target=accept, daemon=True).start()
            yield Server(uri=f"http://127.0.0.1:{server.getsockname()[1]}")
            server.shutdown(socket.SHUT_RDWR)

    return listen


def closed(connection: socket.socket) -> None:
    connection.recv(1 << 16)


def garbled(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"220 smtp.example ESMTP\r\n")


def answering(status: int, body: bytes = b"", **headers: str) -> Failing:
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    @contextmanager
    def serve(_: Path) -> Iterator[Server]:
        with reverse_proxy("http://127.0.0.1:9", answer(status, body, named)) as proxy:
            yield Server(uri=proxy.uri)

    return serve


def refusing_tunnels(status: int) -> Failing:
    @contextmanager
    def serve(directory: Path) -> Iterator[Server]:
        with certified()(directory) as server, forward_proxy(refuse=status) as proxy:
            environment = {**server.environment, "HTTPS_PROXY": f"http://user:hunter2@127.0.0.1:{proxy.server_port}"}
            yield Server(uri=server.uri, environment=environment)

    return serve


NAME_CERTIFICATE = "name its file in MLFLOW_TRACKING_CLIENT_CERT_PATH"
GATE = b'{"error_code": "PERMISSION_DENIED", "message": "not an object of project 66c0a1b2c3d4e5f601234567"}'
URLS_ONLY = b'{"error_code": "PERMISSION_DENIED", "message": "no", "artifacts_presigned_only": true}'
UNKNOWN = b'{"error_code": "UNAUTHENTICATED", "message": "the token is not accepted"}'

CAUSES: dict[str, tuple[Failing, ExitCode, str]] = {
    "another host's certificate": (
        certified(("mlflow.example",)),
        ExitCode.INVALID_INPUT,
        "certificate is for another name than 127.0.0.1",
    ),
    "an expired certificate": (
        certified(not_before=NOW - 2 * DAY, not_after=NOW - DAY),
        ExitCode.INVALID_INPUT,
        "the server's certificate has expired",
    ),
    "a certificate of tomorrow": (
        certified(not_before=NOW + DAY, not_after=NOW + 2 * DAY),
        ExitCode.INVALID_INPUT,
        "the server's certificate is not valid yet",
    ),
    "an unknown authority": (certified(trusted=False), ExitCode.INVALID_INPUT, "its authority is unknown"),
    "an old version of TLS": (old_tls, ExitCode.INVALID_INPUT, "both sides have no version of TLS in common"),
    "https to a server of http": (
        https_to_http,
        ExitCode.INVALID_INPUT,
        "answers without TLS; set MLFLOW_TRACKING_URI to http://",
    ),
    "http to a server of https": (
        http_to_https,
        ExitCode.INVALID_INPUT,
        "speaks TLS; set MLFLOW_TRACKING_URI to https://",
    ),
    "http to nginx with https": (
        answering(400, b"<html>400 The plain HTTP request was sent to HTTPS port</html>"),
        ExitCode.INVALID_INPUT,
        "speaks TLS; set MLFLOW_TRACKING_URI to https://",
    ),
    "http to Go with https": (
        answering(400, b"Client sent an HTTP request to an HTTPS server.\n"),
        ExitCode.INVALID_INPUT,
        "speaks TLS; set MLFLOW_TRACKING_URI to https://",
    ),
    "nothing listens": (refused, ExitCode.UNAVAILABLE, "Connection refused: nothing listens there"),
    "a name that DNS does not know": (no_such_name, ExitCode.INVALID_INPUT, "DNS knows no host no-such-host.invalid"),
    "a name server that does not answer": (
        without_a_name_server,
        ExitCode.UNAVAILABLE,
        "DNS does not answer for mlflow.example at the moment",
    ),
    "a connection that is not answered": (
        full,
        ExitCode.UNAVAILABLE,
        "no connection in time; a firewall or a NetworkPolicy may drop the packets",
    ),
    "no client certificate, TLS 1.3": (
        wanting_a_certificate(),
        ExitCode.NOT_AUTHORISED,
        f"the server requires a client certificate that it knows; {NAME_CERTIFICATE}",
    ),
    "no client certificate, TLS 1.2": (
        wanting_a_certificate(version=ssl.TLSVersion.TLSv1_2),
        ExitCode.INVALID_INPUT,
        f"the two sides do not agree on TLS; if the server requires a client certificate, {NAME_CERTIFICATE}",
    ),
    "another client certificate, TLS 1.3": (
        wanting_a_certificate(other=True),
        ExitCode.NOT_AUTHORISED,
        f"the server requires a client certificate that it knows; {NAME_CERTIFICATE}",
    ),
    "another client certificate, TLS 1.2": (
        wanting_a_certificate(version=ssl.TLSVersion.TLSv1_2, other=True),
        ExitCode.NOT_AUTHORISED,
        f"the server requires a client certificate that it knows; {NAME_CERTIFICATE}",
    ),
    "no client certificate for nginx": (
        answering(400, b"<html>\r\n<head><title>400 No required SSL certificate was sent</title></head>"),
        ExitCode.NOT_AUTHORISED,
        f"the server requires a client certificate that it knows; {NAME_CERTIFICATE}",
    ),
    "another client certificate for nginx": (
        answering(400, b"<html>\r\n<head><title>400 The SSL certificate error</title></head>"),
        ExitCode.NOT_AUTHORISED,
        f"the server requires a client certificate that it knows; {NAME_CERTIFICATE}",
    ),
    "closed without an answer": (
        listening(closed),
        ExitCode.UNAVAILABLE,
        "the connection was closed without an answer",
    ),
    "another protocol": (listening(garbled), ExitCode.UNAVAILABLE, "does not answer"),
    "a proxy that wants a password": (
        refusing_tunnels(407),
        ExitCode.NOT_AUTHORISED,
        "answers 407: it requires a user and a password",
    ),
    "a proxy that does not let through": (
        refusing_tunnels(403),
        ExitCode.NOT_AUTHORISED,
        "answers 403: it does not connect to 127.0.0.1",
    ),
    "a proxy that does not reach": (
        refusing_tunnels(502),
        ExitCode.UNAVAILABLE,
        "answers 502: it cannot reach 127.0.0.1",
    ),
    "a proxy that makes no tunnels": (
        refusing_tunnels(501),
        ExitCode.INVALID_INPUT,
        "answers 501 to CONNECT; check that it is an HTTP proxy",
    ),
    "a proxy's 407": (
        answering(407, PAGE, Via="1.1 squid"),
        ExitCode.NOT_AUTHORISED,
        "answers 407: it requires a user and a password",
    ),
    "a proxy's 403": (
        answering(403, PAGE, Via="1.1 squid"),
        ExitCode.NOT_AUTHORISED,
        "a portal before it answers 403 (Via: 1.1 squid)",
    ),
    "an ingress without MLflow": (answering(502, PAGE), ExitCode.UNAVAILABLE, "answers 502 (Server: BaseHTTP"),
    "a network's login": (answering(511, PAGE), ExitCode.NOT_AUTHORISED, "this network requires a login first"),
    "a redirect to a login": (
        answering(302, Location="https://login.example/?next=secret"),
        ExitCode.INVALID_INPUT,
        "a redirect to login.example, which is not followed",
    ),
    "a login page": (answering(200, PAGE, Content_Type="text/html"), ExitCode.INVALID_INPUT, "an HTML page came"),
    "files by presigned URLs only": (
        answering(403, URLS_ONLY),
        ExitCode.INVALID_INPUT,
        "MLflow gives its files by presigned URLs only",
    ),
    "too large": (answering(413, PAGE), ExitCode.INVALID_INPUT, "the request is larger than it takes"),
    "too many requests": (answering(429, b"{}"), ExitCode.UNAVAILABLE, "too many requests at the moment"),
    "a token that is not known": (answering(401, UNKNOWN), ExitCode.NOT_AUTHORISED, "is not accepted"),
    "an object of another project": (
        answering(403, GATE),
        ExitCode.NOT_AUTHORISED,
        "The model, its run and its experiment must all have the tag mlflow.domino.project_id with its project",
    ),
}


@pytest.mark.parametrize(("failing", "code", "sentence"), CAUSES.values(), ids=CAUSES.keys())
def test_a_cause_has_its_sentence_and_code_in_both_programs(
    tmp_path: Path, failing: Failing, code: ExitCode, sentence: str
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with failing(tmp_path) as server:
        environment = {**server.environment, "MODEL_API_TOKEN_FILE": str(tmp_path / "token")}
        fetched = Delivery(directory=tmp_path, uri=server.uri, environment=environment).fetch(
            REF, "--tries=1", f"--stall={server.seconds}", *server.options, before=server.before
        )
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        stated = lifecycle.run(
            kept | {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_TRACKING_TOKEN": TOKEN} | dict(server.environment),
            *("url", "--name=wine", "--version=1", "--domino-url=http://127.0.0.1:9", "--retries=0"),
            f"--timeout={server.seconds}",
            before=server.before,
        )

    assert (fetched.code, stated.code) == (code, code), fetched.output + stated.err
    assert sentence in fetched.reason
    assert sentence in stated.err
    for text in (fetched.output, stated.out, stated.err):
        assert TOKEN not in text
        assert "hunter2" not in text
        assert "secret" not in text
        assert "Traceback" not in text
