"""Models that are registered in a server, by the example that each stands for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_contract.model_ref import ModelRef
from testbed.mlflow_server import MlflowServer

OWNER: Final = "jane.doe"
NO_RUN: Final = "0" * 32  # what a pod may name for a version that came from no run


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A server, and the `name`, `version`, `run_id` and `directory` of each example.

    `directory` is that of its files below the server's artifacts.
    """

    server: MlflowServer
    versions: Mapping[str, Mapping[str, str]]

    @property
    def uri(self) -> str:
        return self.server.uri

    def ref(self, example: str) -> ModelRef:
        version = self.versions[example]
        return ModelRef(
            name=version["name"], version=version["version"], owner=OWNER, run_id=version["run_id"] or NO_RUN
        )

    def files(self, example: str) -> dict[str, bytes]:
        """Return the files of a model on the server's disk."""
        root = self.server.artifacts / self.versions[example]["directory"]
        return files_below(root)


def files_below(root: Path) -> dict[str, bytes]:
    """Return path and content of every file below a directory."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
