"""People whom oauth2-proxy names in headers: only if its address and its secret say that it has sent them."""

import asyncio
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from model_contract.tokens import Purpose, new_token
from testbed.gate import OTHER, PROJECT, ask
from testbed.http_server import in_thread, send_json
from testbed.processes import free_port, installed, running
from tracking_gate.actors import Actor, ActorKind
from tracking_gate.authentication.authenticator import Authenticator
from tracking_gate.authentication.issuers_file import IssuersError, IssuersFile, read_trusted
from tracking_gate.authentication.people import NoPeople, TrustedHeader
from tracking_gate.authentication.proxied_people import ProxiedPeople
from tracking_gate.errors import InvalidRequest, Unauthenticated, Unavailable
from tracking_gate.secret_directory import SecretDirectory

PERSON = {"claims": {"groups": "wine"}, "projects": [PROJECT], "rights": "person"}
ADMIN = {"claims": {"email": "root@acme.example"}, "rights": "admin"}
INGRESS, ELSEWHERE = "10.1.2.3", "10.9.9.9"
SENT = {
    "X-Auth-Request-User": "jane",
    "X-Auth-Request-Groups": "beer,wine",
    "X-Auth-Request-Email": "jane@acme.example",
}

Json = dict[str, Any]


def written(folder: Path, **changes: Any) -> Path:
    proxy = {"headers": "X-Auth-Request", "addresses": ["10.1.0.0/16"], "callers": [PERSON, ADMIN], **changes}
    file = folder / "issuers.json"
    file.write_text(json.dumps({"issuers": [], "proxy": proxy}))
    return file


def person(file: Path, headers: Any, sender: str = INGRESS) -> Actor | None:
    """Return the actor of a request, None if it is answered with 401."""
    folder = file.parent / "tokens"
    folder.mkdir(exist_ok=True)
    proxied = ProxiedPeople(IssuersFile(file))
    authenticator = Authenticator(SecretDirectory(folder), NoPeople(), lambda: 0.0, proxied=proxied)
    sent = CIMultiDictProxy(CIMultiDict(headers))
    try:
        return asyncio.run(authenticator.authenticate(sent, sender, sender))
    except Unauthenticated:
        return None


def test_person_has_the_projects_of_the_groups_that_the_proxy_names(tmp_path: Path) -> None:
    file = written(tmp_path)

    details = {"issuer": "proxy"}
    jane = Actor(kind=ActorKind.PERSON, name="jane", projects=frozenset({PROJECT}), details=details)
    assert person(file, SENT) == jane
    admin = person(file, SENT | {"X-Auth-Request-Groups": "", "X-Auth-Request-Email": "root@acme.example"})
    assert admin
    assert admin.kind is ActorKind.ADMIN
    assert person(file, SENT | {"X-Auth-Request-Groups": "beer"}) is None


def test_headers_of_any_other_sender_count_for_nothing(tmp_path: Path) -> None:
    file = written(tmp_path)

    assert person(file, SENT, f"::ffff:{INGRESS}") is not None, "a socket of IPv6 says so"
    assert person(file, SENT, ELSEWHERE) is None
    assert person(file, SENT | {"X-Forwarded-For": INGRESS}, ELSEWHERE) is None
    assert person(file, SENT, "unknown") is None


