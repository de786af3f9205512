"""Registries that differ from one another in what the protocol leaves open: all of them get the image."""

import json
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from model_contract.image_reference import ImageReference
from model_lifecycle.errors import InvalidError, LifecycleError, NotAuthorisedError, UnavailableError
from model_lifecycle.packaging import image_registry as client
from model_lifecycle.packaging.image import CONFIG_TYPE, MANIFEST_TYPE, digest_of
from model_lifecycle.packaging.image_registry import ImageRegistry
from model_lifecycle.packaging.registry_login import challenges
from testbed.faults import answer, first, only
from testbed.registry import ImageRegistry as RunningRegistry
from testbed.registry import image_registry
from testbed.reverse_proxy import Exchange, ReverseProxy, Rule, reverse_proxy

BLOB = b"{}"
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(BLOB), "size": len(BLOB)},
        "layers": [],
    }
).encode()
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
INDEX = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}).encode()
LOGIN = {"ORAS_USER": "jane", "ORAS_PASS": "hunter2", "HOME": "/nonexistent"}
NOBODY = {"HOME": "/nonexistent"}
BASIC = "Basic " + b64encode(b"jane:hunter2").decode()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with image_registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssl.SSLContext]:
    """A server's context, of an authority that the environment names."""
    authority, file = trustme.CA(), tmp_path_factory.mktemp("tls") / "ca.crt"
    authority.cert_pem.write_to_path(file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    for login in (LOGIN, NOBODY):
        login["SSL_CERT_FILE"] = str(file)
    yield context


@pytest.fixture
def front(registry: RunningRegistry, tls: ssl.SSLContext) -> Iterator[ReverseProxy]:
    with reverse_proxy(f"http://{registry.address}", tls=tls, keep_host=True) as found:
        yield found


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAUSE", 0.0)


def push(front: ReverseProxy, repository: str, environ: dict[str, str] = NOBODY, *, tag: str = "one") -> str | None:
    """Push an image, and return the digest that its tag had before."""
    reference = ImageReference.parse(f"{front.uri.removeprefix('https://')}/{repository}")
    with ImageRegistry(reference, environ) as images:
        before = images.digest_of(tag)
        images.put_blob(digest_of(BLOB), len(BLOB), lambda: [BLOB])
        images.put_manifest(MANIFEST, tag)
        assert images.digest_of(tag) == digest_of(MANIFEST)
    return before


def wanting(header: str, challenge: str, *, of: Callable[[Exchange], bool] = lambda _: True) -> Rule:
    """Refuse requests to the registry's own paths that do not have this `Authorization`."""

    def rule(exchange: Exchange) -> bool:
        if not exchange.path.startswith("/v2/") or not of(exchange) or exchange.headers.get("Authorization") == header:
            return False
        exchange.send(401, b"{}", {"WWW-Authenticate": challenge.format(uri=exchange.server.uri)})
        return True

    return rule


def tokens(document: Any, *, wants: str = BASIC, status: int = 200) -> Rule:
    """Answer for the token server."""

    def rule(exchange: Exchange) -> bool:
        right = exchange.headers.get("Authorization") == wants
        exchange.send(status if right else 401, json.dumps(document if right else {}).encode())
        return True

    return only("/token", rule)


def changes(exchange: Exchange) -> bool:
    return exchange.command not in {"GET", "HEAD"}


BEARER = 'Bearer realm="{uri}/token",service="registry",scope="repository:x:pull,push"'
LOGINS: dict[str, list[Rule]] = {
    "Basic": [wanting(BASIC, 'Basic realm="localhost"')],
    "Basic for changes only": [wanting(BASIC, 'BASIC realm="Nexus Repository Manager"', of=changes)],
    "a token": [wanting("Bearer abc", BEARER), tokens({"token": "abc"})],
    "an access_token": [wanting("Bearer abc", BEARER), tokens({"access_token": "abc", "token": ""})],
    "a token for changes only": [wanting("Bearer abc", BEARER, of=changes), tokens({"token": "abc"})],
    "a token without quotes": [wanting("Bearer abc", "bearer  realm={uri}/token, service=x"), tokens({"token": "abc"})],
    "Basic behind a token": [wanting("Bearer abc", BEARER + ', Basic realm="x"'), tokens({"token": "abc"})],
    "a token server that is busy": [
        only("/token", first(1, answer(429))),
        only("/token", first(1, answer(503))),
        wanting("Bearer abc", BEARER),
        tokens({"token": "abc"}),
    ],
}


@pytest.mark.parametrize("rules", LOGINS.values(), ids=LOGINS)
def test_login_is_what_the_registry_asks_for(rules: list[Rule], front: ReverseProxy, request: Any) -> None:
    front.rules = rules

    push(front, f"login-{[*LOGINS.values()].index(rules)}", LOGIN)


def test_registry_gives_nobody_a_token_for_nothing(front: ReverseProxy) -> None:
    front.rules = [wanting("Bearer abc", BEARER), only("/token", answer(200, b'{"token": "abc"}'))]

    push(front, "nobody")

    assert not [one for one in front.seen if one.path.startswith("/token") and "Authorization" in one.headers]


REFUSED: dict[str, tuple[list[Rule], type[LifecycleError], str]] = {
    "a wrong password": ([wanting("none", 'Basic realm="x"')], NotAuthorisedError, "refuses the login"),
    "a password of no account": (
        [wanting("none", BEARER), only("/token", answer(401))],
        NotAuthorisedError,
        "refuses the login",
    ),
    "a token without the right": (
        [wanting("none", BEARER), tokens({"token": "abc"})],
        NotAuthorisedError,
        "refuses the login",
    ),
    "a method that nobody knows": ([wanting("none", "Negotiate")], InvalidError, "by an unknown method"),
    "a token server that is away": (
        [wanting("none", BEARER), only("/token", answer(503))],
        UnavailableError,
        "the token server of the registry .* answers 503",
    ),
    "a token server that nobody is": (
        [wanting("none", 'Bearer realm="https://127.0.0.1:9/token"')],
        UnavailableError,
        "the token server of the registry .* refused",
    ),
    "a token server without TLS": (
        [wanting("none", "Bearer realm=HTTP://127.0.0.1:9/token")],
        InvalidError,
        "asks for the login without TLS",
    ),
    "a page instead of a token": (
        [wanting("none", BEARER), only("/token", answer(200, b"<html>"))],
        InvalidError,
        "the token server of the registry .* answers 200 without a token",
    ),
}


@pytest.mark.parametrize(("rules", "kind", "sentence"), REFUSED.values(), ids=REFUSED)
def test_login_that_is_refused_says_by_whom(
    rules: list[Rule], kind: type[LifecycleError], sentence: str, front: ReverseProxy
) -> None:
    front.rules = rules

    with pytest.raises(kind, match=f"(?i){sentence}") as caught:
        push(front, "refused", LOGIN)
    assert "hunter2" not in str(caught.value)


def test_refresh_token_follows_no_redirect(front: ReverseProxy, tls: ssl.SSLContext, tmp_path: Path) -> None:
    login = {"auths": {front.uri.removeprefix("https://"): {"identitytoken": "hunter2"}}}
    (tmp_path / "config.json").write_text(json.dumps(login))
    with reverse_proxy("http://127.0.0.1:9", answer(200, b'{"access_token": "abc"}'), tls=tls) as other:
        moved = answer(307, b"", {"Location": f"{other.uri}/token"})
        front.rules = [wanting("Bearer abc", BEARER), only("/token", moved)]
        with pytest.raises(InvalidError, match="answers 307 without a token"):
            push(front, "refresh", NOBODY | {"DOCKER_CONFIG": str(tmp_path)})

        assert other.seen == []


def test_challenges_are_read_by_their_schemes() -> None:
    assert challenges('Bearer realm="https://a/t?x=1",service=b , scope="c:d:pull,push", Basic Realm="e \\" f"') == {
        "bearer": {"realm": "https://a/t?x=1", "service": "b", "scope": "c:d:pull,push"},
        "basic": {"realm": 'e " f'},
    }
    assert challenges("") == {}


def edited(part: str, method: str, header: str, change: Callable[[str], str | None]) -> Rule:
    """Change a header of the registry's answers, or leave it out."""

    def rule(exchange: Exchange) -> bool:
        if part not in exchange.path or exchange.command != method:
            return False
        with exchange.upstream(exchange.body) as real:
            value = change(real.getheader(header) or "")
            kept = {"Docker-Content-Digest", "Location"} - {header}
            headers = {name: found for name in kept if (found := real.getheader(name))}
            exchange.send(real.status, real.read(), headers | ({header: value} if value else {}))
        return True

    return rule


def path_of(address: str) -> str:
    return "/" + address.partition("://")[2].partition("/")[2]


def asked_for(method: str, rule: Rule) -> Rule:
    return lambda exchange: exchange.command == method and rule(exchange)


def moved_once(exchange: Exchange) -> bool:
    """Send a body to another path of the same host, with the login."""
    if "moved=1" in exchange.path:
        return False
    exchange.send(307, b"", {"Location": f"{exchange.path}&moved=1"})
    return True


ANSWERS: dict[str, list[Rule]] = {
    "an upload at a path": [edited("/uploads/", "POST", "Location", path_of)],
    "an upload at a query": [edited("/uploads/", "POST", "Location", lambda found: f"{found}&a=b")],
    "an upload that moves on the same host": [
        wanting(BASIC, 'Basic realm="x"'),
        asked_for("PUT", only("/uploads/", moved_once)),
    ],
    "no digest of a manifest": [
        edited("/manifests/", method, "Docker-Content-Digest", lambda _: None) for method in ("HEAD", "GET")
    ],
    "no HEAD of a manifest": [asked_for("HEAD", only("/manifests/", answer(404)))],
    "a HEAD that it does not know": [asked_for("HEAD", only("/manifests/", answer(405)))],
}


@pytest.mark.parametrize("rules", ANSWERS.values(), ids=ANSWERS)
def test_answer_that_the_protocol_leaves_open_is_understood(rules: list[Rule], front: ReverseProxy) -> None:
    front.rules = rules
    repository = f"answers-{[*ANSWERS.values()].index(rules)}"

    assert push(front, repository, LOGIN) is None
    assert push(front, repository, LOGIN) == digest_of(MANIFEST)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_store_behind_a_registry_gets_no_login(front: ReverseProxy, tls: ssl.SSLContext, method: str) -> None:
    with reverse_proxy(front.upstream, tls=tls, keep_host=True) as store:

        def elsewhere(exchange: Exchange) -> bool:
            exchange.send(307, b"", {"Location": f"{store.uri.replace('127.0.0.1', 'localhost')}{exchange.path}"})
            return True

        front.rules = [wanting(BASIC, 'Basic realm="x"')]
        push(front, "store", LOGIN)
        front.rules = [*front.rules, asked_for(method, elsewhere)]
        push(front, "store", LOGIN)

        assert not [one for one in store.seen if "Authorization" in one.headers]


def test_tag_of_an_image_of_another_kind_is_seen(front: ReverseProxy) -> None:
    reference = ImageReference.parse(f"{front.uri.removeprefix('https://')}/index")
    with ImageRegistry(reference, NOBODY) as images:
        images._send("PUT", images._url("manifests/one"), {"Content-Type": INDEX_TYPE}, lambda: [INDEX], len(INDEX))

        assert images.digest_of("one") == digest_of(INDEX)
