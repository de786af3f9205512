"""The file manifest.json of a delivered model: its versions, its source, its files with sizes and digests."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from model_contract.digest import FileEntry, model_digest
from model_contract.model_ref import ContractError, ModelRef
from model_contract.names import PROJECT_ID_PATTERN
from model_delivery.artifact_paths import checked_path
from model_delivery.errors import DamagedError, InvalidInputError

FORMAT: Final = 1
SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A delivered model.

    `models` are the registered versions that have these files, all of one owner and run: none if the model was fetched
    by `uri`, a storage URI; `resolved` is the name and the number of the version that the URI named then. `source` is
    the path of the artifacts in MLflow's store; `created` is an ISO 8601 time in UTC; `directories` are those without
    a file; `project` is the id of the project whose pod fetched the model, None if it was not known.
    """

    models: tuple[ModelRef, ...]
    source: str
    files: tuple[FileEntry, ...]
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    directories: tuple[str, ...] = ()
    project: str | None = None
    uri: str | None = None
    resolved: tuple[str, str] | None = None

    @property
    def digest(self) -> str:
        return model_digest(self.files)

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)

    def to_json(self) -> str:
        return "".join(self.pieces())

    def pieces(self) -> Iterator[str]:
        """Yield the JSON text in small pieces: their list takes more memory than all of a fetch of 10,000 files."""
        document = {
            "format": FORMAT,
            **(self._uri() if self.uri else self._versions()),
            "source": self.source,
            "created": self.created,
            "digest": self.digest,
            **({"project": self.project} if self.project else {}),
            "directories": list(self.directories),
            "files": self.files,
        }
        yield from json.JSONEncoder(indent=1, default=asdict).iterencode(document)
        yield "\n"

    def _uri(self) -> dict[str, object]:
        named = dict(zip(("name", "version"), self.resolved, strict=True)) if self.resolved else None
        return {"uri": self.uri} | ({"resolved": named} if named else {})

    def _versions(self) -> dict[str, object]:
        return {
            "owner": self.models[0].owner,
            "run_id": self.models[0].run_id,
            "versions": [{"name": model.name, "version": model.version} for model in self.models],
        }


def parse_manifest(text: str | bytes, *, by_uri: bool = False) -> Manifest:
    """Return the manifest of versions, or of a storage URI.

    Raises DamagedError if the text is not one, or its digest is not that of its files.
    """
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise DamagedError(
                f"the manifest has format {document['format']!r}; this version reads {FORMAT}: fetch the model again"
            )
        manifest = Manifest(
            models=() if by_uri else _models(document),
            uri=str(document["uri"]) if by_uri else None,
            resolved=_resolved(document.get("resolved")) if by_uri else None,
            source=str(document["source"]),
            created=str(document["created"]),
            files=tuple(_file(entry) for entry in document["files"]),
            directories=tuple(checked_path(path) for path in document.get("directories", [])),
            project=_project(document.get("project")),
        )
        stated = document["digest"]
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        ContractError,
        InvalidInputError,
    ) as error:
        raise DamagedError("the manifest cannot be read: fetch the model again") from error
    if stated != manifest.digest:
        raise DamagedError("the manifest's digest is not the digest of the files it names: fetch the model again")
    return manifest


def _project(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(PROJECT_ID_PATTERN, value):
        raise ValueError
    return value


def _resolved(value: Any) -> tuple[str, str] | None:
    return None if value is None else (str(value["name"]), str(value["version"]))


def _models(document: Mapping[str, Any]) -> tuple[ModelRef, ...]:
    first, *others = document["versions"]
    return tuple(
        ModelRef(name=version["name"], version=version["version"], owner=document["owner"], run_id=document["run_id"])
        for version in (first, *others)
    )


def _file(entry: Mapping[str, Any]) -> FileEntry:
    path, size, sha256 = checked_path(entry["path"]), entry["size"], entry["sha256"]
    if type(size) is not int or size < 0 or not SHA256.fullmatch(sha256):
        raise ValueError
    return FileEntry(path=path, size=size, sha256=sha256)
