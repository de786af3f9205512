"""`model-api rollback` and `backfill`."""

from pathlib import Path

from model_contract.names import TAG_PROJECT_ID
from model_contract.tokens import Purpose
from testbed.gate import API, OTHER, PASSWORD, PROJECT, Gate, ask
from testbed.lifecycle import Model, environment, new_model, run, write_file


def promoted(model: Model, tmp_path: Path, count: int) -> list[str]:
    """Versions that were in Production one after the other."""
    numbers = []
    for _ in range(count):
        numbers.append(model.staged())
        assert (
            run(environment(model.gate), "promote", write_file(tmp_path / "file.json", (model, numbers[-1]))).code == 0
        )
    return numbers


def test_rollback_goes_back_one_version_at_a_time(model: Model, tmp_path: Path) -> None:
    first, second, third = promoted(model, tmp_path, 3)
    back = ["rollback", "--project", PROJECT, "--model", model.name]
    env = environment(model.gate)

    assert run(env, *back, "--reason", "worse on whites").code == 0
    state = model.state()
    assert state["stages"] == {first: "Archived", second: "Production", third: "Archived"}
    assert state["aliases"]["production"] == second
    assert state["tags"][second]["promotion.rolled_back_from"] == third
    assert run(env, *back).code == 0
    assert model.state()["stages"] == {first: "Production", second: "Archived", third: "Archived"}
    refused = run(env, *back)
    assert refused.code == 5
    assert "name the version with --to" in refused.err
    assert run(env, *back, "--to", third).code == 0
    assert model.state()["stages"] == {first: "Archived", second: "Archived", third: "Production"}


def test_rollback_moves_the_alias_that_the_file_has_named(model_3: Model, tmp_path: Path) -> None:
    first, second = model_3.staged(), model_3.staged()
    env, file = environment(model_3.gate), tmp_path / "file.json"
    back = ["rollback", "--project", PROJECT, "--model", model_3.name]
    for number in (first, second):
        assert run(env, "promote", write_file(file, (model_3, number), alias="champion")).code == 0
    checked = run(env, "status", file, "--check")
    alias = {"name": model_3.name, "alias": "best", "version": second}
    model_3.post("registered-models/alias", alias, model_3.gate.basic("jane"))
    refused = run(env, *back)
    model_3.gate.ask(
        "DELETE", f"{API}/registered-models/alias", {"name": model_3.name, "alias": "best"}, model_3.gate.basic("jane")
    )

    assert checked.code == 0, checked.out
    assert (refused.code, "is behind the aliases best, champion" in refused.err) == (6, True), refused.err
    assert run(env, *back).code == 0
    assert model_3.state()["aliases"] == {"champion": first}
    assert model_3.state()["stages"] == {first: "Production", second: "Archived"}


def test_merge_of_the_old_file_does_the_same(model_3: Model, tmp_path: Path) -> None:
    first, second = promoted(model_3, tmp_path, 2)

    assert run(environment(model_3.gate), "promote", write_file(tmp_path / "file.json", (model_3, first))).code == 0
    assert model_3.state()["stages"] == {first: "Production", second: "Archived"}


def test_rollback_that_cannot_be_done_says_why(model_3: Model, tmp_path: Path) -> None:
    env = environment(model_3.gate)
    back = ["rollback", "--project", PROJECT, "--model", model_3.name]

    assert "nothing to roll back" in run(env, *back).err
    (first,) = promoted(model_3, tmp_path, 1)
    untried = model_3.version()
    cases = {
        first: (6, "is in Production"),
        untried: (6, "it is in stage None"),
        "77": (5, "has no version 77"),
        "x": (2, "--to"),
    }
    for number, (code, said) in cases.items():
        refused = run(env, *back, "--to", number)
        assert (refused.code, said in refused.err) == (code, True), refused.err
    assert model_3.state()["stages"][first] == "Production"


def test_rollback_to_files_that_have_changed_is_refused(model: Model, tmp_path: Path) -> None:
    first, second = promoted(model, tmp_path, 2)
    (model.files(first) / "MLmodel").write_bytes(b"flavors: {z}\n")

    refused = run(environment(model.gate), "rollback", "--project", PROJECT, "--model", model.name)

    assert refused.code == 6
    assert "had sha256:" in refused.err
    assert model.state()["stages"][second] == "Production"


