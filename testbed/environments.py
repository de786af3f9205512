"""Python environments apart from the project's own: full MLflow of several versions, with pins of its own.

Each is made once from a committed list of versions and hashes, and kept in a cache folder named by the hash of that
list. The cache also takes what full MLflow makes and tests need again in each run.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

REQUIREMENTS: Final = Path(__file__).parent / "requirements"
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlflow-model-api"


def python_of(name: str) -> Path:
    """Return the interpreter of the environment `name`, which is made if it is missing.

    That takes a minute; seconds with a warm cache. Raises FileNotFoundError if there is no such list,
    CalledProcessError if the installation fails.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    fingerprint = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    directory = CACHE / "environments" / f"{name}-{fingerprint}"
    with locked(directory):
        if not (directory / ".complete").exists():
            shutil.rmtree(directory, ignore_errors=True)
            uv = _uv()
            subprocess.run([uv, "venv", "--quiet", "--python", ">=3.11", directory], check=True)
            install = [uv, "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes"]
            subprocess.run([*install, "--python", directory / "bin" / "python", requirements], check=True)
            (directory / ".complete").touch()
    return directory / "bin" / "python"


def saved_models(version: str, script: Path, directory: Path, *arguments: str) -> Path:
    """Fill `directory` with the models that `script` saves with full MLflow, and return it.

    The script is run with the arguments and a directory, once for each content of its folder and each list of versions:
    MLflow needs seconds to save a model. Later calls copy what it has saved. Raises CalledProcessError if it fails.
    """
    python = python_of(f"mlflow-{version}")
    saved = CACHE / "models" / f"{script.stem}-{version}-{_fingerprint(python, script, *arguments)}"
    with locked(saved):
        if not saved.exists():
            unfinished = saved.with_name(f"{saved.name}.part")
            shutil.rmtree(unfinished, ignore_errors=True)
            (unfinished / "models").mkdir(parents=True)
            command: list[str | Path] = [python, script, *arguments, unfinished / "models"]
            subprocess.run(command, check=True, capture_output=True, cwd=unfinished)
            (unfinished / "models").rename(saved)
            shutil.rmtree(unfinished)
    return Path(shutil.copytree(saved, directory, dirs_exist_ok=True))


def printed(version: str, script: Path) -> str:
    """Return what `script` prints about full MLflow itself, such as its routes.

    It is run once for each content of its folder and each list of versions. Raises CalledProcessError if it fails.
    """
    python = python_of(f"mlflow-{version}")
    output = CACHE / "outputs" / f"{script.stem}-{version}-{_fingerprint(python, script)}"
    with locked(output):
        if not output.exists():
            done = subprocess.run([python, script], check=True, capture_output=True, text=True)
            output.write_text(done.stdout)
    return output.read_text()


def _fingerprint(python: Path, script: Path, *arguments: str) -> str:
    digest = hashlib.sha256(f"{python} {script.name} {arguments}".encode())
    for file in sorted(script.parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold a lock for a file or folder of the cache, which two test runs may want to make at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _uv() -> str:
    own = Path(__file__).parent.parent / ".tools" / "bin" / "uv"
    return shutil.which("uv") or str(own)
