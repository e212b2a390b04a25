"""Settings from shipped names, files and single changes."""

import json

import pytest

from sdme.errors import InputError
from sdme.train.settings_files import read_settings, shipped_settings, summary_of


def toml(path, settings):
    """The settings that differ from their defaults, as a TOML file."""
    rows = settings.model_dump(exclude_defaults=True)
    tables = {name: rows.pop(name) for name in ("network", "data", "losses") if name in rows}
    lines = [f"{key} = {json.dumps(value)}" for key, value in rows.items()]
    for name, values in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(v)}" for key, v in values.items())]
    path.write_text("\n".join(lines))
    return path


def test_a_file_and_changes_to_it(tmp_path, tiny_settings):
    path = toml(tmp_path / "tiny.toml", tiny_settings)
    assert read_settings(path) == tiny_settings
    assert read_settings(path, ["seed = 5"]).seed == 5
    assert read_settings(path, [f"batch={tiny_settings.batch + 1}"]).batch > tiny_settings.batch
    changed = read_settings(path, ["losses.agents = 0", "losses.peakiness = 2"]).losses
    assert changed == tiny_settings.losses.model_copy(update={"agents": 0, "peakiness": 2})
    assert read_settings(path, ["seed=1", "seed=2"]).seed == 2


def test_text_needs_no_quotes_in_a_change(tmp_path, tiny_settings):
    path = toml(tmp_path / "tiny.toml", tiny_settings)
    for change in ("precision=float32", 'precision="float32"', "precision = 'float32'"):
        assert read_settings(path, [change]).precision == "float32"
    assert read_settings(path, ["compile=false"]).compile is False


@pytest.mark.parametrize("name", sorted(shipped_settings()))
def test_shipped_settings_can_be_used_and_say_what_they_are(name):
    path = shipped_settings()[name]
    assert read_settings(name) == read_settings(path)
    summary = summary_of(path)
    assert len(summary) > 40
    assert "\n" not in summary and "#" not in summary


def test_photo_and_finetune_are_shipped():
    assert {"photo", "general", "finetune"} <= shipped_settings().keys()


def test_the_summary_is_the_first_paragraph_of_comments(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("# One line,\n# and another.\n#\n# More.\nsteps = 3\n# a remark\n")
    assert summary_of(path) == "One line, and another."
    path.write_text("steps = 3\n# a remark\n")
    assert summary_of(path) == ""


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "No such file.*use one of .*photo"),
        (b"steps = ", "tiny.toml are no TOML"),
        (b"setps = 3", "there is no setting setps$"),
        (b"[data]\nside = 3", "there is no setting data.side$"),
        (b"steps = 0", "steps: .*greater than or equal to 1"),
        (b'batch = "many"', "batch: "),
        (b"data = 3", "data: "),
        (b"\xff\xfe\x00binary", "tiny.toml are no TOML"),
    ],
)
def test_mistakes_in_a_file_are_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "tiny.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        read_settings(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "change, message",
    [
        ("steps", "give NAME=VALUE"),
        ("=3", "give NAME=VALUE"),
        ("losses..agents=3", "give NAME=VALUE"),
        ("steps = ", "steps: "),
        ("steps=1 2", "steps: "),
        ("nothing=1", "there is no setting nothing"),
        ("losses.nothing=1", "there is no setting losses.nothing"),
        ("losses=1", "losses: "),
        ("network.agnts=1", "there is no setting network.agnts"),
        ("network.preset=slow", "network: .*'paper' or 'fast'"),
    ],
)
def test_mistakes_in_a_change_are_told_in_one_line(change, message):
    with pytest.raises(InputError, match=message) as raised:
        read_settings("photo", [change])
    assert "\n" not in str(raised.value)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"fotos.*general.*photo"):
        read_settings("fotos")
