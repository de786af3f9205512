"""The promotion file, which names the version in Production of each model, by project.

For example `{"<project id>": [{"name": "wine", "version": 2}]}`. A file with a mistake is not used; all mistakes are
found at once, each with its place.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from model_contract.digest import DIGEST
from model_contract.model_ref import printable
from model_contract.names import PROJECT_ID_FORM, PROJECT_ID_PATTERN
from model_lifecycle.errors import InvalidError
from model_lifecycle.stages import PRODUCTION, PRODUCTION_ALIAS, STAGING

MOST_BYTES: Final = 1024 * 1024
LONGEST_NAME: Final = 256
STAGES: Final = (PRODUCTION, STAGING)
LFS_POINTER: Final = "version https://git-lfs.github.com/spec/"
CONFLICT_MARKER: Final = re.compile(r"^(?:<{7}|={7}|>{7})(?: |\r?$)", re.MULTILINE)
BYTE_ORDER_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
# Text that JSON does not have, but relatives of JSON do.
COMMENT: Final = re.compile(r"//|/\*|#")
TRAILING_COMMA: Final = re.compile(r",\s*$")
YAML: Final = re.compile(r"(?:#[^\n]*\n\s*|---\s+)*[\w-]+:\s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A version that is to be in `stage`, and behind `alias`: the stage's name if the file names no alias."""

    project_id: str
    name: str
    version: str
    stage: str = PRODUCTION
    alias: str = "production"
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A mistake in the file, and its place as a JSON path."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class PromotionFileError(InvalidError):
    """The file is not valid; `problems` has each mistake."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, problems)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionFile:
    """The entries of each project of the file, in its order; a project may have none."""

    projects: Mapping[str, tuple[Entry, ...]]

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(entry for entries in self.projects.values() for entry in entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A model's version in two files; None if a file does not have the model."""

    project_id: str
    name: str
    before: str | None
    after: str | None


def parse(content: bytes) -> PromotionFile:
    """Return the promotion file. Raises PromotionFileError."""
    document = _document(content)
    problems = list(_problems(document))
    if problems:
        raise PromotionFileError(problems)
    return PromotionFile(
        projects={
            project.lower(): tuple(_entry(project.lower(), raw) for raw in entries)
            for project, entries in document.items()
        }
    )


def changes(before: PromotionFile, after: PromotionFile) -> list[Change]:
    """Return the models that get another version, in the order of the new file; models that it lacks come last."""
    old = {(entry.project_id, entry.name): entry for entry in before.entries}
    new = {(entry.project_id, entry.name): entry for entry in after.entries}
    return [
        Change(project_id=key[0], name=key[1], before=_version(old.get(key)), after=_version(new.get(key)))
        for key in [*new, *(key for key in old if key not in new)]
        if old.get(key) != new.get(key)
    ]


def _version(entry: Entry | None) -> str | None:
    return entry.version if entry else None


def _of_file(text: str) -> PromotionFileError:
    """Return the error for a mistake of the whole file."""
    return PromotionFileError([Problem(place="$", text=text)])


def _document(content: bytes) -> dict[str, Any]:
    if len(content) > MOST_BYTES:
        raise _of_file(f"the file is too long: at most {MOST_BYTES} bytes are read")
    if content.startswith(BYTE_ORDER_MARKS):
        raise _of_file("the file begins with a byte order mark; save it as plain UTF-8")
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_no_constant)
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise _of_file(f"the file is not UTF-8 at byte {error.start}") from error
    except UnicodeEncodeError as error:
        raise _of_file("a text holds half of a surrogate pair") from error
    except json.JSONDecodeError as error:
        text = f"not JSON: {error.msg}{_advice(error.doc, error.pos)}"
        raise PromotionFileError([Problem(place=f"line {error.lineno}, column {error.colno}", text=text)]) from error
    except RecursionError as error:
        raise _of_file("the file is nested too deep") from error
    except ValueError as error:  # Python reads no number of more than 4,300 digits
        raise _of_file("a number has too many digits") from error
    if not isinstance(document, dict):
        raise _of_file('must be an object, such as {"<project id>": [{"name": "wine", "version": 2}]}')
    return document


def _advice(text: str, position: int) -> str:
    """Return what to do about text that is no JSON, if its cause is plain."""
    if CONFLICT_MARKER.search(text):
        return "; the file has the conflict markers of a git merge: resolve the conflict first"
    if not text.strip():
        return "; the file is empty"
    if text.startswith(LFS_POINTER):
        return (
            "; the file is a pointer of Git LFS: keep the promotion file in git itself, or fetch it with `git lfs pull`"
        )
    if YAML.match(text):
        return '; the file is YAML: write it as JSON, such as {"<project id>": [{"name": "wine", "version": 2}]}'
    if COMMENT.match(text, position):
        return "; JSON has no comments: remove the comment"
    if text[position : position + 1] == "'":
        return "; put texts and keys in double quotes"
    if text[position : position + 1] in {"}", "]"} and TRAILING_COMMA.search(text[:position]):
        return "; remove the comma before it"
    if not text[position : position + 1].isascii():
        return f"; the character U+{ord(text[position]):04X} stands there, which JSON takes only within a text"
    return ""


