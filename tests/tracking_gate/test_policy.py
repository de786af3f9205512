"""The policy with real registries: each actor's allowed and refused requests."""

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from model_contract.names import TAG_DIGEST, TAG_IMAGE, TAG_LISTING, TAG_MODEL_ID, TAG_PROJECT_ID
from model_contract.tokens import Purpose
from testbed.gate import API, OTHER, PROJECT, Answer, Gate, ask
from tests.tracking_gate.conftest import Wine, wine_behind

PULL, PROMOTE = Purpose.PULL, Purpose.PROMOTE


@pytest.fixture(scope="module")
def shared_wine(any_gate: Gate) -> Iterator[Wine]:
    """A model of tests that change nothing of it but a version of their own."""
    found = wine_behind(any_gate)
    yield found
    found.delete()


@pytest.fixture(scope="module")
def shared_version(shared_wine: Wine) -> str:
    """Return a version of it for requests that are refused."""
    return shared_wine.version()


def who(gate: Gate, name: str) -> dict[str, str]:
    """Return the headers of an actor."""
    tokens = {
        "pull": (PULL, PROJECT),
        "promote": (PROMOTE, PROJECT),
        "other pull": (PULL, OTHER),
        "other promote": (PROMOTE, OTHER),
    }
    if name == "nobody":
        return {}
    return gate.bearer(*tokens[name]) if name in tokens else gate.basic(name)


def of_models(*names: str) -> str:
    """Return the filter with which a token searches for several models."""
    listed = ",".join(f"'{name}'" for name in names)
    return f"name IN ({listed})"


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("nobody", 401, "send the token of your project as MLFLOW_TRACKING_TOKEN"),
        ("pull", 403, "moving a version needs the promote token of the project"),
        ("other pull", 403, "moving a version needs the promote token of the project"),
        ("other promote", 403, f"not an object of project {OTHER}"),
        ("jane", 403, "moving a version into or out of Production needs the promote token of the project"),
        ("olga", 403, "not an object of a project of yours"),
    ],
)
def test_production_is_for_the_promote_token_of_the_project(
    shared_wine: Wine, name: str, status: int, message: str
) -> None:
    version = shared_wine.version()
    shared_wine.move(version, "Staging", shared_wine.gate.basic("jane"))

    refused = shared_wine.move(version, "Production", who(shared_wine.gate, name))

    assert (refused.status, refused.message) == (status, message)
    assert shared_wine.stage(version) == "Staging"


def test_promotion_archives_what_was_in_production(wine: Wine) -> None:
    first, second = wine.promoted(), wine.promoted()

    assert (wine.stage(first), wine.stage(second)) == ("Archived", "Production")
    last = wine.gate.lines()[-1]
    assert (last["decision"], last["from_stage"], last["to_stage"], last["archived"]) == (
        "allow",
        "Staging",
        "Production",
        [first],
    )


def test_owner_moves_to_staging_and_back(wine: Wine) -> None:
    version, jane = wine.version(), wine.gate.basic("jane")

    for stage in ("staging", "None", "Archived", "Staging"):
        assert wine.move(version, stage, jane).status == 200
        assert wine.stage(version).lower() == stage.lower()
    assert wine.move(version, "None", wine.gate.basic("olga")).status == 403


def test_production_is_not_left_without_the_promote_token(wine: Wine) -> None:
    version = wine.promoted()

    for stage in ("None", "Staging", "Archived"):
        assert wine.move(version, stage, wine.gate.basic("jane")).status == 403
    assert wine.stage(version) == "Production"


def test_version_moves_to_production_through_staging(wine: Wine) -> None:
    version = wine.version()
    refused = wine.move(version, "Production", wine.gate.bearer(PROMOTE))

    assert (refused.status, refused.json["error_code"]) == (409, "RESOURCE_CONFLICT")
    assert f"version {version} is in stage None" in refused.message


def test_archived_version_comes_back_if_it_was_promoted(wine: Wine) -> None:
    promote = wine.gate.bearer(PROMOTE)
    tagged, plain = wine.promoted(), wine.version()
    body = {"name": wine.name, "version": tagged, "key": "promotion.id", "value": "1"}
    assert wine.gate.ask("POST", f"{API}/model-versions/set-tag", body, promote).status == 200
    assert wine.gate.ask("POST", f"{API}/model-versions/set-tag", body, wine.gate.basic("jane")).status == 403
    wine.promoted()
    wine.move(plain, "Archived", promote)

    assert wine.move(tagged, "Production", promote, archive_existing_versions=True).status == 200
    assert wine.move(plain, "Production", promote).status == 409


