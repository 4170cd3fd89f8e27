#!/usr/bin/env python3
"""From PyTorch to normscape and back.

There: a VGG-11 made in PyTorch and a batch go to `normscape probe`; its loss, gradient and landscape must be PyTorch's.
Back: `normscape train` trains such a network; PyTorch takes up its checkpoint and must find the test loss that it found.
Both with BatchNorm and with weight normalisation (`torch.nn.utils.parametrizations.weight_norm`).

Needs torch, and the module `normscape` (docs/python.md).
"""

import argparse
import copy
import csv
import pathlib
import sys
import tempfile

import normscape
import numpy
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

WIDTH = 1 / 16
TRAIN, TEST, STEPS = 512, 256, 40


def vgg11(width, norm="batch"):
    """VGG-11 for 32×32 images: a convolution has no bias where a norm follows it; with weight_norm it has one, and none follows."""
    modules, inputs = [], 3
    for entry in [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"]:
        if entry == "M":
            modules.append(nn.MaxPool2d(2))
            continue
        outputs = max(1, int(width * entry))
        if norm == "weight":
            modules += [weight_norm(nn.Conv2d(inputs, outputs, 3, padding=1)), nn.ReLU()]
        else:
            modules += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(nn.Sequential(*modules), nn.Flatten(), nn.Linear(inputs, 10))


def loss_and_gradient(model, x, labels):
    """The loss in training mode, and its gradient by normscape's names."""
    model.train().zero_grad()
    loss = F.cross_entropy(model(x), labels)
    loss.backward()
    return loss.item(), {name: parameter.grad.numpy().copy() for name, parameter in normscape.parameters(model).items()}


def flat(gradient):
    return numpy.concatenate([gradient[name].ravel() for name in sorted(gradient)])


def landscape(model, x, labels, steps):
    """At θ − s g for each s: the loss, ‖∇L(θ − s g) − g‖, and that over s‖g‖."""
    _, gradient = loss_and_gradient(model, x, labels)
    g, rows = flat(gradient), []
    for s in steps:
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for name, parameter in normscape.parameters(moved).items():
                parameter -= s * torch.from_numpy(gradient[name])
        loss, there = loss_and_gradient(moved, x, labels)
        difference = numpy.linalg.norm(flat(there) - g)
        rows.append((loss, difference, difference / (s * numpy.linalg.norm(g))))
    return dict(zip(["loss", "grad_l2_diff", "beta"], numpy.array(rows).T))


def difference(got, want):
    """Relative, as vectors."""
    got, want = numpy.asarray(got, float), numpy.asarray(want, float)
    return numpy.linalg.norm(got - want) / numpy.linalg.norm(want)


def probe(program, model, norm, x, labels, steps, precision):
    """What normscape finds at the model's parameters."""
    settings = {"network": "vgg11", "norm": norm, "width": WIDTH, "steps": steps, "precision": precision}
    return normscape.probe(model, (x, labels), **settings, program=program)


def agree(what, error, within):
    print(f"  {what:<36} {error:8.1e}   (within {within:.0e})")
    if not error < within:
        sys.exit(f"{what}: {error} is too far")


def there(program, norm, x, labels):
    model = vgg11(WIDTH, norm)
    steps = numpy.geomspace(0.05, 0.4, 6)
    # The same numbers for both: PyTorch's in double, so that what is seen is normscape's own error.
    exact = copy.deepcopy(model).double()
    loss, gradient = loss_and_gradient(exact, x.double(), labels)
    line = landscape(exact, x.double(), labels, steps)
    for precision, within in [("f64", 1e-9), ("f32", 1e-4)]:
        print(f"normscape probe, {norm} norm, --precision {precision}, relative difference to PyTorch in float64:")
        sent, batch = (exact, x.double()) if precision == "f64" else (model, x)
        found = probe(program, sent, norm, batch, labels, steps, precision)
        agree("loss", difference(found["loss"], loss), within)
        agree("gradient", difference(flat({name: found[f"grad.{name}"] for name in gradient}), flat(gradient)), within)
        for name, values in line.items():
            agree(f"landscape.{name}, {len(steps)} points", difference(found[f"landscape.{name}"], values), within)


def write_images(folder, seed):
    """Images and labels in the binary form of CIFAR-10: a colour and a place for each class, under noise."""
    rng = numpy.random.default_rng(seed)
    patterns = rng.normal(size=(10, 3, 4, 4)).repeat(8, 2).repeat(8, 3)
    folder.mkdir()
    sets, counts = {}, {"data_batch_1": TRAIN, "test_batch": TEST}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        count = counts.get(name, 0)
        labels = rng.integers(10, size=count)
        noisy = 128 + 12 * patterns[labels] + 50 * rng.normal(size=(count, 3, 32, 32))
        pixels = noisy.clip(0, 255).astype(numpy.uint8)
        with open(folder / f"{name}.bin", "wb") as file:
            file.write(numpy.column_stack([labels.astype(numpy.uint8), pixels.reshape(count, 3072)]).tobytes())
            # A batch holds 10,000 images; --limit-train and --limit-test leave out those that are only zeros.
            file.truncate(10_000 * 3073)
        sets[name] = pixels, labels
    return sets["data_batch_1"], sets["test_batch"]


def back(program, folder, norm):
    (images, _), (test_images, test_labels) = write_images(folder / f"images-{norm}", seed=1)
    out = folder / f"run-{norm}"
    shape = ["--model", "vgg11", "--width", WIDTH, "--norm", norm, "--batch", 64, "--lr", 0.05]
    data = ["--data", folder / f"images-{norm}", "--limit-train", TRAIN, "--limit-test", TEST, "--eval-every", STEPS]
    normscape.run("train", *shape, *data, "--steps", STEPS, "--seed", 1, "--out", out, program=program)
    with open(out / "metrics.csv") as file:
        last = list(csv.DictReader(file))[-1]

    model = vgg11(WIDTH, norm)
    normscape.from_normscape(out / "checkpoints" / f"step-{STEPS}", model)
    # Standardised as normscape does it: by channel, with the training images' mean and deviation.
    mean, deviation = [f(images / 255, axis=(0, 2, 3), keepdims=True) for f in (numpy.mean, numpy.std)]
    x = torch.from_numpy((test_images / 255 - mean) / deviation).float()
    labels = torch.from_numpy(test_labels)
    model.eval()
    with torch.no_grad():
        logits = model(x)
        loss, accuracy = F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()

    print(f"normscape train, {norm} norm, {STEPS} steps, and its checkpoint in PyTorch, on {TEST} test images:")
    print(f"  test loss      normscape {float(last['test_loss']):.6f}   PyTorch {loss:.6f}")
    print(f"  test accuracy  normscape {float(last['test_accuracy']):.4f}     PyTorch {accuracy:.4f}")
    agree("test loss", difference(loss, float(last["test_loss"])), 1e-4)
    x, labels = x[:64], labels[:64]
    found = probe(program, model, norm, x, labels, numpy.array([0.05]), "f32")
    loss, _ = loss_and_gradient(model, x, labels)
    agree("loss of a batch", difference(found["loss"], loss), 1e-4)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--normscape", metavar="PROGRAM", type=pathlib.Path, help="another program than the module's own")
    args = parser.parse_args()
    torch.manual_seed(1)
    x, labels = torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))
    with tempfile.TemporaryDirectory() as folder:
        for norm in ["batch", "weight"]:
            there(args.normscape, norm, x, labels)
            back(args.normscape, pathlib.Path(folder), norm)


if __name__ == "__main__":
    main()
