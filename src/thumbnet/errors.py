"""The exceptions of this package: bad input and failed jobs, each with its exit code.

A message says in one or two sentences what is wrong, where, and what to do about it. It is printed
without a traceback.
"""

import os
import shlex


class ThumbnetError(Exception):
    """Base of every error that Thumbnet raises on purpose."""

    exit_code = 1


class InputError(ThumbnetError, ValueError):
    """Bad input: a file, an option, a recipe or a run directory."""

    exit_code = 2


class JobError(ThumbnetError, RuntimeError):
    """A job failed although its input was valid: no disk space, a diverged loss."""

    exit_code = 1


class StorageError(JobError):
    """A file cannot be written: the disk is full or no longer available."""


class JobInterruptedError(JobError):
    """The user stopped the job."""


class LostProcessError(JobError):
    """Another process of a distributed training has ended."""


def shown(path: str | os.PathLike[str]) -> str:
    """A path as printable text: undecodable bytes and control characters are escaped."""
    try:
        return _escaped(os.fsencode(path).decode("utf-8", "backslashreplace"))
    except UnicodeEncodeError:  # not a valid file name
        return _escaped(os.fspath(path))


def printable(text: str) -> str:
    """A text of several lines, each escaped as in `shown`."""
    return "\n".join(map(shown, text.split("\n")))


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quoted(path: str | os.PathLike[str]) -> str:
    """A path quoted for a shell command in a message."""
    text = shown(path)
    # A command would mistake a path that starts with "-" for an option.
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
