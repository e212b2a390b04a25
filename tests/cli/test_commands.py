"""The commands in this process: what they print, return and write."""

import json
import sys
from types import ModuleType

import numpy as np
import pytest

from sdme import Status, Transform, read_image, write_image
from sdme.cli.app import main

MATRIX = [[1, 0, 3], [0, 1, 4], [0, 0, 1]]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder beside a folder of inputs."""
    (tmp_path / "in").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    image = np.random.default_rng(0).integers(0, 255, (50, 60), np.uint8)
    write_image(tmp_path / "in" / "a.png", image)
    write_image(tmp_path / "in" / "b.tif", (image * 200.0).astype(np.float32))
    Transform(np.array(MATRIX), (60, 50), (60, 50)).save(tmp_path / "in" / "t.json")
    return tmp_path / "here"


@pytest.fixture
def registers(monkeypatch, handmade):
    """Put a registration made by hand in the place of the real one; returns what it was given."""

    def install(status=Status.ALIGNED):
        calls = []

        def fake(fixed, moving, **settings):
            calls.append((fixed, moving, settings))
            settings["progress"]("match")
            return handmade(status, fixed_raster=fixed, moving_raster=moving, fixed_size=(60, 50),
                            moving_size=(60, 50), transform=None if status is Status.FAILED
                            else Transform(np.array(MATRIX), (60, 50), (60, 50)))  # fmt: skip

        module = ModuleType("sdme.register")
        module.register = fake
        monkeypatch.setitem(sys.modules, "sdme.register", module)
        return calls

    return install


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_register_writes_and_tells(here, registers, capsys):
    calls = registers()
    code = main(["register", "../in/a.png", "../in/b.tif", "-o", "out", "--stages", "sparse",
                 "--max-side", "320", "--device", "cpu", "--initial", "../in/t.json"])  # fmt: skip
    said = capsys.readouterr()
    assert code == 0
    assert said.out.startswith("aligned: 40 of 60 matches kept")
    assert "open out/report.html" in said.out
    assert "matching ..." in said.err
    fixed, moving, settings = calls[0]
    assert (fixed.pixels.dtype, moving.pixels.dtype) == (np.uint8, np.float32)
    assert settings["settings"].stages == "sparse"
    assert settings["settings"].max_side == 320
    assert settings["initial"] == Transform.load("../in/t.json")
    assert settings["device"] == "cpu"
    assert names(here) == ["out"]
    assert "aligned.tif" in names(here / "out")
    assert "../in/b.tif" in (here / "out" / "report.html").read_text()


def test_register_chooses_a_folder(here, registers):
    registers()
    assert main(["register", "../in/a.png", "../in/b.tif", "--quiet"]) == 0
    assert names(here) == ["a_b_sdme"]


@pytest.mark.parametrize(
    ("status", "code"), [(Status.ALIGNED, 0), (Status.UNCERTAIN, 0), (Status.FAILED, 3)]
)
def test_register_json_is_one_object(here, registers, capsys, status, code):
    registers(status)
    assert main(["register", "../in/a.png", "../in/b.tif", "-o", "out", "--json"]) == code
    said = capsys.readouterr()
    content = json.loads(said.out)
    files = content.pop("files")
    assert content == json.loads((here / "out" / "result.json").read_text())
    assert content["status"] == status.value
    present = {path for path in files.values() if path is not None}
    assert present == {"out"} | {f"out/{name}" for name in names(here / "out")}


def test_register_quiet(here, registers, capsys):
    registers(Status.UNCERTAIN)
    assert main(["register", "../in/a.png", "../in/b.tif", "-o", "out", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_uncertain_is_a_warning(here, registers, capsys):
    registers(Status.UNCERTAIN)
    assert main(["register", "../in/a.png", "../in/b.tif"]) == 0
    said = capsys.readouterr()
    assert "warning: uncertain: made by hand" in said.err
    assert said.out.startswith("uncertain: ")


def test_failed_is_an_error_without_a_transform(here, registers, capsys):
    registers(Status.FAILED)
    assert main(["register", "../in/a.png", "../in/b.tif", "-o", "out", "--quiet"]) == 3
    said = capsys.readouterr()
    assert said.err.startswith("error: could not align: made by hand to be failed")
    assert said.err.count("\n") == 1
    assert names(here / "out") == ["matches.png", "report.html", "result.json"]


def test_apply_to_another_band(here, capsys):
    assert main(["apply", "../in/t.json", "../in/b.tif"]) == 0
    warped, band = read_image("b_on_fixed.tif"), read_image("../in/b.tif")
    np.testing.assert_array_equal(warped[:46, :57], band[4:, 3:])
    assert np.isnan(warped[46:]).all()
    assert "from the moving to the fixed image: b_on_fixed.tif" in capsys.readouterr().out


def test_apply_the_other_way(here):
    assert main(["apply", "../in/t.json", "../in/a.png", "--from", "fixed", "--fill", "9"]) == 0
    warped, image = read_image("a_on_moving.png"), read_image("../in/a.png")
    np.testing.assert_array_equal(warped[4:, 3:], image[:46, :57])
    assert (warped[:4] == 9).all()


def test_apply_to_labels_invents_no_label(here):
    half = Transform(np.array([[0.7, 0, 0.5], [0, 0.7, 0.5], [0, 0, 1]]), (60, 50), (60, 50))
    half.save("half.json")
    labels = np.random.default_rng(0).choice([3, 70_000, -5], (50, 60)).astype(np.int32)
    write_image("labels.tif", labels)
    assert main(["apply", "half.json", "labels.tif", "--labels", "-o", "out.tif"]) == 0
    out = read_image("out.tif")
    assert out.dtype == np.int32
    assert set(np.unique(out)) == {3, 70_000, -5}
    assert main(["apply", "half.json", "labels.tif", "-o", "mixed.tif"]) == 0
    assert len(np.unique(read_image("mixed.tif"))) > 3


@pytest.mark.parametrize(
    ("frame", "expected"), [("moving", "a,-2.0,-2.0\n"), ("fixed", "a,4.0,6.0\n")]
)
def test_apply_to_points(here, frame, expected):
    (here / "p.csv").write_text("id,x,y\na,1,2\n")
    assert main(["apply", "../in/t.json", "p.csv", "-o", "q.csv", "--from", frame]) == 0
    assert (here / "q.csv").read_text() == "id,x,y\n" + expected


def test_points_and_pixels_go_the_same_way(here):
    image = np.zeros((50, 60), np.uint8)
    image[20, 30] = 255
    write_image("dot.png", image)
    (here / "dot.csv").write_text("30,20\n")
    for name in ("dot.png", "dot.csv"):
        assert main(["apply", "../in/t.json", name]) == 0
    x, y = (float(v) for v in (here / "dot_on_fixed.csv").read_text().split(","))
    assert read_image("dot_on_fixed.png")[int(y), int(x)] == 255


def test_apply_json(here, capsys):
    assert main(["apply", "../in/t.json", "../in/a.png", "-o", "o.png", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"output": "o.png", "from": "moving", "to": "fixed", "size": [60, 50],
                    "dtype": "uint8"}  # fmt: skip


def write_transform(path, **changes):
    path.write_text(json.dumps(json.loads((path.parent / "t.json").read_text()) | changes))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("register ../in/none.png ../in/a.png", "fixed image ../in/none.png does not exist"),
        ("register ../in/a.png ../in/none.png", "moving image ../in/none.png does not exist"),
        ("register ../in/dot.png ../in/a.png", "1x1 px"),
        ("register ../in/flat.png ../in/a.png", "same value everywhere"),
        ("register ../in/nan.tif ../in/a.png", "NaN"),
        ("register ../in/t.json ../in/a.png", "not an image"),
        ("register ../in/empty.png ../in/a.png", "empty file"),
        ("register ../in/a.png ../in/b.tif -o ../in/a.png", "cannot write into"),
        ("register ../in/a.png ../in/b.tif -o ../in/a.png/x", "cannot write into"),
        ("register ../in/a.png ../in/b.tif --initial ../in/version.json", "version 7"),
        ("register ../in/a.png ../in/b.tif --max-side 31", "--max-side"),
        ("register ../in/a.png", "MOVING"),
        ("register ../in/a.png ../in/b.tif --nonsense 1", "--nonsense"),
        ("apply ../in/version.json ../in/a.png", "version 7"),
        ("apply ../in/singular.json ../in/a.png", "cannot be inverted"),
        ("apply ../in/none.json ../in/a.png", "cannot read transform"),
        ("apply ../in/a.png ../in/a.png", "is no transform file"),
        ("apply ../in/t.json ../in/dot.png", "1x1 px, but the moving image"),
        ("apply ../in/t.json ../in/a.png -o ../in/a.png", "the input itself"),
        ("apply ../in/t.json ../in/a.png -o a.gif", "end the name in"),
        ("apply ../in/t.json ../in/a.png -o none/a.png", "cannot write"),
        ("apply ../in/t.json ../in/a.png --fill 256", "does not fit uint8"),
        ("apply ../in/t.json ../in/a.png --labels --interpolation cubic", "exclude each other"),
        ("apply ../in/t.json ../in/a.png --from fixd", "--from"),
        ("apply ../in/t.json ../in/none.csv", "cannot read points"),
        ("applly", "Unknown command"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(here, registers, capfd, arguments, words):
    calls, given = registers(), here.parent / "in"
    (given / "empty.png").touch()
    write_image(given / "dot.png", np.array([[7]], np.uint8))
    write_image(given / "flat.png", np.full((50, 60), 7, np.uint8))
    write_image(given / "nan.tif", np.full((50, 60), np.nan))
    write_transform(given / "version.json", version=7)
    write_transform(given / "singular.json", moving_from_fixed=[[1, 0, 3], [2, 0, 4], [0, 0, 1]])
    before = {path: path.stat().st_mtime_ns for path in given.iterdir()}
    assert main(arguments.split()) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("error: ")
    assert words in said.err
    assert calls == []
    assert names(here) == []
    assert before == {path: path.stat().st_mtime_ns for path in given.iterdir()}


@pytest.mark.parametrize("given", ["fixed", "moving", "initial"])
@pytest.mark.parametrize("linked", [False, True])
def test_register_does_not_destroy_its_input(here, registers, capsys, given, linked):
    calls = registers()
    assert main(["register", "../in/a.png", "../in/b.tif", "-o", "run", "--quiet"]) == 0
    calls.clear()
    before = {path: path.read_bytes() for path in (here / "run").iterdir()}
    own = "run/transform.json" if given == "initial" else "run/aligned.tif"
    if linked:
        (here / "link").symlink_to(own)
        own = "link"
    files = {"fixed": "../in/a.png", "moving": "../in/b.tif", "initial": "../in/t.json"}
    files[given] = own
    options = ["--initial", files["initial"], "-o", "../here/run"]
    assert main(["register", files["fixed"], files["moving"], *options]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert f"error: {own} would be replaced by the results in ../here/run" in said.err
    assert calls == []
    assert before == {path: path.read_bytes() for path in (here / "run").iterdir()}


class OutOfMemoryError(RuntimeError):
    """Named as the one of PyTorch."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA: tried to allocate 20 GiB\nmore words"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes"),
    ],
)
def test_too_little_memory_is_one_line(here, registers, monkeypatch, capsys, error):
    registers()

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(sys.modules["sdme.register"], "register", fails)
    assert main(["register", "../in/a.png", "../in/b.tif", "--quiet"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: there is not enough memory")
    assert "--max-side" in said.err and said.err.count("\n") == 1
    assert names(here) == []


def test_other_failures_are_not_taken_for_memory(here, registers, monkeypatch):
    registers()

    def fails(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(sys.modules["sdme.register"], "register", fails)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["register", "../in/a.png", "../in/b.tif", "--quiet"])


@pytest.mark.parametrize("device", ["meta", "xpu", "mps", "cuda:", "cuda:x", "cpu:0", ""])
def test_unknown_devices(here, capsys, device):
    assert main(["register", "../in/a.png", "../in/b.tif", "--quiet", "--device", device]) == 2
    said = capsys.readouterr()
    assert f"device {device!r} is unknown; use auto, cpu, cuda or cuda:N" in said.err
    assert names(here) == []


@pytest.mark.parametrize("name", ["register", "evaluate", "compare", "train", "finetune"])
def test_help_names_the_devices_that_can_be_had(name, capsys):
    assert main([name, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "cuda:N" in said and "mps" not in said


def test_doctor_json_knows_its_libraries(capsys):
    code = main(["doctor", "--json"])
    said = json.loads(capsys.readouterr().out)
    states = {finding["topic"]: finding["state"] for finding in said["findings"]}
    assert states["torch"] == states["numpy"] == states["device cpu"] == "ok"
    assert code == (0 if said["well"] else 1)
    assert said["well"] == ("problem" not in states.values())


def test_doctor_misses_a_library(monkeypatch, capsys):
    from sdme.cli import doctor

    monkeypatch.setattr(doctor, "_requirements", lambda extra: [] if extra else ["not-there-xyz"])
    assert main(["doctor", "--quiet"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "error: not-there-xyz: not installed" in said.err


def test_models_lists_what_is_shipped(monkeypatch, tmp_path, capsys):
    from sdme.model import weights

    record = weights.WeightsRecord(
        name="tiny", file="tiny.safetensors", sha256="0" * 64, preset="paper", licence="CC0",
        training_data="nothing", modalities=("a", "b"), metric="none",
    )  # fmt: skip
    monkeypatch.setattr(weights, "records", lambda: (record,))
    assert main(["models"]) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[1] == "tiny\t\tpaper\ta, b\tCC0\tnothing\tnone\twrong"
    assert "weights missing or damaged: tiny" in said.err
    assert main(["models", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["modalities"] == ["a", "b"]


def test_models_marks_the_default(capsys):
    from sdme.model.weights import DEFAULT_MODEL

    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows if row["default"]] == [DEFAULT_MODEL]
    assert main(["models"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines if line[1] == "yes"] == [DEFAULT_MODEL]
