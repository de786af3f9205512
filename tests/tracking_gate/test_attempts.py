"""Limits on guesses: they cost no hash and no request, and lock out no real person or token."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from model_contract.tokens import Purpose
from testbed.domino_users import DominoUsers, User, domino_users
from testbed.gate import API, PASSWORD, PROJECT, Gate, gate
from testbed.mlflow_server import MlflowServer
from tracking_gate.actors import Actor
from tracking_gate.authentication.authenticator import Authenticator
from tracking_gate.authentication.people import MAX_HASHES, SCRYPT_COST, PeopleFile, hashed
from tracking_gate.errors import Busy, TooManyAttempts, Unauthenticated
from tracking_gate.http.client_addresses import ClientAddresses, address_group, parsed_networks
from tracking_gate.secret_directory import SecretDirectory

READ = f"{API}/experiments/search?max_results=1"
NAMES = ("jane", "olga")
COST = SCRYPT_COST["n"]


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class CountingPeople(PeopleFile):
    """A file of people that counts the hashed passwords."""

    hashed = 0

    async def _hashed_matches(self, password: str, kept: str) -> bool:
        self.hashed += 1
        return await super()._hashed_matches(password, kept)


def headers(name: str, password: str) -> CIMultiDictProxy[str]:
    value = "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
    return CIMultiDictProxy(CIMultiDict({"Authorization": value}))


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CountingPeople:
    """A file of people with hashes that cost little: they are counted."""
    monkeypatch.setitem(SCRYPT_COST, "n", 2)
    file, entry = tmp_path / "people.json", hashed(PASSWORD)
    file.write_text(json.dumps({name: {"password": entry, "projects": [PROJECT]} for name in NAMES}))
    return CountingPeople(file)


@pytest.fixture
def authenticator(people: CountingPeople, tmp_path: Path) -> Authenticator:
    (tmp_path / "secret").mkdir()
    return Authenticator(SecretDirectory(tmp_path / "secret"), people, Clock(), attempts=10)


async def guesses(authenticator: Authenticator, name: str, count: int, peer: str = "192.0.2.1") -> list[object]:
    """Guess at once, and return the kinds of the answers."""
    asked = (authenticator.authenticate(headers(name, f"guess-{number}"), peer) for number in range(count))
    return [type(answer) for answer in await asyncio.gather(*asked, return_exceptions=True)]


def test_guess_that_is_refused_costs_no_hash(authenticator: Authenticator, people: CountingPeople) -> None:
    found = asyncio.run(guesses(authenticator, "jane", 140))

    assert (found.count(Unauthenticated), found.count(TooManyAttempts)) == (10, 130)
    assert people.hashed == 10


def test_names_that_are_not_there_are_counted_together_and_cost_as_much(
    authenticator: Authenticator, people: CountingPeople
) -> None:
    """A guess takes as long for each name, and a new name gets no new allowance."""

    async def story() -> list[object]:
        return [kind for number in range(20) for kind in await guesses(authenticator, f"nobody-{number}", 1)]

    found = asyncio.run(story())

    assert (found.count(Unauthenticated), people.hashed) == (10, 10)


def test_person_is_let_in_beside_guesses_of_other_names(authenticator: Authenticator) -> None:
    async def story() -> Actor:
        for name in ("olga", "nobody"):
            await guesses(authenticator, name, 140)
        return await authenticator.authenticate(headers("jane", PASSWORD), "192.0.2.1")

    assert asyncio.run(story()).name == "jane"


def test_guesses_do_not_lock_out_a_person_who_logged_in_before(authenticator: Authenticator) -> None:
    async def story() -> list[Actor]:
        await authenticator.authenticate(headers("jane", PASSWORD), "192.0.2.1")
        await guesses(authenticator, "jane", 140)
        return [
            await authenticator.authenticate(headers("jane", PASSWORD), peer) for peer in ("192.0.2.1", "192.0.2.9")
        ]

    assert {actor.name for actor in asyncio.run(story())} == {"jane"}


def test_person_is_let_in_from_another_address_than_the_one_that_guesses(authenticator: Authenticator) -> None:
    async def story() -> Actor:
        await guesses(authenticator, "jane", 140)
        return await authenticator.authenticate(headers("jane", PASSWORD), "192.0.2.9")

    assert asyncio.run(story()).name == "jane"


def test_one_name_is_guessed_at_from_many_addresses_a_hundred_times_at_most(
    authenticator: Authenticator, people: CountingPeople
) -> None:
    async def story() -> None:
        for number in range(15):
            await guesses(authenticator, "jane", 10, peer=f"192.0.2.{number}")

    asyncio.run(story())

    assert people.hashed == 100


def test_guesses_are_taken_again_after_a_minute(people: CountingPeople, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    clock = Clock()
    authenticator = Authenticator(SecretDirectory(tmp_path / "secret"), people, clock, attempts=10)

    async def story() -> list[object]:
        await guesses(authenticator, "jane", 11)
        clock.now = 61
        return await guesses(authenticator, "jane", 11)

    assert asyncio.run(story()).count(Unauthenticated) == 10


def test_page_that_asks_twenty_times_at_once_costs_one_hash(
    authenticator: Authenticator, people: CountingPeople
) -> None:
    async def story() -> list[Actor]:
        return await asyncio.gather(
            *(authenticator.authenticate(headers("jane", PASSWORD), "192.0.2.1") for _ in range(20))
        )

    assert {actor.name for actor in asyncio.run(story())} == {"jane"}
    assert people.hashed == 1


def test_hashes_that_wait_are_bounded(people: CountingPeople) -> None:
    async def story() -> list[object]:
        asked = (people.find(headers("jane", f"guess-{number}")) for number in range(MAX_HASHES + 5))
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [type(one) for one in asyncio.run(story())].count(Busy) == 5


@pytest.fixture
def domino() -> Iterator[DominoUsers]:
    with domino_users(DominoUsers(users={"jane": User(owned=(PROJECT,))}, keys={"key-of-jane": "jane"})) as running:
        yield running


@pytest.fixture
def gate_of_domino(mlflow_3_18: MlflowServer, domino: DominoUsers, tmp_path: Path) -> Iterator[Gate]:
    with gate(mlflow_3_18, tmp_path / "gate", f"--domino-url={domino.url}") as found:
        yield found


def at_once(count: int, one: Callable[[int], int]) -> list[int]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_guess_that_is_refused_is_not_asked_of_domino(gate_of_domino: Gate, domino: DominoUsers) -> None:
    """A real person's key and the tokens are accepted meanwhile."""
    jane = {"X-Domino-Api-Key": "key-of-jane"}
    before = gate_of_domino.ask("GET", READ, headers=jane).status
    asked = len(domino.asked)
    statuses = at_once(
        40, lambda number: gate_of_domino.ask("GET", READ, headers={"X-Domino-Api-Key": f"guess-{number}"}).status
    )
    questions = len(domino.asked) - asked

    assert (statuses.count(401), statuses.count(429), questions) == (10, 30, 10)
    assert (before, gate_of_domino.ask("GET", READ, headers=jane).status) == (200, 200)
    assert (
        gate_of_domino.ask("GET", READ, headers=gate_of_domino.bearer(Purpose.PULL)).status == 403
    )  # known, and may not


