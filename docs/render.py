"""Writes the tables of the docs that are said in code, so that neither can say something else: `python docs/render.py [--check]`.

A table stands between `<!-- table: name -->` and `<!-- end -->`.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from serving_runtime.server.settings import OPTIONS
from webhook.reasons import Reason
from webhook.selection import rules
from webhook.server.settings import ServerSettings
from webhook.setting_fields import entries
from webhook.settings import PREFIX, SERVER_PREFIX, Settings

DOCS: Final = Path(__file__).parent
TABLE: Final = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Writes the tables of the docs that are said in code.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a page is not as it would be written")
    check = parser.parse_args(argv).check
    stale = [
        page for page in sorted(DOCS.glob("**/*.md")) if (text := page.read_text()) != rendered(text) and not written(page, text, check)
    ]
    for page in stale:
        sys.stderr.write(f"{page.relative_to(DOCS.parent)} is not as the code says; run `make render`\n")
    return 1 if stale else 0


def written(page: Path, text: str, check: bool) -> bool:
    if not check:
        page.write_text(rendered(text))
    return not check


def rendered(text: str) -> str:
    return TABLE.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    cells = [header, ["---"] * len(header), *lines]
    return "".join(f"| {' | '.join(map(escaped, line))} |\n" for line in cells)


def escaped(text: str) -> str:
    """A bar would end its cell, in code as well."""
    return text.replace("|", "\\|")


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def reasons() -> str:
    lines = [[reason.rule, code(reason.value), reason.outcome.value, reason.remedy] for reason in Reason]
    return table(["rule", "code", "outcome", "what to do"], lines)


def selection() -> str:
    return table(["rule", "where", "must hold"], ([rule.name, code(rule.part.value), code(rule.text)] for rule in rules("domino-platform")))


def settings_table(kind: type, prefix: str) -> str:
    lines = ([code(entry.variable), entry.meaning, code(entry.default or entry.example)] for entry in entries(kind, prefix=prefix))
    return table(["variable", "meaning", "default, or an example"], lines)


def runtime_settings() -> str:
    lines = ([code(option.flag), code(option.variable), option.meaning, option.default] for option in OPTIONS)
    return table(["flag", "variable", "meaning", "default"], lines)


TABLES: Final[dict[str, Callable[[], str]]] = {
    "reasons": reasons,
    "runtime-settings": runtime_settings,
    "selection": selection,
    "webhook-settings": lambda: settings_table(Settings, PREFIX),
    "webhook-server-settings": lambda: settings_table(ServerSettings, SERVER_PREFIX),
}

if __name__ == "__main__":
    sys.exit(main())
