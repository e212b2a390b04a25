"""What trials say of a verdict, as Markdown tables and a reliability diagram."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from sdme.config import RIGHT_WITHIN, ROUGH, Calibration
from sdme.evaluate.calibration import (
    Reliability,
    by_stages,
    reliability,
    roughly,
    with_confidence,
)
from sdme.evaluate.plots import plot_settings, svg_text
from sdme.evaluate.trials import Trial

_BINS = np.linspace(0, 1, 11)


def verdict_tables(judged: Sequence[Trial], limit: float) -> str:
    """Markdown: all trials by stages and protocol, then by set; ``limit`` makes them aligned."""
    parts = [
        f"An answer is right when its corners are less than {RIGHT_WITHIN:g} px off, of an image "
        f"of 640 px; it is called aligned from a confidence of {limit:.2f} on. Each set is judged "
        "by a fit on all others.",
        _table(_SUMMARY, (_summary(k, v, limit) for k, v in _populations(judged).items())),
        "What is at least roughly right, within "
        f"{ROUGH * RIGHT_WITHIN:g} px; below {UNCERTAIN:g} an answer has failed:",
        _table(_ROUGH, _rough_rows(judged)),
        _table(_SETS, _set_rows(judged, limit)),
    ]
    return "\n\n".join(parts) + "\n"


def reliability_diagram(judged: Sequence[Trial]) -> str:
    """SVG: how often answers of a confidence are right, in ten bins, and how many there are."""
    with plot_settings("reliability"):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.2, 5.6), layout="constrained")
        top, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
        top.plot([0, 1], [0, 1], color="#9aa3af", linewidth=1, linestyle="--")
        for colour, (stages, members) in zip(_COLOURS, by_stages(judged).items(), strict=False):
            confidence = np.array([t.confidence for t in members], float)
            right = np.array([t.is_right for t in members])
            rows = [r for r in bin_rows(confidence, right) if r.count]
            x, y = [r.confidence for r in rows], [r.right for r in rows]
            gaps = [[a - r.low for a, r in zip(y, rows, strict=True)]]
            gaps += [[r.high - a for a, r in zip(y, rows, strict=True)]]
            top.errorbar(x, y, yerr=gaps, marker="o", capsize=2, color=colour, label=stages)
            below.stairs([r.count for r in bin_rows(confidence, right)], _BINS, color=colour)
        top.set(ylabel="share of right answers", xlim=(0, 1), ylim=(0, 1))
        top.legend()
        below.set(xlabel="confidence", ylabel="trials", yscale="log")
        return svg_text(figure)


class Bin:
    """Trials of one bin: mean confidence, share of right ones and its 95 % Wilson interval."""

    def __init__(self, confidence: np.ndarray, right: np.ndarray) -> None:
        self.count = len(right)
        self.confidence = float(confidence.mean()) if self.count else 0.0
        self.right = float(right.mean()) if self.count else 0.0
        self.low, self.high = wilson(int(right.sum()), self.count)


def bin_rows(confidence: np.ndarray, right: np.ndarray) -> list[Bin]:
    """The ten bins of equal width."""
    place = np.minimum((confidence * 10).astype(int), 9)
    return [Bin(confidence[place == k], right[place == k]) for k in range(10)]


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927); (0, 1) of nothing."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, hits / count
    middle = share + z * z / (2 * count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(float((middle - half) / scale), 0.0), min(float((middle + half) / scale), 1.0)


_COLOURS = ("#0072b2", "#d55e00", "#009e73")
_SUMMARY = (
    "trials",
    "number",
    "right",
    "calibration error",
    "AUROC",
    "right, aligned",
    "wrong, aligned",
    "over 3 times the limit, aligned",
    "unrelated, aligned",
)
_ROUGH = (
    "trials",
    "calibration error",
    "AUROC",
    "kept of roughly right",
    "of wrong",
    "of unrelated",
)
UNCERTAIN = Calibration(fits={}).uncertain_above
_SETS = ("set", "right", "of them aligned", "wrong", "aligned", "unrelated", "aligned")


def _populations(judged: Sequence[Trial]) -> dict[str, list[Trial]]:
    out: dict[str, list[Trial]] = {}
    for stages, members in by_stages(judged).items():
        out[stages] = members
        out[f"{stages}, one scene alone"] = [t for t in members if t.is_related]
        for protocol in dict.fromkeys(t.protocol for t in members):
            out[f"{stages}, {protocol}"] = [t for t in members if t.protocol == protocol]
    return out


def _summary(name: str, judged: Sequence[Trial], limit: float) -> tuple[str, ...]:
    found: Reliability = reliability(judged, limit)
    shares = found.right_aligned, found.wrong_aligned, found.far_aligned, found.unrelated_aligned
    return (
        name,
        str(found.trials),
        str(found.right),
        f"{found.calibration_error:.3f}",
        f"{found.auroc:.3f}",
        *(f"{100 * share:.1f} %" for share in shares),
    )


def _rough_rows(judged: Sequence[Trial]) -> list[tuple[str, ...]]:
    rows = []
    for stages, members in by_stages(judged).items():
        found = reliability(with_confidence(roughly(members)), UNCERTAIN)
        shares = found.right_aligned, found.wrong_aligned, found.unrelated_aligned
        numbers = f"{found.calibration_error:.3f}", f"{found.auroc:.3f}"
        rows.append((stages, *numbers, *(f"{100 * share:.1f} %" for share in shares)))
    return rows


def _set_rows(judged: Sequence[Trial], limit: float) -> list[tuple[str, ...]]:
    rows = []
    for dataset in dict.fromkeys(t.dataset for t in judged):
        members = [t for t in judged if t.dataset == dataset]
        kinds = Counter((_topic(t), (t.confidence or 0) >= limit) for t in members)
        row = [dataset]
        for topic in ("right", "wrong", "unrelated"):
            aligned = kinds[topic, True]
            row += [str(aligned + kinds[topic, False]), str(aligned)]
        rows.append(tuple(row))
    return rows


def _topic(trial: Trial) -> str:
    if not trial.is_related:
        return "unrelated"
    return "right" if trial.is_right else "wrong"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
