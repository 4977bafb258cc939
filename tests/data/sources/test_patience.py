import time

import pytest

from thumbnet.data.sources.patience import Patience, Watch
from thumbnet.errors import JobError


def test_each_window_is_checked_separately() -> None:
    watch = Watch(Patience(window=0.01, rate=1000))
    time.sleep(0.02)
    watch.check(10**9)
    time.sleep(0.02)
    with pytest.raises(JobError, match="too slow: 0 kB/s, below the minimum of 1"):
        watch.check(10**9 + 1)


def test_a_window_is_not_checked_before_it_ends() -> None:
    watch = Watch(Patience(window=60, rate=1000))
    time.sleep(0.02)
    watch.check(0)


def test_bytes_received_earlier_do_not_count() -> None:
    watch = Watch(Patience(window=0.01, rate=1000), received=10**9)
    time.sleep(0.02)
    with pytest.raises(JobError, match="too slow: 0 kB/s"):
        watch.check(10**9)


def test_a_stalled_download_fails() -> None:
    watch = Watch(Patience(silence=0.01, rate=0))
    watch.check(5)
    time.sleep(0.02)
    with pytest.raises(JobError, match=r"no data received for 0\.01 s"):
        watch.check(5)
