"""The command ``sdme finetune``: what it passes on, what it says, and how it fails."""

import json
import shlex
from pathlib import Path

import pytest

from sdme.cli.app import main
from sdme.config import TrainSettings
from sdme.errors import InputError
from sdme.train import finetune as module
from sdme.train.finetune import Finetuning
from sdme.train.finetune_record import Recipe, Record
from sdme.train.improvement import Change, Improvement


def change(figure, before, after):
    return Change(
        figure=figure, before=before, before_interval=(0.1, 0.3), after=after,
        after_interval=(0.4, None), difference=after - before, difference_interval=(0.2, 0.4),
    )  # fmt: skip


def result(verdict="better", is_old=False):
    recipe = Recipe(
        model="photo", sha256="ab" * 32, training={"mine": ("a", "b"), "more": ("c",)},
        held_out={"mine": ("d",)}, photos={}, share=0.2, seed=0, cases=40,
        settings=TrainSettings(steps=100),
    )  # fmt: skip
    gain = None
    if verdict is not None:
        gain = Improvement(
            cases=40, pairs=1, changes=(change("AUC@10", 0.2, 0.5),), verdict=verdict
        )
    record = Record(recipe=recipe, seconds=9.0, steps=100, suspects=2, improvement=gain)
    return Finetuning(Path("out"), record, 100 if gain else 40, is_old)


@pytest.fixture
def called(monkeypatch):
    """What the command passes on, and what it is answered."""
    notes = {"answer": result()}

    def finetune(model, data, folder, options, *, progress, tell):
        notes.update(model=model, data=list(data), folder=folder, options=options)
        for line in notes.get("lines", ()):
            tell(line)
        for done in range(1, notes.get("checked", 0) + 1):
            progress(done, notes["checked"], "check of the data")
        if isinstance(notes["answer"], BaseException):
            raise notes["answer"]
        return notes["answer"]

    monkeypatch.setattr(module, "finetune", finetune)
    return notes


def command(*words):
    return main(["finetune", *words])


def test_options_are_passed_on(called):
    words = (
        "photo a b.csv -o out --device cpu --size paper --steps 7 --share 0.3 --seed 2 "
        "--val v w --photos p --set steps=3 losses.agents=0 --cases 9 --seconds 60"
    )
    assert command(*shlex.split(words)) == 0
    options = called["options"]
    assert (called["model"], called["data"]) == ("photo", [Path("a"), Path("b.csv")])
    assert called["folder"] == Path("out")
    assert (options.validation, options.photos) == ((Path("v"), Path("w")), (Path("p"),))
    assert options.changes == ("steps=3", "losses.agents=0")
    assert (options.device, options.size, options.steps, options.seconds) == ("cpu", "paper", 7, 60)
    assert (options.share, options.seed, options.cases) == (0.3, 2, 9)


def test_what_is_not_said_is_left_to_the_settings(called):
    assert command("photo", "a") == 0
    assert called["folder"] == Path("finetuned")
    assert called["options"] == module.FinetuneOptions()


def test_the_last_line_is_the_verdict(called, capsys):
    assert command("photo", "a", "-o", "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "out/weights.safetensors" in lines[0] and "out/card.md" in lines[1]
    assert lines[-1].startswith("Better on the held-out pairs: AUC@10 0.200 before, 0.500 after")
    called["answer"] = result("not better", is_old=True)
    assert command("photo", "a", "-o", "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("finished before")
    assert lines[-1].startswith("NOT better")


def test_a_pause_says_how_to_go_on(called, capsys):
    called["answer"] = result(None)
    assert command("photo", "a") == 0
    assert "paused at step 40 of 100; the same command goes on" in capsys.readouterr().out


def test_json_is_one_object_and_nothing_else(called, capsys):
    assert command("photo", "a", "--json") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["verdict"] == "better" and found["status"] == "finished"
    assert found["counts"] == {
        "training": 3, "held_out": 1, "photos": 0, "suspects": 2, "cases": 40
    }  # fmt: skip
    (figure,) = found["figures"]
    assert (figure["figure"], figure["before"], figure["after"]) == ("AUC@10", 0.2, 0.5)
    assert found["files"]["page"] == "out/evaluation/report.html"
    assert called["options"].quiet
    called["answer"] = result(None)
    assert command("photo", "a", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["verdict"], found["figures"]) == ("paused", None, [])


def test_warnings_are_told_unless_quiet(called, capsys):
    called["lines"] = ["3 pair(s) cannot be used"]
    assert command("photo", "a") == 0
    assert capsys.readouterr().err == "warning: 3 pair(s) cannot be used\n"
    assert command("photo", "a", "--quiet") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_check_of_the_data_is_a_line_now_and_then(called, capsys):
    called["checked"] = 200
    assert command("photo", "a") == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10 and lines[-1] == "check of the data: 200 of 200"
    for flag in ("--quiet", "--json"):
        assert command("photo", "a", flag) == 0
        assert capsys.readouterr().err == ""


def test_bad_input_and_interruptions_have_their_codes(called, capsys):
    called["answer"] = InputError("7 of 7 pairs can be used")
    assert command("photo", "a") == 2
    assert capsys.readouterr().err == "error: 7 of 7 pairs can be used\n"


def test_an_interruption_says_what_is_saved(called, capsys, tmp_path):
    folder = tmp_path / "out"
    for said, expected in (
        ((), "nothing was saved yet; the same command begins anew"),
        (("step 3 of 9 is saved",), "step 3 of 9 is saved"),
    ):
        called["answer"] = KeyboardInterrupt(*said)
        assert command("photo", "a", "-o", str(folder)) == 130
        assert capsys.readouterr().err == f"error: interrupted: {expected}\n"
    folder.mkdir()
    (folder / "checkpoint.pt").touch()
    called["answer"] = KeyboardInterrupt()
    assert command("photo", "a", "-o", str(folder)) == 130
    assert f"the last checkpoint in {folder} is kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "MODEL"),
        (["photo", "a", "--share", "1"], "share"),
        (["photo", "a", "--steps", "0"], "steps"),
        (["photo", "a", "--size", "big"], "size"),
        (["photo", "a", "--seconds", "-1"], "seconds"),
    ],
)
def test_wrong_words_are_one_line(called, capsys, words, message):
    assert command(*words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert message in captured.err


def test_nothing_but_a_model_is_an_error_of_its_own(capsys, tmp_path):
    assert command("photo", "-o", str(tmp_path / "out")) == 2
    assert "no data was given" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_shows_an_example(capsys):
    assert command("--help") == 0
    assert "sdme finetune photo my_pairs -o mine" in capsys.readouterr().out
