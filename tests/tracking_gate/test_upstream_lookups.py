"""The gate's lookups in MLflow, seen by a proxy between the two."""

import dataclasses
import http.client
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import pytest

from model_contract.names import TAG_PROJECT_ID
from model_contract.tokens import Purpose
from testbed.gate import API, OTHER, Gate, Json, ask, gate
from testbed.processes import PATIENCE
from testbed.reverse_proxy import Exchange, ReverseProxy, reverse_proxy
from tests.tracking_gate.conftest import Wine, wine_behind

NUMBERS = itertools.count(1)


class Faults:
    """The fault of the next request with `part` in its path."""

    def __init__(self) -> None:
        self.part: str | None = None
        self.late = False  # True: MLflow has not got the request whose connection drops, until `deliver` is called
        self._undelivered: Exchange | None = None

    def rule(self, exchange: Exchange) -> bool:
        if self.part is None or self.part not in exchange.path or exchange.command == "GET":
            return False
        self.part = None
        if self.late:
            self._undelivered = exchange
        else:
            with exchange.upstream(exchange.body) as real:
                real.read()
        exchange.hang_up()
        return True

    def deliver(self) -> None:
        """Give MLflow the request that it has not got."""
        assert self._undelivered
        exchange = self._undelivered
        ask(exchange.server.upstream, exchange.command, exchange.path, json.loads(exchange.body))


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedGate:
    """A gate, the proxy behind it, and the proxy's faults."""

    gate: Gate
    proxy: ReverseProxy
    faults: Faults

    def lookups(self, method: str, path: str, body: Json | None, who: dict[str, str]) -> int:
        """Return the number of lookups for one refused request."""
        before = len(self.proxy.paths())
        assert self.gate.ask(method, path, body, who).status == 403, path
        return len(self.proxy.paths()) - before


@pytest.fixture(scope="module")
def seen(any_gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObservedGate]:
    faults = Faults()
    with reverse_proxy(any_gate.server.uri, faults.rule) as proxy:
        server = dataclasses.replace(any_gate.server, uri=proxy.uri)
        with gate(server, tmp_path_factory.mktemp("seen"), "--attempts=100000") as found:
            yield ObservedGate(gate=found, proxy=proxy, faults=faults)


@pytest.fixture
def wine(seen: ObservedGate) -> Wine:
    return wine_behind(seen.gate)


def logged_model_of(wine: Wine) -> str:
    body = {"experiment_id": wine.experiment, "name": "m", "source_run_id": wine.run}
    made = wine.gate.ask("POST", f"{API}/logged-models", body, wine.gate.basic("jane"))
    return str(made.json["model"]["info"]["model_id"]) if made.status == 200 else "m-" + "1" * 32


FILES = "/api/2.0/mlflow-artifacts/artifacts"
READS = [
    f"{API}/registered-models/get?name={{name}}",
    f"{API}/registered-models/alias?name={{name}}&alias=production",
    f"{API}/registered-models/get-latest-versions?name={{name}}",
    f"{API}/model-versions/get?name={{name}}&version={{version}}",
    f"{API}/model-versions/get-download-uri?name={{name}}&version={{version}}",
    f"{API}/model-versions/search?filter=name%3D'{{name}}'",
    f"{API}/registered-models/search?filter=name%3D'{{name}}'",
    f"{API}/runs/get?run_id={{run}}",
    f"{API}/artifacts/list?run_id={{run}}",
    f"{API}/experiments/get?experiment_id={{experiment}}",
    f"{API}/logged-models/{{logged_model}}",
    f"{FILES}/{{experiment}}/{{run}}/artifacts/model/MLmodel",
    f"{FILES}/{{experiment}}/models/{{logged_model}}/artifacts/MLmodel",
    f"{FILES}?path={{experiment}}/{{run}}/artifacts/model",
]
MOVES: list[tuple[str, str, Json]] = [
    ("POST", "model-versions/transition-stage", {"name": "{name}", "version": "{version}", "stage": "Production"}),
    ("POST", "model-versions/transition-stage", {"name": "{name}", "version": "{version}", "stage": "Archived"}),
    ("POST", "registered-models/alias", {"name": "{name}", "version": "{version}", "alias": "production"}),
    ("DELETE", "registered-models/alias", {"name": "{name}", "alias": "production"}),
    ("POST", "model-versions/set-tag", {"name": "{name}", "version": "{version}", "key": "promotion.id", "value": "1"}),
    (
        "POST",
        "model-versions/set-tag",
        {"name": "{name}", "version": "{version}", "key": "model-api.digest", "value": "1"},
    ),
    ("DELETE", "model-versions/delete-tag", {"name": "{name}", "version": "{version}", "key": "promotion.id"}),
    ("POST", "registered-models/set-tag", {"name": "{name}", "key": "promotion.id", "value": "1"}),
    ("POST", "registered-models/get-latest-versions", {"name": "{name}"}),
    ("POST", "logged-models/search", {"experiment_ids": ["{experiment}"]}),
]


