"""`serve`: serve runs over HTTP, with a web page."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thumbnet.cli.completion import complete_run
from thumbnet.cli.console import echo
from thumbnet.cli.options import REJECT_BELOW, RejectBelowOption, path_option, recall_dataset
from thumbnet.errors import printable
from thumbnet.paths import expanded
from thumbnet.serving.settings import KIBIBYTE, MEBIBYTE, MEGAPIXEL, Settings

if TYPE_CHECKING:
    from thumbnet.serving.examples import Example

TOKEN_VARIABLE = "THUMBNET_TOKEN"
DEFAULTS = Settings()


def _limit(name: str, text: str, min: float = 1, max: float | None = None) -> Any:  # noqa: A002
    """An option for a limit, which an environment variable can set as well."""
    return typer.Option(
        min=min,
        max=max,
        envvar=f"THUMBNET_{name}",
        show_envvar=False,
        help=text,
        rich_help_panel="Limits",
    )


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
            autocompletion=complete_run,
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65_535,
            help="Port to listen on; 0 for any free port.",
        ),
    ] = 8000,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; 0.0.0.0 for all interfaces."),
    ] = "127.0.0.1",
    engine: Annotated[
        str | None,
        typer.Option(
            envvar="THUMBNET_ENGINE",
            show_envvar=False,
            help="Engine: keras, or the name of an export. Default: the fastest export.",
        ),
    ] = None,
    repository: Annotated[
        Path | None,
        path_option(
            "Directory of further runs that clients may load at run time.",
            metavar="DIRECTORY",
            envvar="THUMBNET_REPOSITORY",
            show_envvar=False,
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            envvar="THUMBNET_CORS",
            show_envvar=False,
            help="Origin of a web page that may send requests (CORS); repeatable.",
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            envvar="THUMBNET_ALLOWED_HOST",
            show_envvar=False,
            help="Accepted name in the Host header; repeatable. Default: this machine's own names "
            "if the service listens on the loopback address, else any.",
        ),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            envvar="THUMBNET_ROOT_PATH",
            show_envvar=False,
            help="Path prefix under which a proxy publishes the service, if the proxy forwards it.",
        ),
    ] = "",
    reject_below: RejectBelowOption = REJECT_BELOW,
    examples: Annotated[
        bool,
        typer.Option(
            "--examples",
            help="Offer some test images of each run on the page, with their true class, if its "
            "images are at hand. Everyone who can open the page can see them.",
            show_default=False,
        ),
    ] = False,
    max_megapixels: Annotated[
        int,
        _limit("MAX_MEGAPIXELS", "Largest image to accept, in megapixels.", max=1000),
    ] = DEFAULTS.pixels // MEGAPIXEL,
    queue_megapixels: Annotated[
        int, _limit("QUEUE_MEGAPIXELS", "Most images waiting to be decoded, in megapixels.")
    ] = DEFAULTS.queue_pixels // MEGAPIXEL,
    max_images: Annotated[int, _limit("MAX_IMAGES", "Most images in a request.")] = DEFAULTS.images,
    max_body: Annotated[int, _limit("MAX_BODY", "Largest request, in MiB.")] = DEFAULTS.body_bytes
    // MEBIBYTE,
    body_timeout: Annotated[
        float, _limit("BODY_TIMEOUT", "Time for a request to arrive, in seconds.")
    ] = DEFAULTS.body_seconds,
    max_header: Annotated[
        int, _limit("MAX_HEADER", "Largest headers of a request, in KiB.")
    ] = DEFAULTS.header_bytes // KIBIBYTE,
    header_timeout: Annotated[
        float, _limit("HEADER_TIMEOUT", "Time for the headers to arrive, in seconds.")
    ] = DEFAULTS.header_seconds,
    request_timeout: Annotated[
        float, _limit("REQUEST_TIMEOUT", "Time to answer a request, in seconds.")
    ] = DEFAULTS.request_seconds,
    keep_alive: Annotated[
        int, _limit("KEEP_ALIVE", "Time that an unused connection stays open, in seconds.")
    ] = DEFAULTS.keep_alive_seconds,
    stalled_timeout: Annotated[
        float, _limit("STALLED_TIMEOUT", "Time for a client to resume reading, in seconds.")
    ] = DEFAULTS.stalled_seconds,
    load_timeout: Annotated[
        float, _limit("LOAD_TIMEOUT", "Time to load a model, in seconds.")
    ] = DEFAULTS.load_seconds,
    grace: Annotated[
        int, _limit("GRACE", "Time for requests to end after SIGTERM, in seconds.")
    ] = DEFAULTS.grace_seconds,
    max_pending: Annotated[
        int, _limit("MAX_PENDING", "Largest total size of the requests in progress, in MiB.")
    ] = DEFAULTS.pending_bytes // MEBIBYTE,
    max_requests: Annotated[
        int, _limit("MAX_REQUESTS", "Most requests in progress.")
    ] = DEFAULTS.requests,
    max_connections: Annotated[
        int, _limit("MAX_CONNECTIONS", "Most open connections.")
    ] = DEFAULTS.connections,
    batch_images: Annotated[
        int, _limit("BATCH_IMAGES", "Most images in a batch.")
    ] = DEFAULTS.batch_images,
    batch_delay: Annotated[
        float, _limit("BATCH_DELAY", "Time to wait for more images of a batch, in ms.", min=0)
    ] = DEFAULTS.batch_seconds * 1_000,
    queue_images: Annotated[
        int, _limit("QUEUE_IMAGES", "Most images waiting for each model.")
    ] = DEFAULTS.queue_images,
) -> None:
    """Serve models over HTTP: web page, Open Inference Protocol V2, TensorFlow Serving REST.

    If the environment variable THUMBNET_TOKEN is set, requests must send it as a bearer token.
    Options other than the address can be set by environment variables, such as THUMBNET_MAX_BODY.
    """
    from thumbnet.errors import InputError
    from thumbnet.installing import install_command

    try:
        from thumbnet.serving.server import serve as serve_runs
    except ModuleNotFoundError as error:
        raise InputError(f"serve needs {error.name}: {install_command('serve')}") from error
    from thumbnet.serving.guard import hosts_of
    from thumbnet.serving.model import bundled_run

    named = [named_run(text) for text in runs or []]
    if not named and repository is None:
        named = [(bundled_run().name, bundled_run().path)]
    if root_path and not (root_path.startswith("/") and root_path.strip("/")):
        raise InputError(f"--root-path {root_path}: give a path such as /thumbnet")
    settings = Settings(
        batch_images=batch_images,
        batch_seconds=batch_delay / 1_000,
        queue_images=queue_images,
        request_seconds=request_timeout,
        body_bytes=max_body * MEBIBYTE,
        body_seconds=body_timeout,
        header_bytes=max_header * KIBIBYTE,
        header_seconds=header_timeout,
        pending_bytes=max_pending * MEBIBYTE,
        requests=max_requests,
        connections=max_connections,
        keep_alive_seconds=keep_alive,
        stalled_seconds=stalled_timeout,
        images=max_images,
        pixels=max_megapixels * MEGAPIXEL,
        queue_pixels=queue_megapixels * MEGAPIXEL,
        load_seconds=load_timeout,
        reject_below=reject_below,
        token=os.environ.get(TOKEN_VARIABLE, ""),
        cors_origins=tuple(cors or ()),
        allowed_hosts=tuple(allowed_host or hosts_of(host)),
        root_path=root_path.rstrip("/"),
        grace_seconds=grace,
    )
    shown = _examples(named) if examples else {}
    serve_runs(named, settings, host, port, repository, engine, _print_address, shown)


def named_run(text: str) -> tuple[str, Path]:
    """The name and directory of a model; the name of a directory may contain "="."""
    name, separator, path = text.partition("=")
    if separator and "/" not in name and not Path(text).is_dir():
        return name, expanded(path)
    return Path(text).resolve().name, Path(text)


def _examples(named: list[tuple[str, Path]]) -> "dict[str, list[Example]]":
    """Test images of each model by its name, of its latest version; none if they are not here."""
    from thumbnet.runs.run import Run
    from thumbnet.serving.examples import examples_of
    from thumbnet.training.progress import choose_display

    display = choose_display()
    found = {}
    for name, path in named:
        run = Run.open(path)
        dataset = recall_dataset(run, display)
        if dataset is None:
            display.message(f"{name}: the images it was trained on are not available as examples")
        else:
            found[name] = examples_of(dataset.test, run.class_names())
    return found


def _print_address(names: list[str], address: str) -> None:
    served = printable(", ".join(names)) or "no model yet"
    echo(f"Serving {served} at {address} (Ctrl-C to stop)")
