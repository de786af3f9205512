"""Changes of runs, experiments, logged models, traces and datasets are allowed by the owner of the object."""

import itertools
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from model_contract.names import TAG_PROJECT_ID
from model_contract.tokens import Purpose
from testbed.environments import printed
from testbed.gate import API, OTHER, PROJECT, Answer, Gate, Json, ask, gate
from testbed.mlflow_server import MlflowServer
from testbed.processes import PATIENCE
from testbed.reverse_proxy import Exchange, reverse_proxy
from tests.tracking_gate.conftest import Wine, example, wine_behind
from tracking_gate.policy.guarded_operations import OPERATIONS, Operation
from tracking_gate.policy.people_changes import PEOPLE_CHANGES, ChangedObject
from tracking_gate.policy.routes import RouteAccess, match

NUMBERS = itertools.count(1)
LATER = "/api/3.0/mlflow"
ID_FIELDS_SCRIPT = Path(__file__).parents[2] / "testbed" / "mlflow_scripts" / "list_id_fields.py"


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
    path, body = request_on(change, janes, olgas, index)

    for root in ("api", "ajax-api"):
        with any_gate.server.unwritten():
            refused = any_gate.ask(change.method, path.replace("/api/", f"/{root}/"), body, any_gate.basic("jane"))
        assert (refused.status, refused.message) == (403, "not an object of a project of yours")


def test_change_of_an_own_object_is_seen_in_the_database(any_gate: Gate, janes: Objects) -> None:
    body = {"run_id": janes.run, "key": "x", "value": "1"}
    with pytest.raises(AssertionError, match="has written"), any_gate.server.unwritten():
        assert any_gate.ask("POST", f"{API}/runs/set-tag", body, any_gate.basic("jane")).status == 200


@pytest.fixture(scope="module")
def janes_wine(any_gate: Gate) -> Wine:
    found = wine_behind(any_gate)
    found.version()
    alias = {"name": found.name, "version": "1", "alias": "champion"}
    assert any_gate.ask("POST", f"{API}/registered-models/alias", alias, any_gate.basic("jane")).status == 200
    return found


CREATIONS = {"create_model", "create_experiment"}  # they name no object that exists
OF_LOGGED_MODELS = {"delete_logged_model"}  # which MLflow 2 has not: below, with other ways by an id
LOOKUPS = {"latest_versions", "search_logged_models"}  # which people may make everywhere
OF_TAGS_AND_MOVES = {
    "transition_stage",
    "set_alias",
    "delete_alias",
    "set_version_tag",
    "delete_version_tag",
    "set_model_tag",
    "delete_model_tag",
}


def guarded(operation: Operation, wine: Wine, key: str) -> Json:
    """Return the body of a guarded operation on Jane's objects."""
    values: Json = {
        "name": wine.name,
        "new_name": f"{wine.name}-taken",
        "version": "1",
        "stage": "Staging",
        "alias": "champion",
        "key": key,
        "value": "1",
        "source": f"runs:/{wine.run}/model",
        "experiment_id": wine.experiment,
        "experiment_ids": [wine.experiment],
        "run_id": wine.run,
    }
    return {name: values[name] for name in operation.fields if name in values}


