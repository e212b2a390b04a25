"""The command as a process of its own: speed, signals, full disks, closed pipes."""

import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sdme import write_image

# The network's place is taken by a registration made by hand; all else is the real command.
SCRIPT = """
import sys, time
from pathlib import Path
from types import ModuleType
import numpy as np
from sdme import Matches, Reason, Registration, Status, Transform
from sdme.cli.app import main
from sdme.report import output

def register(fixed, moving, **settings):
    if "wait-in-register" in sys.argv[1]:
        wait()
    size = fixed.size
    none = np.zeros((0, 2))
    return Registration(Status.ALIGNED, Reason.NONE, "by hand", Transform(np.eye(3), size, size),
                        Matches(none, none, np.zeros(0), np.zeros(0, bool)), "none", size, size,
                        fixed_raster=fixed, moving_raster=moving)

def wait(*_):
    Path("ready").touch()
    time.sleep(30)

module = ModuleType("sdme.register")
module.register = register
weights = ModuleType("sdme.model.weights")
weights.DEFAULT_MODEL = "none"
sys.modules["sdme.register"], sys.modules["sdme.model.weights"] = module, weights
if "wait-in-save" in sys.argv[1]:
    output.render_page = wait
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def folder(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)
    write_image(tmp_path / "a.png", image)
    return tmp_path


def heed_interrupts():
    """A shell's background job ignores Ctrl-C, and so would the processes of its tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(folder, how, *arguments, prepare=heed_interrupts):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, how, *arguments], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=prepare,  # noqa: PLW1509
    )  # fmt: skip


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("where", ["wait-in-register", "wait-in-save"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_run_leaves_nothing(folder, where, number, code):
    process = start(folder, where, "register", "a.png", "a.png", "-o", "out", "--quiet")
    deadline = time.monotonic() + 30
    while not (folder / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert out == ""
    assert err == ("error: interrupted\n" if number == signal.SIGINT else "")
    assert names(folder) == ["a.png", "ready"]


def test_full_disk_is_one_line_and_leaves_nothing(folder):
    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    process = start(folder, "", "register", "a.png", "a.png", "-o", "out/deep", "--quiet",
                    prepare=small_files_only)  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    assert err.startswith("error: cannot write into out/deep: ")
    assert err.count("\n") == 1
    assert names(folder) == ["a.png"]


def test_closed_pipe_is_no_error(folder):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sdme.cli.app", "--help"], stdout=writer, stderr=subprocess.PIPE,
        text=True, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.stderr == ""


def test_help_loads_no_heavy_library():
    code = (
        "import sys\nfrom sdme.cli.app import main\nmain(['--help'])\n"
        "print([m for m in ('torch', 'cv2', 'numpy', 'tifffile') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
