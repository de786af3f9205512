"""Settings of an application: each one is declared once, as a field of a frozen dataclass.

The webhook, the runtime and the gate declare settings with `setting`. The variable, the command line's option, the
default, the check of a value and the tables of the documentation all come from that declaration; `setting_types` has
the types that several applications use. A setting never holds a secret: it names a file, which is read as a `Secret`.
But a person may write one into a setting of that kind, or into an address, so no error shows the value of a setting
that is declared `secret`.

The delivery declares none. It is told about MLflow by the variables of MLflow's own client (`tracking_credentials`,
`tls`), which depend on each other, and about the model by the four variables of the contract (`names`, `model_ref`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

from model_contract.model_ref import ContractError, shown

Settings = TypeVar("Settings")
NOTHING: Final[Mapping[str, str]] = {}
USER_INFO: Final = re.compile(r"//.*@", re.DOTALL)  # a password may hold any character, also a slash


class SettingError(ContractError):
    """A setting has a value that it cannot have. `key` is the variable, or the option of the command line.

    `value` is None if it is not shown, because it may be a secret.
    """

    def __init__(self, key: str, value: str | None, verdict: str) -> None:
        self.key = key
        given = "" if value is None else f"={shown(USER_INFO.sub('//***@', value))}"
        super().__init__(f"{key}{given}: {verdict}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A declared setting, as the parsers and the documentation use it."""

    name: str  # of the field
    variable: str
    option: str  # of the command line, if the application has options
    read: Callable[[str], Any]
    default: str | None  # as it is written in the variable; None for a setting that is required
    default_text: str  # the same for readers: a sentence if it is computed
    meaning: str
    example: str
    metavar: str
    several: bool  # the option may be repeated, the variable holds words
    secret: bool  # no error shows a value, which may be a token, a password, a key, or an address with one

    def value_of(self, text: str, key: str) -> Any:
        """Read the value from `text`. Raises SettingError with `key`, the source of the text."""
        try:
            return self.read(text)
        except ValueError as error:
            raise SettingError(key, None if self.secret else text, str(error)) from error


def setting(  # noqa: PLR0913  each is a part of a declaration
    meaning: str,
    *,
    read: Callable[[str], Any],
    default: str | None = "",
    default_text: str = "",
    example: str = "",
    variable: str = "",
    option: str = "",
    metavar: str = "VALUE",
    several: bool = False,
    secret: bool = False,
) -> Any:
    """Return the field of a dataclass that declares a setting.

    `read` turns text into the value; it raises ValueError with the verdict, such as "it must be a whole number". The
    default is read in the same way; None makes the setting required. The variable is the prefix and the field's name in
    capitals, and the option the field's name with hyphens, unless they are given. `secret` keeps values out of errors.
    """
    declaration = {
        "read": read,
        "default": default,
        "default_text": default_text or default or "",
        "meaning": meaning,
        "example": example,
        "variable": variable,
        "option": option,
        "metavar": metavar,
        "several": several,
        "secret": secret,
    }
    if default is None:
        return field(metadata=declaration)
    return field(default_factory=(lambda: ()) if several else (lambda: read(default)), metadata=declaration)


def settings_of(kind: type, *, prefix: str) -> tuple[Setting, ...]:
    """Return the settings that the dataclass `kind` declares, in their order."""
    return tuple(
        Setting(
            **{
                **declared.metadata,
                "name": declared.name,
                "variable": declared.metadata["variable"] or prefix + declared.name.upper(),
                "option": declared.metadata["option"] or f"--{declared.name.replace('_', '-')}",
            }
        )
        for declared in fields(kind)
        if "read" in declared.metadata
    )


def read_settings(
    kind: type[Settings],
    variables: Mapping[str, str],
    *,
    prefix: str,
    options: Mapping[str, str | None] = NOTHING,
    computed: Mapping[str, str] = NOTHING,
) -> Settings:
    """Return the settings: option > variable > computed default > declared default. Raises SettingError.

    `options` and `computed` have the names of fields as keys.
    """
    values = {}
    for declared in settings_of(kind, prefix=prefix):
        text, key = options.get(declared.name), declared.option
        if text is None:
            text, key = variables.get(declared.variable, computed.get(declared.name)), declared.variable
        if text is not None:
            values[declared.name] = declared.value_of(text, key)
    return kind(**values)
