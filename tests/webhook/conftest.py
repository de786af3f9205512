"""Settings and a pod that the tests start from."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook.settings import Settings

EXAMPLE_POD = yaml.safe_load((Path(__file__).parents[2] / "examples" / "model-api-pod.yaml").read_text())


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings()


@pytest.fixture
def pod() -> dict[str, Any]:
    """A model API as Domino creates it, for each test to change."""
    return deepcopy(EXAMPLE_POD)
