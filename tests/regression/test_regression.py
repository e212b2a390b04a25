"""The shipped models on the samples are no worse than the stored numbers say."""

import json

import numpy as np
import pytest
from measure import QUICK_SIDE, ROOT, STORED, cases, key_of, measure

import sdme
import sdme.io.image
from sdme import RegisterSettings, Status
from sdme.model.weights import DEFAULT_MODEL

RANK = {"failed": 0, "uncertain": 1, "aligned": 2}
TOLERANCE, SHARE = 0.5, 0.1  # other processors and libraries round differently
LARGEST_ERROR = {"aligned": 3, "uncertain": 10}  # px, whatever was stored


def test_every_case_is_stored():
    assert sorted(json.loads(STORED.read_text())) == sorted(key_of(*case) for case in cases())


def is_slow(case):
    return case[0] != DEFAULT_MODEL or case[2] != QUICK_SIDE


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=key_of(*c), marks=pytest.mark.slow if is_slow(c) else []) for c in cases()],
)
def test_no_worse_than_stored(case):
    stored = json.loads(STORED.read_text())[key_of(*case)]
    now = measure(*case)
    assert RANK[now["status"]] >= RANK[stored["status"]], now
    if stored["corner_error"] is not None:
        assert now["corner_error"] <= stored["corner_error"] * (1 + SHARE) + TOLERANCE
    if now["status"] in LARGEST_ERROR:
        assert now["corner_error"] < LARGEST_ERROR[now["status"]]


def unrelated():
    """Two scenes that have nothing to do with each other, as grey pictures."""
    paths = ["samples/farmland_blue_swir/fixed.png", "samples/tissue_two_stains/moving.png"]
    return [sdme.io.image.read_image(ROOT / path, path)[:256, :256].copy() for path in paths]


@pytest.mark.parametrize("model", [DEFAULT_MODEL, pytest.param("general", marks=pytest.mark.slow)])
def test_unrelated_images_fail(model):
    settings = RegisterSettings(max_side=QUICK_SIDE)
    result = sdme.register(*unrelated(), model=model, settings=settings)
    assert (result.status, result.transform) == (Status.FAILED, None)


@pytest.mark.parametrize("model", [DEFAULT_MODEL, pytest.param("general", marks=pytest.mark.slow)])
def test_a_shared_logo_does_not_align_unrelated_images(model):
    logo = np.random.default_rng(0).integers(0, 2, (5, 10)).repeat(8, 0).repeat(8, 1) * 255
    pictures = unrelated()
    for picture in pictures:
        picture[20:60, 150:230] = logo
    result = sdme.register(*pictures, model=model, settings=RegisterSettings(max_side=256))
    assert result.status is not Status.ALIGNED
    assert result.matches.inlier.sum() > 20, "the logo should have fooled the matches"
