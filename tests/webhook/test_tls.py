"""The certificate changes under load, as the kubelet and cert-manager's users change it, without a failed review."""

import http.client
import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.x509 import load_der_x509_certificate

from testbed.api_server import review_of
from testbed.certificates import issue
from testbed.processes import PATIENCE, paused
from testbed.webhook_server import WebhookServer

Serve = Callable[..., AbstractContextManager[WebhookServer]]
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def mounted_secret(directory: Path, authority: trustme.CA) -> Path:
    """A Secret as the kubelet mounts it: files are links into ..data, which is a link to a folder that is replaced."""
    directory.mkdir()
    swap_secret(directory, authority)
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (directory / name).symlink_to(Path("..data") / name)
    return directory


def plain_files(directory: Path, authority: trustme.CA) -> Path:
    issue(directory, "127.0.0.1", authority=authority)
    return directory


def swap_secret(directory: Path, authority: trustme.CA) -> None:
    folder = directory / f"..{time.time_ns()}"
    issue(folder, "127.0.0.1", authority=authority)
    (directory / "..data_tmp").symlink_to(folder.name)
    (directory / "..data_tmp").rename(directory / "..data")


def swap_files(directory: Path, authority: trustme.CA) -> None:
    """One file after the other, with a moment in which they do not fit."""
    fresh = issue(directory / "fresh", "127.0.0.1", authority=authority)
    shutil.copyfile(fresh.certificate, directory / "tls.crt")
    time.sleep(0.05)
    shutil.copyfile(fresh.key, directory / "tls.key")


def variables_for(directory: Path) -> dict[str, str]:
    return {
        "MODEL_API_WEBHOOK_SERVER_CERTIFICATE_FILE": str(directory / "tls.crt"),
        "MODEL_API_WEBHOOK_SERVER_KEY_FILE": str(directory / "tls.key"),
    }


def shown_certificate(server: WebhookServer, trust: ssl.SSLContext) -> int:
    """The serial number of the certificate that a new connection is shown."""
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain,
        trust.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        return load_der_x509_certificate(wrapped.getpeercert(binary_form=True) or b"").serial_number


@pytest.mark.parametrize("way", ["as the kubelet mounts a Secret", "one file after the other"])
def test_certificates_change_under_load_without_a_failed_review(
    way: str, serve: Serve, pod: dict[str, Any], tmp_path: Path, authority: trustme.CA
) -> None:
    kubelet = way == "as the kubelet mounts a Secret"
    directory = mounted_secret(tmp_path / "tls", authority) if kubelet else plain_files(tmp_path / "tls", authority)
    swap = swap_secret if kubelet else swap_files
    trust = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    body = json.dumps(review_of(pod)).encode()
    done = threading.Event()
    statuses: list[int] = []

    with serve(variables_for(directory)) as server, ThreadPoolExecutor(4) as pool:

        def ask(*, keep_alive: bool) -> None:
            """Send a review. Raises an exception, which the test collects, if there is no answer."""
            connection = server_connection(server, trust)
            while not done.is_set():
                connection.request("POST", "/mutate", body, JSON)
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
                if not keep_alive:
                    connection.close()
            connection.close()

        clients = [pool.submit(ask, keep_alive=index % 2 == 0) for index in range(4)]
        serials: list[int] = []
        try:
            for _ in range(8):
                swap(directory, authority)
                wanted = len(statuses) + 15
                while (serial := shown_certificate(server, trust)) in serials or len(statuses) < wanted:
                    assert not any(client.done() for client in clients)
                serials.append(serial)
        finally:
            done.set()
        for client in clients:
            client.result(PATIENCE)
        series = server.metrics()

    assert set(statuses) == {200}
    assert len(statuses) > 100
    assert len(set(serials)) == 8
    assert series['model_api_webhook_tls_reloads_total{result="success"}'] >= 8


