"""The libraries and the Python that a model was saved with, compared with those installed here."""

import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from serving_runtime.errors import ModelLoadError

REQUIREMENTS: Final = "requirements.txt"
PYTHON_ENV: Final = "python_env.yaml"
# The same library under another name: the small MLflow has all that loading a model needs, the others are built without
# a GPU.
EQUIVALENT_PACKAGES: Final = {"mlflow": "mlflow-skinny", "xgboost": "xgboost-cpu", "tensorflow": "tensorflow-cpu"}
MLFLOW: Final = ("mlflow", "mlflow-skinny")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`wanted` is the version in the model's file; `installed` is None if the library is missing."""

    name: str
    wanted: str
    installed: str | None

    def __str__(self) -> str:
        return f"{self.name} {self.installed or 'is missing'}, the model was saved with {self.wanted}"


def differences(directory: Path) -> list[Difference]:
    """Return the libraries of the model's requirements.txt that are missing here, or of another version."""
    found = ((requirement, _installed(requirement.name)) for requirement in _requirements(directory))
    return [
        Difference(name=requirement.name, wanted=str(requirement.specifier).removeprefix("=="), installed=version)
        for requirement, version in found
        if version is None or not requirement.specifier.contains(version, prereleases=True)
    ]


def python_difference(directory: Path) -> Difference | None:
    """Return the difference of Python's own major and minor version: a pickle of code is bound to them."""
    wanted = str(_document(directory / PYTHON_ENV).get("python", ""))
    here = platform.python_version()
    if not wanted or wanted.split(".")[:2] == here.split(".")[:2]:
        return None
    return Difference(name="python", wanted=wanted, installed=here)


def check_match(directory: Path) -> None:
    """Raise ModelLoadError if Python or a library is another one than the model was saved with."""
    found, python = differences(directory), python_difference(directory)
    if not found and python is None:
        return
    told = "; ".join(map(str, [*([python] if python else []), *found]))
    raise ModelLoadError(
        f"the model in {directory} must match and does not: {told}"
        + (f"; to repair it: {pip_line(found)}" if found else "")
    )


def needed_packages(directory: Path) -> Iterator[str]:
    """Yield the packages of the model's requirements.txt, and those that these need here, in their canonical names.

    MLflow leaves out of that file what another line of it needs, such as torch beside fastai. What MLflow itself needs
    is left out.
    """
    waiting = list(_requirements(directory))
    seen = set(MLFLOW)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in seen:
            seen.add(name)
            yield name
            waiting += _needs(name, requirement.extras)


def pip_line(found: list[Difference]) -> str:
    """Return the command that installs the model's libraries."""
    names = (f"{one.name}{'==' if one.wanted[:1].isdigit() else ''}{one.wanted}" for one in found)
    return " ".join(["pip install", *(f'"{name}"' if set(name) & set("<>!~,") else name for name in names)])


def _requirements(directory: Path) -> Iterator[Requirement]:
    """Return the lines that name a package; options and files of pip's are left to pip."""
    try:
        lines = (directory / REQUIREMENTS).read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        requirement = _parsed(line.partition(" #")[0].partition(" --hash")[0])
        if requirement and (requirement.marker is None or requirement.marker.evaluate()):
            yield requirement


def _parsed(line: str) -> Requirement | None:
    try:
        return Requirement(line)
    except InvalidRequirement:
        return None


def _needs(name: str, extras: Iterable[str]) -> Iterator[Requirement]:
    """Yield what a package needs here, with these extras of it; nothing if it is not installed."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    for requirement in filter(None, map(_parsed, lines)):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def _installed(name: str) -> str | None:
    for candidate in (name, EQUIVALENT_PACKAGES.get(canonicalize_name(name))):
        try:
            if candidate:
                return metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return None


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return document if isinstance(document, dict) else {}
