"""An evaluation from end to end: inputs, cases, methods, tables, plots and the page."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdme import __version__
from sdme.data.pairs import PairList
from sdme.data.paper_sets import holds_paper_set
from sdme.data.sources import read_all
from sdme.errors import InputError
from sdme.evaluate.against import Comparison, ScoredRun, compare_runs, compare_settings
from sdme.evaluate.against import to_markdown as comparison_to_markdown
from sdme.evaluate.case import Case, CaseKey
from sdme.evaluate.export import to_data, write_csv, write_parquet
from sdme.evaluate.figures import Figures, figures_of
from sdme.evaluate.methods import method_label
from sdme.evaluate.page import render_page
from sdme.evaluate.page_tables import tables_of_report
from sdme.evaluate.plots import make_plots, write_plots
from sdme.evaluate.presentation import Presentation, setting_of
from sdme.evaluate.protocol import PROTOCOLS, Protocol, case_keys, draw_case
from sdme.evaluate.record import current_circumstances, usable_cores
from sdme.evaluate.runner import Progress, run_methods
from sdme.evaluate.score import Score
from sdme.evaluate.store import RECORD_FILE, RunFolder
from sdme.evaluate.table import to_markdown
from sdme.files import write_text
from sdme.io.folder import check_apart

TABLES, PAIRS, PARQUET = "table.md", "pairs.csv", "pairs.parquet"
PAGE, PLOTS, COMPARISON = "report.html", "plots", "comparison.md"
OUTPUTS = (TABLES, PAIRS, PARQUET, PAGE, PLOTS, COMPARISON)


@dataclass(frozen=True)
class EvaluationOptions:
    """Which cases are drawn, and how they are run.

    ``protocol`` is the name of one, or ``None`` for what suits the inputs: ``paper`` for packs and
    published sets, ``real`` for pairs with a transform or landmarks, else ``native``. ``part`` is
    that of a published set. ``cases`` are drawn from every dataset; ``None`` takes each pair once.
    ``workers`` is the number of processes (``None``: one a core on a CPU, one on a GPU),
    ``threads`` that of threads in each; ``timeout`` is the seconds that a case may take.
    """

    protocol: str | None = None
    part: str = "val"
    cases: int | None = None
    seed: int = 0
    device: str = "cpu"
    workers: int | None = None
    threads: int = 1
    timeout: float = 120.0


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found, and where it is written (``None``: an optional file left out)."""

    folder: Path
    protocol: str
    scores: list[Score]
    figures: Figures
    problems: int
    seconds: float
    files: dict[str, Path | None] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)

    def to_data(self) -> dict[str, Any]:
        """Everything but the single cases, fit for JSON."""
        files = {name: path and str(path) for name, path in self.files.items()}
        facts = {"folder": str(self.folder), "protocol": self.protocol, "problems": self.problems}
        return {**facts, "files": files, **to_data(self.figures)}


def evaluate(
    data: Sequence[str | Path],
    methods: Sequence[str],
    folder: str | Path,
    options: EvaluationOptions | None = None,
    *,
    against: str | Path | None = None,
    presentation: Presentation | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], object] | None = None,
) -> Evaluation:
    """Run methods over the pairs of the inputs and write tables, plots and a page into a folder.

    ``data`` are inputs of :func:`sdme.data.sources.read_pairs`, ``methods`` names of
    :data:`sdme.evaluate.methods.METHODS`, of models, weights files or Python files. A folder with
    an unfinished run of the same cases is gone on with. ``against`` is the folder of another run
    to compare with; ``presentation`` says how the methods are shown. ``tell`` is called with a line
    about each thing that a user should know.

    Raises:
        InputError: inputs, methods, settings or the folder cannot be used.
    """
    options, presentation = options or EvaluationOptions(), presentation or Presentation()
    tell, show = tell or (lambda line: None), progress or (lambda done, total, method: None)
    began = time.monotonic()
    folder = Path(folder)
    _check_folder(folder, data)
    pairs = read_all(data, options.part)
    protocol = chosen_protocol(pairs, data, options)
    keys = case_keys(pairs.pairs, protocol, options.cases)
    other = None if against is None else _comparable(against, protocol, methods)
    if pairs.problems:
        first = pairs.problems[0]
        tell(f"{len(pairs.problems)} members left out, the first: {first.where}: {first.why}")
    circumstances = current_circumstances(
        options.device,
        workers=_workers(options),
        threads=options.threads,
        timeout=options.timeout,
        data=[str(path) for path in data],
    )
    with RunFolder.start(
        folder, protocol, keys, problems=pairs.problems, circumstances=circumstances
    ) as run:
        try:
            run_methods(
                methods,
                keys,
                protocol,
                run,
                device=options.device,
                workers=_workers(options),
                timeout=options.timeout,
                threads=options.threads,
                progress=lambda done, total, name: show(done, total, presentation.name(name)),
            )
        except InputError:
            run.discard_if_empty()
            raise
        scores = presentation.named(run.scores())
        if not scores:
            raise InputError(
                f"none of the {len(keys)} cases can be drawn, the first: {run.problems[0].why}"
            )
        comparisons = [] if other is None else _compared(run, other)
        figures = figures_of(scores)
        files = _write(run, scores, figures, keys, protocol, comparisons, presentation, tell)
        return Evaluation(
            folder,
            protocol.name,
            scores,
            figures,
            len(run.problems),
            time.monotonic() - began,
            files,
            comparisons,
        )


