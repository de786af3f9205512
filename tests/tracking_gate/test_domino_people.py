"""People of Domino: looked up there, remembered for a minute, and accepted by nothing else."""

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from model_contract.names import PROJECT_HEADER
from model_contract.tokens import Purpose, new_token
from testbed.domino_users import DominoUsers, User, domino_users
from testbed.gate import API, OTHER, PROJECT, Gate, ask, gate
from testbed.mlflow_server import MlflowServer
from testbed.processes import PATIENCE, free_port, installed, running
from tracking_gate.actors import Actor, ActorKind
from tracking_gate.authentication.domino_people import DominoPeople
from tracking_gate.errors import Unavailable
from tracking_gate.metrics import Metrics

KEY, TOKEN = "f00d" * 16, "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"
THIRD = "88e1b2c3d4e5f6a701234567"
JANE = {"X-Domino-Api-Key": KEY}


@pytest.fixture
def domino() -> Iterator[DominoUsers]:
    users = {
        "jane": User(owned=(PROJECT,), collaborating=(OTHER,), suggested=(THIRD,)),
        "chief": User(),
        "olga": User(owned=(OTHER,)),
    }
    state = DominoUsers(
        users=users, keys={KEY: "jane", "chief-key": "chief"}, tokens={TOKEN: "jane", "olga-token": "olga"}
    )
    with domino_users(state) as running:
        yield running


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def people(domino: DominoUsers, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[DominoPeople]:
    async with DominoPeople(domino.url, Metrics(), admins=frozenset({"chief"}), clock=clock) as found:
        yield found


def find(domino: DominoUsers, headers: dict[str, str]) -> Actor | None:
    async def asked() -> Actor | None:
        async with people(domino) as found:
            return await found.find(headers)

    return asyncio.run(asked())


@pytest.mark.parametrize("headers", [JANE, {"Authorization": f"Bearer {TOKEN}"}], ids=["API key", "access token"])
def test_person_has_the_projects_that_they_own_or_work_on_in_domino(
    domino: DominoUsers, headers: dict[str, str]
) -> None:
    found = find(domino, headers)

    assert found == Actor(kind=ActorKind.PERSON, name="jane", projects=frozenset({PROJECT, OTHER}))


def test_person_named_as_admin_of_the_gate_is_an_admin(domino: DominoUsers) -> None:
    found = find(domino, {"X-Domino-Api-Key": "chief-key"})

    assert found is not None
    assert found.kind is ActorKind.ADMIN


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic amFuZTpq"},
        {"Authorization": "Bearer "},
        {"X-Domino-Api-Key": " "},
        {"X-Domino-Api-Key": "x" * 5000},
        {"X-Domino-Api-Key": "kéy"},
        {"Authorization": f"Bearer {new_token(PROJECT, Purpose.PROMOTE).value.reveal()}"},
    ],
    ids=["nothing", "a password", "no token", "white space", "too long", "no header value", "a service token"],
)
def test_other_credentials_are_not_sent_to_domino(domino: DominoUsers, headers: dict[str, str]) -> None:
    assert find(domino, headers) is None
    assert domino.asked == []


@pytest.mark.parametrize("status", [401, 403, 302])
def test_person_unknown_to_domino_is_not_accepted(domino: DominoUsers, status: int) -> None:
    domino.status = status

    assert find(domino, JANE) is None


@pytest.mark.parametrize("status", [200, 301, 404, 429, 500, 503])
def test_unclear_answer_of_domino_is_no_login(domino: DominoUsers, status: int) -> None:
    """A 200 that holds no user is unclear as well."""
    domino.status = status

    with pytest.raises(Unavailable, match="Domino cannot say now who you are"):
        find(domino, JANE)


def test_answer_is_kept_for_a_minute_also_a_no(domino: DominoUsers) -> None:
    clock = Clock()

    async def story() -> None:
        async with people(domino, clock) as found:
            await asyncio.gather(*(found.find(JANE) for _ in range(20)))
            assert len(domino.asked) == 3

            domino.keys.clear()
            clock.now = 59
            assert await found.find(JANE) is not None
            clock.now = 61
            assert await found.find(JANE) is None

            domino.keys[KEY] = "jane"
            clock.now = 120
            assert await found.find(JANE) is None
            clock.now = 122
            assert await found.find(JANE) is not None

    asyncio.run(story())


def test_requests_at_the_same_time_wait_once_for_a_domino_that_does_not_answer(domino: DominoUsers) -> None:
    domino.status = 500

    async def story() -> list[object]:
        async with people(domino) as found:
            return await asyncio.gather(*(found.find(JANE) for _ in range(20)), return_exceptions=True)

    assert {type(answer) for answer in asyncio.run(story())} == {Unavailable}
    assert len(domino.asked) == 1


def test_unclear_answer_is_not_kept(domino: DominoUsers) -> None:
    async def story() -> None:
        async with people(domino) as found:
            domino.status = 500
            with pytest.raises(Unavailable):
                await found.find(JANE)
            domino.status = None
            assert await found.find(JANE) is not None

    asyncio.run(story())


