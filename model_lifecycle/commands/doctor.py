"""`model-api doctor delivery`: print the rates that a pod would get from this place, and the slowest part."""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from model_contract.names import TOKEN_FILE, TRACKING_URI
from model_delivery.bottleneck import Bottleneck, Figures, bottleneck, rate
from model_delivery.errors import DeliveryError, InvalidInputError
from model_delivery.measurement import MeasurementRequest, measure
from model_delivery.settings import Upstream
from model_lifecycle.commands.options import TOKEN_FILE_OPTION, TRACKING_URI_OPTION

ENDED_BY_SIGTERM: Final = 128 + signal.SIGTERM


@click.group()
def doctor() -> None:
    """Measure the delivery of a model, and name the slowest part."""


@doctor.command()
@click.option("--name", required=True, help="Registered model that is fetched for the measurement.")
@click.option("--version", required=True, help="Its version. One of 100 MiB or more shows the rates of large models.")
@TRACKING_URI_OPTION
@TOKEN_FILE_OPTION
@click.option(
    "--directory",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="A directory on the disk that would hold the model; without it, that of temporary files.",
)
@click.option(
    "--seconds", type=click.FloatRange(1, 600), default=10.0, show_default=True, help="Longest time for each way."
)
@click.option(
    "--max-mib", type=click.IntRange(1, 65536), default=256, show_default=True, help="Most MiB that each way brings."
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def delivery(  # noqa: PLR0913, PLR0917  click hands over each option
    name: str,
    version: str,
    uri: str | None,
    token_file: Path | None,
    directory: Path | None,
    seconds: float,
    max_mib: int,
    form: str,
) -> None:
    """Measure how fast a model comes to this machine: through MLflow's proxy, and by presigned URL.

    The settings are those of a pod's init container. Fetched files are deleted.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ENDED_BY_SIGTERM))  # as an exception it deletes the files
    given = {TRACKING_URI: uri, TOKEN_FILE: token_file and str(token_file)}
    environ = {**os.environ, **{key: value for key, value in given.items() if value}}
    try:
        request = MeasurementRequest(
            name=name,
            version=version,
            upstream=Upstream.from_environment(environ),
            directory=directory or temporary_files(),
            seconds=seconds,
            most_bytes=max_mib << 20,
        )
        figures = measure(request)
    except DeliveryError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_code) from error
    found = bottleneck(figures)
    if form == "json":
        click.echo(json.dumps(as_json(figures, found), indent=2))
    else:
        show(figures, found)


def temporary_files() -> Path:
    """Return the directory of temporary files. Raises InvalidInputError if none can be written to."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise InvalidInputError(f"{error.strerror}: name one by --directory, such as a volume of the pod") from error


def as_json(figures: Figures, found: Bottleneck) -> dict[str, object]:
    return {
        "seconds": {
            "connection": round(figures.connection, 4),
            "gate": None if figures.gate is None else round(figures.gate, 4),
            "mlflow": round(figures.mlflow, 4),
            "listing": round(figures.listing, 4),
        },
        "disk_bytes_per_second": round(figures.disk),
        "model_bytes": figures.model_bytes,
        "ways": {
            name: {"fault": way.fault}
            if way.fault
            else {
                "bytes": way.bytes,
                "seconds": round(way.seconds, 3),
                "bytes_per_second": round(way.per_second),
            }
            for name, way in figures.ways.items()
        },
        "slow": found.part or None,
        "sentence": found.sentence,
    }


def show(figures: Figures, found: Bottleneck) -> None:
    """Print a row for each figure, and the sentence about the slowest part."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for title, seconds in (
        ("a connection", figures.connection),
        ("an answer of the gate", figures.gate),
        ("an answer of MLflow", figures.mlflow),
        ("a listing of the model", figures.listing),
    ):
        table.add_row(title, "there is no gate" if seconds is None else f"{seconds * 1000:.1f} ms")
    table.add_row("the disk of the target", rate(figures.disk))
    for name, way in figures.ways.items():
        said = way.fault or f"{rate(way.per_second)}, {way.bytes} bytes in {way.seconds:.1f} s"
        table.add_row(f"files by {name}", Text(said, overflow="fold"))
    console = Console(highlight=False)
    console.print(table)
    console.print(Text(found.sentence, style="bold" if found.part else ""), soft_wrap=True)
