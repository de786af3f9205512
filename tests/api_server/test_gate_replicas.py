"""Several replicas of the gate, in front of a real MLflow, with the Lease of a real API server that has no node.

`tests/full/test_gate_replicas.py` kills, freezes and partitions replicas under load.
"""

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from model_contract.tokens import Purpose
from testbed.cluster import binaries
from testbed.cluster.control_plane import ControlPlane, control_plane
from testbed.cluster.machine import run
from testbed.gate import API, Answer, Json, ask
from testbed.gate_replicas import (
    MANIFESTS,
    NAME,
    PATHS,
    LeaseNamespace,
    ReplicaProcess,
    Replicas,
    lease_namespace,
    objects,
    replicas,
    value,
)
from testbed.mlflow_server import MlflowServer
from testbed.pages import blocks
from testbed.processes import PATIENCE
from tests.tracking_gate.conftest import wine_behind
from tracking_gate.cli import serve
from tracking_gate.replicas.lease import LeaseClient, LeaseError
from tracking_gate.replicas.lease_state import REPLICAS, digest
from tracking_gate.settings import LeaseName

MOVE = f"{API}/model-versions/transition-stage"
TAG = f"{API}/model-versions/set-tag"
LEASE_SECONDS = 12  # of replicas that a test harms
LIMIT = LEASE_SECONDS / 2  # of a change
CALM_SECONDS = 60  # of a Lease that no machine with other work loses


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as found:
        yield found


@pytest.fixture
def pair(mlflow_3_18: MlflowServer, plane: ControlPlane, tmp_path: Path) -> Iterator[Replicas]:
    with replicas(mlflow_3_18, plane, tmp_path, lease_seconds=LEASE_SECONDS) as found:
        wait_until_known(found)
        yield found


@pytest.fixture(scope="module")
def calm(
    mlflow_3_18: MlflowServer, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Replicas]:
    """Two replicas that no test harms."""
    with replicas(mlflow_3_18, plane, tmp_path_factory.mktemp("calm"), lease_seconds=CALM_SECONDS) as found:
        wait_until_known(found)
        yield found


def wait_until_known(found: Replicas) -> None:
    """Wait until the leader has read the key of the follower: what is forwarded before gets 503."""
    follower = found.follower()
    unknown = {"name": "unknown", "version": "1", "stage": "Staging"}
    assert changed(follower, MOVE, unknown, follower.gate.basic("jane")).status == 404


def begun(pool: ThreadPoolExecutor, to: ReplicaProcess, path: str, body: Json, who: dict[str, str]) -> Future[Answer]:
    return pool.submit(to.gate.ask, "POST", path, body, who)


def from_address(uri: str, source: str, path: str, body: Json, headers: dict[str, str]) -> int:
    """Send a request from another address of this machine, and return the status."""
    connection = http.client.HTTPConnection(urlsplit(uri).netloc, timeout=PATIENCE, source_address=(source, 0))
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"} | headers)
    status = connection.getresponse().status
    connection.close()
    return status


def changed(to: ReplicaProcess, path: str, body: Json, who: dict[str, str]) -> Answer:
    """Send a change again until it is not refused for the lack of a leader, as MLflow's clients do."""
    ends = time.monotonic() + PATIENCE
    while (answer := to.gate.ask("POST", path, body, who)).status == 503 and time.monotonic() < ends:
        assert answer.headers["Retry-After"]
        time.sleep(0.2)
    return answer


def test_follower_reads_itself_and_forwards_changes(calm: Replicas) -> None:
    leader, follower = calm.leader(), calm.follower()
    wine = wine_behind(follower.gate)
    version, jane = wine.version(), follower.gate.basic("jane")
    body = {"name": wine.name, "version": version, "stage": "Staging"}
    assert from_address(follower.gate.uri, "127.0.0.9", MOVE, body, jane) == 200
    before = len(leader.upstream.paths())
    read = follower.gate.ask("GET", f"{API}/registered-models/get?name={wine.name}", headers=jane)

    assert (read.status, len(leader.upstream.paths())) == (200, before)
    assert wine.stage(version) == "Staging"
    line = leader.gate.lines()[-1]
    assert (line["decision"], line["peer"], line["actor"]["name"]) == ("allow", "127.0.0.9", "jane")
    assert line["via"].startswith(f"{follower.name}.")
    assert (value(leader, "leader"), value(follower, "leader")) == (1, 0)
    assert value(follower, 'forwarded_changes_total{result="answered"}') > 0
    changes = [path for _, path, _ in follower.traffic.sent]
    assert {path for path in changes if "mlflow-artifacts" not in path} == set()


