"""A directory that a test may not list, also if root runs it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

NOBODY: Final = 65534


@contextmanager
def closed_directory() -> Iterator[Path]:
    """Yield the directory, in another one that may be listed; in the block, root has the rights of nobody."""
    with TemporaryDirectory() as directory:
        above = Path(directory)
        above.chmod(0o755)
        (above / "closed").mkdir(mode=0)
        user = os.geteuid()
        try:
            if user == 0:
                os.seteuid(NOBODY)
            yield above / "closed"
        finally:
            os.seteuid(user)
