"""What can go wrong: one class for each exit code of the program."""

from __future__ import annotations

from collections.abc import Sequence


class NormscapeError(Exception):
    """A command failed, or the program could not be run.

    The text is the program's own message: what was expected, what was found, and where.

    Attributes:
        exit_code: the program's exit code; negative where a signal ended it, and None where no program ran.
        command: the command line, as a list of words.
    """

    def __init__(self, message: str, exit_code: int | None = None, command: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.command = list(command)


class InputError(NormscapeError, ValueError):
    """An option, a file or an array is not what it should be (exit code 2)."""


class DeviceError(NormscapeError):
    """A device, a library or a compiler is not there, or failed (exit code 3)."""


class Diverged(NormscapeError, ArithmeticError):
    """Loss or gradient are not finite any more (exit code 4)."""


class ClaimsFailed(NormscapeError):
    """Claims failed, and `--strict` asked that none may (exit code 5)."""


class Interrupted(NormscapeError):
    """A signal asked the command to end; the finished work is saved (exit code 130)."""


class ProgramNotFound(NormscapeError, FileNotFoundError):
    """There is no program `normscape`, or it cannot be started."""


class NormscapeWarning(UserWarning):
    """The command did its work, and warned of something."""


OF_EXIT_CODE: dict[int, type[NormscapeError]] = {
    2: InputError,
    3: DeviceError,
    4: Diverged,
    5: ClaimsFailed,
    130: Interrupted,
}
