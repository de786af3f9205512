"""Lint workflows with actionlint and shell blocks with shellcheck: `python -m testbed.actionlint FILE...`.

actionlint reads workflows only, so that shellcheck gets the blocks of composite actions directly.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from testbed.github_workflow import load
from testbed.go_programs import program

MODULE: Final = Path(__file__).parent
PACKAGE: Final = "github.com/rhysd/actionlint/cmd/actionlint"
SHELLCHECK: Final = Path(sys.executable).with_name("shellcheck")


def main(names: list[str]) -> int:
    files = {Path(name): load(Path(name)) for name in names}
    workflows = [file for file, document in files.items() if "jobs" in document]
    codes = [actionlint(workflows)] if workflows else []
    codes += [shellcheck(file, block) for file, document in files.items() for block in blocks(document)]
    return max(codes, default=0)


def actionlint(workflows: list[Path]) -> int:
    return subprocess.run([program(MODULE, PACKAGE), f"-shellcheck={SHELLCHECK}", *workflows], check=False).returncode


def blocks(document: dict[str, Any]) -> Iterator[str]:
    """Return the shell blocks of a composite action."""
    steps = document.get("runs", {}).get("steps", [])
    return (step["run"] for step in steps if "run" in step)


def shellcheck(file: Path, block: str) -> int:
    done = subprocess.run([SHELLCHECK, "--shell=bash", "-"], input=block, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(f"{file}, in one of its blocks:{done.stdout}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
