"""Text of a template: YAML in block style, with `{{ }}` for expressions and `{{- if }}` around choices."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import yaml

from helm_chart.choices import ABSENT, CLOSE, OPEN, Block, Choice, Entries, Raw

WIDTH: Final = 1 << 20  # no line is folded


def written(found: dict[str, Any]) -> str:
    """Return the object as the text of a template."""
    return "\n".join(mapping_lines(found, 0)) + "\n"


def escaped(text: str) -> str:
    """Return a text in which the braces of another template language stay as they are."""
    return text.replace("{{", '{{ "{{" }}')


def mapping_lines(found: dict[str, Any], indent: int) -> Iterator[str]:
    """Yield the lines of the entries; neighbours that depend on the same conditions share them."""
    for _, group in groupby(found.items(), key=lambda entry: conditions_of(entry[1])):
        entries = list(group)
        if isinstance(entries[0][1], Choice):
            yield from choice_lines(entries, indent)
            continue
        for key, value in entries:
            if isinstance(key, Entries):
                yield f"{' ' * indent}{{{{- with {key} }}}}"
                yield f"{' ' * indent}{{{{- toYaml . | nindent {indent} }}}}"
                yield f"{' ' * indent}{{{{- end }}}}"
            else:
                yield from entry_lines(key, value, indent)


def conditions_of(value: Any) -> tuple[str, ...]:
    return tuple(case.condition for case in value.cases) if isinstance(value, Choice) else ()


def choice_lines(entries: Sequence[tuple[str | None, Choice]], indent: int) -> Iterator[str]:
    """Yield the lines of fields that depend on the same conditions; an item of a list has no key."""
    margin, word, values = " " * indent, "if", [value.cases for _, value in entries]
    for cases in zip(*values, strict=True):
        lines = [
            line
            for (key, _), case in zip(entries, cases, strict=True)
            if case.value is not ABSENT
            for line in (item_lines(case.value, indent) if key is None else entry_lines(key, case.value, indent))
        ]
        condition = cases[0].condition
        if condition:
            yield f"{margin}{{{{- {word} {condition} }}}}"
        elif lines:
            yield f"{margin}{{{{- else }}}}"
        yield from lines
        word = "else if"
    yield f"{margin}{{{{- end }}}}"


def entry_lines(key: str, value: Any, indent: int) -> Iterator[str]:
    margin, name = " " * indent, scalar(key)
    if isinstance(value, Block):
        yield f"{margin}{name}:"
        yield f"{margin}  {{{{- {value.expression} | nindent {indent + 2} }}}}"
    elif isinstance(value, dict) and value:
        yield f"{margin}{name}:"
        yield from mapping_lines(value, indent + 2)
    elif isinstance(value, list) and value:
        yield f"{margin}{name}:"
        for item in value:
            yield from choice_lines([(None, item)], indent) if isinstance(item, Choice) else item_lines(item, indent)
    elif isinstance(value, str) and "\n" in value:
        yield f"{margin}{name}: {'|' if value.endswith(chr(10)) else '|-'}"
        yield from (f"{margin}  {line}".rstrip() for line in with_expressions(value.rstrip("\n")).split("\n"))
    elif key == "defaultMode":
        yield f"{margin}{name}: {value:04o}"
    else:
        yield f"{margin}{name}: {scalar(value)}"


def item_lines(item: Any, indent: int) -> Iterator[str]:
    margin = " " * indent
    if isinstance(item, Block):
        yield f"{margin}{{{{- {item.expression} | nindent {indent} }}}}"
        return
    if not isinstance(item, dict):
        yield f"{margin}- {scalar(item)}"
        return
    first = next(iter(item.values()))
    if isinstance(first, Choice):  # a line of a template cannot begin with the hyphen of the item
        yield f"{margin}-"
        yield from mapping_lines(item, indent + 2)
        return
    head, *others = mapping_lines(item, indent + 2)
    yield f"{margin}- {head.lstrip()}"
    yield from others


def scalar(value: Any) -> str:
    if isinstance(value, Raw):
        return f"{{{{ {value.expression} }}}}"
    if isinstance(value, str) and OPEN in value:
        return f'"{with_expressions(value, quoted=True)}"'
    text = yaml.safe_dump(value, width=WIDTH, allow_unicode=True, default_flow_style=True)
    return escaped(text.removesuffix("\n").removesuffix("\n..."))


def with_expressions(text: str, *, quoted: bool = False) -> str:
    """Return the text with its expressions in braces; if `quoted`, the rest is as in double quotes."""
    constant, *parts = text.split(OPEN)
    written_parts = [plain(constant, quoted)]
    for part in parts:
        inner, _, rest = part.partition(CLOSE)
        written_parts.append(f"{{{{ {inner} }}}}{plain(rest, quoted)}")
    return "".join(written_parts)


def plain(text: str, quoted: bool) -> str:
    return escaped(json.dumps(text, ensure_ascii=False)[1:-1] if quoted else text)
