"""`serve`: serve runs over HTTP, with a web page."""

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
            help="Run directories. Each becomes a model named after its directory, or NAME with "
            "NAME=RUN; repeating a name adds a version. Without any, a small bundled model.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 for any free port.")
    ] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all interfaces.")
    ] = "127.0.0.1",
    engine: Annotated[
        str | None,
        typer.Option(help="Engine: keras, or the name of an export. Default: the fastest export."),
    ] = None,
    repository: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY", help="Directory of more runs, which clients may load at run time."
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN", help="Origin of a web page that may send requests (CORS); repeatable."
        ),
    ] = None,
    reject_below: Annotated[
        float,
        typer.Option(min=0, max=1, help="Confidence below which the service abstains."),
    ] = 0.5,
    max_megapixels: Annotated[
        int, typer.Option(min=1, max=1000, help="Largest image to accept, in megapixels.")
    ] = 16,
) -> None:
    """Serve models over HTTP: web page, Open Inference Protocol V2, TensorFlow Serving REST.

    If the environment variable THUMBNET_TOKEN is set, requests must send it as a bearer token.
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
    serve_runs(named, settings, host, port, repository, engine, _print_address)


def named_run(text: str) -> tuple[str, Path]:
    """The name and directory of a model; the name of a directory may contain "="."""
    name, separator, path = text.partition("=")
    if separator and "/" not in name and not Path(text).is_dir():
        return name, Path(path)
    return Path(text).resolve().name, Path(text)


def _print_address(names: list[str], address: str) -> None:
    typer.echo(f"Serving {', '.join(names) or 'no model yet'} at {address} (Ctrl-C to stop)")
