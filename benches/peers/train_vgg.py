#!/usr/bin/env python3
"""Trains the paper's VGG on CIFAR-10 in PyTorch and writes step,loss,train_accuracy as CSV: for comparing curves.

DATA is the folder cifar-10-batches-bin (data_batch_1.bin … data_batch_5.bin, test_batch.bin). No augmentation; images
are standardised by channel with the training set's mean and deviation.
"""

import pathlib
import sys

import numpy
import torch
import torch.nn.functional as F

import twin


def read(folder, names):
    """Images N×3×32×32 as float32 in 0..1, and labels: each record is a label and 3,072 bytes."""
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        sys.exit(f"{folder}: no {missing[0]} there; DATA is the folder cifar-10-batches-bin")
    raw = numpy.concatenate([numpy.fromfile(folder / name, dtype=numpy.uint8) for name in names])
    if raw.size == 0 or raw.size % 3073:
        sys.exit(f"{folder}: not CIFAR-10 batch files (records of 3,073 bytes)")
    raw = raw.reshape(-1, 3073)
    images = torch.from_numpy(raw[:, 1:].reshape(-1, 3, 32, 32).astype(numpy.float32) / 255)
    return images, torch.from_numpy(raw[:, 0].astype(numpy.int64))


def accuracy(net, images, labels, memory):
    """Share of images that the network, in evaluation mode, gives their own label."""
    net.eval()
    with torch.no_grad():
        right = sum(
            (net(x.to(memory_format=memory)).argmax(1) == y).sum().item()
            for x, y in zip(images.split(500), labels.split(500))
        )
    net.train()
    return right / len(labels)


def main():
    parser = twin.parser(__doc__)
    parser.add_argument("data", type=pathlib.Path, metavar="DATA", help="folder of batch files")
    parser.add_argument("--out", default="losses.csv", help="CSV to write")
    parser.add_argument("--steps", type=int, default=1000, help="training steps")
    twin.vgg_options(parser)
    args = parser.parse_args()
    twin.start(args)

    memory = torch.channels_last if args.memory_format == "channels_last" else torch.contiguous_format
    images, labels = read(args.data, [f"data_batch_{i}.bin" for i in range(1, 6)])
    test_images, test_labels = read(args.data, ["test_batch.bin"])
    mean, deviation = images.mean((0, 2, 3), keepdim=True), images.std((0, 2, 3), keepdim=True, correction=0)
    data = [((t - mean) / deviation).to(args.device) for t in (images, test_images)]
    labels, test_labels = labels.to(args.device), test_labels.to(args.device)

    net = twin.vgg(args.model, args.width, args.norm).to(args.device, memory_format=memory).train()
    parameters = list(net.parameters())
    order = torch.empty(0, dtype=torch.int64)
    with open(args.out, "w") as out:
        out.write("step,loss,train_accuracy\n")
        for step in range(args.steps):
            # The epochs' permutations end to end, cut into full batches: every image is used.
            while len(order) < args.batch:
                order = torch.cat([order, torch.randperm(len(labels))])
            batch, order = order[: args.batch], order[args.batch :]
            x, y = data[0][batch].to(memory_format=memory), labels[batch]
            net.zero_grad(set_to_none=True)
            logits = net(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            twin.sgd(parameters, args.lr)
            out.write(f"{step},{loss.item()!r},{(logits.argmax(1) == y).float().mean().item()!r}\n")
            if step % 100 == 99:
                print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)
    print(f"test accuracy {accuracy(net, data[1], test_labels, memory):.4f}")


if __name__ == "__main__":
    main()
