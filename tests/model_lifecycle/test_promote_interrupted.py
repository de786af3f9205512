"""Promotions that are interrupted, fail, collide or get no answer: nothing is lost, and a second run finishes them."""

import json
import shlex
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from model_contract.token_keys import TokenKey
from model_contract.tokens import Purpose, new_token
from model_lifecycle.cli import main
from model_lifecycle.promotion import changes
from testbed.gate import API, PROJECT, Gate, ask, gate
from testbed.lifecycle import MODULES, Model, environment, new_model, run, start, write_file
from testbed.mlflow_server import mlflow_server
from testbed.processes import PATIENCE, TAKES_SIGINT, Process, installed
from testbed.reverse_proxy import Exchange, reverse_proxy

WRITES = 8  # of a promotion over another version: two of the digest, four tags, the stage and the alias
ALIKE = {4, 5}  # tags as those before and after them


def writes(exchange: Exchange) -> bool:
    return exchange.command in {"POST", "DELETE"} and "search" not in exchange.path


@dataclass
class Nth:
    """Calls a function at the nth write, once."""

    number: int
    act: Callable[[Exchange], bool]
    count: int = 0
    met: bool = False

    def __call__(self, exchange: Exchange) -> bool:
        if not writes(exchange):
            return False
        self.count += 1
        if self.count != self.number:
            return False
        self.met = True
        return self.act(exchange)


@pytest.fixture
def served(model_3: Model) -> Model:
    """A model with version 1 in Production."""
    return in_production(model_3)


def in_production(model: Model) -> Model:
    """Move a first version to Production as a promotion does, by three of its requests."""
    version, promote = {"name": model.name, "version": model.staged()}, model.gate.bearer(Purpose.PROMOTE)
    model.post("model-versions/transition-stage", version | {"stage": "Production"}, promote)
    model.post("registered-models/alias", version | {"alias": "production"}, promote)
    model.post("model-versions/set-tag", version | {"key": "promotion.id", "value": "1"}, promote)
    return model


@pytest.mark.parametrize("forwarded", [False, True], ids=["before a write", "after the last write"])
def test_killed_promotion_leaves_a_version_that_serves_and_a_second_run_finishes_it(
    served: Model, tmp_path: Path, forwarded: bool
) -> None:
    """After each other write it leaves what it leaves before the next one."""
    file, met, before = tmp_path / "file.json", 0, "1"
    for number in [WRITES] if forwarded else sorted({*range(1, WRITES + 2)} - ALIKE):
        version = served.staged()
        write_file(file, (served, version))
        victim: Future[Process] = Future()

        def kill(exchange: Exchange, victim: Future[Process] = victim) -> bool:
            if forwarded:
                with exchange.upstream(exchange.body) as answer:
                    answer.read()
            victim.result(PATIENCE).popen.kill()
            exchange.hang_up()
            return True

        rule = Nth(number, kill)
        with reverse_proxy(served.gate.uri, rule) as proxy:
            victim.set_result(start(environment(served.gate, uri=proxy.uri), "promote", file, log=tmp_path / "log"))
            code = victim.result().popen.wait(PATIENCE)
        met += rule.met
        if not rule.met:
            assert code == 0
            continue
        assert code == -signal.SIGKILL
        between = served.state()
        assert between["aliases"]["production"] in {before, version}
        assert [one for one, stage in between["stages"].items() if stage == "Production"] in ([before], [version])

        assert run(environment(served.gate), "promote", file).code == 0
        state = served.state()
        assert state["aliases"]["production"] == version
        assert [one for one, stage in state["stages"].items() if stage == "Production"] == [version]
        assert state["tags"][version]["promotion.prev"] == before
        before = version
    assert met == (1 if forwarded else WRITES - len(ALIKE))


def lost(exchange: Exchange) -> bool:
    with exchange.upstream(exchange.body) as answer:
        answer.read()
    exchange.hang_up()
    return True


def broken(exchange: Exchange) -> bool:
    with exchange.upstream(exchange.body) as answer:
        answer.read()
    exchange.send(500, b"<html>")
    return True


def dropped(exchange: Exchange) -> bool:
    exchange.send(503, b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}')
    return True


@dataclass
class FirstTime:
    """Fails each write once."""

    fault: Callable[[Exchange], bool]
    seen: set[bytes] = field(default_factory=set)

    def __call__(self, exchange: Exchange) -> bool:
        key = exchange.path.encode() + exchange.body
        if not writes(exchange) or key in self.seen:
            return False
        self.seen.add(key)
        return self.fault(exchange)


