"""Asks the tracking server for a run, with the variables that each line of JSON adds, each time in a fork.

An import of MLflow takes seconds; a fork leaves nothing of one line to the next.
"""

import json
import os
import sys
from contextlib import suppress

import mlflow
from mlflow.exceptions import MlflowException

for line in sys.stdin:
    asking = os.fork()
    if not asking:
        os.environ.update(json.loads(line))
        with suppress(MlflowException):
            mlflow.MlflowClient().get_run("0" * 32)
        os._exit(0)
    sys.stdout.write(json.dumps({"code": os.waitstatus_to_exitcode(os.waitpid(asking, 0)[1])}) + "\n")
    sys.stdout.flush()
