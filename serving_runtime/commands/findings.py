"""Findings of `check`, for a person and for a program."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from model_contract.exit_codes import ExitCode
from serving_runtime.commands import lazy


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Result of one check. `remedy` is advice to the user; `code` is the exit code if the check failed."""

    check: str
    verdict: Verdict
    text: str
    remedy: str = ""
    code: ExitCode = ExitCode.DONE


COLOURS: Final = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "bold red", Verdict.SKIPPED: "dim"}


def end(findings: Sequence[Finding]) -> ExitCode:
    """Return the code of the first failure, because later failures may follow from it."""
    return next((finding.code for finding in findings if finding.verdict is Verdict.FAILED), ExitCode.DONE)


def as_json(findings: Sequence[Finding], model: str) -> str:
    checks = [{**asdict(finding), "code": int(finding.code)} for finding in findings]
    return json.dumps(
        {"model": model, "ok": end(findings) is ExitCode.DONE, "exit_code": int(end(findings)), "checks": checks},
        indent=2,
    )


def show(findings: Sequence[Finding], model: str) -> None:
    """Print a table at a terminal, or one line for each finding in a pipe."""
    if sys.stdout.isatty():
        _table(findings, model)
        return
    for finding in findings:
        print(f"{finding.verdict:<8} {finding.check:<10} {finding.text}")
        if finding.remedy:
            print(f"{'':<19} {finding.remedy}")


def _table(findings: Sequence[Finding], model: str) -> None:
    table = lazy.table.Table(title=model, title_justify="left", box=None, pad_edge=False, show_header=False)
    for finding in findings:
        text = lazy.text.Text(finding.text)
        if finding.remedy:
            text.append(f"\n{finding.remedy}", style="cyan")
        table.add_row(
            lazy.text.Text(finding.verdict, style=COLOURS[finding.verdict]), lazy.text.Text(finding.check), text
        )
    lazy.console.Console().print(table)
