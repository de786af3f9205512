"""Models that real servers hold, in each way in which one can lie there."""

import json
import os
import stat
import subprocess

import pytest

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ModelRef
from testbed.delivery import Delivery
from testbed.mlflow_server import MODULES, client_environment
from testbed.processes import completed
from testbed.registered import Registered, files_below
from testbed.reverse_proxy import reverse_proxy

MIB = 1 << 20
DELIVERED = ["logged", "registered by run", "copied", "plain", "odd names", "big"]
REFUSED = [
    ("marked with another digest", ExitCode.PRECONDITION, "model-api.digest says"),
    ("several models", ExitCode.NOT_FOUND, '"one", "two"'),
    ("without MLmodel", ExitCode.NOT_FOUND, "there is no MLmodel at"),
    ("empty", ExitCode.NOT_FOUND, "has no artifacts and no logged model"),
    ("unservable", ExitCode.INVALID_INPUT, 'the artifact "a#b.txt" is refused'),
    ("in a bucket", ExitCode.INVALID_INPUT, "does not allow; start MLflow with --serve-artifacts"),
]


@pytest.fixture
def delivery_any(delivery: Delivery, mlflow_any: Registered) -> Delivery:
    """An empty store, to be filled from each server in turn."""
    return Delivery(directory=delivery.directory, uri=mlflow_any.uri)


@pytest.mark.parametrize("example", DELIVERED)
def test_a_model_arrives_byte_by_byte(delivery_any: Delivery, mlflow_any: Registered, example: str) -> None:
    ref = mlflow_any.ref(example)
    ended = delivery_any.fetch(ref)

    assert ended.code == ExitCode.DONE, ended.output
    # MLflow 3 says of a version made from a run that it lies with the run's files. It lies with the logged model's.
    assert files_below(delivery_any.model(ref)) == mlflow_any.files(
        "logged" if example == "registered by run" else example
    )
    assert delivery_any.partial() == []


@pytest.mark.parametrize(("example", "code", "reason"), REFUSED, ids=[case[0] for case in REFUSED])
def test_model_that_cannot_be_delivered_is_refused_with_its_reason(
    delivery_any: Delivery, mlflow_any: Registered, example: str, code: ExitCode, reason: str
) -> None:
    ref = mlflow_any.ref(example)
    ended = delivery_any.fetch(ref)

    assert ended.code == code, ended.output
    assert reason in ended.reason
    assert ended.reason.count("\n") == 1
    assert not delivery_any.run_directory(ref).exists()


def test_names_with_question_marks_and_letters_of_other_scripts_arrive(
    delivery: Delivery, mlflow_3: Registered
) -> None:
    ref = mlflow_3.ref("strange names")
    ended = delivery.fetch(ref)

    assert ended.code == ExitCode.DONE, ended.output
    assert {"what?.txt", "ümläut-日本語.txt"} <= files_below(delivery.model(ref)).keys()


def test_a_model_in_the_only_directory_that_has_one_is_taken_from_there(
    delivery_any: Delivery, mlflow_any: Registered
) -> None:
    ref = mlflow_any.ref("parent of the model")
    ended = delivery_any.fetch(ref)

    assert ended.code == ExitCode.DONE, ended.output
    assert files_below(delivery_any.model(ref)) == mlflow_any.files("plain")


def test_a_delivered_model_loads_and_predicts(delivery_any: Delivery, mlflow_any: Registered) -> None:
    ref = mlflow_any.ref("logged")
    delivery_any.fetch(ref)
    code = (
        "import sys, mlflow.pyfunc, numpy;"
        " print(mlflow.pyfunc.load_model(sys.argv[1]).predict(numpy.array([[1.0]])).shape)"
    )
    command = [mlflow_any.server.python, "-c", code, delivery_any.model(ref)]
    loaded = completed(command, env=client_environment(), imported=MODULES)

    assert loaded.stdout.splitlines()[-1] == "(1,)", loaded.stderr


def test_a_delivery_is_readable_by_every_user_and_writable_by_its_own(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("odd names")
    delivery.fetch(ref, before=["sh", "-c", 'umask 077; exec "$@"', "sh"])
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in delivery.store.rglob("*")}

    assert modes == {(True, 0o755), (False, 0o644)}


