"""Plots of an evaluation as SVG: error curves, error against motion, speed, matching accuracy.

Text stays text, and the same scores give the same file. Colours can be told apart with all common
kinds of colour blindness; methods that share a colour differ in their dashes.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdme.errors import InputError
from sdme.evaluate.charts import (
    draw_curves,
    draw_matching,
    draw_motion,
    draw_speed,
    method_styles,
)
from sdme.evaluate.curves import by_method, is_photo
from sdme.evaluate.score import Score
from sdme.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _SOFT, _LINE, _PAPER = "#1d2129", "#5b6472", "#dde1e7", "#ffffff"
_THEMED = {_INK: "var(--ink)", _SOFT: "var(--soft)", _LINE: "var(--line)"}
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _SOFT,
    "axes.labelcolor": _INK,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Plot:
    """A plot as a file of its own, on white paper; ``is_wide`` says that it has several panels."""

    name: str
    title: str
    caption: str
    svg: str
    is_wide: bool

    @property
    def inline(self) -> str:
        """The same for a page: bare and see-through, text and axes in the colours of the page."""
        text = self.svg[self.svg.index("<svg") :].replace(f"fill: {_PAPER}", "fill: none", 1)
        text = re.sub(r' id="[a-z0-9.]+_\d+"', "", text)
        for colour, variable in _THEMED.items():
            text = text.replace(colour, variable)
        return text


def make_plots(scores: Sequence[Score], ours: Sequence[str] = ()) -> list[Plot]:
    """All plots for which there is something to show; ``ours`` are methods to bring out."""
    styles = method_styles(list(by_method(scores)), ours)
    population, words = _main_population(scores)
    plots = []
    for name, title, caption, draw, rows in (
        (
            "error_curves",
            "How many cases are within how many pixels",
            _CURVES,
            draw_curves,
            scores,
        ),
        ("error_by_motion", "Error against motion", _MOTION, draw_motion, population),
        ("speed", "Speed against accuracy", _SPEED, draw_speed, population),
        ("matching_accuracy", "How right the matches are", _MATCHING, draw_matching, population),
    ):
        with plot_settings(name):
            figure = draw(rows, styles)
            if figure is not None:
                told = caption if rows is scores else f"{caption} {words}"
                plots.append(Plot(name, title, told, svg_text(figure), len(figure.axes) > 1))
    return plots


def write_plots(folder: str | Path, plots: Sequence[Plot]) -> list[Path]:
    """Write ``plots/NAME.svg`` into the folder; returns the files.

    Raises:
        InputError: the folder cannot be written to.
    """
    place = Path(folder) / "plots"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {place}: {error.strerror}; choose another place") from None
    files = []
    for plot in plots:
        files.append(place / f"{plot.name}.svg")
        write_text(files[-1], plot.svg)
    return files


_CURVES = (
    "Share of the cases (all of them, failures included) whose error is below the number of pixels "
    "on the horizontal axis. Higher and further left is better. Thin broken lines are the stages "
    "before the final one."
)
_MOTION = (
    "Cases in bins of equal number by their error before any registration. A triangle at the upper "
    "edge is a median that is infinite: half of the cases or more had no answer."
)
_SPEED = (
    "Median time a case against the share of cases within 3 px. Up and to the left is better. "
    "Times compare within one run on one machine only."
)
_MATCHING = (
    "Share of a case's matches that lie within so many pixels of the truth, on average over all "
    "cases; a case without a match counts as 0."
)


def _main_population(scores: Sequence[Score]) -> tuple[Sequence[Score], str]:
    """Cross-modal cases where there are any, and words that say so."""
    cross = [score for score in scores if not is_photo(score)]
    if cross and len(cross) < len(scores):
        return cross, "Photos are left out here."
    return scores, ""


@contextmanager
def plot_settings(name: str) -> Iterator[None]:
    """Matplotlib draws as all our plots look; the same ``name`` and data give the same file."""
    import matplotlib

    settings: dict[Any, Any] = {**_SETTINGS, "svg.hashsalt": name}
    with matplotlib.rc_context(settings):
        yield


def svg_text(figure: "Figure") -> str:
    """SVG without date and tool."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing, facecolor=_PAPER)
    return stream.getvalue()
