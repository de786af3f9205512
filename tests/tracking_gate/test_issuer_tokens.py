"""Tokens of issuers: checked by published keys, of one audience, repository and place, and by nothing that they say."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from testbed.gate import API, OTHER, PROJECT, ask
from testbed.oidc_issuer import PIECE, Issuer, new_key, oidc_issuer
from testbed.processes import free_port, installed, running, sockets_closed
from tracking_gate.actors import Actor, ActorKind
from tracking_gate.authentication.documents import SECONDS, Documents
from tracking_gate.authentication.issuer_keys import FRESH_SECONDS, IssuerKeys, usable_keys
from tracking_gate.authentication.issuer_tokens import LEEWAY, IssuerTokens
from tracking_gate.authentication.issuers_file import Access, IssuersFile, KeySource
from tracking_gate.errors import Unavailable
from tracking_gate.metrics import Metrics

DAY = 86_400  # seconds
AUDIENCE = "model-api-gate"
MAIN = {"repository": "acme/wine", "repository_id": "22", "ref": "refs/heads/main"}

Json = dict[str, Any]


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    with oidc_issuer(tmp_path / "issuer") as found:
        yield found


def entry_of(stand_in: Issuer, *callers: Json, **changes: Any) -> Json:
    named = callers or ({"claims": MAIN, "projects": [PROJECT], "rights": "promote"},)
    return {
        "issuer": stand_in.uri,
        "audience": AUDIENCE,
        "ca_file": str(stand_in.authority),
        "callers": list(named),
        **changes,
    }


def written(folder: Path, *entries: Json) -> Path:
    file = folder / "issuers.json"
    file.write_text(json.dumps({"issuers": list(entries)}))
    return file


@asynccontextmanager
async def checking(file: Path, clock: Callable[[], float] = time.time) -> AsyncIterator[IssuerTokens]:
    async with fetching() as documents:
        yield IssuerTokens(IssuersFile(file), documents, Metrics(), clock=clock)


@asynccontextmanager
async def fetching(seconds: float = SECONDS) -> AsyncIterator[Documents]:
    async with sockets_closed(), Documents(seconds) as documents:
        yield documents


async def found_by(tokens: IssuerTokens, text: str) -> Actor | None:
    presented = tokens.presented(text)
    return await tokens.find(presented) if presented else None


def found(file: Path, text: str, clock: Callable[[], float] = time.time) -> Actor | None:
    async def asked() -> Actor | None:
        async with checking(file, clock) as tokens:
            return await found_by(tokens, text)

    return asyncio.run(asked())


def job(issuer: Issuer, **claims: Any) -> str:
    """Return the token of a job on the branch main, with other claims."""
    return issuer.token({**issuer.claims, "aud": AUDIENCE, **claims})


def test_job_of_the_repository_and_branch_has_the_rights_that_the_file_gives(issuer: Issuer, tmp_path: Path) -> None:
    actor = found(written(tmp_path, entry_of(issuer)), job(issuer))

    assert actor == Actor(
        kind=ActorKind.PROMOTE,
        name=issuer.claims["sub"],
        projects=frozenset({PROJECT}),
        details={
            "issuer": issuer.uri,
            "repository": "acme/wine",
            "run_id": "1234567890",
            "run_attempt": "1",
            "actor": "jane",
        },
    )


REFUSED: dict[str, Json] = {
    "another audience": {"aud": "https://github.com/acme"},
    "no audience": {"aud": None},
    "several audiences without this": {"aud": ["a", "b"]},
    "another repository": {"repository": "acme/beer", "repository_id": "23"},
    "a fork": {"repository": "mallory/wine", "repository_id": "99", "repository_owner": "mallory"},
    "a repository that was made again with the same name": {"repository_id": "23"},
    "another branch": {"ref": "refs/heads/change"},
    "a pull request": {"ref": "refs/pull/1/merge", "event_name": "pull_request"},
    "a tag of the same name": {"ref": "refs/tags/main", "ref_type": "tag"},
    "a branch whose name is that of the ref": {"ref": "refs/heads/refs/heads/main"},
    "a number for the id": {"repository_id": 22},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "no end": {"exp": None},
    "an end as text": {"exp": "4102444800"},
    "an end that is true": {"exp": True},
    "an end that is a list": {"exp": [4102444800]},
    "a beginning as text": {"nbf": "0"},
    "an audience in a list in a list": {"aud": [[AUDIENCE]]},
    "an audience that is longer": {"aud": f"{AUDIENCE}/"},
    "a subject that is a list": {"sub": ["repo:acme/wine"]},
    "its repository in a list in a list": {"repository": [["acme/wine"]]},
    "a token that has ended": {"exp": int(time.time()) - LEEWAY - 5},
    # All tests may take longer than minutes after this moment.
    "a token that is not valid yet": {"nbf": int(time.time()) + DAY},
    "a token from the future": {"iat": int(time.time()) + DAY},
}


@pytest.mark.parametrize("claims", REFUSED.values(), ids=REFUSED)
def test_token_that_is_not_as_the_file_says_is_refused(issuer: Issuer, tmp_path: Path, claims: Json) -> None:
    assert found(written(tmp_path, entry_of(issuer)), job(issuer, **claims)) is None


TEXTS = {
    "a claim twice": '{{"iss": "{iss}", "repository_id": "23", "repository_id": "22", {rest}, "exp": {exp}}}',
    "an end that is not a number": '{{"iss": "{iss}", "repository_id": "22", {rest}, "exp": NaN}}',
    "an end without an end": '{{"iss": "{iss}", "repository_id": "22", {rest}, "exp": 1e999}}',
    "an end of very many digits": '{{"iss": "{iss}", "repository_id": "22", {rest}, "exp": 1{zeros}}}',
}
REST = f'"aud": "{AUDIENCE}", "sub": "x", "repository": "acme/wine", "ref": "refs/heads/main"'


def test_claims_that_json_could_say_in_two_ways_are_refused(issuer: Issuer, tmp_path: Path) -> None:
    file, end = written(tmp_path, entry_of(issuer)), int(time.time()) + DAY

    def text(form: str) -> bytes:
        return form.format(iss=issuer.uri, rest=REST, exp=end, zeros="0" * 5000).encode()

    assert found(file, issuer.signed(text('{{"iss": "{iss}", "repository_id": "22", {rest}, "exp": {exp}}}')))
    for form in TEXTS.values():
        assert found(file, issuer.signed(text(form))) is None


def test_entry_may_bind_a_job_to_its_workflow_and_environment(issuer: Issuer, tmp_path: Path) -> None:
    """A workflow that a pull request of a fork starts by pull_request_target has the ref of the main branch."""
    bound = {"workflow_ref": issuer.claims["workflow_ref"], "environment": "production"}
    file = written(tmp_path, entry_of(issuer, {"claims": MAIN | bound, "projects": [PROJECT], "rights": "promote"}))
    other = "acme/wine/.github/workflows/label.yml@refs/heads/main"

    assert found(file, job(issuer, environment="production"))
    assert found(file, job(issuer)) is None
    assert found(file, job(issuer, environment="test")) is None
    assert found(file, job(issuer, environment="production", workflow_ref=other)) is None


def test_key_of_one_issuer_signs_nothing_for_another(issuer: Issuer, tmp_path: Path) -> None:
    """Both publish a key of the same id, and both are known by their own tokens."""
    with oidc_issuer(tmp_path / "other") as other:
        file = written(tmp_path, entry_of(issuer), entry_of(other))

        async def asked() -> list[Actor | None]:
            async with checking(file) as tokens:
                texts = [job(issuer), job(other), other.token(claims_of(job(issuer)))]
                return [await found_by(tokens, text) for text in texts]

        mine, theirs, crossed = asyncio.run(asked())
    assert (mine and mine.details["issuer"], theirs and theirs.details["issuer"]) == (issuer.uri, other.uri)
    assert crossed is None


def test_clocks_may_differ_by_the_leeway_and_no_more(issuer: Issuer, tmp_path: Path) -> None:
    file, now = written(tmp_path, entry_of(issuer)), time.time()
    token = job(issuer, exp=int(now), nbf=int(now), iat=int(now))

    assert found(file, token, lambda: now + LEEWAY - 2) is not None
    assert found(file, token, lambda: now - LEEWAY + 2) is not None
    assert found(file, token, lambda: now + LEEWAY + 2) is None
    assert found(file, token, lambda: now - LEEWAY - 2) is None


def part(content: Json | bytes) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def claims_of(token: str) -> Json:
    encoded = token.split(".")[1]
    decoded: Json = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    return decoded


def signed_with_the_public_key(issuer: Issuer) -> str:
    """Return a token whose secret is the public key, which everybody has."""
    key = issuer.keys[0]
    signed = f"{part({'alg': 'HS256', 'kid': key.kid})}.{part(claims_of(job(issuer)))}"
    secret = key.as_pem(private=False)
    return f"{signed}.{part(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def forged(issuer: Issuer, **header: Any) -> str:
    """Return a token that is signed by a key of the attacker's, whose id is that of the issuer's key."""
    return issuer.token(claims_of(job(issuer)), key=ATTACKER, **header)


ATTACKER = new_key("one", "EC")  # a short one: a head may have 512 bytes
FORGED: dict[str, Callable[[Issuer], str]] = {
    "no algorithm": lambda issuer: f"{part({'alg': 'none', 'kid': 'one'})}.{part(claims_of(job(issuer)))}.",
    "the public key as a secret": signed_with_the_public_key,
    "another key of the same id": forged,
    "another key of the same id and kind": lambda issuer: issuer.token(claims_of(job(issuer)), key=new_key("one")),
    "its key in the header": lambda issuer: forged(issuer, jwk=ATTACKER.as_dict(private=False)),
    "the address of its keys in the header": lambda issuer: forged(issuer, jku="https://mallory.example/keys"),
    "its certificate in the header": lambda issuer: forged(issuer, x5c=["MIIB"]),
    "another algorithm of the same key": lambda issuer: issuer.token(claims_of(job(issuer)), alg="RS512"),
    "no id of a key": lambda issuer: issuer.token(claims_of(job(issuer)), kid=""),
    "the algorithm of another kind of key": lambda issuer: other_algorithm(issuer, "ES256"),
    "an algorithm that is a list": lambda issuer: other_algorithm(issuer, ["RS256"]),
    "an algorithm in other letters": lambda issuer: other_algorithm(issuer, "rs256"),
    "an id that is a path": lambda issuer: issuer.token(claims_of(job(issuer)), kid="../keys/one"),
    "an id that is a number": lambda issuer: headed(job(issuer), {"alg": "RS256", "kid": 1}),
    "claims that are not encoded": lambda issuer: headed(job(issuer), {"alg": "RS256", "kid": "one", "b64": False}),
    "a part that must be understood": lambda issuer: issuer.token(claims_of(job(issuer)), crit=["b64"], b64=True),
    "changed claims": lambda issuer: swapped(job(issuer), {**claims_of(job(issuer)), "repository": "acme/wine"}),
    "no signature": lambda issuer: job(issuer).rpartition(".")[0] + ".",
    "two signatures": lambda issuer: f"{job(issuer)}.{part(b'x')}",
}


def other_algorithm(issuer: Issuer, algorithm: object) -> str:
    return headed(job(issuer), {"alg": algorithm, "kid": "one"})


def headed(token: str, header: Json) -> str:
    return ".".join([part(header), *token.split(".")[1:]])


def swapped(token: str, claims: Json) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{part({**claims, 'jti': 'other'})}.{signature}"


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_forged_token_is_refused(issuer: Issuer, tmp_path: Path, forge: Callable[[Issuer], str]) -> None:
    file = written(tmp_path, entry_of(issuer))

    assert found(file, job(issuer)) is not None
    assert found(file, forge(issuer)) is None


# The gate fetches the keys for each of them, and pauses between two fetches.
UNKNOWN_KEYS = ("no id of a key", "an id that is a path")


def test_running_gate_answers_each_of_them_with_401(issuer: Issuer, tmp_path: Path) -> None:
    """The gate lets the right token through to MLflow, which is not there."""
    (tmp_path / "tokens").mkdir()
    file, port = written(tmp_path, entry_of(issuer)), free_port()
    options = [f"--secret-dir={tmp_path / 'tokens'}", f"--issuers-file={file}", "--attempts=1000"]
    command = [installed("model-api-gate"), "serve", "--upstream=http://127.0.0.1:9", f"--port={port}", *options]
    with running([*command, "--host=127.0.0.1"], log=tmp_path / "gate.log", env=os.environ) as process:
        process.wait_for_http(f"http://127.0.0.1:{port}/readyz", seconds=60)

        def status(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return ask(
                f"http://127.0.0.1:{port}", "GET", f"{API}/experiments/get?experiment_id=0", None, headers
            ).status

        refused = [job(issuer, **claims) for claims in REFUSED.values()]
        refused += [forge(issuer) for name, forge in FORGED.items() if name not in UNKNOWN_KEYS]
        assert status(job(issuer)) == 503
        assert [status(token) for token in refused] == [401] * len(refused)
        assert status(job(issuer)) == 503
        log = (tmp_path / "gate.log").read_text()

    assert "Traceback" not in log
    assert job(issuer).split(".")[0] not in log


NO_TOKENS = {
    "deep claims": f"{part({'alg': 'RS256', 'kid': 'one'})}.{part(b'[' * 3000)}.{part(b'x')}",
    "a deep head": f"eyJ{'b' * 400}.{part(b'{}')}.{part(b'x')}",
    "claims that are a list": f"{part({'alg': 'RS256', 'kid': 'one'})}.{part(b'[]')}.{part(b'x')}",
    "claims that are no JSON": f"{part({'alg': 'RS256', 'kid': 'one'})}.{part(b'{NaN}')}.{part(b'x')}",
    "an issuer that is a list": f"{part({'alg': 'RS256', 'kid': 'one'})}.{part({'iss': ['a']})}.{part(b'x')}",
    "nothing after the beginning": "eyJ",
    "no claims": f"{part({'alg': 'RS256', 'kid': 'one'})}..{part(b'x')}",
}


@pytest.mark.parametrize("text", NO_TOKENS.values(), ids=NO_TOKENS)
def test_text_that_is_no_token_of_an_issuer_is_left_to_others(issuer: Issuer, tmp_path: Path, text: str) -> None:
    async def presented() -> object:
        async with checking(written(tmp_path, entry_of(issuer))) as tokens:
            return tokens.presented(text)

    assert asyncio.run(presented()) is None
    assert issuer.asked == []


def test_elliptic_keys_are_accepted_as_well(issuer: Issuer, tmp_path: Path) -> None:
    issuer.keys = [new_key("curve", "EC")]

    assert found(written(tmp_path, entry_of(issuer)), job(issuer)) is not None


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def story(
    issuer: Issuer,
    told: Callable[[IssuerKeys, Clock], Awaitable[None]],
    *,
    pause: float = 0,
    seconds: float = SECONDS,
) -> None:
    async def run() -> None:
        clock = Clock()
        source = KeySource(issuer=issuer.uri, access=Access(ca_file=issuer.authority))
        async with fetching(seconds) as documents:
            await told(IssuerKeys(source, documents, Metrics(), clock=clock, pause=pause), clock)

    asyncio.run(run())


def fetches(issuer: Issuer) -> int:
    return issuer.asked.count("/keys")


def test_keys_are_fetched_once_for_all_requests_and_kept(issuer: Issuer) -> None:
    async def told(keys: IssuerKeys, clock: Clock) -> None:
        assert all(await asyncio.gather(*(keys.find("one") for _ in range(20))))
        clock.now += FRESH_SECONDS - 1
        assert await keys.find("one")

    story(issuer, told)
    assert fetches(issuer) == 1


def test_rotation_is_seen_at_the_first_token_of_the_new_key(issuer: Issuer) -> None:
    async def told(keys: IssuerKeys, clock: Clock) -> None:
        assert await keys.find("one")
        issuer.keys.append(new_key("two"))
        clock.now += 1
        assert await keys.find("two")
        assert await keys.find("one")

    story(issuer, told)
    assert fetches(issuer) == 2


def test_withdrawn_key_is_refused_when_the_keys_are_old(issuer: Issuer) -> None:
    async def told(keys: IssuerKeys, clock: Clock) -> None:
        assert await keys.find("one")
        issuer.keys = [new_key("two")]
        clock.now += FRESH_SECONDS + 1
        assert await keys.find("one") is None

    story(issuer, told)


def test_unknown_keys_cost_one_fetch_in_a_pause_however_many_they_are(issuer: Issuer) -> None:
    async def told(keys: IssuerKeys, clock: Clock) -> None:
        assert await keys.find("one")
        clock.now += 0.1
        waiting = [asyncio.create_task(keys.find(f"none-{number}")) for number in range(50)]
        await asyncio.sleep(0.05)
        assert fetches(issuer) == 1
        assert await asyncio.gather(*waiting) == [None] * 50

    story(issuer, told, pause=0.5)
    assert fetches(issuer) == 2


FAULTS: dict[str, Json] = {
    "an error": {"status": 500},
    "a redirect to its keys": {"status": 302, "location": "/elsewhere"},
    "no JSON": {"document": b"<html>"},
    "a list": {"document": b"[]"},
    "no keys": {"document": b'{"keys": []}'},
    "more keys than an issuer has": {"document": json.dumps({"keys": [{"kid": "one"}] * 101}).encode()},
    "a member twice": {"document": b'{"keys": [], "keys": []}'},
    "keys of another kind": {"document": b'{"keys": [{"kty": "oct", "kid": "one", "k": "AAAA"}]}'},
    "deep JSON": {"document": b'{"keys":' + b"[" * 100_000},
    "its keys and much more": {"padding": 300_000},
}
RIGHT: Json = {"status": 200, "location": None, "document": None, "padding": 0}


def set_all(issuer: Issuer, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(issuer, name, value)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_issuer_that_publishes_no_keys_lets_nobody_in_and_the_former_keys_stay(issuer: Issuer, fault: Json) -> None:
    async def told(keys: IssuerKeys, clock: Clock) -> None:
        set_all(issuer, fault)
        with pytest.raises(Unavailable, match="does not publish its keys"):
            await keys.find("one")
        set_all(issuer, RIGHT)
        clock.now += 1
        assert await keys.find("one")

        set_all(issuer, fault)
        clock.now += FRESH_SECONDS + 1
        assert await keys.find("one")
        with pytest.raises(Unavailable):
            await keys.find("unknown")

    story(issuer, told)
    assert "/elsewhere" not in issuer.asked


def test_token_of_the_gate_goes_to_the_kubernetes_api_alone(issuer: Issuer, tmp_path: Path) -> None:
    """Neither other servers that publish the keys get it, nor those to which the API redirects."""
    secret = tmp_path / "token"
    secret.write_text("token-of-the-gate")
    with oidc_issuer(tmp_path / "other") as other:
        authorities = tmp_path / "authorities.crt"
        authorities.write_text(issuer.authority.read_text() + other.authority.read_text())

        def asked(**changes: Any) -> Actor | None:
            entry = entry_of(issuer, api=issuer.uri, token_file=str(secret), ca_file=str(authorities))
            return found(written(tmp_path, entry | changes), job(issuer))

        assert asked() is not None
        assert issuer.authorizations == ["Bearer token-of-the-gate"]

        other.keys = issuer.keys
        assert asked(keys=f"{other.uri}/keys") is not None
        assert other.authorizations == [None]

        set_all(issuer, {"status": 307, "location": f"{other.uri}/keys"})
        with pytest.raises(Unavailable):
            asked(keys=f"{issuer.uri}/keys")
        assert other.asked == ["/keys"]


def test_slow_issuer_is_given_up_after_its_time(issuer: Issuer) -> None:
    """Each piece comes soon after the other, and all of them would take an hour."""
    issuer.document, issuer.pause, issuer.padding = json.dumps(issuer.published()).encode(), 0.2, 3600 * 5 * PIECE

    async def told(keys: IssuerKeys, clock: Clock) -> None:
        with pytest.raises(Unavailable):
            await keys.find("one")

    story(issuer, told, seconds=0.5)


def test_issuer_that_is_away_is_waited_for_once(issuer: Issuer) -> None:
    """Later requests use the kept keys at once, and ask beside it."""

    async def told(keys: IssuerKeys, clock: Clock) -> None:
        assert await keys.find("one")
        issuer.status = 500
        clock.now += FRESH_SECONDS + 1
        assert await keys.find("one")
        clock.now += FRESH_SECONDS + 1
        asked = asyncio.create_task(keys.find("one"))
        for _ in range(3):  # turns of the loop, in which no answer comes
            await asyncio.sleep(0)
        assert asked.done()
        assert await asked
        while fetches(issuer) < 3:
            await asyncio.sleep(0.01)

    story(issuer, told)


def test_discovery_that_names_another_issuer_is_no_key(issuer: Issuer, tmp_path: Path) -> None:
    """The address leads to an issuer, but the file names it with a slash at the end."""
    entry = entry_of(issuer) | {"issuer": f"{issuer.uri}/"}

    with pytest.raises(Unavailable):
        found(written(tmp_path, entry), job(issuer, iss=f"{issuer.uri}/"))


def short_key() -> Json:
    """Return a key of 1,024 bits."""
    with pytest.warns(Warning):
        return RSAKey.generate_key(1024).as_dict(private=False)


def with_zeros(key: Json) -> Json:
    """Return the key with zeros before its modulus, which is then as long as that of a key of 2,048 bits."""
    modulus = base64.urlsafe_b64decode(f"{key['n']}==")
    return {**key, "n": part(bytes(256 - len(modulus)) + modulus)}


LONG = new_key("long").as_dict(private=False)
CURVE = new_key("curve", "EC").as_dict(private=False)
UNUSABLE: dict[str, Callable[[], Json]] = {
    "short": short_key,
    "short, written long": lambda: with_zeros(short_key()),
    "for encryption": lambda: {**LONG, "use": "enc"},
    "for other operations": lambda: {**LONG, "key_ops": ["encrypt", "wrapKey"]},
    "with operations of another form": lambda: {**LONG, "key_ops": "verify"},
    "without an exponent": lambda: {**LONG, "e": "AQ"},
    "not of its curve": lambda: {**CURVE, "x": CURVE["y"]},
    "of another curve": lambda: {**CURVE, "crv": "P-384"},
    "a secret": lambda: {"kty": "oct", "k": "c2VjcmV0"},
    "a certificate alone": lambda: {"kty": "RSA", "x5c": ["MIIB"]},
}


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("key", UNUSABLE.values(), ids=UNUSABLE)
def test_key_that_must_not_check_a_token_is_not_used(key: Callable[[], Json]) -> None:
    other = new_key("one").as_dict(private=False)

    assert list(usable_keys([{**key(), "kid": "x"}, other])) == ["one"]
    assert list(usable_keys([{**LONG, "kid": "x"}, {**CURVE, "kid": "y", "key_ops": ["verify"]}])) == ["x", "y"]


def test_people_have_the_projects_of_all_their_groups(issuer: Issuer, tmp_path: Path) -> None:
    entry = entry_of(
        issuer,
        {"claims": {"groups": "platform"}, "rights": "admin"},
        {"claims": {"groups": "wine"}, "projects": [PROJECT], "rights": "person"},
        {"claims": {"groups": "beer"}, "projects": [OTHER], "rights": "person"},
        name_claim="preferred_username",
    )
    file = written(tmp_path, entry)
    person = {"aud": [AUDIENCE, "account"], "sub": "1f", "preferred_username": "jane"}

    def of(*groups: str, **claims: Any) -> Actor | None:
        return found(file, issuer.token({**person, "groups": list(groups), **claims}))

    both = of("wine", "beer")
    assert both
    assert (both.kind, both.name, both.projects) == (ActorKind.PERSON, "jane", frozenset({PROJECT, OTHER}))
    admin = of("wine", "platform")
    assert admin
    assert admin.kind is ActorKind.ADMIN
    assert of() is None
    assert of("wine", preferred_username=None) is None
    assert of("wine", preferred_username="jane\n") is None


def test_email_that_is_not_verified_names_nobody(issuer: Issuer, tmp_path: Path) -> None:
    caller = {"claims": {"groups": "wine"}, "projects": [PROJECT], "rights": "person"}
    file = written(tmp_path, entry_of(issuer, caller, name_claim="email"))
    person = {"aud": AUDIENCE, "sub": "1f", "email": "jane@acme.example", "groups": ["wine"]}

    assert found(file, issuer.token({**person, "email_verified": True}))
    assert found(file, issuer.token(person))
    assert found(file, issuer.token({**person, "email_verified": False})) is None
    assert found(file, issuer.token({**person, "email_verified": "false"})) is None


def test_email_that_is_not_verified_gives_no_rights(issuer: Issuer, tmp_path: Path) -> None:
    file = written(tmp_path, entry_of(issuer, {"claims": {"email": "root@acme.example"}, "rights": "admin"}))
    person = {"aud": AUDIENCE, "sub": "1f", "email": "root@acme.example"}

    assert found(file, issuer.token({**person, "email_verified": True}))
    assert found(file, issuer.token({**person, "email_verified": False})) is None


def test_changed_file_is_read_again_and_a_wrong_one_is_not(
    issuer: Issuer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = written(tmp_path, entry_of(issuer)), Clock()
    file = IssuersFile(path, clock=clock)

    def now() -> list[str]:
        clock.now += 2
        return sorted(file.issuers())

    written(tmp_path, entry_of(issuer), entry_of(issuer, issuer="https://other.example"))
    assert now() == sorted([issuer.uri, "https://other.example"])
    path.write_text('{"issuers": 1}')
    assert now() == sorted([issuer.uri, "https://other.example"])
    path.unlink()
    assert now() == sorted([issuer.uri, "https://other.example"])
    written(tmp_path, entry_of(issuer))
    assert now() == [issuer.uri]
    assert [record.message for record in caplog.records] == [
        "the file of issuers cannot be used; the former one stays"
    ] * 2
