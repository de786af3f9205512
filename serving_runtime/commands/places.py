"""Files on this machine, or in an object store if the extra `tables` is installed."""

import fcntl
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, Union

from model_contract.extras import missing_extra
from serving_runtime.commands.cli_errors import (
    CommandError,
    InputFileError,
    MissingFileError,
    NoSpaceError,
    UnavailableError,
)
from serving_runtime.options import STORES
from serving_runtime.tables import lazy

if TYPE_CHECKING:
    from serving_runtime.tables.object_store import ObjectPath

FilePlace: TypeAlias = Union[Path, "ObjectPath"]
READ: Final = 128 << 10  # bytes that are read at once: with Python's 8 KiB, long lines take three times as long
OBJECT_READ: Final = 8 << 20  # the same for an object, each piece of which is a request
FULL: Final = frozenset({ENOSPC, EDQUOT, EFBIG})


class State(NamedTuple):
    """Size of a file in bytes, and the time of its last change in nanoseconds; 0 and 0 of a pipe or a device."""

    size: int
    changed: int


def place_of(text: str) -> FilePlace:
    """Return the place that an argument names. Raises InputFileError."""
    scheme, separator, key = text.partition("://")
    if not separator:
        return _path(text)
    if scheme not in STORES or not key.strip("/"):
        names = ", ".join(f"{name}://bucket/key" for name in STORES)
        raise InputFileError(f"{text} is no file of a store; use {names}, or a path of this machine")
    try:
        return lazy.ObjectPath(scheme, PurePosixPath(key))
    except ModuleNotFoundError as error:
        raise InputFileError(f"{text} cannot be used: {missing_extra(error.name, 'tables')}") from None


def absolute(place: FilePlace) -> FilePlace:
    """Return the place that a path names now: a model's code may change the working directory.

    Raises InputFileError.
    """
    try:
        return place.absolute() if isinstance(place, Path) else place
    except FileNotFoundError:
        raise InputFileError(f"{place} cannot be used: the working directory was removed") from None


def _path(text: str) -> Path:
    """Return a path, with something there or not. Raises InputFileError if that cannot be known."""
    path = Path(text)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # a name that is too long, a link to itself, a directory of somebody else
        raise InputFileError(f"{text} cannot be used: {reason(error)}") from None
    return path


def is_in(path: FilePlace, directory: FilePlace) -> bool:
    """Return True if a file or directory is in the directory, or is itself that directory."""
    if isinstance(path, Path):
        return isinstance(directory, Path) and path.resolve().is_relative_to(directory.resolve())
    return not isinstance(directory, Path) and path.is_relative_to(directory)


def state_of(place: FilePlace) -> State | None:
    """Return the state of a file; None if there is none. Raises CommandError."""
    try:
        if isinstance(place, Path):
            found = place.stat()
            return State(found.st_size, found.st_mtime_ns) if S_ISREG(found.st_mode) else State(0, 0)
        sized = place.size_and_time()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise read_error(place, error) from None
    return State(*sized) if sized else None


@contextmanager
def opened(place: FilePlace, state: State, *, at_any_place: bool) -> Iterator[IO[bytes]]:
    """Yield a stream of the file.

    Raises InputFileError at the end if its state has become another one, as its rows may be those of two files.
    """
    try:
        if isinstance(place, Path):
            stream: IO[bytes] = place.open("rb", buffering=READ)
        else:
            content: Any = ObjectStream(place, place.open())
            stream = content if at_any_place else io.BufferedReader(content, OBJECT_READ)
    except OSError as error:
        raise read_error(place, error) from None
    if stream.seekable():
        with stream:
            yield stream
    else:
        yield stream
        stream.close()  # after a fault, a thread may still wait for a pipe, and to close it would wait for the thread
    if state_of(place) != state:
        raise InputFileError(f"{place} was changed or removed while it was read; repeat the command")


class ObjectStream(io.RawIOBase):
    """A stream of an object. Methods raise CommandError: readers would take an OSError for that of a damaged file."""

    def __init__(self, place: "ObjectPath", file: Any) -> None:
        self._place = place
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._errors():
            return int(self._file.readinto(buffer))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with self._errors():
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()
        super().close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise read_error(self._place, error) from None


def replacing(place: FilePlace) -> AbstractContextManager[IO[bytes]]:
    """Return a stream to a file that is put in place when it is whole, if nothing failed. Raises CommandError.

    A device or a pipe is written as it is.
    """
    if not isinstance(place, Path):
        return _uploading(place)
    return _writing_device(place) if is_device(place) else _replacing_file(place)


def is_device(path: FilePlace) -> bool:
    """Return True for a pipe or a device, which is written as it is."""
    return isinstance(path, Path) and path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def _writing_device(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("wb") as stream:
            yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        raise write_error(path, error) from None


@contextmanager
def _replacing_file(path: Path) -> Iterator[IO[bytes]]:
    target = path.resolve()  # of a link, which stays
    partial = target.with_name(f".{target.name}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT, 0o666), "wb") as stream:
            lock(stream, path)
            if not _is_at(stream, partial):  # the process that had the lock has put the file in place
                raise in_use(path)
            stream.truncate(0)
            try:
                yield stream
                stream.flush()
                partial.replace(target)
            except BaseException:
                with suppress(OSError):
                    partial.unlink()
                raise
    except BrokenPipeError:
        raise  # of another stream
    except OSError as error:
        raise write_error(path, error) from None


def lock(stream: IO[bytes], place: FilePlace) -> None:
    """Lock the stream's file until the stream is closed. Raises InputFileError if another process has locked it."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise in_use(place) from None
    except OSError as error:  # of a file system without locks
        raise write_error(place, error) from None


def in_use(place: FilePlace) -> InputFileError:
    return InputFileError(f"another predict writes to {place}; wait for its end, or name another output")


def _is_at(stream: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _uploading(place: "ObjectPath") -> Iterator[IO[bytes]]:
    """Yield a temporary file that becomes the object at the end: a part of an object is never visible."""
    with tempfile.TemporaryFile() as stream:
        try:
            yield stream
            stream.seek(0)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise write_error(Path(tempfile.gettempdir()), error) from None
        try:
            place.upload(stream)
        except OSError as error:
            raise write_error(place, error) from None


def read_error(place: FilePlace, error: OSError) -> CommandError:
    if isinstance(error, FileNotFoundError):
        return MissingFileError(f"there is no file {place}")
    kind = InputFileError if isinstance(place, Path) else UnavailableError
    return kind(f"{place} cannot be read: {reason(error)}")


def write_error(place: FilePlace, error: OSError) -> CommandError:
    if error.errno in FULL:
        return NoSpaceError(f"{place} cannot be written: {reason(error)}; make space, and repeat the command")
    kind = InputFileError if isinstance(place, Path) else UnavailableError
    return kind(f"{place} cannot be written: {reason(error)}")


def reason(error: OSError) -> str:
    """Return the reason of the error in one line: errors of Arrow have several lines, and no text for their number."""
    return str(error.strerror or error).partition("\n")[0]
