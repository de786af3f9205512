"""Models of a store that are not promoted any more: the time since then, and their removal."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from model_contract.layout import PARTIAL_PREFIX
from model_contract.model_ref import RULES
from model_contract.names import MODEL_OWNER, RUN_ID
from model_delivery.deadline import Deadline
from model_delivery.file_checks import readable_manifest
from model_delivery.manifest import Manifest
from model_delivery.store import partial_model, remove_leftover, sync_directory

MARK: Final = "not-promoted-since"  # a file beside the manifest, which no pod mounts
REMOVED: Final = f"{PARTIAL_PREFIX}removed-"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model in the store with a readable manifest; `place` is its directory below the store."""

    store: Path
    place: str
    manifest: Manifest

    @property
    def directory(self) -> Path:
        return self.store / self.place

    @property
    def run_id(self) -> str:
        return self.directory.name

    def marked(self) -> datetime | None:
        """Return when a sync first found the model not promoted; None without a usable mark."""
        with suppress(OSError, ValueError):
            since = datetime.fromisoformat((self.directory / MARK).read_text(encoding="utf-8").strip())
            return since if since.tzinfo else None
        return None

    def mark(self, now: datetime) -> datetime:
        """Return the time of the mark, which is written now unless there is one. One from the future is replaced."""
        since = self.marked()
        if since and since <= now:
            return since
        new = self.directory / f"{MARK}.new"
        with suppress(FileNotFoundError):  # another sync has marked the model at this moment, or removed it
            new.write_text(f"{now.isoformat(timespec='seconds')}\n", encoding="utf-8")
            new.rename(self.directory / MARK)
        return now

    def unmark(self) -> None:
        (self.directory / MARK).unlink(missing_ok=True)

    @contextmanager
    def locked(self, deadline: Deadline) -> Iterator[None]:
        """Keep every fetch of the model waiting until the block ends, if the store has locks."""
        with partial_model(self.store, self.place, deadline):
            yield

    def remove(self) -> None:
        """Take the model out of the store by one rename, and delete its files then.

        NFS keeps those that a pod of this node has open: the next sync deletes them.
        """
        aside = self.store / f"{REMOVED}{secrets.token_hex(4)}"
        with suppress(FileNotFoundError):  # another sync was first
            self.directory.rename(aside)
            sync_directory(self.store)
        remove_leftover(aside)


def stored_models(store: Path) -> Iterator[StoredModel]:
    """Yield the models of the store. Anything else in it is left out: other files, links, what cannot be read."""
    for owner in _directories(store, MODEL_OWNER):
        for run in _directories(owner, RUN_ID):
            with suppress(OSError):
                if manifest := readable_manifest(run):
                    yield StoredModel(store=store, place=f"{owner.name}/{run.name}", manifest=manifest)


def remove_unfinished(store: Path) -> None:
    """Delete the files of removals that were interrupted."""
    for path in store.glob(f"{REMOVED}*"):
        remove_leftover(path)


def _directories(parent: Path, variable: str) -> Iterator[Path]:
    """Yield the directories in `parent` whose names the variable can have, sorted."""
    with suppress(OSError):
        for path in sorted(parent.iterdir()):
            if RULES[variable].accepts(path.name) and path.is_dir() and not path.is_symlink():
                yield path
