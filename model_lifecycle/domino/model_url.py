"""Where a model API is called."""

from typing import Final
from urllib.parse import quote

# Basic routing knows the newest version only; advanced routing also the one that Domino's own page has promoted.
ROUTES: Final = {"basic": "latest", "advanced": "labels/prod"}


def model_url(domino_uri: str, model_id: str, routing: str = "basic") -> str:
    """`routing` is what the model API has in its settings."""
    return f"{domino_uri.rstrip('/')}/models/{quote(model_id, safe='')}/{ROUTES[routing]}/model"
