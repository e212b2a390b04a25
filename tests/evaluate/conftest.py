"""Scores made by hand."""

import math

import pytest

from sdme.evaluate.score import Score


@pytest.fixture(scope="session")
def score():
    """Build a score; ``error`` is the final one too unless told otherwise."""

    def build(error=1.0, dataset="tno", pair="p", index=0, method="sift", stage=None, **rest):
        values = {
            "is_final": True,
            "group": "thermal",
            "fixed_side": "a",
            "measure": "corners",
            "final_error": error,
            "unregistered_error": 20.0,
            "seconds": 0.01,
            "memory": 100.0,
        } | rest
        return Score(
            method=method,
            stage=method if stage is None else stage,
            dataset=dataset,
            pair=pair,
            index=index,
            error=error,
            **values,
        )

    return build


@pytest.fixture(scope="session")
def crash(score):
    """Build the one score of a method that raised."""

    def build(note="ValueError: no", **rest):
        return score(math.inf, note=note, seconds=9.0, **rest)

    return build
