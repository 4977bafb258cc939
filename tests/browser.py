"""The browser for browser tests, which are skipped without one."""

import os
import shutil

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, _NAMES)), None)

# With background networking, Chromium contacts its vendor's hosts at every start.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

if BROWSER is None and os.environ.get("THUMBNET_REQUIRE_BROWSER"):
    raise RuntimeError("THUMBNET_REQUIRE_BROWSER is set, and no Chromium or Chrome is installed")

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