def test_answers_that_are_kept_are_few_and_hold_no_credential(
    domino: DominoUsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking_gate.authentication.domino_people.MAX_KEPT", 2)

    async def story() -> DominoPeople:
        async with people(domino) as found:
            for headers in (JANE, {"X-Domino-Api-Key": "a"}, {"X-Domino-Api-Key": "b"}):
                await found.find(headers)
            return found

    kept = vars(asyncio.run(story()))
    assert len(kept["_answers"]) == 2
    assert KEY not in repr(kept)


def test_slow_answer_of_domino_is_no_login(domino: DominoUsers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracking_gate.authentication.domino_people.TIMEOUT", aiohttp.ClientTimeout(total=0.05))
    domino.delay = 600

    with pytest.raises(Unavailable):
        find(domino, JANE)


@pytest.fixture
def gate_of_domino(mlflow_3_18: MlflowServer, domino: DominoUsers, tmp_path: Path) -> Iterator[Gate]:
    with gate(mlflow_3_18, tmp_path / "gate", f"--domino-url={domino.url}", "--admin=chief") as found:
        yield found


def test_people_of_domino_use_the_gate(gate_of_domino: Gate, domino: DominoUsers) -> None:
    """They work beside the people of the file. A new object is of the project that the request names."""
    found, name = gate_of_domino, f"domino-{free_port()}"
    create = f"{API}/registered-models/create"
    unnamed = found.ask("POST", create, {"name": name}, JANE)
    foreign = found.ask("POST", create, {"name": name}, JANE | {PROJECT_HEADER: THIRD})
    made = found.ask("POST", create, {"name": name}, JANE | {PROJECT_HEADER: OTHER.upper()})

    assert (unnamed.status, PROJECT_HEADER in unnamed.message) == (400, True)
    assert foreign.status == 403
    assert {"key": "mlflow.domino.project_id", "value": OTHER} in made.json["registered_model"]["tags"]
    update = {"name": name, "description": "by another"}
    path = f"{API}/registered-models/update"
    assert found.ask("PATCH", path, update, {"Authorization": "Bearer olga-token"}).status == 200
    assert found.ask("PATCH", path, update, found.basic("jane")).status == 403
    assert found.ask("PATCH", path, update, found.basic("olga")).status == 200
    assert [line["actor"]["name"] for line in found.lines() if line.get("op") == "create_model"] == ["jane"] * 3


def test_outage_of_domino_stops_only_callers_that_need_domino(gate_of_domino: Gate, domino: DominoUsers) -> None:
    domino.status, read = 500, f"{API}/experiments/search?max_results=1"
    away = gate_of_domino.ask("GET", read, headers=JANE)

    assert (away.status, away.json["error_code"], away.headers["Retry-After"]) == (503, "TEMPORARILY_UNAVAILABLE", "5")
    assert gate_of_domino.ask("GET", read, headers=gate_of_domino.basic("jane")).status == 200
    logged = gate_of_domino.ask(
        "POST", f"{API}/logged-models/search", {"experiment_ids": ["0"]}, gate_of_domino.bearer(Purpose.PULL)
    )
    assert logged.status == 403  # it was known, and the experiment is nobody's


def test_guessing_keys_is_slowed_down(gate_of_domino: Gate) -> None:
    path = f"{API}/experiments/search?max_results=1"
    guesses = [
        gate_of_domino.ask("GET", path, headers={"X-Domino-Api-Key": f"guess-{number}"}).status for number in range(12)
    ]

    assert guesses == [401] * 10 + [429] * 2


def test_credential_is_in_no_log(gate_of_domino: Gate, domino: DominoUsers) -> None:
    path = f"{API}/registered-models/create"
    for domino.status in (500, 200, None):
        for number, headers in enumerate((JANE, {"Authorization": f"Bearer {TOKEN}"})):
            gate_of_domino.ask("POST", path, {"name": f"log-{number}"}, headers)
    written = gate_of_domino.audit.read_text() + gate_of_domino.process.log.read_text()

    assert "Domino cannot say who a person is" in written
    for secret in (KEY, TOKEN, hashlib.sha256(KEY.encode()).hexdigest()):
        assert secret not in written


def test_key_does_not_reach_mlflow(domino: DominoUsers, tmp_path: Path) -> None:
    """The server behind the gate would accept the key."""
    (tmp_path / "secret").mkdir()
    with domino_users(DominoUsers(users=domino.users, keys=domino.keys)) as upstream:
        port = free_port()
        command: list[str | Path] = [
            installed("model-api-gate"),
            "serve",
            f"--upstream={upstream.url}",
            f"--secret-dir={tmp_path / 'secret'}",
        ]
        command += [f"--domino-url={domino.url}", "--host=127.0.0.1", f"--port={port}"]
        with running(command, log=tmp_path / "gate.log", env=os.environ) as process:
            process.wait_for_http(f"http://127.0.0.1:{port}/readyz")
            answer = ask(f"http://127.0.0.1:{port}", "GET", f"{API}/experiments/search", headers=JANE)

    assert upstream.asked == [f"{API}/experiments/search"]
    assert (answer.status, answer.message) == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(["--domino-url=domino"], "--domino-url: it must be a URL"), (["--admin=jane"], "needs --domino-url")],
)
def test_setting_of_domino_that_is_wrong_is_one_sentence(options: list[str], sentence: str) -> None:
    command = [installed("model-api-gate"), "serve", "--port=0", "--upstream=http://x", "--secret-dir=/tmp", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)

    assert (done.returncode, sentence in done.stderr) == (3, True), done.stderr


def test_admins_come_in_a_variable_separated_by_spaces() -> None:
    """The ConfigMap of the manifests has them in this form."""
    variables = {"ADMINS": "root jane", "DOMINO_URL": "http://x", "UPSTREAM": "http://x", "SECRET_DIR": "."}
    environment = os.environ | {f"MODEL_API_GATE_SERVE_{name}": value for name, value in variables.items()}
    script = (
        "from tracking_gate import cli; cli.serve.callback = lambda **given: print(given['admins']);"
        " cli.main(['serve'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )

    assert done.stdout == "('root', 'jane')\n", done.stderr
