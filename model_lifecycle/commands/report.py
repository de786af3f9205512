"""The output of commands: text for people, JSON for machines, annotations and a page for GitHub."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from model_contract.model_ref import printable
from model_lifecycle.promotion_file import Change, Problem, PromotionFile

FORMATS = ("text", "json", "github")


def problems(file: str, found: Sequence[Problem], form: str) -> None:
    """Print each mistake of a file."""
    if form == "json":
        click.echo(
            json.dumps(
                {"valid": False, "problems": [{"place": one.place, "text": one.text} for one in found]}, indent=2
            )
        )
    elif form == "github":
        for one in found:
            error(file, str(one))
        summary(f"### `{file}` cannot be used\n\n" + "".join(f"- `{one.place}` {one.text}\n" for one in found))
    else:
        for one in found:
            click.echo(f"{file}: {one}", err=True)


def valid(file: str, parsed: PromotionFile, changed: Sequence[Change] | None, form: str) -> None:
    """Print that a file has no mistakes, and what it changes if that is known."""
    if form == "json":
        rows = None if changed is None else [_row(change) for change in changed]
        click.echo(
            json.dumps(
                {"valid": True, "projects": [*parsed.projects], "entries": len(parsed.entries), "changes": rows},
                indent=2,
            )
        )
        return
    text = f"{file}: {_counted(len(parsed.projects), 'project')}, {_counted(len(parsed.entries), 'model')}"
    click.echo(text)
    lines = [_sentence(change) for change in changed or ()]
    for line in lines or (["nothing changes"] if changed is not None else []):
        click.echo(f"  {line}")
    if form == "github":
        summary(f"### {text}\n\n" + "".join(f"- {line}\n" for line in lines))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _row(change: Change) -> dict[str, str | None]:
    return {"project": change.project_id, "name": change.name, "before": change.before, "after": change.after}


def _sentence(change: Change) -> str:
    name = printable(change.name)  # a sign that turns the direction of the text would hide what a reviewer approves
    if change.after is None:
        return f"{name}: version {change.before} is no longer named; it keeps its stage"
    if change.before is None:
        return f"{name}: version {change.after}, which the file did not name before"
    if change.before == change.after:
        return f"{name}: version {change.after}, with another stage, alias or digest"
    return f"{name}: version {change.before} → {change.after}"


def error(file: str, text: str) -> None:
    """Print an annotation of the job, at a file."""
    place = _escaped(file).replace(":", "%3A").replace(",", "%2C")
    click.echo(f"::error file={place},title=Promotion::{_escaped(text)}")


def failed(text: str) -> None:
    """Print an annotation, and write the job's page: nothing was changed, and the reason."""
    click.echo(f"::error title=Promotion::{_escaped(text)}")
    summary(f"### Nothing was changed\n\n{text}")


def summary(markdown: str) -> None:
    """Add to the page of the job, if GitHub names one. A page that cannot be written does not end a promotion."""
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(path).open("a", encoding="utf-8") as page:
                page.write(markdown + "\n")
        except OSError as fault:
            click.echo(f"Warning: GITHUB_STEP_SUMMARY cannot be written: {fault.strerror}", err=True)


def _escaped(text: str) -> str:
    """Return the text with line ends and percent signs as GitHub's codes."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
