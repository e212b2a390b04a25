"""``sdme calibrate``: teach a model what its answers are worth."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from sdme.cli.output import JsonFlag, Output, QuietFlag

WEIGHTS, TRIALS, PAGE, DIAGRAM = "weights.safetensors", "trials.jsonl", "verdict.md", "verdict.svg"


def calibrate(
    model: str,
    *data: Path,
    output: Annotated[Path, Parameter(alias="-o")] = Path("calibration"),
    cases: Annotated[int, Parameter(validator=Number(gte=1))] | None = None,
    protocols: tuple[Literal["paper", "native", "hard"], ...] = ("paper", "native"),
    device: str = "auto",
    trials: Path | None = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Fit a model's confidence on pairs that it was not trained on.

    Example: `sdme calibrate mine/weights.safetensors held_out_pairs other_pairs -o calibrated`

    From the pairs, all on one pixel grid, random transforms are drawn; moving images of other
    pictures are laid beside them, of which nothing should be called aligned. The folder receives
    the weights with the calibration, the trials, and `verdict.md` with `verdict.svg`: how right the
    confidence is, on sets that the fit did not see. At least two sets are needed.

    Parameters
    ----------
    model
        name of shipped weights or a .safetensors file
    data
        packs, folders or manifests of pairs
    output
        folder for the results
    cases
        cases drawn from each set [default: each pair once]
    protocols
        how the cases are drawn
    device
        auto, cpu, cuda or cuda:N
    trials
        trials.jsonl of an earlier run; nothing is registered again, and no data are needed
    as_json
        print one JSON object and nothing else
    quiet
        print nothing but errors
    """
    from dataclasses import asdict

    from sdme.data.sources import read_all
    from sdme.evaluate.calibration import (
        by_stages,
        fit_calibration,
        reliability,
        with_confidence,
    )
    from sdme.evaluate.trials import load_trials, run_trials, save_trials
    from sdme.evaluate.verdict_page import reliability_diagram, verdict_tables
    from sdme.io.folder import check_writable, filling
    from sdme.model.weights import load_network, save_weights, usable_device

    out = Output(as_json, quiet)
    network = load_network(model, usable_device(device))
    network.calibration = None
    check_writable(output)
    found = (
        load_trials(trials)
        if trials is not None
        else list(
            run_trials(
                read_all(data).pairs,
                network,
                protocols=protocols,
                cases=cases,
                progress=out.counter("trials"),
            )
        )
    )
    if trials is None:  # they took long: a fit that fails must not lose them
        output.mkdir(parents=True, exist_ok=True)
        save_trials(output / TRIALS, found)
    calibration = fit_calibration(found)
    judged = [t for members in by_stages(found).values() for t in with_confidence(members)]
    with filling(output, (DIAGRAM, PAGE, TRIALS, WEIGHTS)) as place:
        network.calibration = calibration
        save_weights(place / WEIGHTS, network)
        save_trials(place / TRIALS, judged)
        text = verdict_tables(judged, calibration.aligned_above)
        (place / PAGE).write_text(text, encoding="utf-8")
        (place / DIAGRAM).write_text(reliability_diagram(judged), encoding="utf-8")
    told = asdict(reliability(judged, calibration.aligned_above))
    out.result({"folder": str(output), "aligned_above": calibration.aligned_above} | told)
    out.line(
        f"called aligned from {calibration.aligned_above:.2f} on: {told['right_aligned']:.0%} of "
        f"the right answers, {told['wrong_aligned']:.1%} of the wrong ones, "
        f"{told['unrelated_aligned']:.1%} of unrelated pairs; open {output / PAGE}"
    )
    return 0
