"""Print every method and path of MLflow's server as JSON, routers of MLflow 3 included.

Run with an MLflow's own Python.
"""

import json
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

warnings.simplefilter("ignore")

from mlflow.server import app  # noqa: E402  its imports warn


def flask_routes() -> Iterator[tuple[str, str]]:
    for rule in app.url_map.iter_rules():
        for method in rule.methods or ():
            yield method, rule.rule


def fastapi_routes(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if inner := getattr(route, "original_router", None):
            yield from fastapi_routes(inner.routes, prefix + route.include_context.prefix)
        elif methods := getattr(route, "methods", None):
            for method in methods:
                yield method, prefix + route.path
        elif path := getattr(route, "path", None):
            yield "GET", prefix + path  # a mount, or a websocket


found = set(flask_routes())
try:
    from mlflow.server.fastapi_app import app as fastapi_app
except ImportError:  # MLflow 2 has none
    pass
else:
    found |= set(fastapi_routes(fastapi_app.routes))
sys.stdout.write(json.dumps(sorted(found)))