def test_answer_that_does_not_come_is_found_by_reading(served: Model, tmp_path: Path) -> None:
    archived = {"1": "Archived"}
    for fault in (lost, broken, dropped):
        version = served.staged()
        file = write_file(tmp_path / "file.json", (served, version))
        rule = FirstTime(fault)
        with reverse_proxy(served.gate.uri, rule) as proxy:
            done = run(environment(served.gate, uri=proxy.uri), "promote", file)

        assert done.code == 0, (fault, done.err)
        assert len(rule.seen) >= 8
        state = served.state()
        assert (state["stages"], state["aliases"]) == (archived | {version: "Production"}, {"production": version})
        archived[version] = "Archived"


def refuse(exchange: Exchange) -> bool:
    exchange.send(409, b'{"error_code": "RESOURCE_CONFLICT", "message": "not today"}')
    return True


def on(name: str, part: str, then: Callable[[Exchange], bool]) -> Callable[[Exchange], bool]:
    """Select one model's requests whose path and body hold `part`."""

    def rule(exchange: Exchange) -> bool:
        return (
            writes(exchange)
            and f'"{name}"'.encode() in exchange.body
            and part in exchange.path + exchange.body.decode()
            and then(exchange)
        )

    return rule


def test_failure_of_one_model_at_any_part_puts_all_of_them_back(served: Model, tmp_path: Path) -> None:
    second, fresh = in_production(new_model(served.gate)), new_model(served.gate)
    file = write_file(
        tmp_path / "file.json", (served, served.staged()), (fresh, fresh.staged()), (second, second.staged())
    )
    before = [one.state() for one in (served, fresh, second)]
    for part in ("promotion.at", "transition-stage", "registered-models/alias"):
        with reverse_proxy(served.gate.uri, on(second.name, part, refuse)) as proxy:
            failed = run(environment(served.gate, uri=proxy.uri), "promote", file)

        assert failed.code == 9, part
        assert f"{second.name} version 2: MLflow answers 409 RESOURCE_CONFLICT: not today" in failed.err
        assert [one.state() for one in (served, fresh, second)] == before
    assert run(environment(served.gate), "promote", file).code == 0


def test_refusal_of_the_token_has_its_exit_code_only_if_nothing_was_changed(served: Model, tmp_path: Path) -> None:
    file = write_file(tmp_path / "file.json", (served, served.staged()))
    before = served.state()

    def forbid(exchange: Exchange) -> bool:
        exchange.send(403, b'{"error_code": "PERMISSION_DENIED", "message": "not you"}')
        return True

    for part, code in (("model-api.digest", 4), ("promotion.at", 9), ("transition-stage", 9)):
        with reverse_proxy(served.gate.uri, on(served.name, part, forbid)) as proxy:
            refused = run(environment(served.gate, uri=proxy.uri), "promote", file)

        assert (refused.code, served.state()) == (code, before), part
        assert "not you" in refused.err


def test_list_of_models_that_fails_after_the_moves_is_the_fault_of_none_of_them(served: Model, tmp_path: Path) -> None:
    fresh = new_model(served.gate)
    file = write_file(tmp_path / "file.json", (served, served.staged()), (fresh, fresh.staged()))
    before = [one.state() for one in (served, fresh)]
    moved = threading.Event()

    def refuse_list(exchange: Exchange) -> bool:
        if writes(exchange):
            moved.set()
        return "registered-models/search" in exchange.path and moved.is_set() and refuse(exchange)

    with reverse_proxy(served.gate.uri, refuse_list) as proxy:
        failed = run(environment(served.gate, uri=proxy.uri), "promote", file)

    assert failed.code == 9
    assert failed.err.startswith("MLflow answers 409 RESOURCE_CONFLICT: not today")
    assert [one.state() for one in (served, fresh)] == before


def test_model_that_another_client_moves_before_it_is_read_back_puts_all_of_them_back(
    served: Model, tmp_path: Path
) -> None:
    fresh, version = new_model(served.gate), served.staged()
    file = write_file(tmp_path / "file.json", (fresh, fresh.staged()), (served, version))
    before = fresh.state()

    def interfere(exchange: Exchange) -> bool:
        if "model-versions/search" in exchange.path and served.state()["stages"][version] == "Production":
            body = {"name": served.name, "version": version, "stage": "Archived"}
            ask(served.gate.server.uri, "POST", f"{API}/model-versions/transition-stage", body)
        return False

    with reverse_proxy(served.gate.uri, interfere) as proxy:
        failed = run(environment(served.gate, uri=proxy.uri), "promote", file)

    assert failed.code == 9
    assert (
        f"{served.name} version {version}: MLflow has it in stage Archived after it was moved to Production"
        in failed.err
    )
    assert fresh.state() == before


