"""YAML as kubectl reads it, and written so that kubectl reads the same values.

kubectl reads YAML 1.1, but not as PyYAML does: dates and times of day (22:22) stay texts, `y` and `yes` are booleans,
1e3 is a number, 0o17 and 09 are numbers too.
"""

import math
import re
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, Final

import yaml

RESOLVED: Final = (
    ("bool", r"y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    (
        "int",
        r"[-+]?(?:0[bB][01_]*[01][01_]*|0[xX][0-9a-fA-F_]*[0-9a-fA-F][0-9a-fA-F_]*|0[oO][0-7_]*[0-7][0-7_]*|0[0-7_]*"
        r"|[1-9][0-9_]*)",
        "-+0123456789",
    ),
    ("float", r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9][0-9_]*)?", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("merge", r"<<", "<"),
)
TEXT: Final = "tag:yaml.org,2002:str"
MERGE: Final = "tag:yaml.org,2002:merge"
BASES: Final = {"0b": 2, "0o": 8, "0x": 16}
LINE_BREAKS: Final = re.compile("[\x85\u2028\u2029]")  # of YAML 1.1; a text without quotes would lose them


class ManifestLoader(yaml.SafeLoader):
    """A safe loader that refuses a key which comes twice."""

    yaml_implicit_resolvers: Any = {}  # noqa: RUF012  yaml's own way to say what a plain word is

    def scan_to_next_token(self) -> None:
        """Skip white space between two tokens, tabs too if no indentation can begin there."""
        super().scan_to_next_token()
        while self.peek() == "\t" and (self.flow_level or not self.allow_simple_key):
            self.forward()
            super().scan_to_next_token()

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node. Its anchor may have the name of an earlier one, which it hides from here on."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(event.anchor, None)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping with texts as keys: as values of Python, the keys `true` and `1` would be one."""
        seen: dict[str, yaml.Node] = {}
        merges, before_merge = 0, dict(seen)
        for key, _ in node.value:
            if (text := self._key(key).value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {text} comes twice", key.start_mark)
            if key.tag == MERGE:
                merges, before_merge = 1, dict(seen)
            seen[text] = key
        own = len(node.value) - merges
        self.flatten_mapping(node)  # puts the merged keys first
        node.value = [(self._key(key), value) for key, value in node.value]
        self._check_merged({key.value for key, _ in node.value[: len(node.value) - own]}, before_merge)
        return super().construct_mapping(node, deep)

    def _check_merged(self, merged: Collection[str], before: Mapping[str, yaml.Node]) -> None:
        """Raise ConstructorError for a key before a `<<` that has it too: kubectl takes that one, kustomize the key."""
        for text, key in before.items():
            if text in merged:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {text} comes again from <<; put << first", key.start_mark
                )

    def _key(self, node: yaml.Node) -> yaml.ScalarNode:
        """Return the key as a text, the one that kubectl makes of a number or a boolean."""
        if not isinstance(node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "the key is no text", node.start_mark)
        if node.tag in {TEXT, MERGE}:
            return node
        value = self.construct_object(node)
        text = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
        if value is None or (isinstance(value, float) and float(text) != value):
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {node.value} is no text; write it in quotes", node.start_mark
            )
        return yaml.ScalarNode(TEXT, str(text), node.start_mark, node.end_mark)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = str(self.construct_scalar(node)).replace("_", "").lower()
        digits = text.lstrip("-+")
        number = int(digits, BASES.get(digits[:2]) or (8 if digits.startswith("0") else 10))
        return -number if text.startswith("-") else number

    def construct_number(self, node: yaml.ScalarNode) -> float | str:
        text = str(self.construct_scalar(node))
        number = float(text.replace("_", ""))
        return number if math.isfinite(number) else text  # 1e400 is a text

    def construct_yaml_bool(self, node: yaml.ScalarNode) -> bool:
        return str(self.construct_scalar(node)).lower() in {"y", "yes", "true", "on"}


class Dumper(yaml.SafeDumper):
    """Writes block style, as kubectl does, without YAML aliases."""

    def ignore_aliases(self, _: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = '"' if LINE_BREAKS.search(text) else None
        return self.represent_scalar(TEXT, text, style)


for tag, pattern, first in RESOLVED:
    name, resolved = f"tag:yaml.org,2002:{tag}", re.compile(rf"(?:{pattern})\Z")
    ManifestLoader.add_implicit_resolver(name, resolved, list(first))
    Dumper.add_implicit_resolver(name, resolved, list(first))  # a text that looks like one of these gets quotes
ManifestLoader.add_constructor("tag:yaml.org,2002:bool", ManifestLoader.construct_yaml_bool)
ManifestLoader.add_constructor("tag:yaml.org,2002:int", ManifestLoader.construct_yaml_int)
ManifestLoader.add_constructor("tag:yaml.org,2002:float", ManifestLoader.construct_number)
Dumper.add_representer(str, Dumper.represent_text)


def as_yaml(contents: Iterable[Mapping[str, Any]]) -> str:
    """Return the objects as a YAML stream."""
    return "---\n".join(map(yaml_of, contents))


def yaml_of(content: object) -> str:
    """Return the value as one YAML document."""
    text: str = yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return text
