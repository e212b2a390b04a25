"""The training command: exit codes and one line for every mistake."""

import json

import pytest

from sdme.train.__main__ import main, read_settings


@pytest.fixture
def command(packs, tmp_path, monkeypatch):
    def run(settings, *arguments):
        argv = ["sdme.train", str(settings), "--packs", str(packs)]
        argv += ["--out", str(tmp_path / "out"), "--device", "cpu", *arguments]
        monkeypatch.setattr("sys.argv", argv)
        return main()

    return run


def toml(path, settings):
    """The settings that differ from their defaults, as a TOML file."""
    rows = settings.model_dump(exclude_defaults=True)
    tables = {name: rows.pop(name) for name in ("network", "data", "losses") if name in rows}
    lines = [f"{key} = {json.dumps(value)}" for key, value in rows.items()]
    for name, values in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(v)}" for key, v in values.items())]
    path.write_text("\n".join(lines))
    return path


def test_settings_file_and_further_lines(tmp_path, tiny_settings):
    path = toml(tmp_path / "tiny.toml", tiny_settings)
    assert read_settings(path, []) == tiny_settings
    assert read_settings(path, ["seed = 5"]).seed == 5
    assert read_settings(path, [f"batch = {tiny_settings.batch + 1}"]).batch > tiny_settings.batch
    changed = read_settings(path, ["losses.agents = 0", "losses.peakiness = 2"]).losses
    assert changed == tiny_settings.losses.model_copy(update={"agents": 0, "peakiness": 2})


def test_a_run_from_the_command_line(command, tmp_path, tiny_settings, capsys):
    path = toml(tmp_path / "tiny.toml", tiny_settings.model_copy(update={"steps": 2}))
    assert command(path) == 0
    assert (tmp_path / "out/weights.safetensors").is_file()
    assert "step 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "No such file"),
        (b"steps = ", "tiny.toml"),
        (b"setps = 3", "setps"),
        (b"[data]\nside = 3", "data.side"),
        (b"steps = 0", "greater than or equal to 1"),
        (b'batch = "many"', "batch"),
        (b"\xff\xfe\x00binary", "tiny.toml"),
    ],
)
def test_mistakes_in_the_settings_end_in_one_line(command, tmp_path, capsys, content, message):
    path = tmp_path / "tiny.toml"
    if content is not None:
        path.write_bytes(content)
    assert command(path) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert message in captured.err and captured.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--packs", "/none"], "/none/pairs/train holds no packs"),
        (["--set", "steps = "], "tiny.toml"),
        (["--set", "nothing = 1"], "nothing"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_mistakes_on_the_command_line_end_in_one_line(
    command, tmp_path, tiny_settings, capsys, arguments, message
):
    path = toml(tmp_path / "tiny.toml", tiny_settings)
    assert command(path, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert message in captured.err
