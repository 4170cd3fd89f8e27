"""The paper's VGG as plain PyTorch, and how its twins are timed: shared by the scripts beside this file."""

import argparse
import json
import math
import statistics
import sys
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
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")


# How a step runs, and torch.compile's mode in it: eager; compiled, where the last two modes record CUDA graphs of forward and backward by
# themselves; and forward, backward and update recorded as one CUDA graph and replayed, of the eager step or of the compiled one.
WAYS = {
    "eager": None,
    "default": "default",
    "reduce-overhead": "reduce-overhead",
    "max-autotune": "max-autotune",
    "graph": None,
    "max-autotune-graph": "max-autotune-no-cudagraphs",
}


def step_options(parser, steps, warm_up):
    """The options of the scripts that time a step."""
    parser.add_argument("--steps", type=int, default=steps, help="steps that are timed")
    parser.add_argument("--warm-up", type=int, default=warm_up, help="steps before them")
    parser.add_argument("--seconds", type=float, help="on the CPU: as many steps as this takes, three at least, in place of --steps")
    parser.add_argument("--precision", choices=["f32", "f64", "tf32", "bf16"], default="f32", help="bf16 is autocast; tf32 needs a GPU")
    parser.add_argument("--way", choices=WAYS, default="eager", help="eager, a mode of torch.compile, or a CUDA graph of the whole step (needs a GPU)")


def start(args):
    """Seeds, threads, and what products may be rounded to."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    precision = getattr(args, "precision", "f32")
    if precision == "f64":
        torch.set_default_dtype(torch.float64)
    # The fastest algorithms of cuDNN for these shapes, and exact f32 unless tf32 is asked for.
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    if args.device == "cpu" and (precision == "tf32" or getattr(args, "way", "eager").endswith("graph")):
        sys.exit("tf32 and CUDA graphs need --device cuda")
    if ":" in args.device:
        torch.cuda.set_device(args.device)


def autocast(args):
    """bf16 where it is asked for."""
    return torch.autocast(torch.device(args.device).type, torch.bfloat16, enabled=args.precision == "bf16")


def sgd(parameters, lr):
    """Plain gradient descent, in place: all that the paper's optimiser does. One call for all tensors."""
    with torch.no_grad():
        torch._foreach_add_(parameters, [p.grad for p in parameters], alpha=-lr)


def training(args, net, loss):
    """A training step, a function without arguments, run the way that is asked for; and what reads its last loss.

    `loss` is a function of nothing that does the forward pass."""
    parameters = list(net.parameters())
    last = {}

    def gradient_step(forward):
        value = forward()
        value.backward()
        sgd(parameters, args.lr)
        # Read after the timing only: what is read now would be waited for.
        last["loss"] = value.detach()

    mode = WAYS[args.way]
    forward = torch.compile(loss, mode=mode) if mode else loss
    if args.way.endswith("graph"):
        return recorded(gradient_step, forward, net), lambda: last["loss"].item()

    def step():
        # Graphs that torch.compile has recorded write to the same memory again in the next step.
        if args.way in ("reduce-overhead", "max-autotune") and args.device != "cpu":
            torch.compiler.cudagraph_mark_step_begin()
        net.zero_grad(set_to_none=True)
        gradient_step(forward)

    return step, lambda: last["loss"].item()


def recorded(gradient_step, forward, net):
    """Forward, backward and update as one CUDA graph, to be replayed."""
    # As PyTorch's notes on CUDA graphs have it: a few steps aside, so that cuDNN has chosen and everything is loaded.
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(5):
            net.zero_grad(set_to_none=True)
            gradient_step(forward)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Gradients are made anew in the graph's own memory.
    net.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        gradient_step(forward)
    return graph.replay


def timed(step, steps, warm_up, device, at_most=None):
    """Seconds of a step, once for each time that was taken, after `warm_up` calls that are not counted; and of how many steps each is the mean.

    On the CPU with `at_most`, steps are taken for so many seconds, whatever `steps` says, but three at the least.

    On a GPU by its own clock: events between spans of some milliseconds, at least ten of them, and one wait at the end, so that the host runs
    ahead as it does in training."""
    if torch.device(device).type == "cpu":
        for _ in range(warm_up):
            step()
        seconds, began = [], time.perf_counter()
        while len(seconds) < (steps if at_most is None else 3) or (at_most and time.perf_counter() - began < at_most):
            begin = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - begin)
        return seconds, 1
    for _ in range(warm_up):
        step()
    each = max(1, min(1000, round(SPAN / statistics.median(spans(step, 1, 10)))))
    return spans(step, each, max(10, -(-steps // each))), each


# Seconds between two events, about: as in the benchmark that is compared with.
SPAN = 5e-3


def spans(step, each, count):
    """Seconds of a step, in each of `count` spans of `each` steps between two events."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    torch.cuda.synchronize()
    # One that is not counted, for the device to be busy with while the others are asked for.
    step()
    events[0].record()
    for event in events[1:]:
        for _ in range(each):
            step()
        event.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) * 1e-3 / each for a, b in zip(events, events[1:])]


def report(args, seconds, each, last_loss):
    """One line of JSON: what was run, on what, and the median, the least and the greatest seconds of a step."""
    line = vars(args) | {"torch": torch.__version__, "device_name": "cpu"}
    if torch.device(args.device).type == "cuda":
        line |= {
            "device_name": torch.cuda.get_device_name(args.device),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    # Steps on infinities would be other work: then this is null.
    line["loss"] = last_loss if math.isfinite(last_loss) else None
    line["time"] = {
        "median": statistics.median(seconds),
        "min": min(seconds),
        "max": max(seconds),
        "runs": len(seconds),
        "each": each,
    }
    print(json.dumps(line))


def parser(text):
    """An argument parser that names the defaults."""
    return argparse.ArgumentParser(description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