def test_owner_that_the_leader_changes_is_at_once_that_of_the_follower(calm: Replicas) -> None:
    leader, follower = calm.leader(), calm.follower()
    wine = wine_behind(leader.gate)
    read, pull = f"{API}/registered-models/get?name={wine.name}", follower.gate.bearer(Purpose.PULL)
    assert follower.gate.ask("GET", read, headers=pull).status == 200
    body = {"name": wine.name, "key": "mlflow.domino.project_id", "value": "wine-team-2"}
    assert leader.gate.ask("POST", f"{API}/registered-models/set-tag", body, leader.gate.basic("root")).status == 200

    assert follower.gate.ask("GET", read, headers=pull).status == 403


def test_files_are_protected_at_each_replica_after_a_promotion_by_the_leader(calm: Replicas) -> None:
    leader, follower = calm.leader(), calm.follower()
    wine = wine_behind(follower.gate)
    version, file = wine.version(), f"{wine.directory}/model/MLmodel"
    jane = follower.gate.basic("jane")
    assert wine.put(file, b"before", jane).status == 200
    body = {"name": wine.name, "version": version, "stage": "Staging"}
    assert leader.gate.ask("POST", MOVE, body, jane).status == 200

    assert wine.put(file, b"changed", jane).status == 409


def test_client_cannot_pretend_to_be_a_replica(calm: Replicas) -> None:
    leader = calm.leader()
    body = {"name": "wine", "version": "1", "stage": "Staging"}
    identity = next(iter(json.loads(calm.namespace.lease()["metadata"]["annotations"][REPLICAS])))
    for proof in (f"{identity}:", f"{identity}:guessed", "nobody:guessed", ":", ""):
        headers = leader.gate.basic("jane") | {"X-Gate-Replica": proof, "X-Gate-Client": "10.0.0.1"}
        answer = leader.gate.ask("POST", MOVE, body, headers)
        assert answer.status in {403, 503}, proof
        time.sleep(1.1)  # an unknown replica may have registered a moment ago: the Lease is read once a second


def test_request_is_forwarded_once_at_most(calm: Replicas) -> None:
    """A replica that the test registers sends a change to the follower, as a replica with an old view may."""
    follower = calm.follower()
    entry = {"address": "http://127.0.0.1:9", "key": digest("known"), "registered": "2999-01-01T00:00:00.000000Z"}
    known = json.loads(calm.namespace.lease()["metadata"]["annotations"][REPLICAS]) | {"test.1": entry}
    patch = {"metadata": {"annotations": {REPLICAS: json.dumps(known)}}}
    calm.namespace.plane.client.patch(
        calm.namespace.path, json=patch, headers={"Content-Type": "application/merge-patch+json"}
    ).raise_for_status()
    time.sleep(1.1)  # as above
    headers = follower.gate.basic("jane") | {"X-Gate-Replica": "test.1:known", "X-Gate-Client": "10.0.0.1"}
    body = {"name": "wine", "version": "1", "stage": "Staging"}
    answer = follower.gate.ask("POST", MOVE, body, headers)

    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "no replica of the gate makes changes" in answer.message
    # The holder decides by the credential of the request itself.
    assert calm.leader().gate.ask("POST", MOVE, body, headers | {"Authorization": "Bearer x"}).status == 401
    assert calm.leader().gate.ask("POST", MOVE, body, headers).status == 404


