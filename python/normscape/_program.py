"""Finds the program and runs it."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import shutil
import signal
import subprocess
import warnings
from collections.abc import Iterator

from ._errors import OF_EXIT_CODE, NormscapeError, NormscapeWarning, ProgramNotFound

NAME = "normscape.exe" if os.name == "nt" else "normscape"


def _places() -> Iterator[pathlib.Path]:
    """Where the program may be, the likeliest first."""
    try:
        installed = importlib.metadata.distribution("normscape")
    except importlib.metadata.PackageNotFoundError:
        pass
    else:
        # The record of what was installed has a program's path, whatever scheme of folders the installer took.
        for file in installed.files or []:
            if file.name == NAME:
                yield pathlib.Path(str(installed.locate_file(file)))
    # Where `pip install --target` moves it.
    yield pathlib.Path(__file__).resolve().parents[1] / "bin" / NAME
    found = shutil.which(NAME)
    if found:
        yield pathlib.Path(found)


def program() -> pathlib.Path:
    """The program that the functions of this module run: the one installed with it, otherwise the one on `PATH`.

    Returns:
        Its absolute path.

    Raises:
        ProgramNotFound: there is none.
    """
    for place in _places():
        if place.is_file() and os.access(place, os.X_OK):
            return pathlib.Path(os.path.abspath(place))
    raise ProgramNotFound("the program normscape was found neither beside this module nor on PATH; install the wheel again")


def run(
    *arguments: object,
    program: str | os.PathLike[str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> str:
    """Runs a command of the program, and waits for it.

    Args:
        *arguments: the words of the command line, such as `"train", "--steps", 100`; each is turned into text.
        program: another program than the one that `program()` names.
        cwd: the folder to run it in, which relative paths are relative to; this process's own otherwise.

    Returns:
        What the command printed on standard output. Messages about progress are left out (`--quiet`).

    Raises:
        InputError, DeviceError, Diverged, ClaimsFailed, Interrupted: by the command's exit code, with its own message.
        NormscapeError: another exit code, or a signal ended it.
        ProgramNotFound: the program is not there or cannot be started.

    Warns:
        NormscapeWarning: for each line of warning that the command prints.
    """
    path = _program() if program is None else pathlib.Path(os.path.abspath(program))
    command = [str(path), "--quiet", *map(str, arguments)]
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, cwd=cwd, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ProgramNotFound(f"{path}: cannot be started: {error.strerror}", None, command) from error
    with child:
        try:
            out, said = child.communicate()
        except BaseException:
            # It saves its work and ends.
            child.send_signal(signal.SIGINT if os.name != "nt" else signal.SIGTERM)
            raise
    if child.returncode != 0:
        kind = OF_EXIT_CODE.get(child.returncode, NormscapeError)
        raise kind(_problem(said, child.returncode), child.returncode, command)
    for line in said.splitlines():
        if line.startswith("warning: "):
            warnings.warn(line.removeprefix("warning: "), NormscapeWarning, stacklevel=2)
    return out


# `run` has an argument of that name.
_program = program


def _problem(said: str, code: int) -> str:
    """The message of a command that failed: its last line that begins with `error: `, or all that it said."""
    errors = [line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error: ")]
    if errors:
        return errors[-1]
    ended = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"normscape {ended}: {said.strip()}" if said.strip() else f"normscape {ended}"
