"""The paper's VGG as plain PyTorch, and how its twins are timed: shared by the scripts beside this file."""

import argparse
import json
import statistics
import time

import torch
from torch import nn

# Output channels of the 3x3 convolutions; M is a 2x2 max-pool.
LAYERS = {
    "vgg11": [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "vgg13": [64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "vgg16": [64, 64, "M", 128, 128, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3, "M"],
    "vgg19": [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"],
}


def vgg(model, width, norm):
    """Convolutions, norm before ReLU, a last linear layer; a convolution has a bias only where no norm follows."""
    layers, channels = [], 3
    for entry in LAYERS[model]:
        if entry == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        out = max(1, int(width * entry))
        layers.append(nn.Conv2d(channels, out, 3, padding=1, bias=norm == "none"))
        if norm == "batch":
            layers.append(nn.BatchNorm2d(out))
        layers.append(nn.ReLU(inplace=True))
        channels = out
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, 10))
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net


def vgg_options(parser):
    """The options that say which VGG, and how it runs."""
    parser.add_argument("--model", choices=sorted(LAYERS), default="vgg16", help="which VGG")
    parser.add_argument("--width", type=float, default=1.0, help="multiplies every channel count")
    parser.add_argument("--norm", choices=["batch", "none"], default="batch", help="after every convolution")
    parser.add_argument("--batch", type=int, default=128, help="images in a step")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate")
    parser.add_argument("--memory-format", choices=["channels_last", "contiguous"], default="channels_last", help="of images and weights")
    common_options(parser)


def common_options(parser):
    """The options of every script here."""
    parser.add_argument("--threads", type=int, default=2, help="PyTorch threads")
    parser.add_argument("--seed", type=int, default=1, help="of weights, data and order")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")


def start(args):
    """Seeds and threads."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)


def sgd(parameters, lr):
    """Plain gradient descent, in place: all that the paper's optimiser does. One call for all tensors."""
    with torch.no_grad():
        torch._foreach_add_(parameters, [p.grad for p in parameters], alpha=-lr)


def timed(step, steps, warm_up, device):
    """Seconds of each of `steps` calls, after `warm_up` calls that are not counted."""
    seconds = []
    for i in range(warm_up + steps):
        begin = time.perf_counter()
        step()
        if device != "cpu":
            torch.cuda.synchronize(device)
        if i >= warm_up:
            seconds.append(time.perf_counter() - begin)
    return seconds


def report(args, unit, scale, seconds):
    """One line of JSON: what was run, and the median, the least and the greatest time of a step."""
    line = vars(args) | {"torch": torch.__version__}
    for name, value in [("median", statistics.median(seconds)), ("min", min(seconds)), ("max", max(seconds))]:
        line[f"{name}_{unit}"] = round(value * scale, 6)
    print(json.dumps(line))


def parser(text):
    """An argument parser that names the defaults."""
    return argparse.ArgumentParser(description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
