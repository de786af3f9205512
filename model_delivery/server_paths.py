"""Artifact paths that MLflow's server reads as they are sent.

Its handlers decode a path again and again until it stays as it is (`mlflow.utils.uri.validate_path_is_safe`, 2.22 to
3.18), so that a request for `a%20b`, rightly encoded, is answered with the file `a b`.
"""

from typing import Final
from urllib.parse import unquote, urlparse, urlunparse

from model_contract.model_ref import shown
from model_delivery.errors import InvalidInputError

LONGEST_PATH: Final = 4095  # bytes; Linux takes no longer one


def checked_for_server(path: str) -> str:
    """Return a path below the root of MLflow's store. Raises InvalidInputError if the server would read another one, or
    none.
    """
    if len(path.encode()) > LONGEST_PATH:
        raise InvalidInputError(
            f"MLflow lists an artifact whose path has more than {LONGEST_PATH} bytes: {shown(path)}"
        )
    if "#" in path or _read_again(path) != path:
        name = path.rpartition("/")[2]
        raise InvalidInputError(
            f"the artifact {shown(name)} is refused: MLflow's server decodes a path more than once, and would read"
            f" another name; rename it, and log the model again (its path ends in {shown(path[-40:])})"
        )
    return path


def _read_again(path: str) -> str:
    try:
        return urlunparse(urlparse(unquote(path)))
    except ValueError:
        return ""