def test_second_of_two_promotions_sees_what_the_first_one_did(wine: Wine) -> None:
    current, promote = wine.promoted(), wine.gate.bearer(PROMOTE)
    version = wine.version()
    wine.move(version, "Staging", promote)

    refused = wine.move(version, "Production", promote | {"X-Gate-Expect-Production": "none"})
    done = wine.move(
        version, "Production", promote | {"X-Gate-Expect-Production": current}, archive_existing_versions=True
    )

    assert (refused.status, done.status) == (409, 200)
    assert f"Production is version {current} now" in refused.message


def test_same_move_again_changes_nothing(wine: Wine) -> None:
    version = wine.promoted()
    before = wine.raw(version)
    again = wine.move(version, "Production", wine.gate.bearer(PROMOTE), archive_existing_versions=True)

    assert again.status == 200
    assert again.json["model_version"] == before == wine.raw(version)
    assert wine.gate.lines()[-1]["decision"] == "noop"


@pytest.mark.parametrize("alias", ["production", "Production", "PRODUCTION"])
def test_production_alias_is_for_the_promote_token(wine: Wine, alias: str) -> None:
    version, gate = wine.promoted(), wine.gate
    body = {"name": wine.name, "version": version, "alias": alias}

    assert gate.ask("POST", f"{API}/registered-models/alias", body, gate.basic("jane")).status == 403
    assert gate.ask("POST", f"{API}/registered-models/alias", body, gate.bearer(PULL)).status == 403
    assert gate.ask("POST", f"{API}/registered-models/alias", body, gate.bearer(PROMOTE)).status == 200
    del body["version"]
    assert gate.ask("DELETE", f"{API}/registered-models/alias", body, gate.basic("jane")).status == 403
    assert (
        gate.ask(
            "POST",
            f"{API}/registered-models/alias",
            {**body, "alias": "staging", "version": version},
            gate.basic("jane"),
        ).status
        == 200
    )


@pytest.mark.parametrize(
    "key",
    [TAG_PROJECT_ID, "mlflow.domino.user", "MLFLOW.Domino.project_id", "mlflow.domíno.project_id", "domino.project"],
)
@pytest.mark.parametrize("name", ["jane", "promote", "pull"])
def test_ownership_is_not_for_clients_to_change(shared_wine: Wine, shared_version: str, key: str, name: str) -> None:
    version, gate = shared_version, shared_wine.gate
    of_version = {"name": shared_wine.name, "version": version, "key": key, "value": OTHER}
    of_model = {"name": shared_wine.name, "key": key, "value": OTHER}
    of_experiment = {"experiment_id": shared_wine.experiment, "key": key, "value": OTHER}

    for method, path, body in (
        ("POST", "model-versions/set-tag", of_version),
        ("DELETE", "model-versions/delete-tag", {**of_version, "value": None}),
        ("POST", "registered-models/set-tag", of_model),
        ("DELETE", "registered-models/delete-tag", {**of_model, "value": None}),
        ("POST", "experiments/set-experiment-tag", of_experiment),
    ):
        sent = {field: value for field, value in body.items() if value is not None}
        assert gate.ask(method, f"{API}/{path}", sent, who(gate, name)).status == 403


@pytest.mark.parametrize("key", [TAG_DIGEST, TAG_IMAGE, TAG_LISTING])
@pytest.mark.parametrize("writer", ["jane", "promote"])
def test_tags_that_identify_the_files_of_a_version_are_written_once(shared_wine: Wine, key: str, writer: str) -> None:
    version, gate = shared_wine.version(), shared_wine.gate
    body = {"name": shared_wine.name, "version": version, "key": key, "value": "sha256:1"}
    path = f"{API}/model-versions/set-tag"

    assert gate.ask("POST", path, body, gate.bearer(PULL)).status == 403
    assert gate.ask("POST", path, body, who(gate, writer)).status == 200
    assert gate.ask("POST", path, body, who(gate, writer)).status == 200
    for other in ("jane", "promote", "root"):
        assert gate.ask("POST", path, {**body, "value": "sha256:2"}, who(gate, other)).status == 409
        deleted = {"name": shared_wine.name, "version": version, "key": key}
        assert gate.ask("DELETE", f"{API}/model-versions/delete-tag", deleted, who(gate, other)).status == 403
    assert {"key": key, "value": "sha256:1"} in shared_wine.raw(version)["tags"]


