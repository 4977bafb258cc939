"""Time limits for downloads."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from thumbnet.errors import JobError

Report = Callable[[str], None]
Progress = Callable[[int, int], None]
"""Called with the bytes received and the bytes expected."""


@dataclass(frozen=True)
class Patience:
    """Limits of a download, in seconds except for `rate` and `attempts`.

    Attributes:
        connect: limit for connecting to one address.
        answer: limit from the DNS lookup until the response begins.
        silence: limit between two arrivals of data.
        rate: minimum average rate over every `window`, in bytes per second, so that a very slow
            server does not block: CIFAR-10 arrives within 15 minutes or the download fails.
        window: the period over which `rate` is measured.
        attempts: how often a download is started or resumed.
        pause: pause before the second attempt; twice as long before the third, and so on.
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
    """Raises an error when a download stalls or becomes too slow."""

    def __init__(self, patience: Patience, received: int = 0) -> None:
        self._patience = patience
        self._received = self._received_before_window = received
        self._arrived = self._window_began = time.monotonic()

    def check(self, received: int) -> None:
        """Record the number of bytes received so far.

        Raises:
            JobError: the download has stalled or is too slow.
        """
        now = time.monotonic()
        if received > self._received:
            self._received, self._arrived = received, now
        elif now - self._arrived > self._patience.silence:
            raise JobError(f"no data received for {self._patience.silence:g} s")
        if now - self._window_began < self._patience.window:
            return
        rate = (received - self._received_before_window) / (now - self._window_began)
        if rate < self._patience.rate:
            raise JobError(
                f"too slow: {rate / 1e3:.0f} kB/s, below the minimum of "
                f"{self._patience.rate / 1e3:.0f} kB/s"
            )
        self._received_before_window, self._window_began = received, now
