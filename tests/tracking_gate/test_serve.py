"""The gate as a process: its streams, its answers when other parts fail, and its use by clients."""

import hashlib
import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_contract.tokens import Purpose, fingerprint, new_token
from testbed.gate import API, MODULES, PASSWORD, PROJECT, Gate, ask, gate
from testbed.mlflow_server import NEWEST, MlflowServer, mlflow_server
from testbed.processes import PATIENCE, completed, free_port, installed
from tests.tracking_gate.conftest import Wine, wine_behind

LOG_MODEL = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlflow
from sklearn.linear_model import ElasticNet
name = sys.argv[1]
mlflow.set_experiment(name)
with mlflow.start_run():
    mlflow.log_param("alpha", 0.1)
    mlflow.log_metrics({"rmse": 1.0, "r2": 0.5})
    mlflow.log_text("x" * 100_000, "notes/text.txt")
    model = ElasticNet().fit([[0.0], [1.0]], [0.0, 1.0])
    where = {"artifact_path": "model"} if mlflow.__version__.startswith("2.") else {"name": "model"}
    # Named, or MLflow imports the model once more in a process of its own, to see what it needs.
    logged = mlflow.sklearn.log_model(model, registered_model_name=name, pip_requirements=["scikit-learn"], **where)
client = mlflow.MlflowClient()
version = str(logged.registered_model_version)
client.set_model_version_tag(name, version, "note", "é")
client.update_model_version(name, version, description="good")
client.transition_model_version_stage(name, version, "Staging")
loaded = mlflow.pyfunc.load_model(f"models:/{name}/{version}")
assert client.get_latest_versions(name, ["Staging"])[0].version in (version, int(version))
assert [found.name for found in client.search_registered_models(order_by=["name ASC", "last_updated_timestamp DESC"])]
print(json.dumps({"version": version, "run_id": logged.run_id, "predicted": list(loaded.predict([[1.0]]))}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A version that a person has logged and registered with MLflow's client."""

    name: str
    version: str
    run_id: str
    predicted: list[float]


@pytest.fixture(scope="module")
def logged(any_gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    script, name = tmp_path_factory.mktemp("logged") / "log_model.py", f"client-{any_gate.server.version}"
    script.write_text(LOG_MODEL)
    person = {
        "MLFLOW_TRACKING_URI": any_gate.uri,
        "MLFLOW_TRACKING_USERNAME": "jane",
        "MLFLOW_TRACKING_PASSWORD": PASSWORD,
    }
    return Logged(name=name, **json.loads(any_gate.server.run(script, name, env=person).splitlines()[-1]))


def test_people_use_mlflow_as_before(any_gate: Gate, logged: Logged) -> None:
    raw = ask(any_gate.server.uri, "GET", f"{API}/model-versions/get?name={logged.name}&version={logged.version}").json[
        "model_version"
    ]
    assert raw["current_stage"] == "Staging"
    assert {"key": "mlflow.domino.project_id", "value": PROJECT} in raw["tags"]
    assert len(logged.predicted) == 1


def test_person_with_several_projects_logs_one_more_version(any_gate: Gate) -> None:
    """MLflow's clients create the model before each version, without tags; the answer is that it exists."""
    name, both = f"of-two-{any_gate.server.version}", any_gate.basic("both")
    path, tags = f"{API}/registered-models/create", [{"key": "mlflow.domino.project_id", "value": PROJECT}]
    made = any_gate.ask("POST", path, {"name": name, "tags": tags}, both)
    again = any_gate.ask("POST", path, {"name": name}, both)

    assert made.status == 200
    assert (again.status, again.json["error_code"]) == (400, "RESOURCE_ALREADY_EXISTS")


PULL_MODEL = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow
print(mlflow.pyfunc.load_model(f"models:/{sys.argv[1]}/{sys.argv[2]}").metadata.run_id)
"""


def test_pull_token_is_all_that_a_pod_needs(any_gate: Gate, logged: Logged, tmp_path: Path) -> None:
    """MLflow's own client and the init container read with it."""
    (tmp_path / "pull_model.py").write_text(PULL_MODEL)
    token = {"MLFLOW_TRACKING_URI": any_gate.uri, "MLFLOW_TRACKING_TOKEN": any_gate.token(Purpose.PULL)}

    pulled = any_gate.server.run(tmp_path / "pull_model.py", logged.name, logged.version, env=token)

    assert pulled.strip() == logged.run_id
    pod = {
        "MLFLOW_MODEL_NAME": logged.name,
        "MLFLOW_MODEL_OWNER": "jane.doe",
        "MLFLOW_MODEL_VERSION": logged.version,
        "MLFLOW_RUN_ID": logged.run_id,
    }
    (tmp_path / "token").write_text(token["MLFLOW_TRACKING_TOKEN"])
    (tmp_path / "store").mkdir()
    fetched = subprocess.run(
        [installed("model-api-delivery"), "fetch", f"--store={tmp_path / 'store'}"],
        env=os.environ | pod | {"MLFLOW_TRACKING_URI": any_gate.uri, "MODEL_API_TOKEN_FILE": str(tmp_path / "token")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert fetched.returncode == 0, fetched.stderr
    assert (tmp_path / "store" / "jane.doe" / logged.run_id / "artifacts" / "model" / "MLmodel").is_file()


def test_large_artifact_passes_both_ways_in_little_memory(gate_3: Gate, wine_3: Wine, tmp_path: Path) -> None:
    size, jane = 200 * 1024 * 1024, gate_3.basic("jane")
    path = f"{gate_3.uri}/api/2.0/mlflow-artifacts/artifacts/{wine_3.directory}/large.bin"
    large, back = tmp_path / "large.bin", tmp_path / "back.bin"
    with large.open("wb") as file:
        for _ in range(size // (1024 * 1024)):
            file.write(os.urandom(1024) * 1024)
    curl = ["curl", "--silent", "--fail", "--header", f"Authorization: {jane['Authorization']}"]
    subprocess.run([*curl, "--upload-file", large, path], check=True)
    subprocess.run([*curl, "--output", back, path], check=True)

    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (large, back)]
    status = Path(f"/proc/{gate_3.process.popen.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert digests[0] == digests[1]
    assert peak < 150 * 1024  # KiB


def test_part_of_a_file_is_read_as_mlflow_gives_it(gate_3: Gate, wine_3: Wine) -> None:
    wine_3.put(f"{wine_3.directory}/digits", b"0123456789", gate_3.basic("jane"))
    part = gate_3.ask(
        "GET",
        f"/api/2.0/mlflow-artifacts/artifacts/{wine_3.directory}/digits",
        headers=gate_3.bearer(Purpose.PULL) | {"Range": "bytes=2-4"},
    )

    assert (part.status, part.body, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")


def test_without_mlflow_nothing_is_allowed(tmp_path: Path) -> None:
    with mlflow_server(NEWEST, tmp_path / "mlflow") as server, gate(server, tmp_path / "gate") as found:
        server.process.stop()
        refused = found.ask("GET", f"{API}/experiments/search", headers=found.basic("jane"))
        move = {"name": "wine", "version": "1", "stage": "Production"}
        denied = found.ask("POST", f"{API}/model-versions/transition-stage", move, found.bearer(Purpose.PROMOTE))

    for answer in (refused, denied):
        assert (answer.status, answer.json["error_code"], answer.headers["Retry-After"]) == (
            503,
            "TEMPORARILY_UNAVAILABLE",
            "5",
        )


def test_rotated_token_is_accepted_within_seconds(gate_3: Gate, wine_3: Wine) -> None:
    read = f"{API}/registered-models/get?name={wine_3.name}"
    file = gate_3.secret_dir / f"{PROJECT}.pull"
    old, fresh = file.read_text(), new_token(PROJECT, Purpose.PULL).value.reveal()
    (gate_3.secret_dir / f"{PROJECT}.pull.prev").write_text(old)
    file.write_text(fresh)
    deadline = time.monotonic() + PATIENCE
    while (
        gate_3.ask("GET", read, headers={"Authorization": f"Bearer {fresh}"}).status != 200
        and time.monotonic() < deadline
    ):
        time.sleep(0.1)

    statuses = [gate_3.ask("GET", read, headers={"Authorization": f"Bearer {token}"}).status for token in (fresh, old)]
    (gate_3.secret_dir / f"{PROJECT}.pull.prev").unlink()
    time.sleep(1.1)
    assert statuses == [200, 200]
    assert gate_3.ask("GET", read, headers={"Authorization": f"Bearer {old}"}).status == 401


def test_two_promotions_at_once_leave_one_in_production(gate_3: Gate, wine_3: Wine) -> None:
    promote, current = gate_3.bearer(Purpose.PROMOTE), wine_3.promoted()
    versions = [wine_3.version() for _ in range(4)]
    for version in versions:
        wine_3.move(version, "Staging", promote)
    expects = promote | {"X-Gate-Expect-Production": current}
    statuses: list[int] = []

    def promote_one(version: str) -> None:
        statuses.append(wine_3.move(version, "Production", expects, archive_existing_versions=True).status)

    threads = [threading.Thread(target=promote_one, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200, 409, 409, 409]
    assert [wine_3.stage(version) for version in versions].count("Production") == 1


def test_guesses_are_slowed_down_and_right_credentials_are_not(mlflow_3_18: MlflowServer, tmp_path: Path) -> None:
    with gate(mlflow_3_18, tmp_path / "gate") as found:
        path = f"{API}/experiments/search?max_results=1"
        guesses = [
            found.ask("GET", path, headers={"Authorization": f"Bearer guess-{number}"}).status for number in range(12)
        ]
        slowed = found.ask("GET", path, headers={"Authorization": "Bearer guess"})

        assert guesses == [401] * 10 + [429] * 2
        assert slowed.headers["Retry-After"] == "60"
        assert found.ask("GET", path, headers=found.basic("jane")).status == 200


def test_production_does_not_move_without_its_record(mlflow_3_18: MlflowServer, wine_3: Wine, tmp_path: Path) -> None:
    """The audit log is on a full disk."""
    version = wine_3.version()
    wine_3.move(version, "Staging", wine_3.gate.basic("jane"))
    port = free_port()
    with gate(mlflow_3_18, tmp_path / "gate", "--audit-log=/dev/full", f"--metrics-port={port}") as found:
        move = {"name": wine_3.name, "version": version, "stage": "Production"}
        refused = found.ask("POST", f"{API}/model-versions/transition-stage", move, found.bearer(Purpose.PROMOTE))
        text = ask(f"http://127.0.0.1:{port}", "GET", "/metrics").body.decode()

    assert (refused.status, refused.message) == (503, "the audit log cannot be written")
    assert "model_api_gate_audit_failures_total 1.0" in text
    assert wine_3.stage(version) == "Staging"


def test_other_hosts_are_not_served(mlflow_3_18: MlflowServer, tmp_path: Path) -> None:
    with gate(mlflow_3_18, tmp_path / "gate", "--allowed-host=mlflow.example") as found:
        assert found.ask("GET", "/health").status == 421
        assert found.ask("GET", "/health", headers={"Host": "mlflow.example"}).status == 200


def test_metrics_count_decisions(mlflow_3_18: MlflowServer, tmp_path: Path) -> None:
    """Each request is counted once, with any outcome."""
    port = free_port()
    with gate(mlflow_3_18, tmp_path / "gate", f"--metrics-port={port}") as found:
        wine = wine_behind(found)
        found.ask("GET", "/no/such", headers=found.basic("jane"))
        found.ask("GET", f"{API}/experiments/search?max_results=1", headers=found.basic("jane"))
        version = wine.version()
        wine.move(version, "Staging", found.basic("jane"))
        wine.move(version, "Staging", found.basic("jane"))
        wine.move(version, "Production", found.basic("jane"))
        meta = {"tokens": {fingerprint(found.token(Purpose.PULL)): {"created": "2026-01-02T00:00:00+00:00"}}}
        (found.secret_dir / f"{PROJECT}.meta").write_text(json.dumps(meta))
        time.sleep(1.1)
        found.ask("GET", "/readyz")
        text = ask(f"http://127.0.0.1:{port}", "GET", "/metrics").body.decode()

    for line in (
        'model_api_gate_requests_total{decision="deny",rule="unknown"} 1.0',
        'model_api_gate_requests_total{decision="allow",rule="people:/API/2.0/mlflow/experiments/search"} 1.0',
        (
            'model_api_gate_requests_total{decision="allow",'
            'rule="write:/API/2.0/mlflow-artifacts/artifacts/<path:path>"} 1.0'
        ),
        'model_api_gate_requests_total{decision="allow",rule="transition_stage"} 1.0',
        'model_api_gate_requests_total{decision="noop",rule="transition_stage"} 1.0',
        'model_api_gate_requests_total{decision="deny",rule="transition_stage"} 1.0',
        'model_api_gate_requests_total{decision="unknown",rule="transition_stage"} 0.0',  # or an alert misses the first
        'model_api_gate_requests_total{decision="unknown",rule="set_alias"} 0.0',
        'model_api_gate_refusals_total{reason="forbidden"} 2.0',
        'model_api_gate_refusals_total{reason="unauthenticated"} 0.0',
        'model_api_gate_tokens{purpose="pull"} 2.0',
        'model_api_gate_oldest_token_created_timestamp_seconds{purpose="pull"} 1.767312e+09',
        "model_api_gate_audit_failures_total 0.0",
    ):
        assert line in text
    assert "process_resident_memory_bytes" in text


def test_end_waits_for_what_is_under_way(gate_3: Gate, tmp_path: Path, mlflow_3_18: MlflowServer) -> None:
    with gate(mlflow_3_18, tmp_path / "gate") as found:
        assert found.ask("GET", "/livez").status == 200
        assert found.process.stop(seconds=PATIENCE) == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--upstream=mlflow:5000", "--secret-dir=/tmp"], "--upstream: it must be a URL"),
        (["--upstream=http://x", "--secret-dir=/tmp", "--people-header=X-User"], "needs --people-file"),
        (["--upstream=http://x", "--secret-dir=/tmp", "--people-file=/no/such"], "No such file"),
        (["--upstream=http://x", "--secret-dir=/tmp", "--audit-log=/no/such/log"], "No such file"),
    ],
)
def test_setting_that_is_wrong_is_one_sentence(options: list[str], sentence: str) -> None:
    done = subprocess.run(
        [installed("model-api-gate"), "serve", "--port=0", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )

    assert done.returncode == 3
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_table_and_decisions_can_be_asked_for() -> None:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return completed([installed("model-api-gate"), *arguments], env=os.environ, imported=MODULES)

    assert "transition_stage" in run("routes").stdout
    assert run("explain", "POST", "/api/2.0/mlflow/model-versions/transition-stage").stdout.endswith(
        "(transition_stage)\n"
    )
    assert run("explain", "POST", "/gateway/x").returncode == 6
    assert run("explain", "POST", "/no/such").returncode == 6
    assert run("explain", "GET", "/a//b").returncode == 3
