"""Objects of a store (`s3://`, `gs://`, `az://`), which Arrow's file systems read and write."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath, PurePosixPath
from typing import IO, Any, Final

from pyarrow import fs

BLOCK: Final = 8 << 20  # bytes of one request for the text of a file


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """An object, or the common beginning of several: `key` begins with the bucket. Methods raise OSError."""

    scheme: str
    key: PurePosixPath

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __truediv__(self, name: PurePath | str) -> "ObjectPath":
        return ObjectPath(self.scheme, self.key / name)

    def at(self, key: PurePosixPath) -> "ObjectPath":
        """Return another key of the same store."""
        return ObjectPath(self.scheme, key)

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def parent(self) -> "ObjectPath":
        return self.at(self.key.parent)

    @property
    def suffix(self) -> str:
        return self.key.suffix

    @property
    def parts(self) -> tuple[str, ...]:
        return self.key.parts

    def relative_to(self, other: "ObjectPath") -> PurePosixPath:
        return self.key.relative_to(other.key)

    def is_relative_to(self, other: "ObjectPath") -> bool:
        return self.scheme == other.scheme and self.key.is_relative_to(other.key)

    def size_and_time(self) -> tuple[int, int] | None:
        """Return the size in bytes, and the time of the last change in nanoseconds; None if there is no object."""
        (info,) = self._filesystem.get_file_info([str(self.key)])
        return (info.size, info.mtime_ns) if info.is_file else None

    def objects_below(self) -> Mapping["ObjectPath", tuple[int, int]]:
        """Return the size and the time of each object whose key begins with this one and a slash, by their keys."""
        found = self._filesystem.get_file_info(fs.FileSelector(str(self.key), recursive=True, allow_not_found=True))
        infos = sorted((info for info in found if info.is_file), key=lambda info: str(info.path))
        return {ObjectPath(self.scheme, PurePosixPath(info.path)): (info.size, info.mtime_ns) for info in infos}

    def open(self) -> Any:
        """Return a file of Arrow, which sends a request for each piece that is read."""
        return self._filesystem.open_input_file(str(self.key))

    def read(self) -> bytes:
        with self._filesystem.open_input_file(str(self.key)) as stream:
            content: bytes = stream.read()
            return content

    def upload(self, content: IO[bytes]) -> None:
        """Write the object, which a store shows when it is whole."""
        stream = self._filesystem.open_output_stream(str(self.key))
        try:
            while block := content.read(BLOCK):
                stream.write(block)
        except BaseException:
            with suppress(OSError):
                stream.close()  # which shows a part of the object
                self._filesystem.delete_file(str(self.key))
            raise
        stream.close()

    @property
    def _filesystem(self) -> Any:
        return _filesystem(self.scheme, self.key.parts[0])


@cache
def _filesystem(scheme: str, bucket: str) -> Any:
    """Return the file system of a bucket, with the credentials that the programs of the store's owner use."""
    match scheme:
        case "s3":
            return _s3(os.environ, bucket)
        case "gs":
            return _gcs(os.environ)
        case _:
            return _azure(os.environ)


def _s3(environ: Mapping[str, str], bucket: str) -> Any:
    """Return the file system of Amazon's store, or of the one that AWS_ENDPOINT_URL names, which Arrow does not read.

    If no variable names the region, it is that of the bucket.
    """
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if region is None and endpoint is None:
        region = fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(region=region, endpoint_override=endpoint)


def _gcs(environ: Mapping[str, str]) -> Any:
    """Return Google's store, or the emulator that STORAGE_EMULATOR_HOST names, as Google's own libraries do."""
    emulator = environ.get("STORAGE_EMULATOR_HOST")
    if not emulator:
        return fs.GcsFileSystem()
    scheme, _, address = emulator.rpartition("://")
    return fs.GcsFileSystem(anonymous=True, scheme=scheme or "http", endpoint_override=address)


def _azure(environ: Mapping[str, str]) -> Any:
    """Return Azure's store, or the emulator that AZURE_STORAGE_ENDPOINT names, with the account's name in its path."""
    account = environ.get("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise OSError("AZURE_STORAGE_ACCOUNT is not set; set it to the name of the storage account")
    credentials = {
        "account_key": environ.get("AZURE_STORAGE_KEY"),
        "sas_token": environ.get("AZURE_STORAGE_SAS_TOKEN"),
    }
    emulator = environ.get("AZURE_STORAGE_ENDPOINT")
    if not emulator:
        return fs.AzureFileSystem(account_name=account, **credentials)
    scheme, _, address = emulator.rpartition("://")
    server = address.partition("/")[0]  # the account follows
    return fs.AzureFileSystem(
        account_name=account,
        blob_storage_scheme=scheme or "http",
        dfs_storage_scheme=scheme or "http",
        blob_storage_authority=server,
        dfs_storage_authority=server,
        **credentials,
    )