@pytest.mark.parametrize("made", [False, True], ids=["before MLflow has it", "after MLflow has made it"])
def test_move_of_a_replica_that_is_killed_is_recorded_by_its_successor(pair: Replicas, made: bool) -> None:
    leader, follower = pair.leader(), pair.follower()
    wine = wine_behind(leader.gate)
    version, jane = wine.version(), leader.gate.basic("jane")
    leader.traffic.after, leader.traffic.held = made, "transition-stage"
    body = {"name": wine.name, "version": version, "stage": "Staging"}
    with ThreadPoolExecutor(1) as pool:
        lost = begun(pool, follower, MOVE, body, jane)
        assert leader.traffic.arrived.wait(PATIENCE)
        leader.gate.process.kill()
        answer = lost.result(PATIENCE)
    pair.leader(other_than=leader)
    if made:
        leader.traffic.go.set()

    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    [recovered] = [line for line in follower.gate.lines() if line["decision"] == "recovered"]
    [move] = [line for line in leader.gate.lines() if line["decision"] == "begin"]
    assert (recovered["request_id"], recovered["took_effect"]) == (move["request_id"], made)
    assert recovered["stage_now"] == ("Staging" if made else "None")
    assert recovered["term"] > move["term"]
    assert changed(follower, MOVE, body, jane).status == 200
    moves = [path for one in pair.all for _, path, _ in one.traffic.sent if "transition-stage" in path]
    assert len(moves) == (1 if made else 2)  # the retry of a move that was made is none
    leader.traffic.go.set()  # not before: MLflow gets no request of a client that is gone


@pytest.mark.parametrize("kind", ["tag", "move"])
def test_replica_that_was_frozen_past_its_lease_makes_no_change(pair: Replicas, kind: str) -> None:
    """Between its decision and its change another replica has taken over, and has changed the same object.

    The move came by that other replica, which does not wait so long: the record is whole without a client.
    """
    leader, follower = pair.leader(), pair.follower()
    wine = wine_behind(leader.gate)
    versions, jane = [wine.version(), wine.version()], leader.gate.basic("jane")
    promote = leader.gate.bearer(Purpose.PROMOTE)
    for version in versions:
        assert wine.move(version, "Staging", jane).status == 200
    moves = [
        {"name": wine.name, "version": version, "stage": "Production", "archive_existing_versions": True}
        for version in versions
    ]
    tags = [{"name": wine.name, "version": versions[0], "key": "note", "value": value} for value in ("old", "new")]
    path, who, (stale, fresh) = (MOVE, promote, moves) if kind == "move" else (TAG, jane, tags)
    leader.traffic.held = "model-versions/search" if kind == "move" else "model-versions/get"
    with ThreadPoolExecutor(1) as pool:
        late = begun(pool, follower if kind == "move" else leader, path, stale, who)
        assert leader.traffic.arrived.wait(PATIENCE)
        leader.freeze()
        leader.traffic.held = "\0"
        leader.traffic.go.set()
        pair.leader(other_than=leader)
        sent = len(leader.traffic.sent)
        assert changed(follower, path, fresh, who).status == 200
        leader.thaw()
        answer = late.result(PATIENCE)

    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert leader.traffic.sent[sent:] == []
    if kind == "move":
        assert [wine.stage(version) for version in versions] == ["Staging", "Production"]
        ends = time.monotonic() + PATIENCE
        while (ended := leader.gate.lines()[-1])["decision"] == "begin" and time.monotonic() < ends:
            time.sleep(0.1)
        assert (ended["decision"], ended["op"], ended["version"]) == ("deny", "transition_stage", versions[0])
    else:
        assert {"key": "note", "value": "new"} in wine.raw(versions[0])["tags"]
    # It has seen by now that another one holds the Lease.
    assert changed(leader, path, fresh, who).status == 200
    assert leader.traffic.sent[sent:] == []


def test_successor_waits_for_a_change_that_mlflow_still_makes(pair: Replicas) -> None:
    """The holder is killed, and MLflow gets its last change after the Lease has ended."""
    leader, follower = pair.leader(), pair.follower()
    wine = wine_behind(leader.gate)
    versions, jane = [wine.version(), wine.version()], leader.gate.basic("jane")
    promote = leader.gate.bearer(Purpose.PROMOTE)
    for version in versions:
        assert wine.move(version, "Staging", jane).status == 200
    leader.traffic.held = "transition-stage"
    first, second = (
        {"name": wine.name, "version": version, "stage": "Production", "archive_existing_versions": True}
        for version in versions
    )
    with ThreadPoolExecutor(2) as pool:
        begun(pool, leader, MOVE, first, promote)
        assert leader.traffic.arrived.wait(PATIENCE)
        leader.freeze()
        retried = pool.submit(changed, follower, MOVE, second | {"archive_existing_versions": False}, promote)
        ends = time.monotonic() + PATIENCE
        while pair.holder() is not follower and time.monotonic() < ends:
            time.sleep(0.02)
        time.sleep(LIMIT / 3)
        leader.traffic.go.set()
        answer = retried.result(PATIENCE)
        leader.thaw()

    # The successor has seen the late move: what it did came after that.
    assert answer.status == 200
    recovered = [line for line in follower.gate.lines() if line["decision"] == "recovered"]
    assert [line["took_effect"] for line in recovered] == [True]
    [line] = [one for one in follower.gate.lines() if one["decision"] == "begin"]
    assert line["seq"] > recovered[0]["seq"]


