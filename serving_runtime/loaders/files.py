"""Paths that an `MLmodel` file names."""

from pathlib import Path


def inside(directory: Path, name: str) -> Path:
    """The file `name` of the model in `directory`. Raises ValueError where it is not below it."""
    path = directory / name
    if not path.resolve().is_relative_to(directory.resolve()):
        raise ValueError(f"the MLmodel file names {name}, which is not in the model's directory")
    return path
