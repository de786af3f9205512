"""Answers requests as MLflow's own scoring server does. Runs in an environment with the full MLflow.

`python ask_mlflow.py <directory of models>` answers each line of standard input, a JSON list of `[model, content type,
body]`, by a line `{"status", "body"}`, of an error also with its `error_code`.
"""

import json
import logging
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import invocations

warnings.simplefilter("ignore")
logging.disable(logging.ERROR)


@lru_cache(maxsize=100)
def load(model: Path) -> Any:
    return mlflow.pyfunc.load_model(str(model))


def ask(path: Path, content_type: str, body: str) -> dict[str, Any]:
    """Return the answer of MLflow's scoring server for the model in this directory."""
    try:
        model = load(path)
        answer = invocations(body.encode(), content_type, model, model.metadata.get_input_schema())
    except MlflowException as error:
        return {"status": error.get_http_status_code(), "body": error.message, "error_code": error.error_code}
    except Exception as error:  # noqa: BLE001  what its server answers with 500
        return {"status": 500, "body": repr(error), "error_code": "INTERNAL_ERROR"}
    return {
        "status": answer.status,
        "body": json.loads(answer.response) if answer.mimetype == "application/json" else answer.response,
    }


def main(models: Path) -> None:
    for line in sys.stdin:
        name, *request = json.loads(line)
        print(json.dumps(ask(models / name, *request)), flush=True)  # noqa: T201  its answer


if __name__ == "__main__":
    main(Path(sys.argv[1]))
