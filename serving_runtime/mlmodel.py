"""The `MLmodel` file: the facts about a model that are read before it is loaded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from model_contract.layout import MANIFEST, MLMODEL, STORAGE_DIRECTORY
from serving_runtime.errors import ModelLoadError
from serving_runtime.signature import HINTED, InvalidSignatureError, Signature, read_signature

REGISTERED: Final = "registered_model_meta"  # MLflow's client writes it beside what it downloads from the registry
UNNAMED: Final = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """`serving_example` is the file with the body of an example request, if the model was logged with an input example.

    `flavors` are as in the file: each with its needs for a load.
    """

    directory: Path
    mlflow_version: str
    run_id: str | None
    signature: Signature
    serving_example: str | None
    flavors: Mapping[str, Any]

    @property
    def streamable(self) -> bool:
        return bool(self.flavors["python_function"].get("streamable"))


def read_metadata(directory: Path) -> Metadata:
    """Raises ModelLoadError if the file describes nothing that can be served."""
    document = _document(directory / MLMODEL)
    if "python_function" not in document.get("flavors", {}):
        raise ModelLoadError(
            f"the model in {directory} has no python_function flavor, by which every flavor of MLflow is loaded; log it"
            " with one"
        )
    try:
        # MLflow writes a second field if the signature is that of a type hint.
        signature = read_signature((document.get("signature") or {}) | {HINTED: document.get(HINTED)})
    except InvalidSignatureError as error:
        raise ModelLoadError(str(error)) from error
    example = document.get("saved_input_example_info") or {}
    return Metadata(
        directory=directory,
        mlflow_version=str(document.get("mlflow_version", "")),
        run_id=document.get("run_id"),
        signature=signature,
        serving_example=example.get("serving_input_path"),
        flavors=document["flavors"],
    )


def identity(directory: Path, name: str | None, version: str | None) -> tuple[str, str | None]:
    """Return the name and the version of the model: `name` and `version` > those of its files > `model` and none.

    A version that MLflow's client has written beside the model counts with its name only. That of the delivery counts
    with any: under KServe, the name is the InferenceService's, and the version that of the storage URI.
    """
    delivered_name, delivered_version = _delivered(directory)
    if name:
        return name, version or delivered_version
    registered_name, registered_version = _registered(directory)
    return registered_name or delivered_name or UNNAMED, version or registered_version or delivered_version


def _delivered(directory: Path) -> tuple[str | None, str | None]:
    """Return the name and the version that a storage URI named when `model-api-delivery storage` fetched the model."""
    try:
        known = json.loads((directory / STORAGE_DIRECTORY / MANIFEST).read_bytes())["resolved"]
        return _usable(known["name"], known["version"])
    except (OSError, ValueError, LookupError, TypeError):
        return None, None


def _registered(directory: Path) -> tuple[str | None, str | None]:
    try:
        document = yaml.safe_load((directory / REGISTERED).read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return None, None
    known = document if isinstance(document, dict) else {}
    return _usable(known.get("model_name"), known.get("model_version"))


def _usable(name: Any, version: Any) -> tuple[str | None, str | None]:
    """Return name and version as texts of a path; None for both if they cannot be in one."""
    name, version = str(name or ""), str(version or "")
    usable = name and "/" not in name + version and (name + version).isprintable()
    return (name, version or None) if usable else (None, None)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  both are safe
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelLoadError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ModelLoadError(f"{path} holds no mapping; is the file cut?")
    return document
