"""Attributes that are imported when they are first read: they exist, as what mypy takes them for."""

import ast
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

import serving_runtime
from serving_runtime.lazy_imports import lazy_attributes

ROOT = Path(serving_runtime.__file__).parent
# They import Spark or Ray, which only the environment of tests/full has.
OF_ENGINES = {"on_ray", "on_spark"}
LAZY = sorted(str(path.relative_to(ROOT.parent))[:-3].replace("/", ".") for path in ROOT.rglob("lazy.py"))


def for_mypy(source: str) -> dict[str, str]:
    """The names that a module imports for type checkers only, with the places where they are from."""
    block = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    homes = {}
    for statement in block.body:
        assert isinstance(statement, ast.Import | ast.ImportFrom)
        for alias in statement.names:
            place = f"{statement.module}:{alias.name}" if isinstance(statement, ast.ImportFrom) else alias.name
            homes[alias.asname or alias.name] = place
    return homes


@pytest.mark.parametrize("name", LAZY)
def test_lazy_attribute_is_what_mypy_takes_it_for(name: str) -> None:
    module = import_module(name)

    for attribute, place in for_mypy(Path(str(module.__file__)).read_text()).items():
        home, _, inner = place.partition(":")
        if attribute in OF_ENGINES:
            assert find_spec(f"{home}.{inner}")
            continue
        expected = getattr(import_module(home), inner, None) if inner else import_module(home)
        if expected is None:  # a submodule
            expected = import_module(f"{home}.{inner}")
        assert getattr(module, attribute) is expected


def test_attribute_is_imported_once_and_then_one_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = ModuleType("lazy_example")
    monkeypatch.setitem(sys.modules, "lazy_example", lazy)
    find = lazy_attributes("lazy_example", {"dumps": "json:dumps", "encoder": "json.encoder"})

    assert find("dumps") is import_module("json").dumps
    assert find("encoder") is import_module("json.encoder")
    assert set(vars(lazy)) >= {"dumps", "encoder"}
    with pytest.raises(AttributeError, match="module 'lazy_example' has no attribute 'loads'"):
        find("loads")
