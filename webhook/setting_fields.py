"""How a frozen dataclass of settings is declared, read from variables, and listed for the documentation."""

import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Final, TypeVar

Settings = TypeVar("Settings")
# Kubernetes describes every Service of the namespace to a container; one named like our prefix looks like settings of
# ours.
SERVICE_LINK: Final = re.compile(r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")
USER_INFO: Final = re.compile(r"//[^/]*@")


class SettingsError(ValueError):
    """A setting that cannot be used: its variable, its value (without a password in an address) and the verdict."""

    def __init__(self, key: str, value: str, verdict: str) -> None:
        self.key = key
        super().__init__(f'{key}="{USER_INFO.sub("//***@", value)}": {verdict}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the documentation."""

    variable: str
    meaning: str
    default: str
    example: str


def setting(meaning: str, *, read: Callable[[str], Any], default: str = "", example: str = "") -> Any:
    """A field that is read by `read` from its variable, or from `default`, written as one would write it in the
    variable.

    `read` raises ValueError with the verdict where the text does not do.
    """
    metadata = {"meaning": meaning, "default": default, "example": example, "read": read}
    return field(default_factory=lambda: read(default), metadata=metadata)


def read_settings(
    kind: type[Settings], values: Mapping[str, str], *, prefix: str, not_ours: str | None = None
) -> Settings:
    """All fields of the dataclass `kind` from the variables that begin with `prefix`.

    Raises SettingsError for a value that does not do, and for a variable that has the prefix and is no setting: it is a
    misspelt one. Variables that begin with `not_ours` belong to another dataclass.
    """
    declared = {variable_of(declared, prefix): declared for declared in settings_of(kind)}
    ours = [key for key in values if key.startswith(prefix) and not (not_ours and key.startswith(not_ours))]
    given = {
        key: values[key]
        for key in sorted(ours)
        if key in declared or not SERVICE_LINK.fullmatch(key.removeprefix(prefix))
    }
    if unknown := next((key for key in given if key not in declared), None):
        nearest = get_close_matches(unknown, declared, n=1, cutoff=0)[0]
        raise SettingsError(unknown, given[unknown], f"there is no such setting; the nearest is {nearest}")
    return kind(**{declared[key].name: _read(declared[key], key, value) for key, value in given.items()})


def entries(kind: type, *, prefix: str) -> list[Entry]:
    """What the documentation lists, in the order of declaration."""
    return [
        Entry(
            variable=variable_of(declared, prefix),
            meaning=declared.metadata["meaning"],
            default=declared.metadata["default"],
            example=declared.metadata["example"],
        )
        for declared in settings_of(kind)
    ]


def settings_of(kind: type) -> list[Field[Any]]:
    return [declared for declared in fields(kind) if "read" in declared.metadata]


def variable_of(declared: Field[Any], prefix: str) -> str:
    return prefix + declared.name.upper()


def _read(declared: Field[Any], key: str, value: str) -> Any:
    try:
        return declared.metadata["read"](value)
    except ValueError as error:
        raise SettingsError(key, value, str(error)) from error