def test_replica_without_the_api_server_reads_and_lets_another_make_changes(pair: Replicas) -> None:
    leader, follower = pair.leader(), pair.follower()
    wine = wine_behind(leader.gate)
    version, jane = wine.version(), leader.gate.basic("jane")
    leader.api.passes.clear()
    assert pair.leader(other_than=leader) is follower
    read = leader.gate.ask("GET", f"{API}/registered-models/get?name={wine.name}", headers=jane)
    refused = wine.move(version, "Staging", jane)
    errors = value(leader, "lease_errors_total")
    moved = changed(follower, MOVE, {"name": wine.name, "version": version, "stage": "Staging"}, jane)
    leader.api.passes.set()

    assert (read.status, refused.status, refused.headers["Retry-After"], moved.status) == (200, 503, "5", 200)
    assert errors > 0
    assert ask(leader.gate.uri, "GET", "/readyz").status == 200
    assert changed(leader, MOVE, {"name": wine.name, "version": version, "stage": "None"}, jane).status == 200
    assert [path for _, path, _ in follower.traffic.sent if "transition-stage" in path][-1:] == [MOVE]


def test_replica_that_stops_hands_over_without_a_failed_read(
    mlflow_3_18: MlflowServer, plane: ControlPlane, tmp_path: Path
) -> None:
    """An update: the holder gets SIGTERM; its successor need not wait for the Lease to end."""
    with replicas(mlflow_3_18, plane, tmp_path, lease_seconds=CALM_SECONDS) as pair:
        wait_until_known(pair)
        leader, follower = pair.leader(), pair.follower()
        wine = wine_behind(leader.gate)
        version, jane = wine.version(), leader.gate.basic("jane")
        statuses: list[int] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                path = f"{API}/registered-models/get?name={wine.name}"
                statuses.append(follower.gate.ask("GET", path, headers=jane).status)

        thread = threading.Thread(target=read)
        thread.start()
        begin = time.monotonic()
        leader.gate.process.popen.send_signal(signal.SIGTERM)
        moved = changed(follower, MOVE, {"name": wine.name, "version": version, "stage": "Staging"}, jane)
        seconds = time.monotonic() - begin
        code = leader.gate.process.popen.wait(PATIENCE)
        stop.set()
        thread.join()

        assert (moved.status, code, set(statuses)) == (200, 0, {200})
        assert seconds < CALM_SECONDS
        assert wine.stage(version) == "Staging"


def test_gate_without_a_lease_loads_no_part_of_the_replicas() -> None:
    script = "import sys, tracking_gate.server; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert "tracking_gate.gate.handler" in loaded
    assert not [name for name in loaded if name.startswith("tracking_gate.replicas")]


