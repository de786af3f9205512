"""The input that a model was logged with."""

import json
from typing import Any, Final

from model_delivery.errors import DeliveryError
from model_delivery.source import artifact_path
from model_lifecycle.errors import NotFoundError
from model_lifecycle.registry import Registry, Version, file_path

EXAMPLE: Final = "serving_input_example.json"  # MLflow writes it beside a model that is logged with an example
MOST_BYTES: Final = 1 << 20


def example_of(registry: Registry, version: Version) -> dict[str, Any] | None:
    """A body of MLflow's protocol; None where the model was logged without an example, or with one that is too large to
    send.
    """
    try:
        path = f"{artifact_path(registry, version.name, version.version)}/{EXAMPLE}"
        content = b""
        with registry.files.stream(file_path(path)) as chunks:
            for chunk in chunks:
                content += chunk
                if len(content) > MOST_BYTES:
                    return None
        example = json.loads(content)
    except (NotFoundError, DeliveryError, ValueError):
        return None
    return example if isinstance(example, dict) else None
