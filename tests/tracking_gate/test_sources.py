"""Sources of versions: the gate stores what MLflow's clients read, and protects what it stores."""

import itertools
from dataclasses import dataclass

import pytest

from model_contract.names import TAG_PROJECT_ID
from model_contract.tokens import Purpose
from testbed.gate import API, OTHER, PROJECT, Answer, Gate, Json, ask
from testbed.mlflow_server import NEWEST
from tests.tracking_gate.conftest import GATED, Client, Wine, wine_behind

NUMBERS = itertools.count(1)
STORE = "s3://models/7"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture(scope="module")
def untouched(any_gate: Gate) -> Wine:
    """Return a model for requests that are refused."""
    return wine_behind(any_gate)


def registered(wine: Wine, source: str, who: str = "jane", **more: str) -> Answer:
    body = {"name": wine.name, "source": source.format(**names(wine)), **more}
    return wine.gate.ask("POST", f"{API}/model-versions/create", body, wine.gate.basic(who))


def names(wine: Wine) -> dict[str, str]:
    return {"run": wine.run, "directory": wine.directory, "experiment": wine.experiment, "name": wine.name}


SAME = [
    "runs:/{run}/model",
    "RUNS:/{run}/model",
    "runs:/{run}//model",
    "runs:///{run}/model",
    "runs:/{run}/model/",
    "mlflow-artifacts:/{directory}/model",
    "mlflow-artifacts:///{directory}//model/",
    "Mlflow-Artifacts:/{directory}/model",
]


def test_source_of_any_spelling_is_stored_as_the_directory_that_clients_read(wine: Wine, clients: list[Client]) -> None:
    """What is stored is the same, so one version shows what is protected and read."""
    made = [registered(wine, source) for source in SAME]
    assert {answer.status for answer in made} == {200}, made
    versions = [answer.json["model_version"] for answer in made]
    version, place = versions[0], f"{FILES}/{wine.directory}/model/MLmodel"
    assert wine.move(version["version"], "Staging", wine.gate.basic("jane")).status == 200

    assert [one["source"] for one in versions] == [f"mlflow-artifacts:/{wine.directory}/model"] * len(SAME)
    assert wine.gate.ask("PUT", place, b"changed", wine.gate.basic("jane")).status == 409
    for client in clients:
        found = client.read(wine.gate.uri, f"models:/{wine.name}/{version['version']}", wine.gate.token(Purpose.PULL))
        assert list(found["files"]) == ["MLmodel"]


REFUSED = [
    "runs:/{run}/model?x",
    "runs:/{run}/model#x",
    "runs:/{run}/model\n",
    "\nruns:/{run}/model",
    " runs:/{run}/model",
    "runs:/{run}/model ",
    "runs:/{run}/mo\tdel",
    "runs:/{run}/model%2F..",
    "runs:/{run}/%6Dodel",
    "runs:/{run}/../x",
    "runs:/{run}/./model",
    "runs:/{run}/model;x",
    "runs:/{run}\\model",
    "runs:/{run}/model\u2028",
    "runs://{run}/model",
    "runs://profile@databricks/{run}/model",
    "runs:{run}/model",
    "runs:/",
    "models:/{name}/Production",
    "models:/{name}/latest",
    "models:/{name}@champion",
    "models:/{name}/01",
    "models:/{name}/\uff11",
    "models://{name}/1",
    "models:/{name}/1/MLmodel",
    "models:/m-0/x",
    "mlflow-artifacts:/",
    "mlflow-artifacts://host/{directory}/model",
    "mlflow-artifacts://host:5000/{directory}/model",
    "mlflow-artifacts:/{directory}/../artifacts/model",
    "mlflow-artifacts:{directory}/model",
    "file:///etc",
    "/etc/passwd",
    "s3:/bucket/x",
    "s3://bucket/../x",
    "s3://bucket/x?versionId=1",
    "http://x/api/2.0/mlflow-artifacts/artifacts/{directory}/model",
    "dbfs:/x",
    "ftp://x/y",
    "",
]