@pytest.mark.parametrize(
    "key",
    [
        *("Promotion.id", "PROMOTION.prev", "Model-API.digest", "MODEL-API.LISTING"),
        *("prömotion.id", "prømotion.id", "model-apí.digest", "\uff4dodel-api.listing"),
        *("model-api.digest ", "model-api.image  ", "promot\u0131on.id", "model-api.dige\u00dft"),
    ],
)
def test_tag_that_differs_only_in_what_a_database_ignores_is_not_for_people(
    shared_wine: Wine, shared_version: str, key: str
) -> None:
    """MySQL ignores case and accents, SQL Server case and spaces at the end: they write it over the other one.

    MariaDB also takes a letter for another one: test_protected_names.
    """
    body = {"name": shared_wine.name, "version": shared_version, "key": key, "value": "1"}
    refused = shared_wine.gate.ask("POST", f"{API}/model-versions/set-tag", body, shared_wine.gate.basic("jane"))
    tagged = {
        "name": shared_wine.name,
        "source": f"runs:/{shared_wine.run}/model",
        "tags": [{"key": key, "value": "1"}],
    }
    created = shared_wine.gate.ask("POST", f"{API}/model-versions/create", tagged, shared_wine.gate.basic("jane"))

    assert (refused.status, created.status) == (403, 403)
    assert key in refused.message or "write the tag model-api." in refused.message


@pytest.mark.parametrize("key", ["Model-API.digest", "model-api.listíng", "model-api.image "])
@pytest.mark.parametrize("caller", ["jane", "promote", "root"])
def test_record_of_the_files_is_deleted_in_no_spelling(
    shared_wine: Wine, shared_version: str, key: str, caller: str
) -> None:
    body = {"name": shared_wine.name, "version": shared_version, "key": key}
    refused = shared_wine.gate.ask("DELETE", f"{API}/model-versions/delete-tag", body, who(shared_wine.gate, caller))

    assert refused.status == 403
    assert "records the version's files" in refused.message


@pytest.mark.parametrize("key", ["mlflow.issueDetection.schedule", "MLflow.issueDetection.scheduleTraceFilter"])
@pytest.mark.parametrize("name", ["jane", "root"])
def test_tag_by_which_mlflow_runs_jobs_is_for_nobody(shared_wine: Wine, key: str, name: str) -> None:
    gate, tag = shared_wine.gate, {"key": key, "value": '{"cadence": "hourly"}'}
    new = {"name": f"jobs of {name}", "tags": [tag, {"key": TAG_PROJECT_ID, "value": PROJECT}]}
    asked = (("set-experiment-tag", {"experiment_id": shared_wine.experiment, **tag}), ("create", new))
    for route, body in asked:
        refused = gate.ask("POST", f"{API}/experiments/{route}", body, who(gate, name))

        assert refused.status == 403
        assert refused.message.endswith("its server finds files or runs jobs by it")


def test_schedule_from_before_the_gate_is_deleted_by_an_admin(wine_3: Wine) -> None:
    gate, schedule = wine_3.gate, {"experiment_id": wine_3.experiment, "key": "mlflow.issueDetection.schedule"}
    ask(gate.server.uri, "POST", f"{API}/experiments/set-experiment-tag", {**schedule, "value": "{}"})
    path = f"{API}/experiments/delete-experiment-tag"

    assert gate.ask("POST", path, schedule, gate.basic("jane")).status == 403
    assert gate.ask("POST", path, schedule, gate.basic("root")).status == 200


def test_promote_token_sets_only_the_tags_of_the_model_api(wine: Wine) -> None:
    version, gate = wine.version(), wine.gate
    body = {"name": wine.name, "version": version, "key": TAG_MODEL_ID, "value": "1"}

    assert gate.ask("POST", f"{API}/model-versions/set-tag", body, gate.bearer(PROMOTE)).status == 200
    assert (
        gate.ask("POST", f"{API}/model-versions/set-tag", {**body, "key": "note"}, gate.bearer(PROMOTE)).status == 403
    )
    assert gate.ask("POST", f"{API}/model-versions/set-tag", {**body, "key": "note"}, gate.basic("jane")).status == 200
    assert gate.ask("POST", f"{API}/model-versions/set-tag", {**body, "key": "note"}, gate.basic("olga")).status == 403


