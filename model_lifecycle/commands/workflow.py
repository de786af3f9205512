"""`model-api workflow`: write the GitHub workflows of a project, and check them against its promotion file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import yaml

from model_lifecycle import workflow_files
from model_lifecycle.commands.options import read_promotion_file
from model_lifecycle.errors import InvalidError, PreconditionError
from model_lifecycle.promotion_file import Problem, PromotionFile
from model_lifecycle.tracking import project_variable
from model_lifecycle.workflow_files import EACH_PROJECT, FOLDER, MAIN, PROMOTE, RUNS_ON, WorkflowOptions

FOR_THE_FIRST: Final = (
    "name the action: --action OWNER/REPO@COMMIT, the repository that has this project's action.yml, by a full commit"
)

LONGEST_TEXT: Final = 1 << 20  # characters of a workflow

SHARED: Final = (
    "the environment {environment} is of all projects: the reviewers of one approve the promotions of the others. "
    "`--environment '{environment}-{{project}}'` gives each its own"
)


@click.command()
@click.argument("file")
@click.option("--write", is_flag=True, help="Write the files; without it, print them.")
@click.option("--check", is_flag=True, help="Change nothing; exit with 6 if a file is not as it would be written.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=FOLDER,
    show_default=True,
    help="Directory of the workflow files.",
)
@click.option(
    "--action",
    metavar="OWNER/REPO@COMMIT",
    help="This project's action, by a full commit; without it, the one in the files.",
)
@click.option(
    "--runs-on",
    metavar="LABEL[,LABEL...]",
    help=f"Labels of the runners that reach the gate; without it, those of the files, or {RUNS_ON}.",
)
@click.option(
    "--runner-group", metavar="NAME", help="Group of the runners; '' for none; without it, the one in the files."
)
@click.option(
    "--environment",
    metavar="NAME",
    help=(
        f"Environment of the jobs that hold a token; {EACH_PROJECT} in it is the project's id; '' is none; without it,"
        " that of the files."
    ),
)
@click.option(
    "--branch", metavar="NAME", help=f"Branch whose file is promoted; without it, the one in the files, or {MAIN}."
)
@click.option(
    "--oidc-audience",
    metavar="AUDIENCE",
    help="Audience of the token that a job asks GitHub for instead of a stored secret; '' is secrets; without it, as in"
    " the files.",
)
def workflow(file: str, write: bool, check: bool, directory: Path, **options: str | None) -> None:
    """Write the GitHub workflows for the promotion FILE, with a job for each of its projects. Run it in the
    repository's top directory.
    """
    if write and check:
        raise click.UsageError("either --write or --check")
    projects = tuple(read_projects(file).projects)
    chosen = workflow_options(file, options, former_options(directory))
    if len(projects) > 1 and chosen.environment and EACH_PROJECT not in chosen.environment:
        click.echo(SHARED.format(environment=chosen.environment), err=True)
    files = {directory / name: text for name, text in workflow_files.rendered_workflows(chosen, projects).items()}
    if check:
        require_current(files, chosen)
    elif write:
        write_files(files)
        warn_below_top(Path.cwd())
    else:
        click.echo("\n".join(f"# {path}\n{text}" for path, text in files.items()), nl=False)


def problems_of_jobs(file: Path, parsed: PromotionFile) -> list[Problem]:
    """Return the projects of the file that have no job in the repository's workflow; none if there is no workflow."""
    if not (path := workflow_of(file)):
        return []
    try:
        known = workflow_files.secrets_of_jobs(written_text(path) or "")
    except yaml.YAMLError as error:
        raise InvalidError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    except RecursionError:
        raise InvalidError(f"{path} cannot be read: it is nested too deep") from None
    text = (
        f"has no job in {FOLDER / PROMOTE}; `model-api workflow {file.as_posix()} --write`, in the repository's top"
        " directory, writes it"
    )
    return [
        Problem(place=f'$["{project}"]', text=text)
        for project in parsed.projects
        if project_variable(project) not in known
    ]


