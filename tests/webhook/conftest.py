"""Settings and a pod that the tests start from, and the real server."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.webhook_server import WebhookServer, webhook_server
from webhook.settings import Settings

EXAMPLE_POD = yaml.safe_load((Path(__file__).parents[2] / "examples" / "model-api-pod.yaml").read_text())


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings()


@pytest.fixture
def pod() -> dict[str, Any]:
    """A model API as Domino creates it, for each test to change."""
    return deepcopy(EXAMPLE_POD)


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[WebhookServer]]:
    """Start a server with the given settings."""

    def start(variables: Mapping[str, str] | None = None) -> AbstractContextManager[WebhookServer]:
        return webhook_server(tmp_path_factory.mktemp("webhook"), variables)

    return start


@pytest.fixture(scope="module")
def server(serve: Callable[..., AbstractContextManager[WebhookServer]]) -> Iterator[WebhookServer]:
    with serve() as started:
        yield started
