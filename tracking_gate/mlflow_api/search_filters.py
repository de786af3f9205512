"""Filters of MLflow's searches. Every filter of the gate's own questions is written here.

MLflow takes the text between two quotes as it stands and knows no escape, so a name with both kinds of quotes cannot be
written at all.
"""

import re
from collections.abc import Iterable
from typing import Final

# Characters that mean themselves between single quotes, for every MLflow and every database.
PLAIN: Final = re.compile(r"[^'\"\\`%\x00-\x1f\x7f]+")
# A version with this tag hides all versions of its model from a search that does not ask for it.
PROMPT_TAG: Final = "mlflow.prompt.is_prompt"
PROMPTS: Final = f"tags.`{PROMPT_TAG}` = 'true'"


def of_name(name: str) -> str:
    """Return a filter that finds the models or versions of this name. It may find others too: compare the names of the
    answer.
    """
    if PLAIN.fullmatch(name):
        return f"name='{name}'"
    return f"name LIKE '{re.sub(r'[^A-Za-z0-9 .-]+', '%', name)}'"


def of_names(names: Iterable[str]) -> str:
    """Return a filter of MLflow 3 that finds the models of these names, each of which is PLAIN. Raise ValueError for
    another name.
    """
    listed = list(names)
    if odd := [name for name in listed if not PLAIN.fullmatch(name)]:
        raise ValueError(f"a list of names cannot hold {odd[0]!r}")
    return "name IN ({})".format(",".join(f"'{name}'" for name in listed))


def of_logged_model(name: str, run_id: str) -> str | None:
    """Return a filter that finds the logged models that a run made under a name; None if MLflow allows no such name or
    run.
    """
    if not re.fullmatch(r"[^/:.%\"'\\`\x00-\x1f\x7f]+", name) or not re.fullmatch(r"[0-9A-Za-z_-]+", run_id):
        return None
    return f"name='{name}' AND source_run_id='{run_id}'"