@pytest.mark.parametrize("tagged", [False, True], ids=["by its experiment", "by its own tag"])
def test_object_of_another_project_costs_as_many_lookups_as_a_missing_one(
    seen: ObservedGate, wine: Wine, *, tagged: bool
) -> None:
    """The number is the same if the gate remembers the owner from a read of its own project."""
    if tagged:
        tag = {"run_id": wine.run, "key": TAG_PROJECT_ID, "value": "66c0a1b2c3d4e5f601234567"}
        assert seen.gate.ask("POST", f"{API}/runs/set-tag", tag, seen.gate.basic("jane")).status == 200
    there = {"name": wine.name, "version": wine.version(), "run": wine.run, "experiment": wine.experiment}
    there["logged_model"] = logged_model_of(wine)
    missing = {
        "name": "no-such",
        "version": "1",
        "run": "0" * 32,
        "experiment": "77777",
        "logged_model": "m-" + "0" * 32,
    }
    own, other = seen.gate.bearer(Purpose.PROMOTE), seen.gate.bearer(Purpose.PROMOTE, OTHER)

    for read in READS:
        seen.gate.ask("GET", read.format(**there), headers=own)
        counted = [seen.lookups("GET", read.format(**ids), None, other) for ids in (there, missing, there, missing)]
        assert len(set(counted)) == 1, (read, counted)
    for method, path, body in MOVES:
        counted = []
        for ids in (there, missing, there, missing):
            sent = {key: filled(value, ids) for key, value in body.items()}
            counted.append(seen.lookups(method, f"{API}/{path}", sent, other))
        assert len(set(counted)) == 1, (path, body, counted)
    # A version that is not there, of a model that is.
    body = {"name": wine.name, "version": "99", "stage": "Production"}
    move = f"{API}/model-versions/transition-stage"
    assert seen.lookups("POST", move, body, other) == seen.lookups("POST", move, body | {"name": "no-such"}, other)


def filled(value: object, ids: dict[str, str]) -> object:
    return [filled(item, ids) for item in value] if isinstance(value, list) else str(value).format(**ids)


def test_pod_reads_its_model_with_no_more_questions_than_before(seen: ObservedGate, wine: Wine) -> None:
    version, pull = wine.version(), seen.gate.bearer(Purpose.PULL)
    reads = [
        f"{API}/model-versions/get?name={wine.name}&version={version}",
        f"{API}/model-versions/get-download-uri?name={wine.name}&version={version}",
        f"{FILES}?path={wine.directory}/model",
        f"{FILES}/{wine.directory}/model/MLmodel",
    ]
    before = len(seen.proxy.paths())
    for path in reads:
        assert seen.gate.ask("GET", path, headers=pull).status == 200
    first = len(seen.proxy.paths()) - before
    for path in reads:
        seen.gate.ask("GET", path, headers=pull)

    # The model's project and the experiment's, once; after that the four reads alone.
    assert (first, len(seen.proxy.paths()) - before - first) == (len(reads) + 2, len(reads))


@pytest.mark.parametrize("late", [False, True], ids=["already made", "made later"])
def test_files_are_protected_after_a_promotion_whose_answer_was_lost(
    seen: ObservedGate, wine: Wine, *, late: bool
) -> None:
    version, jane, gate = wine.version(), seen.gate.basic("jane"), seen.gate
    assert wine.put(f"{wine.directory}/model/MLmodel", b"before", jane).status == 200  # the gate knows what is promoted
    seen.faults.part, seen.faults.late = "transition-stage", late
    lost = wine.move(version, "Staging", jane)
    assert wine.put(f"{wine.directory}/beside", b"1", jane).status in {200, 409}
    if late:
        seen.faults.deliver()

    assert lost.status == 503
    assert wine.stage(version) == "Staging"
    assert wine.put(f"{wine.directory}/model/MLmodel", b"changed", jane).status == 409
    assert gate.ask("POST", f"{API}/runs/delete", {"run_id": wine.run}, jane).status == 409