def rights(place: LeaseNamespace, account: str) -> set[tuple[str, str, str]]:
    """Return resource, name and verb of each right of a service account in the namespace of the gate."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": place.name},
    }
    headers = {
        "Impersonate-User": f"system:serviceaccount:{place.name}:{account}",
        "Impersonate-Group": "system:serviceaccounts",
    }
    answer = place.plane.client.post(
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", json=review, headers=headers
    )
    return {
        (resource, name, verb)
        for rule in answer.raise_for_status().json()["status"]["resourceRules"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", ["*"])
        for verb in rule["verbs"]
    }


def test_gate_may_get_and_update_its_lease_and_nothing_else(plane: ControlPlane, tmp_path: Path) -> None:
    place = lease_namespace(plane, tmp_path)

    assert rights(place, NAME) - rights(place, "nobody") == {("leases", NAME, verb) for verb in ("get", "update")}


@pytest.mark.parametrize("verb", ["get", "update"])
def test_each_right_on_the_lease_is_needed(plane: ControlPlane, tmp_path: Path, verb: str) -> None:
    place = lease_namespace(plane, tmp_path)
    role = f"{PATHS['Role'].format(place.name)}/{NAME}-replicas"
    patch = [{"op": "replace", "path": "/rules/0/verbs", "value": [one for one in ("get", "update") if one != verb]}]
    headers = {"Content-Type": "application/json-patch+json"}
    plane.client.patch(role, json=patch, headers=headers).raise_for_status()

    async def use() -> None:
        name = LeaseName(namespace=place.name, name=NAME)
        async with LeaseClient(str(plane.client.base_url), place.account, name, seconds=20) as lease:
            found = await (lease.read() if verb == "get" else lease.replace(place.lease()))
            assert found["metadata"]["name"] == NAME

    wait_until_forbidden = time.monotonic() + PATIENCE  # the API server's own view of a Role follows the change
    while time.monotonic() < wait_until_forbidden:
        try:
            asyncio.run(use())
        except LeaseError as error:
            assert str(error) == f"the API server answers 403 about the Lease {place.name}/{NAME}"
            return
        time.sleep(0.2)
    pytest.fail(f"the right to {verb} the Lease is not needed")


@pytest.mark.parametrize("overlay", ["gate", "production-gate"])
def test_component_makes_replicas_of_which_one_is_always_there(tmp_path: Path, overlay: str) -> None:
    built = {(one["kind"], one["metadata"]["name"]): one for one in objects(tmp_path, overlay)}
    deployment = built["Deployment", NAME]["spec"]
    pod = deployment["template"]["spec"]
    [container] = pod["containers"]
    settings = next(one["data"] for (kind, name), one in built.items() if name.startswith(f"{NAME}-settings-"))
    variables = {one["name"]: one for one in container["env"]}
    [audit] = [one for one in pod["volumes"] if one["name"] == "audit"]
    claim = built["PersistentVolumeClaim", audit["persistentVolumeClaim"]["claimName"]]["spec"]

    assert deployment["replicas"] == 2
    assert deployment["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert settings["MODEL_API_GATE_SERVE_LEASE"] == f"mlflow-efs/{NAME}"
    assert built["Lease", NAME]["metadata"]["namespace"] == "mlflow-efs"
    assert claim["accessModes"] == ["ReadWriteMany"]
    assert {parameter.name for parameter in serve.params} >= {
        name.removeprefix("MODEL_API_GATE_SERVE_").lower() for name in settings.keys() | variables.keys()
    }
    file = variables["MODEL_API_GATE_SERVE_AUDIT_LOG"]["value"]
    mounted = next(one["mountPath"] for one in container["volumeMounts"] if one["name"] == "audit")
    assert file == f"{mounted}/$(MODEL_API_GATE_SERVE_REPLICA).jsonl"
    # Before the stop, a change and the Lease, downloads, changes whose clients have hung up.
    stop = 5 + 10 + float(settings["MODEL_API_GATE_SERVE_SHUTDOWN_SECONDS"]) + 5
    assert pod["terminationGracePeriodSeconds"] >= stop
    policy = built["NetworkPolicy", f"{NAME}-replicas"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    for rule in (policy["ingress"][0]["from"], policy["egress"][0]["to"]):
        assert rule[0]["podSelector"]["matchLabels"].items() <= labels.items()
    assert built["PodDisruptionBudget", NAME]["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_overlay_of_the_page_is_one_and_sets_the_storage_class(tmp_path: Path) -> None:
    (lines,) = blocks("install-gate", "Several replicas", "yaml")
    manifests = os.path.relpath(MANIFESTS, tmp_path.resolve())
    text = f"resources: [{manifests}/overlays/gate]\n{lines.replace('../manifests', manifests)}"
    (tmp_path / "kustomization.yaml").write_text(text)
    built = yaml.safe_load_all(run(binaries.build() / "kubectl", "kustomize", tmp_path))
    claims = {one["metadata"]["name"]: one["spec"] for one in built if one["kind"] == "PersistentVolumeClaim"}

    assert claims[f"{NAME}-audit-replicas"]["storageClassName"] == "efs"


def test_page_stops_the_one_process_before_the_replicas_start() -> None:
    """The one process knows nothing of a Lease, and a rolling update would let both run."""
    page = (MANIFESTS.parent / "docs" / "how-to" / "install-gate.md").read_text()
    part = page.partition("## Several replicas")[2].partition("\n## ")[0]

    assert part.index("--replicas=0") < part.index("wait --for=delete") < part.index("apply -k")
