"""Output that cannot be written, names that cannot be printed, tables that do not fit."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from thumbnet.cli import console
from thumbnet.cli.answers import print_predictions
from thumbnet.cli.console import BEST, echo, new_table, show, styled
from thumbnet.engines.prediction import FilePrediction
from thumbnet.errors import printable, quoted, shown
from thumbnet.runs.run import Run

COMMAND = f"{sys.executable} -m thumbnet"
LONG = "pictures/" + "long-name-" * 20 + "cat.jpg"


def run_in_shell(command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | environment,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["recipes", "data info --source sample --json", "--help"])
def test_a_full_disk_behind_standard_output_is_reported(arguments: str) -> None:
    done = run_in_shell(f"{COMMAND} {arguments} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "thumbnet: error: cannot write to standard output: No space left on device"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_closed_and_full_streams_are_not_an_error(finished_run: Run, tmp_path: Path) -> None:
    done = run_in_shell(f"{COMMAND} recipes >&-")
    assert (done.returncode, done.stderr) == (0, "")
    picture = tmp_path / "a.png"
    done = run_in_shell(f"{COMMAND} data show --source sample --out {picture} <&- >&- 2>&-")
    assert done.returncode == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run_in_shell(f"{COMMAND} evaluate nosuch 2>&-").returncode == 2
    assert run_in_shell(f"{COMMAND} evaluate nosuch 2> /dev/full").returncode == 2
    assert run_in_shell(f"{COMMAND} recipes 2> /dev/full").returncode == 0
    missing = f"{COMMAND} predict {finished_run.path} {tmp_path}/missing.png"
    assert run_in_shell(f"{missing} 2> /dev/full").returncode == 2


@pytest.mark.slow
def test_names_are_printed_under_a_strict_locale(tmp_path: Path) -> None:
    strict = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for name in (b"caf\xc3\xa9", b"caf\xe9"):
        folder = os.fsencode(tmp_path) + b"/" + name
        os.mkdir(folder)  # noqa: PTH102
    done = run_in_shell(f"{COMMAND} data check {tmp_path}", **strict)
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
    strict["PYTHONIOENCODING"] = "latin-1:strict"
    done = run_in_shell(f"cd {tmp_path}; {COMMAND} data check $'caf\\xe9'", **strict)
    assert "Traceback" not in done.stderr
    assert "caf\\xe9" in done.stderr


@pytest.mark.slow
def test_control_characters_in_messages_are_escaped(tmp_path: Path) -> None:
    done = run_in_shell(f"{COMMAND} evaluate $'no\\x1b[31msuch'")
    assert done.returncode == 2
    assert "no\\x1b[31msuch is not a directory" in done.stderr


def test_a_pipe_gets_complete_tables(capsys: pytest.CaptureFixture[str]) -> None:
    answer = FilePrediction(path=LONG, probabilities={"cat": 0.9, "dog" * 100: 0.1})
    print_predictions([answer], top=2)
    table = capsys.readouterr().out
    assert LONG in table
    assert "dog" * 100 in table
    assert max(map(len, table.splitlines())) < 1000
    show("word " * 500)
    assert capsys.readouterr().out.count("\n") == 1


def test_a_narrow_terminal_gets_complete_tables_on_more_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(
        console,
        "Console",
        lambda width: Console(file=screen, width=60, no_color=True, force_terminal=False),
    )
    table = new_table("image", "class")
    table.add_cells(LONG, "[red]cat")
    show(table)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 60
    assert "".join("".join(line[:50]).strip() for line in lines[3:]) == LONG
    assert "[red]cat" in screen.getvalue()


def test_names_by_strangers_reach_the_terminal_as_plain_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    evil = "\x1b]0;title\x07[/] [red]cat \u202e"
    escaped = "\\x1b]0;title\\x07[/] [red]cat \\u202e"
    table = new_table(evil, evil)
    table.add_cells(evil, styled(evil, BEST))
    show(table)
    show(evil)
    echo(evil)
    answer = FilePrediction(path=evil, probabilities={evil: 0.9, f"{evil}2": 0.1})
    print_predictions([answer], top=2)
    print_predictions([answer], top=2, reject_below=0.95)
    echo(evil, error=True)
    printed = capsys.readouterr()
    assert printed.out.count(escaped) == 4 + 1 + 1 + 3 + 3
    assert printed.err == f"{escaped}\n"
    assert not any(character in printed.out + printed.err for character in "\x1b\x07\u202e")


def test_only_one_place_prints() -> None:
    # Each of the others escapes what it prints, before a console exists or in another process.
    others = {"console.py", "progress.py", "supervision.py", "scaling.py", "__init__.py"}
    prints = re.compile(
        r"(^|[^\w.])print\(|typer\.echo|sys\.std(out|err)\.write|table\.add_row\(", re.M
    )
    source = Path(console.__file__).parents[1]
    found = {path.name for path in source.rglob("*.py") if prints.search(path.read_text("utf-8"))}
    assert found <= others


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", "a b"),
        ("é漢", "é漢"),
        ("\x1b[2J\r\t\x07", "\\x1b[2J\\r\\t\\x07"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("\u202e", "\\u202e"),
    ],
)
def test_unprintable_characters_are_escaped(text: str, expected: str) -> None:
    assert shown(text) == expected
    assert printable(f"{text}\n{text}") == f"{expected}\n{expected}"


def test_a_path_in_a_command_survives_a_shell() -> None:
    for name in ("my runs/a", "it's", "$HOME;ls", "-x", "plain"):
        echoed = run_in_shell(f"printf '%s\\n' {quoted(name)}").stdout
        assert Path(echoed.removesuffix("\n")) == Path(name)


def test_commands_in_messages_quote_their_paths() -> None:
    source = Path(console.__file__).parents[1]
    texts = {path: path.read_text(encoding="utf-8") for path in source.rglob("*.py")}
    unquoted = [
        (path.name, command)
        for path, text in texts.items()
        for command in re.findall(r"`thumbnet [^`]*`|--resume \{[^}]*\}", text)
        if re.search(r"\{(?!quoted\(|to\}|storage\})", command)
    ]
    assert unquoted == []
