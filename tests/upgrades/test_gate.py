"""A gate of one version on the state of the other: Secret, people, audit log; and a client through the swap."""

import json
import time
from contextlib import ExitStack
from pathlib import Path

from model_contract.tokens import Purpose
from testbed.gate import API, OTHER, PROJECT, Answer, Gate, Json, Sent, ask, clients
from testbed.mlflow_server import MlflowServer
from testbed.processes import free_port
from tests.upgrades.conftest import SCRIPTS, Registered, State, Step, gate_of, new_model


def move(gate: Gate, state: State, model: Registered, number: str, stage: str) -> Answer:
    body = {"name": model.name, "version": number, "stage": stage, "archive_existing_versions": stage == "Production"}
    who = gate.basic("jane") if stage == "Staging" else {"Authorization": f"Bearer {state.token(Purpose.PROMOTE)}"}
    return gate.ask("POST", f"{API}/model-versions/transition-stage", body, who)


def promote_one(gate: Gate, state: State, model: Registered) -> None:
    """Let a person stage a version and CI promote it; let a stranger try."""
    number = model.version().version
    assert move(gate, state, model, number, "Staging").status == 200
    assert move(gate, state, model, number, "Production").status == 200
    stranger = {"Authorization": f"Bearer {state.token(Purpose.PROMOTE, OTHER)}"}
    body = {"name": model.name, "version": number, "stage": "Archived"}
    assert gate.ask("POST", f"{API}/model-versions/transition-stage", body, stranger).status in {403, 404}


def lines_of(text: bytes) -> list[Json]:
    return [json.loads(line) for line in text.splitlines()]


def test_tokens_people_and_audit_log_go_on(step: Step, mlflow_3_17: MlflowServer, tmp_path: Path) -> None:
    model, state = new_model(mlflow_3_17.uri), State.made_by(step.first, tmp_path)
    with gate_of(step.first, state, mlflow_3_17) as gate:
        promote_one(gate, state, model)
    before = state.audit.read_bytes()
    with gate_of(step.then, state, mlflow_3_17) as gate:
        promote_one(gate, state, model)
    after = state.audit.read_bytes()

    assert before
    assert after.startswith(before)
    old, new = lines_of(before), lines_of(after[len(before) :])
    assert [line["decision"] for line in old] == [line["decision"] for line in new]
    assert [line.get("rule") for line in old] == [line.get("rule") for line in new]
    for former, present in zip(*((old, new) if step.is_upgrade else (new, old)), strict=True):
        assert former.keys() <= present.keys()


def test_line_that_was_cut_by_a_kill_is_mended(step: Step, mlflow_3_17: MlflowServer, tmp_path: Path) -> None:
    model, state = new_model(mlflow_3_17.uri), State.made_by(step.first, tmp_path)
    with gate_of(step.first, state, mlflow_3_17) as gate:
        promote_one(gate, state, model)
        gate.process.kill()
    whole = state.audit.read_bytes()
    state.audit.write_bytes(whole + whole.splitlines()[-1][:40])
    with gate_of(step.then, state, mlflow_3_17) as gate:
        promote_one(gate, state, model)

    lines = lines_of(state.audit.read_bytes())
    assert lines[: len(lines_of(whole))] == lines_of(whole)
    assert lines[len(lines_of(whole))]["decision"] == "torn"


def test_tokens_that_the_other_version_rotated_are_accepted_with_the_former_ones(
    step: Step, mlflow_3_17: MlflowServer, tmp_path: Path
) -> None:
    model, state = new_model(mlflow_3_17.uri), State.made_by(step.first, tmp_path)
    ref = model.version()
    texts = {path.name: path.read_text() for path in state.secret_dir.iterdir()}
    former = state.token(Purpose.PULL)
    rotated = json.loads(step.then.script(SCRIPTS / "rotate_tokens.py", json.dumps([PROJECT, texts])))
    for key, value in rotated.items():
        (state.secret_dir / key).write_text(value)
    path = f"{API}/model-versions/get?name={ref.name}&version={ref.version}"
    for version in (step.first, step.then):
        with gate_of(version, state, mlflow_3_17) as gate:
            statuses = [
                gate.ask("GET", path, headers={"Authorization": f"Bearer {token}"}).status
                for token in (former, state.token(Purpose.PULL), former + "x")
            ]

            assert statuses == [200, 200, 401], version.name
    assert state.token(Purpose.PULL) != former


def test_no_read_fails_that_its_client_tries_again_while_the_gate_is_replaced(
    step: Step, mlflow_3_17: MlflowServer, tmp_path: Path
) -> None:
    model, state, port = new_model(mlflow_3_17.uri), State.made_by(step.first, tmp_path), free_port()
    ref = model.version()
    path = f"{API}/model-versions/get?name={ref.name}&version={ref.version}"
    headers = {"Authorization": f"Bearer {state.token(Purpose.PULL)}"}
    with ExitStack() as gate:
        gate.enter_context(gate_of(step.first, state, mlflow_3_17, port))
        with clients(lambda _: ask(f"http://127.0.0.1:{port}", "GET", path, headers=headers)) as sent:
            for version in (step.then, step.first):
                wait_for_reads(sent)
                gate.close()
                gate.enter_context(gate_of(version, state, mlflow_3_17, port))
            wait_for_reads(sent)

    assert set(sent.statuses) == {200}


def wait_for_reads(sent: Sent) -> None:
    """Wait until the gate that runs now has answered some reads."""
    enough = len(sent.statuses) + 40
    while len(sent.statuses) < enough:
        time.sleep(0.05)
