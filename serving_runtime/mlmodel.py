"""The `MLmodel` file: the facts about a model that are read before it is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from model_contract.layout import MLMODEL
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
        # MLflow writes beside the signature if it is that of a type hint.
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

    The version of the files counts with their name only.
    """
    if name:
        return name, version or None
    registered_name, registered_version = _registered(directory)
    return registered_name or UNNAMED, version or registered_version


def _registered(directory: Path) -> tuple[str | None, str | None]:
    try:
        document = yaml.safe_load((directory / REGISTERED).read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return None, None
    known = document if isinstance(document, dict) else {}
    name, version = (str(known.get(key) or "") for key in ("model_name", "model_version"))
    return (
        (name, version or None)
        if name and "/" not in name + version and (name + version).isprintable()
        else (None, None)
    )


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  both are safe
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelLoadError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ModelLoadError(f"{path} holds no mapping; is the file cut?")
    return document
