"""The reference to the model of a pod: four variables, which every application validates in the same way."""

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final

from model_contract.exit_codes import ExitCode
from model_contract.names import MODEL_NAME, MODEL_OWNER, MODEL_VARIABLES, MODEL_VERSION, RUN_ID

SHOWN_CHARACTERS: Final = 40  # of a refused value: enough to recognise it, too little to fill a log with


class ContractError(ValueError):
    """A variable, an option or a file does not fit the contract. The message says what to set."""

    exit_code: ClassVar[ExitCode] = ExitCode.INVALID_INPUT


class InvalidVariableError(ContractError):
    """A variable has a value that no model can have. `code` is the rule's, `variable` the variable's name."""

    def __init__(self, rule: "Rule", value: str) -> None:
        self.variable = rule.variable
        self.code = rule.code
        super().__init__(f"{rule.variable} is {shown(value)}: {rule.fault(value)}; it must be {rule.expected}")


class IncompleteVariablesError(ContractError):
    """Some of the variables are missing or empty, which is the same."""

    def __init__(self, missing: tuple[str, ...], *, alternative: str | None = None) -> None:
        self.missing = missing
        verb = "is" if len(missing) == 1 else "are"
        remedy = f"set {'it' if len(missing) == 1 else 'them'}" + (f", or set {alternative}" if alternative else "")
        super().__init__(f"{', '.join(missing)} {verb} not set; {remedy}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The form of one variable's value."""

    variable: str
    code: str
    pattern: re.Pattern[str]
    longest: int
    forbidden: tuple[str, ...]
    expected: str

    def accepts(self, value: str) -> bool:
        """Return True if the value has the form."""
        return self.pattern.fullmatch(value) is not None and not self._forbidden_in(value)

    def fault(self, value: str) -> str:
        """Return the reason for a refusal in a few words, which hold nothing of the value but single characters."""
        if not value:
            return "it is empty"
        if len(value) > self.longest:
            return f"it has {len(value)} characters, more than {self.longest}"
        if "$(" in value:
            return "it holds a reference $(...) that nothing resolves"
        if forbidden := self._forbidden_in(value):
            return f"it holds {json.dumps(forbidden)}"
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
            return "it holds a control character"
        if not value.isascii():
            return "it holds a character outside ASCII"
        return "it has another form"

    def _forbidden_in(self, value: str) -> str | None:
        return next((part for part in self.forbidden if part in value), None)


RULES: Final = {
    rule.variable: rule
    for rule in (
        Rule(
            variable=MODEL_OWNER,
            code="invalid_owner",
            pattern=re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,126}[A-Za-z0-9])?"),
            longest=128,
            forbidden=("..", "/", ":", " "),
            expected=(
                "one path component of letters, digits and . _ @ + - between a letter or digit at each end, such as"
                ' "jane.doe"'
            ),
        ),
        Rule(
            variable=RUN_ID,
            code="invalid_run_id",
            pattern=re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"),
            longest=64,
            forbidden=("..", "/", ":", " "),
            expected='the id of an MLflow run, 32 hexadecimal digits, such as "5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5"',
        ),
        Rule(
            variable=MODEL_VERSION,
            code="invalid_model_version",
            pattern=re.compile(r"[0-9]{1,9}"),
            longest=9,
            forbidden=(),
            expected='a version number of the registered model, such as "2"',
        ),
        Rule(
            variable=MODEL_NAME,
            code="invalid_model_name",
            # Lone surrogates come through JSON escapes and cannot be encoded again, so they are refused like control
            # characters.
            pattern=re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,256}"),
            longest=256,
            forbidden=("/", ":"),
            expected=(
                "the name of a registered model, at most 256 characters without / : and control characters, such as"
                ' "wine-quality"'
            ),
        ),
    )
}
MLFLOW_RUN_ID_PATTERN: Final = re.compile(r"[0-9a-f]{32}")


def shown(value: str) -> str:
    """Return a refused value as an error shows it: quoted, escaped to ASCII, cut."""
    return json.dumps(value[:SHOWN_CHARACTERS] + ("..." if len(value) > SHOWN_CHARACTERS else ""))


def printable(text: str) -> str:
    """Return a text with its control characters escaped: a terminal would obey them."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


@lru_cache(maxsize=1024)  # of a rollout all pods have the same; what is refused is not kept
def validate(variable: str, value: str) -> str:
    """Return the value of one of the four variables. Raises InvalidVariableError if it is malformed."""
    rule = RULES[variable]
    if not rule.accepts(value):
        raise InvalidVariableError(rule, value)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """One version of one registered model, and the run that made it. Every field has been validated."""

    name: str
    version: str
    owner: str
    run_id: str

    def __post_init__(self) -> None:
        validate(MODEL_OWNER, self.owner)
        validate(RUN_ID, self.run_id)
        validate(MODEL_VERSION, self.version)
        validate(MODEL_NAME, self.name)

    @classmethod
    def from_variables(cls, values: Mapping[str, str]) -> "ModelRef | None":
        """Return the reference if all four variables are set, None if none is.

        Raises IncompleteVariablesError if only some are set, InvalidVariableError if one is malformed.
        """
        missing = tuple(name for name in MODEL_VARIABLES if not values.get(name))
        if len(missing) == len(MODEL_VARIABLES):
            return None
        if missing:
            raise IncompleteVariablesError(missing)
        return cls(
            name=values[MODEL_NAME], version=values[MODEL_VERSION], owner=values[MODEL_OWNER], run_id=values[RUN_ID]
        )

    def variables(self) -> dict[str, str]:
        """Return the four variables with their values."""
        return {MODEL_NAME: self.name, MODEL_OWNER: self.owner, MODEL_VERSION: self.version, RUN_ID: self.run_id}
