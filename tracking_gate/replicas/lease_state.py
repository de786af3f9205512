"""The content of the Lease: its holder, the replicas, and the moves that the holder has begun and not ended."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from model_contract.names import DOMAIN

Json = dict[str, Any]

REPLICAS: Final = f"{DOMAIN}/replicas"  # annotation: address, and digest of the key, of each replica by its identity
UNFINISHED: Final = f"{DOMAIN}/unfinished-moves"  # annotation: moves by the id of their request
REGISTERED_AGAIN: Final = timedelta(minutes=10)
FORGET_AFTER: Final = timedelta(hours=1)  # without a new registration; the replica has ended then
MAX_UNFINISHED: Final = 200  # moves of 400 bytes: an object of the API server has 256 KiB of annotations


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """This process as the others know it. `identity` is another one after each start, `key` proves it to the holder."""

    identity: str
    address: str
    key: str = field(repr=False)

    def __str__(self) -> str:
        return self.identity


def new_replica(name: str, address: str) -> Replica:
    return Replica(identity=f"{name}.{secrets.token_hex(4)}", address=address, key=secrets.token_urlsafe(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseState:
    """A Lease as it was read or written. `document` holds fields of others too, which are kept."""

    document: Json

    @property
    def holder(self) -> str:
        """The identity of the replica that holds the Lease, empty if it was released."""
        return str(self.document["spec"].get("holderIdentity") or "")

    @property
    def seconds(self) -> float:
        return float(self.document["spec"].get("leaseDurationSeconds") or 0)

    @property
    def term(self) -> int:
        """The number of times that the Lease was taken."""
        return int(self.document["spec"].get("leaseTransitions") or 0)

    @property
    def renewal(self) -> object:
        """A value that identifies the last renewal: it differs after each one."""
        spec = self.document["spec"]
        return spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions")

    @property
    def replicas(self) -> Mapping[str, Json]:
        return self._annotation(REPLICAS)

    @property
    def unfinished(self) -> dict[str, Json]:
        return dict(self._annotation(UNFINISHED))

    def address_of(self, identity: str) -> str | None:
        address = self.replicas.get(identity, {}).get("address")
        return address if isinstance(address, str) else None

    def knows(self, identity: str, key: str) -> bool:
        """Return True if a replica with this identity has registered the digest of this key."""
        return hmac.compare_digest(str(self.replicas.get(identity, {}).get("key", "")).encode(), digest(key).encode())

    def has_registered(self, me: Replica) -> bool:
        """Return True if the entry of the replica is there, and not so old that others forget it."""
        entry = self.replicas.get(me.identity)
        return entry is not None and entry.get("address") == me.address and _age(entry) < REGISTERED_AGAIN

    def taken(self, me: Replica, seconds: int) -> "LeaseState":
        """Return the Lease after a replica has taken it; the unfinished moves are those of the former holder."""
        now = _now()
        spec = {
            **self.document["spec"],
            "holderIdentity": me.identity,
            "leaseDurationSeconds": seconds,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": self.term + 1,
        }
        return self._with(spec, me, self.unfinished)

    def renewed(self, me: Replica, unfinished: Mapping[str, Json]) -> "LeaseState":
        return self._with({**self.document["spec"], "renewTime": _now()}, me, unfinished)

    def released(self, me: Replica) -> "LeaseState":
        """Return the Lease after its holder has given it back."""
        spec = {**self.document["spec"], "holderIdentity": "", "renewTime": _now()}
        return self._with(spec, me, {})

    def registered(self, me: Replica) -> "LeaseState":
        return self._with(self.document["spec"], me, self.unfinished)

    def _with(self, spec: Json, me: Replica, unfinished: Mapping[str, Json]) -> "LeaseState":
        own = {"address": me.address, "key": digest(me.key), "registered": _now()}
        others = {one: entry for one, entry in self.replicas.items() if _age(entry) < FORGET_AFTER}
        annotations = {
            **(self.document["metadata"].get("annotations") or {}),
            REPLICAS: json.dumps(others | {me.identity: own}),
            UNFINISHED: json.dumps(dict(unfinished), ensure_ascii=False),
        }
        metadata = {**self.document["metadata"], "annotations": annotations}
        return LeaseState(document={**self.document, "metadata": metadata, "spec": spec})

    def _annotation(self, name: str) -> Mapping[str, Json]:
        """Return the entries of an annotation; what is no entry is left out."""
        try:
            found = json.loads((self.document["metadata"].get("annotations") or {}).get(name, "{}"))
        except ValueError:
            return {}
        entries = found.items() if isinstance(found, dict) else ()
        return {key: entry for key, entry in entries if isinstance(entry, dict)}


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _age(entry: Mapping[str, Any]) -> timedelta:
    try:
        return datetime.now(UTC) - datetime.fromisoformat(str(entry.get("registered")))
    except (TypeError, ValueError):
        return timedelta.max


def _now() -> str:
    """Return the time as a Lease has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
