"""The pod that KServe makes of an InferenceService and a serving runtime.

It follows KServe's controller (pkg/controller/v1beta1/inferenceservice/utils/utils.go) and the webhook of its storage
initializer (storage_initializer_injector.go), for one container. tests/full/test_kserve_objects.py compares it with the
pod of the real controller.
"""

import copy
import json
import os
import re
from typing import Any, Final

Json = dict[str, Any]

CONTAINER: Final = "kserve-container"
MODELS: Final = "/mnt/models"
VOLUME: Final = "kserve-provision-location"
PLACEHOLDER: Final = re.compile(r"\{\{\s*\.Name\s*\}\}")
TAG: Final = re.compile(r":[\w.\-_]*$")
# Fields of a container that the model of an InferenceService may set, in addition to its arguments.
OVERRIDES: Final = ("image", "resources", "securityContext", "startupProbe", "readinessProbe", "livenessProbe")


def pod_of(runtime: Json, service: Json, storage_container: Json | None = None) -> Json:
    """Return a pod of the predictor; `storage_container` is the one that takes the URI, else KServe's own does."""
    model, spec = service["spec"]["predictor"]["model"], runtime["spec"]
    container = _named(
        _merged(next(one for one in spec["containers"] if one["name"] == CONTAINER), model), service["metadata"]["name"]
    )
    pairs, mount = _storage(service["spec"]["predictor"])
    container["volumeMounts"] = [*container.get("volumeMounts", []), mount | {"readOnly": True}]
    initializer = {
        "name": "storage-initializer",
        "image": "kserve/storage-initializer",
        "args": pairs,
        "volumeMounts": [mount],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    # KServe merges the storage container's fields over these (pkg/utils/container_merge.go); ours sets neither list.
    initializer |= storage_container["spec"]["container"] if storage_container else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{service['metadata']['name']}-predictor", "annotations": spec.get("annotations", {})},
        "spec": {
            "initContainers": [initializer],
            "containers": [container],
            "volumes": [{"name": mount["name"], "emptyDir": {}}],
        },
    }


def _storage(predictor: Json) -> tuple[list[str], Json]:
    """Return the arguments of the storage initializer, and the mount of the volume that it fills."""
    if "storageUris" not in predictor:
        return [predictor["model"]["storageUri"], MODELS], {"name": VOLUME, "mountPath": MODELS}
    places = [one["mountPath"] for one in predictor["storageUris"]]
    pairs = [argument for one in predictor["storageUris"] for argument in (one["uri"], one["mountPath"])]
    common = os.path.commonpath(places)
    return pairs, {"name": common.strip("/").replace("/", "-"), "mountPath": common}


def _merged(container: Json, model: Json) -> Json:
    """Return the runtime's container with the InferenceService's changes, which win.

    Arguments of the InferenceService come after the runtime's, and its variables replace those of the same name.
    """
    merged = copy.deepcopy(container) | {key: model[key] for key in OVERRIDES if key in model}
    merged["args"] = [*container.get("args", []), *model.get("args", [])]
    variables = {entry["name"]: entry for entry in [*container.get("env", []), *model.get("env", [])]}
    if variables:
        merged["env"] = list(variables.values())
    if "runtimeVersion" in model:
        merged["image"] = f"{TAG.sub('', merged['image'])}:{model['runtimeVersion']}"
    return merged


def _named(container: Json, name: str) -> Json:
    named: Json = json.loads(PLACEHOLDER.sub(name, json.dumps(container)))
    return named
