"""A user's own method: a Python file with a function ``register(fixed, moving)``."""

import importlib.util
import inspect
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from sdme.errors import InputError
from sdme.evaluate.method import Image, Matrix, Method, MethodResult

_ACCEPTED = "return a finite 3x3 matrix that maps fixed to moving pixels, or None"


def build_user_method(path: Path) -> Method:
    """The function ``register(fixed, moving)`` or ``register(fixed, moving, initial)`` of a file.

    It is given 8-bit RGB arrays (and the 3x3 placement to start from) and returns a 3x3 matrix that
    maps fixed to moving pixels, pixel centres at integers; ``None`` where it has no answer; or a
    :class:`MethodResult`. The method's stage is named after the file. The file can import its
    neighbours only if they are on the path, as any module. It is run: use files that you trust.

    Raises:
        InputError: the file is missing, cannot be imported or has no such function. The method
            raises it for an answer that is neither, and passes on what the function raises.
    """
    function = _function(path)
    takes_initial = _takes_initial(function, path)

    def register(fixed: Image, moving: Image, initial: Matrix) -> MethodResult:
        arguments = (fixed, moving, initial.copy()) if takes_initial else (fixed, moving)
        started = time.perf_counter()
        answer = function(*arguments)
        seconds = time.perf_counter() - started
        if isinstance(answer, MethodResult):
            return _checked(answer, path)
        return MethodResult({path.name: _matrix(answer, path)}, seconds={path.name: seconds})

    return register


def _function(path: Path) -> Callable[..., Any]:
    if not path.is_file():
        raise InputError(
            f"method {path} is not a file; give a Python file with register(fixed, moving)"
        )
    function = getattr(_imported(path), "register", None)
    if not callable(function):
        raise InputError(f"method {path} has no function register; define register(fixed, moving)")
    return function


def _imported(path: Path) -> ModuleType:
    """The file as a module; whatever it raises on import becomes one line."""
    spec = importlib.util.spec_from_file_location(f"sdme_method_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"method {path} is not a Python file; give one whose name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split()) or "no message"
        raise InputError(
            f"method {path} cannot be imported: {type(error).__name__}: {reason}"
        ) from error
    return module


def _takes_initial(function: Callable[..., Any], path: Path) -> bool:
    """Whether the function takes the placement to start from as its third argument."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False
    for count in (3, 2):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count == 3
    raise InputError(
        f"method {path}: register{signature} cannot be called; define register(fixed, moving) or "
        "register(fixed, moving, initial)"
    )


def _checked(result: MethodResult, path: Path) -> MethodResult:
    if not result.stages:
        raise InputError(f"method {path} gave a MethodResult without stages; give one at least")
    stages = {name: _matrix(answer, path) for name, answer in result.stages.items()}
    return MethodResult(stages, result.matching, result.seconds, result.verdict, result.refine)


def _matrix(answer: Any, path: Path) -> Matrix | None:
    if answer is None:
        return None
    try:
        matrix = np.array(answer, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"method {path} returned a {type(answer).__name__}; {_ACCEPTED}") from None
    if matrix.shape != (3, 3):
        raise InputError(f"method {path} returned an array of shape {matrix.shape}; {_ACCEPTED}")
    if not np.isfinite(matrix).all():
        raise InputError(f"method {path} returned a matrix that is not finite; {_ACCEPTED}")
    return matrix
