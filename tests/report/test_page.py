"""The report is one file, says what happened in words, and trusts no text it is given."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from sdme import Reason, Status
from sdme.report.page import EXPLANATIONS, HEADINGS, View, embed, render_page

VOID = {"meta", "img", "input", "br", "link"}


class Balance(HTMLParser):
    """Checks that tags are closed in order and collects what the page refers to."""

    def __init__(self):
        super().__init__()
        self.open, self.references = [], []

    def handle_starttag(self, tag, attrs):
        self.references += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page(result):
    picture = embed(np.zeros((40, 60, 3), np.uint8), "black")
    views = [View("slider", "Slide", "Drag.", [picture, picture]), View("pair", "Two", "Look.",
             [picture, picture]), View("single", "One", "Look.", [picture])]  # fmt: skip
    return render_page(result, views, "9.9")


@pytest.mark.parametrize("status", list(Status))
def test_page_is_whole_and_refers_to_nothing_outside(handmade, status):
    text = page(handmade(status))
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    assert len(balance.references) == 5
    assert all(reference.startswith("data:image/png;base64,") for reference in balance.references)
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)


@pytest.mark.parametrize("status", list(Status))
def test_page_says_what_happened(handmade, status):
    text = page(handmade(status))
    assert HEADINGS[status.value][1] in text
    assert f"Made by hand to be {status.value}." in text
    assert ("sdme apply transform.json" in text) == (status is not Status.FAILED)


def test_every_outcome_is_explained():
    reasons = {reason.value for reason in Reason} - {"none"}
    assert set(HEADINGS) == set(EXPLANATIONS) == {status.value for status in Status}
    assert set(EXPLANATIONS["failed"]) == reasons - {"unconfirmed", "refinement_diverged"}
    assert set(EXPLANATIONS["uncertain"]) == reasons - {"blank_image"}
    assert all(EXPLANATIONS["failed"].values())
    assert all(EXPLANATIONS["uncertain"].values())


def test_names_are_escaped(handmade):
    text = page(handmade(fixed_name="<script>alert(1)</script>", message="a < b & c"))
    assert "<script>alert" not in text
    assert "A &lt; b &amp; c." in text


def test_numbers_are_those_of_the_result(handmade):
    text = page(handmade(residual_before=0.5, residual_after=0.25))
    assert "Matches kept by the fit" in text and "40 of 60 (67%)" in text
    assert "0.5 → 0.25" in text
    assert "120 × 90 px, 3 bands, uint8" in text
    assert "130 × 100 px, 1 band, uint8" in text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (112.3, ">110 px<"),
        (2.345, ">2.3 px<"),
        (0.02, ">less than 0.1 px<"),
        (0.0, ">less than 0.1 px<"),
    ],
)
def test_no_error_is_said_to_be_nothing(handmade, error, told):
    assert told in page(handmade(predicted_error=error))


def test_motion_at_the_centre(handmade):
    turn = np.radians(30)
    c, s = 2 * np.cos(turn), 2 * np.sin(turn)
    transform = type(handmade().transform)(
        np.array([[c, -s, 5.0], [s, c, 7.0], [0, 0, 1]]), (121, 91), (300, 300)
    )
    text = page(handmade(transform=transform))
    x, y = c * 60 - s * 45 + 5, s * 60 + c * 45 + 7
    assert f"(60.0, 45.0) lies at ({x:.1f}, {y:.1f})" in text
    assert "+30.00°, × 2.0000" in text


def test_large_pictures_are_photographs_small_ones_exact():
    assert embed(np.zeros((40, 60, 3), np.uint8), "a").uri.startswith("data:image/png;")
    assert embed(np.zeros((600, 60, 3), np.uint8), "a").uri.startswith("data:image/jpeg;")
