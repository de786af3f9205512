"""Two replicas of the gate on the cluster, behind its firewall and in front of the quickstart's MLflow.

They are installed, followed and taken away by the commands of docs/how-to/install-gate.md and
docs/how-to/operate-gate.md.
"""

import http.client
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from model_contract.model_ref import ModelRef
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import MLFLOW
from testbed.gate import API, Answer, Json, Sent, ask, clients
from testbed.pages import Shell, blocks
from tests.cluster.test_claims import host_volume
from tests.cluster.test_gate import (
    COMPONENTS,
    GATE,
    Gated,
    address_of,
    audit_folder,
    basic,
    gated,  # noqa: F401  a fixture
    moved,
)

SELECTED = ("-l", f"app.kubernetes.io/name={GATE}")
INSTALL, OPERATE = "install-gate", "operate-gate"
STORAGE_CLASS = "efs"  # that of the page
MEBIBYTE = 1 << 20
DOWNLOAD = 64 * MEBIBYTE  # more than what lies between the gate and a client that reads nothing
STAGES = ("Staging", "None")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicated:
    """The cluster with replicas of the gate.

    `model` is a version of the project, `logs` the folder with the audit log of each replica, `service` the address of
    the Service, which this host reaches too, and `token` a pull token as a header.
    """

    gated: Gated
    model: ModelRef
    shell: Shell
    logs: Path
    service: str
    token: Mapping[str, str]

    @property
    def kube(self) -> Kube:
        return self.gated.kube

    def pods(self) -> dict[str, str]:
        """Return name and address of each replica that is ready."""
        return {
            pod["metadata"]["name"]: f"http://{pod['status']['podIP']}:5000"
            for pod in self.gated.pods()
            if "deletionTimestamp" not in pod["metadata"] and is_ready(pod)
        }

    def leader(self, *, other_than: Sequence[str] = (), seconds: float = 60) -> str:
        """Wait until the Lease names a replica that makes changes, and return the name of its pod."""
        found: str = self.kube.until(lambda: self._leader(other_than), seconds=seconds, what="a replica leads")
        return found

    def _leader(self, other_than: Sequence[str]) -> str | None:
        spec = self.kube.get("-n", MLFLOW, "lease", GATE)["spec"]
        name = str(spec.get("holderIdentity") or "").partition(".")[0]
        if not name or name in other_than:
            return None
        metrics = f"/api/v1/namespaces/{MLFLOW}/pods/{name}:8080/proxy/metrics"
        return name if "model_api_gate_leader 1.0" in self.kube.attempt("get", "--raw", metrics).stdout else None

    def lines(self) -> list[Json]:
        return [json.loads(line) for file in self.logs.glob("*.jsonl") for line in file.read_text().splitlines()]

    def read(self, uri: str) -> Answer:
        return ask(uri, "GET", f"{API}/registered-models/get?name={self.model.name}", headers=self.token)

    def move(self, uri: str, stage: str) -> Answer:
        """Let a person of the project move the version."""
        return moved(uri, self.model, stage, basic("jane"))

    def stage(self) -> str:
        """Return the stage of the version, as MLflow itself has it."""
        path = f"{API}/model-versions/get?name={self.model.name}&version={self.model.version}"
        with self.kube.forwarded(MLFLOW, "mlflow", 5000) as uri:
            return str(ask(uri, "GET", path).json["model_version"]["current_stage"])

    def large_file(self) -> str:
        """Put a file beside the model, and return its path at MLflow."""
        run = self.model.run_id
        with self.kube.forwarded(MLFLOW, "mlflow", 5000) as uri:
            info = ask(uri, "GET", f"{API}/runs/get?run_id={run}").json["run"]["info"]
            path = f"/api/2.0/mlflow-artifacts/artifacts/{info['experiment_id']}/{run}/artifacts/large.bin"
            assert ask(uri, "PUT", path, os.urandom(MEBIBYTE) * (DOWNLOAD // MEBIBYTE)).status == 200
        return path


def is_ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


@pytest.fixture(scope="module")
def replicated(gated: Gated, wine: ModelRef) -> Iterator[Replicated]:  # noqa: F811  fixtures
    """Replicas in the place of the gate of one process, by the commands of the page."""
    kube, logs = gated.kube, audit_folder("gate-audit-replicas")
    volume = host_volume("gate-audit-replicas", logs)
    volume["spec"] |= {
        "storageClassName": STORAGE_CLASS,
        "claimRef": {"namespace": MLFLOW, "name": f"{GATE}-audit-replicas"},
    }
    kube.apply(volume)
    folder = gated.overlay.parent / "replicas"
    folder.mkdir()
    (component,) = blocks(INSTALL, "Several replicas", "yaml")
    own = yaml.safe_load(component.replace("../manifests/components", os.path.relpath(COMPONENTS, folder.resolve())))
    own["resources"] = [os.path.relpath(gated.overlay, folder)]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own))
    shell = Shell(kube=kube, folder=folder)
    with kube.forwarded(MLFLOW, GATE, 5000) as uri:
        assert moved(uri, wine, "None", basic("jane")).status == 200
    (log,) = [block for block in blocks(OPERATE, "Audit log") if "cat /var/log" in block]
    shell.type(log.splitlines()[0])
    switch, _ = blocks(INSTALL, "Several replicas")
    shell.type(switch.replace("<your overlay>", "."))
    yield Replicated(
        gated=gated,
        model=wine,
        shell=shell,
        logs=logs,
        service=address_of(kube),
        token={"Authorization": f"Bearer {gated.value()}"},
    )
    kube("delete", "-k", folder, "--wait=true", "--ignore-not-found")
    kube("delete", "persistentvolume", "gate-audit-replicas")


