"""The store on disk: locks, the directory of a partial model, and the rename that publishes it."""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_contract.layout import MANIFEST, MODEL_DIRECTORY, PARTIAL_PREFIX
from model_delivery.deadline import Deadline
from model_delivery.disk import sync_files
from model_delivery.errors import DeliveryError, InvalidInputError, NoSpaceError
from model_delivery.log import log
from model_delivery.manifest import Manifest

# A living run writes to a file more often than that; a directory that has not changed for a day is left over.
LEFTOVER_SECONDS: Final = 24 * 3600
NO_LOCKS: Final = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}
NO_SPACE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_USABLE: Final = {
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
MOUNT_WITHIN: Final = {errno.EBUSY, errno.EXDEV}  # of a rename
TAKEN: Final = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}
NO_DIRECTORY_SYNC: Final = {errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP, errno.EACCES}
MOVES: Final = 5  # tries of a rename: two runs without locks can get in each other's way, but not again and again
LOCK_POLL: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialModel:
    """The directory in which a run writes a model, `<store>/.partial-<id>`; its progress is a file beside it."""

    directory: Path

    @property
    def model(self) -> Path:
        return self.directory / MODEL_DIRECTORY

    @property
    def progress(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.progress")

    def clear(self) -> None:
        """Remove the directory and the progress."""
        remove(self.directory)
        self.progress.unlink(missing_ok=True)


@contextmanager
def partial_model(store: Path, model: str, deadline: Deadline) -> Iterator[PartialModel]:
    """Yield a directory for the model that no other run writes to; `model` is a text that identifies the model.

    If the store has locks, the runs of one model use one directory in turn, so that a later run continues after a
    killed one, or finds the model. If it has none, each run has a directory of its own, and the last one to end wins.
    So has a run as another user than the killed one, whose files it may not change.
    """
    name = PARTIAL_PREFIX + hashlib.sha256(model.encode()).hexdigest()[:16]
    with _locked(store / f"{name}.lock", deadline) as alone:
        _remove_leftovers(store, keep=name)
        ours = alone and _may_write(store / name)
        yield PartialModel(directory=store / (name if ours else f"{name}-{secrets.token_hex(4)}"))


def publish(partial: PartialModel, destination: Path, manifest: Manifest) -> None:
    """Move a complete model to its destination. All of it is on the disk before the rename."""
    sync_files(partial.model, manifest.files)
    write_manifest(partial.directory, manifest)
    for directory, _, _ in os.walk(partial.directory):
        sync_directory(Path(directory))
    destination.parent.mkdir(exist_ok=True)
    _move(partial.directory, destination)
    partial.progress.unlink(missing_ok=True)
    sync_directory(destination.parent)
    sync_directory(destination.parent.parent)


def write_manifest(run: Path, manifest: Manifest) -> None:
    """Write or replace the manifest of a run's directory; a reader sees the old one or the new one."""
    new = run / f"{MANIFEST}.new"
    with new.open("w", encoding="utf-8") as output:
        output.writelines(manifest.pieces())
        output.flush()
        os.fsync(output.fileno())
    new.rename(run / MANIFEST)


def remove_leftover(path: Path) -> None:
    """Remove what another run has left. The files of another user may have to stay, which keeps no model out."""
    try:
        remove(path)
    except OSError as error:
        log("what another run has left cannot be removed", place=path, reason=error.strerror)


def remove(path: Path) -> None:
    """Remove the file or the directory, if there is one."""
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def store_error(error: OSError) -> DeliveryError:
    """Return the error of the run for an error of the file system."""
    path = error.filename2 or error.filename  # the second is the target of a rename
    where = f" ({path})" if path else ""
    if error.errno in NO_SPACE:
        return NoSpaceError(
            f"the store has no space left for the model: {error.strerror}{where}; raise the volume's size"
        )
    if error.errno in NOT_USABLE:
        return InvalidInputError(
            f"the store cannot be used: {error.strerror}{where}; check that the volume is mounted, and writable for"
            " this user"
        )
    if error.errno in MOUNT_WITHIN:
        return InvalidInputError(
            f"the store cannot be used: {error.strerror}{where}; a directory within the store is a mount of its own,"
            " into which no model can be moved: mount the volume at the store"
        )
    return DeliveryError(f"the store failed: {error.strerror or error}{where}")


def _move(source: Path, destination: Path) -> None:
    """Rename a directory. A destination that exists is moved away first.

    For a moment there is then no model, but never a part of one.
    """
    for _ in range(MOVES):
        try:
            source.rename(destination)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
        else:
            return
        aside = source.with_name(f"{source.name}-{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            destination.rename(aside)
        remove(aside)
    raise DeliveryError(f"{destination} was replaced by another run {MOVES} times; run the fetch again")


@contextmanager
def _locked(path: Path, deadline: Deadline) -> Iterator[bool]:
    """Yield True with the lock, or False if the store has no locks. The file is removed at the end."""
    waited = False
    while True:
        state = None
        descriptor = _opened(path)
        try:
            state = _try_lock(descriptor, path)
            if state is not None:
                yield state
                return
        finally:
            if state is not None:
                path.unlink(missing_ok=True)
            os.close(descriptor)
        if not waited:
            log("waiting for another run that fetches the same model")
            waited = True
        deadline.pause(LOCK_POLL)


def _opened(path: Path) -> int:
    """Return a descriptor of the file, which is made if it is missing; for reading if another user's run has left it.

    Locks of NFS need one for writing.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except PermissionError:
        if not path.exists():
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _may_write(directory: Path) -> bool:
    return not directory.exists() or os.access(directory, os.W_OK | os.X_OK)


def _try_lock(descriptor: int, path: Path) -> bool | None:
    """Return True with the lock, False if the store has no locks, None if another run has the lock.

    A lock on a file that the last holder has removed does not count.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return True
    return None


def _remove_leftovers(store: Path, *, keep: str) -> None:
    oldest = time.time() - LEFTOVER_SECONDS
    in_use = {keep, f"{keep}.lock", f"{keep}.progress"}
    for path in store.glob(f"{PARTIAL_PREFIX}*"):
        with suppress(FileNotFoundError):
            if path.name not in in_use and _changed(path) < oldest:
                remove_leftover(path)


def _changed(path: Path) -> float:
    """Return the time of the last change below the path: a run without a deadline may take longer than a day."""
    with suppress(FileNotFoundError):
        return max(float(found.lstat().st_mtime) for found in (path, *(path.rglob("*") if path.is_dir() else ())))
    return time.time()


def sync_directory(path: Path) -> None:
    """Write the entries of a directory to the disk, if the file system can."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_DIRECTORY_SYNC:  # some network file systems have none
            raise
    finally:
        os.close(descriptor)
