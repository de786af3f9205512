"""`model-api backfill`: give a project to models and experiments that are older than the gate."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import click

from model_contract.exit_codes import ExitCode
from model_contract.names import TAG_PROJECT_ID
from model_lifecycle.commands.options import project_id
from model_lifecycle.commands.tracking_options import Connections, tracking_options
from model_lifecycle.errors import NotFoundError
from model_lifecycle.registry import Model, Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectAssignment:
    """A model or experiment without a project, and its likely project: None if no or several projects are named."""

    kind: str
    name: str
    project_id: str | None
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelExperiments:
    """A model, its project if it has one, and the projects of its runs' experiments, by their ids."""

    model: Model
    project_id: str | None
    experiments: Mapping[str, str | None]


@click.command()
@click.option("--project", "project", callback=project_id, metavar="ID", help="Give the named models to this project.")
@click.option("--model", "models", multiple=True, help="A registered model; without it, all of them.")
@click.option("--apply", "writes", is_flag=True, help="Write the tags; without it, only say what would be written.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@tracking_options
def backfill(*, connections: Connections, project: str | None, models: Sequence[str], writes: bool, form: str) -> None:
    """Give each model without a project, and its experiments, the project of its runs or versions.

    For an admin of the gate.
    """
    if project and not models:
        raise click.UsageError("say with --model which models --project gets")
    registry = connections.for_any_project()
    tagged = dict(registry.models())
    if unknown := [name for name in models if name not in tagged or (project and TAG_PROJECT_ID in tagged[name])]:
        raise NotFoundError(f"{', '.join(unknown)}: no such model, or it has a project")
    models_found = [experiments_of_model(registry, name, tagged[name].get(TAG_PROJECT_ID)) for name in models or tagged]
    owners = [assignment_of_model(one_model, project) for one_model in models_found if one_model.project_id is None]
    known = {found.name: found.project_id for found in owners} | {
        one_model.model.name: one_model.project_id for one_model in models_found if one_model.project_id
    }
    found = [*owners, *assignments_of_experiments(models_found, known)]
    for one in found if writes else ():
        write_tag(registry, one)
    print_assignments(found, form, writes=writes)
    if writes and any(one.project_id is None for one in found):
        raise SystemExit(ExitCode.PARTIAL)


def experiments_of_model(registry: Registry, name: str, project: str | None) -> ModelExperiments:
    model = registry.model(name)
    runs = {version.run_id for version in model.versions if version.run_id}
    return ModelExperiments(
        model=model,
        project_id=project,
        experiments=dict(experiment for run in runs if (experiment := registry.experiment_of_run(run))),
    )


def assignment_of_model(one_model: ModelExperiments, project: str | None) -> ProjectAssignment:
    """Return the project of a model: by --project, by the experiments of its runs, or by the tags of its versions.

    Tags of versions count only if the experiments do not contradict them: any client may have written the tags.
    """
    name = one_model.model.name
    if project:
        return ProjectAssignment(kind="model", name=name, project_id=project, because="--project")
    named = {tag for version in one_model.model.versions if (tag := version.tags.get(TAG_PROJECT_ID))}
    known = {project for project in one_model.experiments.values() if project}
    projects = known or named
    if len(projects) == 1 and (not named or named == projects):
        because = "the experiments of its runs" if known else "the tags of its versions"
        return ProjectAssignment(kind="model", name=name, project_id=next(iter(projects)), because=because)
    because = f"{len(named | known)} projects are named" if projects else "no run and no version names its project"
    return ProjectAssignment(kind="model", name=name, project_id=None, because=because)


def assignments_of_experiments(
    models_found: Iterable[ModelExperiments], known: Mapping[str, str | None]
) -> list[ProjectAssignment]:
    """Return the experiments without a project: files lie in experiments, and a token reads only its own project's."""
    claimed: dict[str, set[str]] = {}
    for one_model in models_found:
        if owner := known[one_model.model.name]:
            for experiment, project in one_model.experiments.items():
                if project is None:
                    claimed.setdefault(experiment, set()).add(owner)
    return [
        (
            ProjectAssignment(
                kind="experiment", name=experiment, project_id=next(iter(owners)), because="the models of its runs"
            )
            if len(owners) == 1
            else ProjectAssignment(
                kind="experiment",
                name=experiment,
                project_id=None,
                because=f"models of {len(owners)} projects have runs in it",
            )
        )
        for experiment, owners in claimed.items()
    ]


def write_tag(registry: Registry, found: ProjectAssignment) -> None:
    if found.project_id and found.kind == "model":
        registry.set_model_tag(found.name, TAG_PROJECT_ID, found.project_id)
    elif found.project_id:
        registry.set_experiment_tag(found.name, TAG_PROJECT_ID, found.project_id)


def print_assignments(found: Sequence[ProjectAssignment], form: str, *, writes: bool) -> None:
    if form == "json":
        rows = [
            {"kind": one.kind, "name": one.name, "project": one.project_id, "because": one.because} for one in found
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    for one in found:
        done = (
            f"{'now of' if writes else 'would be of'} project {one.project_id}" if one.project_id else "left as it is"
        )
        click.echo(f"{one.kind} {one.name}: {done} ({one.because})")
    if not found:
        click.echo("every registered model has a project, and so have the experiments of its runs")
    elif any(one.project_id is None for one in found):
        click.echo("for the models that are left: model-api backfill --project ID --model NAME --apply", err=True)
