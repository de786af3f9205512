"""The result of a plan: a table for people, an object for machines, a page and annotations for GitHub."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import click

from model_contract.model_ref import printable
from model_lifecycle.commands import report
from model_lifecycle.promotion.apply import Outcome
from model_lifecycle.promotion.preflight import Plan
from model_lifecycle.promotion.status import ModelStatus
from model_lifecycle.promotion.steps import Step

HEADINGS: Final = ("MODEL", "VERSION", "NOW", "THEN", "REPLACES", "ALIAS")
STATUS_HEADINGS: Final = ("MODEL", "PRODUCTION", "STAGING", "ALIASES", "STATE")


def planned(file: str, plan: Plan, form: str) -> None:
    """Print what would change, or why a promotion is not possible."""
    changes = len(plan.changes)
    title = (
        "cannot be promoted"
        if plan.blockers
        else f"{changes} of {len(plan.steps)} models would change"
        if changes
        else "nothing would change"
    )
    _print(file, plan, form, title, {"result": "planned" if not plan.blockers else "refused"})


def applied(file: str, plan: Plan, outcome: Outcome, form: str) -> None:
    """Print the result of a promotion. A model that could not be put back comes with the command that repairs it."""
    facts: dict[str, Any] = {"result": outcome.result.name.lower(), "fault": outcome.fault or None}
    failed = outcome.failed and outcome.failed.entry
    if outcome.fault:
        facts["failed"] = failed and {"model": failed.name, "version": failed.version}
        facts["left"] = [
            {"model": step.entry.name, "before": step.previous, "fault": fault} for step, fault in outcome.left
        ]
    _print(file, plan, form, outcome.result, facts)
    if not outcome.fault or form == "json":
        return
    say = report.error if form == "github" else lambda _, text: click.echo(text, err=True)
    say(file, f"{failed.name} version {failed.version}: {outcome.fault}" if failed else outcome.fault)
    for step, fault in outcome.left:
        say(file, f"{step.entry.name} could not be put back: {fault}; repair it with: {repair(step)}")


def statuses(found: Sequence[ModelStatus], form: str) -> None:
    """Print a line for each model, and below the lines each difference from the expected state."""
    if form == "json":
        click.echo(json.dumps([asdict(one) | {"aliases": dict(one.aliases)} for one in found], indent=2))
        return
    rows = [
        (
            printable(one.name),
            ", ".join(one.production) or "-",
            ", ".join(one.staging) or "-",
            ", ".join(f"{alias} {version}" for alias, version in one.aliases) or "-",
            "drift" if one.drift else "ok",
        )
        for one in found
    ]
    for line in _table([STATUS_HEADINGS, *rows]):
        click.echo(line)
    drifts = [f"{printable(one.name)}: {text}" for one in found for text in one.drift]
    for text in drifts:
        click.echo(text, err=True)
    if form == "github":
        report.summary(_markdown(STATUS_HEADINGS, rows) + "\n" + "".join(f"- {text}\n" for text in drifts))


def repair(step: Step) -> str:
    """Return the command that brings a model back to its former version."""
    model = f"--project {step.entry.project_id} --model={shlex.quote(step.entry.name)}"
    if step.previous is None:
        return f"model-api status {model}, and move version {step.entry.version} to {step.version.stage}"
    return f"model-api rollback {model} --to {step.previous}"


def _print(file: str, plan: Plan, form: str, title: str, facts: dict[str, Any]) -> None:
    if form == "json":
        blockers = [
            {
                "project": one.entry.project_id,
                "model": one.entry.name,
                "version": one.entry.version,
                "text": one.text,
                "exit_code": int(one.exit_code),
            }
            for one in plan.blockers
        ]
        click.echo(json.dumps({**facts, "steps": [_row(step) for step in plan.steps], "obstacles": blockers}, indent=2))
        return
    rows = [_cells(step) for step in plan.steps]
    click.echo(f"{file}: {title}")
    for line in _table([HEADINGS, *rows]) if rows else []:
        click.echo(f"  {line}")
    for blocker in plan.blockers:
        if form == "github":
            report.error(file, str(blocker))
        else:
            click.echo(f"{file}: {blocker}", err=True)
    if form == "github":
        problems = "".join(
            f"- **{printable(one.entry.name)}** version {one.entry.version}: {one.text}\n" for one in plan.blockers
        )
        report.summary(f"### `{file}`: {title}\n\n{_markdown(HEADINGS, rows)}\n{problems}")


def _row(step: Step) -> dict[str, Any]:
    return {
        "project": step.entry.project_id,
        "model": step.entry.name,
        "version": step.entry.version,
        "from": step.version.stage,
        "to": step.entry.stage,
        "replaces": step.previous,
        "archives": list(step.archives),
        "alias": step.entry.alias,
        "aliased": step.aliased,
        "digest": step.digest.digest,
        "changes": step.changes,
    }


def _cells(step: Step) -> tuple[str, ...]:
    then = "as it is" if not step.changes else "(alias)" if not step.moves else step.entry.stage
    alias = step.entry.alias + (f" {step.aliased or 'none'} → {step.entry.version}" if step.renames else "")
    return (
        printable(step.entry.name),
        step.entry.version,
        step.version.stage,
        then,
        ", ".join(step.archives) or "-",
        alias,
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [
        [heading.capitalize() for heading in headings],
        ["---"] * len(headings),
        *([cell.replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
