import time

import pytest

from thumbnet.data.sources.patience import Patience, Watch
from thumbnet.errors import JobError


def test_each_window_is_judged_by_itself() -> None:
    watch = Watch(Patience(window=0.01, rate=1000))
    time.sleep(0.02)
    watch.check(10**9)
    time.sleep(0.02)
    with pytest.raises(JobError, match="too slow: 0 kB/s, where 1 are the least"):
        watch.check(10**9 + 1)


def test_a_window_must_be_over_before_it_is_judged() -> None:
    watch = Watch(Patience(window=60, rate=1000))
    time.sleep(0.02)
    watch.check(0)


def test_what_was_there_before_counts_for_nothing() -> None:
    watch = Watch(Patience(window=0.01, rate=1000), received=10**9)
    time.sleep(0.02)
    with pytest.raises(JobError, match="too slow: 0 kB/s"):
        watch.check(10**9)


def test_silence_ends_the_wait() -> None:
    watch = Watch(Patience(silence=0.01, rate=0))
    watch.check(5)
    time.sleep(0.02)
    with pytest.raises(JobError, match=r"nothing came for 0\.01 s"):
        watch.check(5)
