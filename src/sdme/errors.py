"""The package's own exceptions.

"Could not align" is a result, never an exception; see :class:`sdme.Registration`.
"""


class SdmeError(Exception):
    """Base of every exception that the package raises on purpose."""


class InputError(SdmeError, ValueError):
    """What the caller gave cannot be used.

    The message is one line that says what was given, what is accepted and what to do. The command
    line prints it and exits with code 2.
    """