@pytest.mark.parametrize("key", ["note", "promotion.id", "model-api.digest"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_guarded_operation_on_another_projects_object_is_refused(
    janes_wine: Wine, operation: Operation, key: str
) -> None:
    if operation.name in CREATIONS | OF_LOGGED_MODELS or (key != "note" and "key" not in operation.fields):
        return
    gate = janes_wine.gate
    path, body = operation.path.replace("API", "api"), guarded(operation, janes_wine, key)
    with gate.server.unwritten():
        by_person = gate.ask(operation.method, path, body, gate.basic("olga"))
        by_token = gate.ask(operation.method, path, body, gate.bearer(Purpose.PROMOTE, OTHER))

    if operation.name not in LOOKUPS:
        assert (by_person.status, by_person.message) == (403, "not an object of a project of yours")
    if operation.name in OF_TAGS_AND_MOVES | LOOKUPS:
        assert (by_token.status, by_token.message) == (403, f"not an object of project {OTHER}")
    else:
        assert (by_token.status, by_token.message) == (403, "this is for people of the project, not for a token")


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


# Ids in requests that choose no object to change, as a pattern by the end of the route.
CHANGE_NOTHING = {
    "runs/create": r"user_id",
    "runs/log-batch": r"metrics\.\*\.run_id",  # MLflow takes the run of the request
    "runs/log-inputs": r"models\.\*\.model_id",  # an input is read
    "traces/delete-traces": r"request_ids\.\*",  # only those of the experiment are deleted
    "/records": r"dataset_record_ids\.\*",  # only those of the dataset are deleted
    # MLflow takes the trace of the path, and assessments and spans of that trace.
    "/assessments": r"assessment\.\w+(?:\.source_id)?",
    "/<assessment_id>": r"assessment_id|assessment\.\w+(?:\.source_id)?",
    # MLflow takes the trace of the request, and ignores spans; `assessment_id` is judged by the trace.
    "3.0/mlflow/traces": r"trace\.spans\..*|trace\.trace_info\.(?:client_request_id|assessments\..*)",
}


def test_every_id_of_a_change_is_judged_by_its_owner_or_changes_nothing(any_gate: Gate) -> None:
    """The ids are those of MLflow's own messages, so that the table of changes does not vouch for itself."""
    unjudged = []
    for method, path, ids in json.loads(printed(any_gate.server.version, ID_FIELDS_SCRIPT)):
        found = match(method, example(path))
        if found is None or found.route.change is None:
            continue
        change = found.route.change
        judged = {".".join(reference.keys) for reference in change.objects if not reference.path_variable}
        names = dict(zip(re.findall(r"<(?:\w+:)?([\w.]+)>", path), re.findall(r"<(\w+)>", change.path), strict=False))
        by_path = {reference.keys[0] for reference in change.objects if reference.path_variable}
        judged |= {name for name, own in names.items() if own in by_path}
        judged |= {"run_uuid"} if "run_id" in judged else set()
        known = next((ids for end, ids in CHANGE_NOTHING.items() if change.path.endswith(end)), "")
        unjudged += [f"{method} {path} {name}" for name in set(ids) - judged if not re.fullmatch(known, name)]

    assert unjudged == []


@pytest.mark.parametrize("other_key", ["runId", "run_uuid", "runUuid", "RUN_ID", "run_Id"])
def test_run_that_is_named_twice_is_not_changed(any_gate: Gate, olgas: Objects, janes: Objects, other_key: str) -> None:
    body = {"run_id": janes.run, "key": "x", "value": "1"} | {other_key: olgas.run}
    double = f'{{"run_id": "{olgas.run}", "run_id": "{janes.run}", "key": "x", "value": "1"}}'.encode()
    with any_gate.server.unwritten():
        answer = any_gate.ask("POST", f"{API}/runs/set-tag", body, any_gate.basic("jane"))
        twice = any_gate.ask(
            "POST", f"{API}/runs/set-tag", double, any_gate.basic("jane") | {"Content-Type": "application/json"}
        )

    spelled = (400, f"write {'run_uuid' if 'u' in other_key[3:].lower() else 'run_id'}, not {other_key!r}")
    assert (answer.status, answer.message) == (
        spelled if other_key != "run_uuid" else (403, "not an object of a project of yours")
    )
    assert twice.status == 400


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


def test_files_of_another_project_are_not_changed_by_the_id_of_their_run_or_logged_model(gate_3: Gate) -> None:
    theirs = made_by(gate_3, "olga")
    requests: list[tuple[str, str, bytes | None]] = [
        ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={theirs.run}&path=x.txt", b"1"),
        ("DELETE", f"{API}/logged-models/{theirs.logged_model}", None),
    ]
    tokens = [gate_3.bearer(purpose, OTHER) for purpose in Purpose]
    with gate_3.server.unwritten():
        answers = [gate_3.ask(*request, who) for who in (gate_3.basic("jane"), *tokens) for request in requests]

    assert [answer.status for answer in answers] == [403] * 6
    assert not (gate_3.server.artifacts / theirs.experiment / theirs.run / "artifacts" / "x.txt").exists()
    assert [gate_3.ask(*request, gate_3.basic("olga")).status for request in requests] == [200, 200]


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


@pytest.mark.parametrize("unreadable", [{"[a.b]": 1}, {"user_id": {}}], ids=["an extension", "another type"])
def test_experiment_behind_a_field_that_mlflow_cannot_read_is_the_one_that_changes(
    any_gate: Gate, janes: Objects, unreadable: Json
) -> None:
    """MLflow ignores what follows such a field, and takes its default experiment, which may be another project's."""
    made = any_gate.ask(
        "POST", f"{API}/runs/create", unreadable | {"experiment_id": janes.experiment}, any_gate.basic("jane")
    )
    name = f"renamed-{next(NUMBERS)}"
    body = {"new_name": name, "[a.b]": 1, "experiment_id": janes.experiment}
    renamed = any_gate.ask("POST", f"{API}/experiments/update", body, any_gate.basic("jane"))
    found = ask(any_gate.server.uri, "GET", f"{API}/experiments/get?experiment_id={janes.experiment}")
    default = ask(any_gate.server.uri, "GET", f"{API}/experiments/get?experiment_id=0")

    assert made.json["run"]["info"]["experiment_id"] == janes.experiment
    assert renamed.status == 200
    assert found.json["experiment"]["name"] == name
    assert default.json["experiment"]["name"] == "Default"


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
    if route == "runs/set-tag":  # MLflow takes a missing value for an empty one
        without_value = {"run_id": janes.run, "key": TAG_PROJECT_ID}
        assert any_gate.ask("POST", f"{API}/{route}", without_value, any_gate.basic("jane")).status == 403
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


def start_trace(gate: Gate, trace: str | None, experiment: str, **more: Any) -> Answer:
    """Start a trace as Jane; None gives it no id, `more` are further fields."""
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    times = {"request_time": "2026-01-01T00:00:00Z", "execution_duration": "1s", "state": "OK"}
    named = {} if trace is None else {"trace_id": trace}
    info = named | {"trace_location": location, "trace_metadata": {}, "tags": {}} | times | more
    return gate.ask("POST", f"{LATER}/traces", {"trace": {"trace_info": info}}, gate.basic("jane"))


def feedback(name: str, **more: str) -> Json:
    """Return an assessment."""
    return {
        "assessment_name": name,
        "source": {"source_type": "HUMAN", "source_id": "x"},
        "feedback": {"value": True},
        "create_time": "2026-01-01T00:00:00Z",
        "last_update_time": "2026-01-01T00:00:00Z",
        **more,
    }


def test_assessment_of_another_projects_trace_is_not_moved_to_an_own_one(
    mlflow_3_17: MlflowServer, tmp_path: Path
) -> None:
    """MLflow before 3.18 merges the assessments of a trace that is sent again by their ids alone."""
    with gate(mlflow_3_17, tmp_path / "gate", "--attempts=100000") as found:
        mine, theirs = made_by(found, "jane"), made_by(found, "olga")
        path, own = f"{LATER}/traces/{theirs.trace}", "tr-" + "4" * 32
        body = {"assessment": feedback("theirs")}
        made = found.ask("POST", f"{path}/assessments", body, found.basic("olga")).json["assessment"]
        before = ask(mlflow_3_17.uri, "GET", path).json
        first = start_trace(found, own, mine.experiment, assessments=[feedback("own")])
        of_own = ask(mlflow_3_17.uri, "GET", f"{LATER}/traces/{own}").json["trace"]["trace_info"]["assessments"]
        own_one = feedback("own", assessment_id=of_own[0]["assessment_id"])
        again = start_trace(found, own, mine.experiment, assessments=[own_one, feedback("one more")])
        taken = feedback("taken", assessment_id=made["assessment_id"])
        refused = start_trace(found, own, mine.experiment, assessments=[own_one, taken])
        over = feedback("over", overrides=made["assessment_id"])  # MLflow would set theirs valid when it is deleted
        refused_over = start_trace(found, own, mine.experiment, assessments=[own_one, over])
        after = ask(mlflow_3_17.uri, "GET", path).json

    assert (first.status, again.status) == (200, 200)
    assert (refused.status, refused_over.status) == (403, 403)
    assert before["trace"]["trace_info"]["assessments"]
    assert after == before


@pytest.mark.parametrize("trace", ["tr-" + "6" * 32, "", None], ids=["new", "empty", "none"])
def test_assessment_of_another_projects_trace_is_not_moved_to_a_trace_that_is_made_meanwhile(
    mlflow_3_17: MlflowServer, tmp_path: Path, trace: str | None
) -> None:
    """The first request waits before MLflow, after its check, until the second one has made the trace."""
    held, go = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> bool:
        if b"taken" in exchange.body:
            held.set()
            go.wait(PATIENCE)
        return False

    with (
        reverse_proxy(mlflow_3_17.uri, hold) as between,
        gate(replace(mlflow_3_17, uri=between.uri), tmp_path / "gate", "--attempts=100000") as found,
        ThreadPoolExecutor(1) as pool,
    ):
        mine, theirs = made_by(found, "jane"), made_by(found, "olga")
        path = f"{LATER}/traces/{theirs.trace}"
        body = {"assessment": feedback("theirs")}
        made = found.ask("POST", f"{path}/assessments", body, found.basic("olga")).json["assessment"]
        before = ask(mlflow_3_17.uri, "GET", path).json
        taken = feedback("taken", assessment_id=made["assessment_id"])
        first = pool.submit(start_trace, found, trace, mine.experiment, assessments=[taken])
        held.wait(1)
        second = start_trace(found, trace, mine.experiment)
        go.set()
        refused = first.result()
        after = ask(mlflow_3_17.uri, "GET", path).json

    assert before["trace"]["trace_info"]["assessments"]
    assert after == before
    assert (second.status, refused.status) == (200, 403)
    assert "leave it out, and MLflow chooses one" in refused.message


def test_trace_of_another_project_is_not_overwritten_by_one_of_the_same_id(gate_3: Gate) -> None:
    mine, theirs = made_by(gate_3, "jane"), made_by(gate_3, "olga")

    def started(trace: str, experiment: str, **tags: str) -> int:
        return start_trace(gate_3, trace, experiment, tags=tags).status

    assert started(theirs.trace, mine.experiment) == 403
    assert started("tr-" + "1" * 32, theirs.experiment) == 403
    assert started("tr-" + "2" * 32, mine.experiment, **{"mlflow.artifactLocation": "file:///etc"}) == 403
    assert started("tr-" + "3" * 32, mine.experiment) == 200


def test_trace_is_linked_to_an_own_run_before_it_arrives(gate_3: Gate) -> None:
    """MLflow's clients send traces in the background; `mlflow.genai.evaluate` links them meanwhile."""
    mine, theirs = made_by(gate_3, "jane"), made_by(gate_3, "olga")
    trace = "tr-" + "7" * 32

    def linked(run: str, *traces: str) -> int:
        body = {"run_id": run, "trace_ids": [*traces]}
        return gate_3.ask("POST", f"{API}/traces/link-to-run", body, gate_3.basic("jane")).status

    assert linked(mine.run, trace) == 200
    assert start_trace(gate_3, trace, mine.experiment).status == 200
    filter_ = f"attribute.run_id = '{mine.run}'"
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": mine.experiment}}
    found = gate_3.ask(
        "POST", f"{LATER}/traces/search", {"locations": [location], "filter": filter_}, gate_3.basic("jane")
    )
    assert [one["trace_id"] for one in found.json["traces"]] == [trace]
    assert linked(mine.run, "tr-" + "8" * 32, theirs.trace) == 403
    assert linked(theirs.run, trace) == 403