def _unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        double, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise _of_file(f"the key {json.dumps(double)[:60]} comes twice in one object")
    return found


def _no_constant(name: str) -> None:
    raise _of_file(f"{name} is not JSON")


def _problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    projects: dict[str, str] = {}
    places: dict[str, str] = {}
    for project, entries in document.items():
        place = f"$[{json.dumps(project)[:60]}]"
        if not re.fullmatch(PROJECT_ID_PATTERN, project.lower()):
            yield Problem(place=place, text=f"is no project id, which has {PROJECT_ID_FORM}")
        elif project.lower() in projects:
            yield Problem(place=place, text=f"is the same project as {projects[project.lower()]}")
        projects[project.lower()] = place
        if not isinstance(entries, list):
            yield Problem(place=place, text='must be a list, such as [{"name": "wine", "version": 2}]')
            continue
        for index, raw in enumerate(entries):
            yield from _problems_of_entry(f"{place}[{index}]", raw)
            name = raw.get("name") if isinstance(raw, dict) else None
            if isinstance(name, str) and name in places:
                yield Problem(
                    place=f"{place}[{index}].name", text=f"the model is also at {places[name]}; a model has one entry"
                )
            elif isinstance(name, str):
                places[name] = f"{place}[{index}]"


def _problems_of_entry(place: str, raw: object) -> Iterator[Problem]:
    if not isinstance(raw, dict):
        yield Problem(place=place, text='must be an object, such as {"name": "wine", "version": 2}')
        return
    for key, value in raw.items():
        if key not in FIELDS:
            name = printable(key[:60])
            yield Problem(place=f"{place}.{name}", text=f"is not known; an entry has {', '.join(FIELDS)}")
        elif not FIELDS[key].accepts(value):
            yield Problem(place=f"{place}.{key}", text=f"must be {FIELDS[key].expected}")
    # Clients find the version that serves by this alias, and a move to Staging checks less.
    if raw.get("stage") == STAGING and str(raw.get("alias")).lower() == PRODUCTION_ALIAS:
        yield Problem(place=f"{place}.alias", text="is the alias of Production, and the stage is Staging")
    for key in ("name", "version"):
        if key not in raw:
            yield Problem(place=place, text=f"{key} is missing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A key of an entry."""

    accepts: Callable[[object], bool]
    expected: str
    schema: Mapping[str, Any]


def _matches(pattern: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


NAME: Final = rf"[^/:\x00-\x1f\x7f-\x9f]{{1,{LONGEST_NAME}}}"
VERSION: Final = r"[1-9][0-9]{0,9}"
ALIAS: Final = r"(?![lL][aA][tT][eE][sS][tT]$|[vV][0-9]+$)[A-Za-z0-9_-]{1,255}"
FIELDS: Final[Mapping[str, Field]] = {
    "name": Field(
        accepts=_matches(NAME),
        expected=f"a model's name: 1 to {LONGEST_NAME} characters, without / : and control characters",
        schema={"type": "string", "pattern": rf"^{NAME}$"},
    ),
    "version": Field(
        accepts=lambda value: type(value) in {int, str} and re.fullmatch(VERSION, str(value)) is not None,
        expected='a positive number, such as 2 or "2"',
        schema={
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 9_999_999_999},
                {"type": "string", "pattern": rf"^{VERSION}$"},
            ]
        },
    ),
    "stage": Field(accepts=lambda value: value in STAGES, expected=" or ".join(STAGES), schema={"enum": [*STAGES]}),
    "alias": Field(
        accepts=_matches(ALIAS),
        expected="1 to 255 letters, digits, _ and -, but not latest, or v and a number: MLflow has no such alias",
        schema={"type": "string", "pattern": rf"^{ALIAS}$"},
    ),
    "digest": Field(
        accepts=_matches(DIGEST.pattern),
        expected="sha256: and 64 hexadecimal digits in lower case",
        schema={"type": "string", "pattern": rf"^{DIGEST.pattern}$"},
    ),
}


def _entry(project_id: str, raw: Mapping[str, Any]) -> Entry:
    stage = raw.get("stage", PRODUCTION)
    return Entry(
        project_id=project_id,
        name=raw["name"],
        version=str(raw["version"]),
        stage=stage,
        alias=raw.get("alias", stage.lower()),
        digest=raw.get("digest"),
    )


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors.

    It cannot say that a model has one entry only, and that `production` is no alias of Staging; `parse` checks that.
    """
    entry = {
        "type": "object",
        "properties": {name: dict(field.schema) for name, field in FIELDS.items()},
        "required": ["name", "version"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Models that are to be in Production, by project",
        "type": "object",
        "propertyNames": {"pattern": f"^{PROJECT_ID_PATTERN.replace('a-z', 'a-zA-Z')}$"},
        "additionalProperties": {"type": "array", "items": entry},
    }
