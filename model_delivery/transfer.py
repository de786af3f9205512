"""Download the files of a model into its partial directory.

Several files come at a time, and several ranges of a large file if the server offers them. Each file is checked against
the listing, and continued if its transfer was cut.
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from io import FileIO
from pathlib import Path
from typing import Final

from model_contract.digest import FileEntry, file_entry
from model_contract.model_ref import shown
from model_delivery.answer import CHUNK, FileAnswer
from model_delivery.artifact_files import ArtifactFiles
from model_delivery.deadline import Deadline
from model_delivery.disk import Writeback, reserve
from model_delivery.errors import (
    DamagedError,
    InternalServerError,
    NoSpaceError,
    NotFoundError,
    TransientError,
    WrongSizeError,
)
from model_delivery.file_checks import regular_size
from model_delivery.listed_model import ListedFile
from model_delivery.log import log
from model_delivery.progress import Progress
from model_delivery.ranges import RECORDED, SMALLEST, Range, RangedFile, strong
from model_delivery.store import PartialModel
from model_delivery.task_queue import Task, TaskQueue

RESERVED: Final = 1 << 20  # bytes of the smallest file whose blocks are reserved
WRITTEN_BACK: Final = 16 << 20  # bytes of a file between two writes to the disk during its transfer
FIRST_BYTE: Final = Range(begin=0, end=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The transfer of the `listed` files below `source`, which are taken out of their list.

    `most_unlisted` bytes may come of files without a listed size; None if there is no limit.
    """

    files: ArtifactFiles
    source: str
    listed: list[ListedFile]
    partial: PartialModel
    progress: Progress
    deadline: Deadline
    most_unlisted: int | None
    parallel: int
    _tasks: TaskQueue = field(default_factory=lambda: TaskQueue([]), init=False)
    _writeback: Writeback = field(default_factory=Writeback, init=False)
    _entries: list[FileEntry] = field(default_factory=list, init=False)
    _whole: set[str] = field(default_factory=set, init=False)  # files that the server did not send in ranges

    def run(self) -> tuple[FileEntry, ...]:
        """Return every file, sorted by path. The first final error ends the other transfers, and is raised."""
        for directory in {file.path.rpartition("/")[0] for file in self.listed}:
            (self.partial.model / directory).mkdir(parents=True, exist_ok=True)
        self._tasks.add(self._largest_first())
        self._tasks.run(threads=self.parallel, stop=self._stop)
        self._writeback.finish()
        self._entries.sort()
        return tuple(self._entries)

    def _largest_first(self) -> Iterator[Task]:
        self.listed.sort(key=lambda file: file.size or 0, reverse=True)
        self.listed.reverse()
        while self.listed:
            yield partial(self._fetch, self.listed.pop())

    def _stop(self) -> None:
        self.deadline.stop()
        self.files.abort()

    def _fetch(self, file: ListedFile) -> None:
        target = self.partial.model / file.path
        entry = self.deadline.retrying(
            lambda: self._try(file, target), reached=lambda: self._present(file, target) or 0
        )
        if entry:
            self._entries.append(entry)
            self.progress.end(file.path)

    def _present(self, file: ListedFile, target: Path) -> int | None:
        """Return the size of what an earlier run has left of a file; None if there is nothing."""
        return regular_size(target) if self.progress.may_have_begun(file.path) else None

    def _try(self, file: ListedFile, target: Path) -> FileEntry | None:
        """Return the file when it is there; None if tasks for its ranges were added instead."""
        present = self._present(file, target)
        received = self.progress.ranges(file.path)
        if received is not None and present is not None:
            return self._continue_ranges(file, target, received)
        if present is not None and present == file.size:
            self.deadline.count_found(present)
            return file_entry(self.partial.model, file.path)
        with self._checked_failure(file):
            try:
                return self._request(file, target, present)
            except WrongSizeError:
                target.unlink(missing_ok=True)
                raise

    def _request(self, file: ListedFile, target: Path, present: int | None) -> FileEntry | None:
        if not present and self.parallel > 1 and file.path not in self._whole and (file.size or 0) >= SMALLEST:
            with self._answer(file, {"Range": FIRST_BYTE.wanted}) as answer:
                if answer.status == HTTPStatus.OK:
                    self.progress.begin(file.path, answer.headers.get("ETag"), file.size)
                    return self._receive(file, answer, target, 0)
                etag = strong(answer.headers.get("ETag"))
                if etag and FIRST_BYTE.is_answered(answer, file.size or 0) and len(answer.beginning(2)) == 1:
                    self._begin_ranges(file, target, etag)
                    return None
            self._whole.add(file.path)
        etag = self.progress.etag(file.path) if present else None
        wanted = {"Range": f"bytes={present}-", "If-Range": etag} if etag else {}
        with self._answer(file, wanted) as answer:
            offset = _offset(answer, present or 0, etag, target)
            if present and not offset:
                target.unlink()  # before the tag of other content is recorded: this run may be killed in between
            self.progress.begin(file.path, answer.headers.get("ETag"), file.size)
            return self._receive(file, answer, target, offset)

    def _begin_ranges(self, file: ListedFile, target: Path, etag: str) -> None:
        with target.open("ab", buffering=0) as output:
            reserve(output.fileno(), file.size or 0)
        self.progress.begin_ranges(file.path, etag)
        self._add_ranges(RangedFile(file, target, etag, {}))

    def _continue_ranges(self, file: ListedFile, target: Path, received: dict[int, int]) -> FileEntry | None:
        ranged = RangedFile(file, target, self.progress.etag(file.path) or "", received)
        self.deadline.count_found(sum(ranged.received.values()))
        if not ranged.missing:
            return file_entry(self.partial.model, file.path)
        self._add_ranges(ranged)
        return None

    def _add_ranges(self, ranged: RangedFile) -> None:
        self._tasks.add((partial(self._fetch_range, ranged, part) for part in ranged.parts()), ranged.ready)

    def _fetch_range(self, ranged: RangedFile, part: Range) -> None:
        self.deadline.retrying(lambda: self._request_range(ranged, part), reached=lambda: ranged.received[part.begin])
        if not ranged.given_up:
            ranged.add_received(part, self._tasks.recheck)
        if ranged.end_transfer():
            self._end_ranges(ranged)

    def _request_range(self, ranged: RangedFile, part: Range) -> None:
        """Request the rest of a range once; give up the file's ranges if the answer is not a part of the same file."""
        if ranged.given_up:
            return
        rest = part.after(ranged.received[part.begin])
        headers = {"Range": rest.wanted, "If-Range": ranged.etag}
        with self._checked_failure(ranged.file), self._answer(ranged.file, headers) as answer:
            if rest.is_answered(answer, ranged.size) and answer.headers.get("ETag") == ranged.etag:
                self._receive_range(ranged, part, answer)
            else:
                ranged.given_up = True

    def _receive_range(self, ranged: RangedFile, part: Range, answer: FileAnswer) -> None:
        received = recorded = ranged.received[part.begin]
        with ranged.target.open("r+b", buffering=0) as output:
            output.seek(part.begin + received)
            for chunk in answer.chunks():
                if received + len(chunk) > part.size:
                    ranged.given_up = True
                    return
                _write(output, chunk)
                received += len(chunk)
                ranged.received[part.begin] = received
                self.deadline.count(len(chunk))
                if received - recorded >= RECORDED or received == part.size:
                    self.progress.record_received(ranged.file.path, part.begin, received)
                    recorded = received
        self._writeback.begin(ranged.target)
        if received < part.size:
            raise WrongSizeError(
                f"artifact {ranged.file.path!r}: {received} bytes came of a range of {part.size}, and no more"
            )

    def _end_ranges(self, ranged: RangedFile) -> None:
        """Finish a file after its last range, or fetch it in one piece if its ranges do not fit each other."""
        file = ranged.file
        if not ranged.given_up and (entry := ranged.entry()).size == file.size:
            self._entries.append(entry)
            return
        log(
            "the server's ranges of a file do not fit each other: it is fetched again, in one piece", artifact=file.path
        )
        self._whole.add(file.path)
        ranged.target.unlink(missing_ok=True)
        self.progress.begin(file.path, None, file.size)
        self._tasks.add([partial(self._fetch, file)])

    def _answer(self, file: ListedFile, headers: dict[str, str]) -> AbstractContextManager[FileAnswer]:
        return self.files.open(f"{self.source}/{file.path}", file, headers)

    @contextmanager
    def _checked_failure(self, file: ListedFile) -> Iterator[None]:
        """Raise NotFoundError for an internal error of the server if the file is no longer listed."""
        try:
            yield
        except InternalServerError as error:
            if not self._still_listed(file):
                raise NotFoundError(f"artifact {file.path!r} was listed, and is no longer there") from error
            raise

    def _receive(self, file: ListedFile, answer: FileAnswer, target: Path, offset: int) -> FileEntry:
        if file.size is None and not answer.delimited:
            raise DamagedError(
                f"artifact {file.path!r} is listed without a size and sent without a length, so a cut would not be"
                " seen: let the server, or the proxy before it, send Content-Length"
            )
        with target.open("r+b" if offset else "wb", buffering=0) as output:
            if not offset and (file.size or 0) >= RESERVED:
                reserve(output.fileno(), file.size or 0)
            entry = self._copy(file, answer, output, offset)
        if file.size is not None and entry.size != file.size:
            raise WrongSizeError(
                f"artifact {file.path!r} has {entry.size} bytes, and is listed with {file.size}{_coding(answer)}"
            )
        return entry

    def _copy(self, file: ListedFile, answer: FileAnswer, output: FileIO, offset: int) -> FileEntry:
        digest = hashlib.sha256()
        size = written_back = 0
        while size < offset and (chunk := output.read(min(CHUNK, offset - size))):
            digest.update(chunk)
            size += len(chunk)
        limit = self.most_unlisted if file.size is None else file.size
        for chunk in answer.chunks():
            size += len(chunk)
            self.deadline.count(len(chunk))
            if limit is not None and size > limit:
                raise _too_large(file, limit, answer)
            digest.update(chunk)
            _write(output, chunk)
            if size - written_back >= WRITTEN_BACK:
                self._writeback.begin(self.partial.model / file.path)
                written_back = size
        return FileEntry(path=file.path, size=size, sha256=digest.hexdigest())

    def _still_listed(self, file: ListedFile) -> bool:
        directory, _, name = f"{self.source}/{file.path}".rpartition("/")
        return any(listed.path == name for listed in self.files.list(directory).files)


