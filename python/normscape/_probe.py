"""`normscape probe` from Python."""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from ._program import run
from ._pytorch import to_array, to_normscape

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import nn

# What a checkpoint or a state_dict has beside parameters, and loss and gradient in training mode do not depend on.
STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")


def probe(
    model: nn.Module | Mapping[str, ArrayLike],
    batch: tuple[ArrayLike, ArrayLike],
    *,
    network: str,
    norm: str,
    width: float | None = None,
    depth: int | None = None,
    dim: int | None = None,
    activation: str | None = None,
    eps: float | None = None,
    steps: Sequence[float] | numpy.ndarray | None = None,
    seed: int | None = None,
    step: int | None = None,
    precision: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    program: str | os.PathLike[str] | None = None,
) -> dict[str, numpy.ndarray]:
    """Loss and gradient of a network in training mode at its parameters θ and a batch, and its landscape along the gradient.

    Args:
        model: a PyTorch model, as `to_normscape` takes it, or its parameters by normscape's names (what `to_normscape` and
            `from_normscape` return; running statistics are passed over). Tensors and arrays of float16, float32 or float64.
        batch: of a VGG the images [N, 3, 32, 32] and their labels [N], whole numbers from 0 to 9; of a deep linear network the inputs
            [N, dim] and the targets [N, dim].
        network: `vgg11`, `vgg13`, `vgg16`, `vgg19` or `dln`.
        norm: `none`, `batch`, `noisy`, `layer`, `group:G`, `instance`, `rms`, `renorm`, `weight`, `l1`, `l2`, `linf` or `lp:P`, as
            `normscape train --norm` takes it.
        width: VGG's width (1): a layer of c channels has max(1, floor(width × c)).
        depth: the deep linear network's number of layers (25).
        dim: the width of its layers (10).
        activation: VGG's activation (`relu`).
        eps: what norms add to the variance (1e-5).
        steps: the S values of s at which the landscape is evaluated, above 0; without them there is none.
        seed, step: the key of noisy BatchNorm's noise (0, 0).
        precision: `f32`, `f64`, `tf32` or `bf16`; f32 otherwise, and f64 for a deep linear network on the CPU.
        device: `auto` (the default), `cpu`, `cuda`, `cuda:N` or `emulator`.
        threads: threads of the CPU; the results do not depend on it.
        program: another program than the one that `normscape.program()` names.

    Returns:
        Arrays by name, of float64 with the precision f64 and of float32 otherwise: `loss` [], `grad.NAME` for each parameter NAME, in its
        shape; with `steps` also `landscape.steps`, `landscape.loss` (the loss at θ − s g), `landscape.grad_l2_diff`
        (‖∇L(θ − s g) − g‖) and `landscape.beta` (that over s‖g‖; NaN where rounding spoils it), each [S].

    Raises:
        InputError: an array or a setting is missing, unknown, or of the wrong shape or type; the message names it as a file would have it
            (`case.npz: attr.norm …`).
        DeviceError: there is no such device, or it failed.
        ProgramNotFound: the program is not there.
    """
    given = model if isinstance(model, Mapping) else to_normscape(model)
    case: dict[str, Any] = {name: to_array(values) for name, values in given.items() if not name.endswith(STATISTICS)}
    x, answer = batch
    case["x"] = to_array(x)
    case["target" if network == "dln" else "labels"] = to_array(answer)
    settings = {
        "model": network,
        "norm": norm,
        "width": width,
        "depth": depth,
        "dim": dim,
        "activation": activation,
        "eps": eps,
        "steps": None if steps is None else numpy.asarray(steps, dtype=numpy.float64),
        "seed": seed,
        "step": step,
    }
    case.update({f"attr.{name}": value for name, value in settings.items() if value is not None})
    options = {"--precision": precision, "--device": device, "--threads": threads}
    words = [word for name, value in options.items() if value is not None for word in (name, value)]
    with tempfile.TemporaryDirectory(prefix="normscape-") as folder:
        numpy.savez(pathlib.Path(folder, "case.npz"), **case)
        # In that folder, so that a message names the array and not a path that is gone.
        run("probe", "--input", "case.npz", "--output", "out.npz", *words, program=program, cwd=folder)
        with numpy.load(pathlib.Path(folder, "out.npz"), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