def _check_folder(folder: Path, data: Sequence[str | Path]) -> None:
    """Refuse a folder in which the files of a run would replace somebody's own.

    Raises:
        InputError: an input lies in it under the name of an output, or it holds such a file that
            is not from a run.
    """
    check_apart(folder, OUTPUTS, [path for path in map(Path, data) if path.exists()])
    taken = [name for name in OUTPUTS if (folder / name).exists()]
    if taken and not (folder / RECORD_FILE).exists():
        raise InputError(
            f"{folder} holds {taken[0]}, which is not from a run and would be replaced; give "
            "another folder"
        )


def chosen_protocol(
    pairs: PairList, data: Sequence[str | Path], options: EvaluationOptions
) -> Protocol:
    """The protocol that was asked for, or the one that suits the inputs; with the seed.

    Raises:
        InputError: there is no protocol of that name.
    """
    name = options.protocol
    if name is None:
        packed = {pair.fixed.path.resolve() for pair in pairs.pairs if pair.fixed.member}
        others = [path for path in map(Path, data) if not _holds_packs(path, packed)]
        suited = "real" if pairs.truth_kinds - {"aligned"} else "native"
        name = "paper" if all(holds_paper_set(path) for path in others) else suited
    if name not in PROTOCOLS:
        raise InputError(f"there is no protocol {name!r}; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name].model_copy(update={"seed": options.seed})


def _holds_packs(path: Path, packed: set[Path]) -> bool:
    """Whether an input is a pack or a folder of packs, given all packs that were read."""
    path = path.resolve()
    return any(path in (pack, pack.parent) for pack in packed)


def _workers(options: EvaluationOptions) -> int:
    if options.workers is not None:
        return options.workers
    return max(1, usable_cores() // options.threads) if options.device == "cpu" else 1


def _comparable(path: str | Path, protocol: Protocol, methods: Sequence[str]) -> RunFolder:
    """The run to compare with, known to be comparable before anything is computed."""
    other = RunFolder.read(path)
    compare_settings(
        ScoredRun("this run", (), protocol.model_dump(mode="json")),
        ScoredRun(str(path), (), other.record.protocol),
    )
    if len(methods) > 1 and not {*map(method_label, methods)} & {*map(method_label, other.methods)}:
        raise InputError(
            f"none of {', '.join(methods)} is in {path}, which has {', '.join(other.methods)}; "
            "name one of them, or a single method, which is compared with all"
        )
    return other


def _compared(run: RunFolder, other: RunFolder) -> list[Comparison]:
    mine, theirs = (
        ScoredRun(folder.path.name, folder.scores(), folder.record.protocol)
        for folder in (run, other)
    )
    return compare_runs(mine, theirs)


def _write(
    run: RunFolder,
    scores: list[Score],
    figures: Figures,
    keys: Sequence[CaseKey],
    protocol: Protocol,
    comparisons: list[Comparison],
    presentation: Presentation,
    tell: Callable[[str], object],
) -> dict[str, Path | None]:
    folder, facts = run.path, _facts(run, scores, presentation)
    report = to_markdown(figures, facts, run.problems)
    tables = tables_of_report(report)
    write_text(folder / TABLES, report)
    write_csv(folder / PAIRS, scores)
    files: dict[str, Path | None] = {"tables": folder / TABLES, "pairs": folder / PAIRS}
    files["parquet"] = folder / PARQUET
    try:
        write_parquet(folder / PARQUET, scores)
    except InputError as error:
        files["parquet"] = None
        tell(str(error))
    plots = make_plots(scores, presentation.ours)
    write_plots(folder, plots)
    files["plots"] = folder / PLOTS
    if comparisons:
        comparison = comparison_to_markdown(comparisons)
        write_text(folder / COMPARISON, comparison)
        files["comparison"] = folder / COMPARISON
        tables += tables_of_report(comparison)
    by_name = {key.name: key for key in keys}

    def draw(score: Score) -> Case:
        return draw_case(by_name[score.case], protocol)

    settings = {presentation.name(name): setting_of(name) for name in run.methods}
    page = render_page(
        scores,
        draw,
        tables,
        facts,
        __version__,
        presentation,
        plots=plots,
        settings=settings,
        problems=run.problems,
    )
    write_text(folder / PAGE, page)
    return {**files, "page": folder / PAGE}


def _facts(run: RunFolder, scores: Sequence[Score], presentation: Presentation) -> dict[str, str]:
    """What a reader needs to judge the tables and to make them again."""
    record, start = run.record, run.record.starts[-1]
    settings = ", ".join(f"{name} {value}" for name, value in record.protocol.items())
    machine = f"{start['processor']}, {start['cores']} cores"
    if start["device"] != "cpu":
        machine += f", {start.get('device_name', start['device'])}"
    cases = {score.case: score.redraws for score in scores}
    redrawn = sum(count > 0 for count in cases.values())
    datasets = ", ".join(f"{presentation.set_name(d.name)} ({d.cases})" for d in record.datasets)
    return {
        "command": start["command"],
        "protocol": settings,
        "datasets (cases)": datasets,
        "cases": f"{len(cases)}; {redrawn} of them drawn again because a picture was blank",
        "processes": f"{start['workers']} of {start['threads']} thread(s)",
        "machine": machine,
        "versions": ", ".join(f"{name} {text}" for name, text in start["versions"].items()),
    }