def test_the_manifest_names_the_version_its_source_and_every_file(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("plain")
    delivery.fetch(ref)
    manifest = json.loads(delivery.manifest(ref).read_text())

    assert manifest["format"] == 1
    assert (manifest["owner"], manifest["run_id"]) == (ref.owner, ref.run_id)
    assert manifest["versions"] == [{"name": ref.name, "version": ref.version}]
    assert manifest["source"] == mlflow_3.versions["plain"]["directory"]
    assert [(file["path"], file["size"]) for file in manifest["files"]] == [("MLmodel", 12), ("data.bin", 102400)]


def test_equal_files_have_an_equal_digest_on_every_server(
    delivery: Delivery, mlflow_2: Registered, mlflow_3: Registered
) -> None:
    other = Delivery(directory=delivery.directory, uri=mlflow_2.uri)
    delivery.fetch(mlflow_3.ref("plain"))
    other.fetch(mlflow_2.ref("plain"))

    digests = [json.loads(manifest.read_text())["digest"] for manifest in delivery.store.rglob("manifest.json")]
    assert len(digests) == 2
    assert len(set(digests)) == 1


def test_a_model_that_is_there_needs_no_network(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("plain")
    delivery.fetch(ref)
    offline = Delivery(directory=delivery.directory, uri="http://127.0.0.1:9")
    ended = offline.fetch(ref)

    assert ended.code == ExitCode.DONE
    assert "there already" in ended.output


def test_the_same_files_registered_twice_are_fetched_once_and_known_by_both_names(
    delivery: Delivery, mlflow_3: Registered
) -> None:
    with reverse_proxy(mlflow_3.uri) as proxy:
        through = Delivery(directory=delivery.directory, uri=proxy.uri)
        through.fetch(mlflow_3.ref("plain"))
        ended = through.fetch(mlflow_3.ref("plain again"))
        asked = len(proxy.seen)
        again = through.fetch(mlflow_3.ref("plain again"))

        assert (ended.code, again.code) == (ExitCode.DONE, ExitCode.DONE), ended.output
        assert len(proxy.paths("data.bin")) == 1
        assert len(proxy.seen) == asked
    assert delivery.verify(mlflow_3.ref("plain")).code == ExitCode.DONE
    assert delivery.verify(mlflow_3.ref("plain again")).code == ExitCode.DONE


def test_a_second_model_of_a_run_does_not_replace_the_first(delivery: Delivery, mlflow_3: Registered) -> None:
    first, second = mlflow_3.ref("first of a run"), mlflow_3.ref("second of a run")
    delivery.fetch(first)
    ended = delivery.fetch(second)

    assert ended.code == ExitCode.PRECONDITION
    assert "another model of the same run" in ended.reason
    assert delivery.verify(first, "--digests").code == ExitCode.DONE


def test_a_version_of_another_run_is_refused(delivery: Delivery, mlflow_any: Registered) -> None:
    right = mlflow_any.ref("plain")
    wrong = ModelRef(name=right.name, version=right.version, owner=right.owner, run_id=mlflow_any.ref("big").run_id)
    ended = Delivery(directory=delivery.directory, uri=mlflow_any.uri).fetch(wrong)

    assert ended.code == ExitCode.PRECONDITION
    assert f"belongs to run {right.run_id}" in ended.reason


@pytest.mark.parametrize("change", [{"name": "no such model"}, {"version": "99"}], ids=["model", "version"])
def test_version_that_is_not_registered_is_not_found(
    delivery: Delivery, mlflow_any: Registered, change: dict[str, str]
) -> None:
    right = mlflow_any.ref("plain")
    wrong = ModelRef(
        **({"name": right.name, "version": right.version, "owner": right.owner, "run_id": right.run_id} | change)
    )
    ended = Delivery(directory=delivery.directory, uri=mlflow_any.uri).fetch(wrong)

    assert ended.code == ExitCode.NOT_FOUND
    assert "RESOURCE_DOES_NOT_EXIST" in ended.reason


def test_memory_does_not_grow_with_the_model(delivery: Delivery, mlflow_3: Registered) -> None:
    small, big = (peak_memory(delivery.start(mlflow_3.ref(example))) for example in ("plain", "big"))

    assert big - small < 20 * MIB  # of 36 MiB that came


def peak_memory(process: subprocess.Popen[str]) -> int:
    """The largest resident size in bytes of a process that is waited for."""
    with process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == ExitCode.DONE
    return usage.ru_maxrss * 1024


def test_a_model_larger_than_allowed_is_refused_before_its_first_byte(delivery: Delivery, mlflow_3: Registered) -> None:
    with reverse_proxy(mlflow_3.uri) as proxy:
        ended = Delivery(directory=delivery.directory, uri=proxy.uri).fetch(mlflow_3.ref("big"), "--max-bytes=30Mi")

        assert ended.code == ExitCode.NO_SPACE
        assert "37748748 bytes, more than the 31457280 of --max-bytes" in ended.reason
        assert proxy.paths("weights.bin") == []
    assert list(delivery.store.iterdir()) == []


def test_a_model_as_large_as_allowed_is_fetched(delivery: Delivery, mlflow_3: Registered) -> None:
    assert delivery.fetch(mlflow_3.ref("big"), "--max-bytes=37748748").code == ExitCode.DONE
