"""Names of methods in tables tell them apart."""

import pytest

from sdme.errors import InputError
from sdme.evaluate.methods import method_label
from sdme.evaluate.protocol import PaperProtocol
from sdme.evaluate.runner import run_methods
from sdme.evaluate.store import RunFolder


@pytest.mark.parametrize(
    ("method", "label"),
    [
        ("sift", "sift"),
        ("general", "general"),
        ("/way/own.py", "own.py"),
        ("/way/mine.safetensors", "mine.safetensors"),
        ("/way/run/weights.safetensors", "run"),
        ("weights.safetensors", "weights.safetensors"),
        ("/weights.safetensors", "weights.safetensors"),
        ("/way/sift/weights.safetensors", "sift/weights.safetensors"),
        ("/way/photo/weights.safetensors", "photo/weights.safetensors"),
    ],
)
def test_weights_of_a_training_go_by_its_folder(method, label):
    assert method_label(method) == label


def test_methods_of_one_name_are_refused(tmp_path):
    same = ["/a/run/weights.safetensors", "/b/run/weights.safetensors"]
    with (
        RunFolder.start(tmp_path, PaperProtocol(), []) as run,
        pytest.raises(InputError, match=r"/a/run.* and /b/run.* both be called run; rename"),
    ):
        run_methods(same, [], PaperProtocol(), run)
