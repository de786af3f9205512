"""Locations of artifacts: paths below the root of the artifacts in MLflow, such as `1/models/m-x/artifacts`.

If MLflow does not serve them, the location is an address of an object store, such as `s3://bucket/1`. No path overlaps
with one, because a path has no `//`.
"""

import re
from itertools import pairwise
from typing import Final
from urllib.parse import unquote

from model_contract.model_ref import MLFLOW_RUN_ID_PATTERN
from model_contract.store_addresses import parse_store_address

PROXIED: Final = re.compile(
    r"(?:mlflow-artifacts:(?://[^/]*)?|https?://[^?#]*/api/2\.0/mlflow-artifacts/artifacts)/+(.*)",
    re.IGNORECASE | re.DOTALL,
)
UNPROTECTED: Final = "the artifacts are neither served by MLflow nor in an object store: the gate cannot protect them"
MODEL_ID: Final = re.compile(r"m-[0-9a-f]{1,64}")


def location_of(uri: str) -> str | None:
    """Return the location in a URI that MLflow serves, or of an object store; None for any other URI."""
    if (location := proxied_location(uri)) is not None:
        return location
    try:
        return str(parse_store_address(uri))
    except ValueError:
        return None


def proxied_location(uri: str) -> str | None:
    """Return the location in a URI such as `mlflow-artifacts:/1/models/m-x`, None if MLflow does not serve the URI."""
    found = PROXIED.fullmatch(uri)
    return joined(found[1]) if found else None


def joined(*parts: str) -> str:
    """Return the path of the parts, with one slash between two segments."""
    return "/".join(segment for part in parts for segment in part.split("/") if segment)


def below(location: str, path: str) -> str:
    """Return the location of a path, which `joined` has returned, below a location."""
    return f"{location}/{path}".strip("/")


def contains(location: str, other: str) -> bool:
    """Return True if `other` is `location` or lies below it; the empty location is the root, which contains all."""
    return not location or f"{other}/".startswith(f"{location}/")


def overlap(location: str, other: str) -> bool:
    """Return True if one of the two locations contains the other."""
    return contains(location, other) or contains(other, location)


def readings(uri: str) -> set[str]:
    """Return each URI that some client of MLflow reads for this one: as it is, cut as a URL is cut, and decoded."""
    cut = re.split(r"[?#]", uri.strip().translate({ord(character): None for character in "\t\r\n"}), maxsplit=1)[0]
    return {uri, cut, unquote(uri), unquote(cut)}


def run_id_in(location: str) -> str | None:
    """Return the first segment of a location that has the form of a run's id."""
    return next((segment for segment in location.split("/") if MLFLOW_RUN_ID_PATTERN.fullmatch(segment)), None)


def model_id_in(location: str) -> str | None:
    """Return the id of MLflow 3's logged model in a location, which follows the segment `models`."""
    pairs = pairwise(location.split("/"))
    return next((segment for before, segment in pairs if before == "models" and MODEL_ID.fullmatch(segment)), None)
