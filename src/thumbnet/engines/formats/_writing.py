"""What the formats share when they write a model."""

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
    """Keep converters from talking: whether they did their work is found out by opening it."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)