@pytest.mark.parametrize("source", REFUSED)
def test_source_that_is_not_plainly_one_directory_is_refused(untouched: Wine, source: str) -> None:
    made = registered(untouched, source)

    assert (made.status, made.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), made.body
    assert made.message.startswith("source "), "MLflow has refused what the gate let through"


@pytest.mark.parametrize(
    "source",
    [
        "mlflow-artifacts:/{experiment}",
        "mlflow-artifacts:/{experiment}/models",
        "mlflow-artifacts:/{experiment}/{run}",
        "mlflow-artifacts:/x/y",
        "s3://bucket/x",
        "s3://bucket/{run}/artifacts/model",
    ],
)
def test_source_that_is_more_than_one_run_is_refused(untouched: Wine, source: str) -> None:
    assert registered(untouched, source).status == 403


def test_source_of_another_project_is_refused_in_every_spelling(wine: Wine) -> None:
    other = wine_of(wine.gate, "olga")
    version = other["version"]
    for source in (
        f"runs:/{other['run']}/model",
        f"mlflow-artifacts:/{other['experiment']}/{other['run']}/artifacts/model",
        f"models:/{other['name']}/{version}",
    ):
        for run in ({}, {"run_id": wine.run}, {"run_id": other["run"]}):
            assert registered(wine, source, **run).status in {400, 403}
        # A person of both projects does not move files from one to the other: the pods could not read them.
        assert registered(wine, source, "both").status == 403
    assert registered(wine, "runs:/{run}/model", run_id=other["run"]).status in {400, 403}


def wine_of(gate: Gate, person: str) -> dict[str, str]:
    who, name = gate.basic(person), f"source-{next(NUMBERS)}"
    experiment = gate.ask("POST", f"{API}/experiments/create", {"name": name}, who).json["experiment_id"]
    run = gate.ask("POST", f"{API}/runs/create", {"experiment_id": experiment}, who).json["run"]["info"]["run_id"]
    gate.ask("PUT", f"{FILES}/{experiment}/{run}/artifacts/model/MLmodel", b"theirs", who)
    gate.ask("POST", f"{API}/registered-models/create", {"name": name}, who)
    made = gate.ask("POST", f"{API}/model-versions/create", {"name": name, "source": f"runs:/{run}/model"}, who)
    return {"experiment": experiment, "run": run, "name": name, "version": made.json["model_version"]["version"]}


def test_source_in_an_object_store_is_below_the_run_that_it_names(wine: Wine) -> None:
    """MLflow that does not serve artifacts gives a run an address in the store, and its client sends that address."""
    made, others = (stored_run(wine, project) for project in (PROJECT, OTHER))

    accepted = [
        registered(wine, source).json["model_version"]
        for source in (f"runs:/{made}/model", f"{STORE}/{made}/artifacts/model/")
    ]
    copied = registered(wine, f"models:/{wine.name}/{accepted[0]['version']}")

    assert [(version["source"], version["run_id"]) for version in accepted] == [
        (f"{STORE}/{made}/artifacts/model", made)
    ] * 2
    assert copied.status == 200, copied.body
    for source in (f"{STORE}/{others}/artifacts/model", f"s3://other/{made}/artifacts/model", f"{STORE}/{made}"):
        assert registered(wine, source).status == 403


def test_files_of_a_promoted_version_in_an_object_store_are_kept(wine: Wine) -> None:
    """MLflow's `gc` removes the files of what was deleted."""
    jane = wine.gate.basic("jane")
    promoted, other = (stored_run(wine, PROJECT) for _ in range(2))
    version = registered(wine, f"runs:/{promoted}/model").json["model_version"]["version"]
    wine.move(version, "Staging", jane)

    def deleted(run: str, what: str) -> int:
        body = {"run_id": run} if what == "runs" else {"experiment_id": experiment_of(wine, run)}
        return wine.gate.ask("POST", f"{API}/{what}/delete", body, jane).status

    assert deleted(promoted, "runs") == 409
    assert deleted(promoted, "experiments") == 409
    assert deleted(other, "runs") == 200