def workflow_of(file: Path) -> Path | None:
    """Return the promotion workflow of the repository that holds a file."""
    for folder in file.absolute().parents:
        if (path := folder / FOLDER / PROMOTE).exists():
            return path
        if (folder / ".git").exists():
            return None
    return None


def warn_below_top(folder: Path) -> None:
    """Warn of a folder below the top of a repository: it may become a repository of its own, or be a mistake."""
    top = next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)
    if top != folder:
        click.echo(f"Warning: GitHub reads no workflow but those in {top / FOLDER}: run this in {top}", err=True)


def read_projects(file: str) -> PromotionFile:
    if not workflow_files.FILE.fullmatch(file):
        raise InvalidError(
            f"{file} cannot stand in a workflow: run this in the repository's top directory, and name a file below it, "
            "by letters, digits, _ . - and /"
        )
    parsed = read_promotion_file(Path(file), "text")
    if not parsed.projects:
        raise InvalidError(f"{file} names no project, so there is no job to write")
    return parsed


def former_options(directory: Path) -> Mapping[str, str]:
    return workflow_files.options_in(written_text(directory / PROMOTE) or "")


def written_text(path: Path) -> str | None:
    """Return the text of a file in the checkout, or the beginning of a long one; None if there is none."""
    try:
        with path.open(encoding="utf-8") as stream:
            return stream.read(LONGEST_TEXT)  # a link of a pull request may lead to /dev/zero
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise InvalidError(f"{path} cannot be read: {reason}") from error


def workflow_options(file: str, options: Mapping[str, str | None], former: Mapping[str, str]) -> WorkflowOptions:
    """Return the options: those of the command > those of the written files > the defaults."""
    action = options["action"] or former.get("action")
    runs_on = options["runs_on"] or former.get("runs-on") or RUNS_ON
    runner_group = former.get("runner-group") if options["runner_group"] is None else options["runner_group"]
    environment = former.get("environment") if options["environment"] is None else options["environment"]
    audience = former.get("oidc-audience") if options["oidc_audience"] is None else options["oidc_audience"]
    branch = options["branch"] or former.get("branch") or MAIN
    if not action:
        raise click.UsageError(FOR_THE_FIRST)
    if not workflow_files.ACTION.fullmatch(action):
        raise InvalidError(
            f"{action!r:.100} does not name an action by its commit, OWNER/REPO@<40 hexadecimal digits>; a tag can be"
            " moved"
        )
    for option, (value, form, says) in {
        "--runs-on": (runs_on, workflow_files.WORDS, "letters, digits, _ . and -, and a comma between two labels"),
        "--runner-group": (runner_group, workflow_files.WORD, "letters, digits, _ . and -"),
        "--environment": (environment, workflow_files.ENVIRONMENT, f"letters, digits, _ . and -, and {EACH_PROJECT}"),
        "--branch": (branch, workflow_files.BRANCH, "letters, digits, _ . - and /"),
        "--oidc-audience": (audience, workflow_files.AUDIENCE, "letters, digits, . _ : / and -"),
    }.items():
        if value and not form.fullmatch(value):
            raise InvalidError(f"{option} {value!r:.60} cannot stand in a workflow: {says}")
    return WorkflowOptions(
        file=file,
        action=action,
        runs_on=runs_on,
        runner_group=runner_group,
        environment=environment,
        branch=branch,
        oidc_audience=audience,
    )


def require_current(files: Mapping[Path, str], chosen: WorkflowOptions) -> None:
    stale = [str(path) for path, text in files.items() if written_text(path) != text]
    if stale:
        raise PreconditionError(f"not as they would be written: {', '.join(stale)}; run `{chosen.command}`")
    click.echo(f"{len(files)} workflows fit {chosen.file}")


def write_files(files: Mapping[Path, str]) -> None:
    for path, text in files.items():
        if written_text(path) == text:
            click.echo(f"{path} is as it was")
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InvalidError(f"{path} cannot be written: {error.strerror}") from error
        click.echo(f"{path} is written")
