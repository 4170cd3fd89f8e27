"""normscape from Python: a network's loss, gradient and landscape as NumPy arrays, and parameters from PyTorch and back.

The work is done by the program `normscape`, which is installed with this module. Nothing but NumPy is needed; PyTorch is
imported only by what is given a PyTorch model, or gives one its parameters.

- `probe` computes loss, gradient and landscape at a network's parameters and a batch.
- `to_normscape` names a PyTorch model's parameters as normscape does; `from_normscape` reads a run's checkpoint; `parameters`
  gives the model's own parameters, with their gradients, by those names.
- `run` runs any command, such as `run("train", "--model", "dln", "--out", "run")`; `program` says which program that is.
- `NormscapeError` and its subclasses carry the program's own message.
"""

from ._checkpoint import from_normscape
from ._errors import (
    ClaimsFailed,
    DeviceError,
    Diverged,
    InputError,
    Interrupted,
    NormscapeError,
    NormscapeWarning,
    ProgramNotFound,
)
from ._probe import probe
from ._program import program, run
from ._pytorch import parameters, to_normscape

__all__ = [
    "ClaimsFailed",
    "DeviceError",
    "Diverged",
    "InputError",
    "Interrupted",
    "NormscapeError",
    "NormscapeWarning",
    "ProgramNotFound",
    "from_normscape",
    "parameters",
    "probe",
    "program",
    "run",
    "to_normscape",
]
