"""Writing of files to the disk: large ones during their transfer, and all of them before the rename."""

import ctypes
import errno
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from model_contract.digest import FileEntry

KEEP_SIZE: Final = 1  # FALLOC_FL_KEEP_SIZE of fallocate(2): the size of the file stays that of what has arrived
NO_RESERVATION: Final = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ESPIPE}
AT_A_TIME: Final = 16  # files; the file system writes their entries in its journal together


class Writeback:
    """A thread that writes files to the disk while they arrive, so that little is left to write at the end."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._waiting: set[Path] = set()
        self._errors: list[OSError] = []
        self._lock = threading.Lock()

    def begin(self, path: Path) -> None:
        """Begin with a file, unless it waits already."""
        with self._lock:
            if path in self._waiting:
                return
            self._waiting.add(path)
        self._pool.submit(self._write, path)

    def finish(self) -> None:
        """Wait for the files that were begun, and raise the first error: the system reports it only once."""
        self._pool.shutdown()
        if self._errors:
            raise self._errors[0]

    def _write(self, path: Path) -> None:
        with self._lock:
            self._waiting.discard(path)
        try:
            with suppress(FileNotFoundError):  # a file that is removed is fetched again
                sync_file(path)
        except OSError as error:
            self._errors.append(error)


def reserve(descriptor: int, size: int) -> None:
    """Reserve the disk's blocks for a file of `size` bytes, which makes its writing cheaper. Raises OSError.

    `os.posix_fallocate` would change the size, and write zeros if the file system cannot reserve blocks.
    """
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if fallocate is None or fallocate(descriptor, KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size)) == 0:
        return
    if (number := ctypes.get_errno()) not in NO_RESERVATION:
        raise OSError(number, os.strerror(number))


def sync_file(path: Path) -> None:
    """Wait until the content of the file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(directory: Path, files: Sequence[FileEntry]) -> None:
    """Wait until the contents of all files below the directory are on the disk."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for _ in pool.map(partial(_sync_each, directory), (files[first::AT_A_TIME] for first in range(AT_A_TIME))):
            pass


def _sync_each(directory: Path, files: Sequence[FileEntry]) -> None:
    for file in files:
        sync_file(directory / file.path)
