"""Which images a verdict is tried on."""

import math

import numpy as np
import pytest
from hand_made_fast import HandMadeFast

from sdme.data.sources import read_all
from sdme.evaluate.trials import run_trials


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two folders of pairs: of two pictures each."""
    import cv2

    root = tmp_path_factory.mktemp("sets")
    for name, count in (("many", 2), ("llvip", 2)):
        (root / name).mkdir()
        for k in range(count):
            rng = np.random.default_rng(k + 10 * count)
            coarse = rng.integers(0, 255, (20, 20, 3), np.uint8)
            picture = cv2.resize(coarse, (224, 224), interpolation=cv2.INTER_CUBIC)
            for side in "ab":
                cv2.imwrite(str(root / name / f"p{k}.{side}.png"), picture)
    return [root / "many", root / "llvip"]


def test_trials_are_of_pairs_and_of_strangers(sets):
    told = []
    trials = list(
        run_trials(
            read_all(sets).pairs,
            HandMadeFast(np.eye(3)),
            protocols=("paper",),
            stages=("dense",),
            progress=lambda done, total: told.append((done, total)),
        )
    )
    kinds = [(t.dataset, t.kind) for t in trials]
    assert kinds.count(("many", "one scene")) == kinds.count(("many", "same set")) == 2
    assert kinds.count(("llvip", "one scene")) == 2
    assert ("llvip", "same set") not in kinds  # all its pictures show one place
    assert kinds.count(("llvip", "other set")) == 1
    assert told == [(k, 4) for k in range(1, 5)]
    for trial in trials:
        assert (trial.protocol, trial.stages) == ("paper", "dense")
        assert set(trial.figures) == {"predicted_error", "instability", "likeness", "weight"}
        if trial.is_related:
            first, second = trial.name.split(" and ")
            assert first == second and trial.is_right == (trial.error < 1)
            assert trial.error < 60  # of one pixel of 128; the centred guess is off by up to 45
        else:
            first, second = (name.split("#")[0] for name in trial.name.split(" and "))
            assert first != second and math.isinf(trial.error)
