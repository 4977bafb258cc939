import json
import math
from pathlib import Path

import numpy as np
import pytest

from thumbnet.atomic import replacing, replacing_path, write_json, write_text
from thumbnet.errors import JobError
from thumbnet.record import MAXIMUM_TEXT_BYTES


def write_half(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt


def write_to_full_disk(path: Path) -> None:
    with replacing_path(path) as temporary:
        temporary.unlink()
        with open("/dev/full", "wb") as full:
            full.write(b"x")


def test_text_is_written_and_no_temporary_file_is_left(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "häuser")
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "häuser"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_a_failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")
    with pytest.raises(ValueError, match="nan"):
        write_json(path, {"loss": math.nan})
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(JobError, match=r"cannot write .*file/a.txt: "):
        write_text(tmp_path / "file" / "a.txt", "")


def test_a_full_disk_is_reported_and_leaves_no_file(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(JobError, match="No space left"):
        write_to_full_disk(tmp_path / "a.bin")
    assert not list(tmp_path.iterdir())


def test_the_file_is_readable_by_other_users(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "x")
    ordinary = tmp_path / "b.txt"
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_lists_of_numbers_take_one_line(tmp_path: Path) -> None:
    values = {"confusion": [[1, 0], [2.5, -3e-7]], "words": ["[\n 1,\n 2\n ]", "[ 1 ]"], "none": []}
    path = tmp_path / "a.json"
    write_json(path, values)
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == values
    assert "    [1,0],\n    [2.5,-3e-07]\n" in text


def test_the_confusion_matrix_of_a_thousand_classes_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"confusion": np.eye(1_000, dtype=int).tolist()})
    assert path.stat().st_size < MAXIMUM_TEXT_BYTES / 2
