"""A file is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from heddle.core.errors import ArtifactError, HeddleError
from heddle.core.files import replacing, write_whole


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "längst")
    assert path.read_text("utf-8") == "längst"
    write_whole(path, b"\0\1")
    assert path.read_bytes() == b"\0\1"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"half of the new", None])  # type: ignore[list-item] # the failure is the test
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_text("")
    write_whole(tmp_path / "whole", "")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_what_cannot_be_written_is_one_error_of_the_kind_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "no" / "folder"
    with pytest.raises(HeddleError, match=f"^{path}: cannot be written: No such file or directory$"):
        write_whole(path, "")
    with pytest.raises(ArtifactError), replacing(path, ArtifactError):
        pass
