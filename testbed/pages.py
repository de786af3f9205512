"""Commands of the how-tos, typed at a shell as a reader types them."""

import re
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.cluster.kube import Kube
from testbed.processes import installed

ROOT: Final = Path(__file__).parents[1]
HOW_TO: Final = ROOT / "docs" / "how-to"
README: Final = "../../README"  # as the name of a page
LONGEST: Final = 900  # seconds of the commands of one page


def blocks(page: str, heading: str, language: str = "") -> list[str]:
    """Return the blocks of a language below a heading of a how-to, without their indentation; commands have none."""
    section = (HOW_TO / f"{page}.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", section, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(text) for _, its_language, text in found if its_language == language]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """A shell in a folder, with kubectl for a cluster, this project's commands and the `programs` of other folders."""

    kube: Kube
    folder: Path
    programs: tuple[Path, ...] = ()

    def type(self, *texts: str, **environment: str) -> str:
        """Type commands, and return what they print. Raises RuntimeError if one fails."""
        folders = [*self.programs, Path(self.kube.program).parent, installed("model-api").parent]
        path = ":".join([*map(str, folders), "/usr/local/bin", "/usr/bin", "/bin"])
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", "\n".join(["set -m", *texts])],
            env={**self.kube.environment, "PATH": path, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"a command ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout
