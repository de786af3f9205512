"""Log three traces of two spans, and print how many of them are stored, and how often the server was asked for spans.

`python log_traces.py <experiment id>`
"""

import json
import sys
from typing import Any

import mlflow
from requests import Session

asked: list[str] = []
send: Any = Session.send


def recorded(session: Session, request: Any, **options: Any) -> Any:
    asked.append(request.path_url)
    return send(session, request, **options)


setattr(Session, "send", recorded)  # noqa: B010  mypy allows no assignment to a method
mlflow.set_experiment(experiment_id=sys.argv[1])
for _ in range(3):
    with mlflow.start_span("outer"), mlflow.start_span("inner"):
        pass
found = mlflow.search_traces(locations=[sys.argv[1]], return_type="list")
spans = [len(trace.data.spans) for trace in found]
print(json.dumps({"spans": spans, "asked": asked.count("/v1/traces")}))  # noqa: T201  what the test reads
