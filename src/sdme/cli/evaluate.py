"""``sdme evaluate``: how well a model does on pairs with a known truth."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from sdme.cli.output import JsonFlag, Output, QuietFlag

if TYPE_CHECKING:
    from sdme.evaluate.evaluation import Evaluation
    from sdme.evaluate.runner import Progress

Positive = Annotated[int, Parameter(validator=Number(gte=1))]


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """Options that ``evaluate`` and ``compare`` share.

    Parameters
    ----------
    output
        folder of the run [default: evaluation or comparison]; an unfinished run in it is resumed
    protocol
        paper: 128 px patches; native, hard: whole images; real: the truth that comes with the pairs
        [default: what suits the inputs]
    cases
        cases drawn from each dataset [default: each pair once]
    seed
        draws other cases; published tables use 0
    part
        part of a published set
    device
        auto, cpu, cuda or cuda:N, for methods that run on PyTorch
    workers
        processes [default: one a core, or one on a GPU]
    threads
        threads of each process
    timeout
        seconds after which a method has failed a case
    against
        folder of an earlier run of the same cases: shows which were won and lost
    """

    output: Annotated[Path | None, Parameter(alias="-o")] = None
    protocol: Literal["paper", "native", "hard", "real"] | None = None
    cases: Positive | None = None
    seed: int = 0
    part: Literal["val", "train"] = "val"
    device: str = "auto"
    workers: Positive | None = None
    threads: Positive = 1
    timeout: Annotated[float, Parameter(validator=Number(gt=0))] = 120
    against: Path | None = None


def evaluate(
    *data: Path,
    model: str | None = None,
    options: RunOptions | None = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Measure how well a model registers pairs with a known truth, stage by stage.

    Examples: `sdme evaluate my_pairs -o run`,
    `sdme evaluate pairs/val photos/val --cases 40 -o run`,
    `sdme evaluate landmarks.csv --model new.safetensors --against run -o run2`

    Inputs are packs (.tar) or folders of them, folders or manifests (.csv, .jsonl) of pairs, and
    the published sets. From pairs on one pixel grid random transforms are drawn, with a seed; pairs
    with a transform or landmarks are taken as they are.

    The folder receives `report.html` with pictures of the best and worst cases, `table.md`,
    `pairs.csv` and plots. Ctrl-C keeps what is done, and the same command goes on from there.

    Parameters
    ----------
    data
        inputs, one or more
    model
        name of shipped weights (see `sdme models`) or a .safetensors file
    options
        see :class:`RunOptions`
    as_json
        print one JSON object and nothing else
    quiet
        print nothing but errors
    """
    from sdme.evaluate.methods import method_key
    from sdme.model.weights import DEFAULT_MODEL

    method = method_key(model or DEFAULT_MODEL)
    return run(data, [method], options or RunOptions(), "evaluation", Output(as_json, quiet))


def run(
    data: Sequence[Path],
    methods: Sequence[str],
    options: RunOptions,
    default_folder: str,
    out: Output,
) -> int:
    """Run an evaluation and tell about it; returns the exit code."""
    from sdme.errors import InputError
    from sdme.evaluate.evaluation import EvaluationOptions, evaluate
    from sdme.evaluate.methods import is_model, method_label
    from sdme.evaluate.presentation import Presentation
    from sdme.model.weights import usable_device

    if not data:
        raise InputError("no input was given; name a folder, pack or manifest of pairs")
    folder = options.output or Path(default_folder)
    try:
        with evaluation_progress(out) as progress:
            found = evaluate(
                data,
                methods,
                folder,
                EvaluationOptions(
                    protocol=options.protocol,
                    part=options.part,
                    cases=options.cases,
                    seed=options.seed,
                    device=str(usable_device(options.device)),
                    workers=options.workers,
                    threads=options.threads,
                    timeout=options.timeout,
                ),
                against=options.against,
                presentation=Presentation(
                    ours=[method_label(name) for name in methods if is_model(name)]
                ),
                progress=progress,
                tell=out.warning,
            )
    except KeyboardInterrupt:
        said = f"what was done is kept in {folder}; the same command goes on from there"
        raise KeyboardInterrupt(said) from None
    _tell(found, out)
    return 0


def _tell(found: "Evaluation", out: Output) -> None:
    out.result(found.to_data())
    if not (out.quiet or out.as_json):
        from rich.console import Console

        from sdme.evaluate.against import headline as comparison
        from sdme.evaluate.table import headline

        Console().print(headline(found.figures))
        if found.comparisons:
            Console().print(comparison(found.comparisons))
    if found.problems:
        out.warning(f"{found.problems} members or cases were left out; the report lists them")
    out.line(f"protocol {found.protocol}, {found.seconds:.0f} s; open {found.files['page']}")


@contextmanager
def evaluation_progress(out: Output) -> Iterator["Progress"]:
    """A bar a method with the time left; elsewhere than on a terminal a line now and then."""
    import sys

    from sdme.evaluate.methods import method_label

    if out.quiet or out.as_json:
        yield lambda done, total, method: None
        return
    if not sys.stderr.isatty():
        yield lambda done, total, method: out.counter(method_label(method))(done, total)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def report(done: int, total: int, method: str) -> None:
            if method not in tasks:
                tasks[method] = bars.add_task(method_label(method), total=total)
            bars.update(tasks[method], completed=done)

        yield report
