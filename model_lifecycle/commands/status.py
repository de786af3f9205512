"""`model-api status`: print the versions in Staging and Production, and the differences from the file."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from model_contract.exit_codes import ExitCode
from model_contract.names import TAG_PROJECT_ID
from model_lifecycle.commands import promotion_report as report
from model_lifecycle.commands.options import FORMAT, project_id, read_promotion_file
from model_lifecycle.commands.tracking_options import Connections, tracking_options
from model_lifecycle.promotion.preflight import PARALLEL
from model_lifecycle.promotion.status import model_status
from model_lifecycle.promotion_file import Entry

# A project, a model of it, and what the file says of that.
CheckedModel = tuple[str, str, Entry | None]


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option(
    "--project",
    "project",
    callback=project_id,
    metavar="ID",
    help="Only this project of the file; its id, if there is no file.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    help="Only this model. Without a file, a token has to name them; a person sees all.",
)
@click.option("--alias-only", is_flag=True, help="Look at aliases only: for registries without stages.")
@click.option("--check", is_flag=True, help="Exit with 6 if there is a difference.")
@FORMAT
@tracking_options
def status(  # noqa: PLR0913  click hands over each option
    *,
    connections: Connections,
    file: Path | None,
    project: str | None,
    models: Sequence[str],
    alias_only: bool,
    check: bool,
    form: str,
) -> None:
    """Print the versions in Staging and Production, and their differences from FILE, the aliases and the digests."""
    if file is None and project is None:
        raise click.UsageError("name the promotion file, or a --project")
    checked = of_file(file, project, models, form) if file else of_project(connections, project or "", models)
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        found = pool.map(lambda one: model_status(connections.of_project(one[0]), *one, alias_only=alias_only), checked)
        statuses = list(found)
    report.statuses(statuses, form)
    if check and any(one.drift for one in statuses):
        raise SystemExit(ExitCode.PRECONDITION)


def of_file(file: Path, project: str | None, models: Sequence[str], form: str) -> list[CheckedModel]:
    entries = read_promotion_file(file, form).entries
    return [
        (one.project_id, one.name, one)
        for one in entries
        if project in {None, one.project_id} and (not models or one.name in models)
    ]


def of_project(connections: Connections, project: str, models: Sequence[str]) -> list[CheckedModel]:
    registry = connections.of_project(project)
    names = models or [name for name, tags in registry.models() if tags.get(TAG_PROJECT_ID) == project]
    return [(project, name, None) for name in names]
