import pytest

from thumbnet.report import words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.26, "0.3 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (192, "3 min 12 s"),
        (7322, "2 h 2 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("listed", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_enumerate_words(listed: list[str], text: str) -> None:
    assert words.enumerate_words(listed) == text


@pytest.mark.parametrize(("size", "text"), [(950, "1 kB"), (15_300_000, "15.3 MB")])
def test_file_size(size: int, text: str) -> None:
    assert words.file_size(size) == text
