"""Options for paths in the home directory."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from typer.models import OptionInfo

from thumbnet.cli import app, main
from thumbnet.cli.serving import named_run
from thumbnet.paths import expanded


def _callbacks(group: typer.Typer) -> Iterator[Callable[..., Any]]:
    for command in group.registered_commands:
        if command.callback is not None:
            yield command.callback
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            yield from _callbacks(inner.typer_instance)


def _mentions_path(kind: Any) -> bool:
    return kind is Path or any(map(_mentions_path, get_args(kind)))


def test_a_tilde_in_an_option_is_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    command = ["thumbnet", "data", "show", "--source", "sample", "--out=~/images.png"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == 0
    assert (tmp_path / "images.png").is_file()
    assert named_run("pets=~/runs/pets") == ("pets", tmp_path / "runs" / "pets")


@pytest.mark.slow
def test_every_option_for_a_path_accepts_a_tilde() -> None:
    options = {}
    for function in _callbacks(app):
        for name, hint in get_type_hints(function, include_extras=True).items():
            kind, *more = get_args(hint) or [None]
            option = next((one for one in more if isinstance(one, OptionInfo)), None)
            if option is not None and _mentions_path(kind):
                options[f"{function.__name__} {name}"] = option.parser
    assert len(options) >= 11
    assert [name for name, parser in options.items() if parser is not expanded] == []