def test_logged_model_in_an_object_store_is_deleted_unless_it_is_promoted(wine_3: Wine) -> None:
    jane, run = wine_3.gate.basic("jane"), stored_run(wine_3, PROJECT)
    body = {"experiment_id": experiment_of(wine_3, run), "source_run_id": run}
    promoted, other = (
        wine_3.gate.ask("POST", f"{API}/logged-models", body | {"name": name}, jane).json["model"]["info"]["model_id"]
        for name in ("promoted", "other")
    )
    version = registered(wine_3, f"models:/{promoted}").json["model_version"]["version"]
    wine_3.move(version, "Staging", jane)

    assert wine_3.gate.ask("DELETE", f"{API}/logged-models/{promoted}", headers=jane).status == 409
    assert wine_3.gate.ask("DELETE", f"{API}/logged-models/{other}", headers=jane).status == 200


def experiment_of(wine: Wine, run: str) -> str:
    found = ask(wine.gate.server.uri, "GET", f"{API}/runs/get?run_id={run}").json
    return str(found["run"]["info"]["experiment_id"])


def stored_run(wine: Wine, project: str) -> str:
    """Return a run of an experiment that was made without the gate, with an address in an object store."""
    tags = [{"key": TAG_PROJECT_ID, "value": project}]
    body: Json = {"name": f"stored-{next(NUMBERS)}", "artifact_location": STORE, "tags": tags}
    experiment = ask(wine.gate.server.uri, "POST", f"{API}/experiments/create", body).json["experiment_id"]
    run = ask(wine.gate.server.uri, "POST", f"{API}/runs/create", {"experiment_id": experiment, "start_time": 1})
    return str(run.json["run"]["info"]["run_id"])


def test_source_in_mlflows_default_experiment_is_refused_with_advice(untouched: Wine) -> None:
    run = {"experiment_id": "0", "start_time": 1}
    made = untouched.gate.ask("POST", f"{API}/runs/create", run, untouched.gate.basic("jane")).json["run"]["info"]

    refused = registered(untouched, f"runs:/{made['run_id']}/model")

    assert refused.status == 403
    assert "has no project, as those of MLflow's default experiment: log the model again in" in refused.message


def test_copy_of_a_version_keeps_the_files_of_the_first(wine: Wine, clients: list[Client]) -> None:
    first = wine.version()
    copy = registered(wine, f"models:/{wine.name}/{first}").json["model_version"]
    of_copy = registered(wine, f"models:/{wine.name}/{copy['version']}").json["model_version"]
    deleted = {"name": wine.name, "version": first}
    assert wine.gate.ask("DELETE", f"{API}/model-versions/delete", deleted, wine.gate.basic("jane")).status == 200
    wine.move(of_copy["version"], "Staging", wine.gate.basic("jane"))

    assert copy["source"] == f"models:/{wine.name}/{first}"
    assert wine.put(f"{wine.directory}/model/MLmodel", b"x", wine.gate.basic("jane")).status == 409
    for client in clients:
        found = client.read(wine.gate.uri, f"models:/{wine.name}/{of_copy['version']}", wine.gate.token(Purpose.PULL))
        assert list(found["files"]) == ["MLmodel"]


