"""The choice between Domino's two APIs."""

from collections.abc import Mapping
from typing import Final

from model_lifecycle.domino.model_apis import ModelApis
from model_lifecycle.domino.older_api import OlderModelApis
from model_lifecycle.domino.public_api import PublicModelApis
from model_lifecycle.domino.rest import DominoRest
from model_lifecycle.errors import NotFoundError

APIS: Final[Mapping[str, type[PublicModelApis | OlderModelApis]]] = {"public": PublicModelApis, "older": OlderModelApis}


def model_apis(rest: DominoRest, name: str | None = None) -> ModelApis:
    """Return the API with this name, or the first that this Domino has. Raises NotFoundError, LifecycleError."""
    if name:
        return APIS[name](rest)
    for api in APIS.values():
        if api.answers(rest):
            return api(rest)
    raise NotFoundError(f"{rest.access.uri} has none of Domino's model APIs; is it Domino's address?")
