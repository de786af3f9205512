"""Logs and registers a model of one large file, and the same again with a digest tag; prints both, as JSON.

Argument: the prefix of the models' names.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

from mlflow import MlflowClient

FILES = {"MLmodel": b"flavors: {}\n", "weights.bin": bytes(range(256)) * (36 * 4096)}
client = MlflowClient()
prefix = sys.argv[1]
experiment = client.create_experiment(prefix)
run_id = client.create_run(experiment).info.run_id
with tempfile.TemporaryDirectory() as directory:
    for path, content in FILES.items():
        (Path(directory) / path).write_bytes(content)
    client.log_artifacts(run_id, directory, "model")
lines = sorted(f"{path}\0{len(content)}\0{hashlib.sha256(content).hexdigest()}\n" for path, content in FILES.items())
digest = "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()
made = {}
for key in ("big", "marked"):
    name = f"{prefix} {key}"
    client.create_registered_model(name)
    client.create_model_version(name, f"runs:/{run_id}/model", run_id)
    made[key] = {"name": name, "version": "1", "run_id": run_id, "directory": f"{experiment}/{run_id}/artifacts/model"}
client.set_model_version_tag(f"{prefix} marked", "1", "model-api.digest", digest)
print(json.dumps(made))  # noqa: T201  the answer of the script
