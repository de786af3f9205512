"""The store before and after a killed, a second and a failed run."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from model_contract.digest import file_entry
from model_contract.exit_codes import ExitCode
from model_contract.layout import PARTIAL_PREFIX, run_directory
from model_contract.model_ref import ModelRef
from model_delivery.deadline import Deadline, Limits
from model_delivery.download import check_each_has_a_file
from model_delivery.errors import InvalidInputError
from model_delivery.file_checks import digest_faults, read_manifest
from model_delivery.manifest import Manifest
from model_delivery.progress import BOOT_ID
from model_delivery.store import PartialModel, partial_model, publish, store_error
from testbed.delivery import Delivery, Ended, wait_until
from testbed.faults import only, slowly, stall, without_ranges
from testbed.processes import PATIENCE, TAKES_SIGINT
from testbed.registered import Registered, files_below
from testbed.reverse_proxy import Exchange, ReverseProxy, reverse_proxy

WEIGHTS = "weights.bin"  # a file of 36 MiB
MIB = 1 << 20
RANGES_OF_BIG = [(0, 16 * MIB - 1), (16 * MIB, 32 * MIB - 1), (32 * MIB, 36 * MIB - 1)]
HELD = only(WEIGHTS, stall(4 * MIB))  # until the run is killed
SLOWLY = only(WEIGHTS, slowly(0.002))


def kill_in_the_middle(delivery: Delivery, ref: ModelRef) -> int:
    """Kills a fetch when the small file, and a part of the large one, are on the disk; returns how much."""
    with delivery.start(ref) as process:
        wait_until(lambda: partial_size(delivery.store, "MLmodel") > 0 and partial_size(delivery.store) > 0)
        process.kill()
    assert not delivery.run_directory(ref).exists()
    assert 0 < partial_size(delivery.store) < 36 * MIB
    return partial_size(delivery.store)


def partial_size(store: Path, file: str = WEIGHTS) -> int:
    return sum(path.stat().st_size for path in store.glob(f"{PARTIAL_PREFIX}*/artifacts/model/{file}"))


def watch(delivery: Delivery, ref: ModelRef, process: subprocess.Popen[str]) -> Ended:
    """Looks at the place of the model until the process ends: it must be empty, or whole, at every moment."""
    while process.poll() is None:
        if delivery.run_directory(ref).exists():
            assert delivery.verify(ref).code == ExitCode.DONE
        time.sleep(0.005)
    return delivery.wait(process)


def whole(delivery: Delivery, registered: Registered, ref: ModelRef, example: str = "big") -> bool:
    return files_below(delivery.model(ref)) == registered.files(example) and delivery.partial() == []


def ranges(proxy: ReverseProxy) -> list[str | None]:
    return [request.headers.get("Range") for request in proxy.seen if WEIGHTS in request.path]


def test_a_killed_fetch_is_continued_from_its_last_byte(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("big")
    with reverse_proxy(mlflow_3.uri, only(WEIGHTS, without_ranges), HELD) as slow:
        size = kill_in_the_middle(Delivery(directory=delivery.directory, uri=slow.uri), ref)
    with reverse_proxy(mlflow_3.uri) as proxy:
        again = Delivery(directory=delivery.directory, uri=proxy.uri)
        ended = watch(again, ref, again.start(ref))

        assert ended.code == ExitCode.DONE, ended.output
        assert ranges(proxy) == [f"bytes={size}-"]
        assert proxy.paths("/MLmodel") == []
    assert whole(delivery, mlflow_3, ref)


def test_a_killed_fetch_of_ranges_is_continued_where_each_ended(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("big")
    with (
        reverse_proxy(mlflow_3.uri, HELD) as slow,
        Delivery(directory=delivery.directory, uri=slow.uri).start(ref) as process,
    ):
        wait_until(lambda: sum(noted(delivery.store).values()) > 4 * MIB)
        process.kill()
    there = noted(delivery.store)
    with reverse_proxy(mlflow_3.uri) as proxy:
        again = Delivery(directory=delivery.directory, uri=proxy.uri)
        ended = watch(again, ref, again.start(ref))

        assert ended.code == ExitCode.DONE, ended.output
        assert sorted(asked(proxy)) == [
            (begin + there.get(begin, 0), end) for begin, end in RANGES_OF_BIG if there.get(begin, 0) <= end - begin
        ]
    assert there
    assert whole(delivery, mlflow_3, ref)
    assert delivery.verify(ref, "--digests").code == ExitCode.DONE


def noted(store: Path) -> dict[int, int]:
    """The bytes of each range that a run has noted, by its beginning."""
    lines = next(iter(store.glob("*.progress")), Path(os.devnull)).read_text().splitlines()
    entries = [json.loads(line) for line in lines if '"received"' in line and line.endswith("}")]
    return {entry["range"]: entry["received"] for entry in entries}


def asked(proxy: ReverseProxy) -> list[tuple[int, int]]:
    """First and last byte of each range that was asked for."""
    return [(int(first), int(last)) for first, last in (found[6:].split("-") for found in ranges(proxy) if found)]


def test_a_killed_fetch_from_a_server_without_ranges_starts_again(delivery: Delivery, mlflow_2: Registered) -> None:
    ref = mlflow_2.ref("big")

    def small_file_first(exchange: Exchange) -> bool:
        """Wait with the large file, since MLflow 2 serves one request at a time."""
        wait_until(lambda: partial_size(delivery.store, "MLmodel") > 0)
        return HELD(exchange)

    with reverse_proxy(mlflow_2.uri, only(WEIGHTS, small_file_first)) as slow:
        kill_in_the_middle(Delivery(directory=delivery.directory, uri=slow.uri), ref)
    again = Delivery(directory=delivery.directory, uri=mlflow_2.uri)
    ended = watch(again, ref, again.start(ref))

    assert ended.code == ExitCode.DONE, ended.output
    assert whole(delivery, mlflow_2, ref)


@pytest.mark.parametrize("torn", ["", "{", '{"source": "other"}\n'], ids=["empty", "half a line", "of another source"])
def test_wrong_progress_file_of_a_killed_run_is_not_used(delivery: Delivery, mlflow_3: Registered, torn: str) -> None:
    ref = mlflow_3.ref("big")
    with reverse_proxy(mlflow_3.uri, HELD) as slow:
        kill_in_the_middle(Delivery(directory=delivery.directory, uri=slow.uri), ref)
    next(delivery.store.glob("*.progress")).write_text(torn)
    with reverse_proxy(mlflow_3.uri) as proxy:
        ended = Delivery(directory=delivery.directory, uri=proxy.uri).fetch(ref)

        assert ended.code == ExitCode.DONE, ended.output
        assert sorted(asked(proxy)) == [(0, 0), *RANGES_OF_BIG]
    assert whole(delivery, mlflow_3, ref)


def test_progress_of_another_boot_is_not_used(delivery: Delivery, mlflow_3: Registered) -> None:
    """A power cut can leave zeros in files of full size."""
    ref = mlflow_3.ref("big")
    with reverse_proxy(mlflow_3.uri, HELD) as slow:
        kill_in_the_middle(Delivery(directory=delivery.directory, uri=slow.uri), ref)
    progress, boot = next(delivery.store.glob("*.progress")), BOOT_ID.read_text().strip()
    noted = progress.read_text()
    progress.write_text(noted.replace(boot, "another", 1))
    with reverse_proxy(mlflow_3.uri) as proxy:
        ended = Delivery(directory=delivery.directory, uri=proxy.uri).fetch(ref)

        assert boot in noted
        assert ended.code == ExitCode.DONE, ended.output
        assert sorted(asked(proxy)) == [(0, 0), *RANGES_OF_BIG]
    assert whole(delivery, mlflow_3, ref)


def test_only_old_parts_of_other_runs_are_removed(delivery: Delivery, mlflow_3: Registered) -> None:
    for name, age in ((".partial-old", 100_000), (".partial-new", 60)):
        leftover = delivery.store / name
        (leftover / "artifacts").mkdir(parents=True)
        for path in (leftover / "artifacts", leftover):
            os.utime(path, (time.time() - age, time.time() - age))
    delivery.fetch(mlflow_3.ref("plain"))

    assert delivery.partial() == [".partial-new"]


def test_what_a_run_of_another_user_has_left_keeps_no_model_out(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("plain")
    delivery.store.mkdir()
    with partial_model(delivery.store, run_directory(ref.owner, ref.run_id), Deadline(Limits())) as killed:
        lock = killed.directory.with_name(f"{killed.directory.name}.lock")
    for path in (killed.directory, delivery.store / ".partial-old"):
        path.mkdir()
        (path / "artifacts").touch()
        os.utime(path / "artifacts", (0, 0))
        os.utime(path, (0, 0))
        path.chmod(0o555)
    lock.touch(0o444)
    as_any_user = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else ["env"]
    ended = delivery.fetch(ref, before=as_any_user)

    assert ended.code == ExitCode.DONE, ended.output
    assert "what another run has left cannot be removed" in ended.output
    assert files_below(delivery.model(ref)) == mlflow_3.files("plain")
    assert delivery.partial() == [killed.directory.name, ".partial-old"]


def test_two_fetches_at_once_share_one_download(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("big")
    with reverse_proxy(mlflow_3.uri, SLOWLY) as proxy:
        through = Delivery(directory=delivery.directory, uri=proxy.uri)
        first, second = through.start(ref), through.start(ref)
        ended = [watch(through, ref, first), through.wait(second)]

        assert [run.code for run in ended] == [ExitCode.DONE, ExitCode.DONE]
        assert sorted("there already" in run.output for run in ended) == [False, True]
        assert sorted(asked(proxy)) == [(0, 0), *RANGES_OF_BIG]
    assert whole(delivery, mlflow_3, ref)


def test_two_runs_in_a_store_without_locks_write_apart_and_the_last_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", no_locks)
    ref = ModelRef(name="m", version="1", owner="jane", run_id="r")
    destination = tmp_path / "jane" / "r"
    for _ in range(2):
        with (
            partial_model(tmp_path, "jane/r", Deadline(Limits())) as first,
            partial_model(tmp_path, "jane/r", Deadline(Limits())) as second,
        ):
            for place, content in ((first, b"first"), (second, b"the second")):
                place.model.mkdir(parents=True)
                (place.model / "MLmodel").write_bytes(content)
            for place in (first, second):
                files = (file_entry(place.model, "MLmodel"),)
                publish(place, destination, Manifest(models=(ref,), source="1/r", created="now", files=files))

    manifest = read_manifest(destination)
    assert manifest is not None
    assert list(digest_faults(destination, manifest)) == []
    assert (destination / "artifacts/model/MLmodel").read_bytes() == b"the second"
    assert [path.name for path in tmp_path.iterdir()] == ["jane"]


def test_store_that_takes_two_names_for_one_is_refused(tmp_path: Path) -> None:
    """`./a` stands for the `A` of a store on SMB: another name of the file `a`."""
    partial = PartialModel(directory=tmp_path / "partial")
    partial.model.mkdir(parents=True)
    (partial.model / "a").write_bytes(b"x")
    files = [file_entry(partial.model, "a")]
    check_each_has_a_file(partial, files)
    with pytest.raises(InvalidInputError, match=r"holds 1 of the model's 2 files: it takes names for one that differ"):
        check_each_has_a_file(partial, [*files, file_entry(partial.model, "./a")])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EXDEV], ids=["of a run", "of an owner"])
def test_mount_within_the_store_is_named(number: int) -> None:
    error = store_error(OSError(number, os.strerror(number), "/store/.partial-1", None, "/store/jane/r"))

    assert error.exit_code == ExitCode.INVALID_INPUT
    assert "(/store/jane/r); a directory within the store is a mount of its own" in str(error)


def test_store_whose_owner_is_a_file_is_refused(tmp_path: Path) -> None:
    partial = PartialModel(directory=tmp_path / "partial")
    partial.model.mkdir(parents=True)
    (tmp_path / "jane").touch()
    ref = ModelRef(name="m", version="1", owner="jane", run_id="r")
    with pytest.raises(FileExistsError) as raised:
        publish(partial, tmp_path / "jane" / "r", Manifest(models=(ref,), source="1/r", files=()))

    assert store_error(raised.value).exit_code == ExitCode.INVALID_INPUT


def no_locks(descriptor: int, operation: int) -> None:
    """flock, as some network file systems have it."""
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_run_that_waits_for_another_one_ends_at_the_deadline(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("big")
    with reverse_proxy(mlflow_3.uri, HELD) as slow:
        through = Delivery(directory=delivery.directory, uri=slow.uri)
        with through.start(ref) as first:
            wait_until(lambda: partial_size(delivery.store) > 0)
            ended = delivery.fetch(ref, "--deadline=5")
            first.kill()

    assert ended.code == ExitCode.UNAVAILABLE
    assert "waiting for another run" in ended.output


@pytest.mark.parametrize("damage", ["shorter", "missing", "no manifest", "torn manifest", "a file in its place"])
def test_a_damaged_model_is_fetched_again(delivery: Delivery, mlflow_3: Registered, damage: str) -> None:
    ref = mlflow_3.ref("plain")
    delivery.fetch(ref)
    data, manifest = delivery.model(ref) / "data.bin", delivery.manifest(ref)
    match damage:
        case "shorter":
            data.write_bytes(b"short")
        case "missing":
            data.unlink()
        case "no manifest":
            manifest.unlink()
        case "torn manifest":
            manifest.write_text(manifest.read_text()[:-20])
        case _:
            shutil.rmtree(delivery.run_directory(ref))
            delivery.run_directory(ref).write_text("")
    ended = delivery.fetch(ref)

    assert ended.code == ExitCode.DONE, ended.output
    assert "fetched" in ended.output
    assert delivery.verify(ref, "--digests").code == ExitCode.DONE
    assert whole(delivery, mlflow_3, ref, "plain")


def test_directories_that_a_kubelet_made_in_its_place_give_way(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("plain")
    delivery.model(ref).mkdir(parents=True)
    ended = delivery.fetch(ref)

    assert ended.code == ExitCode.DONE, ended.output
    assert whole(delivery, mlflow_3, ref, "plain")


def test_a_damaged_model_whose_source_has_changed_is_not_replaced(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("plain")
    delivery.fetch(ref)
    data = mlflow_3.server.artifacts / mlflow_3.versions["plain"]["directory"] / "data.bin"
    (delivery.model(ref) / "data.bin").unlink()
    before = data.read_bytes()
    data.write_bytes(before[::-1])
    ended = delivery.fetch(ref)
    data.write_bytes(before)

    assert ended.code == ExitCode.PRECONDITION, ended.output
    assert "when they were delivered before" in ended.reason
    assert delivery.partial() == []


def test_a_full_disk_ends_the_fetch_and_leaves_nothing(delivery: Delivery, mlflow_3: Registered) -> None:
    ended = delivery.fetch(
        mlflow_3.ref("big"),
        before=[*small_disk(delivery.store), "sh", "-c", '"$@"; code=$?; ls -A "$0"; exit $code', str(delivery.store)],
    )

    assert ended.code == ExitCode.NO_SPACE, ended.output
    assert ended.output.splitlines()[-1].startswith("error: the store has no space left for the model")


def small_disk(store: Path) -> list[str]:
    """A command that runs another with a disk of 8 MiB as the store; where nobody may mount one, with files of at most
    as much.
    """
    disk = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@"',
        str(store),
    ]
    store.mkdir(exist_ok=True)
    may_mount = subprocess.run([*disk, "true"], capture_output=True, check=False).returncode == 0
    return disk if may_mount else ["sh", "-c", 'ulimit -f 16384; exec "$@"', "sh"]


def test_a_quota_ends_the_fetch_and_leaves_nothing(delivery: Delivery, mlflow_3: Registered) -> None:
    ended = delivery.fetch(mlflow_3.ref("big"), before=["sh", "-c", 'ulimit -f 20000; exec "$@"', "sh"])

    assert ended.code == ExitCode.NO_SPACE, ended.output
    assert "File too large" in ended.reason
    assert list(delivery.store.iterdir()) == []


def test_a_store_that_is_not_mounted_is_named(delivery: Delivery, mlflow_3: Registered) -> None:
    ended = delivery.fetch(mlflow_3.ref("plain"), f"--store={delivery.directory}/nowhere")

    assert ended.code == ExitCode.INVALID_INPUT
    assert "check that the volume is mounted" in ended.reason


@pytest.mark.parametrize(("number", "end"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)])
def test_signal_ends_a_fetch_at_once(delivery: Delivery, mlflow_3: Registered, number: int, end: int) -> None:
    ref = mlflow_3.ref("big")
    with (
        reverse_proxy(mlflow_3.uri, HELD) as slow,
        Delivery(directory=delivery.directory, uri=slow.uri).start(ref, before=TAKES_SIGINT) as process,
    ):
        wait_until(lambda: partial_size(delivery.store) > 0)
        process.send_signal(number)
        code = process.wait(PATIENCE)

    assert code == end
    assert not delivery.run_directory(ref).exists()
