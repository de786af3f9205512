import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from model_contract.digest import FileEntry, file_entry
from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ModelRef
from model_delivery.manifest import Manifest
from testbed.delivery import COMMAND, Delivery
from testbed.processes import PATIENCE

REF = ModelRef(name="wine", version="2", owner="jane.doe", run_id="5f0c")
FILES = {"MLmodel": b"flavors: {}\n", "data/weights.bin": bytes(1000), "empty": b""}


@pytest.fixture
def delivered(tmp_path: Path) -> Delivery:
    """A model in its place."""
    delivery = Delivery(directory=tmp_path, uri="")
    for path, content in FILES.items():
        (delivery.model(REF) / path).parent.mkdir(parents=True, exist_ok=True)
        (delivery.model(REF) / path).write_bytes(content)
    write_manifest(delivery, *(file_entry(delivery.model(REF), path) for path in FILES))
    return delivery


def write_manifest(delivery: Delivery, *files: FileEntry) -> None:
    delivery.manifest(REF).write_text(Manifest(models=(REF,), source="1/r", created="now", files=files).to_json())


@pytest.mark.parametrize("options", [[], ["--digests"]], ids=["sizes", "digests"])
def test_a_whole_model_is_complete(delivered: Delivery, options: list[str]) -> None:
    ended = delivered.verify(REF, *options)

    assert ended.code == ExitCode.DONE, ended.output
    assert (
        f"complete run=5f0c files=3 bytes=1012 checked={'digests' if options else 'sizes'} digest=sha256:"
        in ended.output
    )


def test_owner_and_run_are_enough(delivered: Delivery) -> None:
    ended = delivered.verify_place(REF)

    assert ended.code == ExitCode.DONE, ended.output


@pytest.mark.parametrize("change", [{"name": "other"}, {"version": "3"}], ids=["name", "version"])
def test_another_version_in_its_place_is_a_failed_precondition(delivered: Delivery, change: dict[str, str]) -> None:
    ended = delivered.verify(replace(REF, **change))

    assert ended.code == ExitCode.PRECONDITION
    assert "the store holds version 2 of model 'wine' for this run" in ended.reason


def test_a_model_without_a_manifest_is_reported_as_not_checked(delivered: Delivery) -> None:
    delivered.manifest(REF).unlink()
    ended = delivered.verify(REF, "--digests")

    assert ended.code == ExitCode.DONE
    assert "without a manifest: sizes and digests could not be checked" in ended.output


@pytest.mark.parametrize("left", ["nothing", "empty directories", "a directory called MLmodel"])
def test_a_model_that_is_not_there_is_not_found(tmp_path: Path, left: str) -> None:
    delivery = Delivery(directory=tmp_path, uri="")
    if left != "nothing":
        (delivery.model(REF) / ("MLmodel" if "MLmodel" in left else "")).mkdir(parents=True)
    ended = delivery.verify(REF)

    assert ended.code == ExitCode.NOT_FOUND
    assert f"there is no MLmodel at {delivery.model(REF)}" in ended.reason


def test_a_manifest_without_mlmodel_is_not_found(delivered: Delivery) -> None:
    write_manifest(delivered, file_entry(delivered.model(REF), "empty"))
    (delivered.model(REF) / "MLmodel").unlink()

    assert delivered.verify(REF).code == ExitCode.NOT_FOUND


def shorten(model: Path) -> None:
    (model / "data/weights.bin").write_bytes(bytes(999))


def remove(model: Path) -> None:
    (model / "empty").unlink()


def link(model: Path) -> None:
    (model / "empty").unlink()
    (model / "empty").symlink_to("MLmodel")


def change(model: Path) -> None:
    (model / "data/weights.bin").write_bytes(bytes(999) + b"x")


def add(model: Path) -> None:
    (model / "data/extra.py").write_text("")


def add_linked_directory(model: Path) -> None:
    (model / "code").symlink_to("data")


@pytest.mark.parametrize(
    ("damage", "options", "fault"),
    [
        (shorten, [], '"data/weights.bin" has 999 bytes instead of 1000'),
        (remove, [], '"empty" is missing'),
        (link, [], '"empty" is missing'),
        (change, ["--digests"], '"data/weights.bin" has another digest'),
        (add, ["--digests"], '"data/extra.py" is not in the manifest'),
        (add_linked_directory, ["--digests"], '"code" is not in the manifest'),
    ],
    ids=["shorter", "missing", "a link", "changed", "added", "a link to a directory added"],
)
def test_a_damaged_model_is_named_by_its_fault(
    delivered: Delivery, damage: object, options: list[str], fault: str
) -> None:
    assert callable(damage)
    damage(delivered.model(REF))
    ended = delivered.verify(REF, *options)

    assert ended.code == ExitCode.DAMAGED, ended.output
    assert fault in ended.reason


def test_a_torn_manifest_is_damaged(delivered: Delivery) -> None:
    delivered.manifest(REF).write_text("{")

    assert delivered.verify(REF).code == ExitCode.DAMAGED


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)], ids=["a directory", "a named pipe", "a link"]
)
def test_a_manifest_that_is_no_regular_file_is_damaged(delivered: Delivery, make: Callable[[Path], None]) -> None:
    delivered.manifest(REF).unlink()
    make(delivered.manifest(REF))
    ended = delivered.verify(REF)

    assert ended.code == ExitCode.DAMAGED, ended.output
    assert "manifest.json is not a regular file; fetch the model again" in ended.reason


def test_an_error_of_the_disk_is_named_with_its_place(delivered: Delivery) -> None:
    owner = delivered.run_directory(REF).parent
    shutil.rmtree(owner)
    owner.symlink_to(owner)
    ended = delivered.verify(REF)

    assert ended.code == ExitCode.UNEXPECTED, ended.output
    assert "the store failed: Too many levels of symbolic links" in ended.reason


def test_only_what_was_asked_for_is_named_as_missing(delivered: Delivery) -> None:
    place = [*COMMAND, "verify", f"--store={delivered.store}", "--owner=jane.doe", "--run-id=5f0c", "--model=beer"]
    ended = subprocess.run(place, capture_output=True, text=True, check=False, timeout=PATIENCE)

    assert ended.returncode == ExitCode.PRECONDITION
    assert "for this run, and not model 'beer' exit=" in ended.stderr


def test_verify_writes_nothing(delivered: Delivery) -> None:
    before = snapshot(delivered.store)
    delivered.verify(REF, "--digests")

    assert snapshot(delivered.store) == before


def snapshot(root: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in [root, *root.rglob("*")])