def test_page_makes_two_replicas_of_which_one_holds_the_lease(replicated: Replicated) -> None:
    pods = replicated.pods()
    leader = replicated.leader()

    assert len(pods) == 2
    assert leader in pods
    assert leader in replicated.shell.type("kubectl -n mlflow-efs get lease model-api-gate")


def test_each_replica_reads_and_a_change_that_a_follower_gets_reaches_mlflow(replicated: Replicated) -> None:
    leader = replicated.leader()
    ((follower, uri),) = [(name, uri) for name, uri in replicated.pods().items() if name != leader]

    assert [replicated.read(uri).status for uri in replicated.pods().values()] == [200, 200]
    assert replicated.move(uri, "Staging").status == 200
    assert replicated.stage() == "Staging"
    assert replicated.move(uri, "None").status == 200
    changes = [line for line in replicated.lines() if line.get("to_stage") and line["decision"] == "allow"]
    assert {(line["replica"], line["via"].partition(".")[0]) for line in changes} == {(leader, follower)}


@contextmanager
def reading(replicated: Replicated) -> Iterator[Sent]:
    """Let clients read through the Service for the length of a block."""
    with clients(lambda _: replicated.read(replicated.service)) as sent:
        yield sent


@contextmanager
def moving(replicated: Replicated) -> Iterator[Sent]:
    """Let a person move the version to and fro, through the Service, for the length of a block."""
    with clients(lambda number: replicated.move(replicated.service, STAGES[number % 2]), count=1, pause=0.2) as sent:
        yield sent


@pytest.mark.parametrize("options", [(), ("--grace-period=0", "--force")], ids=["deleted", "killed"])
@pytest.mark.timeout(600)
def test_reads_and_changes_go_on_when_the_pod_of_the_leader_is_gone(
    replicated: Replicated, options: Sequence[str]
) -> None:
    former = replicated.leader()
    with reading(replicated) as reads, moving(replicated) as moves:
        wait_for(moves, 3)
        replicated.kube("-n", MLFLOW, "delete", "pod", former, "--wait=false", *options)
        successor = replicated.leader(other_than=[former])
        wait_for(moves, 3)
        replicated.kube.rolled_out(MLFLOW, GATE)

    assert set(reads.statuses) == {200}
    assert set(moves.statuses) == {200}
    assert replicated.stage() == STAGES[(len(moves.statuses) - 1) % 2]
    assert {former, successor} <= {line["replica"] for line in replicated.lines() if line["decision"] == "begin"}


