"""Patterns of MLflow's paths, as the tables write them.

`API` stands for `api` and `ajax-api`, which MLflow serves alike; `<x>` is one segment of a path, `<path:x>` the rest.
"""

import re
from functools import cache
from typing import Final

V2: Final = "/API/2.0/mlflow"
V3: Final = "/API/3.0/mlflow"
ARTIFACTS: Final = "/API/2.0/mlflow-artifacts"


@cache
def compiled(path: str) -> re.Pattern[str]:
    """Return the regular expression of a path, with a group for each variable."""
    escaped = re.sub(r"<path:(\w+)>", r"(?P<\1>.+)", path)
    escaped = re.sub(r"(?<!\?P)<(\w+)>", r"(?P<\1>[^/]+)", escaped)
    return re.compile(escaped.replace("/API/", "/(?:ajax-)?api/").replace(".0", r"\.0"))
