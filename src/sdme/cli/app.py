"""Entry point of the command ``sdme``: finds the command, and turns failures into exit codes."""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from cyclopts import App, CycloptsError

from sdme import __version__
from sdme.cli.apply import apply
from sdme.cli.calibrate import calibrate
from sdme.cli.compare import compare
from sdme.cli.doctor import doctor
from sdme.cli.evaluate import evaluate
from sdme.cli.export import export
from sdme.cli.finetune import finetune
from sdme.cli.models import models
from sdme.cli.refine import refine
from sdme.cli.register import register
from sdme.cli.train import train
from sdme.errors import SdmeError

EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_TERMINATED = 2, 3, 130, 143

_COMMANDS = (
    register,
    refine,
    apply,
    export,
    evaluate,
    compare,
    train,
    finetune,
    calibrate,
    models,
    doctor,
)

app = App(
    name="sdme",
    version=f"sdme {__version__}",
    help="""Align two images of the same scene taken by different sensors.

Example: `sdme register fixed.tif moving.png -o out`

Exit codes: 0 done (for an uncertain result too, with a warning), 1 something is wrong with the
installation, 2 bad input, 3 the images could not be aligned, 130 interrupted.""",
    help_format="markdown",
    suppress_keyboard_interrupt=False,
)
for _place, _command in enumerate(_COMMANDS):
    app.command(_command, sort_key=_place)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is returned, and every failure is one line on stderr."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return code or 0
    except CycloptsError as error:
        return _fail(f"{str(error).rstrip('.')}; see {_help_of(error)}")
    except SdmeError as error:
        return _fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return _fail(
            "there is not enough memory for these images; use a smaller --max-side, or shrink or "
            "crop them"
        )
    except KeyboardInterrupt as error:
        _fail(f"interrupted{': ' if error.args else ''}{error}")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _fail(message: str) -> int:
    print("error:", " ".join(message.splitlines()), file=sys.stderr)
    return EXIT_BAD_INPUT


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python or PyTorch, which need not be loaded here, found no room."""
    said = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(s in said for s in ("not enough memory", "can't allocate memory", "out of memory"))
    )


def _help_of(error: CycloptsError) -> str:
    return " ".join(["sdme", *(error.command_chain or ()), "--help"])


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """Leave as an exception does, so that temporary files are removed on the way out."""
    sys.exit(EXIT_TERMINATED)
