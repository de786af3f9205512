"""Checks of artifact paths, which a server names and which become paths of the store.

MLflow's server decodes the path of a request again and again until it stays as it is
(`mlflow.utils.uri.validate_path_is_safe`, 2.22 to 3.18): it answers a request for `a%20b`, rightly encoded, with the
file `a b`.
"""

import unicodedata
from typing import Final
from urllib.parse import unquote, urlparse, urlunparse

from model_contract.model_ref import shown
from model_delivery.errors import InvalidInputError

LONGEST_NAME: Final = 255  # bytes: the limit of file systems
LONGEST_PATH: Final = 4095  # bytes: the limit of Linux


def checked_path(path: str) -> str:
    """Return a relative path of safe names. Raises InvalidInputError for any other."""
    for name in path.split("/"):
        checked_name(name)
    return path


def checked_name(name: object) -> str:
    """Return a name that does not leave the directory that it is joined to. Raises InvalidInputError for any other."""
    if not isinstance(name, str):
        raise InvalidInputError("an artifact is listed without a name")
    if (
        name in {"", ".", ".."}
        or "/" in name
        or any(unicodedata.category(character) in {"Cc", "Cs"} for character in name)
    ):
        raise InvalidInputError(f"an artifact is listed as {shown(name)}, which is refused as a file name")
    if len(name.encode()) > LONGEST_NAME:
        raise InvalidInputError(f"an artifact is listed as {shown(name)}, a name of more than {LONGEST_NAME} bytes")
    return name


def checked_length(path: str) -> str:
    """Return a path that Linux can have. Raises InvalidInputError for a longer one."""
    if len(path.encode()) > LONGEST_PATH:
        raise InvalidInputError(f"an artifact is listed whose path has more than {LONGEST_PATH} bytes: {shown(path)}")
    return path


def checked_for_server(path: str) -> str:
    """Return a path below the root of MLflow's store.

    Raises InvalidInputError if the server would read another path, or none.
    """
    checked_length(path)
    if "#" in path or _decoded_by_server(path) != path:
        name = path.rpartition("/")[2]
        raise InvalidInputError(
            f"the artifact {shown(name)} is refused: MLflow's server decodes a path more than once, and would read"
            f" another name; rename it, and log the model again (its path ends in {shown(path[-40:])})"
        )
    return path


def _decoded_by_server(path: str) -> str:
    try:
        return urlunparse(urlparse(unquote(path)))
    except ValueError:
        return ""
