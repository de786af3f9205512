"""Answers of MLServer to its clients: `python -m testbed.mlserver` records them anew, from the real server."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from testbed.environments import python_of, saved_models

FOLDER: Final = Path(__file__).parents[1] / "tests" / "serving_runtime" / "protocols" / "mlserver"
RECORDINGS: Final = FOLDER / "recorded.jsonl"

Exchange = dict[str, Any]


def models(directory: Path) -> Path:
    """Save the models of the recordings, with full MLflow."""
    return saved_models("3.17", FOLDER / "save_models.py", directory)


def recorded(recordings: Path = RECORDINGS) -> Sequence[Exchange]:
    """Return the exchanges: a request, and MLServer's answer. The first line of the file tells the versions."""
    return [json.loads(line) for line in recordings.read_text().splitlines()[1:]]


def record(saved: Path, directory: Path, recordings: Path) -> None:
    """Start MLServer with the models in the directory, and write the recordings. Raises CalledProcessError."""
    python = python_of("peer-mlserver")
    subprocess.run([python, FOLDER / "record.py", saved, directory, recordings], check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        record(models(directory / "models"), directory / "server", RECORDINGS)


if __name__ == "__main__":
    main()
