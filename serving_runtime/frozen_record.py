"""Frozen data classes for the dozen records that every request makes anew.

mypy sees to it that no field is assigned to. With `frozen=True` Python does so too, and each takes twice as long to
make.
"""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

Class = TypeVar("Class")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def frozen_record(cls: type[Class]) -> type[Class]:
    return dataclass(slots=True, kw_only=True)(cls)
