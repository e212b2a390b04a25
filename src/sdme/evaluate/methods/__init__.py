"""Registration methods that can be compared: the package's own, classical ones, learned ones.

Each is a module with a builder ``build_NAME(device) -> Method``; what is listed here is what the
command line offers. A method's libraries are imported when it is built.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path

from sdme.errors import InputError
from sdme.evaluate.method import Method

_HERE = __name__


@dataclass(frozen=True)
class MethodInfo:
    """A method on offer.

    ``builder`` is ``module:function`` within this package. ``setting`` says which setting it is
    given, and why that is its best fair one. ``extra`` names the optional dependencies it needs.
    ``is_classical`` says that it has learned nothing from data.
    """

    summary: str
    setting: str
    builder: str
    is_classical: bool = True
    extra: str = ""


METHODS: dict[str, MethodInfo] = {}


def build_method(name: str, device: str = "cpu") -> Method:
    """A method ready to run, by its name here, a model's name, a weights file or a Python file.

    ``device`` is a device of PyTorch; classical methods run on the CPU whatever it is.

    Raises:
        InputError: the name is unknown, or the method's libraries, weights or device are not to
            be had.
    """
    if name.endswith(".py"):
        from sdme.evaluate.methods.user_file import build_user_method

        return build_user_method(Path(name))
    if name not in METHODS:
        from sdme.evaluate.methods.ours import build_ours

        return build_ours(name, device)
    info = METHODS[name]
    module, _, function = info.builder.partition(":")
    try:
        return getattr(importlib.import_module(f"{_HERE}.{module}"), function)(device)
    except ImportError as error:
        raise InputError(
            f"method {name} needs a package that is not here ({error}); "
            f"pip install 'sdme[{info.extra}]'"
        ) from None
