"""Changes of runs, experiments, logged models, traces and datasets are allowed by the owner of the object."""

import itertools
from dataclasses import dataclass
from typing import Any

import pytest

from model_contract.names import TAG_PROJECT_ID
from testbed.gate import API, OTHER, PROJECT, Answer, Gate, Json, ask
from tracking_gate.policy.people_changes import PEOPLE_CHANGES, ChangedObject
from tracking_gate.policy.routes import RouteAccess, match

NUMBERS = itertools.count(1)
LATER = "/api/3.0/mlflow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """The ids of a person's objects, empty for a kind that this MLflow does not have."""

    experiment: str
    run: str
    logged_model: str
    trace: str
    dataset: str


def made_by(gate: Gate, person: str) -> Objects:
    who, name = gate.basic(person), f"owned-{next(NUMBERS)}"
    experiment = gate.ask("POST", f"{API}/experiments/create", {"name": name}, who).json["experiment_id"]
    run = gate.ask("POST", f"{API}/runs/create", {"experiment_id": experiment, "start_time": 1}, who).json["run"][
        "info"
    ]["run_id"]
    body = {"experiment_id": experiment, "timestamp_ms": 1, "request_metadata": [], "tags": []}
    trace = gate.ask("POST", f"{API}/traces", body, who).json["trace_info"]["request_id"]
    logged = dataset = ""
    if gate.server.version != "2.22":
        found = gate.ask(
            "POST", f"{API}/logged-models", {"experiment_id": experiment, "name": "m", "source_run_id": run}, who
        )
        logged = found.json["model"]["info"]["model_id"]
        found = gate.ask("POST", f"{LATER}/datasets/create", {"name": name, "experiment_ids": [experiment]}, who)
        dataset = found.json["dataset"]["dataset_id"]
    return Objects(experiment=experiment, run=run, logged_model=logged, trace=trace, dataset=dataset)


@pytest.fixture(scope="module")
def olgas(any_gate: Gate) -> Objects:
    return made_by(any_gate, "olga")


@pytest.fixture(scope="module")
def janes(any_gate: Gate) -> Objects:
    return made_by(any_gate, "jane")


IDS = {
    ChangedObject.RUN: "run",
    ChangedObject.EXPERIMENT: "experiment",
    ChangedObject.LOGGED_MODEL: "logged_model",
    ChangedObject.TRACE: "trace",
    ChangedObject.NEW_TRACE: "trace",
    ChangedObject.DATASET: "dataset",
}
MORE: dict[str, Json] = {
    "experiments/update": {"new_name": "taken"},
    "runs/update": {"run_name": "taken"},
    "runs/set-tag": {"key": "x", "value": "1"},
    "runs/delete-tag": {"key": "x"},
    "runs/log-metric": {"key": "m", "value": 1.0, "timestamp": 1},
    "runs/log-parameter": {"key": "p", "value": "1"},
    "runs/log-model": {"model_json": "{}"},
    "traces/delete-traces": {"max_timestamp_millis": 10, "max_traces": 1},
    "tags": {"key": "x", "value": "1"},
}


def placed(body: Json, at: tuple[str, ...], value: str) -> None:
    """Put the value at the keys by which a request names an object."""
    here: Any = body
    for key, below in itertools.pairwise((*at, "")):
        if below == "*":
            here = here.setdefault(key, [value if at[-1] == "*" else {}])
        elif key == "*":
            here = here[0] if at[-1] != "*" else {}
        elif below == "":
            here[key] = value
        else:
            here = here.setdefault(key, {})


def request_on(change: Any, mine: Objects, theirs: Objects, index: int) -> tuple[str, Json]:
    """Return a request that names one object of another person, and otherwise the caller's own objects."""
    path, body = (
        change.path.replace("API", "api"),
        dict(next((more for end, more in MORE.items() if change.path.endswith(end)), {})),
    )
    for number, named in enumerate(change.objects):
        value = getattr(theirs if number == index else mine, IDS[named.kind])
        if named.path_variable:
            path = path.replace(f"<{named.keys[0]}>", value)
            if named.keys[0] == "model_id":
                body["model_id"] = value
        else:
            placed(body, named.keys, value)
    return path.replace("<key>", "x").replace("<assessment_id>", "a-1"), body


def state(gate: Gate, objects: Objects) -> list[Json | int]:
    """Return the state of the objects, read from MLflow directly."""
    paths = [
        f"{API}/experiments/get?experiment_id={objects.experiment}",
        f"{API}/runs/get?run_id={objects.run}",
        f"{API}/logged-models/{objects.logged_model}",
        f"{API}/traces/{objects.trace}/info",
        f"{LATER}/datasets/{objects.dataset}",
        f"{LATER}/datasets/{objects.dataset}/experiment-ids",
    ]
    answers = [ask(gate.server.uri, "GET", path) for path in paths]
    return [answer.json if answer.status == 200 else answer.status for answer in answers]


CASES = [(change, index) for change in PEOPLE_CHANGES for index in range(len(change.objects))]


