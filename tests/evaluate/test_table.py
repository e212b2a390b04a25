import io
import math

import pytest
from rich.console import Console

from sdme.data.pairs import Problem
from sdme.evaluate.figures import figures_of
from sdme.evaluate.score import MatchingScore
from sdme.evaluate.table import headline, markdown_table, to_markdown

QUALITY = MatchingScore(120, 40, {k: k / 10 for k in range(1, 11)}, 0.5, 0.75, 0.25)


def section(text, heading):
    """The text under a heading, up to the next heading."""
    return text.partition(f"\n{heading}\n")[2].partition("\n#")[0]


def cells(text, label):
    """The cells of the row in which ``label`` is one."""
    rows = [[c.strip() for c in line.strip("| ").split(" | ")] for line in text.splitlines()]
    (found,) = [row for row in rows if label in row]
    return found


@pytest.fixture
def report(score):
    """Errors of sift on tno: 0.5 and a failure; on srif_map: 4, and 30 after starting at 20 px."""
    rows = [score(0.5, matching=QUALITY), score(math.inf, index=1, pair="q", note="no | fit\nhere")]
    rows += [score(4.0, "srif_map", group="map"), score(30.0, "srif_map", group="map", index=1)]
    return to_markdown(
        figures_of(rows),
        {"protocol": "paper", "command": "sdme evaluate\nx"},
        [Problem("a.tar:1.png", "cannot be decoded"), Problem("b.png", "has no partner")]
        + [Problem(f"a.tar:{i}.png", "cannot be decoded") for i in range(2, 32)],
    )


def test_facts_stand_first(report):
    assert report.startswith("# Evaluation\n\n- protocol: paper\n- command: sdme evaluate x\n")


def test_totals_over_cases(report):
    found = section(report, "### all (4 cases from 3 pairs of 2 datasets)")
    assert "population `all`" in found and "`paper`" not in found
    row = cells(found, "sift")
    assert row[:3] == ["sift", "4", "1"]
    # areas below 10 px: 0.95 and 0.6 of four; below 5 px: 0.9 and 0.2; below 3 px: 2.5 / 3
    areas = [2.5 / 3 / 4, (0.9 + 0.2) / 4, (0.95 + 0.6) / 4]
    shares = [0, 0.25, 0.25, 0.5, 0.5, 0.5, *areas]
    assert [float(cell) for cell in row[3:12]] == pytest.approx(shares, abs=0.0006)
    # between 4 and 30 px; capped errors 0.5, 20, 4, 20
    assert [float(cell) for cell in row[12:]] == pytest.approx([17, 44.5 / 4], abs=0.006)


def test_published_convention_is_apart_and_says_so(report):
    found = section(report, "## Published convention (`paper`)")
    assert "Not comparable" in found
    row = cells(found, "sift")
    assert row[:3] == ["all", "sift", "2 of 4"]
    assert row[-2:] == ["2.25", "2.25"]
    before = report.partition("## Published convention")[0]
    assert "population `paper`" not in before


def test_datasets_in_short_with_a_star_for_misaligned_ones(report):
    found = section(report, "### By dataset: PE<1 / PE<3 / PE<10 of the final answers")
    assert cells(found, "tno")[1:] == ["2", "0.500 / 0.500 / 0.500"]
    assert cells(found, "srif_map*")[1:] == ["2", "0.000 / 0.000 / 0.500"]
    assert "misaligned by 1.5 px" in found


def test_a_dataset_on_which_a_method_was_not_run_is_a_dash(score):
    rows = [score(0.5), score(0.5, "cwfid"), score(2.0, method="ecc")]
    text = to_markdown(figures_of(rows))
    found = section(text, "### By dataset: PE<1 / PE<3 / PE<10 of the final answers")
    assert cells(found, "cwfid")[2:] == ["1.000 / 1.000 / 1.000", "- / - / -"]
    assert "not run on the same cases" in text
    assert "misaligned" not in found


def test_macro_has_a_section_of_its_own(report):
    found = section(report, "### all: macro average, every dataset counts the same")
    assert cells(found, "sift")[4] == "0.250"  # the mean of 1/2 and 0


def test_matching_runtime_and_memory(report):
    found = report[report.index("## Matching: ") : report.index("## Runtime")]
    # One case in four was matched; the others count as without matches.
    quality = ["30 (4)", "10 (4)", "0.250 (1)", "0.125 (4)", "0.750 (1)"]
    assert ["all", "sift", *quality] == cells(found.partition("MMA@1 ")[0], "sift")
    accuracy = [f"{k / 40:.3f}" for k in range(1, 11)]
    assert ["all", "sift", "4", *accuracy] == cells(found.partition("MMA@1 ")[2], "sift")
    assert cells(section(report, "## Runtime and memory"), "sift")[1:] == ["10.0 (4)", "100"]


def test_crashes_with_their_message(report):
    found = section(report, "## Crashes, hangs and refusals (counted as failures)")
    assert "| sift   | 1 of 4 | no \\| fit here | tno/q#1  |" in found


def test_what_was_left_out_is_counted_by_reason(report):
    found = section(report, "## Left out")
    assert "Not used, and in no figure: 32." in found
    assert "31 × cannot be decoded" in found and "- and 11 more" in found
    assert "1 × has no partner:\n\n- b.png" in found


def test_nothing_left_out_and_no_crash_have_no_section(score):
    text = to_markdown(figures_of([score(1.0)]))
    assert all(word not in text for word in ("Left out", "Crashes", "## Matching"))


def test_two_measures_are_told(score):
    rows = [score(1.0), score(1.0, index=1, measure="landmarks")]
    assert "1 by corners, 1 by landmarks" in to_markdown(figures_of(rows))


def test_headline_fits_a_terminal(score):
    stages = ("sparse", "sparse-to-dense")
    rows = [
        score(0.5 + place, method="general", stage=stage, final_error=1.5, is_final=bool(place))
        for place, stage in enumerate(stages)
    ]
    stream = io.StringIO()
    Console(file=stream, width=80).print(headline(figures_of([*rows, score(math.inf)])))
    text = stream.getvalue()
    assert "all (1)" in text and max(map(len, text.splitlines())) <= 80
    (row,) = [line for line in text.splitlines() if "general: sparse-to-dense" in line]
    assert row.split()[2:] == ["0", "0.000", "1.000", "1.000", "0.850", "1.50", "10"]
    assert "inf" in next(line for line in text.splitlines() if "sift" in line)


def test_markdown_table_is_padded_and_escaped():
    assert markdown_table(["a", "b"], [["x|y", "1\n2"]]).splitlines() == [
        "| a    | b   |",
        "| ---- | --- |",
        "| x\\|y | 1 2 |",
    ]
