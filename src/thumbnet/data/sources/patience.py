"""How long to wait for data from elsewhere before giving up on it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from thumbnet.errors import JobError

Report = Callable[[str], None]
Progress = Callable[[int, int], None]
"""Called with the bytes received and the bytes expected."""


@dataclass(frozen=True)
class Patience:
    """Limits in seconds, but for `rate` and `attempts`.

    Attributes:
        connect: until a connection to one address stands.
        answer: until the answer begins, from looking up the name on.
        silence: between two arrivals of data.
        rate: bytes a second that must come in on average over every `window`, so that a server
            that drips holds nobody up: CIFAR-10 comes within a quarter of an hour or not at all.
        window: what `rate` is measured over.
        attempts: how often a download is begun or resumed.
        pause: before the second attempt; twice as long before the third, and so on.
    """

    connect: float = 5
    answer: float = 15
    silence: float = 10
    rate: float = 200_000
    window: float = 15
    attempts: int = 3
    pause: float = 1


PATIENCE = Patience()


class Watch:
    """Sees to it that data keep coming in."""

    def __init__(self, patience: Patience, received: int = 0) -> None:
        self._patience = patience
        self._received = self._received_before_window = received
        self._arrived = self._window_began = time.monotonic()

    def check(self, received: int) -> None:
        """Take note of the bytes received so far.

        Raises:
            JobError: they come too slowly, or no longer.
        """
        now = time.monotonic()
        if received > self._received:
            self._received, self._arrived = received, now
        elif now - self._arrived > self._patience.silence:
            raise JobError(f"nothing came for {self._patience.silence:g} s")
        if now - self._window_began < self._patience.window:
            return
        rate = (received - self._received_before_window) / (now - self._window_began)
        if rate < self._patience.rate:
            raise JobError(
                f"too slow: {rate / 1e3:.0f} kB/s, where {self._patience.rate / 1e3:.0f} are the "
                "least that is waited for"
            )
        self._received_before_window, self._window_began = received, now
