"""The two ways a job can go wrong, each with its exit code.

A message says what is wrong, where, and what to do about it, in one sentence or two: it is
printed as it stands, without a traceback.
"""

import os


class ThumbnetError(Exception):
    """Base of every error that Thumbnet raises on purpose."""

    exit_code = 1


class InputError(ThumbnetError, ValueError):
    """What the user gave cannot be used: a file, an option, a recipe, a run directory."""

    exit_code = 2


class JobError(ThumbnetError, RuntimeError):
    """The input was fine and the job failed all the same: no disk space, a diverged loss."""

    exit_code = 1


class JobInterruptedError(JobError):
    """Whoever started the job has stopped it."""


class LostProcessError(JobError):
    """Another of the processes that train together is gone."""


def shown(path: str | os.PathLike[str]) -> str:
    """A path as a message can hold it: bytes that are no text, and control characters, escaped."""
    try:
        return _escaped(os.fsencode(path).decode("utf-8", "backslashreplace"))
    except UnicodeEncodeError:  # a text that never was the name of a file
        return _escaped(os.fspath(path))


def printable(text: str) -> str:
    """A text of several lines as a terminal can show it, with what `shown` escapes escaped."""
    return "\n".join(map(shown, text.split("\n")))


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
