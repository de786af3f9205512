"""The example's project as a repository of its own, whose workflows run on this machine as they stand."""

from pathlib import Path

import pytest

from testbed.github_project import Project


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runner for all of these tests: the first job that uses the action installs it."""
    return tmp_path_factory.mktemp("runner")


@pytest.fixture
def project(runner: Path, tmp_path: Path) -> Project:
    return Project.of_example(tmp_path / "repository", runner)
