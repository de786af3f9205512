"""A large file that comes in ranges from a real MLflow, through a network or a server that does not keep to them."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from model_contract.exit_codes import ExitCode
from testbed.delivery import Delivery, Ended
from testbed.faults import answer, cut, end_early, first, listing, only, stall, without_ranges
from testbed.processes import PATIENCE
from testbed.registered import Registered, files_below
from testbed.reverse_proxy import Exchange, ReverseProxy, Rule, forwarded, reverse_proxy
from tests.model_delivery.test_fetch import MIB, peak_memory

WEIGHTS = "weights.bin"  # a file of 36 MiB
SECOND = f"bytes={16 * MIB}-{32 * MIB - 1}"
PARTS = [f"bytes={begin * MIB}-{end * MIB - 1}" for begin, end in ((0, 16), (16, 32), (32, 36))]
ONE_PIECE = "it is fetched again, in one piece"


def fetch_big(
    directory: Path, registered: Registered, *rules: Rule, options: Sequence[str] = ()
) -> tuple[Ended, ReverseProxy]:
    with reverse_proxy(registered.uri, *rules) as proxy:
        return Delivery(directory=directory, uri=proxy.uri).fetch(registered.ref("big"), *options), proxy


def requested(proxy: ReverseProxy) -> list[str | None]:
    return [request.headers.get("Range") for request in proxy.seen if WEIGHTS in request.path]


def arrived(directory: Path, registered: Registered) -> bool:
    delivery, ref = Delivery(directory=directory, uri=""), registered.ref("big")
    right = files_below(delivery.model(ref)) == registered.files("big") and delivery.partial() == []
    return right and delivery.verify(ref, "--digests").code == ExitCode.DONE


def asked_for(wanted: str, rule: Rule) -> Rule:
    """Apply the rule to requests for a range that begins with `wanted`."""
    return lambda exchange: exchange.headers.get("Range", "").startswith(wanted) and rule(exchange)


def changed(headers: dict[str, str]) -> Rule:
    """Pass on the real answer with other headers; an empty value leaves one out."""

    def rule(exchange: Exchange) -> bool:
        with exchange.upstream() as real:
            found = {name.lower(): value for name, value in forwarded(real.getheaders()).items()}
            kept = {name: value for name, value in (found | headers).items() if value}
            exchange.send(real.status, real.read(), kept)
        return True

    return rule


def longer(exchange: Exchange) -> bool:
    with exchange.upstream() as real:
        exchange.send(real.status, real.read() + b"more", forwarded(real.getheaders()))
    return True


def test_a_large_file_comes_in_ranges_where_the_server_offers_them(tmp_path: Path, mlflow_3: Registered) -> None:
    ended, proxy = fetch_big(tmp_path, mlflow_3)

    assert ended.code == ExitCode.DONE, ended.output
    assert requested(proxy)[0] == "bytes=0-0"
    assert sorted(filter(None, requested(proxy)[1:])) == sorted(PARTS)
    assert arrived(tmp_path, mlflow_3)


def test_a_server_without_ranges_is_asked_once(tmp_path: Path, mlflow_2: Registered) -> None:
    ended, proxy = fetch_big(tmp_path, mlflow_2)

    assert ended.code == ExitCode.DONE, ended.output
    assert requested(proxy) == ["bytes=0-0"]
    assert arrived(tmp_path, mlflow_2)


def test_one_connection_takes_a_file_in_one_piece(tmp_path: Path, mlflow_3: Registered) -> None:
    ended, proxy = fetch_big(tmp_path, mlflow_3, options=["--parallel=1"])

    assert ended.code == ExitCode.DONE, ended.output
    assert requested(proxy) == [None]


@pytest.mark.parametrize(
    "headers",
    [{"etag": ""}, {"etag": 'W/"weak"'}, {"content-range": "bytes 0-0/7"}, {"content-range": "bytes 1-1/37748736"}],
    ids=["no tag", "weak tag", "another size", "another byte"],
)
def test_ranges_that_could_not_be_joined_are_not_begun(
    tmp_path: Path, mlflow_3: Registered, headers: dict[str, str]
) -> None:
    ended, proxy = fetch_big(tmp_path, mlflow_3, asked_for("bytes=0-0", changed(headers)))

    assert ended.code == ExitCode.DONE, ended.output
    assert requested(proxy) == ["bytes=0-0", None]
    assert arrived(tmp_path, mlflow_3)


ODD: dict[str, Rule] = {
    "the whole file, with 200": without_ranges,
    "another range": changed({"content-range": f"bytes 0-{16 * MIB - 1}/{36 * MIB}"}),
    "a range of another size": changed({"content-range": f"bytes {16 * MIB}-{32 * MIB - 1}/{37 * MIB}"}),
    "another tag": changed({"etag": '"other"'}),
    "no tag": changed({"etag": ""}),
    "more bytes than the range has": longer,
    "416": answer(416),
}


@pytest.mark.parametrize("rule", ODD.values(), ids=ODD.keys())
def test_a_range_that_does_not_fit_the_others_makes_the_file_come_in_one_piece(
    tmp_path: Path, mlflow_3: Registered, rule: Rule
) -> None:
    ended, proxy = fetch_big(tmp_path, mlflow_3, asked_for(SECOND, rule), options=["--tries=1"])

    assert ended.code == ExitCode.DONE, ended.output
    assert ONE_PIECE in ended.output
    assert requested(proxy)[-1] is None
    assert arrived(tmp_path, mlflow_3)


CUT: dict[str, Callable[[], Rule]] = {
    "cut": lambda: first(1, cut(5 * MIB)),
    "ended early, as if whole": lambda: first(1, end_early(5 * MIB)),
}


@pytest.mark.parametrize("rule", CUT.values(), ids=CUT.keys())
def test_a_range_that_comes_in_part_is_continued_alone(
    tmp_path: Path, mlflow_3: Registered, rule: Callable[[], Rule]
) -> None:
    ended, proxy = fetch_big(tmp_path, mlflow_3, asked_for(SECOND, rule()))

    assert ended.code == ExitCode.DONE, ended.output
    rest = f"bytes={21 * MIB}-{32 * MIB - 1}"
    assert sorted(filter(None, requested(proxy))) == sorted(["bytes=0-0", *PARTS, rest])
    assert arrived(tmp_path, mlflow_3)


def test_a_range_that_always_stays_short_is_damage(tmp_path: Path, mlflow_3: Registered) -> None:
    ended, _ = fetch_big(tmp_path, mlflow_3, asked_for(f"bytes={16 * MIB}", end_early(0)))

    assert ended.code == ExitCode.DAMAGED, ended.output
    assert "0 bytes came of a range of 16777216, and no more" in ended.reason
    assert not Delivery(directory=tmp_path, uri="").run_directory(mlflow_3.ref("big")).exists()


def test_a_range_whose_connection_falls_silent_is_given_up(tmp_path: Path, mlflow_3: Registered) -> None:
    ended, _ = fetch_big(tmp_path, mlflow_3, asked_for("bytes=16777216-", stall(0)), options=["--stall=1"])

    assert ended.code == ExitCode.UNAVAILABLE, ended.output
    assert "sent nothing in time" in ended.reason


def test_a_refused_range_ends_the_fetch_and_the_next_one_goes_on(tmp_path: Path, mlflow_3: Registered) -> None:
    ended, _ = fetch_big(tmp_path, mlflow_3, asked_for(SECOND, answer(403)))

    assert ended.code == ExitCode.NOT_AUTHORISED, ended.output
    assert not Delivery(directory=tmp_path, uri="").run_directory(mlflow_3.ref("big")).exists()

    again, proxy = fetch_big(tmp_path, mlflow_3)

    assert again.code == ExitCode.DONE, again.output
    assert SECOND in requested(proxy)
    assert "bytes=0-0" not in requested(proxy)
    assert arrived(tmp_path, mlflow_3)


def test_one_of_many_small_files_that_fails_leaves_nothing_half(tmp_path: Path, mlflow_3: Registered) -> None:
    rules = [
        listing(lambda files: files.extend({"path": f"more-{n}", "is_dir": False, "file_size": 5} for n in range(200))),
        only("more-150", answer(403)),
        only("/more-", answer(200, b"12345")),
    ]
    with reverse_proxy(mlflow_3.uri, *rules) as proxy:
        ended = Delivery(directory=tmp_path, uri=proxy.uri).fetch(mlflow_3.ref("plain"))

    assert ended.code == ExitCode.NOT_AUTHORISED, ended.output
    assert not Delivery(directory=tmp_path, uri="").run_directory(mlflow_3.ref("plain")).exists()


def test_eight_connections_at_once_need_no_memory_of_the_files_size(tmp_path: Path, mlflow_3: Registered) -> None:
    together = threading.Barrier(len(PARTS), timeout=PATIENCE)

    def all_at_once(exchange: Exchange) -> bool:
        if exchange.headers.get("Range") in PARTS:
            together.wait()
        return False

    with reverse_proxy(mlflow_3.uri, only(WEIGHTS, all_at_once)) as proxy:
        delivery = Delivery(directory=tmp_path, uri=proxy.uri)
        small, big = (
            peak_memory(delivery.start(mlflow_3.ref(example), "--parallel=8")) for example in ("plain", "big")
        )

    assert not together.broken
    assert big - small < 12 * MIB  # of 36 MiB that came in three ranges at a time
