"""Tables of docs/reproduction.md, from evaluations of the models that were trained for it.

::

    python benchmarks/reproduction.py RUNS

``RUNS/NAME/pairs`` and ``RUNS/NAME/photos`` are folders of ``sdme evaluate`` for the model of each
name (``base-s0``, ``fixed50-s0`` ... as docs/reproduction.md names them); what is not there or not
finished is left out. Prints Markdown.
"""

import argparse
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdme.evaluate.against import ScoredRun, compare_runs
from sdme.evaluate.figures import Figures, figures_of
from sdme.evaluate.score import Score
from sdme.evaluate.store import RunFolder
from sdme.evaluate.summary import Population, Summary

SETS = {"photo": "photos", "nir": "near infrared", "thermal": "thermal", "season": "season"}
ROWS = {
    "base": "all as in the paper (MGDA-UB)",
    "fixed50": "weights 0.5 / 0.5",
    "fixed10": "weights 0.1 / 0.9",
    "fixed90": "weights 0.9 / 0.1",
    "noagents": "without agents (MITB)",
    "noguidance": "without dense guidance",
    "unweighted": "repeatability weights no loss",
    "plain": "base, refinement unweighted",
}
STAGES = ("sparse", "dense-only", "sparse-to-dense")
SEEDS = (0, 1)


@dataclass(frozen=True)
class Model:
    """Scores and figures of one model."""

    scores: tuple[Score, ...]
    figures: Figures

    def summary(self, group: str, stage: str, population: Population = "all") -> Summary | None:
        """Of one set and stage; ``None`` where the model was not evaluated there."""
        for scope, lines in self.figures.select("group", population).items():
            if scope.name == group:
                return next((line.summary for line in lines if line.stage == stage), None)
        return None

    def accuracy(self, group: str) -> dict[int, float]:
        """Mean matching accuracy by px."""
        for scope, methods in self.figures.matching.items():
            if scope.kind == "group" and scope.name == group:
                (matching,) = methods.values()
                return {k: v.value for k, v in matching.accuracy.items()}
        return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    runs = parser.parse_args().runs
    models = {folder.name: model for folder in sorted(runs.iterdir()) if (model := read(folder))}
    for seed in SEEDS:
        if plain := read(runs / f"base-s{seed}", ("plain-inference",)):
            models[f"plain-s{seed}"] = plain
    for title, lines in (
        ("Stages", stages_table(models)),
        ("Ablations, all pairs", ablation_table(models)),
        ("Ablations, mean error of the published convention", published_table(models)),
        ("Matching accuracy", accuracy_table(models)),
        ("Fine-tuning", tuning_table(models)),
        ("Differences of the same cases", paired_table(models)),
    ):
        print(f"## {title}\n", *lines, "", sep="\n")


def read(folder: Path, parts: Sequence[str] = ("pairs", "photos")) -> Model | None:
    """All finished evaluations of one model."""
    scores: list[Score] = []
    for part in parts:
        if (folder / part / "table.md").is_file():
            scores += RunFolder.read(folder / part).scores()
    return Model(tuple(scores), figures_of(scores)) if scores else None


def stages_table(models: dict[str, Model]) -> Iterator[str]:
    """Sparse only, dense only and both, of the shipped models and of the base rows."""
    yield from header("model, stage", [f"{SETS[g]} PE<1 / PE<3 / PE<10" for g in SETS])
    known = {name: [models[name]] for name in ("photo", "general") if name in models}
    for name, found in (known | {"base": of_row(models, "base")}).items():
        for stage in STAGES if found else ():
            yield row(f"{name}, {stage}", [shares(found, group, stage) for group in SETS])


def ablation_table(models: dict[str, Model]) -> Iterator[str]:
    """Every row and seed, sparse-to-dense."""
    yield from header("row", [f"{SETS[g]} PE<1 / PE<3 / PE<10" for g in SETS])
    for name, title in ROWS.items():
        for seed in SEEDS:
            if model := models.get(f"{name}-s{seed}"):
                cells = [shares([model], group, "sparse-to-dense") for group in SETS]
                yield row(f"{title}, seed {seed}", cells)


def published_table(models: dict[str, Model]) -> Iterator[str]:
    """Mean error, px, over the pairs that end better than unregistered, and their share."""
    yield from header("row", [SETS[g] for g in SETS])
    for name, title in ROWS.items():
        if found := of_row(models, name):
            yield row(title, [published(found, group) for group in SETS])


