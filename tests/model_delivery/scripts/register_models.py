"""Logs and registers, on either MLflow, a model for each way in which one can lie there; prints where each is, as JSON.

Argument: the directory of the server's artifact store, for files that no client would put there.
"""

import json
import sys
import tempfile
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from sklearn.linear_model import ElasticNet

STORE = Path(sys.argv[1])
MLFLOW_3 = int(mlflow.__version__.split(".")[0]) >= 3
client = MlflowClient()
experiment = client.create_experiment("delivery")
made: dict[str, dict[str, str]] = {}


def artifacts_of(run_id: str) -> Path:
    return STORE / client.get_run(run_id).info.artifact_uri.removeprefix("mlflow-artifacts:/")


def register(key: str, source: str, run_id: str | None) -> None:
    name = f"delivery {key}"
    client.create_registered_model(name)
    client.create_model_version(name, source, run_id)
    note(key, name, run_id)


def note(key: str, name: str, run_id: str | None) -> None:
    made[key] = {"name": name, "version": "1", "run_id": run_id or "", "directory": directory_of(name)}


def directory_of(name: str) -> str:
    """Return the path of the files of a model's only version below the artifact store."""
    uri = str(client.get_model_version_download_uri(name, "1"))
    if uri.startswith("runs:/"):
        run_id, _, path = uri.removeprefix("runs:/").partition("/")
        uri = f"{client.get_run(run_id).info.artifact_uri}/{path}"
    return uri.removeprefix("mlflow-artifacts:/")


def log_files(files: dict[str, bytes]) -> str:
    """A run with these files among its artifacts."""
    run_id: str = client.create_run(experiment).info.run_id
    with tempfile.TemporaryDirectory() as directory:
        for path, content in files.items():
            (Path(directory) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(directory) / path).write_bytes(content)
        client.log_artifacts(run_id, directory)
    return run_id


def log_sklearn() -> str:
    """Log and register a model, as a notebook does."""
    with mlflow.start_run(experiment_id=experiment) as run:
        model = ElasticNet().fit(np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 2.0]))
        place = {"name": "model"} if MLFLOW_3 else {"artifact_path": "model"}
        # The requirements are named, or MLflow imports the model once more in a process of its own to find them.
        needs = ["scikit-learn"]
        mlflow.sklearn.log_model(model, **place, registered_model_name="delivery logged", pip_requirements=needs)
    note("logged", "delivery logged", run.info.run_id)
    return str(run.info.run_id)


logged = log_sklearn()
register("registered by run", f"runs:/{logged}/model", logged)
client.copy_model_version("models:/delivery logged/1", "delivery copied")
note("copied", "delivery copied", logged)
register("marked with another digest", f"runs:/{logged}/model", logged)
client.set_model_version_tag("delivery marked with another digest", "1", "model-api.digest", "sha256:" + "0" * 64)

mlmodel = b"flavors: {}\n"
plain = log_files(
    {"model/MLmodel": mlmodel, "model/data.bin": bytes(range(256)) * 400, "notes/read.me": b"not of the model"}
)
register("plain", f"runs:/{plain}/model", plain)
register("plain again", f"runs:/{plain}/model", plain)
register("parent of the model", f"runs:/{plain}", plain)

changing = log_files({"model/MLmodel": mlmodel, "model/data.bin": b"old" * 1000})
register("changing", f"runs:/{changing}/model", changing)

odd = {
    "with space.txt": b"1",
    "100%.txt": b"2",
    "a+b&c=d;e.txt": b"3",
    "deep/er/and/deeper/file": b"4",
    "quo'te\".txt": b"5",
    "-dash": b"6",
    "empty": b"",
}
files = log_files({"model/MLmodel": mlmodel} | {f"model/{path}": content for path, content in odd.items()})
register("odd names", f"runs:/{files}/model", files)

big = log_files({"model/MLmodel": mlmodel, "model/weights.bin": bytes(range(256)) * (36 * 4096)})
register("big", f"runs:/{big}/model", big)

# No client of MLflow uploads these names as they are.
strange = log_files({"model/MLmodel": mlmodel})
for name in ("what?.txt", "ümläut-日本語.txt"):
    (artifacts_of(strange) / "model" / name).write_bytes(name.encode())
register("strange names", f"runs:/{strange}/model", strange)

unservable = log_files({"model/MLmodel": mlmodel})
(artifacts_of(unservable) / "model" / "a#b.txt").write_bytes(b"no route leads here")
register("unservable", f"runs:/{unservable}/model", unservable)

names = log_files({"model/MLmodel": mlmodel})
register("names", f"runs:/{names}/model", names)

hollow = log_files({"model/MLmodel": mlmodel, "model/data/x": b"1"})
for name in ("empty", "data/deep/er", "with space"):
    (artifacts_of(hollow) / "model" / name).mkdir(parents=True)
register("empty directories", f"runs:/{hollow}/model", hollow)

several = log_files({"one/MLmodel": mlmodel, "two/MLmodel": mlmodel})
register("several models", f"runs:/{several}", several)
no_mlmodel = log_files({"model/weights.bin": b"x"})
register("without MLmodel", f"runs:/{no_mlmodel}/model", no_mlmodel)
empty = client.create_run(experiment).info.run_id
register("empty", f"runs:/{empty}/model", empty)
register("in a bucket", "s3://bucket/key/model", None)

two = log_files({"first/MLmodel": mlmodel, "second/MLmodel": mlmodel + b"x: 1\n"})
register("first of a run", f"runs:/{two}/first", two)
register("second of a run", f"runs:/{two}/second", two)

print(json.dumps(made))  # noqa: T201  the answer of the script
