"""A real MLflow tracking server of any supported version, with its registry in SQLite and its artifacts on disk."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed.environments import CACHE, python_of
from testbed.processes import Process, completed, free_port, running

VERSIONS: Final = ("3.17", "2.22")
COMMAND: Final = Path(__file__).parent / "mlflow_scripts" / "serve.py"
MODULES: Final = ("mlflow.cli", "mlflow.server", "mlflow.sklearn")
NEWEST: Final = "3.18"  # in front of which the gate stands too


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowServer:
    """A server that answers at `uri`; `python` has full MLflow of the same version, to train and log models."""

    uri: str
    version: str
    python: Path
    directory: Path
    process: Process

    @property
    def artifacts(self) -> Path:
        return self.directory / "artifacts"

    @property
    def database(self) -> Path:
        return self.directory / "mlflow.db"

    @contextmanager
    def data_version(self) -> Iterator[Callable[[], int]]:
        """Yield a function whose number changes when the server commits something to its database."""
        with closing(sqlite3.connect(self.database)) as database:
            # Of this connection alone: https://sqlite.org/pragma.html#pragma_data_version
            yield lambda: int(database.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def unwritten(self) -> Iterator[None]:
        """Raise AssertionError if the server commits anything to its database in the `with` block."""
        with self.data_version() as version:
            before = version()
            yield
            if version() != before:
                raise AssertionError("MLflow has written to its database")

    def start_again(self) -> Process:
        """Start the server that was stopped, on the same port."""
        command: Any = self.process.popen.args
        return Process.start(
            command, log=self.process.log, env=client_environment(), cwd=self.directory, imported=MODULES
        )

    def run(self, script: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """Run a script with full MLflow against this server, and return its output.

        Raises CalledProcessError, with the output in it, if the script fails.
        """
        environment = client_environment() | {"MLFLOW_TRACKING_URI": self.uri} | dict(env or {})
        done = completed([self.python, script, *arguments], env=environment, imported=MODULES, timeout=600)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr[-3000:])
        return done.stdout


def client_environment() -> dict[str, str]:
    """Return this process's environment without settings of MLflow, Python and coverage."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "COVERAGE_", "PYTHON"))
    }
    return kept | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }


@contextmanager
def mlflow_server(
    version: str,
    directory: Path,
    *,
    workers: int = 1,
    artifacts: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[MlflowServer]:
    """Run a server of `version` ("3.18", "3.17" or "2.22") for the length of a `with` block.

    `directory` takes its files; `artifacts` is the address of a store for those of models, if it is another. One worker
    process is enough for tests, and starts sooner than MLflow's four.
    """
    directory.mkdir(parents=True, exist_ok=True)
    python = python_of(f"mlflow-{version}")
    database, empty = directory / "mlflow.db", CACHE / "databases" / f"{python.parents[1].name}.db"
    if empty.exists() and not database.exists():
        shutil.copyfile(empty, database)
    port = free_port()
    arguments: list[str | Path] = [python, COMMAND, "server", "--host", "127.0.0.1", "--port", str(port)]
    arguments += ["--workers", str(workers)]
    arguments += [
        "--backend-store-uri",
        f"sqlite:///{database}",
        "--artifacts-destination",
        artifacts or str(directory / "artifacts"),
    ]
    environment = client_environment() | dict(env or {})
    with running(arguments, log=directory / "server.log", env=environment, cwd=directory, imported=MODULES) as process:
        process.wait_for_http(f"http://127.0.0.1:{port}/health", seconds=600)
        if not empty.exists():
            _keep(database, empty)
        yield MlflowServer(
            uri=f"http://127.0.0.1:{port}", version=version, python=python, directory=directory, process=process
        )
        process.kill()  # nothing of it is kept, and MLflow 3 takes a second of processor to end by itself


def _keep(database: Path, target: Path) -> None:
    """Copy a new database into the cache: MLflow needs seconds of processor to make its tables."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.part")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(unfinished)) as copy:
        source.backup(copy)
    unfinished.rename(target)