def test_change_that_cannot_be_put_back_is_named_with_the_command_that_repairs_it(
    served: Model, tmp_path: Path
) -> None:
    second = new_model(served.gate)
    file = write_file(tmp_path / "file.json", (served, served.staged()), (second, second.staged()))
    moved = threading.Event()

    def move(exchange: Exchange) -> bool:
        exchange.relay(exchange.body)
        moved.set()
        return True

    def refuse_all(exchange: Exchange) -> bool:
        """Refuse writes once the first model has moved."""
        if f'"{second.name}"'.encode() in exchange.body:
            moved.wait(60)
        return writes(exchange) and moved.is_set() and refuse(exchange)

    with reverse_proxy(served.gate.uri, refuse_all, on(served.name, "registered-models/alias", move)) as proxy:
        failed = run(environment(served.gate, uri=proxy.uri), "promote", file)
    assert failed.code == 7
    assert served.state()["stages"] == {"1": "Archived", "2": "Production"}
    (repair,) = [line.partition("repair it with: ")[2] for line in failed.err.splitlines() if "repair it with" in line]
    assert run(environment(served.gate), *shlex.split(repair)[1:]).code == 0
    assert served.state()["stages"] == {"1": "Production", "2": "Archived"}


def promote_with_signal(served: Model, file: Path, number: int, then: Callable[[Exchange], bool]) -> tuple[int, str]:
    """Promote, and send the signal before the alias is set. `then` sees every later request. Return code and output."""
    victim: Future[Process] = Future()
    sent = threading.Event()

    def interrupt(exchange: Exchange) -> bool:
        if sent.is_set():
            return False
        victim.result(PATIENCE).popen.send_signal(number)
        time.sleep(0.5)  # the process has it before the answer
        exchange.relay(exchange.body)
        sent.set()
        return True

    def later(exchange: Exchange) -> bool:
        return sent.is_set() and then(exchange)

    command, log = [installed("model-api"), "promote", file], file.with_suffix(".log")
    with reverse_proxy(served.gate.uri, later, on(served.name, "registered-models/alias", interrupt)) as proxy:
        env = environment(served.gate, uri=proxy.uri)
        if number == signal.SIGINT:
            victim.set_result(Process.start([*TAKES_SIGINT, *command], log=log, env=env))
        else:
            victim.set_result(Process.start(command, log=log, env=env, imported=MODULES))
        code = victim.result().popen.wait(PATIENCE)
    assert sent.is_set()
    return code, log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_promotion_is_put_back_and_says_so(served: Model, tmp_path: Path, number: signal.Signals) -> None:
    before = served.state()
    code, err = promote_with_signal(
        served, write_file(tmp_path / "file.json", (served, served.staged())), number, lambda _: False
    )

    after = served.state()
    assert (code, after["aliases"], after["stages"]) == (9, before["aliases"], {**before["stages"], "2": "Staging"})
    assert f"interrupted by {number.name}" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_promotion_that_cannot_be_put_back_names_the_model_and_the_repair(
    served: Model, tmp_path: Path, number: signal.Signals
) -> None:
    file = write_file(tmp_path / "file.json", (served, served.staged()))
    code, err = promote_with_signal(served, file, number, lambda exchange: writes(exchange) and refuse(exchange))

    assert code == 7
    assert f"interrupted by {number.name}" in err
    assert f"{served.name} could not be put back" in err
    (repair,) = [line.partition("repair it with: ")[2] for line in err.splitlines() if "repair it with" in line]
    assert run(environment(served.gate), *shlex.split(repair)[1:]).code == 0
    assert served.state()["stages"] == {"1": "Production", "2": "Archived"}


@pytest.mark.parametrize("undone", [True, False], ids=["can be put back", "cannot be put back"])
def test_fault_of_the_program_is_put_back_or_names_the_model_and_the_repair(
    served: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undone: bool
) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("a secret")

    file = write_file(tmp_path / "file.json", (served, served.staged()))
    before = served.state()
    with monkeypatch.context() as patched:
        patched.setattr(changes, "alias_change", fault)
        if not undone:
            patched.setattr(changes, "_restore_stages", fault)
        ended = CliRunner().invoke(main, ["promote", str(file)], env=environment(served.gate))

    assert "unexpected RuntimeError at test_promote_interrupted.py:" in ended.stderr
    assert "a secret" not in ended.output
    if undone:
        assert (ended.exit_code, served.state()) == (9, before)
        return
    assert ended.exit_code == 7
    assert f"{served.name} could not be put back: unexpected RuntimeError" in ended.stderr
    (repair,) = [line.partition("repair it with: ")[2] for line in ended.stderr.splitlines() if "repair it" in line]
    assert run(environment(served.gate), *shlex.split(repair)[1:]).code == 0
    assert served.state()["stages"] == {"1": "Production", "2": "Archived"}


