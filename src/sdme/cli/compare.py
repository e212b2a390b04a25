"""``sdme compare``: methods side by side on pairs with a known truth."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from sdme.cli.evaluate import RunOptions, run
from sdme.cli.output import JsonFlag, Output, QuietFlag


def compare(
    *data: Path,
    methods: str = "classical,universal",
    listing: Annotated[bool, Parameter(name="--list", negative="")] = False,
    options: RunOptions | None = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Compare registration methods on pairs with a known truth.

    Examples: `sdme compare my_pairs -o run`, `sdme compare --list`,
    `sdme compare my_pairs --methods sift,xfeat,universal,my_method.py -o run`

    Inputs, protocols and the files of a run are those of `sdme evaluate`. Further methods may be
    added to a run later: the same command with more of them computes what is missing.

    A method of your own is a Python file with a function `register(fixed, moving)`, which is given
    two 8-bit RGB arrays and returns a 3x3 matrix from fixed to moving pixels, or None. A method
    that crashes or exceeds the time limit has failed the case, and the report says why.

    Parameters
    ----------
    data
        inputs, one or more
    methods
        names by commas: methods of `--list`, models, weights files, Python files, or the groups
        classical, learned and all
    listing
        list the methods with their settings, and whether they are installed
    options
        see :class:`RunOptions`
    as_json
        print one JSON object and nothing else
    quiet
        print nothing but errors
    """
    from sdme.errors import InputError
    from sdme.evaluate.methods import chosen_methods
    from sdme.model.weights import DEFAULT_MODEL

    out = Output(as_json, quiet)
    if listing:
        return _list(out)
    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise InputError("no method was named; see sdme compare --list")
    chosen, left_out = chosen_methods(names, DEFAULT_MODEL)
    for name, why in left_out.items():
        out.warning(f"{name} is left out: {why}")
    return run(data, chosen, options or RunOptions(), "comparison", out)


def _list(out: Output) -> int:
    from sdme.evaluate.methods import METHODS, chosen_methods

    _, left_out = chosen_methods(["classical", "learned"], "")
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "kind": "classical" if info.is_classical else "learned",
            "summary": info.summary,
            "setting": info.setting,
            "available": left_out.get(name, "yes"),
        }
        for name, info in METHODS.items()
    ]
    out.result(rows)
    for row in rows:
        out.line("\t".join(row.values()))
    return 0
