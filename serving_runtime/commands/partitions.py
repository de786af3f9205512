"""Partitions of a data set: columns in the names of its directories, such as `day=2024-01-31`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt, ne
from typing import Final
from urllib.parse import unquote

from serving_runtime.commands.cli_errors import InputFileError

Partitions = Mapping[str, str | None]
"""The value of each column in the directories of a file; None is a null."""

NULL: Final = "__HIVE_DEFAULT_PARTITION__"
OPERATORS: Final = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
CONDITION: Final = re.compile(r"\s*([^=!<>]*[^=!<>\s])\s*(<=|>=|!=|=|<|>)\s*([^=!<>](?:.*\S)?)\s*")
NUMBER: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]+)?")


def partitions_of(directories: Sequence[str]) -> Partitions:
    """Return the columns in the names of the directories."""
    pairs = (name.partition("=") for name in directories)
    return {
        unquote(name): None if value == NULL else unquote(value) for name, equals, value in pairs if name and equals
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A comparison of a partition's value: of numbers if both are numbers, else of texts. A null meets none."""

    name: str
    operator: str
    value: str

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Read `day>=2024-01-31`. Raises ValueError."""
        found = CONDITION.fullmatch(text)
        if found is None:
            raise ValueError
        return cls(name=found[1], operator=found[2], value=found[3])

    def meets(self, partitions: Partitions, file: object) -> bool:
        """Return True if the file is of such a partition. Raises InputFileError if it has no partition of the name."""
        if self.name not in partitions:
            known = ", ".join(sorted(partitions)) or "none"
            raise InputFileError(
                f'--where names the partition "{self.name}", which the directories of {file} do not have'
                f" (they have: {known})"
            )
        value = partitions[self.name]
        if value is None:
            return False
        if NUMBER.fullmatch(value) and NUMBER.fullmatch(self.value):
            return bool(OPERATORS[self.operator](float(value), float(self.value)))
        return bool(OPERATORS[self.operator](value, self.value))