def test_new_objects_get_the_project_of_their_creator(any_gate: Gate) -> None:
    path, name = f"{API}/registered-models/create", "of-olga-" + any_gate.server.version
    theirs = {"name": name, "tags": [{"key": TAG_PROJECT_ID, "value": PROJECT}]}

    assert any_gate.ask("POST", path, theirs, any_gate.basic("olga")).status == 403
    unnamed = any_gate.ask("POST", path, {"name": name}, any_gate.basic("both"))
    assert (unnamed.status, TAG_PROJECT_ID in unnamed.message) == (400, True)
    made = any_gate.ask("POST", path, theirs, any_gate.basic("both"))
    assert made.json["registered_model"]["tags"] == [{"key": TAG_PROJECT_ID, "value": PROJECT}]
    assert any_gate.ask("POST", path, {"name": "x"}, any_gate.bearer(PROMOTE)).status == 403


def test_version_is_created_only_from_files_of_its_creators_project(wine: Wine) -> None:
    gate = wine.gate
    jane = {"name": wine.name, "source": f"runs:/{wine.run}/model", "run_id": wine.run}
    model = f"of-olga-{wine.name}"
    gate.ask("POST", f"{API}/registered-models/create", {"name": model}, gate.basic("olga"))

    assert gate.ask("POST", f"{API}/model-versions/create", jane, gate.basic("olga")).status == 403
    assert gate.ask("POST", f"{API}/model-versions/create", {**jane, "name": model}, gate.basic("olga")).status == 403
    for source, status in (("s3://bucket/x", 403), ("file:///etc", 400), ("/etc", 400), ("http://x/", 400)):
        body = {"name": wine.name, "source": source}
        assert gate.ask("POST", f"{API}/model-versions/create", body, gate.basic("jane")).status == status


@pytest.mark.parametrize("stage", ["Staging", "Production"])
def test_files_of_a_promoted_version_do_not_change(wine: Wine, stage: str) -> None:
    version, gate, jane = wine.version(), wine.gate, wine.gate.basic("jane")
    assert wine.put(f"{wine.directory}/model/MLmodel", b"flavors: {a: 1}\n", jane).status == 200
    wine.move(version, "Staging", jane)
    if stage == "Production":
        wine.move(version, "Production", gate.bearer(PROMOTE))
    root = "/api/2.0/mlflow-artifacts"

    for method, path in (
        ("PUT", f"{root}/artifacts/{wine.directory}/model/MLmodel"),
        ("PUT", f"/ajax-api{root.removeprefix('/api')}/artifacts/{wine.directory}/model/new"),
        ("PUT", f"{root}/artifacts/{wine.directory}/%6Dodel/MLmodel"),
        ("PUT", f"{root}/artifacts/{wine.directory}/%256Dodel/MLmodel"),
        ("PUT", f"{root}/artifacts/{wine.directory}/%25256Dodel/MLmodel"),
        ("PUT", f"{root}/artifacts/{wine.directory}/x/%252e%252e/model/MLmodel"),
        ("DELETE", f"{root}/artifacts/{wine.directory}"),
        ("DELETE", f"{root}/artifacts/{wine.experiment}/{wine.run}"),
        ("POST", f"{root}/mpu/create/{wine.directory}/model/MLmodel"),
        ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={wine.run}&path=model%2FMLmodel"),
        ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={wine.run}&path=%256Dodel%2FMLmodel"),
        ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={wine.run}&path=x%2F..%2Fmodel%2FMLmodel"),
    ):
        assert gate.ask(method, path, b"changed", jane).status in {400, 409}, path
    beside = wine.put(f"{wine.directory}/beside.txt", b"1", jane)
    read = gate.ask("GET", f"{root}/artifacts/{wine.directory}/model/MLmodel", headers=gate.bearer(PULL))
    assert (beside.status, read.body) == (200, b"flavors: {a: 1}\n")


def test_files_behind_an_alias_do_not_change(wine: Wine) -> None:
    """In a registry without stages, only aliases promote."""
    version, gate = wine.version(), wine.gate
    alias = {"name": wine.name, "alias": "production", "version": version}
    assert gate.ask("POST", f"{API}/registered-models/alias", alias, gate.bearer(PROMOTE)).status == 200

    assert wine.put(f"{wine.directory}/model/MLmodel", b"changed", gate.basic("jane")).status == 409
    deleted = gate.ask(
        "DELETE", f"{API}/model-versions/delete", {"name": wine.name, "version": version}, gate.basic("jane")
    )
    assert deleted.status == 409


