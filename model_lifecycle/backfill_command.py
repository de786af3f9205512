"""`model-api backfill`: gives models a project that were made before there was a gate to do it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import click

from model_contract.exit_codes import ExitCode
from model_contract.names import TAG_PROJECT_ID
from model_lifecycle.errors import NotFoundError
from model_lifecycle.options import project_id
from model_lifecycle.registry import Model, Registry
from model_lifecycle.tracking_options import Connections, tracking_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Whose a model seems to be: None where nothing says so, or several things say different."""

    name: str
    project_id: str | None
    because: str


@click.command()
@click.option("--project", "project", callback=project_id, metavar="ID", help="Give the named models to this project.")
@click.option("--model", "models", multiple=True, help="A registered model; without it, all that have no project.")
@click.option("--apply", "writes", is_flag=True, help="Write the tags; without it, only say what would be written.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@tracking_options
def backfill(*, connections: Connections, project: str | None, models: Sequence[str], writes: bool, form: str) -> None:
    """Give registered models without a project the one that their runs, or their versions, are of. For an admin of the gate."""
    if project and not models:
        raise click.UsageError("say with --model which models --project gets")
    registry = connections.of_anybody()
    without = [name for name, tags in registry.models() if TAG_PROJECT_ID not in tags]
    if has_one := [name for name in models if name not in without]:
        raise NotFoundError(f"{', '.join(has_one)}: no such model, or it has a project")
    found = [Found(name=name, project_id=project, because="--project") if project else guess(registry, name) for name in models or without]
    for one in found if writes else ():
        if one.project_id:
            registry.set_model_tag(one.name, TAG_PROJECT_ID, one.project_id)
    show(found, form, writes=writes)
    if writes and any(one.project_id is None for one in found):
        raise SystemExit(ExitCode.PARTIAL)


def guess(registry: Registry, name: str) -> Found:
    """The tags of its versions, which clients may have written, count only where the experiments of their runs do not say otherwise."""
    model = registry.model(name)
    said = {tag for version in model.versions if (tag := version.tags.get(TAG_PROJECT_ID))}
    known = {project for run in runs_of(model) if (project := project_of(registry, run))}
    projects = known or said
    if len(projects) == 1 and (not said or said == projects):
        return Found(
            name=name, project_id=next(iter(projects)), because="the experiments of its runs" if known else "the tags of its versions"
        )
    because = f"{len(said | known)} projects lay claim to it" if projects else "nothing says whose it is"
    return Found(name=name, project_id=None, because=because)


def runs_of(model: Model) -> set[str]:
    return {version.run_id for version in model.versions if version.run_id}


def project_of(registry: Registry, run_id: str) -> str | None:
    try:
        return registry.project_of_run(run_id)
    except NotFoundError:
        return None


def show(found: Sequence[Found], form: str, *, writes: bool) -> None:
    if form == "json":
        click.echo(json.dumps([{"model": one.name, "project": one.project_id, "because": one.because} for one in found], indent=2))
        return
    for one in found:
        done = f"{'now of' if writes else 'would be of'} project {one.project_id}" if one.project_id else "left as it is"
        click.echo(f"{one.name}: {done} ({one.because})")
    if not found:
        click.echo("every registered model has a project")
    elif any(one.project_id is None for one in found):
        click.echo("for those that are left: model-api backfill --project ID --model NAME --apply", err=True)
