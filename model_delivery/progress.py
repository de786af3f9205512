"""Progress of a fetch, from which a later run continues after a killed one.

A text file: its first line identifies the model's files, then there is a line for each file that was begun.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from model_delivery.listed_model import ListedModel

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def fingerprint(listed: ListedModel) -> str:
    """Return the line that identifies the listed files and this boot of the machine.

    A fetch of another boot is not continued: a power cut can leave zeros in files of full size.
    """
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    lines = sorted(f"{file.path}\0{file.size}" for file in listed.files)
    files = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return json.dumps({"source": listed.source, "files": files, "boot": boot})


class Progress:
    """Entity tags of the files that were begun.

    The rest of a file fits its beginning only if both have the same tag (RFC 9110, 13.1.5).
    """

    def __init__(self, path: Path, etags: dict[str, str]) -> None:
        self._path = path
        self._etags = etags

    @classmethod
    def resume(cls, path: Path, files: str) -> "Progress | None":
        """Return the progress in the file; None if there is none, or one of other files."""
        with suppress(FileNotFoundError):
            first, *begun = path.read_text(encoding="utf-8", errors="replace").split("\n")
            if first == files:
                return cls(path, dict(_entries(begun)))
        return None

    @classmethod
    def start(cls, path: Path, files: str) -> "Progress":
        """Write a new file, in which nothing is begun."""
        path.write_text(f"{files}\n", encoding="utf-8")
        return cls(path, {})

    def etag(self, file: str) -> str | None:
        return self._etags.get(file)

    def begin(self, file: str, etag: str | None) -> None:
        """Record the tag of a file. Without a strong tag, which stands for each byte, a file is not continued."""
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
    """Return the complete lines: a killed run may have ended in the middle of its last."""
    entries = []
    for line in lines:
        with suppress(ValueError, LookupError, TypeError):
            entry = json.loads(line)
            entries.append((str(entry["file"]), str(entry["etag"])))
    return entries
