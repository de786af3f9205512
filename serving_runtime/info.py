"""The description of a model for people and programs: `GET /info`, the page, and the commands that print it."""

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import yaml

from model_contract.layout import MLMODEL
from serving_runtime.example import example_problem
from serving_runtime.mlmodel import read_metadata
from serving_runtime.requirements import Difference, differences, python_difference
from serving_runtime.signature import HINTED

PYFUNC: Final = "python_function"
LARGEST_EXAMPLE: Final = 64 << 10  # bytes; a picture as an example belongs into no page


def describe(directory: Path, *, name: str, version: str | None) -> dict[str, Any]:
    """Return the model's name, version, run, flavor, signature and example, and the libraries that differ.

    `directory` holds `MLmodel`.
    """
    document = _document(directory)
    flavors = document.get("flavors", {})
    return {
        "model": {
            "name": name,
            "version": version,
            "run_id": document.get("run_id"),
            "model_id": document.get("model_id"),
            "flavor": _flavor(flavors),
            "flavors": sorted(flavors),
            "mlflow_version": document.get("mlflow_version"),
            "saved": document.get("utc_time_created"),
        },
        "signature": _signature(document.get("signature") or {}, hinted=bool(document.get(HINTED))),
        "example": _example(directory, document),
        "example_problem": example_problem(read_metadata(directory)),
        "environment": _environment(directory),
        "server": {"name": "model-api-runtime", "version": metadata.version("mlflow-model-api")},
    }


def _flavor(flavors: Mapping[str, Any]) -> str:
    """Return the flavor of the library that saved the model; code of its author's has only MLflow's common one."""
    return next((name for name in flavors if name != PYFUNC), PYFUNC)


def _signature(document: Mapping[str, Any], *, hinted: bool) -> dict[str, Any]:
    """Return the signature as MLflow writes it, but as JSON and not as texts of JSON.

    `hinted`: it stands for a type hint in the model's code.
    """
    parts = {
        part: json.loads(document[part]) if document.get(part) else None for part in ("inputs", "outputs", "params")
    }
    return parts | {"typed_in_code": hinted}


def _example(directory: Path, document: Mapping[str, Any]) -> Any:
    """Return the body of a request that the model was logged with; None if it has none, or a large one."""
    name = (document.get("saved_input_example_info") or {}).get("serving_input_path")
    try:
        if name and (directory / name).stat().st_size <= LARGEST_EXAMPLE:
            return json.loads((directory / name).read_text(), parse_int=_whole_number)
    except (OSError, ValueError):
        pass  # the warm-up says what is wrong with it
    return None


def _whole_number(digits: str) -> int | float:
    """Return a number of more than 64 bits as a double: the answer of `/info` cannot hold it otherwise."""
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else float(number)


def _environment(directory: Path) -> dict[str, Any]:
    python = python_difference(directory)
    found = [*([python] if python else []), *differences(directory)]
    return {"differs": [_difference(one) for one in found]}


def _difference(one: Difference) -> dict[str, str | None]:
    return {"name": one.name, "wanted": one.wanted, "installed": one.installed}


def _document(directory: Path) -> dict[str, Any]:
    document = yaml.load((directory / MLMODEL).read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  both are safe
    return document if isinstance(document, dict) else {}
