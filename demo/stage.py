"""What the steps of the demo hand to each other."""

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from demo.narrator import Narrator
from model_contract.model_ref import ModelRef
from testbed.mlflow_server import MlflowServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the story plays: a directory that goes away, processes that end with it, somebody who tells, the project's pull token."""

    directory: Path
    processes: ExitStack
    say: Narrator
    token: str = field(default_factory=lambda: token_urlsafe(24), repr=False)

    @property
    def environ(self) -> dict[str, str]:
        """What a container would have from its image."""
        return {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedMlflow:
    """The tracking server, and the address at which it is read with a token."""

    server: MlflowServer
    guarded_uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A version in the registry, and three rows to ask it for (pandas "split" form)."""

    ref: ModelRef
    rows: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The same three rows, asked three ways."""

    http: list[float]
    function: list[float]
    mlflow: list[float]