def test_objects_of_a_promoted_version_are_not_deleted_or_renamed(wine: Wine) -> None:
    version, gate, jane = wine.promoted(), wine.gate, wine.gate.basic("jane")

    for method, path, body in (
        ("DELETE", "model-versions/delete", {"name": wine.name, "version": version}),
        ("DELETE", "registered-models/delete", {"name": wine.name}),
        ("POST", "registered-models/rename", {"name": wine.name, "new_name": f"{wine.name}-2"}),
        ("POST", "runs/delete", {"run_id": wine.run}),
        ("POST", "experiments/delete", {"experiment_id": wine.experiment}),
    ):
        refused = gate.ask(method, f"{API}/{path}", body, jane)
        assert (refused.status, refused.json["error_code"]) == (409, "RESOURCE_CONFLICT"), path
    assert wine.stage(version) == "Production"


def test_version_whose_run_was_deleted_goes_to_staging_when_the_run_is_restored(wine: Wine) -> None:
    version, gate, jane = wine.version(), wine.gate, wine.gate.basic("jane")
    to_staging = {"name": wine.name, "version": version, "stage": "Staging"}

    assert gate.ask("POST", f"{API}/runs/delete", {"run_id": wine.run}, jane).status == 200
    refused = gate.ask("POST", f"{API}/model-versions/transition-stage", to_staging, jane)
    assert gate.ask("POST", f"{API}/runs/restore", {"run_id": wine.run}, jane).status == 200
    moved = gate.ask("POST", f"{API}/model-versions/transition-stage", to_staging, jane)

    assert (refused.status, moved.status) == (409, 200)
    assert "restore the run first" in refused.message


def test_version_whose_logged_model_was_deleted_does_not_go_to_staging(wine_3: Wine) -> None:
    gate, jane = wine_3.gate, wine_3.gate.basic("jane")
    new = {"experiment_id": wine_3.experiment, "name": "m", "source_run_id": wine_3.run}
    model_id = gate.ask("POST", f"{API}/logged-models", new, jane).json["model"]["info"]["model_id"]
    body = {"name": wine_3.name, "source": f"models:/{model_id}", "model_id": model_id}
    version = gate.ask("POST", f"{API}/model-versions/create", body, jane).json["model_version"]["version"]
    path = f"{API}/logged-models/{model_id}"

    assert gate.ask("DELETE", path, headers=gate.basic("olga")).status == 403
    assert gate.ask("DELETE", path, headers=gate.bearer(PROMOTE)).status == 403
    assert gate.ask("DELETE", path, {"model_id": "m-" + "0" * 32}, jane).status == 400
    assert gate.ask("DELETE", path, {"model_id": model_id}, jane).status == 200
    refused = wine_3.move(version, "Staging", jane)
    assert (refused.status, "log the model again" in refused.message) == (409, True)


def test_model_without_promoted_versions_is_its_owners(wine: Wine) -> None:
    version, gate, jane = wine.version(), wine.gate, wine.gate.basic("jane")

    assert (
        gate.ask(
            "DELETE", f"{API}/model-versions/delete", {"name": wine.name, "version": version}, gate.basic("olga")
        ).status
        == 403
    )
    assert (
        gate.ask("DELETE", f"{API}/model-versions/delete", {"name": wine.name, "version": version}, jane).status == 200
    )
    assert (
        gate.ask(
            "POST", f"{API}/registered-models/rename", {"name": wine.name, "new_name": f"{wine.name}-2"}, jane
        ).status
        == 200
    )


