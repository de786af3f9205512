"""`sync` on a real MLflow behind a real gate: a shared store in step with Staging and Production of two projects."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ModelRef
from model_contract.secret import Secret
from model_contract.tokens import Purpose
from model_contract.tracking_credentials import bearer
from model_delivery.deadline import Deadline, Limits
from model_delivery.download import FetchResult
from model_delivery.errors import NotAuthorisedError
from model_delivery.fetch import FetchRequest, fetch
from model_delivery.manifest import Manifest
from model_delivery.retention import MARK, REMOVED, StoredModel, remove_unfinished
from model_delivery.settings import Upstream
from model_delivery.sync import Project, SyncRequest, sync
from model_delivery.tracking_uri import parse_tracking_uri
from model_delivery.workloads import Workloads
from testbed.delivery import COMMAND, MODULES, QUICKLY, Delivery
from testbed.faults import first, only
from testbed.gate import API, OTHER, PROJECT, Gate, Json, ask, gate
from testbed.http_server import in_thread
from testbed.mlflow_server import MlflowServer, mlflow_server
from testbed.processes import PATIENCE, completed
from testbed.registered import files_below
from testbed.reverse_proxy import Exchange, reverse_proxy
from tests.model_delivery.test_store import no_locks

OWNER = "jane.doe"
PEOPLE = {PROJECT: "jane", OTHER: "olga"}
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """Results of a run: exit code, its summary, and both outputs."""

    code: int
    summary: Json
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A store, the tokens of projects, and the gate that they are for."""

    directory: Path
    gate: Gate

    @property
    def store(self) -> Path:
        return self.directory / "store"

    @property
    def tokens(self) -> Path:
        return self.directory / "tokens"

    def give(self, project: str, text: str | None = None) -> None:
        """Put a project's pull token, or another text, where `sync` looks for it."""
        (self.tokens / project).write_text(text if text is not None else self.gate.token(Purpose.PULL, project))

    def start(self, *options: str, uri: str = "") -> "subprocess.Popen[str]":
        command, environment = self._command(options), self._environment(uri)
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def sync(self, *options: str, uri: str = "", before: tuple[str, ...] = ()) -> Synced:
        command, imported = [*before, *self._command(options)], () if before else MODULES
        done = completed(command, env=self._environment(uri), imported=imported)
        return synced(done.returncode, done.stdout, done.stderr)

    def _command(self, options: tuple[str, ...]) -> list[str]:
        command = [*COMMAND, "sync", f"--store={self.store}", f"--tokens={self.tokens}", f"--owner={OWNER}"]
        return [*command, *QUICKLY, f"--termination-log={self.directory / 'none'}", *options]

    def _environment(self, uri: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE")}
        return kept | {"MLFLOW_TRACKING_URI": uri or self.gate.uri}

    def verify(self, ref: ModelRef, project: str) -> int:
        environment = {"MODEL_API_PROJECT_ID": project}
        return Delivery(directory=self.directory, uri=self.gate.uri, environment=environment).verify(ref).code

    def place(self, ref: ModelRef) -> Path:
        return self.store / ref.owner / ref.run_id

    def hidden(self) -> list[str]:
        return sorted(path.name for path in self.store.glob(".*"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A registered model of a project."""

    gate: Gate
    project: str
    name: str

    def version(self, *, kibibytes: int = 1) -> ModelRef:
        """Register one more version, of a run of its own."""
        who = self.gate.basic(PEOPLE[self.project])
        experiment = _ok(self.gate, "POST", "experiments/create", {"name": f"{self.name}-{os.urandom(4).hex()}"}, who)
        run = {"experiment_id": experiment["experiment_id"], "start_time": 1}
        run_id = _ok(self.gate, "POST", "runs/create", run, who)["run"]["info"]["run_id"]
        place = f"/api/2.0/mlflow-artifacts/artifacts/{experiment['experiment_id']}/{run_id}/artifacts/model"
        for name, content in {"MLmodel": b"flavors: {}\n", "weights.bin": os.urandom(1024 * kibibytes)}.items():
            assert self.gate.ask("PUT", f"{place}/{name}", content, who).status == 200
        body = {"name": self.name, "source": f"runs:/{run_id}/model", "run_id": run_id}
        made = _ok(self.gate, "POST", "model-versions/create", body, who)["model_version"]
        return ModelRef(name=self.name, version=str(made["version"]), owner=OWNER, run_id=run_id)

    def move(self, ref: ModelRef, stage: str) -> None:
        """Move a version past the gate, as an admin could."""
        _ok(self.gate, "POST", "model-versions/transition-stage", _version(ref) | {"stage": stage})

    def alias(self, ref: ModelRef, alias: str) -> None:
        _ok(self.gate, "POST", "registered-models/alias", _version(ref) | {"alias": alias})

    def staged(self, **options: int) -> ModelRef:
        ref = self.version(**options)
        self.move(ref, "Staging")
        return ref


def _version(ref: ModelRef) -> Json:
    return {"name": ref.name, "version": ref.version}


def _ok(found: Gate, method: str, path: str, body: Json, who: Mapping[str, str] | None = None) -> Json:
    answer = ask(found.uri if who else found.server.uri, method, f"{API}/{path}", body, who)
    assert answer.status == 200, answer.body
    return answer.json


def ended(process: "subprocess.Popen[str]") -> Synced:
    output, errors = process.communicate(timeout=PATIENCE)
    return synced(process.returncode, output, errors)


def synced(code: int, output: str, errors: str) -> Synced:
    return Synced(code=code, summary=json.loads(output) if output else {}, output=output + errors)


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate before an MLflow of its own: another test's models of these projects would be fetched too."""
    directory = tmp_path_factory.mktemp("synced")
    with mlflow_server("3.17", directory / "mlflow") as server, gate(server, directory, "--attempts=100000") as found:
        yield found


@pytest.fixture
def shared(tmp_path: Path, gated: Gate) -> Shared:
    """An empty store, and the token of one project."""
    found = Shared(directory=tmp_path, gate=gated)
    found.store.mkdir()
    found.tokens.mkdir()
    found.give(PROJECT)
    return found


def owned(found: Gate, project: str, prefix: str = "synced") -> Owned:
    name = f"{prefix}-{os.urandom(4).hex()}"
    _ok(found, "POST", "registered-models/create", {"name": name}, found.basic(PEOPLE[project]))
    return Owned(gate=found, project=project, name=name)


@pytest.fixture
def wine(gated: Gate) -> Iterator[Owned]:
    """A new model of the first project; nothing of it stays promoted, so that tests do not see each other's."""
    yield from _alone(gated, PROJECT)


@pytest.fixture
def tea(gated: Gate) -> Iterator[Owned]:
    """The same of the second project."""
    yield from _alone(gated, OTHER)


@pytest.fixture
def odd(gated: Gate) -> Iterator[Owned]:
    """The same with a name that no filter can hold."""
    yield from _alone(gated, PROJECT, 'Jane\'s 100% "wine"')


def _alone(found: Gate, project: str, prefix: str = "synced") -> Iterator[Owned]:
    made = owned(found, project, prefix)
    yield made
    assert ask(found.server.uri, "DELETE", f"{API}/registered-models/delete", {"name": made.name}).status == 200


def test_store_gets_what_is_promoted_by_stage_or_alias_of_each_project(shared: Shared, wine: Owned, tea: Owned) -> None:
    staged, in_production, aliased, neither = wine.staged(), wine.version(), wine.version(), wine.version()
    wine.move(in_production, "Production")
    wine.alias(aliased, "production")
    other = tea.staged()
    shared.give(OTHER)
    done = shared.sync()
    before = unchanged(shared.store)
    again = shared.sync()

    assert done.code == ExitCode.DONE, done.output
    assert done.summary["promoted"] == done.summary["fetched"] == 4
    for ref in (staged, in_production, aliased):
        assert (shared.verify(ref, PROJECT), shared.verify(ref, OTHER)) == (ExitCode.DONE, ExitCode.PRECONDITION)
    assert (shared.verify(other, OTHER), shared.verify(other, PROJECT)) == (ExitCode.DONE, ExitCode.PRECONDITION)
    assert not shared.place(neither).exists()
    assert (again.summary["present"], again.summary["fetched"]) == (4, 0)
    assert unchanged(shared.store) == before, "a model that is there is not touched"


def test_model_whose_name_no_filter_can_hold_is_brought_beside_the_others(
    shared: Shared, wine: Owned, odd: Owned
) -> None:
    neither, staged, in_production, other = odd.version(), odd.staged(), odd.version(), wine.staged()
    odd.move(in_production, "Production")
    _ok(shared.gate, "DELETE", "model-versions/delete", _version(neither))
    done = shared.sync()

    assert (done.code, done.summary["fetched"]) == (ExitCode.DONE, 3), done.output
    assert {shared.verify(ref, PROJECT) for ref in (staged, in_production, other)} == {ExitCode.DONE}


def age_marks(shared: Shared) -> None:
    """Let each mark say that its model has not been promoted for a minute."""
    for mark in shared.store.glob(f"*/*/{MARK}"):
        mark.write_text((datetime.now(UTC) - timedelta(minutes=1)).isoformat())


def unchanged(store: Path) -> dict[Path, tuple[int, int]]:
    """Return what differs for a path that was written, or replaced by another of the same content."""
    return {path: (path.stat().st_ino, path.stat().st_ctime_ns) for path in store.rglob("*")}


def test_store_loses_what_is_promoted_no_more_after_the_grace(shared: Shared, wine: Owned) -> None:
    kept, leaving, back = wine.staged(), wine.staged(), wine.staged()
    shared.sync()
    for ref in (leaving, back):
        wine.move(ref, "Archived")
    waiting = shared.sync("--grace=1d")
    wine.move(back, "Production")
    returned = shared.sync("--grace=1d")
    age_marks(shared)
    done = shared.sync("--grace=1s")

    assert waiting.summary["waiting"] == 2, waiting.output
    assert returned.summary["waiting"] == 1
    assert not (shared.place(back) / MARK).exists()
    assert (done.code, done.summary["removed"]) == (ExitCode.DONE, 1), done.output
    assert not shared.place(leaving).exists()
    assert shared.verify(kept, PROJECT) == shared.verify(back, PROJECT) == ExitCode.DONE
    assert shared.hidden() == []


def test_model_that_cannot_be_marked_keeps_no_other_from_it(shared: Shared, wine: Owned) -> None:
    refs = [wine.staged() for _ in range(2)]
    shared.sync()
    for ref in refs:
        wine.move(ref, "Archived")
    first, second = sorted(map(shared.place, refs))
    (first / f"{MARK}.new").mkdir()
    done = shared.sync()

    assert (done.code, done.summary["waiting"]) == (ExitCode.INVALID_INPUT, 1), done.output
    assert "is not marked or removed" in done.output
    assert not (first / MARK).exists()
    assert (second / MARK).exists()


def test_model_that_another_sync_removes_meanwhile_is_no_failure(tmp_path: Path) -> None:
    gone = StoredModel(store=tmp_path, place="jane.doe/5f0c", manifest=Manifest(models=(), source="", files=()))
    now = datetime.now(UTC)

    assert gone.mark(now) == now
    gone.unmark()
    gone.remove()
    assert list(tmp_path.iterdir()) == []


def test_removed_model_whose_files_nfs_keeps_is_out_of_the_store_and_deleted_by_the_next_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS renames a file that a pod of this node has open, and its directory cannot be removed before the pod ends."""

    def busy(path: Path) -> None:
        raise OSError(errno.ENOTEMPTY, "Directory not empty", str(path))

    model = StoredModel(store=tmp_path, place="jane.doe/5f0c", manifest=Manifest(models=(), source="", files=()))
    model.directory.mkdir(parents=True)
    with monkeypatch.context() as nfs:
        nfs.setattr(shutil, "rmtree", busy)
        model.remove()

    assert not model.directory.exists()
    assert [path.name.startswith(REMOVED) for path in tmp_path.glob(".*")] == [True]
    remove_unfinished(tmp_path)
    assert list(tmp_path.glob(".*")) == []


def test_what_is_not_of_its_projects_is_not_touched(shared: Shared, wine: Owned, tea: Owned) -> None:
    own, other = wine.staged(), tea.staged()
    shared.give(OTHER)
    shared.sync()
    (shared.tokens / OTHER).unlink()
    by_hand = shared.store / "by-hand" / "a1"
    shutil.copytree(shared.place(own), by_hand)
    manifest = json.loads((by_hand / "manifest.json").read_text()) | {"owner": "by-hand", "run_id": "a1"}
    del manifest["project"]
    (by_hand / "manifest.json").write_text(json.dumps(manifest))
    (shared.store / "lost+found").mkdir(mode=0o000)
    (shared.store / "notes.txt").write_text("of a person")
    (shared.store / "jane.doe" / "no-model").mkdir()
    (shared.store / "jane.doe" / "link").symlink_to(by_hand)
    wine.move(own, "Archived")
    tea.move(other, "Archived")
    shared.sync()
    age_marks(shared)
    foreign = {path for path in shared.store.rglob("*") if not path.is_relative_to(shared.place(own))}
    done = shared.sync("--grace=1s")

    assert (done.code, done.summary["removed"]) == (ExitCode.DONE, 1), done.output
    assert set(shared.store.rglob("*")) == foreign
    assert not (shared.place(other) / MARK).exists()


def test_nothing_is_removed_if_mlflow_or_the_token_is_away(shared: Shared, wine: Owned, tea: Owned) -> None:
    own, other = wine.staged(), tea.staged()
    shared.give(OTHER)
    shared.sync()
    wine.move(own, "Archived")
    tea.move(other, "Archived")
    shared.sync()
    age_marks(shared)
    before = files_below(shared.store)
    away = shared.sync("--grace=1s", uri="http://127.0.0.1:9")
    gone = files_below(shared.store)
    shared.give(OTHER, "dmg1_r_revoked")
    shared.give(PROJECT, "")
    empty = shared.sync("--grace=1s")
    shared.give(PROJECT)
    revoked = shared.sync("--grace=1s")

    assert (away.code, away.summary["unread"]) == (ExitCode.UNAVAILABLE, sorted([PROJECT, OTHER])), away.output
    assert gone == before
    assert (empty.code, empty.summary["removed"]) == (ExitCode.PARTIAL, 0), empty.output
    assert (revoked.code, revoked.summary["unread"], revoked.summary["removed"]) == (ExitCode.PARTIAL, [OTHER], 1)
    assert "dmg1_r_revoked" not in revoked.output
    assert shared.verify(other, OTHER) == ExitCode.DONE


def test_version_that_goes_between_listing_and_fetch_is_no_failure(shared: Shared, wine: Owned) -> None:
    stays, goes = wine.staged(), wine.staged()

    def delete(_: Exchange) -> bool:
        assert ask(wine.gate.server.uri, "DELETE", f"{API}/model-versions/delete", _version(goes)).status == 200
        return False

    with reverse_proxy(wine.gate.uri, only(f"get?name={wine.name}&version={goes.version}", first(1, delete))) as proxy:
        done = shared.sync(uri=proxy.uri)

    assert (done.code, done.summary["moved"], done.summary["fetched"]) == (ExitCode.DONE, 1, 1), done.output
    assert shared.verify(stays, PROJECT) == ExitCode.DONE


def test_version_that_comes_back_after_the_listing_stays(shared: Shared, wine: Owned) -> None:
    ref = wine.staged()
    shared.sync()
    wine.move(ref, "Archived")
    shared.sync()
    age_marks(shared)
    listings: list[str] = []

    def promote(exchange: Exchange) -> bool:
        listings.append(exchange.path)
        if len(listings) == 2:
            wine.move(ref, "Production")
        return False

    with reverse_proxy(wine.gate.uri, only("registered-models/search", promote)) as proxy:
        done = shared.sync("--grace=1s", uri=proxy.uri)

    assert (done.code, done.summary["removed"]) == (ExitCode.DONE, 0), done.output
    assert shared.verify(ref, PROJECT) == ExitCode.DONE


def test_two_at_once_fetch_each_model_once(shared: Shared, wine: Owned) -> None:
    refs = [wine.staged(kibibytes=2048) for _ in range(3)]
    running = [shared.start() for _ in range(2)]
    done = [ended(process) for process in running]

    assert [one.code for one in done] == [ExitCode.DONE] * 2, [one.output for one in done]
    assert sum(one.summary["fetched"] for one in done) == len(refs)
    assert all(shared.verify(ref, PROJECT) == ExitCode.DONE for ref in refs)
    assert shared.hidden() == []


def test_killed_at_any_moment_it_shows_no_part_and_the_next_run_ends(shared: Shared, wine: Owned) -> None:
    refs = [wine.staged(kibibytes=4096) for _ in range(3)]
    moments = 0
    for requests in (1, 4, 8, 12):
        with reverse_proxy(wine.gate.uri, only("artifacts/", slow)) as proxy:
            process = shared.start(uri=proxy.uri)
            while len(proxy.paths()) < requests and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            ended(process)
        moments += process.returncode == -signal.SIGKILL
        for ref in refs:
            assert not shared.place(ref).exists() or shared.verify(ref, PROJECT) == ExitCode.DONE
    (shared.store / f"{REMOVED}dead" / "artifacts").mkdir(parents=True)
    done = shared.sync()

    assert moments >= 3
    assert done.code == ExitCode.DONE, done.output
    assert all(shared.verify(ref, PROJECT) == ExitCode.DONE for ref in refs)
    assert shared.hidden() == []


def test_model_that_another_run_brought_first_is_not_replaced_without_locks(
    shared: Shared, wine: Owned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", no_locks)
    request = FetchRequest(model=wine.staged(), store=shared.store, project=PROJECT)

    def fetched_from(uri: str) -> FetchResult:
        return fetch(request, Upstream.from_environment({"MLFLOW_TRACKING_URI": uri}))

    def overtake(_: Exchange) -> bool:
        fetched_from(wine.gate.server.uri)
        return False

    with reverse_proxy(wine.gate.server.uri, only("weights.bin", first(1, overtake))) as proxy:
        late = fetched_from(proxy.uri)

    assert not late.fetched
    assert shared.hidden() == []


def slow(_: Exchange) -> bool:
    time.sleep(0.1)
    return False


def test_model_without_room_is_one_failure_and_leaves_nothing(shared: Shared, wine: Owned) -> None:
    small, large = wine.staged(), wine.staged(kibibytes=2048)
    done = shared.sync(before=("prlimit", f"--fsize={MIB}"))
    alone = shared.sync("--max-bytes=100", "--grace=1d")

    assert (done.code, done.summary["failed"], done.summary["fetched"]) == (ExitCode.PARTIAL, 1, 1), done.output
    assert "no space left" in done.output
    assert shared.verify(small, PROJECT) == ExitCode.DONE
    assert not shared.place(large).exists()
    assert alone.code == ExitCode.PARTIAL
    assert shared.hidden() == []


def test_wrong_settings_end_with_their_name(shared: Shared) -> None:
    shared.give("Not_A_Project", "x")
    project = shared.sync()
    (shared.tokens / "Not_A_Project").unlink()
    grace, outside = shared.sync("--grace=0d"), shared.sync("--keep-used")

    assert [one.code for one in (project, grace, outside)] == [ExitCode.INVALID_INPUT] * 3
    assert "a file of --tokens" in project.output
    assert "--grace" in grace.output
    assert "KUBERNETES_SERVICE_HOST" in outside.output


def test_named_projects_are_read_with_the_credential_of_the_environment(
    tmp_path: Path, mlflow_2_22: MlflowServer
) -> None:
    """MLflow 2 without a gate, as an installation without tokens has it."""
    script = tmp_path / "register.py"
    script.write_text(REGISTER)
    run_id = mlflow_2_22.run(script, PROJECT).strip().splitlines()[-1]
    ref = ModelRef(name="synced-2", version="1", owner=OWNER, run_id=run_id)
    (tmp_path / "store").mkdir()
    environment = {"PATH": os.environ["PATH"], "MLFLOW_TRACKING_URI": mlflow_2_22.uri}
    command = [*COMMAND, "sync", f"--store={tmp_path / 'store'}", f"--project={PROJECT}", f"--owner={OWNER}"]
    done = ended(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))

    assert (done.code, done.summary["fetched"]) == (ExitCode.DONE, 1), done.output
    assert (tmp_path / "store" / ref.owner / ref.run_id / "artifacts" / "model" / "MLmodel").exists()


REGISTER = """
import pathlib, sys, tempfile, mlflow
client = mlflow.MlflowClient()
run_id = client.create_run(client.create_experiment("synced-2")).info.run_id
with tempfile.TemporaryDirectory() as directory:
    (pathlib.Path(directory) / "MLmodel").write_text("flavors: {}")
    client.log_artifacts(run_id, directory, "model")
client.create_registered_model("synced-2", tags={"mlflow.domino.project_id": sys.argv[1]})
client.create_model_version("synced-2", f"runs:/{run_id}/model", run_id)
client.set_registered_model_alias("synced-2", "staging", "1")
print(run_id)
"""


class Api(BaseHTTPRequestHandler):
    """Lists as the Kubernetes API answers them, in pieces that cut a run id in two."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = (
            (b'{"items": [{"spec": "mlflow/jane/' + b"a" * 32 + b'"}]}') if "/pods" in self.path else b'{"items": []}'
        )
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (body[:40], body[40:], b""):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_nothing_is_removed_if_the_workloads_cannot_be_read(shared: Shared, wine: Owned) -> None:
    ref = wine.staged()
    shared.sync()
    wine.move(ref, "Archived")
    shared.sync()
    age_marks(shared)

    def refused(_: object) -> set[str]:
        raise NotAuthorisedError("forbidden")

    upstream = Upstream.from_environment({"MLFLOW_TRACKING_URI": wine.gate.server.uri})
    request = SyncRequest(store=shared.store, grace=timedelta(seconds=1), used=refused)
    project = Project(id=PROJECT, upstream=upstream)
    unread = sync(request, [project])
    used = sync(replace(request, used=set), [project])

    assert (unread.removed, unread.used, unread.code) == (0, 1, ExitCode.NOT_AUTHORISED)
    assert (used.removed, used.used, used.code) == (0, 1, ExitCode.DONE)
    assert shared.verify(ref, PROJECT) == ExitCode.DONE


def test_run_that_a_workload_names_is_found() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    with in_thread(server):
        workloads = Workloads(
            uri=parse_tracking_uri(f"http://127.0.0.1:{server.server_port}"),
            namespace="domino-compute",
            credential=bearer(Secret("token"), "the service account"),
            tls=None,
        )
        found = workloads.naming(["a" * 32, "b" * 32], Deadline(Limits()))

    assert found == {"a" * 32}