def _offset(answer: FileAnswer, present: int, etag: str | None, target: Path) -> int:
    """Return the position in the file at which the answer's body begins.

    Raises TransientError, and removes the file, if the answer continues it elsewhere, or continues another file: a
    store may not know `If-Range`.
    """
    if answer.status == HTTPStatus.OK:
        return 0
    if (
        answer.status == HTTPStatus.PARTIAL_CONTENT
        and answer.headers.get("Content-Range", "").startswith(f"bytes {present}-")
        and answer.headers.get("ETag") == etag
    ):
        return present
    target.unlink(missing_ok=True)
    raise TransientError(f"artifact {target.name!r}: the server did not continue where the last try ended")


def _write(output: FileIO, chunk: bytes | memoryview) -> None:
    """Write all of a chunk: a raw file may take a part only, when the disk is nearly full."""
    left = memoryview(chunk)
    while left:
        left = left[output.write(left) or 0 :]


def _coding(answer: FileAnswer) -> str:
    """Return what to say of a wrong size if the answer is compressed, maybe by a proxy on the way."""
    coding = answer.headers.get("Content-Encoding")
    return f"; it came with Content-Encoding {shown(coding)}: check the proxies before the store" if coding else ""


def _too_large(file: ListedFile, limit: int, answer: FileAnswer) -> Exception:
    if file.size is not None:
        return WrongSizeError(
            f"artifact {file.path!r} has more bytes than the {limit} it is listed with{_coding(answer)}"
        )
    return NoSpaceError(
        f"artifact {file.path!r}, listed without a size, passes what --max-bytes leaves; raise the volume's size limit"
    )
