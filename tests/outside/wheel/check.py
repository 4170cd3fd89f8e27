"""Checks of the installed module `normscape`: `check.py NAME ARGS...` runs one, and ends with an error where it does not hold."""

import json
import os
import pathlib
import sys
import types
import warnings

import normscape
import numpy


def close(file, name, got, expected):
    error = numpy.linalg.norm(got - expected) / numpy.linalg.norm(expected)
    assert error < 1e-9, (file, name, error)


def golden(*files):
    """`probe` on whole networks gives, in f64, the loss, gradient and landscape that PyTorch gave in float64."""
    for file in files:
        arrays = dict(numpy.load(file, allow_pickle=False))
        expected = {name.removeprefix("expect."): arrays.pop(name) for name in list(arrays) if name.startswith("expect.")}
        settings = {name.removeprefix("attr."): arrays.pop(name).tolist() for name in list(arrays) if name.startswith("attr.")}
        settings["network"] = settings.pop("model")
        batch = arrays.pop("x"), arrays.pop("target" if settings["network"] == "dln" else "labels")
        found = normscape.probe(arrays, batch, **settings, precision="f64")
        assert set(found) == set(expected), sorted(set(found) ^ set(expected))
        for name, values in expected.items():
            assert found[name].dtype == numpy.float64 and found[name].shape == values.shape, (file, name, found[name].shape, values.shape)
            if not name.startswith("grad."):
                close(file, name, found[name], values)
        # The gradient as one vector: that of a bias before another norm is rounding error alone.
        close(file, "grad", *(numpy.concatenate([of[name].ravel() for name in sorted(of) if name.startswith("grad.")]) for of in (found, expected)))
        # Without steps no landscape, and on one thread the same bits.
        again = normscape.probe(arrays, batch, **{**settings, "steps": None}, precision="f64", device="cpu", threads=1)
        assert set(again) == {name for name in found if not name.startswith("landscape.")}
        assert all(numpy.array_equal(again[name], found[name]) for name in again)


def checkpoint(run, out):
    """Writes what `from_normscape` reads of a run's last checkpoint, and probes there."""
    last = max(pathlib.Path(run, "checkpoints").iterdir(), key=lambda path: int(path.name.removeprefix("step-")))
    state = normscape.from_normscape(last)
    numpy.savez(out, **state)
    rng = numpy.random.default_rng(0)
    batch = rng.normal(size=(4, 3, 32, 32)).astype("f2"), rng.integers(10, size=4)
    found = normscape.probe(state, batch, network="vgg11", norm="batch", width=0.04)
    assert found["loss"].dtype == numpy.float32 and numpy.isfinite(found["loss"])
    assert {f"grad.{name}" for name in state if "running_" not in name} == set(found) - {"loss"}
    # Damaged files are told by name.
    for text in [b"", b"\x08\0\0\0\0\0\0\0{}", (last / "parameters.safetensors").read_bytes()[:-1]]:
        (last / "parameters.safetensors").write_bytes(text)
        if text.endswith(b"{}"):
            continue
        error = raises(normscape.InputError, lambda: normscape.from_normscape(last))
        assert "parameters.safetensors" in str(error), error
    raises(normscape.InputError, lambda: normscape.from_normscape(last / "none"))


