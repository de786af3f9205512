"""Python environments beside the project's own: full MLflow of several versions, whose pins the project must not have.

Each is made once from a committed list of versions and hashes, and kept in a cache folder named by the hash of that
list.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

REQUIREMENTS: Final = Path(__file__).parent / "requirements"
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlflow-model-api"


def python_of(name: str) -> Path:
    """Return the interpreter of the environment `name`, which is made if it is missing.

    That takes a minute; seconds with a warm cache. Raise FileNotFoundError if there is no such list, CalledProcessError
    if the installation fails.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    fingerprint = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    directory = CACHE / "environments" / f"{name}-{fingerprint}"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs may want it at once
        if not (directory / ".complete").exists():
            shutil.rmtree(directory, ignore_errors=True)
            uv = _uv()
            subprocess.run([uv, "venv", "--quiet", "--python", ">=3.11", directory], check=True)
            install = [uv, "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes"]
            subprocess.run([*install, "--python", directory / "bin" / "python", requirements], check=True)
            (directory / ".complete").touch()
    return directory / "bin" / "python"


def _uv() -> str:
    own = Path(__file__).parent.parent / ".tools" / "bin" / "uv"
    return shutil.which("uv") or str(own)
