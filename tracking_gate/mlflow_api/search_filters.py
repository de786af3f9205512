"""Filters of MLflow's searches: those of the gate's own lookups, and those that a token may send.

MLflow takes the text between two quotes as it is and knows no escape, so that a name with both kinds of quotes cannot
be written at all.
"""

import re
from collections.abc import Iterable
from typing import Final

from model_contract.names import PROJECT_ID_PATTERN, TAG_PROJECT_ID
from tracking_gate.errors import Forbidden, InvalidRequest

# Characters that mean themselves between single quotes, for every MLflow and every database.
PLAIN: Final = re.compile(r"[^'\"\\`%\x00-\x1f\x7f]+")
# A version with this tag hides all versions of its model from a search that does not ask for it.
PROMPT_TAG: Final = "mlflow.prompt.is_prompt"
PROMPTS: Final = f"tags.`{PROMPT_TAG}` = 'true'"
# Names that MLflow's parser of filters cannot read otherwise, and the filters that name models and nothing else.
MODEL_NAME: Final = r"'[^'\"\\`%\x00-\x1f\x7f]+'"
NAME_WITH_QUOTE: Final = r"\"[^\"\\`%\x00-\x1f\x7f]*'[^\"\\`%\x00-\x1f\x7f]*\""
OF_MODELS: Final = re.compile(rf"name=({MODEL_NAME}|{NAME_WITH_QUOTE})|name IN \(({MODEL_NAME}(?:,{MODEL_NAME})*)\)")
OF_PROJECT: Final = re.compile(rf"tags\.`{re.escape(TAG_PROJECT_ID)}` = '({PROJECT_ID_PATTERN})'")
BY_NAME: Final = (
    "filter must be name='...' or name IN ('...','...') with the names of models, "
    f"or tags.`{TAG_PROJECT_ID}` = '...' with the id of the project"
)


def of_name(name: str) -> str:
    """Return a filter that finds the models or versions of a name, and maybe others: compare the answer's names."""
    if PLAIN.fullmatch(name):
        return f"name='{name}'"
    return f"name LIKE '{re.sub(r'[^A-Za-z0-9 .-]+', '%', name)}'"


def of_names(names: Iterable[str]) -> str:
    """Return a filter of MLflow 3 that finds the models of these names. Raises ValueError if one is not PLAIN."""
    listed = list(names)
    if odd := [name for name in listed if not PLAIN.fullmatch(name)]:
        raise ValueError(f"a list of names cannot hold {odd[0]!r}")
    return "name IN ({})".format(",".join(f"'{name}'" for name in listed))


def of_logged_model(name: str, run_id: str) -> str | None:
    """Return a filter that finds a run's logged models with a name; None if MLflow allows no such name or run."""
    if not re.fullmatch(r"[^/:.%\"'\\`\x00-\x1f\x7f]+", name) or not re.fullmatch(r"[0-9A-Za-z_-]+", run_id):
        return None
    return f"name='{name}' AND source_run_id='{run_id}'"


def project_of_filter(filter_: str) -> str | None:
    """Return the project if a token's filter names the tag of a project and nothing else; None for any other."""
    found = OF_PROJECT.fullmatch(filter_)
    return found[1] if found else None


def models_of_filter(filter_: str) -> frozenset[str]:
    """Return the names of models that a token's filter names, if MLflow cannot read the filter in another way.

    Raises Forbidden without a filter, InvalidRequest for any other.
    """
    if not filter_:
        raise Forbidden(f"a token does not search everything: {BY_NAME}")
    found = OF_MODELS.fullmatch(filter_)
    if not found:
        raise InvalidRequest(f"for a token, {BY_NAME}")
    if found[1]:
        return frozenset({found[1][1:-1]})
    return frozenset(name[1:-1] for name in re.findall(MODEL_NAME, found[2]))