def test_models_without_a_project_get_the_one_of_their_runs(any_gate: Gate) -> None:
    made = new_model(any_gate)
    server, old, lost = any_gate.server.uri, f"{made.name}-old", f"{made.name}-lost"
    run_id = made.post("runs/create", {"experiment_id": made.experiment, "start_time": 1}, any_gate.basic("both"))[
        "run"
    ]["info"]["run_id"]
    for name in (old, lost):
        ask(server, "POST", f"{API}/registered-models/create", {"name": name})
    ask(
        server,
        "POST",
        f"{API}/model-versions/create",
        {"name": old, "source": f"runs:/{run_id}/model", "run_id": run_id},
    )
    env = environment(any_gate) | {
        "MLFLOW_TRACKING_TOKEN": "",
        "MLFLOW_TRACKING_USERNAME": "root",
        "MLFLOW_TRACKING_PASSWORD": PASSWORD,
    }

    dry = run(env, "backfill", "--model", old, "--model", lost)
    assert (dry.code, dry.out.splitlines()) == (
        0,
        [
            f"model {old}: would be of project {PROJECT} (the experiments of its runs)",
            f"model {lost}: left as it is (no run and no version names its project)",
        ],
    )
    jane = env | {"MLFLOW_TRACKING_USERNAME": "jane"}
    assert run(jane, "backfill", "--model", old, "--apply").code == 4
    assert run(env, "backfill", "--model", old, "--model", lost, "--apply").code == 7
    assert run(env, "backfill", "--model", lost, "--project", OTHER, "--apply").code == 0
    assert run(env, "backfill", "--model", lost, "--project", OTHER).code == 5
    for name, project in ((old, PROJECT), (lost, OTHER)):
        tags = ask(server, "GET", f"{API}/registered-models/get?name={name}").json["registered_model"]["tags"]
        assert tags == [{"key": TAG_PROJECT_ID, "value": project}]


def test_experiments_of_old_models_get_the_project_that_their_files_need(any_gate: Gate) -> None:
    server, name = any_gate.server.uri, f"old-files-{any_gate.server.version}"
    experiment = ask(server, "POST", f"{API}/experiments/create", {"name": name}).json["experiment_id"]
    run_id = ask(server, "POST", f"{API}/runs/create", {"experiment_id": experiment}).json["run"]["info"]["run_id"]
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run_id}/artifacts/model/MLmodel"
    ask(server, "PUT", path, b"flavors: {}\n")
    tags = [{"key": TAG_PROJECT_ID, "value": PROJECT}]
    ask(server, "POST", f"{API}/registered-models/create", {"name": name, "tags": tags})
    ask(
        server,
        "POST",
        f"{API}/model-versions/create",
        {"name": name, "source": f"runs:/{run_id}/model", "run_id": run_id},
    )
    env = environment(any_gate) | {
        "MLFLOW_TRACKING_TOKEN": "",
        "MLFLOW_TRACKING_USERNAME": "root",
        "MLFLOW_TRACKING_PASSWORD": PASSWORD,
    }
    pull = any_gate.bearer(Purpose.PULL)

    assert any_gate.ask("GET", path, headers=pull).status == 403
    assert run(env, "backfill", "--model", name, "--apply").out == (
        f"experiment {experiment}: now of project {PROJECT} (the models of its runs)\n"
    )
    assert any_gate.ask("GET", path, headers=pull).status == 200
    assert "every registered model has a project" in run(env, "backfill", "--model", name).out


def test_status_without_a_file_shows_a_persons_whole_project(model_3: Model, tmp_path: Path) -> None:
    promoted(model_3, tmp_path, 1)
    person = environment(model_3.gate) | {"MLFLOW_TRACKING_USERNAME": "jane", "MLFLOW_TRACKING_PASSWORD": PASSWORD}

    whole = run(person, "status", "--project", PROJECT)
    one = run(
        environment(model_3.gate),
        "status",
        "--project",
        PROJECT,
        "--model",
        model_3.name,
        "--check",
        "--format",
        "json",
    )
    none = run(environment(model_3.gate), "status", "--project", PROJECT)

    assert [line.split()[:2] for line in whole.out.splitlines() if line.startswith(f"{model_3.name} ")] == [
        [model_3.name, "1"]
    ]
    assert (one.code, one.json[0]["production"], one.json[0]["drift"]) == (0, ["1"], [])
    assert none.code == 4
