"""The tree that arrives is the one that MLflow's own client makes."""

import json
from pathlib import Path

from model_contract.exit_codes import ExitCode
from testbed.delivery import Delivery
from testbed.mlflow_server import MODULES, client_environment
from testbed.processes import completed
from testbed.registered import Registered

DOWNLOAD = (
    "import sys, mlflow; print(mlflow.artifacts.download_artifacts(artifact_uri=sys.argv[1], dst_path=sys.argv[2]))"
)


def tree(root: Path) -> set[tuple[str, bool]]:
    return {(str(path.relative_to(root)), path.is_dir()) for path in root.rglob("*")}


def test_empty_directories_arrive_as_with_mlflows_client(tmp_path: Path, mlflow_any: Registered) -> None:
    ref = mlflow_any.ref("empty directories")
    delivery = Delivery(directory=tmp_path, uri=mlflow_any.uri)
    ended = delivery.fetch(ref)
    (tmp_path / "theirs").mkdir()
    address = f"mlflow-artifacts:/{mlflow_any.versions['empty directories']['directory']}"
    command = [mlflow_any.server.python, "-c", DOWNLOAD, address, tmp_path / "theirs"]
    environment = client_environment() | {"MLFLOW_TRACKING_URI": mlflow_any.uri}
    downloaded = completed(command, env=environment, imported=MODULES)

    assert downloaded.returncode == 0, downloaded.stderr
    assert ended.code == ExitCode.DONE, ended.output
    assert tree(delivery.model(ref)) == tree(Path(downloaded.stdout.splitlines()[-1]))
    assert json.loads(delivery.manifest(ref).read_text())["directories"] == ["data/deep/er", "empty", "with space"]


def test_an_empty_directory_that_is_gone_is_damage(tmp_path: Path, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("empty directories")
    delivery = Delivery(directory=tmp_path, uri=mlflow_3.uri)
    delivery.fetch(ref)
    (delivery.model(ref) / "empty").rmdir()
    ended = delivery.verify(ref)

    assert ended.code == ExitCode.DAMAGED
    assert 'the directory "empty" is missing' in ended.reason


def test_directories_do_not_change_the_digest(tmp_path: Path, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("empty directories")
    delivery = Delivery(directory=tmp_path, uri=mlflow_3.uri)
    delivery.fetch(ref)
    manifest = json.loads(delivery.manifest(ref).read_text())
    manifest["directories"] = []
    delivery.manifest(ref).write_text(json.dumps(manifest))

    assert delivery.verify(ref, "--digests").code == ExitCode.DONE
