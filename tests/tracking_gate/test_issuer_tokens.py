"""Tokens of issuers: checked by published keys, of one audience, repository and place, and by nothing that they say."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from testbed.gate import OTHER, PROJECT
from testbed.oidc_issuer import PIECE, Issuer, new_key, oidc_issuer
from testbed.processes import sockets_closed
from tracking_gate.actors import Actor, ActorKind
from tracking_gate.authentication.documents import SECONDS, Documents
from tracking_gate.authentication.issuer_keys import FRESH_SECONDS, IssuerKeys
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
    "a tag of the same name": {"ref": "refs/tags/main"},
    "a number for the id": {"repository_id": 22},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "no end": {"exp": None},
    "an end as text": {"exp": "4102444800"},
    "a token that has ended": {"exp": int(time.time()) - LEEWAY - 5},
    # All tests may take longer than minutes after this moment.
    "a token that is not valid yet": {"nbf": int(time.time()) + DAY},
    "a token from the future": {"iat": int(time.time()) + DAY},
}


@pytest.mark.parametrize("claims", REFUSED.values(), ids=REFUSED)
def test_token_that_is_not_as_the_file_says_is_refused(issuer: Issuer, tmp_path: Path, claims: Json) -> None:
    assert found(written(tmp_path, entry_of(issuer)), job(issuer, **claims)) is None


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
    "a part that must be understood": lambda issuer: issuer.token(claims_of(job(issuer)), crit=["b64"], b64=True),
    "changed claims": lambda issuer: swapped(job(issuer), {**claims_of(job(issuer)), "repository": "acme/wine"}),
    "no signature": lambda issuer: job(issuer).rpartition(".")[0] + ".",
    "two signatures": lambda issuer: f"{job(issuer)}.{part(b'x')}",
}


def swapped(token: str, claims: Json) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{part({**claims, 'jti': 'other'})}.{signature}"


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_forged_token_is_refused(issuer: Issuer, tmp_path: Path, forge: Callable[[Issuer], str]) -> None:
    file = written(tmp_path, entry_of(issuer))

    assert found(file, job(issuer)) is not None
    assert found(file, forge(issuer)) is None


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


def test_small_key_is_not_used(issuer: Issuer) -> None:
    with pytest.warns(Warning):
        small = RSAKey.generate_key(1024, {"kid": "small"})
    issuer.keys.append(small)

    async def told(keys: IssuerKeys, clock: Clock) -> None:
        assert await keys.find("one")
        clock.now += 1
        assert await keys.find("small") is None

    story(issuer, told)


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
