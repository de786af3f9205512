"""The doctor's findings as a table."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from webhook.doctor.findings import Finding, Health

MARKS: Final = {
    Health.GOOD: ("✓", "green"),
    Health.ODD: ("!", "yellow"),
    Health.BAD: ("✗", "red"),
    Health.UNKNOWN: ("?", "yellow"),
}


def show(findings: Sequence[Finding], console: Console) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    for finding in findings:
        mark, colour = MARKS[finding.health]
        table.add_row(Text(mark, style=colour), Text(finding.check), Text(finding.found, overflow="fold"))
        if finding.remedy:
            table.add_row("", "", Text(f"→ {finding.remedy}", style="bold", overflow="fold"))
    console.print(table)
