"""Running an exported page in a headless browser to compare its predictions with Keras."""

import base64
import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from thumbnet.data.stored import UInt8Array
from thumbnet.errors import InputError, JobError
from thumbnet.evaluation.predictions import Float32Array

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Background networking makes Chromium contact its maker's hosts at every start.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
TIMEOUT_SECONDS = 600

_PROBE = """
<pre id="answers"></pre>
<script>
{
  const bytes = Uint8Array.from(atob("%s"), (letter) => letter.charCodeAt(0));
  const size = PROGRAM.image_shape.reduce((product, side) => product * side);
  const network = Network(PROGRAM, WEIGHTS), found = [];
  const started = performance.now();
  for (let at = 0; at < bytes.length; at += size) {
    found.push(Array.from(network(bytes.subarray(at, at + size))));
  }
  const seconds = (performance.now() - started) / 1000;
  document.getElementById("answers").textContent = JSON.stringify({ found, seconds });
}
</script>
"""


def find_browser() -> str:
    """The path of an installed Chromium or Chrome.

    Raises:
        InputError: neither is installed.
    """
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise InputError(
        "checking a web page requires Chromium or Chrome, and neither is installed; on Debian: apt "
        "install chromium"
    )


def predict_in_browser(page: Path, images: UInt8Array) -> tuple[Float32Array, float]:
    """Classify images with an exported page.

    Args:
        page: a file written by `write_web`.
        images: uint8 array of shape (n, height, width, channels).

    Returns:
        float32 probabilities of shape (n, classes), and the time taken in seconds.

    Raises:
        InputError: no browser is installed.
        JobError: the page does not return predictions.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe.html"
        text = page.read_text(encoding="utf-8")
        # The page's own policy would block the additional script.
        text = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", text)
        pixels = base64.b64encode(np.ascontiguousarray(images).tobytes()).decode()
        probe.write_text(text.replace("</body>", _PROBE % pixels + "</body>"), encoding="utf-8")
        command = [
            browser,
            "--headless",
            *FLAGS,
            f"--user-data-dir={folder}/profile",
            "--dump-dom",
            probe.as_uri(),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True
            )
            (answers,) = re.findall(r'<pre id="answers">([^<]+)</pre>', done.stdout)
        except (subprocess.SubprocessError, ValueError, OSError) as error:
            raise JobError(f"{page} does not work in {browser}: {error}") from error
    answer = json.loads(html.unescape(answers))
    return np.asarray(answer["found"], np.float32), float(answer["seconds"])
