"""Each fault of an object store, on a real S3 server; `tests/model_delivery` has one of each kind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from model_contract.exit_codes import ExitCode
from testbed.delivery import Delivery
from testbed.faults import answer, cut, first, only, stall
from testbed.object_stores import register, s3_bucket, upload
from testbed.reverse_proxy import Exchange, Rule, reverse_proxy
from testbed.s3_server import s3_server
from tests.model_delivery.test_fetch import MIB
from tests.model_delivery.test_object_stores import FILES, OnS3, arrived, fetch
from tests.model_delivery.test_presigned import asked_for
from tests.model_delivery.test_ranges import SECOND, changed, longer

PASSING: dict[str, Callable[[], Rule]] = {
    "cut": lambda: asked_for(SECOND, first(1, cut(5 * MIB))),
    "cut at once": lambda: asked_for(SECOND, first(1, cut(0))),
    "cut one byte before the end": lambda: asked_for(SECOND, first(1, cut(16 * MIB - 1))),
    "silent": lambda: asked_for(SECOND, first(1, stall(5 * MIB))),
    "silent at once": lambda: asked_for(SECOND, first(1, stall(0))),
    "503": lambda: asked_for(SECOND, first(1, answer(503, b"<Error><Code>SlowDown</Code></Error>"))),
    "500 to the listing": lambda: only("list-type", first(1, answer(500))),
    "no such range": lambda: asked_for(SECOND, first(1, answer(416))),
}


@pytest.mark.parametrize("rule", PASSING.values(), ids=PASSING.keys())
def test_a_fault_of_the_store_that_passes_changes_nothing(
    tmp_path: Path, on_s3: OnS3, rule: Callable[[], Rule]
) -> None:
    on_s3.proxy.rules = [rule()]
    delivery = Delivery(directory=tmp_path, uri=on_s3.mlflow, environment=on_s3.environment(tmp_path))
    ended = delivery.fetch(on_s3.versions["big"], "--stall=1")

    assert ended.code == ExitCode.DONE, ended.output
    assert arrived(tmp_path, on_s3.versions["big"])


ODD: dict[str, Rule] = {
    "another range": changed({"content-range": f"bytes 0-{16 * MIB - 1}/{36 * MIB}"}),
    "another size": changed({"content-range": f"bytes {16 * MIB}-{32 * MIB - 1}/{37 * MIB}"}),
    "no range": changed({"content-range": ""}),
    "more bytes than the range has": longer,
    "416": answer(416),
}


@pytest.mark.parametrize("rule", ODD.values(), ids=ODD.keys())
def test_ranges_of_the_store_that_do_not_fit_make_the_file_come_in_one_piece(
    tmp_path: Path, on_s3: OnS3, rule: Rule
) -> None:
    ended = fetch(tmp_path, on_s3, asked_for(SECOND, rule), options=["--tries=1"])

    assert ended.code == ExitCode.DONE, ended.output
    assert ended.output.count("it is fetched again, in one piece") == 1
    assert arrived(tmp_path, on_s3.versions["big"])


def listed(change: Callable[[bytes], bytes]) -> Rule:
    def rule(exchange: Exchange) -> bool:
        with exchange.upstream() as real:
            exchange.send(real.status, change(real.read()), {"Content-Type": "application/xml"})
        return True

    return only("list-type", rule)


FINAL: dict[str, tuple[Rule, ExitCode, str]] = {
    "a larger size is listed": (listed(lambda xml: xml.replace(b">12<", b">13<")), ExitCode.DAMAGED, "listed with 13"),
    "a smaller size is listed": (listed(lambda xml: xml.replace(b">12<", b">11<")), ExitCode.DAMAGED, "listed with"),
    "no such bucket": (
        answer(404, b"<Error><Code>NoSuchBucket</Code></Error>"),
        ExitCode.NOT_FOUND,
        "404 NoSuchBucket",
    ),
    "nothing is listed, and files are there": (
        listed(lambda xml: xml[: xml.index(b"<Contents>")] + xml[xml.rindex(b"</Contents>") + 11 :]),
        ExitCode.INVALID_INPUT,
        "the answer is no listing",
    ),
    "no XML is listed": (listed(lambda _: b"<html>"), ExitCode.INVALID_INPUT, "the answer is no listing"),
    "a name leaves the directory": (
        listed(lambda xml: xml.replace(b"/empty<", b"/../x<")),
        ExitCode.INVALID_INPUT,
        "refused as a file name",
    ),
    "a file is above another": (
        listed(lambda xml: xml.replace(b"/weights.bin<", b"/code<")),
        ExitCode.INVALID_INPUT,
        "a disk cannot hold both",
    ),
    "a file is gone": (only("MLmodel", answer(404)), ExitCode.NOT_FOUND, "answers 404"),
    "it forbids": (
        answer(403, b"<Error><Code>AccessDenied</Code></Error>"),
        ExitCode.NOT_AUTHORISED,
        "403 AccessDenied",
    ),
    "it stays away": (answer(503), ExitCode.UNAVAILABLE, "answers 503"),
    "it is silent": (stall(0), ExitCode.UNAVAILABLE, "sent nothing in time"),
    "it redirects without an address": (answer(301), ExitCode.INVALID_INPUT, "set AWS_REGION"),
}


@pytest.mark.parametrize(("rule", "code", "reason"), FINAL.values(), ids=FINAL.keys())
def test_a_fault_of_the_store_that_stays_ends_with_its_code_and_reason(
    tmp_path: Path, on_s3: OnS3, rule: Rule, code: ExitCode, reason: str
) -> None:
    on_s3.proxy.rules = [rule]
    delivery = Delivery(directory=tmp_path, uri=on_s3.mlflow, environment=on_s3.environment(tmp_path))
    ended = delivery.fetch(on_s3.versions["big"], "--stall=1")

    assert ended.code == code, ended.output
    assert reason in ended.reason
    assert not delivery.run_directory(on_s3.versions["big"]).exists()


@pytest.mark.parametrize("mebibytes", [0, 1, 20, 35])
def test_a_full_disk_ends_the_fetch_and_leaves_nothing(tmp_path: Path, on_s3: OnS3, mebibytes: int) -> None:
    """The limit on the size of a file ends a write as a full disk does, after a part of it."""
    delivery = Delivery(directory=tmp_path, uri=on_s3.mlflow, environment=on_s3.environment(tmp_path))
    ref = on_s3.versions["big"]
    ended = delivery.fetch(ref, before=["prlimit", f"--fsize={mebibytes * MIB + 4321}"])

    assert ended.code == ExitCode.NO_SPACE, ended.output
    assert not delivery.run_directory(ref).exists()
    assert delivery.fetch(ref).code == ExitCode.DONE
    assert arrived(tmp_path, ref)


def test_a_store_that_restarts_in_the_middle_is_waited_for(tmp_path: Path, on_s3: OnS3) -> None:
    again: list[object] = []
    with s3_server(tmp_path / "s3") as server:
        bucket = s3_bucket(server, "models")
        upload(bucket, "restarted", FILES)
        port = int(server.endpoint.rpartition(":")[2])
        ref = register(on_s3.mlflow, "restarted", "s3://models/restarted")

        def restart(exchange: Exchange) -> bool:
            server.process.kill()
            context = s3_server(tmp_path / "s3", port=port)
            context.__enter__()
            again.append(context)
            exchange.hang_up()
            return True

        with reverse_proxy(server.endpoint, asked_for(SECOND, first(1, restart)), keep_host=True) as proxy:
            environment = on_s3.environment(tmp_path) | {"AWS_ENDPOINT_URL": proxy.uri}
            delivery = Delivery(directory=tmp_path, uri=on_s3.mlflow, environment=environment)
            ended = delivery.fetch(ref, "--tries=20", "--longest-wait=0.5", "--stall=2")
        for context in again:
            context.__exit__(None, None, None)  # type: ignore[attr-defined]

    assert ended.code == ExitCode.DONE, ended.output
    assert again
    assert arrived(tmp_path, ref)
