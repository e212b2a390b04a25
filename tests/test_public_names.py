"""The package's own names: few, lazy, and never hidden by a module of the same name."""

import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

import pytest

import sdme


def test_import_loads_no_heavy_library():
    code = "import sdme, sys; print([m for m in ('torch', 'cv2', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sdme.__all__)
def test_every_public_name_exists(name):
    assert getattr(sdme, name) is not None
    assert name in dir(sdme)


def test_register_stays_a_function_after_its_module_is_loaded():
    module = import_module("sdme.register")
    assert sdme.register is module.register


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        sdme.nonsense  # noqa: B018


def test_version_is_that_of_the_distribution():
    assert sdme.__version__ == version("sdme")