def test_two_promotions_at_once_end_as_one_of_them_says(served: Model, tmp_path: Path) -> None:
    numbers = [served.staged(), served.staged()]
    files = [write_file(tmp_path / f"{number}.json", (served, number)) for number in numbers]
    running = [start(environment(served.gate), "promote", file, log=file.with_suffix(".log")) for file in files]

    codes = [one.popen.wait(PATIENCE) for one in running]
    assert set(codes) <= {0, 9} and 0 in codes
    state = served.state()
    (serving,) = [number for number, stage in state["stages"].items() if stage == "Production"]
    assert serving in numbers
    for file in files:
        assert run(environment(served.gate), "promote", file).code == 0
    state = served.state()
    assert state["stages"] == {"1": "Archived", numbers[0]: "Archived", numbers[1]: "Production"}
    assert state["aliases"] == {"production": numbers[1]}


def test_same_file_promoted_twice_at_once_is_promoted_once(served: Model, tmp_path: Path) -> None:
    version = served.staged()
    file = write_file(tmp_path / "file.json", (served, version))
    running = [start(environment(served.gate), "promote", file, log=tmp_path / "log") for _ in range(3)]

    assert [one.popen.wait(PATIENCE) for one in running] == [0, 0, 0]
    assert served.state()["stages"] == {"1": "Archived", version: "Production"}
    assert served.state()["tags"][version]["promotion.prev"] == "1"


def test_token_that_is_replaced_in_the_middle_is_reported_and_the_new_one_finishes(
    gate_3: Gate, tmp_path: Path
) -> None:
    with gate(gate_3.server, tmp_path / "own", "--attempts=1000") as own:
        model = new_model(own)
        file = write_file(tmp_path / "file.json", (model, model.staged()))
        fresh = new_token(PROJECT, Purpose.PROMOTE).value.reveal()

        def rotate(exchange: Exchange) -> bool:
            (own.secret_dir / str(TokenKey(project_id=PROJECT, purpose=Purpose.PROMOTE))).write_text(fresh)
            refused = threading.Event()
            while not refused.wait(0.05):  # the gate looks once a second
                if (
                    own.ask(
                        "GET",
                        "/api/2.0/mlflow/registered-models/get?name=x",
                        headers={"Authorization": f"Bearer {fresh}"},
                    ).status
                    != 401
                ):
                    refused.set()
            return False

        with reverse_proxy(own.uri, on(model.name, "registered-models/alias", rotate)) as proxy:
            failed = run(environment(own, uri=proxy.uri), "promote", file)
        assert failed.code == 7
        assert "token not accepted" in failed.err
        assert fresh not in failed.err + failed.out
        assert run(environment(own), "promote", file).code == 0
        assert model.state()["aliases"] == {"production": "1"}


def test_mlflow_that_is_restarted_in_the_middle_is_waited_for(tmp_path: Path) -> None:
    with mlflow_server("3.17", tmp_path / "mlflow") as server, gate(server, tmp_path / "gate") as own:
        model = new_model(own)
        file = write_file(tmp_path / "file.json", (model, model.staged()))
        again: list[Process] = []

        def restart(_: Exchange) -> bool:
            if not again:
                server.process.stop()
                again.append(server.start_again())
            return False

        try:
            with reverse_proxy(own.uri, on(model.name, "transition-stage", restart)) as proxy:
                done = run(environment(own, uri=proxy.uri), "promote", file)
            assert done.code == 0, done.err
            assert model.state()["stages"] == {"1": "Production"}
        finally:
            for process in again:
                process.stop()


def test_secrets_of_a_promotion_are_in_no_output_and_in_no_list_of_processes(served: Model, tmp_path: Path) -> None:
    lines: list[str] = []

    def look(_: Exchange) -> bool:
        lines.extend(
            path.read_bytes().decode(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
        )
        return False

    page = tmp_path / "page.md"
    with reverse_proxy(served.gate.uri, look) as proxy:
        env = environment(served.gate, uri=proxy.uri) | {"GITHUB_STEP_SUMMARY": str(page)}
        file = write_file(tmp_path / "file.json", (served, served.staged()))
        outputs = [
            run(env, "plan", file),
            run(env, "promote", file, "--format", "github", before=["/usr/bin/env"]),  # its own command line is there
            run(env, "status", file),
        ]
        outputs.append(run(env | {"MLFLOW_TRACKING_TOKEN": env["MLFLOW_TRACKING_TOKEN"][:-1] + "!"}, "plan", file))

    seen = "".join(
        [
            *lines,
            page.read_text(),
            served.gate.audit.read_text(),
            served.gate.process.log.read_text(),
            json.dumps([one.out + one.err for one in outputs]),
        ]
    )
    assert lines
    for purpose in Purpose:
        assert served.gate.token(purpose)[:-2] not in seen
