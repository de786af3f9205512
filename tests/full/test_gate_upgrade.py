"""The gate from the former version to this one and back, on the cluster, under load and with the former one's state.

Tokens, people and the audit log are made by the former version. While its pod is replaced, MLflow's own client
downloads again and again, a fetch is in the middle of a file, and a person and CI promote two versions in turn.
"""

import itertools
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from model_contract.model_ref import ModelRef
from model_contract.names import PROJECT_TOKENS_SECRETS
from model_contract.token_keys import TokenKey
from model_contract.tokens import Purpose
from testbed.cluster.kube import Kube, decoded
from testbed.cluster.workloads import MLFLOW, PROJECT_ID
from testbed.delivery import Delivery, wait_until
from testbed.environments import python_of
from testbed.former_version import Version, former_version, this_version
from testbed.gate import PASSWORD, Answer, Json, Sent, clients
from testbed.mlflow_server import MODULES, client_environment
from testbed.processes import json_lines
from testbed.registered import files_below
from testbed.tcp_proxy import tcp_proxy
from tests.cluster.test_gate import GATE, address_of, audit_folder, basic, moved, volume, write_people
from tests.full.test_upgrade import FORMER_TAG, load_former, overlay, tag_of
from tests.tracking_gate.conftest import READER
from tests.upgrades.conftest import new_model

