"""Module attributes that are imported when they are first read.

numpy, pandas, gunicorn and MLflow take from a tenth of a second to a second to import. The `lazy.py` of a package names
the attributes that need them; its users write `lazy.encode(...)`, and a process that never gets there imports none.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_attributes(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of `module` (PEP 562). `homes` has, for each attribute, `package.module:attribute`.

    Without a colon the attribute is the module itself. An attribute that was read once is one like any other.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807  the name that Python calls
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, attribute = homes[name].partition(":")
        value = import_module(home)
        value = getattr(value, attribute) if attribute else value
        setattr(sys.modules[module], name, value)
        return value

    return __getattr__
