"""The command line: each subcommand parses options, calls one function and prints its result."""

import signal
import sys
from typing import Annotated

import typer

from thumbnet.cli import (
    bench,
    data,
    evaluation,
    export,
    inspection,
    serving,
    training,
    trust,
    tuning,
)
from thumbnet.cli.console import (
    OutputError,
    discard_output,
    echo,
    flush_errors,
    prepare_streams,
)
from thumbnet.errors import ThumbnetError

app = typer.Typer(
    name="thumbnet",
    help="Train, evaluate and deploy classifiers for small images.",
    epilog="To start, try: thumbnet run",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
training.register(app)
evaluation.register(app)
inspection.register(app)
trust.register(app)
export.register(app)
serving.register(app)
tuning.register(app)
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")


def _show_version(wanted: bool) -> None:
    if wanted:
        from thumbnet import __version__

        echo(f"thumbnet {__version__}")
        raise typer.Exit


# Typer turns a KeyboardInterrupt into this exit code, without a message.
_INTERRUPTED_IN_TYPER = 130


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command. Exit codes: 0 success, 1 failed job, 2 bad input or usage."""
    prepare_streams()
    # SIGTERM ends a command like Ctrl-C: no file is left half written, and a message says so.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run()
    finally:
        flush_errors()


def _run() -> None:
    """Run the command, and turn its exceptions into messages and exit codes."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except ThumbnetError as error:
        if isinstance(error, OutputError):
            discard_output()
        sys.exit(_fail(str(error), error.exit_code))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted", 1))
    except SystemExit as ending:
        if ending.code == _INTERRUPTED_IN_TYPER:
            sys.exit(_fail("interrupted", 1))
        raise
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has exited
        discard_output()
        sys.exit(1)


def _fail(message: str, code: int) -> int:
    echo(f"thumbnet: error: {message}", error=True)
    return code
