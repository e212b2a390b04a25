"""Folders are filled together or not at all."""

import pytest

from sdme import InputError
from sdme.io.folder import check_writable, filling

OWNED = ("a.txt", "b.txt", "last.txt")


def fill(folder, names, failure=None):
    with filling(folder, OWNED) as place:
        for name in names:
            (place / name).write_text("new")
        if failure is not None:
            raise failure


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_creates_and_fills(tmp_path):
    fill(tmp_path / "x" / "y", OWNED)
    assert listing(tmp_path / "x" / "y") == sorted(OWNED)


def test_earlier_files_go_and_foreign_ones_stay(tmp_path):
    (tmp_path / "mine.doc").write_text("keep")
    fill(tmp_path, OWNED)
    fill(tmp_path, ["b.txt", "last.txt"])
    assert listing(tmp_path) == ["b.txt", "last.txt", "mine.doc"]
    assert (tmp_path / "mine.doc").read_text() == "keep"


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), SystemExit(1), ValueError()])
def test_failure_leaves_everything_as_it_was(tmp_path, failure):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(type(failure)):
        fill(tmp_path, OWNED, failure)
    assert listing(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"
    with pytest.raises(type(failure)):
        fill(tmp_path / "x" / "y", OWNED, failure)
    assert listing(tmp_path) == ["a.txt"]


def test_full_disk_is_wrong_input(tmp_path):
    with pytest.raises(InputError, match="No space left"):
        fill(tmp_path / "x", OWNED, OSError(28, "No space left on device"))
    assert listing(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("n" * 300)):
        with pytest.raises(InputError, match="cannot write into"):
            check_writable(folder)


def test_check_leaves_nothing(tmp_path):
    check_writable(tmp_path / "x" / "y")
    check_writable(tmp_path)
    assert listing(tmp_path) == []