def test_secret_of_the_proxy_is_needed_if_the_file_names_one(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    file = written(tmp_path, secret_file=str(secret))

    assert person(file, SENT | {"X-Gate-Proxy-Secret": "s3cret"})
    assert person(file, SENT | {"X-Gate-Proxy-Secret": "other"}) is None
    assert person(file, SENT) is None
    assert person(file, SENT | {"X-Gate-Proxy-Secret": "s3cret"}, ELSEWHERE) is None, "both are needed"
    secret.unlink()
    with pytest.raises(Unavailable, match="the secret of the proxy cannot be read"):
        person(file, SENT)


def test_header_that_comes_twice_says_nothing(tmp_path: Path) -> None:
    """A client has sent one of the two past a proxy that only adds."""
    file = written(tmp_path)

    for name in ("X-Auth-Request-Groups", "X-Auth-Request-User"):
        assert person(file, [*SENT.items(), (name, "wine")]) is None


def test_header_of_another_proxy_that_comes_twice_is_refused(tmp_path: Path) -> None:
    file, folder = tmp_path / "people.json", tmp_path / "tokens"
    file.write_text(json.dumps({"jane": {"projects": [PROJECT]}, "root": {"admin": True}}))
    folder.mkdir()
    people = TrustedHeader("X-User", file)

    def named(*names: str) -> Actor:
        authenticator = Authenticator(SecretDirectory(folder), people, lambda: 0.0)
        sent = CIMultiDictProxy(CIMultiDict([("X-User", name) for name in names]))
        return asyncio.run(authenticator.authenticate(sent, INGRESS))

    assert named("jane").name == "jane"
    with pytest.raises(InvalidRequest, match="send one X-User header"):
        named("root", "jane")


def test_headers_of_another_proxy_are_not_read(tmp_path: Path) -> None:
    forwarded = {name.replace("X-Auth-Request", "X-Forwarded"): value for name, value in SENT.items()}

    assert person(written(tmp_path), forwarded) is None
    assert person(written(tmp_path, headers="X-Forwarded", name_claim="email"), forwarded).name == "jane@acme.example"  # type: ignore[union-attr]


def test_service_token_comes_before_the_headers(tmp_path: Path) -> None:
    token = new_token(OTHER, Purpose.PULL).value.reveal()
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / f"{OTHER}.pull").write_text(token)

    found = person(written(tmp_path), SENT | {"Authorization": f"Bearer {token}"})
    assert found
    assert (found.kind, found.projects) == (ActorKind.PULL, frozenset({OTHER}))


WRONG: dict[str, tuple[Json, str]] = {
    "nothing to know it by": ({"addresses": []}, "proxy needs addresses or secret_file"),
    "other headers": ({"headers": "X-Remote"}, "proxy.headers must be X-Forwarded or X-Auth-Request"),
    "no network": ({"addresses": ["ingress"]}, "proxy.addresses must be addresses"),
    "a pod": ({"callers": [{"service_account": "a/b", "projects": [PROJECT]}]}, "proxy.callers must be people"),
    "promotion": ({"callers": [{**PERSON, "rights": "promote"}]}, "proxy.callers must be people"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_proxy_that_anyone_could_be_is_refused(tmp_path: Path, changes: Json, message: str) -> None:
    with pytest.raises(IssuersError, match=message):
        read_trusted(written(tmp_path, **changes))


class Recorder(BaseHTTPRequestHandler):
    """Stands for MLflow, and keeps the headers that reach it."""

    def do_GET(self) -> None:
        cast("Recording", self.server).seen.append({name.lower(): value for name, value in self.headers.items()})
        send_json(self, 200, {})

    def log_message(self, *_: Any) -> None: ...


class Recording(ThreadingHTTPServer):
    """A server with the headers of its requests."""

    seen: list[dict[str, str]]


def test_gate_lets_the_person_read_and_gives_mlflow_no_header_of_the_proxy(tmp_path: Path) -> None:
    secret, tokens, port = tmp_path / "secret", tmp_path / "tokens", free_port()
    secret.write_text("s3cret-of-the-proxy")
    tokens.mkdir()
    file = written(tmp_path, addresses=["127.0.0.0/8"], secret_file=str(secret))
    with Recording(("127.0.0.1", 0), Recorder) as mlflow, in_thread(mlflow):
        mlflow.seen = []
        upstream = f"--upstream=http://127.0.0.1:{mlflow.server_port}"
        options = [upstream, f"--secret-dir={tokens}", f"--issuers-file={file}", f"--port={port}", "--host=127.0.0.1"]
        command = [installed("model-api-gate"), "serve", *options]
        with running(command, log=tmp_path / "gate.log", env=os.environ) as process:
            uri, path = f"http://127.0.0.1:{port}", "/api/2.0/mlflow/experiments/search?max_results=1"
            process.wait_for_http(f"{uri}/readyz")
            sent = SENT | {"X-Gate-Proxy-Secret": "s3cret-of-the-proxy", "X-Auth-Request-Access-Token": "eyJ"}
            # WSGI, and so MLflow, would take these for headers of the proxy.
            sent |= {"X_Auth_Request_User": "root", "X_Forwarded_For": "127.0.0.1"}
            statuses = [ask(uri, "GET", path, headers=headers).status for headers in (sent, SENT)]
        log = (tmp_path / "gate.log").read_text()

    assert statuses == [200, 401]
    assert len(mlflow.seen) == 1
    names = [name.replace("_", "-") for name in mlflow.seen[0]]
    assert [name for name in names if name.startswith(("x-auth-request", "x-gate", "authorization"))] == []
    assert names.count("x-forwarded-for") == 1
    assert "s3cret" not in log
