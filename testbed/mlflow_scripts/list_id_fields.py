"""Print each route of MLflow's API, and the fields of its request that hold ids of objects, as JSON.

Run with an MLflow's own Python. The fields come from the messages by which the server reads a body.
"""

import json
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Final

warnings.simplefilter("ignore")

from mlflow.protos.model_registry_pb2 import ModelRegistryService  # noqa: E402  its imports warn
from mlflow.protos.service_pb2 import MlflowService  # noqa: E402
from mlflow.server.handlers import get_service_endpoints  # noqa: E402

ID: Final = re.compile(r"(?:\w+_)?(?:ids?|uuids?)")
DEEPEST: Final = 6


def fields(message: Any, prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the paths of the fields of a message; `*` is each item of a list."""
    for field in message.fields:
        path = f"{prefix}{field.name}" + (".*" if isinstance(field.default_value, list) else "")
        if field.message_type is None:
            yield path
        elif depth < DEEPEST:
            yield from fields(field.message_type, f"{path}.", depth + 1)


def last_name(path: str) -> str:
    return path.removesuffix(".*").rpartition(".")[2]


found = sorted(
    {
        (methods[0], path, tuple(sorted(name for name in fields(kind.DESCRIPTOR) if ID.fullmatch(last_name(name)))))
        for service in (MlflowService, ModelRegistryService)
        for path, kind, methods in get_service_endpoints(service, lambda kind: kind)  # type: ignore[no-untyped-call]
    }
)
sys.stdout.write(json.dumps(found))
