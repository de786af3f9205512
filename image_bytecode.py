"""Write the bytecode of modules, and of all that they import, in the build of an image.

    python -BP image_bytecode.py webhook.cli webhook.server.supervisor

A container writes no bytecode, and would compile what it imports at each start. That of the standard library, which the
official images of Python leave out, goes to `/bytecode`: the image copies it to `/usr/local/lib`.

The bytecode counts as long as its source has the same content, and not the same time: a builder with a cache may have
the source from another time, and a file that a later image replaces must not be run as it was.
"""

import importlib
import py_compile
import sys
import sysconfig
from pathlib import Path

LIBRARY = Path(sysconfig.get_path("stdlib"))
COPIED = Path("/bytecode")
AT_FIRST_CONNECTION = "encodings.idna"
SAME_CONTENT = py_compile.PycInvalidationMode.CHECKED_HASH


def main() -> None:
    for name in (*sys.argv[1:], AT_FIRST_CONNECTION):
        importlib.import_module(name)
    for module in [*sys.modules.values()]:
        if not (cached := getattr(module, "__cached__", None)):
            continue
        bytecode = Path(cached)
        if bytecode.is_relative_to(LIBRARY):
            bytecode = COPIED / bytecode.relative_to(LIBRARY.parent)
        if not bytecode.exists():
            py_compile.compile(str(module.__file__), str(bytecode), doraise=True, invalidation_mode=SAME_CONTENT)


if __name__ == "__main__":
    main()
