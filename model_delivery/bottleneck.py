"""Figures of a delivery, and the part of the way that limits it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from model_contract.names import PRESIGNED_HOSTS

MEBIBYTE: Final = 1 << 20
GIBIBYTE: Final = 1 << 30
CLEARLY: Final = 1.5  # times as fast: figures of one machine differ by less from run to run
SLOW_ANSWER: Final = 0.5  # seconds; a fetch waits for at least four answers before its first byte
NAMES: Final = 1000  # in one answer of an object store to a listing
FEW_BYTES: Final = MEBIBYTE  # of a whole model: its rate is that of single requests
PROXY: Final = "proxy"
PRESIGNED: Final = "presigned"
OBJECT_STORE: Final = "object store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Bytes that came by one way, and the seconds; `fault` says why none could."""

    bytes: int = 0
    seconds: float = 0
    fault: str = ""

    @property
    def per_second(self) -> float:
        return self.bytes / self.seconds if self.seconds else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Measured times in seconds: a connection; an answer of the gate alone, None without a gate; an answer of
    MLflow, through the gate if there is one; a listing, of `listed` names. `disk` is in bytes per second, `ways` has a
    rate for each way: the object store alone if the version has an address in one.
    """

    connection: float
    gate: float | None
    mlflow: float
    listing: float
    listed: int = 1
    disk: float
    model_bytes: int
    ways: Mapping[str, Rate] = field(default_factory=dict)

    @property
    def best(self) -> Rate:
        return max(self.ways.values(), key=lambda rate: rate.per_second, default=Rate())

    @property
    def direct(self) -> bool:
        """True if an object store lists and sends the files, and not MLflow."""
        return OBJECT_STORE in self.ways


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """The slowest part of the way, and a sentence about it with its figures. `part` is empty if none stands out."""

    part: str
    sentence: str


def bottleneck(figures: Figures) -> Bottleneck:
    """Return the part that limits the delivery, by the first rule that holds."""
    best = figures.best.per_second
    if not best:
        sender = "the object store" if figures.direct else "MLflow"
        return Bottleneck(
            part="store" if figures.direct else "mlflow",
            sentence=f"Nothing came by any way: {sender}, or the network to it, sends no file.",
        )
    rules = (_slow_answer(figures), _slow_disk(figures, best), _slow_way(figures))
    return next((found for found in rules if found), _even(figures, best))


def _slow_answer(figures: Figures) -> Bottleneck | None:
    before_mlflow = figures.connection if figures.gate is None else figures.gate
    shares = {
        "network": (figures.connection, "The network is slow: a connection takes"),
        "gate": ((figures.gate or 0) - figures.connection, "The gate is slow: an answer of its own takes"),
        "mlflow": (figures.mlflow - before_mlflow, "MLflow is slow: its shortest answer takes"),
        "store": (
            (figures.listing - (0 if figures.direct else figures.mlflow)) / max(1, figures.listed / NAMES),
            f"The {'object store' if figures.direct else 'store behind MLflow'} is slow: to list up to {NAMES:,} names"
            " takes",
        ),
    }
    part = max(shares, key=lambda part: shares[part][0])
    seconds, said = shares[part]
    if seconds < SLOW_ANSWER:
        return None
    return Bottleneck(part=part, sentence=f"{said} {seconds * 1000:.0f} ms, which each request of a fetch waits for.")


def _slow_disk(figures: Figures, best: float) -> Bottleneck | None:
    if figures.disk > CLEARLY * best:
        return None
    return Bottleneck(
        part="disk",
        sentence=f"The disk of the target is the limit: it takes {rate(figures.disk)}, and {rate(best)} come.",
    )


def _slow_way(figures: Figures) -> Bottleneck | None:
    proxy, presigned = (figures.ways.get(way, Rate()).per_second for way in (PROXY, PRESIGNED))
    if not proxy or not presigned:
        return None
    if presigned > CLEARLY * proxy:
        return Bottleneck(
            part="gate or mlflow",
            sentence=f"The way through MLflow's proxy is slow: {rate(proxy)}, and {rate(presigned)} come straight from"
            f" the object store. Set {PRESIGNED_HOSTS} for the pods, and look at the processors of gate and MLflow.",
        )
    if proxy > CLEARLY * presigned:
        return Bottleneck(
            part="store",
            sentence=f"The object store, or the network to it, is slow: {rate(presigned)}, and {rate(proxy)} come"
            f" through MLflow. Leave {PRESIGNED_HOSTS} empty, or check the way to the store.",
        )
    return None


def _even(figures: Figures, best: float) -> Bottleneck:
    if figures.model_bytes < FEW_BYTES:
        return Bottleneck(part="", sentence="The model is too small to measure a rate: name one of 100 MiB or more.")
    limit = "the object store" if figures.direct else "the processors of the gate and of MLflow"
    return Bottleneck(
        part="",
        sentence=f"No part stands out: {rate(best)} come at best, so that 1 GiB takes about {GIBIBYTE / best:.0f} s."
        f" The limit is the network, or {limit}, which one place cannot tell apart.",
    )


def rate(per_second: float) -> str:
    return f"{per_second / MEBIBYTE:.1f} MiB/s"
