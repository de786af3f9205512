"""Progress of a fetch, from which a later run continues after a killed one.

A text file: its first line identifies the model's files, then there is a line for each file that was begun, and
for each part of a range that has arrived.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from model_delivery.listed_model import ListedModel
from model_delivery.ranges import strong

SMALL: Final = 1 << 20  # bytes of a file that a later run does not continue, but fetches again
FORMAT: Final = 2  # an older version would take a file of full size, in which ranges are missing, for a whole one
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def fingerprint(listed: ListedModel) -> str:
    """Return the line that identifies the listed files and this boot of the machine.

    A fetch of another boot is not continued: a power cut can leave zeros in files of full size.
    """
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    files, separator = hashlib.sha256(), ""
    for file in sorted(listed.files, key=lambda file: file.path):
        line = "\0".join(filter(None, (file.path, str(file.size), file.tag)))
        files.update(f"{separator}{line}".encode())
        separator = "\n"
    return json.dumps({"source": listed.source, "files": files.hexdigest(), "boot": boot, "format": FORMAT})


class Progress:
    """Entity tags of the files that were begun, and what has arrived of the ranges of large ones.

    The rest of a file fits its beginning only if both have the same tag (RFC 9110, 13.1.5).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._resumed = False
        self._etags: dict[str, str] = {}
        self._ranges: dict[str, dict[int, int]] = {}

    @classmethod
    def resume(cls, path: Path, files: str) -> "Progress | None":
        """Return the progress in the file; None if there is none, or one of other files."""
        with suppress(FileNotFoundError):
            first, *begun = path.read_text(encoding="utf-8", errors="replace").split("\n")
            if first == files:
                progress = cls(path)
                progress._resumed = True
                progress._read(begun)
                return progress
        return None

    @classmethod
    def start(cls, path: Path, files: str) -> "Progress":
        """Write a new file, in which nothing is begun."""
        path.write_text(f"{files}\n", encoding="utf-8")
        return cls(path)

    def may_have_begun(self, file: str) -> bool:
        """Return False if no run has written to the file."""
        return self._resumed or file in self._etags

    def etag(self, file: str) -> str | None:
        return self._etags.get(file)

    def ranges(self, file: str) -> dict[int, int] | None:
        """Return how many bytes of each range are there, by its first byte; None if the file comes in one piece."""
        return self._ranges.get(file)

    def begin(self, file: str, etag: str | None, size: int | None) -> None:
        """Record the tag of a file of `size` bytes that comes in one piece. Without a strong tag, it is not continued.

        A small file is not worth a line.
        """
        tag = strong(etag) or ""
        known = self._etags.get(file)
        was_in_ranges = self._ranges.pop(file, None) is not None
        self._etags[file] = tag
        if was_in_ranges or (tag != known and (size is None or size >= SMALL)):
            self._append({"file": file, "etag": tag})

    def end(self, file: str) -> None:
        """Forget the tag of a file that is whole: those of many files take memory."""
        self._etags.pop(file, None)

    def begin_ranges(self, file: str, etag: str) -> None:
        """Record the tag of a file that comes in ranges: its size on the disk does not say what is in it."""
        self._etags[file], self._ranges[file] = etag, {}
        self._append({"file": file, "etag": etag, "ranges": True})

    def record_received(self, file: str, begin: int, received: int) -> None:
        """Record that so many bytes of the range that begins at `begin` are in the file."""
        self._append({"file": file, "range": begin, "received": received})

    def _append(self, entry: dict[str, str | int]) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, f"{json.dumps(entry)}\n".encode())
        finally:
            os.close(descriptor)

    def _read(self, lines: list[str]) -> None:
        """Take the complete lines: a killed run may have ended in the middle of its last."""
        for line in lines:
            with suppress(ValueError, LookupError, TypeError):
                entry = json.loads(line)
                file = str(entry["file"])
                if "range" in entry:
                    self._ranges[file][int(entry["range"])] = int(entry["received"])
                    continue
                self._etags[file] = str(entry["etag"])
                self._ranges.pop(file, None)
                if entry.get("ranges") is True:
                    self._ranges[file] = {}
