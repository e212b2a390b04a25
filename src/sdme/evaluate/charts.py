"""The drawings of an evaluation's plots; what they show is computed in ``curves``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sdme.evaluate.curves import (
    CLOSE,
    THRESHOLDS,
    Track,
    is_photo,
    matching_accuracy,
    motion_curve,
    motion_edges,
    share_below,
    tracks,
)
from sdme.evaluate.figures import median_milliseconds
from sdme.evaluate.score import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NO_REGISTRATION = "identity"
_NO_REGISTRATION_COLOUR = "#7f8793"
# Okabe and Ito's palette, the light ones darkened: they stand on white and on black paper
_OURS = ("#d55e00", "#b8519b")
_COLOURS = ("#1f83c9", "#009e73", "#d18f00", "#4aa6dc", "#c77ba4")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (6, 2, 1.2, 2)), (0, (1.2, 1.6)))
_STAGE_DASHES: tuple[Any, ...] = ((0, (4, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)))
_WIDTH, _HEIGHT = 11.0, 4.0
_LEGEND_ROW, _LEGEND_COLUMNS = 0.24, 5
_LEGEND_WIDTH = 0.94  # share of the figure: a reader's font may be wider than the one measured
_LONGEST_LABEL = 48
_LEAST_SHOWN = 1e-2
_PAD = 2.3  # each way, so that two of 1, 2, 5, 10 lie within the axis
_ANCHORS = {"left": 0.0, "bottom": 0.0, "center": 0.5, "right": 1.0, "top": 1.0}
_SIDES: tuple[tuple[float, float, str, str], ...] = (
    (8.0, 0.0, "left", "center"),
    (-8.0, 0.0, "right", "center"),
    (0.0, 8.0, "center", "bottom"),
    (0.0, -8.0, "center", "top"),
    (6.0, 6.0, "left", "bottom"),
    (6.0, -6.0, "left", "top"),
    (-6.0, 6.0, "right", "bottom"),
    (-6.0, -6.0, "right", "top"),
)


@dataclass(frozen=True)
class Style:
    """How the line of a method looks in every plot."""

    colour: str
    dash: Any
    width: float
    is_ours: bool = False


def method_styles(methods: Sequence[str], ours: Sequence[str]) -> dict[str, Style]:
    """A style for each method, the same in every plot."""
    nothing = Style(_NO_REGISTRATION_COLOUR, _DASHES[3], 1.4)
    styles = {NO_REGISTRATION: nothing} if NO_REGISTRATION in methods else {}
    for place, method in enumerate(m for m in methods if m in ours):
        lap, colour = divmod(place, len(_OURS))
        styles[method] = Style(_OURS[colour], _DASHES[lap % len(_DASHES)], 2.8, True)
    for place, method in enumerate(m for m in methods if m not in styles):
        lap, colour = divmod(place, len(_COLOURS))
        styles[method] = Style(_COLOURS[colour], _DASHES[lap % len(_DASHES)], 1.7)
    return styles


def draw_curves(scores: Sequence[Score], styles: dict[str, Style]) -> "Figure | None":
    """Share of cases by error: a panel for cross-modal ones and one for photos."""
    ours = [method for method, style in styles.items() if style.is_ours]
    panels = {
        "Cross-modal": [score for score in scores if not is_photo(score)],
        "Both images from one photo": [score for score in scores if is_photo(score)],
    }
    panels = {title: found for title, rows in panels.items() if (found := tracks(rows, ours))}
    if not panels:
        return None
    figure, axes = _figure(len(panels))
    for ax, (title, found) in zip(axes, panels.items(), strict=True):
        for track in found:
            line = _line_of(track, found, styles)
            ax.plot(THRESHOLDS, share_below(track.errors, THRESHOLDS), label=track.label, **line)
        ax.set(title=_counted(title, found), xlabel="error t, px", ylim=(0, 1))
        ax.set(xscale="log", xlim=(THRESHOLDS[0], THRESHOLDS[-1]))
        _number_ticks(ax.xaxis, [0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 32])
        _percent(ax)
    axes[0].set_ylabel("cases with error < t")
    _legend(figure, axes)
    return figure


def draw_motion(scores: Sequence[Score], styles: dict[str, Style]) -> "Figure | None":
    """Median error and share within 3 px by the error before registration, for final stages."""
    found = tracks(scores)
    motions = {c: u for t in found for c, u in zip(t.cases, t.unregistered, strict=True)}
    edges = motion_edges(np.array(list(motions.values())))
    if len(edges) < 2:
        return None
    figure, axes = _figure(2)
    medians: list[float] = []
    for track in found:
        curve, line = motion_curve(track, edges), _line_of(track, found, styles)
        line |= {"marker": "o", "markersize": 4}
        shown = np.where(np.isfinite(curve.medians), curve.medians, np.nan)
        axes[0].plot(curve.motions, np.maximum(shown, _LEAST_SHOWN), label=track.label, **line)
        _mark_failures(axes[0], curve.motions[np.isposinf(curve.medians)], line["color"])
        axes[1].plot(curve.motions, curve.close, label=track.label, **line)
        medians.extend(np.maximum(shown[np.isfinite(shown)], _LEAST_SHOWN))
    low, high = (min(medians), max(medians)) if medians else (1.0, 1.0)
    axes[0].set(yscale="log", ylabel="median error, px", title=_counted("Median error", found))
    axes[0].set_ylim(low / _PAD, high * _PAD)
    _number_ticks(axes[0].yaxis, _decades(axes[0].get_ylim()))
    axes[1].set(
        ylim=(0, 1), ylabel=f"cases with error < {CLOSE:g} px", title=f"Within {CLOSE:g} px"
    )
    _percent(axes[1])
    for ax in axes:
        ax.set_xlabel("error before registration, px")
    _legend(figure, axes)
    return figure


def draw_speed(scores: Sequence[Score], styles: dict[str, Style]) -> "Figure | None":
    """Time a case against the share within 3 px; no registration is a line, as it takes none."""
    timed = [track for track in tracks(scores) if median_milliseconds(track.seconds) > 0]
    found = [track for track in timed if track.method != NO_REGISTRATION]
    if not found:
        return None
    figure, (ax,) = _figure(1)
    places = [(median_milliseconds(track.seconds), track.close) for track in found]
    for track in timed:
        if track.method == NO_REGISTRATION:
            ax.axhline(track.close, color=_NO_REGISTRATION_COLOUR, linestyle=_DASHES[3])
            ax.set_title(f"dotted: no registration, {track.close:.0%}", loc="right", fontsize=9)
    for track, place in zip(found, places, strict=True):
        style = styles[track.method]
        size = 9 if style.is_ours else 7
        ax.plot(*place, "o", color=style.colour, markersize=size, clip_on=False)
    low, high = min(x for x, _ in places), max(x for x, _ in places)
    ax.set(xscale="log", xlim=(low / _PAD, high * _PAD), ylim=(0, 1))
    ax.set(xlabel="median time a case, ms", ylabel=f"cases with error < {CLOSE:g} px")
    ax.set_title(_counted("Time and share", found), loc="left")
    _number_ticks(ax.xaxis, _decades(ax.get_xlim()))
    _percent(ax)
    names = [(t.method, "bold" if styles[t.method].is_ours else "normal") for t in found]
    _label_points(figure, ax, places, names)
    return figure


def draw_matching(scores: Sequence[Score], styles: dict[str, Style]) -> "Figure | None":
    """Share of right matches of the methods that match points."""
    curves = matching_accuracy(scores)
    if not curves:
        return None
    figure, (ax,) = _figure(1)
    for method, curve in curves.items():
        style = styles[method]
        line = {"color": style.colour, "linestyle": style.dash, "linewidth": style.width}
        ax.plot(list(curve), list(curve.values()), label=method, **line)
    finals = [track for track in tracks(scores) if track.method in curves]
    ax.set(xlabel="distance to the truth, px", ylabel="mean share of right matches", ylim=(0, 1))
    ax.set(title=_counted("Right matches", finals), xlim=(1, max(map(max, curves.values()))))
    _percent(ax)
    _legend(figure, [ax])
    return figure


def _line_of(track: Track, found: Sequence[Track], styles: dict[str, Style]) -> dict[str, Any]:
    style = styles[track.method]
    line = {"color": style.colour, "linestyle": style.dash, "linewidth": style.width, "zorder": 2.0}
    if not track.is_final:
        stages = [t.stage for t in found if t.method == track.method and not t.is_final]
        dash = _STAGE_DASHES[stages.index(track.stage) % len(_STAGE_DASHES)]
        return line | {"linestyle": dash, "linewidth": 1.3}
    return line | {"zorder": 3.0 if style.is_ours else 2.0}


def _figure(panels: int) -> "tuple[Figure, list[Axes]]":
    """A figure with panels side by side."""
    from matplotlib.figure import Figure

    width = _WIDTH if panels > 1 else 0.72 * _WIDTH
    figure = Figure((width, _HEIGHT), layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _legend(figure: "Figure", axes: "Sequence[Axes]") -> None:
    """One legend for all panels, in room of its own below them, in as many columns as fit."""
    lines = {}
    for ax in axes:
        for line, label in zip(*ax.get_legend_handles_labels(), strict=True):
            lines.setdefault(label, line)
    for columns in range(min(len(lines), _LEGEND_COLUMNS), 0, -1):
        legend = figure.legend(
            list(lines.values()),
            [_cut(label) for label in lines],
            loc="outside lower center",
            ncols=columns,
            handlelength=3.2,
            columnspacing=1.6,
        )
        if columns == 1 or legend.get_window_extent().width < _LEGEND_WIDTH * figure.bbox.width:
            figure.set_figheight(_HEIGHT + _LEGEND_ROW * -(-len(lines) // columns))
            return
        legend.remove()


def _cut(label: str) -> str:
    """The label, without the middle of a very long one: both ends tell it from others."""
    if len(label) <= _LONGEST_LABEL:
        return label
    end = _LONGEST_LABEL // 2
    return f"{label[: _LONGEST_LABEL - end - 1]}…{label[-end:]}"


def _mark_failures(ax: "Axes", motions: np.ndarray, colour: str) -> None:
    """Triangles on the upper edge of a panel, which the layout need not make room for."""
    edge = ax.get_xaxis_transform()
    marks = {"color": colour, "transform": edge, "clip_on": False, "in_layout": False}
    ax.plot(motions, np.ones(len(motions)), "^", **marks)


def _label_points(
    figure: "Figure",
    ax: "Axes",
    places: Sequence[tuple[float, float]],
    names: Sequence[tuple[str, str]],
) -> None:
    """Write each name beside its point, on the side where it covers least of what is there."""
    figure.draw_without_rendering()
    points = ax.transData.transform(places)
    dot, unit = 7.0, figure.dpi / 72
    taken = [np.array([x - dot, y - dot, x + dot, y + dot]) for x, y in points]
    frame = np.array(ax.get_window_extent().extents)
    for (x, y), place, (name, weight) in zip(points, places, names, strict=True):
        size = np.array([6.2 * len(name), 11.0]) * unit
        choices = []
        for right, up, across, above in _SIDES:
            shift = size * [_ANCHORS[across], _ANCHORS[above]]
            corner = np.array([x, y]) + np.array([right, up]) * unit - shift
            box = np.concatenate([corner, corner + size])
            outside = float(np.prod(size)) - _overlap(box, frame)
            covered = outside + sum(_overlap(box, other) for other in taken)
            choices.append((covered, len(choices), box))
        _, best, box = min(choices, key=lambda choice: choice[:2])
        right, up, across, above = _SIDES[best]
        taken.append(box)
        ax.annotate(
            name, place, (right, up), textcoords="offset points", ha=across, va=above, weight=weight
        )


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(np.prod(np.clip(sides, 0, None)))


def _counted(title: str, found: Sequence[Track]) -> str:
    """The title with the number of cases; a range where methods have seen different numbers."""
    counts = sorted({len(track.cases) for track in found})
    cases = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{title} ({cases} cases)"


def _percent(ax: "Axes") -> None:
    ax.set_yticks(np.linspace(0, 1, 6), [f"{v:.0%}" for v in np.linspace(0, 1, 6)])


def _number_ticks(axis: Any, values: Sequence[float]) -> None:
    """Plain numbers on a logarithmic axis."""
    axis.set_ticks(values, [f"{value:g}" for value in values])
    axis.set_ticks([], minor=True)


def _decades(limits: tuple[float, float]) -> list[float]:
    """1, 2, 5 times powers of ten within the limits; the powers alone over a wide range."""
    low, high = limits
    factors = (1.0,) if high / low > 3000 else (1.0, 3.0) if high / low > 100 else (1.0, 2.0, 5.0)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    values = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in values if low <= value <= high]
