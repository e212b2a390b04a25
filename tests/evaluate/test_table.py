import csv
import io
import json
import math

import numpy as np
import pytest

from sdme.evaluate.answers import Answer, Outcome, answers_of, sets_of, to_csv
from sdme.evaluate.protocol import Case
from sdme.evaluate.table import markdown_table, summaries, to_data, to_markdown


def answer(pack="tno", stage="sift", error=1.0, final=None, unregistered=20.0, **rest):
    final = error if final is None else final
    values = {"pair": "p", "index": 0, "fixed_modality": "a", "redraws": 0, "seconds": 0.01}
    return Answer(pack=pack, stage=stage, error=error, final_error=final,
                  unregistered_error=unregistered, **{**values, **rest})  # fmt: skip


def shift(x):
    return np.array([[1.0, 0, x], [0, 1, 0], [0, 0, 1]])


def test_answers_of_a_case_score_every_stage_and_know_the_last():
    patch = np.zeros((128, 128, 3), np.uint8)
    case = Case("tno", "p", 3, patch, patch, shift(10), "b", 1)
    stages = {"sparse": shift(14), "sparse-to-dense": shift(11), "dense-only": None}
    rows = {a.stage: a for a in answers_of(case, Outcome(stages, 0.5), shift(30))}
    assert [rows[s].error for s in stages] == pytest.approx([4, 1, math.inf])
    assert [rows[s].final_error for s in stages] == pytest.approx([1, 1, math.inf])
    assert rows["sparse"].unregistered_error == pytest.approx(20)
    assert (rows["sparse"].pack, rows["sparse"].fixed_modality, rows["sparse"].redraws) == (
        "tno", "b", 1)  # fmt: skip


def test_sets_keep_photos_out_of_the_cross_modal_total():
    rows = [answer("bsds500"), answer("tno"), answer("unheard_of")]
    sets = sets_of(rows)
    assert len(sets["all"]) == 3
    assert {a.pack for a in sets["all cross-modal"]} == {"tno", "unheard_of"}
    assert len(sets["group photo"]) == len(sets["group thermal"]) == len(sets["group other"]) == 1
    assert list(sets)[-3:] == ["tno", "bsds500", "unheard_of"]


def test_both_populations_of_one_stage():
    rows = [
        answer(stage="sparse", error=2.0, final=0.4),
        answer(stage="sparse", error=math.inf, final=30.0),
        answer(stage="sparse", error=4.0, final=25.0),
    ]
    figures = summaries(rows)
    assert (figures["all"].pairs, figures["all"].failures) == (3, 1)
    assert figures["all"].below[3] == pytest.approx(1 / 3)
    assert (figures["paper"].pairs, figures["paper"].mean) == (1, 2.0)


def test_markdown_shows_hand_counted_shares():
    rows = [answer(error=e) for e in (0.4, 2.0, 7.0, math.inf)]
    lines = to_markdown(rows).splitlines()
    total = next(line for line in lines if line.startswith("| all cross-modal "))
    cells = [cell.strip() for cell in total.strip("|").split("|")]
    assert cells[:10] == ["all cross-modal", "sift", "4", "1", "0.250", "0.250", "0.500", "0.500",
                          "0.750", "0.750"]  # fmt: skip
    pack = next(line for line in lines if line.startswith("| tno"))
    assert "0.250 / 0.500 / 0.750" in pack


def test_misaligned_packs_are_starred():
    text = to_markdown([answer("srif_map"), answer("tno")])
    assert "srif_map*" in text
    assert "tno*" not in text


def test_data_is_strict_json_and_says_what_raised():
    data = to_data([answer(error=math.inf, note="error: x"), answer(error=1.0)])
    text = json.dumps(data, allow_nan=False)
    figures = json.loads(text)["tno"]["sift"]
    assert figures["raised"] == 1
    assert figures["all"]["failures"] == 1
    assert figures["all"]["mean"] is None
    assert figures["milliseconds"] == pytest.approx(10)


def test_csv_has_a_line_an_answer():
    rows = list(csv.DictReader(io.StringIO(to_csv([answer(error=math.inf), answer(note="a, b")]))))
    assert rows[0]["error"] == "inf"
    assert rows[1]["note"] == "a, b"


def test_markdown_table_is_aligned():
    lines = markdown_table(["a", "long"], [["xyz", "1"]]).splitlines()
    assert lines == ["| a   | long |", "| --- | ---- |", "| xyz | 1    |"]
