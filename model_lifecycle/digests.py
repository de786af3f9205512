"""The digest of a version's files, as the init container of its pods computes it, and a check that they are the same.

The digest takes every byte. The listing takes names, sizes and the server's time of each file: if the listing is
unchanged since the digest was taken, the files are unchanged.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from model_contract.digest import FileEntry, model_digest
from model_contract.names import TAG_DIGEST, TAG_LISTING
from model_delivery.errors import DeliveryError
from model_delivery.listed_model import ListedModel, find_model
from model_delivery.source import artifacts_of
from model_lifecycle.errors import (
    DamagedError,
    InvalidError,
    LifecycleError,
    NoSpaceError,
    NotAuthorisedError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from model_lifecycle.registry import Registry, Version, file_path
from model_lifecycle.registry_changes import confirmed_write, tag_change

# Headers by which two versions of a file differ. ETag also tells apart two writes of the same size in one second. S3
# and MLflow 2 send neither.
VALIDATORS: Final = ("ETag", "Last-Modified")


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """A digest, and the listing of its files.

    `listing` is None if the server tells no times; then only reading the files can show a change.
    """

    digest: str
    listing: str | None


def digest_of(registry: Registry, version: Version) -> Digest:
    """Return the digest of the files; read them only if the recorded listing differs.

    Raises PreconditionError if the digest differs from the recorded one, LifecycleError if the files cannot be read.
    """
    try:
        listed = find_model(*artifacts_of(registry, version.name, version.version, version.source))
        listing = _listing(registry, listed)
        known = version.tags.get(TAG_DIGEST)
        if known and listing and listing == version.tags.get(TAG_LISTING):
            return Digest(digest=known, listing=listing)
        found = model_digest(_entries(registry, listed))
    except DeliveryError as error:
        raise translated(error) from error
    if known and known != found:
        raise PreconditionError(
            f"the files of version {version.version} of {version.name!r} have the digest {found}, and had {known} when"
            " it was staged"
        )
    return Digest(digest=found, listing=listing)


def record(registry: Registry, version: Version, found: Digest) -> None:
    """Write the digest tags that are missing; a tag that is there stays. Raises LifecycleError."""
    for key, value in ((TAG_DIGEST, found.digest), (TAG_LISTING, found.listing)):
        if value and key not in version.tags:
            confirmed_write(tag_change(registry, version, key, value))


def _listing(registry: Registry, listed: ListedModel) -> str | None:
    total = hashlib.sha256(f"{listed.source}\n".encode())
    for file in sorted(listed.files, key=lambda file: file.path.encode()):
        headers = registry.files.head(file_path(f"{listed.source}/{file.path}"))
        validator = next((headers[name] for name in VALIDATORS if headers.get(name)), None)
        if validator is None:
            return None
        total.update(f"{file.path}\0{file.size}\0{validator}\n".encode())
    return f"sha256:{total.hexdigest()}"


def _entries(registry: Registry, listed: ListedModel) -> Iterable[FileEntry]:
    for file in listed.files:
        total, size = hashlib.sha256(), 0
        with registry.files.stream(file_path(f"{listed.source}/{file.path}")) as chunks:
            for chunk in chunks:
                total.update(chunk)
                size += len(chunk)
        # A body that is cut short can look whole: MLflow 2 sends no length.
        if file.size is not None and size != file.size:
            raise UnavailableError(f"{file.path} came with {size} of {file.size} bytes")
        yield FileEntry(path=file.path, size=size, sha256=total.hexdigest())


def translated(error: DeliveryError) -> LifecycleError:
    """Return the lifecycle's error for an error of the delivery, with its sentence."""
    kinds: dict[int, type[LifecycleError]] = {
        kind.exit_code: kind
        for kind in (InvalidError, NotAuthorisedError, NotFoundError, PreconditionError, NoSpaceError, DamagedError)
    }
    return kinds.get(error.exit_code, UnavailableError)(str(error))
