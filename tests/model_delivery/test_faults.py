"""A server that fails, and a network that cuts, between a real MLflow and the delivery."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from model_contract.exit_codes import ExitCode
from testbed.delivery import Delivery, Ended
from testbed.faults import (
    Files,
    answer,
    continue_forever,
    cut,
    cut_head,
    drip_body,
    drip_head,
    early_hint,
    end_early,
    first,
    listing,
    only,
    slowly,
    stall,
    text_without_length,
    without_length,
    without_ranges,
)
from testbed.registered import Registered, files_below
from testbed.reverse_proxy import ReverseProxy, Rule, reverse_proxy

DATA = "data.bin"  # a file of 102,400 bytes


def fetch_through(
    directory: Path, registered: Registered, rules: Sequence[Rule], *options: str, example: str = "plain"
) -> tuple[Ended, ReverseProxy]:
    with reverse_proxy(registered.uri, *rules) as proxy:
        return Delivery(directory=directory, uri=proxy.uri).fetch(registered.ref(example), *options), proxy


def ranges(proxy: ReverseProxy, part: str = DATA) -> list[str | None]:
    """The Range header of each request for a file."""
    return [request.headers.get("Range") for request in proxy.seen if part in request.path]


def once(rule: Rule) -> Rule:
    return first(1, rule)


def two_times(rule: Rule) -> Rule:
    return first(2, rule)


RECOVERED: dict[str, Callable[[], list[Rule]]] = {
    "the connection is cut in the middle, twice": lambda: [only(DATA, two_times(cut(5000)))],
    "a body in chunks ends without its end": lambda: [only(DATA, two_times(end_early(5000)))],
    "the connection is cut before the first byte": lambda: [only(DATA, once(cut(0)))],
    "503 for a moment, on a file": lambda: [only(DATA, two_times(answer(503)))],
    "503 for a moment, on everything": lambda: [two_times(answer(503, b"<html>upstream connect error</html>"))],
    "429 with Retry-After": lambda: [only("model-versions/get?", once(answer(429, headers={"Retry-After": "1"})))],
    "500 for a moment, on a file that is there": lambda: [only(DATA, once(answer(500)))],
    "a range is refused": lambda: [only(DATA, once(cut(5000))), only(DATA, once(answer(416)))],
    "a range is ignored": lambda: [only(DATA, once(cut(5000))), without_ranges],
    "another range comes than was asked for": lambda: [
        only(DATA, once(cut(5000))),
        only(DATA, once(answer(206, b"x", {"Content-Range": "bytes 7-7/102400"}))),
    ],
    "a body without a length, of a listed size": lambda: [only(DATA, without_length)],
    "the connection is cut in a head": lambda: [
        only(part, once(cut_head)) for part in ("model-versions/get?", "artifacts?", DATA)
    ],
    "interim answers come first": lambda: [early_hint],
}


@pytest.mark.parametrize("rules", RECOVERED.values(), ids=RECOVERED.keys())
def test_a_fault_that_passes_does_not_stop_a_delivery(
    tmp_path: Path, mlflow_any: Registered, rules: Callable[[], list[Rule]]
) -> None:
    ended, _ = fetch_through(tmp_path, mlflow_any, rules())
    delivery = Delivery(directory=tmp_path, uri="")

    assert ended.code == ExitCode.DONE, ended.output
    assert files_below(delivery.model(mlflow_any.ref("plain"))) == mlflow_any.files("plain")
    assert delivery.verify(mlflow_any.ref("plain"), "--digests").code == ExitCode.DONE


def test_a_file_that_was_cut_is_continued_from_its_last_byte(tmp_path: Path, mlflow_3: Registered) -> None:
    ended, proxy = fetch_through(tmp_path, mlflow_3, [only(DATA, once(cut(5000)))])

    assert ended.code == ExitCode.DONE, ended.output
    assert ranges(proxy) == [None, "bytes=5000-"]


def test_a_file_that_was_cut_starts_again_if_the_server_has_no_ranges(tmp_path: Path, mlflow_2: Registered) -> None:
    ended, proxy = fetch_through(tmp_path, mlflow_2, [only(DATA, once(cut(5000)))])

    assert ended.code == ExitCode.DONE, ended.output
    assert ranges(proxy) == [None, None]


def test_a_file_that_changed_on_the_server_meanwhile_is_not_patched_together(
    tmp_path: Path, mlflow_3: Registered
) -> None:
    data = mlflow_3.server.artifacts / mlflow_3.versions["changing"]["directory"] / DATA

    def change(_: object) -> bool:
        data.write_bytes(b"new" * 1000)
        return False

    ended, proxy = fetch_through(
        tmp_path, mlflow_3, [only(DATA, once(cut(500))), only(DATA, once(change))], example="changing"
    )
    delivered = Delivery(directory=tmp_path, uri="").model(mlflow_3.ref("changing")) / DATA

    assert ended.code == ExitCode.DONE, ended.output
    assert ranges(proxy) == [None, "bytes=500-"]
    assert delivered.read_bytes() == b"new" * 1000


def larger(files: Files) -> None:
    for file in files:
        if file["path"] == DATA:
            file["file_size"] += 1


def smaller(files: Files) -> None:
    for file in files:
        if file["path"] == DATA:
            file["file_size"] -= 1


def unsized(files: Files) -> None:
    for file in files:
        file.pop("file_size", None)


def vanished(files: Files) -> None:
    """For two listings, which decide what is fetched; a later one asks whether the file is still there."""
    files.append({"path": "gone.bin", "is_dir": False, "file_size": 5})


FINAL: dict[str, tuple[Callable[[], list[Rule]], ExitCode, str]] = {
    "the listing says more": (
        lambda: [listing(larger)],
        ExitCode.DAMAGED,
        "has 102400 bytes, and is listed with 102401",
    ),
    "the listing says less": (
        lambda: [listing(smaller)],
        ExitCode.DAMAGED,
        "has more bytes than the 102399 it is listed with",
    ),
    "the body is always shorter": (
        lambda: [only(DATA, end_early(5000))],
        ExitCode.DAMAGED,
        "has 5000 bytes, and is listed with 102400",
    ),
    "the connection is always cut at once": (lambda: [only(DATA, cut(0))], ExitCode.UNAVAILABLE, "cut"),
    "neither a size nor a length": (
        lambda: [listing(unsized), only(DATA, without_length)],
        ExitCode.DAMAGED,
        "without a length",
    ),
    "503 for good": (lambda: [answer(503)], ExitCode.UNAVAILABLE, "MLflow answers 503"),
    "429 for an hour": (
        lambda: [answer(429, headers={"Retry-After": "3600"})],
        ExitCode.UNAVAILABLE,
        "the server asks to wait 3600 s, longer than --longest-retry-after 300",
    ),
    "a listed file that is not there": (
        lambda: [only("artifacts?", two_times(listing(vanished)))],
        ExitCode.NOT_FOUND,
        "gone.bin",
    ),
    "a page instead of JSON": (
        lambda: [answer(200, b"<html>Sign in</html>")],
        ExitCode.INVALID_INPUT,
        "is not a JSON object; check that MLflow itself is at",
    ),
    "a text without a length": (lambda: [text_without_length], ExitCode.INVALID_INPUT, "is not a JSON object"),
    "JSON of another kind": (lambda: [answer(200, b"[]")], ExitCode.INVALID_INPUT, "is not a JSON object"),
    "JSON without what it must have": (
        lambda: [answer(200, b"{}")],
        ExitCode.INVALID_INPUT,
        "MLflow's answer has no model_version",
    ),
    "JSON nested too deep": (lambda: [answer(200, b"[" * 200_000)], ExitCode.INVALID_INPUT, "is not a JSON object"),
    "a body that a proxy compressed": (
        lambda: [only(DATA, answer(200, b"x", {"Content-Encoding": "gzip"}))],
        ExitCode.INVALID_INPUT,
        "the answer is compressed, which was not requested; check the proxies before MLflow",
    ),
    "a redirect": (
        lambda: [answer(302, headers={"Location": "http://127.0.0.1:9/"})],
        ExitCode.INVALID_INPUT,
        "a redirect, which is not followed",
    ),
    "a method that is not allowed": (lambda: [answer(405)], ExitCode.INVALID_INPUT, "MLflow answers 405"),
    "404 of a server that is no MLflow": (
        lambda: [answer(404, b"<html>nginx</html>")],
        ExitCode.NOT_FOUND,
        "not MLflow but a proxy, an ingress or a portal before it answers 404 (Server: BaseHTTP",
    ),
    "a page instead of a file": (
        lambda: [only(DATA, answer(200, b"<html>Sign in</html>", {"Content-Type": "text/html"}))],
        ExitCode.INVALID_INPUT,
        "an HTML page came instead of the file",
    ),
}


@pytest.mark.parametrize(("rules", "code", "reason"), FINAL.values(), ids=FINAL.keys())
def test_a_fault_that_stays_ends_with_its_code_and_reason(
    tmp_path: Path, mlflow_any: Registered, rules: Callable[[], list[Rule]], code: ExitCode, reason: str
) -> None:
    ended, _ = fetch_through(tmp_path, mlflow_any, rules())

    assert ended.code == code, ended.output
    assert reason in ended.reason
    assert "<html>" not in ended.output
    assert not Delivery(directory=tmp_path, uri="").run_directory(mlflow_any.ref("plain")).exists()


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "../../escape"},
        {"path": "/etc/passwd"},
        {"path": "a/b"},
        {"path": ".."},
        {"path": ""},
        {"path": "nul\0"},
        {"path": "line\nbreak"},
        {"path": "\ud800"},
        {"path": "x" * 256},
        {"path": 7},
        {},
        {"path": "MLmodel"},
        {"path": "MLmodel", "is_dir": True},
        {"path": "negative", "file_size": -1},
        {"path": "text", "file_size": "many"},
    ],
    ids=json.dumps,
)
def test_a_listing_with_a_hostile_entry_is_refused_before_any_file(
    tmp_path: Path, mlflow_3: Registered, entry: dict[str, object]
) -> None:
    ended, proxy = fetch_through(tmp_path, mlflow_3, [listing(lambda files: files.append({"is_dir": False} | entry))])

    assert ended.code == ExitCode.INVALID_INPUT, ended.output
    assert proxy.paths("/artifacts/1") == []
    assert list(Delivery(directory=tmp_path, uri="").store.iterdir()) == []


def test_directories_without_an_end_are_refused(tmp_path: Path, mlflow_3: Registered) -> None:
    ended, _ = fetch_through(
        tmp_path, mlflow_3, [listing(lambda files: files.append({"path": "again", "is_dir": True}))]
    )

    assert ended.code == ExitCode.INVALID_INPUT, ended.output
    assert "more than 64 directories in each other" in ended.reason


def test_a_file_without_a_listed_size_is_checked_by_its_own_length(tmp_path: Path, mlflow_any: Registered) -> None:
    ended, _ = fetch_through(tmp_path, mlflow_any, [listing(unsized), only(DATA, once(cut(5000)))])

    assert ended.code == ExitCode.DONE, ended.output
    assert files_below(Delivery(directory=tmp_path, uri="").model(mlflow_any.ref("plain"))) == mlflow_any.files("plain")


@pytest.mark.parametrize("together", [False, True], ids=["one of them", "all of them together"])
def test_files_without_listed_sizes_do_not_pass_the_limit(
    tmp_path: Path, mlflow_any: Registered, together: bool
) -> None:
    limit = sum(map(len, mlflow_any.files("plain").values())) - 1 if together else 50_000
    ended, _ = fetch_through(tmp_path, mlflow_any, [listing(unsized)], f"--max-bytes={limit}")

    assert ended.code == ExitCode.NO_SPACE, ended.output
    assert list(Delivery(directory=tmp_path, uri="").store.iterdir()) == []


def test_a_server_that_falls_silent_is_tried_again_and_then_given_up(tmp_path: Path, mlflow_3: Registered) -> None:
    ended, proxy = fetch_through(tmp_path, mlflow_3, [only(DATA, stall(50))], "--stall=3")

    assert ended.code == ExitCode.UNAVAILABLE
    assert "sent nothing in time" in ended.reason
    assert ranges(proxy) == [None, "bytes=50-", "bytes=100-"]


def test_a_try_that_brings_more_of_a_file_is_no_lost_try(tmp_path: Path, mlflow_3: Registered) -> None:
    ended, proxy = fetch_through(tmp_path, mlflow_3, [only(DATA, cut(10_000))], "--tries=2")

    assert ended.code == ExitCode.DONE, ended.output
    assert ranges(proxy) == [None, *(f"bytes={begin}-" for begin in range(10_000, 102_400, 10_000))]


def test_a_server_without_ranges_that_always_ends_at_the_same_byte_is_given_up(
    tmp_path: Path, mlflow_2: Registered
) -> None:
    ended, proxy = fetch_through(tmp_path, mlflow_2, [only(DATA, cut(50_000))], "--tries=3")

    assert ended.code == ExitCode.UNAVAILABLE
    assert len(ranges(proxy)) == 4  # the first brought something


def test_a_file_that_drips_is_given_up_with_its_bytes_and_rate(tmp_path: Path, mlflow_3: Registered) -> None:
    ended, _ = fetch_through(tmp_path, mlflow_3, [only(DATA, drip_body(0.05))], "--stall=3")

    assert ended.code == ExitCode.UNAVAILABLE
    assert re.search(r"only \d+ bytes came in 3 s, \d+ bytes/s, less than the 1024 of --min-rate", ended.reason)


def test_a_head_that_drips_line_by_line_is_given_up(tmp_path: Path, mlflow_3: Registered) -> None:
    ended, _ = fetch_through(tmp_path, mlflow_3, [only("model-versions/get?", drip_head(0.05))], "--stall=1")

    assert ended.code == ExitCode.UNAVAILABLE
    assert "the server sent nothing in time" in ended.reason


@pytest.mark.parametrize("status", [b"100 Continue", b"102 Processing"])
def test_interim_answers_without_an_end_are_given_up(tmp_path: Path, mlflow_3: Registered, status: bytes) -> None:
    forever = only("model-versions/get?", continue_forever(0.02, status))
    ended, _ = fetch_through(tmp_path, mlflow_3, [forever], "--stall=0.3")

    assert ended.code == ExitCode.UNAVAILABLE


def test_a_server_that_sends_too_slowly_is_given_up_at_the_deadline(tmp_path: Path, mlflow_3: Registered) -> None:
    """The file would take four minutes."""
    ended, _ = fetch_through(tmp_path, mlflow_3, [only("weights.bin", slowly(1))], "--deadline=10", example="big")

    assert ended.code == ExitCode.UNAVAILABLE
    assert re.fullmatch(
        r"the model did not arrive within 10 s: \d+ of 37748748 bytes came, \d+ bytes/s; "
        r"if the connection is only slow, raise --deadline, or the annotation model-api.dominodatalab.com/deadline of "
        r"the pod\n",
        ended.reason,
    )


def test_one_failed_file_ends_the_transfers_of_the_others(tmp_path: Path, mlflow_3: Registered) -> None:
    """The silence alone would take an hour."""
    rules = [only("/MLmodel", answer(403)), only("weights.bin", stall(5000))]
    ended, _ = fetch_through(tmp_path, mlflow_3, rules, "--stall=3600", example="big")

    assert ended.code == ExitCode.NOT_AUTHORISED


def test_address_without_a_server_is_unavailable(delivery: Delivery, mlflow_3: Registered) -> None:
    ended = Delivery(directory=delivery.directory, uri="http://127.0.0.1:9").fetch(mlflow_3.ref("plain"))

    assert ended.code == ExitCode.UNAVAILABLE
    assert "Connection refused" in ended.reason