def test_tokens_read_their_project_and_learn_nothing_of_others(wine: Wine) -> None:
    version, gate = wine.version(), wine.gate
    reads = [
        f"{API}/model-versions/get?name={wine.name}&version={version}",
        f"{API}/model-versions/get-download-uri?name={wine.name}&version={version}",
        f"{API}/registered-models/get?name={wine.name}",
        f"{API}/model-versions/search?max_results=1000&filter=name%3D%27{wine.name}%27",
        f"{API}/runs/get?run_id={wine.run}",
        f"{API}/experiments/get?experiment_id={wine.experiment}",
        f"/api/2.0/mlflow-artifacts/artifacts?path={wine.directory}",
        f"/api/2.0/mlflow-artifacts/artifacts/{wine.directory}/model/MLmodel",
    ]
    for path in reads:
        assert gate.ask("GET", path, headers=gate.bearer(PULL)).status == 200, path
        refused = gate.ask("GET", path, headers=gate.bearer(PULL, OTHER))
        missing = gate.ask(
            "GET", path.replace(wine.name, "no-such").replace(wine.run, "0" * 32), headers=gate.bearer(PULL, OTHER)
        )
        assert refused.status == missing.status == 403
        assert refused.message == missing.message == f"not an object of project {OTHER}"
    for path in (
        f"{API}/experiments/search?max_results=1",
        f"{API}/model-versions/search",
        f"{API}/registered-models/search",
        "/graphql",
        "/",
    ):
        assert gate.ask("GET", path, headers=gate.bearer(PROMOTE)).status in {400, 403}
    for filter_ in (
        f"name ILIKE '{wine.name}'",
        f"name='{wine.name}' OR name!=''",
        f"name='{wine.name}' ",
        f'name="{wine.name}"',
    ):
        assert (
            gate.ask("GET", f"{API}/model-versions/search?filter={quote(filter_)}", headers=gate.bearer(PROMOTE)).status
            == 400
        )
    for path in (
        "/api/2.0/mlflow-artifacts/artifacts?path=",
        "/api/2.0/mlflow-artifacts/artifacts",
        f"/api/2.0/mlflow-artifacts/artifacts?path={wine.experiment}",
    ):
        assert gate.ask("GET", path, headers=gate.bearer(PULL)).status in {400, 403}


@pytest.mark.parametrize("key", ["run_id", "run_uuid"])
def test_token_gets_mlflows_answer_about_a_run_of_its_project(wine: Wine, key: str) -> None:
    """The gate's one lookup tells the owner, and is the answer as well."""
    query = f"{API}/runs/get?{key}={wine.run}"
    told = wine.gate.ask("GET", query, headers=wine.gate.bearer(PULL))
    head = wine.gate.ask("HEAD", query, headers=wine.gate.bearer(PULL))

    assert told.json == ask(wine.gate.server.uri, "GET", query).json
    assert (head.status, head.body) == (200, b"")
    assert wine.gate.ask("HEAD", query, headers=wine.gate.bearer(PULL, OTHER)).status == 403


def test_token_searches_models_of_its_project_by_name(gate_3: Gate) -> None:
    """MLflow 3 answers versions, tags and aliases of several models in two requests."""
    names = sorted([wine_behind(gate_3).name, wine_behind(gate_3).name])
    filter_ = quote(of_models(*names))
    for token in (gate_3.bearer(PULL), gate_3.bearer(PROMOTE)):
        models = gate_3.ask("GET", f"{API}/registered-models/search?filter={filter_}", headers=token)
        one = gate_3.ask("GET", f"{API}/registered-models/search?filter=name%3D%27{names[0]}%27", headers=token)
        versions = gate_3.ask("GET", f"{API}/model-versions/search?max_results=5&filter={filter_}", headers=token)

        assert sorted(found["name"] for found in models.json["registered_models"]) == names
        assert [found["name"] for found in one.json["registered_models"]] == names[:1]
        assert versions.status == 200


def test_pull_token_lists_the_models_of_its_project_and_no_other(any_gate: Gate) -> None:
    mine, other = wine_behind(any_gate).name, f"{wine_behind(any_gate).name}-of-others"
    assert (
        any_gate.ask("POST", f"{API}/registered-models/create", {"name": other}, any_gate.basic("olga")).status == 200
    )

    def listed(project: str, form: str = "tags.`mlflow.domino.project_id` = '{}'") -> Answer:
        query = f"max_results=1000&filter={quote(form.format(project))}"
        return any_gate.ask("GET", f"{API}/registered-models/search?{query}", headers=any_gate.bearer(PULL))

    found = [model["name"] for model in listed(PROJECT).json["registered_models"]]
    assert mine in found
    assert other not in found
    assert listed(OTHER).status == 403
    assert listed(PROJECT, "tags.`mlflow.domino.project_id` != '{}'").status == 400
    assert listed(f"{PROJECT}' OR name LIKE '%").status == 400


