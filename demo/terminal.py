"""The output of the demo: a numbered line per step, a few facts below it, and the time it took."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.tree import Tree


class Terminal:
    """Prints steps, notes and results; it does not know their meaning."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=False)
        self._numbers = count(1)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print a step: its title, the notes of the block, and the time it took."""
        started = time.monotonic()
        self.console.print(f"\n[bold blue]{next(self._numbers)}[/] [bold]{title}[/]", soft_wrap=True)
        yield
        self.console.print(f"  [dim]{time.monotonic() - started:.1f} s[/]")

    def note(self, text: str) -> None:
        self.console.print(f"  {text}", markup=False, soft_wrap=True)

    def line(self, line: str) -> str:
        """Print a line of a running command, and return it."""
        self.note(line.rstrip())
        return line

    def quote(self, line: str) -> None:
        self.console.print(f"    {line}", style="dim", markup=False, soft_wrap=True)

    def refusal(self, attempt: str, answer: str) -> None:
        """Print an attempt, and the answer that refused it, one sentence to a line."""
        first, *others = re.split(r"(?<=[.:]) (?=\D)", answer)
        self.console.print(f"  {attempt}\n    [yellow]refused[/] {escape(first)}", soft_wrap=True)
        for sentence in others:
            self.console.print(f"            {sentence}", markup=False, soft_wrap=True)

    def patch(self, operations: Sequence[Mapping[str, Any]]) -> None:
        """Print each operation in a line, and the command of the init container."""
        for operation in operations:
            self.console.print(
                f"  [green]+[/] {operation['path']}  [dim]{summary(operation['value'])}[/]", soft_wrap=True
            )
        for operation in operations:
            if operation["path"].startswith("/spec/initContainers"):
                self._container(
                    next(iter(operation["value"])) if isinstance(operation["value"], list) else operation["value"]
                )

    def _container(self, container: Mapping[str, Any]) -> None:
        shown = {key: container[key] for key in ("name", "image", "command", "args", "env")}
        text = yaml.safe_dump(shown, sort_keys=False, width=1000, default_flow_style=None)
        self.console.print(indent(text.rstrip(), " " * 4), style="dim", markup=False, soft_wrap=True)
        self.console.print(
            f"    # and its {', '.join(key for key in container if key not in shown)}",
            style="dim",
            markup=False,
            soft_wrap=True,
        )

    def files(self, directory: Path, *, label: str) -> None:
        """Print the files below `directory`, with their sizes."""
        tree = Tree(label)
        add_files(tree, directory)
        self.console.print(Padding(tree, (0, 0, 0, 2), expand=False))

    def checks(self, checks: Mapping[str, bool], *, seconds: float) -> None:
        """Print each check and its result."""
        self.console.print("\n[bold]What was checked[/]")
        for claim, holds in checks.items():
            self.console.print(f"  {'[green]✓[/]' if holds else '[bold red]✗[/]'} {claim}")
        verdict = "[bold green]Everything held[/]" if all(checks.values()) else "[bold red]Not everything held[/]"
        self.console.print(f"\n{verdict}, in {seconds:.0f} s.")

    def commands(self, commands: Mapping[str, str]) -> None:
        """Print commands to try while everything is left running."""
        self.console.print("\n[bold]Left running. To try, in another terminal:[/]")
        for purpose, command in commands.items():
            self.console.print(f"\n  [dim]# {purpose}[/]")
            self.console.print(f"  {command}", markup=False, soft_wrap=True)
        self.console.print("\nCtrl-C ends every process.")


def summary(value: Any) -> str:
    """Return the names of the objects that an operation adds, in one short line."""
    if isinstance(value, dict) and "name" not in value:
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    return ", ".join(item["name"] for item in (value if isinstance(value, list) else [value]))


def add_files(tree: Tree, directory: Path) -> None:
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            add_files(tree.add(f"{path.name}/"), path)
        else:
            tree.add(f"{path.name} [dim]{path.stat().st_size:,} bytes[/]")