def test_proxy_in_front_does_not_make_all_clients_one(mlflow_3_18: MlflowServer, tmp_path: Path) -> None:
    with gate(mlflow_3_18, tmp_path / "gate", "--proxy=127.0.0.0/8") as found:

        def guess(address: str) -> int:
            return found.ask(
                "GET", READ, headers={"Authorization": "Bearer x", "X-Forwarded-For": f"198.51.100.1, {address}"}
            ).status

        assert [guess("192.0.2.1") for _ in range(12)] == [401] * 10 + [429] * 2
        assert guess("192.0.2.2") == 401


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::2", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("192.0.2.1:52344", "192.0.2.1"),  # as Azure's Application Gateway writes it
        ("[2001:db8::1]:52344", "2001:db8::/64"),
        ("[::ffff:192.0.2.1]", "192.0.2.1"),
        ("unknown", "unknown"),
        ("x:" * 100, ("x:" * 100)[:64]),
    ],
)
def test_address_is_counted_as_what_one_client_has(address: str, group: str) -> None:
    assert address_group(address) == group


def test_network_of_proxies_is_known() -> None:
    addresses = ClientAddresses(parsed_networks(["10.0.0.0/8", "2001:db8::1"]))

    proxies = ("10.1.2.3", "2001:db8::1", "10.1.2.3:8080", "[2001:db8::1]:443", "::ffff:10.1.2.3")
    assert all(addresses.is_proxy(one) for one in proxies)
    assert not any(addresses.is_proxy(one) for one in ("192.0.2.1", "unknown", "10.1.2.3:x", ""))


def test_event_loop_goes_on_while_passwords_are_hashed(people: CountingPeople, monkeypatch: pytest.MonkeyPatch) -> None:
    """The turns of the loop are counted: with hashes in the loop there would be a handful."""
    monkeypatch.setitem(SCRYPT_COST, "n", COST)

    async def story() -> int:
        hashing = asyncio.gather(*(people.find(headers("jane", f"guess-{number}")) for number in range(4)))
        turns = 0
        while not hashing.done():
            await asyncio.sleep(0)
            turns += 1
        await hashing
        return turns

    assert asyncio.run(story()) > 100
