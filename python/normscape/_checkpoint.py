"""Checkpoints of runs: safetensors files, read without another package."""

from __future__ import annotations

import json
import math
import os
import pathlib
from typing import TYPE_CHECKING

import numpy

from ._errors import InputError
from ._pytorch import PARTS, layers

if TYPE_CHECKING:
    from torch import nn

# What checkpoints hold.
DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}


def tensors(path: pathlib.Path) -> dict[str, numpy.ndarray]:
    """All tensors of a safetensors file. Raises InputError, which names the file."""
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; a checkpoint is a folder checkpoints/step-N of a run") from error
    begin = 8 + int.from_bytes(whole[:8], "little")
    found = {}
    try:
        header = json.loads(whole[8:begin])
        header.pop("__metadata__", None)
        for name, about in header.items():
            first, end = about["data_offsets"]
            values = numpy.frombuffer(whole, DTYPES[about["dtype"]], math.prod(about["shape"]), begin + first)
            if values.nbytes != end - first:
                raise ValueError(f"{name} has {end - first} bytes")
            found[name] = values.reshape(about["shape"]).copy()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is no whole safetensors file of a checkpoint ({error})") from error
    return found


def from_normscape(checkpoint: str | os.PathLike[str], model: nn.Module | None = None) -> dict[str, numpy.ndarray]:
    """Reads a run's checkpoint, and loads it into a PyTorch model if one is given.

    Args:
        checkpoint: a folder `checkpoints/step-N` of a run.
        model: a model of the same network. Its parameters and its norms' running statistics are set by `load_state_dict`. Layers are paired
            by their order, as `to_normscape` does.

    Returns:
        The parameters, with names and shapes as `to_normscape` gives them, and beside them the running statistics
        `norm{i}.running_mean` and `norm{i}.running_var` [C]. `probe` takes all of it. The velocity is left out.

    Raises:
        InputError: the folder has no whole checkpoint, or the model has a layer that the checkpoint has not.
        RuntimeError: PyTorch's own, where a layer's shape is another one.
    """
    folder = pathlib.Path(checkpoint)
    found = tensors(folder / "parameters.safetensors")
    state = tensors(folder / "state.safetensors")
    found.update({name: values for name, values in state.items() if not name.startswith("velocity.")})
    if model is not None:
        load(found, model, folder)
    return found


def load(found: dict[str, numpy.ndarray], model: nn.Module, folder: pathlib.Path) -> None:
    """Sets parameters and running statistics of the model."""
    import torch

    state = model.state_dict()
    for theirs, ours in layers(model):
        for what in model.get_submodule(ours).state_dict():
            if what == "num_batches_tracked":
                continue
            name = f"{theirs}.{PARTS.get(what, what)}"
            if name not in found:
                raise InputError(f"{folder}: has no {name}, which the model's {ours}.{what} would be")
            state[f"{ours}.{what}"] = torch.from_numpy(found[name])
    model.load_state_dict(state)
