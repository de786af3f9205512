"""`model-api plan` and `promote`, from a file to the registry, through the gate."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from model_contract.names import TAG_DIGEST
from model_contract.tokens import Purpose
from model_lifecycle.commands import report
from model_lifecycle.commands.promotion_report import repair
from model_lifecycle.digests import Digest
from model_lifecycle.promotion.steps import Step
from model_lifecycle.promotion_file import Entry
from model_lifecycle.registry import Version
from model_lifecycle.tracking import project_variable
from testbed.faults import answer, only
from testbed.gate import API, OTHER, PROJECT, Gate, ask
from testbed.lifecycle import NUMBERS, Model, environment, new_model, run, write_file
from testbed.reverse_proxy import reverse_proxy


def test_file_is_planned_promoted_and_then_nothing_is_left_to_do(model: Model, tmp_path: Path) -> None:
    first, second = model.staged(), model.staged()
    env, file = environment(model.gate), tmp_path / "model_version.json"
    assert run(env, "promote", write_file(file, (model, first)), "--commit", "c0ffee").code == 0
    write_file(file, (model, second))

    planned = run(env, "plan", file, "--detailed-exitcode")
    promoted = run(env, "promote", file, "--commit", "decaf", "--reason", "better on reds")
    lines = len(model.gate.lines())
    again = run(env, "promote", file)

    assert planned.code == 10
    assert "Production  1         production 1 → 2" in planned.out
    assert promoted.code == 0
    state = model.state()
    assert state["stages"] == {first: "Archived", second: "Production"}
    assert state["aliases"] == {"production": second}
    tags = state["tags"][second]
    assert (tags["promotion.prev"], tags["promotion.commit"], tags["promotion.by"]) == (first, "decaf", "octocat")
    assert tags["promotion.reason"] == "better on reds"
    assert (again.code, again.out.splitlines()[0]) == (0, f"{file}: nothing to do")
    assert len(model.gate.lines()) == lines
    assert any(line.get("commit") == "decaf" and line.get("to_stage") == "Production" for line in model.gate.lines())


def test_whole_file_is_checked_before_anything_moves(any_gate: Gate, tmp_path: Path) -> None:
    good, untried, foreign = new_model(any_gate), new_model(any_gate), new_model(any_gate, OTHER)
    number, none = good.staged(), untried.version()
    file = tmp_path / "model_version.json"
    document = {
        PROJECT: [
            {"name": good.name, "version": int(number)},
            {"name": untried.name, "version": int(none)},
            {"name": "no-such", "version": 1},
        ]
    }
    document[PROJECT].append({"name": foreign.name, "version": int(foreign.staged())})
    document[PROJECT].append({"name": good.name + "-x", "version": 7})
    file.write_text(json.dumps(document))

    refused = run(environment(any_gate), "promote", file)

    assert refused.code == 4  # the gravest: there are models that are not this project's, as far as its token learns
    assert (
        f"{untried.name} version {none}: it is in stage None: `model-api stage` brings it to Staging first"
        in refused.err
    )
    for name in ("no-such", foreign.name):
        assert f"{name} version" in refused.err
    assert good.state()["stages"] == {number: "Staging"}


def test_version_that_is_not_there_is_named_with_the_newest_that_is(model_3: Model, tmp_path: Path) -> None:
    model_3.staged()

    refused = run(environment(model_3.gate), "promote", write_file(tmp_path / "file.json", (model_3, "9")))

    assert refused.code == 5
    assert f"{model_3.name} version 9: there is no such version; the newest is 1" in refused.err


@pytest.mark.parametrize("name", ["Jane's wine", '100% "wine"'])
def test_model_whose_name_no_filter_can_hold_is_promoted_and_rolled_back(
    any_gate: Gate, tmp_path: Path, name: str
) -> None:
    model = replace(new_model(any_gate), name=f"{name} {next(NUMBERS)}")
    model.post("registered-models/create", {"name": model.name}, any_gate.basic("jane"))
    env, file = environment(any_gate), tmp_path / "model_version.json"
    model.version()
    model.gate.ask(
        "DELETE", f"{API}/model-versions/delete", {"name": model.name, "version": "1"}, any_gate.basic("jane")
    )
    ended = [run(env, "promote", write_file(file, (model, model.staged()))).code for _ in range(2)]
    back = run(env, "rollback", "--project", PROJECT, "--model", model.name)
    stages = [
        ask(any_gate.server.uri, "GET", f"{API}/model-versions/get?name={quote(model.name)}&version={number}").json
        for number in (2, 3)
    ]

    assert (*ended, back.code) == (0, 0, 0), back.err
    assert [found["model_version"]["current_stage"] for found in stages] == ["Production", "Archived"]


def test_other_tokens_move_nothing(model_3: Model, tmp_path: Path) -> None:
    number = model_3.staged()
    file = write_file(tmp_path / "file.json", (model_3, number))
    pull = run(environment(model_3.gate, purpose=Purpose.PULL), "promote", file)
    other = run(environment(model_3.gate, OTHER), "promote", file)
    nobody = run(environment(model_3.gate) | {"MLFLOW_TRACKING_TOKEN": "no-token"}, "promote", file)

    assert (pull.code, other.code, nobody.code) == (4, 4, 4)
    assert "needs the promote token of the project" in pull.err
    assert "refused, nothing has moved" in pull.out
    assert f"the token is of project {OTHER}, and not of {PROJECT}" in other.err
    assert "token not accepted" in nobody.err
    assert model_3.state()["stages"] == {number: "Staging"}


def test_each_project_of_a_file_is_promoted_with_its_own_token(gate_3: Gate, tmp_path: Path) -> None:
    mine, theirs = new_model(gate_3), new_model(gate_3, OTHER)
    entries = (mine, mine.staged()), (theirs, theirs.staged())
    file = write_file(tmp_path / "file.json", *entries)
    both = environment(gate_3) | {project_variable(OTHER): gate_3.token(Purpose.PROMOTE, OTHER) + "\n"}
    secrets = json.dumps({project_variable(one): gate_3.token(Purpose.PROMOTE, one) for one in (PROJECT, OTHER)})

    only = run(environment(gate_3), "promote", file, "--only", PROJECT.upper())
    assert only.code == 0
    assert theirs.state()["stages"] == {"1": "Staging"}
    assert run(both, "promote", file).code == 0
    assert theirs.state()["stages"] == {"1": "Production"}
    legacy = run(environment(gate_3) | {"MLFLOW_TRACKING_TOKEN": "", "PROJECT_TOKENS": secrets}, "promote", file)
    assert (legacy.code, legacy.out.splitlines()[0]) == (0, f"{file}: nothing to do")


def test_digest_that_the_file_or_the_version_says_is_held_to_the_files(model: Model, tmp_path: Path) -> None:
    number = model.staged()
    env, file = environment(model.gate), tmp_path / "file.json"
    planned = run(env, "plan", write_file(file, (model, number)), "--format", "json").json
    wrong = run(env, "promote", write_file(file, (model, number), digest=f"sha256:{'0' * 64}"))
    right = run(env, "promote", write_file(file, (model, number), digest=planned["steps"][0]["digest"]))
    (model.files(number) / "MLmodel").write_bytes(b"flavors: {x}\n")
    changed = run(env, "status", file, "--check")

    assert wrong.code == 6
    assert "and the file says sha256:000" in wrong.err
    assert right.code == 0
    assert changed.code == 6
    assert f"the files of version {number} of '{model.name}' have the digest" in changed.err


def test_files_whose_digest_is_recorded_are_not_read_again(model_3: Model, tmp_path: Path) -> None:
    number = model_3.staged()
    file = write_file(tmp_path / "file.json", (model_3, number))
    assert run(environment(model_3.gate), "promote", file).code == 0
    assert TAG_DIGEST in str(
        model_3.gate.ask(
            "GET", f"{API}/model-versions/get?name={model_3.name}&version={number}", headers=model_3.gate.basic("both")
        ).json
    )
    with reverse_proxy(model_3.gate.uri) as proxy:
        assert run(environment(model_3.gate, uri=proxy.uri), "plan", file).code == 0
        read = [seen.method for seen in proxy.seen if seen.path.endswith("/MLmodel")]
        (model_3.files(number) / "MLmodel").write_bytes(b"flavors: {y}\n")
        refused = run(environment(model_3.gate, uri=proxy.uri), "plan", file)

    assert read == ["HEAD"]
    assert refused.code == 6


def test_models_of_a_file_are_read_together_if_mlflow_can_search_for_them(any_gate: Gate, tmp_path: Path) -> None:
    """Two searches before, and two afterwards; MLflow 2 gets no request that the gate would refuse."""
    models = [new_model(any_gate) for _ in range(3)]
    file = write_file(tmp_path / "file.json", *[(model, model.staged()) for model in models])
    refused = [line for line in any_gate.lines() if line["decision"] == "deny"]
    with reverse_proxy(any_gate.uri) as proxy:
        done = run(environment(any_gate, uri=proxy.uri), "promote", file)

    together = any_gate.server.version != "2.22"
    paths = [seen.path.partition("?")[0].removeprefix(f"{API}/") for seen in proxy.seen]
    assert (done.code, done.err) == (0, "")
    assert paths.count("registered-models/search") == (2 if together else 0)
    assert paths.count("model-versions/search") == (2 if together else 3)
    assert paths.count("registered-models/get") == paths.count("model-versions/get") == (0 if together else 3)
    assert [line for line in any_gate.lines() if line["decision"] == "deny"] == refused


@pytest.mark.parametrize("status", [400, 403, 404])
def test_models_that_mlflow_does_not_list_together_are_read_one_by_one(
    gate_3: Gate, tmp_path: Path, status: int
) -> None:
    """The gate refuses searches of tokens here."""
    models = [new_model(gate_3) for _ in range(2)]
    file = write_file(tmp_path / "file.json", *[(model, model.staged()) for model in models])
    with reverse_proxy(gate_3.uri, only("registered-models/search", answer(status))) as proxy:
        done = run(environment(gate_3, uri=proxy.uri), "promote", file)

    assert done.code == 0
    assert [model.state()["stages"] for model in models] == [{"1": "Production"}] * 2


OTHER_SERVERS = {
    "default backend": (answer(404, b"default backend - 404"), 5, "MLflow answers 404"),
    "another API": (answer(404, b'{"detail": "Not Found"}'), 5, "MLflow answers 404"),
    "an empty object": (answer(200, b"{}"), 3, "the answer has no registered_model"),
}


@pytest.mark.parametrize("other", OTHER_SERVERS)
def test_other_server_than_mlflow_is_not_taken_for_one_without_models(gate_3: Gate, tmp_path: Path, other: str) -> None:
    rule, code, said = OTHER_SERVERS[other]
    (file := tmp_path / "file.json").write_text(json.dumps({PROJECT: [{"name": "wine", "version": 1}]}))
    with reverse_proxy(gate_3.uri, rule) as proxy:
        ended = [run(environment(gate_3, uri=proxy.uri), command, file) for command in ("status", "plan")]

    for done in ended:
        assert done.code == code
        assert f"{said}; check that MLflow itself is at {proxy.uri}" in done.err + done.out


def test_two_versions_in_production_become_one(model: Model, tmp_path: Path) -> None:
    """The original's promotion left two versions in Production."""
    numbers = [model.staged(), model.staged(), model.staged()]
    for number in numbers[:2]:
        model.post(
            "model-versions/transition-stage",
            {"name": model.name, "version": number, "stage": "Production"},
            model.gate.basic("root"),
        )
    file = write_file(tmp_path / "file.json", (model, numbers[2]))

    assert run(environment(model.gate), "promote", file).code == 0
    assert model.state()["stages"] == {numbers[0]: "Archived", numbers[1]: "Archived", numbers[2]: "Production"}