@pytest.mark.parametrize("search", ["registered-models/search", "model-versions/search"])
def test_no_search_of_a_token_finds_a_model_of_another_project(any_gate: Gate, search: str) -> None:
    mine = wine_behind(any_gate)
    mine.version()
    promote, own, other = any_gate.bearer(PROMOTE), mine.name, f"{mine.name}-of-others"
    assert (
        any_gate.ask("POST", f"{API}/registered-models/create", {"name": other}, any_gate.basic("olga")).status == 200
    )
    later = quote(base64.b64encode(b'{"offset": 1, "search_key": null}').decode())
    tag = "tags.`mlflow.domino.project_id`"
    for filter_ in (
        f"name='{other}'",
        f"name IN ('{own}','{other}')",
        f"name IN ('{other}')",
        f"name IN ('{own}','{other.upper()}')",
        f"name IN ('{own}','no-such')",
        f"name IN ('{own}') OR name='{other}'",
        f"name IN ('{own}', '{other}')",
        f"name in ('{own}','{other}')",
        f"name NOT IN ('{own}')",
        f"name IN ('{own}','') OR name IN ('{other}')",
        f"name IN ('{own}','x'') OR (''y')",
        f"name IN ('{own}','x\\','{other}')",
        f"name IN ('{own}',\"{other}\")",
        f"name IN ('{own}'\n,'{other}')",
        f"name IN ('{own}\n','{other}')",
        f"name IN ('{own}',)",
        "name IN ()",
        f"name='{own}' AND {tag}='{OTHER}'",
        f"{tag}='{PROJECT}'",
        f"{tag}='{OTHER}'",
        f"{tag} = '{OTHER}'",
        f"{tag} = '{PROJECT}' AND name LIKE '%'",
        "name LIKE '%'",
        "name IN ('%')",
        f"run_id IN ('{mine.run}')",
        f"run_id='{mine.run}'",
        "",
    ):
        for more in ("", "&order_by=name%20DESC", f"&page_token={later}", "&max_results=1"):
            answer = any_gate.ask("GET", f"{API}/{search}?filter={quote(filter_)}{more}", headers=promote)

            assert answer.status in {400, 403}, filter_
            assert other not in answer.body.decode()
    assert (
        any_gate.ask(
            "GET", f"{API}/{search}?filter=name%3D%27{own}%27&filter=name%3D%27{other}%27", headers=promote
        ).status
        == 400
    )
    for query in ("", "?filter=", "?max_results=5", f"?page_token={later}"):
        assert any_gate.ask("GET", f"{API}/{search}{query}", headers=promote).status == 403
    for more in (
        "",
        "&order_by=name%20DESC",
        f"&page_token={later}",
        f"&name={other}",
        f"&Filter=name%3D%27{other}%27",
    ):
        answer = any_gate.ask("GET", f"{API}/{search}?filter=name%3D%27{own}%27{more}", headers=promote)
        assert other not in answer.body.decode()


def test_model_that_changes_hands_is_not_found_by_its_former_project(gate_3: Gate) -> None:
    """The remembered owners of a list of models are forgotten when one of them changes."""
    names = [wine_behind(gate_3).name, wine_behind(gate_3).name]
    path = f"{API}/model-versions/search?filter={quote(of_models(*names))}"
    assert gate_3.ask("GET", path, headers=gate_3.bearer(PROMOTE)).status == 200
    body = {"name": names[1], "key": "mlflow.domino.project_id", "value": OTHER}
    assert gate_3.ask("POST", f"{API}/registered-models/set-tag", body, gate_3.basic("root")).status == 200

    assert gate_3.ask("GET", path, headers=gate_3.bearer(PROMOTE)).status == 403


def test_query_that_is_read_in_two_ways_is_refused(wine: Wine) -> None:
    version, gate = wine.version(), wine.gate
    double = f"{API}/model-versions/get?name=no-such&name={wine.name}&version={version}"

    assert gate.ask("GET", double, headers=gate.bearer(PULL)).status == 400
    assert gate.ask("GET", f"{API}/registered-models/get", {"name": wine.name}, headers=gate.bearer(PULL)).status == 400
    both = gate.ask(
        "DELETE",
        f"{API}/registered-models/alias?name=x&alias=y",
        {"name": wine.name, "alias": "z"},
        gate.bearer(PROMOTE),
    )
    assert both.status == 400