@pytest.mark.parametrize(
    ("change", "index"),
    CASES,
    ids=[f"{change.method} {change.path} {change.objects[index].kind}" for change, index in CASES],
)
def test_change_of_another_projects_object_is_refused(
    any_gate: Gate, olgas: Objects, janes: Objects, change: Any, index: int
) -> None:
    if not all(getattr(olgas, IDS[named.kind]) for named in change.objects):
        assert any_gate.server.version == "2.22"
        return
    before = state(any_gate, olgas)
    path, body = request_on(change, janes, olgas, index)

    for root in ("api", "ajax-api"):
        refused = any_gate.ask(change.method, path.replace("/api/", f"/{root}/"), body, any_gate.basic("jane"))
        assert (refused.status, refused.message) == (403, "not an object of a project of yours")
    assert state(any_gate, olgas) == before


def test_every_way_to_write_in_mlflow_is_denied_or_judged_by_an_owner(mlflow_routes: list[tuple[str, str]]) -> None:
    judged = {RouteAccess.GUARDED, RouteAccess.WRITE, RouteAccess.CHANGE, RouteAccess.DENIED}
    unjudged = set()
    for method, path in mlflow_routes:
        if method in {"POST", "PUT", "PATCH", "DELETE"}:
            found = match(method, path)
            if found is None or found.route.access not in judged:
                unjudged.add(path.removeprefix("/ajax-api").removeprefix("/api"))

    # These only read: each is known by name.
    assert unjudged <= {
        "/graphql",
        "/2.0/mlflow/experiments/search",
        "/2.0/mlflow/experiments/search-datasets",
        "/2.0mlflow/experiments/search-datasets",
        "/2.0/mlflow/runs/search",
        "/2.0/mlflow/artifacts/presigned-download-url",
        "/3.0/mlflow/traces/search",
        "/3.0/mlflow/traces/batchGetInfos",
        "/3.0/mlflow/traces/metrics",
        "/3.0/mlflow/traces/calculate-filter-correlation",
        "/3.0/mlflow/datasets/search",
        "/2.0/mlflow/gateway-proxy",
    }


@pytest.mark.parametrize("other_key", ["runId", "run_uuid", "runUuid", "RUN_ID", "run_Id"])
def test_run_that_is_named_twice_is_not_changed(any_gate: Gate, olgas: Objects, janes: Objects, other_key: str) -> None:
    before = state(any_gate, olgas)
    body = {"run_id": janes.run, "key": "x", "value": "1"} | {other_key: olgas.run}
    answer = any_gate.ask("POST", f"{API}/runs/set-tag", body, any_gate.basic("jane"))
    double = f'{{"run_id": "{olgas.run}", "run_id": "{janes.run}", "key": "x", "value": "1"}}'.encode()
    twice = any_gate.ask(
        "POST", f"{API}/runs/set-tag", double, any_gate.basic("jane") | {"Content-Type": "application/json"}
    )

    spelled = (400, f"write {'run_uuid' if 'u' in other_key[3:].lower() else 'run_id'}, not {other_key!r}")
    assert (answer.status, answer.message) == (
        spelled if other_key != "run_uuid" else (403, "not an object of a project of yours")
    )
    assert twice.status == 400
    assert state(any_gate, olgas) == before


def test_logged_model_of_the_body_is_that_of_the_path(gate_3: Gate) -> None:
    """MLflow changes the status of the model that the body names."""
    mine, theirs = made_by(gate_3, "jane"), made_by(gate_3, "olga")
    body = {"model_id": theirs.logged_model, "status": "LOGGED_MODEL_UPLOAD_FAILED"}
    refused = gate_3.ask("PATCH", f"{API}/logged-models/{mine.logged_model}", body, gate_3.basic("jane"))

    assert (refused.status, refused.message) == (400, "model_id of the body is not that of the path")
    assert ask(gate_3.server.uri, "GET", f"{API}/logged-models/{theirs.logged_model}").json["model"]["info"][
        "status"
    ] != ("LOGGED_MODEL_UPLOAD_FAILED")


def run_past_the_gate(gate: Gate, experiment: str, project: str) -> str:
    body = {"experiment_id": experiment, "start_time": 1, "tags": [{"key": TAG_PROJECT_ID, "value": project}]}
    return str(ask(gate.server.uri, "POST", f"{API}/runs/create", body).json["run"]["info"]["run_id"])


def test_project_of_a_run_wins_over_that_of_its_experiment(any_gate: Gate, janes: Objects) -> None:
    run = run_past_the_gate(any_gate, janes.experiment, OTHER)
    tag = {"run_id": run, "key": "x", "value": "1"}
    file = f"/api/2.0/mlflow-artifacts/artifacts/{janes.experiment}/{run}/artifacts/x.txt"

    def tried(person: str) -> list[int]:
        who = any_gate.basic(person)
        return [
            any_gate.ask("POST", f"{API}/runs/set-tag", tag, who).status,
            any_gate.ask("PUT", file, b"1", who).status,
        ]

    assert tried("jane") == [403, 403]
    assert tried("olga") == [200, 200]
    assert any_gate.ask("POST", f"{API}/runs/delete", {"run_id": run}, any_gate.basic("jane")).status == 403


