"""Code shared by the formats for writing models."""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

METADATA_KEY = "thumbnet"

Metadata = Mapping[str, Any]


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the output of converters; opening the result shows whether they succeeded."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)
