"""Running the command in the process of a test."""

import sys

from thumbnet.cli import main


def thumbnet(*arguments: object) -> int:
    """Run the command in this process; returns its exit code."""
    before = sys.argv
    sys.argv = ["thumbnet", *map(str, arguments)]
    try:
        main()
    except SystemExit as ending:
        return int(ending.code or 0)
    finally:
        sys.argv = before
    return 0
