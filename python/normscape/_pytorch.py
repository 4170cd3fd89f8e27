"""PyTorch's names of a network's parameters, and normscape's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy

if TYPE_CHECKING:
    from torch import nn

# What PyTorch's two kinds of weight_norm call the parts of a weight, and what normscape does. Their shapes are the same: a gain has an axis
# of 1 for each further one of the weight.
PARTS = {
    "parametrizations.weight.original0": "gain",
    "parametrizations.weight.original1": "direction",
    "weight_g": "gain",
    "weight_v": "direction",
}


def layers(model: nn.Module) -> Iterator[tuple[str, str]]:
    """What normscape calls each layer with parameters, and what PyTorch does: the order decides.

    Convolutions are `conv1`, `conv2`, …; norms `norm1`, `norm2`, …. Linear layers are `fc1`, `fc2`, … of a deep linear network, which has no
    convolution, and the one after convolutions is `fc`.
    """
    from torch import nn

    kinds = {"conv": nn.Conv2d, "norm": (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d), "fc": nn.Linear}
    found = [(kind, name) for name, module in model.named_modules() for kind, classes in kinds.items() if isinstance(module, classes)]
    image = any(kind == "conv" for kind, _ in found)
    counts = dict.fromkeys(kinds, 0)
    for kind, name in found:
        counts[kind] += 1
        yield ("fc" if kind == "fc" and image else f"{kind}{counts[kind]}"), name


def parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """A PyTorch model's own parameters by normscape's names, to compare their gradients with those of `probe`.

    Args:
        model: as `to_normscape` takes it.

    Returns:
        `torch.nn.Parameter` by the names, and in the shapes, of `to_normscape`.
    """
    return {
        f"{theirs}.{PARTS.get(what, what)}": parameter
        for theirs, ours in layers(model)
        for what, parameter in model.get_submodule(ours).named_parameters()
    }


def to_array(value: Any) -> numpy.ndarray:
    """A tensor or anything like an array, as an array; bfloat16, which NumPy has not, as float32."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        return value.numpy()
    return numpy.asarray(value)


def to_normscape(model: nn.Module) -> dict[str, numpy.ndarray]:
    """A PyTorch model's parameters under normscape's names, for `probe`.

    Args:
        model: a VGG-11, 13, 16 or 19, or a deep linear network: its `Conv2d`, its norms (`BatchNorm1d`, `BatchNorm2d`, `GroupNorm` or
            `InstanceNorm2d`) and its `Linear` in this order, whatever its modules are called. With either kind of PyTorch's `weight_norm`
            a weight is its two parts.

    Returns:
        `conv{i}.weight` [K, C, 3, 3], `conv{i}.bias` [K] (only where no norm follows), `norm{i}.weight` and `norm{i}.bias` [C],
        `fc.weight` [10, C] and `fc.bias` [10]; of a deep linear network `fc{i}.weight` [dim, dim]; with weight normalisation
        `conv{i}.direction` [K, C, 3, 3] and `conv{i}.gain` [K, 1, 1, 1] in place of `conv{i}.weight`. Shapes, order of elements and types
        are PyTorch's. Arrays of a model on the CPU share its memory.
    """
    return {name: to_array(parameter) for name, parameter in parameters(model).items()}
