"""Where a new token goes: a file that only its owner reads, or a secret of a GitHub repository. Never to a terminal."""

import os
import shutil
import subprocess
from pathlib import Path

from model_contract.tokens import Token
from model_lifecycle.errors import PartialError
from model_lifecycle.tracking import project_variable


def reserve(path: Path) -> int:
    """A new file, open for writing, before there is anything to write. Raises OSError, where there is
    one already too.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def write(descriptor: int, token: Token) -> None:
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token.value.reveal() + "\n")


def require_gh() -> str:
    """GitHub's own command. Raises DeliveryError."""
    if not (gh := shutil.which("gh")):
        raise PartialError("gh is not installed; it is GitHub's command, https://cli.github.com")
    return gh


def to_github(gh: str, token: Token, repository: str, environment: str | None) -> str:
    """The name of the secret that has it now; `gh` reads the value from standard input. Raises DeliveryError."""
    name = project_variable(token.project_id)
    where = ["--repo", repository, *(["--env", environment] if environment else [])]
    done = subprocess.run(
        [gh, "secret", "set", name, *where], input=token.value.reveal(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.replace(token.value.reveal(), "***").strip()
        raise PartialError(
            f"gh ended with {done.returncode}: {said}; the token is in the Secret: `model-api token rotate` makes"
            " another one"
        )
    return name
