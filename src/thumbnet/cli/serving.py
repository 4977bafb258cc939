"""`serve`: runs over HTTP, with a page."""

import os
from pathlib import Path
from typing import Annotated

import typer

TOKEN_VARIABLE = "THUMBNET_TOKEN"


def register(app: typer.Typer) -> None:
    """Add the subcommand to the command."""
    app.command(epilog="Example: thumbnet serve runs/demo/ann runs/demo/cnn")(serve)


def serve(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN…]",
            help="Run directories; each becomes a model of its directory's name, or of another by "
            "NAME=RUN. A name that comes again is a further version. Without any, a small model "
            "that comes with Thumbnet.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 for any that is free.")] = 8000,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for every one of this machine.")
    ] = "127.0.0.1",
    engine: Annotated[
        str | None,
        typer.Option(help="What computes: keras, or an export. By default, the fastest export."),
    ] = None,
    repository: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY", help="Where more runs lie that may be loaded while it runs."
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="A page of another host that may ask, for browsers."),
    ] = None,
    reject_below: Annotated[
        float, typer.Option(min=0, max=1, help="The probability under which it rather not says.")
    ] = 0.5,
    max_megapixels: Annotated[
        int, typer.Option(min=1, max=1000, help="Larger pictures are refused.")
    ] = 16,
) -> None:
    """Answer pictures over HTTP: a page, Open Inference Protocol V2, TensorFlow Serving's REST.

    With the environment variable THUMBNET_TOKEN, requests must carry it as their bearer token.
    """
    from thumbnet.errors import InputError
    from thumbnet.installing import install_command

    try:
        from thumbnet.serving.server import serve as serve_runs
    except ModuleNotFoundError as error:
        raise InputError(f"serve needs {error.name}: {install_command('serve')}") from error
    from thumbnet.serving.model import bundled_run
    from thumbnet.serving.settings import Settings

    named = [named_run(text) for text in runs or []]
    if not named and repository is None:
        named = [(bundled_run().name, bundled_run().path)]
    settings = Settings(
        pixels=max_megapixels * 1_000_000,
        reject_below=reject_below,
        token=os.environ.get(TOKEN_VARIABLE, ""),
        cors_origins=tuple(cors or ()),
    )
    serve_runs(named, settings, host, port, repository, engine, _tell)


def named_run(text: str) -> tuple[str, Path]:
    """The name and directory of a model; a directory may have "=" in its own name."""
    name, separator, path = text.partition("=")
    if separator and "/" not in name and not Path(text).is_dir():
        return name, Path(path)
    return Path(text).resolve().name, Path(text)


def _tell(names: list[str], address: str) -> None:
    typer.echo(f"Serving {', '.join(names) or 'nothing yet'} at {address} (Ctrl-C ends it)")