def test_directory_that_its_own_project_has_emptied_is_read_as_beside_the_gate(
    wine: Wine, clients: list[Client]
) -> None:
    """The client of MLflow 2 asks for a directory without files as if it were a file, and fails; that of 3 does not."""
    jane = wine.gate.basic("jane")
    removed = wine.gate.ask("DELETE", f"{FILES}/{wine.directory}/model/MLmodel", headers=jane)
    made = registered(wine, "runs:/{run}/model")
    version = f"models:/{wine.name}/{made.json['model_version']['version']}"
    through = [client.read(wine.gate.uri, version, wine.gate.token(Purpose.PULL)) for client in clients]
    beside = dict(zip(GATED, clients, strict=True))["2.22"].read(wine.gate.server.uri, version)

    assert removed.status == made.status == 200
    assert (wine.gate.server.artifacts / wine.directory / "model").is_dir()
    assert dict(zip(GATED, map(list, through), strict=True)) == {NEWEST: ["files"], "2.22": ["error"]}
    assert through[0]["files"] == {}
    assert list(beside) == ["error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A logged model of a run, with a file."""

    id: str
    place: str


def logged_model(wine: Wine, name: str) -> Logged:
    jane = wine.gate.basic("jane")
    body = {"experiment_id": wine.experiment, "name": name, "source_run_id": wine.run}
    info = wine.gate.ask("POST", f"{API}/logged-models", body, jane).json["model"]["info"]
    found = Logged(id=info["model_id"], place=f"{wine.experiment}/models/{info['model_id']}/artifacts")
    assert wine.put(f"{found.place}/MLmodel", b"logged", jane).status == 200
    return found


def test_run_source_of_a_logged_model_is_stored_as_that_model(wine_3: Wine, clients: list[Client]) -> None:
    model = logged_model(wine_3, "named")
    made = registered(wine_3, "runs:/{run}/named").json["model_version"]
    jane = wine_3.gate.basic("jane")
    wine_3.move(made["version"], "Staging", jane)
    wine_3.move(made["version"], "Production", wine_3.gate.bearer(Purpose.PROMOTE))

    assert (made["source"], made["run_id"]) == (f"models:/{model.id}", wine_3.run)
    for path in (f"{model.place}/MLmodel", f"{model.place}/new", model.place):
        assert wine_3.put(path, b"changed", jane).status == 409
    assert wine_3.gate.ask("DELETE", f"{FILES}/{wine_3.experiment}/models", headers=jane).status == 409
    assert wine_3.gate.ask("DELETE", f"{API}/logged-models/{model.id}", headers=jane).status == 409
    # Files that lie where `runs:/` would also look add nothing to the version.
    assert wine_3.put(f"{wine_3.directory}/named/MLmodel", b"other", jane).status == 200
    found = clients[0].read(
        wine_3.gate.uri, f"models:/{wine_3.name}/{made['version']}", wine_3.gate.token(Purpose.PULL)
    )
    read = wine_3.gate.ask("GET", f"{FILES}/{model.place}/MLmodel", headers=wine_3.gate.bearer(Purpose.PULL))
    assert (list(found["files"]), read.body) == (["MLmodel"], b"logged")


def test_run_source_with_files_in_two_places_is_refused(wine_3: Wine) -> None:
    """MLflow 3's client puts the run's files and those of the logged model into one directory."""
    model = logged_model(wine_3, "model")
    refused = registered(wine_3, "runs:/{run}/model")

    assert refused.status == 400
    assert refused.message.endswith(f"name the logged model, models:/{model.id}")
    assert registered(wine_3, f"models:/{model.id}").status == 200


def test_part_of_a_logged_model_is_stored_by_its_place(wine_3: Wine) -> None:
    model = logged_model(wine_3, "parts")
    made = registered(wine_3, "runs:/{run}/parts/inner").json["model_version"]

    assert made["source"] == f"mlflow-artifacts:/{model.place}/inner"


def test_version_is_of_the_run_of_its_source(wine: Wine) -> None:
    jane = wine.gate.basic("jane")
    second = wine.gate.ask("POST", f"{API}/runs/create", {"experiment_id": wine.experiment}, jane).json["run"]["info"][
        "run_id"
    ]

    assert registered(wine, "runs:/{run}/model").json["model_version"]["run_id"] == wine.run
    refused = registered(wine, "runs:/{run}/model", run_id=second)
    assert (refused.status, refused.message) == (400, "run_id is another one than that of the source; leave it out")


OLD = [
    "runs:/{run}/model",
    "mlflow-artifacts:/{directory}/model?x",
    "mlflow-artifacts:/{directory}//model",
    "mlflow-artifacts:/{directory}/model#x",
]


@pytest.mark.parametrize("source", OLD)
def test_files_of_a_source_from_before_the_gate_are_protected_in_each_reading(wine: Wine, source: str) -> None:
    body: Json = {"name": wine.name, "source": source.format(**names(wine)), "run_id": wine.run}
    made = ask(wine.gate.server.uri, "POST", f"{API}/model-versions/create", body)
    assert made.status == 200
    wine.move(str(made.json["model_version"]["version"]), "Staging", wine.gate.basic("jane"))

    assert wine.put(f"{wine.directory}/model/MLmodel", b"changed", wine.gate.basic("jane")).status == 409


def test_logged_model_is_not_laid_over_a_promoted_source_from_before_the_gate(wine_3: Wine) -> None:
    """MLflow's client would put the logged model's files over those of the run."""
    body: Json = {"name": wine_3.name, "source": f"runs:/{wine_3.run}/model", "run_id": wine_3.run}
    made = ask(wine_3.gate.server.uri, "POST", f"{API}/model-versions/create", body).json["model_version"]
    wine_3.move(made["version"], "Staging", wine_3.gate.basic("jane"))
    new = {"experiment_id": wine_3.experiment, "name": "model", "source_run_id": wine_3.run}

    assert wine_3.gate.ask("POST", f"{API}/logged-models", new, wine_3.gate.basic("jane")).status == 409


PLACES = [
    "{experiment}",
    "{experiment}/{run}",
    "{directory}",
    "{directory}/model",
    "{directory}/model/MLmodel",
    "{experiment}/models",
    "{experiment}/traces/x",
]


@pytest.mark.parametrize("method", ["DELETE", "PUT"])
@pytest.mark.parametrize("root", ["api", "ajax-api"])
@pytest.mark.parametrize("place", PLACES)
def test_place_of_another_project_is_not_written(untouched: Wine, method: str, root: str, place: str) -> None:
    path = f"/{root}/2.0/mlflow-artifacts/artifacts/{place.format(**names(untouched))}"
    refused = untouched.gate.ask(method, path, b"x" if method == "PUT" else None, untouched.gate.basic("olga"))

    assert (refused.status, refused.message) == (403, "not an object of a project of yours")
    assert (
        untouched.gate.server.artifacts / untouched.directory / "model" / "MLmodel"
    ).read_bytes() == b"flavors: {}\n"


@pytest.mark.parametrize("step", ["create", "complete", "abort"])
def test_place_of_another_project_is_not_uploaded_to_in_parts(untouched: Wine, step: str) -> None:
    for place in PLACES:
        path = f"/api/2.0/mlflow-artifacts/mpu/{step}/{place.format(**names(untouched))}"
        assert (
            untouched.gate.ask("POST", path, {"path": "x", "num_parts": 1}, untouched.gate.basic("olga")).status == 403
        )


def test_directory_that_contains_a_promoted_version_is_not_deleted(wine: Wine) -> None:
    wine.promoted()
    for place in PLACES[:5]:
        for who in ("jane", "both", "root"):
            refused = wine.gate.ask("DELETE", f"{FILES}/{place.format(**names(wine))}", headers=wine.gate.basic(who))
            assert refused.status == 409, (place, who)


@pytest.mark.parametrize("place", ["nowhere", "nowhere/x", "999999/x", "workspaces/other/1/x", "%20", "0"])
def test_place_of_no_experiment_is_not_written(untouched: Wine, place: str) -> None:
    for method in ("PUT", "DELETE"):
        answer = untouched.gate.ask(
            method, f"{FILES}/{place}", b"x" if method == "PUT" else None, untouched.gate.basic("jane")
        )
        assert answer.status == 403 or place == "0"
    assert untouched.gate.ask("DELETE", f"{FILES}/", headers=untouched.gate.basic("jane")).status == 403
    assert untouched.gate.ask("DELETE", f"{FILES}", headers=untouched.gate.basic("jane")).status == 403


def test_experiment_with_a_location_of_its_own_is_judged_by_it(wine: Wine) -> None:
    """The experiment was made without the gate, which allows no location of its own."""
    name = f"elsewhere-{next(NUMBERS)}"
    tags = [{"key": "mlflow.domino.project_id", "value": OTHER}]
    body: Json = {"name": name, "artifact_location": f"mlflow-artifacts:/shared/{name}", "tags": tags}
    assert ask(wine.gate.server.uri, "POST", f"{API}/experiments/create", body).status == 200

    def tried(method: str, place: str, who: str) -> int:
        return wine.gate.ask(method, f"{FILES}/{place}", b"x" if method == "PUT" else None, wine.gate.basic(who)).status

    assert tried("PUT", f"shared/{name}/x/artifacts/y", "olga") == 200
    assert [
        tried("PUT", f"shared/{name}/x", "jane"),
        tried("DELETE", f"shared/{name}", "jane"),
        tried("DELETE", "shared", "jane"),
    ] == [403] * 3
    read = f"{FILES}/shared/{name}/x/artifacts/y"
    assert wine.gate.ask("GET", read, headers=wine.gate.bearer(Purpose.PULL, OTHER)).status == 200
    assert wine.gate.ask("GET", read, headers=wine.gate.bearer(Purpose.PULL)).status == 403


def test_path_in_anothers_run_that_looks_like_ones_own_is_not_written_or_read(wine: Wine) -> None:
    mine = wine_of(wine.gate, "olga")
    tag = {"run_id": mine["run"], "key": TAG_PROJECT_ID, "value": OTHER}  # the run's own tag is looked up by its id
    assert wine.gate.ask("POST", f"{API}/runs/set-tag", tag, wine.gate.basic("olga")).status == 200
    for path in (f"{wine.directory}/{mine['run']}/artifacts/x", f"{wine.experiment}/x/{mine['run']}/y"):
        assert wine.put(path, b"x", wine.gate.basic("olga")).status == 403
        assert wine.gate.ask("GET", f"{FILES}/{path}", headers=wine.gate.bearer(Purpose.PULL, OTHER)).status == 403


@pytest.mark.parametrize("kind", ["version", "model"])
@pytest.mark.parametrize(
    "key", ["mlflow.prompt.is_prompt", "Mlflow.Prompt.IS_PROMPT", "mlflow.prompt.text", "_mlflow_prompt_type"]
)
def test_tag_that_turns_a_model_into_a_prompt_is_refused(untouched: Wine, kind: str, key: str) -> None:
    wine, gate = untouched, untouched.gate
    version = wine.version()
    tag = {"key": key, "value": "true"}
    for who in (gate.basic("jane"), gate.basic("root"), gate.bearer(Purpose.PROMOTE)):
        if kind == "version":
            path, body = "model-versions/set-tag", {"name": wine.name, "version": version} | tag
        else:
            path, body = "registered-models/set-tag", {"name": wine.name} | tag
        assert gate.ask("POST", f"{API}/{path}", body, who).status == 403
    tagged = {"name": wine.name, "source": f"runs:/{wine.run}/model", "tags": [tag]}
    assert gate.ask("POST", f"{API}/model-versions/create", tagged, gate.basic("jane")).status == 403
    assert (
        gate.ask(
            "POST", f"{API}/registered-models/create", {"name": f"{wine.name}-p", "tags": [tag]}, gate.basic("jane")
        ).status
        == 403
    )


@pytest.mark.parametrize("hidden", ["the version", "another version", "the model"])
def test_promoted_version_hidden_by_a_tag_stays_protected_and_can_be_rolled_back(wine: Wine, hidden: str) -> None:
    """The tag was set without the gate."""
    first, second = wine.promoted(), wine.version()
    uri, gate, jane, promote = (
        wine.gate.server.uri,
        wine.gate,
        wine.gate.basic("jane"),
        wine.gate.bearer(Purpose.PROMOTE),
    )
    tag = {"name": wine.name, "key": "mlflow.prompt.is_prompt", "value": "true"}
    if hidden == "the model":
        assert ask(uri, "POST", f"{API}/registered-models/set-tag", tag).status == 200
    else:
        body = tag | {"version": first if hidden == "the version" else second}
        assert ask(uri, "POST", f"{API}/model-versions/set-tag", body).status == 200
    # The gate forgets what it knows of the promoted files, and asks again.
    assert wine.move(second, "Staging", jane).status == 200
    assert wine.move(second, "None", jane).status == 200

    assert wine.put(f"{wine.directory}/model/MLmodel", b"changed", jane).status == 409
    for path, body in (
        ("runs/delete", {"run_id": wine.run}),
        ("experiments/delete", {"experiment_id": wine.experiment}),
        ("registered-models/rename", {"name": wine.name, "new_name": f"{wine.name}-x"}),
    ):
        assert gate.ask("POST", f"{API}/{path}", body, jane).status == 409
    assert wine.move(second, "Staging", promote).status == 200
    assert wine.move(second, "Production", promote, archive_existing_versions=True).status == 200
    assert gate.lines()[-1]["archived"] == [first]
