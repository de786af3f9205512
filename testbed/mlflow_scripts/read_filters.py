"""Read each line's `filter` as MLflow does. Run with an MLflow's own Python.

The answer tells if the filter finds a model and a version of that `name`, and how it was parsed.
"""

import json
import sys
import warnings
from types import SimpleNamespace
from typing import Any

warnings.simplefilter("ignore")

from mlflow.utils.search_utils import SearchModelUtils, SearchModelVersionUtils  # noqa: E402  its import warns

MATCHES: tuple[tuple[Any, Any], ...] = (
    (SearchModelUtils, SearchModelUtils._does_registered_model_match_clauses),
    (SearchModelVersionUtils, SearchModelVersionUtils._does_model_version_match_clauses),
)
for line in sys.stdin:
    asked = json.loads(line)
    item = SimpleNamespace(name=asked["name"], tags={}, current_stage="None")
    try:
        answer: dict[str, object] = {
            "found": [
                all(matches(item, part) for part in parser.parse_search_filter(asked["filter"]))
                for parser, matches in MATCHES
            ],
            "parsed": [
                [part["comparator"], part["value"]] for part in MATCHES[1][0].parse_search_filter(asked["filter"])
            ],
        }
    except Exception as error:  # noqa: BLE001  whatever MLflow raises is the answer
        answer = {"error": str(error)[:200]}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
