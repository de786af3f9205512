"""Answers requests as MLflow's own scoring server does. Runs in an environment with the full MLflow.

`python ask_mlflow.py <directory of models>` reads a JSON list of `[model, content type, body]` from standard input and
prints a list of `{"status", "body"}`, in the same order, of an error also with its `error_code`. With `--lines` it
answers each line, a request, by a line.
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
def load(name: str) -> Any:
    return mlflow.pyfunc.load_model(str(Path(sys.argv[1]) / name))


def ask(name: str, content_type: str, body: str) -> dict[str, Any]:
    try:
        model = load(name)
        answer = invocations(body.encode(), content_type, model, model.metadata.get_input_schema())
    except MlflowException as error:
        return {"status": error.get_http_status_code(), "body": error.message, "error_code": error.error_code}
    except Exception as error:  # noqa: BLE001  what its server answers with 500
        return {"status": 500, "body": repr(error), "error_code": "INTERNAL_ERROR"}
    return {
        "status": answer.status,
        "body": json.loads(answer.response) if answer.mimetype == "application/json" else answer.response,
    }


if "--lines" in sys.argv:
    for line in sys.stdin:
        print(json.dumps(ask(*json.loads(line))), flush=True)  # noqa: T201  its answer
else:
    print(json.dumps([ask(*request) for request in json.load(sys.stdin)]))  # noqa: T201  as above