def server_connection(server: WebhookServer, trust: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("127.0.0.1", server.port, timeout=PATIENCE, context=trust)


def test_a_pair_that_does_not_fit_is_never_served(
    serve: Serve, pod: dict[str, Any], tmp_path: Path, authority: trustme.CA
) -> None:
    files = issue(tmp_path / "tls", "127.0.0.1", authority=authority)
    trust = ssl.create_default_context(cafile=str(files.authority))
    with serve(variables_for(tmp_path / "tls")) as server:
        before = shown_certificate(server, trust)
        other = issue(tmp_path / "other", "127.0.0.1", authority=authority)
        shutil.copyfile(other.certificate, files.certificate)
        during = shown_certificate(server, trust)
        again = shown_certificate(server, trust)
        failures = server.metrics()['model_api_webhook_tls_reloads_total{result="failure"}']
        shutil.copyfile(other.key, files.key)
        after = shown_certificate(server, trust)
        lines = [line for line in server.log() if "do not fit" in line["message"]]

    assert (during, again) == (before, before)
    assert failures == 1  # it is not tried again until a file changes
    assert after != before
    assert len(lines) == 1
    assert "PRIVATE KEY" not in json.dumps(lines)


def test_a_file_that_is_missing_for_a_moment_changes_nothing(
    serve: Serve, tmp_path: Path, authority: trustme.CA
) -> None:
    files = issue(tmp_path / "tls", "127.0.0.1", authority=authority)
    trust = ssl.create_default_context(cafile=str(files.authority))
    with serve(variables_for(tmp_path / "tls")) as server:
        before = shown_certificate(server, trust)
        files.key.unlink()

        assert shown_certificate(server, trust) == before


def test_certificate_and_key_may_be_one_file(
    serve: Serve, pod: dict[str, Any], tmp_path: Path, authority: trustme.CA
) -> None:
    files = issue(tmp_path / "tls", "127.0.0.1", authority=authority)
    both = tmp_path / "both.pem"
    both.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    variables = {"MODEL_API_WEBHOOK_SERVER_CERTIFICATE_FILE": str(both), "MODEL_API_WEBHOOK_SERVER_KEY_FILE": str(both)}
    trust = ssl.create_default_context(cafile=str(files.authority))
    with serve(variables) as server, closing(server_connection(server, trust)) as connection:
        connection.request("GET", "/readyz")

        assert connection.getresponse().status == 200


@pytest.mark.parametrize(("version", "spoken"), [(ssl.TLSVersion.TLSv1_2, False), (ssl.TLSVersion.TLSv1_3, True)])
def test_an_older_tls_than_the_setting_is_refused(version: ssl.TLSVersion, spoken: bool, serve: Serve) -> None:
    with serve({"MODEL_API_WEBHOOK_SERVER_TLS_MINIMUM": "1.3"}) as server:
        trust = server.trust()
        trust.minimum_version = trust.maximum_version = version
        try:
            shown_certificate(server, trust)
            answered = True
        except ssl.SSLError:
            answered = False

    assert answered is spoken


def test_http_2_is_not_offered(server: WebhookServer) -> None:
    trust = server.trust()
    trust.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", server.port)) as plain,
        trust.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        assert wrapped.selected_alpn_protocol() == "http/1.1"


def test_a_new_certificate_reaches_every_process_also_without_a_client(
    serve: Serve, tmp_path: Path, authority: trustme.CA
) -> None:
    files = issue(tmp_path / "tls", "127.0.0.1", authority=authority)
    trust = ssl.create_default_context(cafile=str(files.authority))
    with serve(variables_for(tmp_path / "tls")) as server:
        before = shown_certificate(server, trust)
        issue(tmp_path / "tls", "127.0.0.1", authority=authority)
        deadline = time.monotonic() + PATIENCE
        while not (found := server.metrics().get('model_api_webhook_tls_reloads_total{result="success"}')):
            assert time.monotonic() < deadline
        shown = set()
        for worker in server.workers():
            with paused(worker):
                shown.add(shown_certificate(server, trust))

    assert found == 1  # the processes report it once
    assert len(shown - {before}) == len(shown) == 1


def test_handshakes_that_never_end_do_not_keep_others_waiting(
    serve: Serve, pod: dict[str, Any], tmp_path: Path
) -> None:
    with serve({"MODEL_API_WEBHOOK_SERVER_READ_TIMEOUT": "10"}) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1100)]  # more than are accepted
        for connection in silent:
            connection.sendall(b"\x16\x03\x01")

        assert server.review(pod)["response"]["allowed"] is True
        assert silent[0].recv(1) == b""
        for connection in silent:
            connection.close()
