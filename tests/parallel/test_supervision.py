"""Output and exit code of a program with a supervised child, as a launcher sees them."""

import signal
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import os, signal, sys, time
    from thumbnet.errors import InputError
    from thumbnet.parallel.supervision import supervised
    with supervised("resume hint") as set_message:
        set_message("another process was lost")
"""


def program(body: str) -> "subprocess.Popen[str]":
    code = textwrap.dedent(PROGRAM) + textwrap.indent(textwrap.dedent(body), "    ")
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ending(body: str) -> tuple[int, str, str]:
    process = program(body)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


# What JAX does when it loses another process, with or without a stack trace.
JAX_KILLS_IT = "os.write(2, b'F1 client.h distributed service detected fatal errors\\n')"
LOST = "thumbnet: error: another process was lost\n"


@pytest.mark.parametrize(
    ("body", "code", "out", "err"),
    [
        ("print('done'); os.write(1, b'notice')", 0, "done\n", ""),
        ("raise InputError('bad\\nthing')", 2, "", "thumbnet: error: bad\nthing\n"),
        ("raise KeyboardInterrupt", 1, "", "thumbnet: error: interrupted\n"),
        (f"{JAX_KILLS_IT}; os._exit(1)", 1, "", LOST),
        (f"{JAX_KILLS_IT}; os.abort()", 1, "", LOST),
        ("set_message(''); sys.exit(3)", 3, "", ""),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            1,
            "",
            "thumbnet: error: this process was killed by SIGKILL, perhaps because the system ran "
            "out of memory; resume hint\n",
        ),
        (
            "os.write(2, b'a bug\\n'); os.abort()",
            1,
            "",
            "a bug\nthumbnet: error: this process was killed by SIGABRT; resume hint\n",
        ),
    ],
)
def test_every_exit_is_reported_once(body: str, code: int, out: str, err: str) -> None:
    assert ending(body) == (code, out, err)


def test_a_bug_shows_its_traceback_and_nothing_else() -> None:
    code, _, err = ending("1 / 0")
    assert code == 1
    assert err.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "lost" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_forwarded_to_the_child(number: signal.Signals) -> None:
    process = program(
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: sys.exit(number))
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == number


def test_the_child_does_not_outlive_its_parent() -> None:
    process = program("print('ready', flush=True); time.sleep(600)")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate(timeout=60)  # until the child has closed its ends of the pipes too