def test_registry_without_stages_is_promoted_by_alias_only(model: Model, tmp_path: Path) -> None:
    first, second = model.version(), model.version()
    env, file = environment(model.gate), tmp_path / "file.json"
    assert run(env, "promote", write_file(file, (model, first)), "--alias-only").code == 0
    assert run(env, "promote", write_file(file, (model, second)), "--alias-only").code == 0
    assert model.state()["aliases"] == {"production": second}
    back = run(env, "rollback", "--project", PROJECT, "--model", model.name, "--alias-only")

    assert back.code == 0
    assert model.state()["aliases"] == {"production": first}
    assert set(model.state()["stages"].values()) == {"None"}
    assert run(env, "status", write_file(file, (model, first)), "--alias-only", "--check").code == 0


def test_github_gets_a_table_and_annotations(model_3: Model, tmp_path: Path) -> None:
    number = model_3.staged()
    page = tmp_path / "summary.md"
    env = environment(model_3.gate) | {"GITHUB_STEP_SUMMARY": str(page)}
    refused = run(env, "promote", write_file(tmp_path / "file.json", (model_3, "8")), "--format", "github")
    done = run(env, "promote", write_file(tmp_path / "file.json", (model_3, number)), "--format", "github")

    assert refused.out.splitlines()[-1].startswith("::error file=")
    assert done.code == 0
    assert f"| {model_3.name} | {number} | Staging | Production | - | production none → {number} |" in page.read_text()
    assert "cannot be promoted" in page.read_text()


