"""Plots hold what they are given, are the same every time, and refer to nothing outside."""

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import matplotlib
import numpy as np
import pytest

from sdme.errors import InputError
from sdme.evaluate.charts import draw_motion, method_styles
from sdme.evaluate.plots import make_plots, write_plots
from sdme.evaluate.score import MatchingScore, Score

NAMES = ["error_curves", "error_by_motion", "speed", "matching_accuracy"]


def run(methods=("sift", "ours", "identity"), cases=24, groups=("nir", "photo")):
    """Scores of methods with made-up errors; ``ours`` has two stages and matches."""
    rng, out = np.random.default_rng(5), []
    for method in methods:
        for index in range(cases):
            before = 5.0 + index
            error = before if method == "identity" else float(rng.lognormal())
            error = math.inf if index % 7 == 3 and method == "sift" else error
            one = Score(
                method, method, True, "set", groups[index % len(groups)], f"p{index}", index, "a",
                "corners", error, error, before, 0.01 * len(method), 100.0,
            )  # fmt: skip
            if method == "ours":
                accuracy = {k: 1 - 1 / (k + 1) for k in range(1, 11)}
                seen = MatchingScore(9, 9, accuracy, 1.0, 1.0, 1.0)
                sparse = replace(one, stage="sparse", is_final=False, error=2 * error)
                out.append(replace(sparse, matching=seen))
            out.append(one)
    return out


@pytest.fixture(scope="module")
def plots():
    return {plot.name: plot for plot in make_plots(run(), ours=["ours"])}


def texts(svg):
    return [t.text or "" for t in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_every_plot_is_there_and_is_xml(plots):
    assert list(plots) == NAMES
    for plot in plots.values():
        assert ET.fromstring(plot.svg).tag.endswith("svg")


def test_curves_name_every_method_and_stage_once(plots):
    words = texts(plots["error_curves"].svg)
    for label in ("sift", "ours", "identity", "ours: sparse"):
        assert words.count(label) == 1
    assert "Cross-modal (12 cases)" in words
    assert "Both images from one photo (12 cases)" in words


def test_speed_labels_points_but_not_doing_nothing(plots):
    words = texts(plots["speed"].svg)
    assert words.count("sift") == words.count("ours") == 1
    assert "identity" not in words


def test_only_methods_with_matches_have_a_matching_curve(plots):
    words = texts(plots["matching_accuracy"].svg)
    assert "ours" in words
    assert "sift" not in words


def test_photos_are_left_out_only_where_there_is_something_else(plots):
    assert "Photos are left out" in plots["speed"].caption
    assert "(12 cases)" in " ".join(texts(plots["speed"].svg))
    photos = make_plots(run(methods=("sift",), groups=("photo",), cases=4))
    assert not any("left out" in plot.caption for plot in photos)


def test_plots_are_bare_and_take_the_colours_of_the_page(plots):
    for plot in plots.values():
        assert plot.inline.startswith("<svg")
        bare = re.sub(r' xmlns(:\w+)?="[^"]*"', "", plot.inline)
        assert "http" not in bare
        assert "<metadata" not in bare
        assert "var(--ink)" in bare
        assert "#1d2129" not in bare and "#1d2129" in plot.svg
        # the paper, a rectangle of the plot's size, is there in the file alone
        assert "#ffffff" in plot.svg and "#ffffff" not in bare


def test_ids_are_unique_on_a_page(plots):
    ids = [found for plot in plots.values() for found in re.findall(r' id="([^"]*)"', plot.inline)]
    assert len(ids) == len(set(ids))


def test_the_same_scores_give_the_same_files_and_leave_settings_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    first = [path.read_bytes() for path in write_plots(tmp_path, make_plots(run(), ["ours"]))]
    assert [path.stem for path in (tmp_path / "plots").iterdir() if path.suffix == ".svg"]
    second = [path.read_bytes() for path in write_plots(tmp_path, make_plots(run(), ["ours"]))]
    assert first == second
    assert len(first) == len(NAMES)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("scores", "names"),
    [
        ([], []),
        (run(methods=("sift",), cases=1), ["error_curves", "speed"]),
        (run(methods=("identity",), cases=5), ["error_curves", "error_by_motion"]),
    ],
)
def test_little_makes_few_plots(scores, names):
    assert [plot.name for plot in make_plots(scores)] == names


def test_nothing_but_failures_can_be_drawn():
    lost = [replace(one, error=math.inf, final_error=math.inf) for one in run(("sift", "ours"), 12)]
    assert {plot.name for plot in make_plots(lost)} == set(NAMES)


def test_a_method_without_known_times_has_no_place_in_speed():
    rows = [replace(one, seconds=math.nan) for one in run(methods=("sift",))]
    assert "speed" not in {plot.name for plot in make_plots(rows)}


def test_methods_look_different_from_each_other():
    names = [f"m{i}" for i in range(18)] + ["identity", "a", "b"]
    styles = method_styles(names, ["a", "b"])
    assert set(styles) == set(names)
    assert len({(s.colour, str(s.dash)) for s in styles.values()}) == len(names)


@pytest.mark.parametrize("names", [["a", "b"], ["m" * 90, "n" * 90, "o" * 30], list("abcdefgh")])
def test_every_name_of_a_legend_lies_within_the_plot(names):
    rows = [replace(s, method=name, stage=name) for name in names for s in run(("sift",), 24)]
    styles = method_styles(names, names[:1])
    figure = draw_motion(rows, styles)
    assert figure is not None
    figure.draw_without_rendering()
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert len(set(shown)) == len(names)
    assert all((a[0], a[-1]) == (b[0], b[-1]) for a, b in zip(shown, names, strict=True))
    for text in legend.get_texts():
        box = text.get_window_extent()
        assert figure.bbox.contains(box.x0, box.y0) and figure.bbox.contains(box.x1, box.y1)
    lowest = min(box.y0 for ax in figure.axes if (box := ax.get_tightbbox()))
    assert legend.get_window_extent().y1 <= lowest


def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write") as caught:
        write_plots(tmp_path / "file", make_plots(run(cases=3)))
    assert "\n" not in str(caught.value)
