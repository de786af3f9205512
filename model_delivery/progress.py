"""What a later run must know to go on where a killed one ended: one line about the whole, then one for each file that
was begun.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from model_delivery.plan import Plan

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def identity(plan: Plan) -> str:
    """A partial model is continued only by the same plan, and in the same boot: a power cut can leave zeros in files of
    full size.
    """
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    listed = sorted(f"{file.path}\0{file.size}" for file in plan.files)
    files = hashlib.sha256("\n".join(listed).encode()).hexdigest()
    return json.dumps({"source": plan.source, "files": files, "boot": boot})


class Progress:
    """Entity tags of the files that were begun: the rest of a file fits its beginning only under the same tag (RFC
    9110, 13.1.5).
    """

    def __init__(self, path: Path, etags: dict[str, str]) -> None:
        self._path = path
        self._etags = etags

    @classmethod
    def resume(cls, path: Path, whole: str) -> "Progress | None":
        """None where nothing was begun, or something else."""
        with suppress(FileNotFoundError):
            first, *begun = path.read_text(encoding="utf-8", errors="replace").split("\n")
            if first == whole:
                return cls(path, dict(_entries(begun)))
        return None

    @classmethod
    def start(cls, path: Path, whole: str) -> "Progress":
        path.write_text(f"{whole}\n", encoding="utf-8")
        return cls(path, {})

    def etag(self, file: str) -> str | None:
        return self._etags.get(file)

    def begin(self, file: str, etag: str | None) -> None:
        """A file is begun under a tag; under none, or one that does not vouch for each byte, it cannot be continued."""
        strong = etag if etag and etag.startswith('"') else None
        if strong == self._etags.get(file):
            return
        self._etags[file] = strong or ""
        self._append({"file": file, "etag": self._etags[file]})

    def _append(self, entry: dict[str, str]) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, f"{json.dumps(entry)}\n".encode())
        finally:
            os.close(descriptor)


def _entries(lines: list[str]) -> list[tuple[str, str]]:
    """The lines that are whole: a killed run may have ended in the middle of its last."""
    entries = []
    for line in lines:
        with suppress(ValueError, LookupError, TypeError):
            entry = json.loads(line)
            entries.append((str(entry["file"]), str(entry["etag"])))
    return entries
