import numpy as np
import pytest

from sdme.data.pairs import ImageFile, ImagePair, Landmarks
from sdme.evaluate import drawn_cases
from sdme.evaluate.case import Case, CaseKey
from sdme.evaluate.drawn_cases import case_store, stored_case
from sdme.evaluate.protocol import PROTOCOLS

PAPER = PROTOCOLS["paper"]


@pytest.fixture
def draws(monkeypatch):
    """Draws cases of noise; returns the keys that were drawn."""
    drawn = []

    def draw(key, protocol):
        drawn.append(key.name)
        rng = np.random.default_rng(len(drawn))
        fixed, moving = rng.integers(0, 255, (2, 8, 9, 3), np.uint8)
        marks = key.pair.truth if isinstance(key.pair.truth, Landmarks) else None
        H = None if marks else rng.uniform(size=(3, 3))
        return Case(key, fixed, moving, np.eye(3), H, marks, redraws=2)

    monkeypatch.setattr(drawn_cases, "draw_case", draw)
    return drawn


def key(tmp_path, truth=None, index=0):
    return CaseKey(ImagePair("d", "a/../b", *[ImageFile(tmp_path / "x.png")] * 2, truth), index)


@pytest.mark.parametrize("truth", [None, Landmarks(np.ones((2, 2)), np.ones((2, 2)))])
def test_a_case_is_drawn_once_and_comes_back_the_same(tmp_path, draws, truth):
    with case_store(tmp_path) as store:
        first = stored_case(key(tmp_path, truth), PAPER, store)
        again = stored_case(key(tmp_path, truth), PAPER, store)
        stored_case(key(tmp_path, truth, index=1), PAPER, store)
    assert draws == ["d/a/../b#0", "d/a/../b#1"]
    assert np.array_equal(first.fixed, again.fixed)
    assert np.array_equal(first.moving, again.moving)
    assert first.H_true is again.H_true is None or np.array_equal(first.H_true, again.H_true)
    assert again.landmarks is truth
    assert again.redraws == 2


def test_the_store_is_gone_afterwards_and_starts_empty(tmp_path, draws):
    (tmp_path / ".cases").mkdir()
    (tmp_path / ".cases" / "left_by_a_killed_run").touch()
    with case_store(tmp_path) as store:
        assert list(store.iterdir()) == []
        stored_case(key(tmp_path), PAPER, store)
        assert len(list(store.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_or_missing_store_is_no_loss(tmp_path, draws):
    with case_store(tmp_path) as store:
        stored_case(key(tmp_path), PAPER, store)
        (file,) = store.iterdir()
        file.write_bytes(file.read_bytes()[:100])
        assert stored_case(key(tmp_path), PAPER, store).redraws == 2
        file.unlink()
        store.rmdir()
        assert stored_case(key(tmp_path), PAPER, store).redraws == 2
    assert stored_case(key(tmp_path), PAPER, None).redraws == 2
    assert len(draws) == 4
    with case_store(tmp_path / "nowhere") as store:
        assert store is None
