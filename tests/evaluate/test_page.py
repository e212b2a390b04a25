"""The page is one file, whole whatever is missing, and trusts no text it is given."""

import base64
import math
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from sdme.data.pairs import ImageFile, ImagePair, Problem
from sdme.evaluate.case import Case, CaseKey
from sdme.evaluate.page import render_page
from sdme.evaluate.page_tables import Table
from sdme.evaluate.plots import make_plots
from sdme.evaluate.presentation import Presentation

VOID = {"meta", "img", "br"}
SHIFT = np.array([[1.0, 0, 8], [0, 1, 8], [0, 0, 1]])
TABLE = Table("Headline", ["method", "PE<3"], [["ours: last", "0.5 [0.4, 0.6]"], ["sift", "0.1"]])
OURS = Presentation(ours=["ours"])
FACTS = {"command": "sdme evaluate x", "machine": "two cores"}


class Reader(HTMLParser):
    """Checks that tags are closed in order; collects what the page says and refers to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.headings, self.words = [], [], [], []
        self.cells = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.references += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.references += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] == "h3":
            self.headings.append(data)
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


def draw(_score):
    moving = np.random.default_rng(3).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    moving = cv2.GaussianBlur(moving, (0, 0), 3)
    pair = ImagePair("set", "p", ImageFile("a.png"), ImageFile("b.png"))
    return Case(CaseKey(pair, 0), moving[8:56, 8:56].copy(), moving, np.eye(3), SHIFT)


@pytest.fixture(scope="module")
def scores(score):
    """Two methods on two datasets; ``sift`` fails now and then."""
    out = []
    for dataset, group in (("tno", "thermal"), ("camvid", "photo")):
        for index in range(4):
            place = {"dataset": dataset, "group": group, "index": index, "pair": f"p{index}"}
            error = math.inf if index == 2 else 1.0 + index
            matrix = None if index == 2 else tuple(SHIFT.ravel())
            note = "ValueError: <script>alert(1)</script>" if index == 2 else ""
            out.append(score(error, method="sift", matrix=matrix, note=note, **place))
            stage = {"method": "ours", "matrix": tuple(SHIFT.ravel()), "verdict": "aligned & <b>"}
            sparse = {"stage": "sparse", "is_final": False, "final_error": 0.5}
            out.append(score(2.0, **stage, **sparse, **place))
            out.append(score(0.5 + 7 * index, stage="last", **stage, **place))
    return out


@pytest.fixture(scope="module")
def page(scores):
    plots = make_plots(scores, OURS.ours)
    return render_page(scores, draw, [TABLE], FACTS, "9.9", OURS, plots=plots)


def test_page_is_whole_and_refers_to_nothing_outside(page):
    reader = Reader(page)
    assert reader.references
    assert all(r.startswith(("data:image/webp;base64,", "#")) for r in reader.references)
    bare = re.sub(r'base64,[^"]*|xmlns(:\w+)?="[^"]*"', "", page)
    assert "http:" not in bare
    assert "https:" not in bare
    assert "url(" not in re.sub(r"url\(#", "", bare)


def test_every_method_and_dataset_is_there_once(page):
    reader = Reader(page)
    assert reader.headings[:2] == ["tno", "camvid"]
    assert reader.headings.count("tno") == reader.headings.count("camvid") == 1
    assert reader.cells.count("ours") == 1
    assert reader.cells.count("sift") == 2  # its row in the given table, and that of the methods


def test_facts_tables_and_version_are_there(page):
    words = " ".join(Reader(page).words)
    for text in ("sdme evaluate x", "two cores", "Headline", "0.5 [0.4, 0.6]", "sdme 9.9"):
        assert text in words
    assert '<tr class="ours"><td>ours: last</td>' in page


def test_sets_are_told_for_what_they_are(scores):
    table = Table("By set", ["dataset", "cases"], [["tno*", "4"], ["camvid", "4"], ["all", "8"]])
    shown = Presentation(ours=["ours"], of_sets="held out")
    reader = Reader(render_page(scores, draw, [table], FACTS, "9.9", shown))
    assert reader.headings[:2] == ["tno, held out", "camvid, held out"]
    assert [c for c in reader.cells if "held out" in c] == ["tno, held out*", "camvid, held out"]
    assert "all" in reader.cells
    assert not {"tno", "camvid"} & {word.strip() for word in reader.words}


def test_a_verdict_is_told_with_whose_it_is(page):
    assert "verdict of ours: aligned" in " ".join(Reader(page).words)


def test_outcome_in_words(page):
    words = " ".join(Reader(page).words)
    # the errors of ours are 0.5, 7.5, 14.5 and 21.5 px on each of two datasets
    assert "ours was given 8 cases: 25.0% within 3 px, 25.0% within 1 px" in words
    # of an even number of errors the mean of the two in the middle, as in the tables
    assert "median 11.00 px; every case had an answer" in words
    # sift: 1, 2, none, 4
    assert "The other method, sift, had 50.0% within 3 px." in words


def test_pictures_are_those_of_ours_and_decode(page):
    assert "Pictures of ours" in page
    pictures = [r for r in Reader(page).references if r.startswith("data:")]
    assert len(pictures) == 3 * (2 * 3 + 6)  # best, median, worst of two datasets; six worst ones
    for uri in pictures:
        data = np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR) is not None


def test_what_comes_from_data_is_escaped(scores):
    problems = [Problem("<img src=x onerror=1>", "why & <why>")] * 30
    text = render_page(
        scores, draw, [Table("<b>", ["<i>"], [["<script>"]])], {"<u>": "<s>"}, "9.9",
        Presentation("<title>"), shown="sift", problems=problems, settings={"sift": "<em>"},
    )  # fmt: skip
    Reader(text)
    assert text.count("<script>") == 1  # the page's own
    for tag in (
        "<script>alert",
        "<td><script>",
        "<b>aligned",
        "<img src=x",
        "<u>",
        "<s>",
        "<em>",
        "<title><title>",
    ):
        assert tag not in text
    assert "ValueError: &lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "30 members of the data could not be used" in text
    assert "and 10 more" in text


def test_a_name_of_a_method_cannot_break_out_of_a_plot(score):
    rows = [score(1.0, index=i, method="</svg><script>alert(1)</script>") for i in range(3)]
    text = render_page(rows, draw, [], {}, "9.9", plots=make_plots(rows))
    Reader(text)
    assert "alert(1)" in text
    assert "<script>alert" not in text


def test_failures_are_shown_with_their_number(scores):
    text = render_page(scores, draw, [], {}, "9.9", shown="sift")
    assert "No answer (2 of 2)" in text
    # the worst of each set, and again among those without an answer
    assert text.count('<div class="none">no answer<') == 2 * 2


def test_the_best_method_is_shown_where_none_is_ours(scores):
    assert "Pictures of sift" in render_page(scores, draw, [], {}, "9.9")
    assert "Pictures of sift" in render_page(
        scores, draw, [], {}, "9.9", Presentation(ours=["absent"])
    )


def test_the_same_run_gives_the_same_page(scores, page):
    plots = make_plots(scores, OURS.ours)
    assert render_page(scores, draw, [TABLE], FACTS, "9.9", OURS, plots=plots) == page


def test_nothing_at_all_is_a_page():
    text = render_page([], draw, [], {}, "9.9")
    Reader(text)
    assert "No method has a result yet." in text


def test_nothing_but_failures_is_a_page(crash):
    text = render_page([crash(index=i) for i in range(3)], draw, [], {}, "9.9")
    Reader(text)
    assert "median infinite; 3 had no answer" in text


def test_an_unreadable_image_is_told_in_place_of_its_pictures(scores):
    def unreadable(_score):
        raise OSError("disk <gone>")

    text = render_page(scores, unreadable, [], {}, "9.9", OURS)
    Reader(text)
    assert "no picture: disk &lt;gone&gt;" in text


def test_two_methods_side_by_side_and_the_conclusion(scores):
    said = Presentation(
        "Before and after", ["ours"], "sift", conclude=lambda rows: f"<{len(rows)} scores>"
    )
    text = render_page(scores, draw, [], {}, "9.9", said)
    reader = Reader(text)
    assert "<p><b>&lt;24 scores&gt;</b></p>" in text
    assert "Pictures of ours beside sift" in " ".join(reader.words)
    shown = 2 * 3 + 6
    pictures = [r for r in reader.references if r.startswith("data:")]
    # sift has no answer to the third case of a set, which is neither best, median nor worst of ours
    lost = text.count('<div class="none">no answer')
    assert lost == 2 and len(pictures) == 4 * shown - lost
    assert text.count('<span class="tag">sift</span>') == shown
    assert 'best: 0.50 px</b> <span class="soft">(sift: 1.00 px; unregistered:' in text


def test_uneven_runs_are_warned_of(scores):
    fewer = [s for s in scores if s.method == "ours" or s.index < 3]
    assert "ours 8, sift 6" not in render_page(scores, draw, [], {}, "9.9")
    text = render_page(fewer, draw, [], {}, "9.9")
    assert "not all been given the same cases" in text
    assert "sift 6, ours 8" in text