def wait_for(sent: Sent, count: int) -> None:
    """Wait until so many more requests are answered."""
    enough, deadline = len(sent.statuses) + count, time.monotonic() + 120
    while len(sent.statuses) < enough:
        assert time.monotonic() < deadline, sent.again[-3:]
        time.sleep(0.1)


@pytest.mark.timeout(600)
def test_rolling_update_cuts_no_read_and_no_download(replicated: Replicated) -> None:
    before = replicated.pods()
    with downloading(replicated, replicated.large_file()) as received, reading(replicated) as reads:
        replicated.shell.type(
            "kubectl -n mlflow-efs rollout restart deployment/model-api-gate",
            "kubectl -n mlflow-efs rollout status deployment/model-api-gate",
        )
        after = replicated.pods()

    assert before.keys().isdisjoint(after)
    assert (set(reads.statuses), reads.again) == ({200}, [])
    assert received == [DOWNLOAD]


@contextmanager
def downloading(replicated: Replicated, path: str) -> Iterator[list[int]]:
    """Download a file that takes longer than the block; the yielded list has the bytes that came after it."""
    connection, end, received = http.client.HTTPConnection(urlsplit(replicated.service).netloc), threading.Event(), []
    connection.request("GET", path, headers=replicated.token)
    answer = connection.getresponse()
    assert answer.status == 200

    def read() -> None:
        size = 0
        while chunk := answer.read(MEBIBYTE // 16):
            size += len(chunk)
            end.wait(0.1)
        received.append(size)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield received
    finally:
        assert thread.is_alive()
        end.set()
        thread.join()
        connection.close()


def test_page_joins_the_logs_of_all_replicas_that_ever_ran_with_the_log_before_them(replicated: Replicated) -> None:
    join, with_former = [block for block in blocks(OPERATE, "Audit log") if "audit join" in block]
    shell = replicated.shell
    former = (shell.folder / "audit.jsonl").read_text()
    shell.type(join, with_former)

    own, everything = (
        [json.loads(line) for line in (shell.folder / name).read_text().splitlines()]
        for name in ("replicas.jsonl", "joined.jsonl")
    )
    files = {file.stem for file in replicated.logs.glob("*.jsonl") if file.stat().st_size}
    assert len(files) > 2  # of the replicas that were the leader
    assert {line["replica"] for line in own} == files
    assert len(own) == len(replicated.lines())
    assert [line["term"] for line in own] == sorted(line["term"] for line in own)
    assert len(everything) == len(own) + len(former.splitlines())


def test_page_goes_back_to_one_process_with_its_log(replicated: Replicated) -> None:
    kube, gate = replicated.kube, replicated.gated
    before = gate.lines()
    _, back = blocks(INSTALL, "Several replicas")
    replicated.shell.type(back.replace("<your overlay>", str(gate.overlay)))

    kube.until(lambda: len(gate.pods()) == 1, seconds=120, what="one pod is left")
    assert replicated.move(replicated.service, "None").status == 200
    after = gate.lines()
    assert after[: len(before)] == before
    assert len(after) > len(before)
    left = kube("-n", MLFLOW, "get", "lease,role,rolebinding,networkpolicy,pdb", *SELECTED, "-o", "name").split()
    policies = {"mlflow-from-gate-only", GATE, f"{GATE}-issuers"}
    assert set(left) == {f"networkpolicy.networking.k8s.io/{name}" for name in policies}
