"""The browser for browser tests, which are skipped without one."""

import os
import shutil

import pytest

from thumbnet.export.web.check import BROWSERS, FLAGS

BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)

if BROWSER is None and os.environ.get("THUMBNET_REQUIRE_BROWSER"):
    raise RuntimeError("THUMBNET_REQUIRE_BROWSER is set, and no Chromium or Chrome is installed")

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")

__all__ = ["BROWSER", "FLAGS", "needs_browser"]
