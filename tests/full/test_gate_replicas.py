"""Three replicas of the gate under load: killed, frozen past the Lease, and cut off from the API server.

GATE_ROUNDS makes it longer. It ends with what must hold: each move made once, never two versions in Production, a
record of every move, and no read that failed when it was sent again.
"""

import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from model_contract.tokens import Purpose
from testbed.cluster.control_plane import control_plane
from testbed.gate import API, Answer, Gate, Json, ask
from testbed.gate_replicas import LEASE_SECONDS, ReplicaProcess, Replicas, replicas
from testbed.mlflow_server import MlflowServer
from testbed.processes import installed
from tests.tracking_gate.conftest import Wine, wine_behind

ROUNDS = int(os.environ.get("GATE_ROUNDS", "2"))
MODELS = 3
VERSIONS = 150  # of each model: more than a run moves
MENDED_SECONDS = 20.0  # in which a read that is sent again is answered
PAST = LEASE_SECONDS * 1.5  # seconds of a fault: another replica has the Lease by then
MOVE = f"{API}/model-versions/transition-stage"


@dataclass(kw_only=True)
class Load:
    """Clients of the replicas, which send a request again to any replica as MLflow's clients do."""

    replicas: Replicas
    stop: threading.Event = field(default_factory=threading.Event)
    faults: list[str] = field(default_factory=list)
    reads: int = 0
    read_again: int = 0
    moved: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0  # seconds until a move was answered

    def any_gate(self) -> Gate:
        return random.choice(self.replicas.gates)  # noqa: S311  no secret

    def ask(self, method: str, path: str, body: Json | None, headers: dict[str, str]) -> Answer | None:
        """Return the answer of one replica, None if there is none or one that asks to try again."""
        try:
            answer = ask(self.any_gate().uri, method, path, body, headers)
        except (OSError, http.client.HTTPException):
            return None
        return None if answer.status in {429, 503} else answer

    def read(self, wine: Wine) -> None:
        """Read as a pod does, with the pull token."""
        headers = self.replicas.gates[0].bearer(Purpose.PULL)
        while not self.stop.is_set():
            begin = time.monotonic()
            while (answer := self.ask("GET", f"{API}/registered-models/get?name={wine.name}", None, headers)) is None:
                self.read_again += 1
                if time.monotonic() - begin > MENDED_SECONDS:
                    self.faults.append("a read that was sent again and again had no answer")
                    return
                time.sleep(0.1)
            self.reads += 1
            if answer.status != 200:
                self.faults.append(f"a read was answered with {answer.status}")

    def move(self, wine: Wine, versions: Sequence[str]) -> None:
        """Take each version to Staging, then to Production in the place of the one before."""
        gate, before = self.replicas.gates[0], "none"
        for version in versions:
            for stage in ("Staging", "Production"):
                headers = gate.bearer(Purpose.PROMOTE) if stage == "Production" else gate.basic("jane")
                if not self.moves(wine, version, stage, headers | {"X-Gate-Expect-Production": before}):
                    return
            before = version

    def moves(self, wine: Wine, version: str, stage: str, headers: dict[str, str]) -> bool:
        """Send one move until it is answered; return False at the end of the run."""
        body = {
            "name": wine.name,
            "version": version,
            "stage": stage,
            "archive_existing_versions": stage == "Production",
        }
        begin = time.monotonic()
        while (answer := self.ask("POST", MOVE, body, headers)) is None:
            if self.stop.is_set():
                return False
            time.sleep(0.2)
        self.slowest = max(self.slowest, time.monotonic() - begin)
        # Its own move, whose answer was lost, has changed the version in Production that it expects.
        if answer.status != 200 and not (answer.status == 409 and wine.stage(version) == stage):
            self.faults.append(f"{wine.name} {version} to {stage}: {answer.status} {answer.body[:200]!r}")
            return False
        self.moved[wine.name] += 1
        return not self.stop.is_set()

    def watch(self, server: MlflowServer, wine: Wine) -> None:
        """Look at MLflow itself for a second version in Production."""
        path = f"{API}/registered-models/get?name={wine.name}"
        while not self.stop.is_set():
            latest = ask(server.uri, "GET", path).json["registered_model"].get("latest_versions", [])
            for version in latest:
                if version["current_stage"] == "Production":
                    self.check(server, wine)
            time.sleep(0.5)

    def check(self, server: MlflowServer, wine: Wine) -> None:
        found = ask(server.uri, "GET", f"{API}/model-versions/search?filter=name%3D'{wine.name}'&max_results=1000").json
        production = [one["version"] for one in found["model_versions"] if one["current_stage"] == "Production"]
        if len(production) > 1:
            self.faults.append(f"{wine.name} has {production} in Production")


