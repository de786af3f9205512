"""The recorder of one worker, for each value of `--capture`."""

import json
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

from model_contract.digest import directory_digest
from model_contract.layout import MANIFEST, STORAGE_DIRECTORY
from serving_runtime.mlmodel import Metadata
from serving_runtime.observability import lazy
from serving_runtime.observability.capture import CaptureCounts, Recorder, RecordWriter, destination, instance_id
from serving_runtime.observability.capture_records import LineWriter, domino_records, jsonl_records
from serving_runtime.options import CaptureKind
from serving_runtime.settings import ServeSettings


def recorder(
    settings: ServeSettings, environ: Mapping[str, str], metadata: Metadata, counts: CaptureCounts
) -> Recorder:
    """Return the recorder. Call it after the last fork: it starts a thread. Raises ContractError."""
    writer = _writer(settings, environ, metadata, counts)
    return Recorder(writer, counts, sample=settings.capture_sample) if writer else Recorder()


def _writer(
    settings: ServeSettings, environ: Mapping[str, str], metadata: Metadata, counts: CaptureCounts
) -> RecordWriter | None:
    place, redacted = destination(settings.capture, environ), settings.capture_redact
    match settings.capture.kind:
        case CaptureKind.PARQUET if place:
            return lazy.table_writer(settings, metadata, partial(_digest, metadata.directory), place, counts)
        case CaptureKind.JSONL if isinstance(place, Path):
            return LineWriter(place, partial(jsonl_records, redacted=redacted), counts)
        case CaptureKind.DOMINO if isinstance(place, Path):
            instance = instance_id(environ.get("HOSTNAME", ""))
            return LineWriter(place, partial(domino_records, redacted=redacted, instance=instance), counts)
        case _:
            return None


@cache
def _digest(directory: Path) -> str | None:
    """Return the digest of the model's files: that of the delivery's manifest > that of the files, None if not read."""
    for manifest in (directory.parent.parent / MANIFEST, directory / STORAGE_DIRECTORY / MANIFEST):
        try:
            return str(json.loads(manifest.read_bytes())["digest"])
        except (OSError, ValueError, LookupError, TypeError):
            continue
    try:
        return directory_digest(directory)
    except OSError:
        return None
