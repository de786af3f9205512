"""Download the artifacts that each line names, and print the files' digests. Run with an MLflow's own Python.

A line is `{"uri": ..., "tracking": ..., "token": ...}`; `tracking` is the address of MLflow or of a gate. The
answer is `{"files": {path: digest}}`, or `{"error": ...}`.
"""

import hashlib
import json
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import mlflow  # noqa: E402  its import warns

logging.disable(logging.CRITICAL)
for line in sys.stdin:
    asked = json.loads(line)
    mlflow.set_tracking_uri(asked["tracking"])
    os.environ["MLFLOW_TRACKING_TOKEN"] = asked["token"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            root = Path(mlflow.artifacts.download_artifacts(asked["uri"], dst_path=folder))
            found = [path for path in root.rglob("*") if path.is_file() and path.name != "registered_model_meta"]
            files = {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
            answer: dict[str, object] = {"files": files}
        except Exception as error:  # noqa: BLE001  whatever MLflow raises is the answer
            answer = {"error": str(error)[:500]}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
