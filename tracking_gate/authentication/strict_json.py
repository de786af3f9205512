"""Objects of a JSON file that a person writes: every key is known and stands once, every value has its type."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Scalar = str | int | bool


class StrictObject:
    """An object whose fields are taken one by one; `end` refuses those that are left. Errors name the place."""

    def __init__(self, fields: object, place: str) -> None:
        self._place = place
        if not isinstance(fields, dict):
            raise ValueError(f"{place or 'the file'} must be an object")  # noqa: TRY004  one kind of error for a file
        self._fields = dict(fields)

    def fault(self, name: str, verdict: str) -> ValueError:
        """Return the error for a field, or for the object if `name` is empty."""
        return ValueError(f"{self._at(name) if name else self._place} {verdict}")

    def text(self, name: str) -> str:
        """Return a text that must be there and not empty."""
        if name not in self._fields:
            raise self.fault(name, "is missing")
        return self.optional_text(name) or ""

    def optional_text(self, name: str) -> str | None:
        if name not in self._fields:
            return None
        value = self._fields.pop(name)
        if not isinstance(value, str) or not value.strip():
            raise self.fault(name, "must be a text that is not empty")
        return value

    def texts(self, name: str) -> Sequence[str]:
        value = self._fields.pop(name, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.fault(name, "must be a list of texts")
        return value

    def values(self, name: str) -> Mapping[str, Scalar]:
        value = self._fields.pop(name, {})
        if not isinstance(value, dict) or not all(isinstance(one, Scalar) and one != "" for one in value.values()):
            raise self.fault(name, "must be an object of texts, whole numbers, true and false")
        return value

    def objects(self, name: str) -> Sequence["StrictObject"]:
        value = self._fields.pop(name, None)
        if not isinstance(value, list):
            raise self.fault(name, "must be a list of objects")
        return [StrictObject(one, f"{self._at(name)}[{number}]") for number, one in enumerate(value)]

    def optional_object(self, name: str) -> "StrictObject | None":
        return StrictObject(self._fields.pop(name), self._at(name)) if name in self._fields else None

    def end(self) -> None:
        """Refuse a field that was not taken: it is misspelt."""
        if left := sorted(self._fields):
            raise self.fault(left[0], "is not known")

    def _at(self, name: str) -> str:
        return f"{self._place}.{name}" if self._place else name


def object_of(text: bytes) -> StrictObject:
    """Return the object of a file. Raises ValueError."""
    try:
        document = json.loads(text, object_pairs_hook=unique_keys)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return StrictObject(document, "")


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON from its members. Raises ValueError for a key that comes twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name!r:.60} stands twice in one object")
        found[name] = value
    return found
