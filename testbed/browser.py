"""A real browser: Debian's Chromium, driven by Playwright, which brings no browser of its own here."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from testbed.processes import PATIENCE

NEEDED: Final = {"chromium": "chromium"}
# Without a sandbox, since tests run as root; and nothing that calls home.
QUIET: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a browser for the length of a `with` block."""
    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        found = playwright.chromium.launch(executable_path=program, args=QUIET, timeout=PATIENCE * 1000)
        try:
            yield found
        finally:
            found.close()