MEBIBYTE = 1 << 20
SECRET = PROJECT_TOKENS_SECRETS[0]
PEOPLE = "model-api-gate-people"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerGate:
    """The cluster with the former version's gate, the overlays of both versions, and versions of a model.

    `uri` is the address of the gate's Service, `tokens` are those of the project, `audit` is the log on its volume.
    """

    kube: Kube
    before: Path
    after: Path
    audit: Path
    uri: str
    tokens: Mapping[Purpose, str]
    promoted: Sequence[ModelRef]
    large: ModelRef
    files: Mapping[str, bytes]  # of the large version

    def change(self, number: int) -> tuple[ModelRef, str]:
        """Return the version and the stage of a change: each version goes to Staging, and then to Production."""
        return self.promoted[number // 2 % 2], ("Staging", "Production")[number % 2]

    def make_change(self, number: int) -> Answer:
        ref, stage = self.change(number)
        if stage == "Staging":
            return moved(self.uri, ref, stage, basic("jane"))
        ci = {"Authorization": f"Bearer {self.tokens[Purpose.PROMOTE]}"}
        return moved(self.uri, ref, stage, ci, archive_existing_versions=True)

    def lines(self, decision: str) -> list[tuple[str, str]]:
        """Return version and stage of each move in the audit log with this decision."""
        lines = [json.loads(line) for line in self.audit.read_text().splitlines()]
        moves = [line for line in lines if line.get("to_stage") and line["decision"] == decision]
        return [(line["version"], line["to_stage"]) for line in moves]


@pytest.fixture
def former_gate(installed: Kube, tmp_path: Path) -> Iterator[FormerGate]:
    kube, former, audit = installed, former_version(), audit_folder("gate-audit")
    load_former(kube, former, GATE, "Dockerfile.gate")
    with kube.forwarded(MLFLOW, "mlflow", 5000) as mlflow:
        model = new_model(mlflow)
        files = {"MLmodel": b"flavors: {}\n", "weights.bin": os.urandom(MEBIBYTE) * 64}
        promoted, large = [model.version(), model.version()], model.version(files)
    create = ("token", "create", "-i", PROJECT_ID, "-n", "wine", "-o", "jane.doe", "--out", tmp_path / "promote")
    made = former.run("model-api", *create, env=kube.environment)
    assert made.returncode == 0, made.stderr
    password = former.run("model-api-gate", "password", f"--password={PASSWORD}").stdout.strip()
    people = write_people(tmp_path, password)
    kube("-n", MLFLOW, "create", "secret", "generic", PEOPLE, f"--from-file={people}")
    kube.apply(volume(audit))
    tokens = decoded(kube.get("-n", MLFLOW, "secret", SECRET)["data"])
    before = own_overlay(tmp_path / "before", former, FORMER_TAG)
    apply(kube, before)
    yield FormerGate(
        kube=kube,
        before=before,
        after=own_overlay(tmp_path / "after", this_version(), tag_of("gate", GATE)),
        audit=audit / "audit.jsonl",
        uri=address_of(kube),
        tokens={purpose: tokens[str(TokenKey(project_id=PROJECT_ID, purpose=purpose))] for purpose in Purpose},
        promoted=promoted,
        large=large,
        files=files,
    )
    kube("delete", "-k", before, "--wait=true")
    kube("delete", "persistentvolume", "gate-audit")
    kube("-n", MLFLOW, "delete", "secret", SECRET, PEOPLE)


def own_overlay(directory: Path, version: Version, tag: str) -> Path:
    literals = ["MODEL_API_GATE_SERVE_PEOPLE_FILE=/run/model-api-gate/people/people.json"]
    settings = {"name": "model-api-gate-settings", "namespace": MLFLOW, "literals": literals}
    return overlay(directory, version, "gate", settings, {GATE: tag})


def apply(kube: Kube, directory: Path) -> None:
    kube("apply", "-k", directory)
    kube.rolled_out(MLFLOW, GATE)


@contextmanager
def downloading(gate: FormerGate) -> Iterator[list[Json]]:
    """Let MLflow's own client download a version again and again; the list gets its answers."""
    ref, answers, ended = gate.promoted[0], list[Json](), threading.Event()
    question = {"tracking": gate.uri, "uri": f"models:/{ref.name}/{ref.version}", "token": gate.tokens[Purpose.PULL]}
    environment = client_environment() | {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    with json_lines([python_of("mlflow-3.17"), READER], MODULES, environment) as client:

        def download() -> None:
            while not ended.is_set():
                answers.append(client.ask(question))

        thread = threading.Thread(target=download)
        thread.start()
        try:
            yield answers
        finally:
            ended.set()
            thread.join()


@contextmanager
def fetching(gate: FormerGate, directory: Path) -> Iterator[None]:
    """Fetch the large version: its file has begun to come before the block, and comes after it."""
    directory.mkdir()
    token = directory / "token"
    token.write_text(gate.tokens[Purpose.PULL])
    place = urlsplit(gate.uri)
    with tcp_proxy((str(place.hostname), place.port or 80)) as proxy:
        environment = {"MODEL_API_TOKEN_FILE": str(token)}
        delivery = Delivery(directory=directory, uri=f"http://127.0.0.1:{proxy.port}", environment=environment)
        process = delivery.start(gate.large)
        wait_until(lambda: any(file.stat().st_size for file in delivery.store.rglob("weights.bin*")))
        proxy.passes.clear()
        yield
        assert process.poll() is None
        proxy.passes.set()
        ended = delivery.wait(process)
    assert ended.code == 0, ended.output
    assert files_below(delivery.model(gate.large)) == gate.files


@pytest.mark.timeout(1800)
def test_gate_is_replaced_on_the_cluster_and_its_clients_and_its_state_go_on(
    former_gate: FormerGate, tmp_path: Path
) -> None:
    gate, kube = former_gate, former_gate.kube
    secrets = [kube.get("-n", MLFLOW, "secret", name)["data"] for name in (SECRET, PEOPLE)]
    logs: list[bytes] = []

    def both_go_on(moves: Sent, answers: Sequence[Any]) -> None:
        """Wait until the gate that runs now has made both kinds of changes, and answered a download."""
        made, downloaded = len(moves.statuses) + 4, len(answers) + 2
        wait_until(lambda: len(moves.statuses) > made and len(answers) > downloaded)
        logs.append(gate.audit.read_bytes())

    with clients(gate.make_change, count=1, pause=0.2) as moves, downloading(gate) as answers:
        both_go_on(moves, answers)
        for directory in (gate.after, gate.before):
            with fetching(gate, tmp_path / f"fetch-{directory.name}"):
                apply(kube, directory)
            both_go_on(moves, answers)

    changes = [(ref.version, stage) for ref, stage in map(gate.change, range(len(moves.statuses)))]
    assert set(moves.statuses) == {200}
    assert gate.lines("begin") == gate.lines("allow") == changes
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(logs))
    assert "files" in answers[0]
    assert [answer for answer in answers if answer != answers[0]] == []
    assert [kube.get("-n", MLFLOW, "secret", name)["data"] for name in (SECRET, PEOPLE)] == secrets