def accuracy_table(models: dict[str, Model]) -> Iterator[str]:
    """Mean matching accuracy with and without dense guidance, 1 to 10 px."""
    yield from header("set and row", [f"{k} px" for k in range(1, 11)])
    for group, title in SETS.items():
        for name in ("base", "noguidance"):
            curves = [found for model in of_row(models, name) if (found := model.accuracy(group))]
            if curves:
                cells = [f"{statistics.mean(c[k] for c in curves):.3f}" for k in range(1, 11)]
                yield row(f"{title}, {ROWS[name]}", cells)


def tuning_table(models: dict[str, Model]) -> Iterator[str]:
    """The single-modal model, and what fine-tuning on a tenth and on all pairs makes of it."""
    yield from header(
        "model",
        [
            "set",
            "PE<1 / PE<3 / PE<10",
            "median, px",
            "published mean (share)",
            "photos PE<1 / PE<3",
        ],
    )
    for group in ("nir", "thermal", "season"):
        for name in ("general", "photo", f"{group}-tenth", group):
            if name in models:
                one = [models[name]]
                summary = one[0].summary(group, "sparse-to-dense")
                photos = one[0].summary("photo", "sparse-to-dense")
                yield row(
                    name,
                    [
                        SETS[group],
                        shares(one, group, "sparse-to-dense"),
                        f"{summary.median:.2f}" if summary else "",
                        published(one, group),
                        f"{photos.below[1]:.3f} / {photos.below[3]:.3f}" if photos else "",
                    ],
                )


def paired_table(models: dict[str, Model]) -> Iterator[str]:
    """First less second, with 95 % bootstrap intervals over pairs; one seed a line."""
    yield from header("first less second, PE", [SETS[group] for group in SETS])
    known = [name for name in ("photo", "general", "base-s0", "base-s1") if name in models]
    sides = [((name, "sparse-to-dense"), (name, "sparse")) for name in known]
    names = [("base-s0", "base-s1")]
    names += [(f"base-s{seed}", f"{row}-s{seed}") for seed in SEEDS for row in ROWS]
    for group in ("nir", "thermal", "season"):
        names += [(group, "general"), (group, "photo"), (f"{group}-tenth", "photo")]
    sides += [((one, "sparse-to-dense"), (two, "sparse-to-dense")) for one, two in names]
    for first, second in sides:
        if first != second and first[0] in models and second[0] in models:
            for limit in (1.0, 3.0):
                cells = [difference(models, first, second, group, limit) for group in SETS]
                if any(cells):
                    yield row(f"{' '.join(first)} - {' '.join(second)}, <{limit:g}", cells)


def difference(
    models: dict[str, Model],
    first: tuple[str, str],
    second: tuple[str, str],
    group: str,
    limit: float,
) -> str:
    """Between a stage of one model and a stage of another, on the cases of a set."""
    sides: list[ScoredRun] = []
    for name, stage in (first, second):
        scores = [s for s in models[name].scores if (s.group, s.stage) == (group, stage)]
        sides.append(ScoredRun(name, [replace(s, method=name, is_final=True) for s in scores]))
    if not all(side.scores for side in sides):
        return ""
    (found,) = compare_runs(*sides, methods=[(first[0], second[0])])
    tally = found.tallies[limit]
    return f"{tally.difference:+.3f} [{tally.interval.low:+.3f}, {tally.interval.high:+.3f}]"


def of_row(models: dict[str, Model], name: str) -> list[Model]:
    """The models of a row, one a seed."""
    return [models[key] for seed in SEEDS if (key := f"{name}-s{seed}") in models]


def shares(models: Sequence[Model], group: str, stage: str) -> str:
    """PE<1, 3 and 10, the means over models."""
    found = [s for model in models if (s := model.summary(group, stage))]
    if not found:
        return ""
    return " / ".join(f"{statistics.mean(s.below[k] for s in found):.3f}" for k in (1.0, 3.0, 10.0))


def published(models: Sequence[Model], group: str) -> str:
    """Mean error of the published convention, and the share of pairs that it counts."""
    found = [model.summary(group, "sparse-to-dense", "paper") for model in models]
    every = [model.summary(group, "sparse-to-dense") for model in models]
    means = [s.mean for s in found if s and math.isfinite(s.mean)]
    counted = [s.cases / e.cases for s, e in zip(found, every, strict=True) if s and e and e.cases]
    if not means:
        return ""
    return f"{statistics.mean(means):.2f} ({statistics.mean(counted):.2f})"


def header(first: str, others: Sequence[str]) -> Iterator[str]:
    """Head of a Markdown table."""
    yield row(first, others)
    yield "|" + " --- |" * (1 + len(others))


def row(first: str, others: Sequence[str]) -> str:
    """Line of a Markdown table."""
    return f"| {' | '.join([first, *others])} |"


if __name__ == "__main__":
    main()