@pytest.fixture
def three(mlflow_3_18: MlflowServer, tmp_path: Path) -> Iterator[Replicas]:
    (tmp_path / "plane").mkdir()
    with control_plane(tmp_path / "plane") as plane, replicas(mlflow_3_18, plane, tmp_path / "gates", count=3) as found:
        found.leader()
        yield found


def many_versions(wine: Wine, server: MlflowServer) -> list[str]:
    """Make versions at MLflow itself, which a retry would make twice."""
    first = wine.version()
    source = wine.raw(first)["source"]
    body = {"name": wine.name, "source": source, "run_id": wine.run}
    made = [ask(server.uri, "POST", f"{API}/model-versions/create", body) for _ in range(VERSIONS)]
    return [first, *(str(one.json["model_version"]["version"]) for one in made)]


def killed(one: ReplicaProcess) -> None:
    one.gate.process.kill()
    time.sleep(PAST)
    one.start()


def frozen(one: ReplicaProcess) -> None:
    one.freeze()
    time.sleep(PAST)
    one.thaw()


def cut_off(one: ReplicaProcess) -> None:
    one.api.passes.clear()
    time.sleep(PAST)
    one.api.passes.set()


def test_replicas_that_are_killed_frozen_and_cut_off_move_each_version_once(
    three: Replicas, mlflow_3_18: MlflowServer, capsys: pytest.CaptureFixture[str]
) -> None:
    load = Load(replicas=three)
    wines = [wine_behind(three.leader().gate, "loaded") for _ in range(MODELS)]
    versions = {wine.name: many_versions(wine, mlflow_3_18) for wine in wines}
    threads = [threading.Thread(target=load.move, args=(wine, versions[wine.name])) for wine in wines]
    threads += [threading.Thread(target=load.read, args=(wine,)) for wine in wines]
    threads += [threading.Thread(target=load.watch, args=(mlflow_3_18, wine)) for wine in wines]
    for thread in threads:
        thread.start()
    try:
        for _ in range(ROUNDS):
            for fault in (killed, frozen, cut_off):
                time.sleep(LEASE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311  no secret
                fault(three.leader())
            frozen(three.follower())
        three.leader()
        time.sleep(2)
    finally:
        load.stop.set()
        for thread in threads:
            thread.join()
    three.leader()
    time.sleep(LEASE_SECONDS)  # until what was begun has ended

    made = Counter((move["name"], move["version"], move["stage"]) for one in three.all for move in one.traffic.made)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{sum(load.moved.values())} moves, the slowest in {load.slowest:.1f} s; {load.reads} reads, "
            f"{load.read_again} sent again\n"
        )
    assert load.faults == []
    assert all(load.moved[wine.name] > 2 * ROUNDS for wine in wines)
    assert [move for move, times in made.items() if times > 1] == []
    for wine in wines:
        load.check(mlflow_3_18, wine)
    assert load.faults == []
    assert_recorded(three, made)


def assert_recorded(three: Replicas, made: Counter[tuple[str, str, str]]) -> None:
    """Each move that MLflow has made has a line of its begin and one of its end, and no line is missing."""
    files = [one.gate.audit for one in three.all]
    done = subprocess.run(
        [installed("model-api-gate"), "audit", "join", *files], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    ended = Counter(
        (line["model"], line["version"], line["to_stage"])
        for line in lines
        if line.get("op") == "transition_stage" and line["decision"] in {"allow", "unknown", "recovered"}
    )
    assert [move for move in made if not ended[move]] == []
    # By the clock of this machine: no replica has made a move after its successor's first.
    allowed = {line["request_id"] for line in lines if line["decision"] == "allow"}
    begun = [
        (line["ts"], line["term"]) for line in lines if line["decision"] == "begin" and line["request_id"] in allowed
    ]
    terms = [term for _, term in sorted(begun)]
    assert terms == sorted(terms)
    assert len({line["term"] for line in lines}) > 2 * ROUNDS
