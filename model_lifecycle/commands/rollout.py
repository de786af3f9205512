"""`model-api rollout`: bring a workload of the cluster to the version that the registry names."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from model_contract.recordings import Recorded, RecordingError, read_recording
from model_contract.secret import Secret
from model_lifecycle.cluster import client_of
from model_lifecycle.commands.tracking_options import Connections, tracking_options
from model_lifecycle.errors import InvalidError, PartialError
from model_lifecycle.interrupts import InterruptedBySignal, signals_raise
from model_lifecycle.progress import ProgressLines
from model_lifecycle.rollout.desired_version import DesiredVersion, desired_version
from model_lifecycle.rollout.pod_checks import Comparison
from model_lifecycle.rollout.sequence import Rollout, RolloutOptions, RolloutResult
from model_lifecycle.rollout.target import Kind, Target, parse_target


@click.command()
@click.argument("workload", metavar="KIND/NAME")
@click.option("--model", "name", required=True, help="The registered model.")
@click.option("--alias", help="The version behind this alias; without it, the one in Production.")
@click.option("--version", help="Instead of --alias: this version.")
@click.option("--namespace", "-n", default="default", show_default=True, help="Namespace of the workload.")
@click.option("--context", help="Context of the kubeconfig; without it, the current one.")
@click.option("--container", help="Container of a Deployment with the four variables, if there are several.")
@click.option(
    "--canary/--full",
    default=False,
    help="Of an InferenceService: make a canary beside it, or change the service itself and remove the canary."
    "  [default: full]",
)
@click.option(
    "--percent",
    type=click.IntRange(0, 100),
    default=0,
    show_default=True,
    help="Share of the requests for the canary, if a gateway of the cluster splits them.",
)
@click.option(
    "--wait",
    type=click.FloatRange(min=1),
    default=600.0,
    show_default=True,
    help="Seconds until the new pods must be ready, and again for the way back.",
)
@click.option("--no-call", "calls", flag_value=False, default=True, help="Do not ask the new pods anything.")
@click.option(
    "--compare",
    "recording",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Recorded requests that a new pod must answer as recorded.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Largest difference between two numbers, relative to the larger.",
)
@click.option(
    "--allowed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number of recorded requests whose answers may differ.",
)
@click.option("--url", metavar="URL", help="Address that is asked, instead of the pods by the API server's proxy.")
@click.option(
    "--url-token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the token for that address.",
)
@click.option("--dry-run", is_flag=True, help="Print the change, and make none.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@tracking_options
def rollout(  # noqa: PLR0913  click hands over each option
    *,
    connections: Connections,
    workload: str,
    name: str,
    alias: str | None,
    version: str | None,
    namespace: str,
    context: str | None,
    container: str | None,
    canary: bool,
    percent: int,
    wait: float,
    calls: bool,
    recording: Path | None,
    tolerance: float,
    allowed: int,
    url: str | None,
    url_token_file: Path | None,
    dry_run: bool,
    form: str,
) -> None:
    """Bring KIND/NAME, a deployment or inferenceservice, to the version in Production, and back if that fails."""
    if alias is not None and version is not None:
        raise click.UsageError("name an --alias or a --version, not both")
    target = parse_target(workload, namespace)
    if (canary or percent) and target.kind is not Kind.INFERENCE_SERVICE:
        raise click.UsageError("--canary and --percent are for an inferenceservice")
    options = RolloutOptions(
        wait=wait,
        calls=calls,
        container=container,
        canary=canary,
        percent=percent,
        url=_address(url),
        token=_token(url_token_file),
        comparison=Comparison(requests=_requests(recording), tolerance=tolerance, allowed=allowed),
    )
    desired = desired_version(connections.for_any_project(), name, number=version, alias=alias)
    with client_of(context) as client:
        run = Rollout(target, desired, client, options, ProgressLines())
        if dry_run:
            _print_plan(target, desired, run, form)
            return
        try:
            with signals_raise():
                result = run.run()
        except InterruptedBySignal as signal:
            raise PartialError(f"{signal}: {target} stays as it is now, and the same command goes on with it") from None
        _print_result(result, form)


def _print_plan(target: Target, desired: DesiredVersion, run: Rollout, form: str) -> None:
    present, wanted = run.planned()
    if form == "json":
        click.echo(json.dumps({"workload": str(target), "present": dict(present), "wanted": dict(wanted)}, indent=2))
        return
    changes = [f"  {key}: {present.get(key)} -> {value}" for key, value in wanted.items() if present.get(key) != value]
    click.echo("\n".join([f"{target} to {desired}:", *(changes or ["  nothing changes"])]))


def _print_result(result: RolloutResult, form: str) -> None:
    if form == "json":
        click.echo(json.dumps(asdict(result), indent=2))
        return
    text = f"{result.workload} {'serves' if result.changed else 'served already'} {result.model!r} version"
    click.echo(f"{text} {result.version}: {result.pods} pods, {result.seconds:.0f} s")
    if result.split is not None:
        click.echo(
            "an HTTPRoute sends the canary its share of the requests"
            if result.split
            else "no HTTPRoute sends requests to the canary: only callers of its own Service reach it"
        )


def _address(url: str | None) -> str | None:
    if url is not None and not url.startswith(("http://", "https://")):
        raise click.BadParameter("must begin with http:// or https://", param_hint="--url")
    return url


def _token(file: Path | None) -> Secret | None:
    try:
        return Secret.from_file(file) if file else None
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise InvalidError(f"--url-token-file {file}: {reason}") from error


def _requests(file: Path | None) -> Sequence[Recorded]:
    """Read the whole recording before anything is changed. Raises InvalidError."""
    try:
        return [*read_recording(file)] if file else []
    except (RecordingError, UnicodeDecodeError) as error:
        raise InvalidError(f"--compare: {error}") from error
    except OSError as error:
        raise InvalidError(f"--compare {file} cannot be read: {error.strerror}") from error
