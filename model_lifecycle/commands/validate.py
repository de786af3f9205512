"""`model-api validate`: check the promotion file, without MLflow and without a token."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Final

import click

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import printable
from model_lifecycle import promotion_file
from model_lifecycle.commands import report
from model_lifecycle.commands.options import FORMAT, read_promotion_file
from model_lifecycle.commands.workflow import problems_of_jobs
from model_lifecycle.errors import InvalidError
from model_lifecycle.promotion_file import PromotionFile, PromotionFileError

# Variables by which git finds another repository than the one that holds the file. Hooks have them.
OF_ANOTHER_REPOSITORY: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
MISSING: Final = 1  # code of `git rev-parse --verify --quiet` if there is no such commit; that of any fault is 128
SAFE_DIRECTORY: Final = "--add safe.directory"  # in the command by which git is told to read another user's repository


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option(
    "--base", metavar="REF", help="A commit to compare with, such as origin/main; says what the file changes."
)
@click.option("--schema", is_flag=True, help="Print the file's JSON Schema instead.")
@FORMAT
def validate(file: Path | None, base: str | None, schema: bool, form: str) -> None:
    """Check the promotion FILE, without MLflow and without a token, and print every mistake.

    Exits with 3 if there is one.
    """
    if schema:
        click.echo(json.dumps(promotion_file.schema(), indent=2))
        return
    if file is None:
        raise click.UsageError("name the promotion file, such as scripts/model_version.json")
    parsed = read_promotion_file(file, form)
    if missing := problems_of_jobs(file, parsed):
        report.problems(str(file), missing, form)
        raise SystemExit(ExitCode.INVALID_INPUT)
    changed = promotion_file.changes(file_at_commit(base, file), parsed) if base else None
    report.valid(str(file), parsed, changed, form)


def file_at_commit(ref: str, file: Path) -> PromotionFile:
    """Return the file as it was at a commit; without entries if it was not there, or was not valid.

    A symbolic link is followed as it was at the commit. Raises InvalidError if git does not read the file.
    """
    check_repository(file)
    found = git(file, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if found.returncode:
        raise InvalidError(f"{ref} is no commit of the repository of {file}; in a CI job, check out with its history")
    # One line before the content: "Batch output" in the manual of git cat-file.
    name = os.fsencode(f":./{file.name}\n")
    read = git(file, "cat-file", "--batch", "--follow-symlinks", given=found.stdout.strip() + name)
    head, _, content = read.stdout.partition(b"\n")
    blob = re.fullmatch(rb"[0-9a-f]+ blob ([0-9]+)", head)
    try:
        return promotion_file.parse(content[: int(blob[1])] if blob else b"{}")
    except PromotionFileError:
        return promotion_file.parse(b"{}")


def check_repository(file: Path) -> None:
    """Raise InvalidError if the file is in a bare repository, or in none that git reads.

    Files of a pull request can be such a repository within the checkout, and its configuration can name commands that
    git executes when it looks for a commit. To ask for the repository's folder executes none.
    """
    folder = Path(os.fsdecode(git(file, "rev-parse", "--absolute-git-dir").stdout.removesuffix(b"\n")))
    if file.parent.resolve().is_relative_to(folder):
        raise InvalidError(f"{file} is within the folder of a Git repository, {printable(str(folder))}: move it")


def git(file: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run git in the folder of the file. Raises InvalidError if git is not installed or fails."""
    command = ["git", "-C", str(file.parent), *arguments]
    environ = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER_REPOSITORY}
    try:
        done = subprocess.run(command, env=environ, input=given, capture_output=True, check=False)
    except FileNotFoundError:
        raise InvalidError("--base needs git, which is not installed here") from None
    if done.returncode > MISSING:  # such as a repository of another user, which git does not read in a container
        lines = done.stderr.decode("utf-8", "replace").splitlines() or [""]  # of GIT_TRACE and warnings too
        said = next((line for line in lines if line.startswith("fatal:")), lines[0])
        remedy = next((f"; run: {line.strip()}" for line in lines if SAFE_DIRECTORY in line), "")
        raise InvalidError(f"git does not read the repository of {file}: {printable(said + remedy)}")
    return done