@pytest.mark.parametrize("name", ["Jane's wine", "-x", "red, 50% $HOME"])
def test_name_of_any_characters_stays_one_word_for_a_shell_and_for_github(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    former, version = (
        Version(name=name, version=number, stage=stage, status="READY", source="", run_id="")
        for number, stage in (("1", "Production"), ("2", "Staging"))
    )
    entry = Entry(project_id=PROJECT, name=name, version="2")
    digest = Digest(digest="", listing=None)
    step = Step(entry=entry, version=version, others=(former,), aliased="1", digest=digest)
    report.error(name, "a fault")

    rollback = ["model-api", "rollback", "--project", PROJECT, f"--model={name}", "--to", "1"]
    assert shlex.split(repair(step)) == rollback
    properties, _, text = capsys.readouterr().out.removeprefix("::error ").partition("::")
    assert (properties.count(","), text) == (1, "a fault\n")


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"MLFLOW_TRACKING_URI": ""}, 3, "MLFLOW_TRACKING_URI is not set"),
        (
            {"MLFLOW_TRACKING_URI": "https://mlflow/?token=secret"},
            3,
            "is no http(s) address of a host, without a query",
        ),
        ({"SSL_CERT_FILE": "/nowhere"}, 3, "SSL_CERT_FILE names /nowhere, which is not a file"),
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}, 8, "MLflow at http://127.0.0.1:9 does not answer"),
        ({"MLFLOW_TRACKING_TOKEN": "two words"}, 3, "MLFLOW_TRACKING_TOKEN holds characters that a token cannot have"),
        ({"PROJECT_TOKENS": "null"}, 3, "PROJECT_TOKENS is no JSON object"),
    ],
    ids=[
        "no address",
        "address with a query",
        "no file of authorities",
        "nobody there",
        "token with a space",
        "secrets that are none",
    ],
)
def test_setting_that_cannot_be_right_is_named(
    model_3: Model, tmp_path: Path, change: dict[str, str], code: int, said: str
) -> None:
    file = write_file(tmp_path / "file.json", (model_3, "1"))

    refused = run(environment(model_3.gate) | change, "promote", file, "--retries", "1")

    assert refused.code == code
    assert said in refused.err
    assert "token=secret" not in refused.err


def test_reason_is_any_text_of_one_line_and_a_commit_is_ascii(model_3: Model, tmp_path: Path) -> None:
    file = write_file(tmp_path / "file.json", (model_3, model_3.staged()))
    env, reason = environment(model_3.gate), "moins d\u2019erreurs\u00a0: v2 \U0001f469\u200d\U0001f52c"

    for option, text in (("--reason", "two\u2028lines"), ("--reason", "a\tb"), ("--commit", "v2-\xe9t\xe9")):
        refused = run(env, "promote", file, option, text)
        assert (refused.code, "must be" in refused.err) == (2, True), refused.err
    promoted = run(env, "promote", file, "--reason", reason)

    assert promoted.code == 0, promoted.err
    assert model_3.state()["tags"]["1"]["promotion.reason"] == reason


def test_file_that_cannot_be_used_is_reported_as_validate_does(model_3: Model, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text('{"x_": []}')

    for command in ("plan", "promote", "status"):
        refused = run(environment(model_3.gate), command, file)
        assert refused.code == 3
        assert "is no project id" in refused.err
