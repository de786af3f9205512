"""Download the files of a model into its partial directory.

Several files come at a time; each is checked against the listing, and continued if its transfer was cut.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from model_contract.digest import FileEntry
from model_delivery.answer import Answer
from model_delivery.deadline import Deadline
from model_delivery.errors import (
    DamagedError,
    InternalServerError,
    NoSpaceError,
    NotFoundError,
    TransientError,
    WrongSizeError,
)
from model_delivery.file_checks import CHUNK, file_entry, regular_size
from model_delivery.listed_model import ListedFile, ListedModel, byte_limit
from model_delivery.mlflow_api import MlflowApi
from model_delivery.progress import Progress
from model_delivery.store import PartialModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The transfer of the listed files of one model."""

    api: MlflowApi
    listed: ListedModel
    partial: PartialModel
    progress: Progress
    deadline: Deadline
    max_bytes: int | None

    def run(self, *, parallel: int) -> tuple[FileEntry, ...]:
        """Return every file, sorted by path. The first final error ends the other transfers, and is raised."""
        largest_first = sorted(self.listed.files, key=lambda file: -(file.size or 0))
        with ThreadPoolExecutor(parallel) as pool:
            futures = [pool.submit(self._fetch, file) for file in largest_first]
            try:
                return tuple(sorted(future.result() for future in as_completed(futures)))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.deadline.stop()
                self.api.abort()
                raise

    def _fetch(self, file: ListedFile) -> FileEntry:
        target = self.partial.model / file.path
        return self.deadline.retrying(lambda: self._try(file), reached=lambda: regular_size(target) or 0)

    def _try(self, file: ListedFile) -> FileEntry:
        target = self.partial.model / file.path
        present = regular_size(target)
        if present is not None and present == file.size:
            return file_entry(self.partial.model, file.path)
        try:
            return self._request(file, target, present or 0)
        except InternalServerError as error:
            if not self._still_listed(file):
                raise NotFoundError(f"artifact {file.path!r} was listed, and is no longer there") from error
            raise
        except WrongSizeError:
            target.unlink(missing_ok=True)
            raise

    def _request(self, file: ListedFile, target: Path, present: int) -> FileEntry:
        etag = self.progress.etag(file.path) if present else None
        wanted = {"Range": f"bytes={present}-", "If-Range": etag} if etag else {}
        with self.api.file(f"{self.listed.source}/{file.path}", wanted) as answer:
            offset = _offset(answer, present, target)
            self.progress.begin(file.path, answer.headers.get("ETag"))
            return self._receive(file, answer, target, offset)

    def _receive(self, file: ListedFile, answer: Answer, target: Path, offset: int) -> FileEntry:
        if file.size is None and not answer.delimited:
            raise DamagedError(
                f"artifact {file.path!r} is listed without a size and sent without a length: a cut could not be noticed"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("r+b" if offset else "wb") as output:
            entry = self._copy(file, answer, output, offset)
            output.flush()
            os.fsync(output.fileno())
        if file.size is not None and entry.size != file.size:
            raise WrongSizeError(f"artifact {file.path!r} has {entry.size} bytes, and is listed with {file.size}")
        return entry

    def _copy(self, file: ListedFile, answer: Answer, output: BinaryIO, offset: int) -> FileEntry:
        digest = hashlib.sha256()
        while output.tell() < offset and (chunk := output.read(min(CHUNK, offset - output.tell()))):
            digest.update(chunk)
        size = offset
        limit = byte_limit(self.listed, file, self.max_bytes)
        for chunk in answer.chunks():
            size += len(chunk)
            self.deadline.count(len(chunk))
            if limit is not None and size > limit:
                raise _too_large(file, limit)
            digest.update(chunk)
            output.write(chunk)
        return FileEntry(path=file.path, size=size, sha256=digest.hexdigest())

    def _still_listed(self, file: ListedFile) -> bool:
        directory, _, name = f"{self.listed.source}/{file.path}".rpartition("/")
        return any(listed.path == name for listed in self.api.list(directory).files)


def _offset(answer: Answer, present: int, target: Path) -> int:
    """Return the position in the file at which the answer's body begins.

    Raises TransientError, and removes the file, if the answer continues it elsewhere.
    """
    if answer.status == HTTPStatus.OK:
        return 0
    if answer.status == HTTPStatus.PARTIAL_CONTENT and answer.headers.get("Content-Range", "").startswith(
        f"bytes {present}-"
    ):
        return present
    target.unlink(missing_ok=True)
    raise TransientError(f"artifact {target.name!r}: the server did not continue where the last try ended")


def _too_large(file: ListedFile, limit: int) -> Exception:
    if file.size is not None:
        return WrongSizeError(f"artifact {file.path!r} has more bytes than the {limit} it is listed with")
    return NoSpaceError(
        f"artifact {file.path!r}, listed without a size, passes what --max-bytes leaves; raise the volume's size limit"
    )