def test_experiment_with_a_run_of_another_project_is_not_deleted_as_a_folder(any_gate: Gate) -> None:
    jane = made_by(any_gate, "jane")
    folder = f"/api/2.0/mlflow-artifacts/artifacts/{jane.experiment}"
    assert any_gate.ask("PUT", f"{folder}/{jane.run}/artifacts/x.txt", b"1", any_gate.basic("jane")).status == 200
    run_past_the_gate(any_gate, jane.experiment, OTHER)

    assert any_gate.ask("DELETE", folder, headers=any_gate.basic("jane")).status == 403
    assert any_gate.ask("DELETE", folder, headers=any_gate.basic("both")).status in {200, 204}


def test_object_without_a_project_is_changed_by_people_and_not_by_tokens(any_gate: Gate) -> None:
    uri, name = any_gate.server.uri, f"old-{next(NUMBERS)}"
    experiment = ask(uri, "POST", f"{API}/experiments/create", {"name": name}).json["experiment_id"]
    run = ask(uri, "POST", f"{API}/runs/create", {"experiment_id": experiment}).json["run"]["info"]["run_id"]
    changes = [
        ("POST", f"{API}/runs/set-tag", {"run_id": run, "key": "x", "value": "1"}),
        ("POST", f"{API}/experiments/set-experiment-tag", {"experiment_id": experiment, "key": "x", "value": "1"}),
        ("POST", f"{API}/experiments/update", {"experiment_id": experiment, "new_name": f"{name}-2"}),
    ]

    def tried(who: dict[str, str]) -> list[int]:
        answers: list[Answer] = [any_gate.ask(method, path, body, who) for method, path, body in changes]
        return [answer.status for answer in answers]

    assert tried(any_gate.basic("olga")) == [200, 200, 200]
    for token in ("p", "r"):
        found = any_gate.secret_dir / f"{PROJECT}.{'apikey' if token == 'p' else 'pull'}"
        assert tried({"Authorization": f"Bearer {found.read_text()}"}) == [403, 403, 403]
    given = {"experiment_id": experiment, "key": TAG_PROJECT_ID, "value": PROJECT}
    assert any_gate.ask("POST", f"{API}/experiments/set-experiment-tag", given, any_gate.basic("root")).status == 200
    assert tried(any_gate.basic("olga")) == [403, 403, 403]


@pytest.mark.parametrize("route", ["runs/set-tag", "runs/log-batch", "runs/create"])
def test_run_is_given_to_no_project_that_is_not_the_persons(any_gate: Gate, janes: Objects, route: str) -> None:
    def body(key: str, value: str) -> Json:
        tag = {"key": key, "value": value}
        one = {"run_id": janes.run} | (tag if route == "runs/set-tag" else {"tags": [tag]})
        return one if route != "runs/create" else {"experiment_id": janes.experiment, "tags": [tag]}

    def tried(key: str, value: str, who: str) -> int:
        return any_gate.ask("POST", f"{API}/{route}", body(key, value), any_gate.basic(who)).status

    assert tried(TAG_PROJECT_ID, OTHER, "jane") == 403
    assert tried(TAG_PROJECT_ID.upper(), OTHER, "jane") == 403
    assert tried(TAG_PROJECT_ID, PROJECT, "jane") == 200
    assert tried("mlflow.domino.user", "jane", "jane") == 200
    assert tried("mlflow.artifactLocation", "file:///etc", "jane") == 403


def test_logged_model_is_not_made_of_another_projects_run(gate_3: Gate) -> None:
    mine, theirs = made_by(gate_3, "jane"), made_by(gate_3, "olga")
    path = f"{API}/logged-models"

    def tried(experiment: str, run: str, who: str = "jane") -> int:
        body = {"experiment_id": experiment, "name": "m", "source_run_id": run}
        return gate_3.ask("POST", path, body, gate_3.basic(who)).status

    assert tried(mine.experiment, theirs.run) == 403
    assert tried(theirs.experiment, mine.run) == 403
    assert tried(mine.experiment, theirs.run, "both") == 403
    assert tried(mine.experiment, mine.run) == 200


def test_trace_of_another_project_is_not_overwritten_by_one_of_the_same_id(gate_3: Gate) -> None:
    mine, theirs = made_by(gate_3, "jane"), made_by(gate_3, "olga")

    def started(trace: str, experiment: str, **tags: str) -> int:
        location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
        times = {"request_time": "2026-01-01T00:00:00Z", "execution_duration": "1s", "state": "OK"}
        info = {"trace_id": trace, "trace_location": location, "trace_metadata": {}, "tags": tags} | times
        return gate_3.ask("POST", f"{LATER}/traces", {"trace": {"trace_info": info}}, gate_3.basic("jane")).status

    assert started(theirs.trace, mine.experiment) == 403
    assert started("tr-" + "1" * 32, theirs.experiment) == 403
    assert started("tr-" + "2" * 32, mine.experiment, **{"mlflow.artifactLocation": "file:///etc"}) == 403
    assert started("tr-" + "3" * 32, mine.experiment) == 200
