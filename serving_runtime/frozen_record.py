"""Frozen data that every request makes anew, a dozen of it: mypy sees to it that nobody assigns to a field.

Where Python sees to it too, each of them takes twice as long to make.
"""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

Class = TypeVar("Class")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def frozen_record(cls: type[Class]) -> type[Class]:
    return dataclass(slots=True, kw_only=True)(cls)
