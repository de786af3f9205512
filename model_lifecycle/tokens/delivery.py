"""Delivery of a new token to a private file or to a secret of a GitHub repository, never to a terminal."""

import os
import shutil
import subprocess
from pathlib import Path

from model_contract.tokens import Token
from model_lifecycle.errors import PartialError
from model_lifecycle.tracking import project_variable


def reserve(path: Path) -> int:
    """Open a new file for writing, before there is a token. Raises OSError, also if the file exists."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def write(descriptor: int, token: Token) -> None:
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token.value.reveal() + "\n")


def require_gh() -> str:
    """Return the path of GitHub's command `gh`. Raises PartialError if it is not installed."""
    if not (gh := shutil.which("gh")):
        raise PartialError("gh is not installed; it is GitHub's command, https://cli.github.com")
    return gh


def to_github(gh: str, token: Token, repository: str, environment: str | None) -> str:
    """Set the secret of a repository and return its name; `gh` reads the value from standard input.

    Raises PartialError.
    """
    name = project_variable(token.project_id)
    destination = ["--repo", repository, *(["--env", environment] if environment else [])]
    done = subprocess.run(
        [gh, "secret", "set", name, *destination],
        input=token.value.reveal(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.replace(token.value.reveal(), "***").strip()
        raise PartialError(
            f"gh ended with {done.returncode}: {said}; the token is in the Secret: `model-api token rotate` makes"
            " another one"
        )
    return name