def test_token_sends_the_lists_that_mlflows_client_sends(wine: Wine) -> None:
    """The client repeats the key of a query for each item of a list."""
    version, pull = wine.promoted(), wine.gate.bearer(PULL)
    latest = f"{API}/registered-models/get-latest-versions?name={wine.name}&stages=Staging&stages=Production"
    search = f"{API}/model-versions/search?filter=name%3D%27{wine.name}%27&order_by=name&order_by=creation_timestamp"

    for path in (latest, search):
        found = wine.gate.ask("GET", path, headers=pull)
        assert [one["version"] for one in found.json["model_versions"]] == [version]
    assert wine.gate.ask("GET", f"{latest}&name=no-such", headers=pull).status == 400


def test_object_without_a_project_is_read_by_people_and_gets_its_project_from_an_admin(any_gate: Gate) -> None:
    """The object was made without the gate."""
    name = f"old-{any_gate.server.version}"
    ask(any_gate.server.uri, "POST", f"{API}/registered-models/create", {"name": name})
    read = f"{API}/registered-models/get?name={name}"
    describe = {"name": name, "description": "x"}
    give = {"name": name, "key": TAG_PROJECT_ID, "value": PROJECT}

    assert any_gate.ask("GET", read, headers=any_gate.bearer(PULL)).status == 403
    assert any_gate.ask("GET", read, headers=any_gate.basic("olga")).status == 200
    refused = any_gate.ask("PATCH", f"{API}/registered-models/update", describe, any_gate.basic("jane"))
    assert (refused.status, refused.message) == (403, "this model has no project: an admin gives it one")
    assert any_gate.ask("POST", f"{API}/registered-models/set-tag", give, any_gate.basic("root")).status == 200
    assert any_gate.ask("PATCH", f"{API}/registered-models/update", describe, any_gate.basic("jane")).status == 200
    assert any_gate.ask("GET", read, headers=any_gate.bearer(PULL)).status == 200


def test_audit_log_has_every_decision_and_no_secret(wine: Wine) -> None:
    wine.promoted()
    text = wine.gate.audit.read_text()
    lines = wine.gate.lines()

    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert {
        "request_id",
        "decision",
        "rule",
        "status",
        "actor",
        "method",
        "path",
        "body_sha256",
        "from_stage",
        "to_stage",
    } <= lines[-1].keys()
    for project in (PROJECT, OTHER):
        for purpose in Purpose:
            assert wine.gate.token(purpose, project) not in text + wine.gate.process.log.read_text()
    assert "correct horse" not in text
    assert json.dumps(wine.gate.basic("jane"))[-20:-2] not in text


def test_version_that_changes_hands_is_out_of_reach_at_once(wine: Wine) -> None:
    version, promote = wine.version(), wine.gate.bearer(PROMOTE)
    tag = {"name": wine.name, "version": version, "key": "promotion.id", "value": "one"}
    alias = {"name": wine.name, "version": version, "alias": "production"}
    assert wine.gate.ask("POST", f"{API}/model-versions/set-tag", tag, promote).status == 200
    give = {"name": wine.name, "version": version, "key": TAG_PROJECT_ID, "value": OTHER}
    assert wine.gate.ask("POST", f"{API}/model-versions/set-tag", give, wine.gate.basic("root")).status == 200

    refused = [
        wine.gate.ask("POST", f"{API}/model-versions/set-tag", tag | {"value": "two"}, promote),
        wine.gate.ask("POST", f"{API}/registered-models/alias", alias, promote),
        wine.move(version, "Staging", promote),
    ]

    assert [answer.status for answer in refused] == [403, 403, 403]
    assert {one["key"]: one["value"] for one in wine.raw(version)["tags"]}["promotion.id"] == "one"


def test_cached_version_is_not_taken_for_a_model_named_as_its_number(any_gate: Gate) -> None:
    wine, jane = wine_behind(any_gate), any_gate.basic("jane")
    version = {"name": "name", "source": f"runs:/{wine.run}/model", "run_id": wine.run}
    tag = {"name": "name", "version": "1", "key": "promotion.id", "value": "one"}
    assert any_gate.ask("POST", f"{API}/registered-models/create", {"name": "name"}, jane).status == 200
    assert any_gate.ask("POST", f"{API}/registered-models/create", {"name": "1"}, any_gate.basic("olga")).status == 200
    assert any_gate.ask("POST", f"{API}/model-versions/create", version, jane).status == 200
    assert any_gate.ask("POST", f"{API}/model-versions/set-tag", tag, any_gate.bearer(PROMOTE)).status == 200

    asked = any_gate.ask("GET", f"{API}/registered-models/get?name=1", headers=any_gate.bearer(PULL))

    assert asked.status == 403
