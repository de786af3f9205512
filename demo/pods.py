"""The pod of the story."""

from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import yaml

from model_contract.model_ref import ModelRef

EXAMPLE_POD: Final = Path(__file__).parent.parent / "examples" / "model-api-pod.yaml"


def example_pod() -> dict[str, Any]:
    """The pod of `examples/model-api-pod.yaml` as JSON."""
    pod: dict[str, Any] = yaml.safe_load(EXAMPLE_POD.read_text())
    return pod


def pod_for(ref: ModelRef) -> dict[str, Any]:
    """The example pod, asking for `ref`."""
    pod = deepcopy(example_pod())
    for container in pod["spec"]["containers"]:
        for entry in container["env"]:
            entry["value"] = ref.variables().get(entry["name"], entry.get("value"))
    return pod
