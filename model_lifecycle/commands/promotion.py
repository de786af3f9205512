"""`model-api plan | promote | rollback`: bring the registry to the content of a promotion file."""

import os
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import printable
from model_lifecycle.commands import promotion_report as report
from model_lifecycle.commands.options import FORMAT, header_line, line, project_id, read_promotion_file
from model_lifecycle.commands.package_option import PACKAGE_TO, package_first
from model_lifecycle.commands.tracking_options import Connections, tracking_options
from model_lifecycle.promotion import preflight
from model_lifecycle.promotion.apply import apply
from model_lifecycle.promotion.changes import PromotionRecord
from model_lifecycle.promotion.preflight import Plan
from model_lifecycle.promotion.steps import PromotionOptions, rollback_entry
from model_lifecycle.promotion_file import Entry
from model_lifecycle.registry import Registry

ALIAS_ONLY = click.option("--alias-only", is_flag=True, help="Set the alias only: for registries without stages.")
# The first that is set: of GitHub, GitLab, Azure DevOps, Bitbucket, CircleCI, Jenkins (plugin build-user-vars), Domino.
AUTHORS: Final = (
    "GITHUB_ACTOR",
    "GITLAB_USER_LOGIN",
    "BUILD_REQUESTEDFOR",
    "BITBUCKET_STEP_TRIGGERER_UUID",
    "CIRCLE_USERNAME",
    "BUILD_USER_ID",
    "DOMINO_STARTING_USERNAME",
    "USER",
)
REASON = click.option("--reason", callback=line, help="The reason, written to the version's tags.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRequest:
    """The entries to promote, and the options that `plan` and `promote` share."""

    file: Path
    entries: tuple[Entry, ...]
    options: PromotionOptions


def promotion_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a promotion file. The command gets a `request` instead of them."""

    @click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
    @click.option("--only", "project", callback=project_id, metavar="ID", help="Only this project of the file.")
    @click.option(
        "--from",
        "source",
        type=click.Choice(["Staging", "any"]),
        default="Staging",
        show_default=True,
        help="Origin of the versions.",
    )
    @ALIAS_ONLY
    @FORMAT
    def with_request(
        *, file: Path, project: str | None, source: str, alias_only: bool, form: str, **others: Any
    ) -> None:
        found = read_promotion_file(file, form)
        if project is not None and project not in found.projects:
            raise click.BadParameter(f"{file} has no project {project}", param_hint="--only")
        entries = found.projects[project] if project else found.entries
        options = PromotionOptions(any_source=source == "any", alias_only=alias_only)
        command(request=PromotionRequest(file=file, entries=entries, options=options), form=form, **others)

    with_request.__name__, with_request.__doc__ = command.__name__, command.__doc__
    return with_request


@click.command()
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 10 if something would change.")
@tracking_options
@promotion_options
def plan(*, connections: Connections, request: PromotionRequest, detailed_exitcode: bool, form: str) -> None:
    """Print what promote would do with FILE, and change nothing."""
    found = preflight.plan(request.entries, registry_of(connections), request.options)
    report.planned(str(request.file), found, form)
    if found.blockers or (detailed_exitcode and found.changes):
        raise SystemExit(found.exit_code if found.blockers else ExitCode.CHANGES)


@click.command()
@click.option("--commit", callback=header_line, help="The commit, for the version's tags and the gate's audit log.")
@REASON
@PACKAGE_TO
@tracking_options
@promotion_options
def promote(  # noqa: PLR0913  click hands over each option
    *,
    connections: Connections,
    request: PromotionRequest,
    commit: str | None,
    reason: str | None,
    to: str | None,
    form: str,
) -> None:
    """Bring the versions that FILE names into Production: all of them, or none. It can be run again at any time."""
    connections.name_commit(commit)
    found = preflight.plan(request.entries, registry_of(connections), request.options)
    for step in () if found.blockers else found.changes:
        entry = step.entry
        package_first(connections.of_project(entry.project_id), to, name=entry.name, version=entry.version)
    apply_plan(connections, str(request.file), found, record_of(commit=commit, reason=reason), form)


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
    """Bring the former version of a model back into Production."""
    if to != "previous" and not re.fullmatch(r"[1-9][0-9]{0,9}", to):
        raise click.BadParameter("must be the number of a version, or previous", param_hint="--to")
    options = PromotionOptions(alias_only=alias_only)
    entry = rollback_entry(
        connections.of_project(project).model(model), project, None if to == "previous" else to, options
    )
    found = preflight.plan([entry], registry_of(connections), options)
    apply_plan(connections, model, found, record_of(reason=reason, rolls_back=True), form)


def apply_plan(connections: Connections, title: str, found: Plan, by: PromotionRecord, form: str) -> None:
    """Apply a plan and print the result. Raises SystemExit with a code that is not 0 if the plan was not applied."""
    if found.blockers:
        report.planned(title, found, form)
        raise SystemExit(found.exit_code)
    outcome = apply(found, registry_of(connections), by)
    report.applied(title, found, outcome, form)
    if outcome.exit_code:
        raise SystemExit(outcome.exit_code)


def registry_of(connections: Connections) -> Callable[[Entry], Registry]:
    return lambda entry: connections.of_project(entry.project_id)


def record_of(*, commit: str | None = None, reason: str | None = None, rolls_back: bool = False) -> PromotionRecord:
    """Return the record of a promotion by the user that CI names, or by the user of the workspace or shell."""
    by = printable(next(filter(None, map(os.environ.get, AUTHORS)), "unknown"))  # as UTF-8 holds it
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return PromotionRecord(id=uuid.uuid4().hex[:12], by=by, at=at, commit=commit, reason=reason, rolls_back=rolls_back)