def raises(kind, act):
    try:
        act()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def errors(folder):
    """Each exit code is a class, and the text is the command's own."""
    rng = numpy.random.default_rng(0)
    state = {"fc1.weight": numpy.eye(10), "fc2.weight": numpy.eye(10)}
    x = rng.normal(size=(6, 10))
    two = {"network": "dln", "norm": "none", "depth": 2}
    assert numpy.isfinite(normscape.probe(state, (x, x), **two)["loss"])
    for words, act in [
        (["case.npz: ", "target: is float64[5,10]"], lambda: normscape.probe(state, (x, x[:5]), **two)),
        (["case.npz: ", "attr.norm", "bach"], lambda: normscape.probe(state, (x, x), **{**two, "norm": "bach"})),
        (["case.npz: ", "fc2.weight"], lambda: normscape.probe({"fc1.weight": numpy.eye(10)}, (x, x), **two)),
        (["--precision"], lambda: normscape.probe(state, (x, x), **two, precision="f65")),
    ]:
        error = raises(normscape.InputError, act)
        assert all(word in str(error) for word in words), error
        assert error.exit_code == 2 and isinstance(error, ValueError) and isinstance(error, normscape.NormscapeError)
        assert not str(error).startswith("error") and "\n" not in str(error), error
        assert error.command[0] == str(normscape.program()) and "probe" in error.command
    error = raises(normscape.DeviceError, lambda: normscape.probe(state, (x, x), **two, device="cuda:99"))
    assert error.exit_code == 3, error
    diverging = ["--model", "dln", "--samples", 50, "--norm", "none", "--precision", "f32", "--lr", 1, "--steps", 8]
    error = raises(normscape.Diverged, lambda: normscape.run("train", *diverging, "--out", pathlib.Path(folder, "run")))
    assert error.exit_code == 4 and "diverged" in str(error), error
    error = raises(normscape.ProgramNotFound, lambda: normscape.run("info", program=pathlib.Path(folder, "none")))
    assert isinstance(error, FileNotFoundError) and "none" in str(error), error
    # Programs that end in other ways.
    for text, code, words in [("kill -9 $$", -9, "signal 9"), ("echo 'about this' >&2; exit 7", 7, "about this")]:
        other = pathlib.Path(folder, "other")
        other.write_text(f"#!/bin/sh\n{text}\n")
        other.chmod(0o755)
        error = raises(normscape.NormscapeError, lambda: normscape.run("info", program=other))
        assert type(error) is normscape.NormscapeError and error.exit_code == code and words in str(error), error
    other.write_text("#!/bin/sh\necho 'warning: the disk is full' >&2\necho done $1 $2\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert normscape.run("info", program=other) == "done --quiet info\n"
    assert [(w.category, str(w.message)) for w in caught] == [(normscape.NormscapeWarning, "the disk is full")]


def module(prefix):
    """The module's program is the one that was installed with it, and PyTorch is not imported."""
    assert str(normscape.program()) == os.path.join(prefix, "bin/normscape"), normscape.program()
    assert "torch" not in sys.modules
    info = json.loads(normscape.run("info", "--json"))
    print(info["version"], info["commit"])
    for name in normscape.__all__:
        thing = getattr(normscape, name)
        assert thing.__doc__ and thing.__module__.startswith("normscape."), name
        if isinstance(thing, types.FunctionType):
            assert "return" in thing.__annotations__, name


class Parameter:
    """As much of a tensor as the module asks for."""

    def __init__(self, values, kind="torch.float32"):
        self.values, self.dtype = values, kind

    def detach(self):
        return self

    def cpu(self):
        return self

    def float(self):
        return Parameter(self.values.astype("f4"))

    def numpy(self):
        assert self.dtype != "torch.bfloat16"
        return self.values


class Layer:
    """A layer with these parameters and buffers."""

    def __init__(self, parameters, buffers=()):
        self.parameters, self.buffers = dict(parameters), dict(buffers)

    def named_parameters(self):
        return self.parameters.items()

    def state_dict(self):
        return {**self.parameters, **self.buffers}


class Model:
    """A model of these layers, under names that say nothing."""

    def __init__(self, layers):
        self.layers = {f"a.{index}": layer for index, layer in enumerate(layers)}

    def named_modules(self):
        return [("", self), *self.layers.items()]

    def get_submodule(self, name):
        return self.layers[name]

    def state_dict(self):
        return {f"{at}.{what}": value for at, layer in self.layers.items() for what, value in layer.state_dict().items()}

    def load_state_dict(self, state):
        assert set(state) == set(self.state_dict())
        self.loaded = state


def stand_in_for_pytorch():
    """A module `torch` with the names that the module `normscape` uses."""
    torch = types.ModuleType("torch")
    torch.nn = types.ModuleType("torch.nn")
    kinds = ["Conv2d", "Linear", "BatchNorm1d", "BatchNorm2d", "GroupNorm", "InstanceNorm2d", "ReLU"]
    for kind in kinds:
        setattr(torch.nn, kind, type(kind, (Layer,), {}))
    torch.from_numpy = lambda values: ("tensor", values)
    sys.modules.update({"torch": torch, "torch.nn": torch.nn})
    return torch.nn


def names(run):
    """Layers are paired by their order; a checkpoint is loaded with its running statistics. PyTorch is a stand-in."""
    nn = stand_in_for_pytorch()
    last = max(pathlib.Path(run, "checkpoints").iterdir(), key=lambda path: int(path.name.removeprefix("step-")))
    state = normscape.from_normscape(last)
    statistics = {"running_mean": 0, "running_var": 0, "num_batches_tracked": 0}

    def some(*shape):
        return Parameter(numpy.zeros(shape, "f4"))

    layers = []
    for _ in range(8):
        layers += [nn.Conv2d({"weight": some(2, 3, 3, 3)}), nn.BatchNorm2d({"weight": some(2), "bias": some(2)}, statistics), nn.ReLU({})]
    vgg = Model([*layers, nn.Linear({"weight": some(10, 2), "bias": some(10)})])
    there = normscape.to_normscape(vgg)
    assert set(there) == {name for name in state if "running_" not in name}, sorted(there)
    assert list(there)[:4] == ["conv1.weight", "norm1.weight", "norm1.bias", "conv2.weight"] and "torch" in sys.modules
    normscape.from_normscape(last, vgg)
    for at, name in [("a.0.weight", "conv1.weight"), ("a.4.running_var", "norm2.running_var"), ("a.24.bias", "fc.bias")]:
        kind, values = vgg.loaded[at]
        assert kind == "tensor" and numpy.array_equal(values, state[name]), at
    assert vgg.loaded["a.1.num_batches_tracked"] == 0
    # One layer more than there is.
    error = raises(normscape.InputError, lambda: normscape.from_normscape(last, Model([*layers, *layers])))
    assert "conv9.weight" in str(error) and "a.24.weight" in str(error), error

    new = {"bias": some(2), "parametrizations.weight.original0": some(2, 1, 1, 1), "parametrizations.weight.original1": some(2, 3, 3, 3)}
    old = {"bias": some(2), "weight_g": some(2, 1, 1, 1), "weight_v": some(2, 3, 3, 3)}
    weight = normscape.to_normscape(Model([nn.Conv2d(new), nn.Conv2d(old), nn.Linear({"weight": some(10, 2)})]))
    parts = {"bias": (2,), "gain": (2, 1, 1, 1), "direction": (2, 3, 3, 3)}
    expected = {f"conv{i}.{part}": shape for i in (1, 2) for part, shape in parts.items()}
    assert {name: array.shape for name, array in weight.items()} == {**expected, "fc.weight": (10, 2)}, weight

    identity = Parameter(numpy.eye(10), "torch.bfloat16")
    dln = Model([nn.Linear({"weight": identity}), nn.BatchNorm1d({"weight": some(10), "bias": some(10)}), nn.Linear({"weight": identity})])
    there = normscape.to_normscape(dln)
    assert list(there) == ["fc1.weight", "norm1.weight", "norm1.bias", "fc2.weight"] and there["fc1.weight"].dtype == numpy.float32
    x = numpy.ones((3, 10), "f4")
    x[0] = 2
    found = normscape.probe(dln, (Parameter(x), x), network="dln", norm="batch", depth=2)
    # The norm's gain is 0, and so is the output: the loss is the sum of x².
    assert found["loss"] == numpy.sum(x * x), found["loss"]


if __name__ == "__main__":
    {f.__name__: f for f in [golden, checkpoint, errors, module, names]}[sys.argv[1]](*sys.argv[2:])