def test_owner_is_forgotten_after_a_change_whose_answer_was_lost(seen: ObservedGate, wine: Wine) -> None:
    pull, read = seen.gate.bearer(Purpose.PULL), f"{API}/registered-models/get?name={wine.name}"
    assert seen.gate.ask("GET", read, headers=pull).status == 200
    seen.faults.part, seen.faults.late = "registered-models/set-tag", True
    body = {"name": wine.name, "key": TAG_PROJECT_ID, "value": OTHER}
    assert seen.gate.ask("POST", f"{API}/registered-models/set-tag", body, seen.gate.basic("root")).status == 503
    assert seen.gate.ask("GET", read, headers=pull).status == 200
    seen.faults.deliver()

    assert seen.gate.ask("GET", read, headers=pull).status == 403


def test_files_are_protected_after_a_promotion_whose_client_hung_up(seen: ObservedGate, wine: Wine) -> None:
    version, jane = wine.version(), seen.gate.basic("jane")
    assert wine.put(f"{wine.directory}/model/MLmodel", b"before", jane).status == 200
    connection = http.client.HTTPConnection(urlsplit(seen.gate.uri).netloc, timeout=PATIENCE)
    body = json.dumps({"name": wine.name, "version": version, "stage": "Staging"})
    before, deadline = len(seen.proxy.paths()), time.monotonic() + PATIENCE
    connection.request(
        "POST", f"{API}/model-versions/transition-stage", body, jane | {"Content-Type": "application/json"}
    )
    while not any("transition-stage" in path for path in seen.proxy.paths()[before:]) and time.monotonic() < deadline:
        time.sleep(0.001)  # a client that leaves before the gate has decided moves nothing
    connection.close()
    while wine.stage(version) != "Staging" and time.monotonic() < deadline:
        time.sleep(0.02)

    assert wine.put(f"{wine.directory}/model/MLmodel", b"changed", jane).status == 409


NAMES = [
    "it's",
    "''",
    'a"b',
    'it\'s "x"',
    "100%",
    "a_b",
    "a\\b",
    "`x`",
    "a;b--",
    "na\u00efve \U0001f377",
    "x' OR name != '",
]


@pytest.fixture(scope="module")
def logged(any_gate: Gate) -> Wine:
    """Return a model with the run and the files of all models with odd names."""
    return wine_behind(any_gate)


@pytest.mark.parametrize("odd", NAMES)
def test_model_with_an_odd_name_is_promoted_protected_and_read(any_gate: Gate, logged: Wine, odd: str) -> None:
    wine = dataclasses.replace(logged, name=f"{odd} {next(NUMBERS)}")
    jane, promote = any_gate.basic("jane"), any_gate.bearer(Purpose.PROMOTE)
    assert any_gate.ask("POST", f"{API}/registered-models/create", {"name": wine.name}, jane).status == 200
    body = {"name": wine.name, "source": f"runs:/{wine.run}/model", "run_id": wine.run}
    version = any_gate.ask("POST", f"{API}/model-versions/create", body, jane).json["model_version"]["version"]

    for stage, who in (("Staging", jane), ("Production", promote)):
        assert wine.move(version, stage, who).status == 200
    assert wine.move(version, "Production", any_gate.bearer(Purpose.PROMOTE, OTHER)).status == 403
    for method, path, sent in (
        ("DELETE", "registered-models/delete", {"name": wine.name}),
        ("POST", "registered-models/rename", {"name": wine.name, "new_name": f"renamed {next(NUMBERS)}"}),
    ):
        assert any_gate.ask(method, f"{API}/{path}", sent, jane).status == 409
    read = f"{API}/model-versions/get?name={quote(wine.name)}&version={version}"
    assert any_gate.ask("GET", read, headers=any_gate.bearer(Purpose.PULL)).status == 200
    if "'" in odd and not set(odd) & set('"\\`%'):
        filter_ = f'name="{wine.name}"'
        search = f"{API}/model-versions/search?filter={quote(filter_)}"
        found = any_gate.ask("GET", search, headers=any_gate.bearer(Purpose.PULL))
        assert [item["name"] for item in found.json["model_versions"]] == [wine.name]
