"""Methods go by the names that a report gives them."""

from sdme.evaluate.figures import figures_of
from sdme.evaluate.presentation import Presentation, setting_of
from sdme.evaluate.record import current_circumstances


def test_scores_take_the_names_of_their_methods(score, crash):
    rows = [
        score(1.0, method="way", stage="sparse", is_final=False),
        score(2.0, method="way", stage="last"),
        crash(method="way", index=1),
        score(3.0, method="sift"),
    ]
    shown = Presentation(labels={"/long/way/weights.safetensors": "new (run)"})
    named = shown.named(rows)
    assert [row.method for row in named] == ["new (run)"] * 3 + ["sift"]
    assert [row.error for row in named] == [row.error for row in rows]
    old, new = (
        {(line.stage, line.summary.cases, line.summary.failures) for line in figures_of(each).lines}
        for each in (rows, named)
    )
    assert new == old  # a crash still stands for every stage
    assert shown.name("/long/way/weights.safetensors") == "new (run)"
    assert shown.name("/long/way/other.safetensors") == "other.safetensors"


def test_a_method_is_told_with_its_file():
    assert setting_of("/way/mine.safetensors") == "a model of this package: /way/mine.safetensors"
    assert setting_of("own.py").startswith("a method of the user's")
    assert "no registration" in setting_of("identity").lower()


def test_the_command_is_what_to_type():
    for program in ("/usr/bin/sdme", "/lib/python3/site-packages/sdme/__main__.py"):
        command = [program, "finetune", "photo", "my pairs"]
        assert current_circumstances(command=command)["command"] == (
            "sdme finetune photo 'my pairs'"
        )
    other = current_circumstances(command=["there/__main__.py"])["command"]
    assert other == "__main__.py"
