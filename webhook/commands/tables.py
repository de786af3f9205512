"""Explanations and findings as tables, for a terminal or a pipe."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from model_contract.names import MODEL_VARIABLES
from webhook.decision import ModelImage
from webhook.doctor.findings import Finding, Health
from webhook.offline.explanation import ContainerFinding, ExplainedRule, Explanation
from webhook.offline.yaml_text import yaml_of
from webhook.reasons import Outcome

RULE_MARKS: Final = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}
HEALTH_MARKS: Final = {
    Health.GOOD: ("✓", "green"),
    Health.ODD: ("!", "yellow"),
    Health.BAD: ("✗", "red"),
    Health.UNKNOWN: ("?", "yellow"),
}
COLOURS: Final = {
    Outcome.INJECTED: "green",
    Outcome.UNCHANGED: "blue",
    Outcome.SKIPPED: "yellow",
    Outcome.DENIED: "red",
}


def show_findings(findings: Sequence[Finding]) -> None:
    """Print a row per finding, and below it what to do."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for finding in findings:
        mark, colour = HEALTH_MARKS[finding.health]
        table.add_row(Text(mark, style=colour), Text(finding.check), Text(finding.found, overflow="fold"))
        if finding.remedy:
            table.add_row("", "", Text(f"→ {finding.remedy}", style="bold", overflow="fold"))
    Console(highlight=False).print(table)


def show_explanation(explanation: Explanation) -> None:
    """Print the object, the decision, every rule, every container, and what the decision adds to the pod."""
    console = Console(highlight=False)
    console.print(Text(explanation.workload.title, style="bold"))
    sections = [_decision(explanation), _rules(explanation), *map(_container, explanation.containers)]
    for section in sections:
        if section.row_count:
            console.print()
            console.print(Padding(section, (0, 0, 0, 2), expand=False))
    for operation in explanation.decision.operations:
        _show_operation(operation, console)
    console.print()


def _rules(explanation: Explanation) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for rule in explanation.rules:
        mark, colour = RULE_MARKS[rule.passed]
        table.add_row(Text(mark, style=colour), _rule_title(rule))
        table.add_row("", Text(_condition(rule), style="dim", overflow="fold"))
    return table


def _rule_title(rule: ExplainedRule) -> Text:
    if rule.passed is None:
        return Text(rule.name) + Text("  (the file does not hold the labels of the namespace)", style="yellow")
    return Text(rule.name) + Text("" if rule.passed else f"  {rule.code} ({rule.rule})", style="red")


def _condition(rule: ExplainedRule) -> str:
    """Return the selector as the API server has it; for a match condition only the field, as CEL is hard to read."""
    return rule.where if rule.where == "matchConditions" else f"{rule.where}: {rule.text}"


def _container(finding: ContainerFinding) -> Table:
    """Return a table of the variables of one container, and its model."""
    table = Table(
        f"{finding.kind} {finding.name}", "", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim"
    )
    for variable in MODEL_VARIABLES:
        table.add_row(variable, _value(finding.variables[variable]))
    table.add_row("model", Text(finding.model, overflow="fold"))
    return table


def _value(value: str) -> Text:
    return Text(value, overflow="fold") if value else Text("not set", style="dim")


def _decision(explanation: Explanation) -> Table:
    decision, reason = explanation.decision, explanation.decision.reason
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row(Text("decision", style="dim"), Text(reason.outcome.value, style=f"bold {COLOURS[reason.outcome]}"))
    table.add_row(Text("because", style="dim"), f"{reason.value} (rule {reason.rule})")
    if decision.message:
        table.add_row(Text("it says", style="dim"), Text(decision.message))
    if decision.image:
        table.add_row(Text("image", style="dim"), Text(str(decision.image.reference), overflow="fold"))
        table.add_row("", _pinning(decision.image))
    for warning in decision.warnings:
        if warning != decision.message:
            table.add_row(Text("warning", style="dim"), Text(warning, style="yellow"))
    table.add_row(Text("what to do", style="dim"), Text(reason.remedy))
    return table


def _pinning(image: ModelImage) -> Text:
    if image.pinned:
        return Text(f"pinned by digest (from the {image.source})", style="green")
    return Text(f"only by tag (from the {image.source}): the registry decides which image it is", style="yellow")


def _show_operation(operation: Mapping[str, Any], console: Console) -> None:
    """Print one addition: its path, and its value as YAML without line breaks, so that it can be copied."""
    console.print()
    console.print(Text(f"  + {operation['path'].replace('~1', '/')}", style="green"), soft_wrap=True)
    text = yaml_of(operation["value"]).removesuffix("...\n").rstrip()
    indented = "\n".join(f"    {line}" for line in text.splitlines())
    console.print(Syntax("", "yaml", background_color="default").highlight(indented), soft_wrap=True, end="")
