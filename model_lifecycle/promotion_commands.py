"""`model-api plan | promote | rollback`: what a promotion file says, in the registry."""

import os
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from model_contract.exit_codes import ExitCode
from model_lifecycle.options import FORMAT, line, project_id
from model_lifecycle.promotion import preflight, report
from model_lifecycle.promotion.apply import apply
from model_lifecycle.promotion.changes import Stamp
from model_lifecycle.promotion.preflight import Plan
from model_lifecycle.promotion.rollback import target_of
from model_lifecycle.promotion.steps import Terms
from model_lifecycle.promotion_file import Entry
from model_lifecycle.reading import read
from model_lifecycle.registry import Registry
from model_lifecycle.tracking_options import Connections, tracking_options

ALIAS_ONLY = click.option("--alias-only", is_flag=True, help="Leave stages alone: for registries without them.")
REASON = click.option("--reason", callback=line, help="Goes into the version's tags.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What `plan` and `promote` are told alike."""

    file: Path
    entries: tuple[Entry, ...]
    terms: Terms


def of_a_file(command: Callable[..., None]) -> Callable[..., None]:
    """Hands the command an `order` instead of these options."""

    @click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
    @click.option("--only", "project", callback=project_id, metavar="ID", help="Only this project of the file.")
    @click.option(
        "--from",
        "source",
        type=click.Choice(["Staging", "any"]),
        default="Staging",
        show_default=True,
        help="Where versions come from.",
    )
    @ALIAS_ONLY
    @FORMAT
    def with_order(
        *, file: Path, project: str | None, source: str, alias_only: bool, form: str, **options: Any
    ) -> None:
        found = read(file, form)
        if project is not None and project not in found.projects:
            raise click.BadParameter(f"{file} has no project {project}", param_hint="--only")
        entries = found.projects[project] if project else found.entries
        terms = Terms(any_source=source == "any", alias_only=alias_only)
        command(order=Order(file=file, entries=entries, terms=terms), form=form, **options)

    with_order.__name__, with_order.__doc__ = command.__name__, command.__doc__
    return with_order


@click.command()
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 10 where something would change.")
@tracking_options
@of_a_file
def plan(*, connections: Connections, order: Order, detailed_exitcode: bool, form: str) -> None:
    """Say what promote would do with FILE. Changes nothing."""
    found = preflight.plan(order.entries, registry_of(connections), order.terms)
    report.planned(str(order.file), found, form)
    if found.obstacles or (detailed_exitcode and found.changes):
        raise SystemExit(found.exit_code if found.obstacles else ExitCode.CHANGES)


@click.command()
@click.option("--commit", callback=line, help="Goes into the version's tags, and into the gate's audit log.")
@REASON
@tracking_options
@of_a_file
def promote(*, connections: Connections, order: Order, commit: str | None, reason: str | None, form: str) -> None:
    """Bring the versions that FILE names into Production: all of them, or none. It can be repeated at will."""
    connections.name_commit(commit)
    found = preflight.plan(order.entries, registry_of(connections), order.terms)
    carry_out(connections, str(order.file), found, stamp(commit=commit, reason=reason), form)


@click.command()
@click.option("--project", "project", callback=project_id, required=True, metavar="ID", help="The project's id.")
@click.option("--model", required=True, help="Name of the registered model.")
@click.option("--to", metavar="VERSION", default="previous", show_default=True, help="Version that is to serve again.")
@ALIAS_ONLY
@REASON
@FORMAT
@tracking_options
def rollback(  # noqa: PLR0913  click hands over each option
    *, connections: Connections, project: str, model: str, to: str, alias_only: bool, reason: str | None, form: str
) -> None:
    """Bring the version back into Production that was there before."""
    if to != "previous" and not re.fullmatch(r"[1-9][0-9]{0,9}", to):
        raise click.BadParameter("must be the number of a version, or previous", param_hint="--to")
    terms = Terms(alias_only=alias_only)
    entry = target_of(connections.of_project(project).model(model), project, None if to == "previous" else to, terms)
    found = preflight.plan([entry], registry_of(connections), terms)
    carry_out(connections, model, found, stamp(reason=reason, rolls_back=True), form)


def carry_out(connections: Connections, title: str, found: Plan, by: Stamp, form: str) -> None:
    """Exits with a code that is not 0 where it was not done."""
    if found.obstacles:
        report.planned(title, found, form)
        raise SystemExit(found.exit_code)
    outcome = apply(found, registry_of(connections), by)
    report.applied(title, found, outcome, form)
    if outcome.exit_code:
        raise SystemExit(outcome.exit_code)


def registry_of(connections: Connections) -> Callable[[Entry], Registry]:
    return lambda entry: connections.of_project(entry.project_id)


def stamp(*, commit: str | None = None, reason: str | None = None, rolls_back: bool = False) -> Stamp:
    """GitHub says who has started its job; elsewhere it is the user of the shell."""
    environ = os.environ
    by = environ.get("GITHUB_ACTOR") or environ.get("DOMINO_STARTING_USERNAME") or environ.get("USER") or "unknown"
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Stamp(id=uuid.uuid4().hex[:12], by=by, at=at, commit=commit, reason=reason, rolls_back=rolls_back)
