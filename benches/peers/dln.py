#!/usr/bin/env python3
"""Times a training step of the deep linear network in PyTorch: full batch, sum of squared errors, plain SGD."""

import torch
from torch import nn

import twin


def main():
    parser = twin.parser(__doc__)
    parser.add_argument("--depth", type=int, default=25, help="linear layers")
    parser.add_argument("--dim", type=int, default=10, help="inputs and outputs of each")
    parser.add_argument("--samples", type=int, default=1000, help="full batch")
    parser.add_argument("--norm", choices=["batch", "none"], default="batch", help="after every linear layer but the last")
    parser.add_argument("--lr", type=float, default=1e-6, help="learning rate")
    twin.common_options(parser)
    twin.step_options(parser, steps=300, warm_up=50)
    args = parser.parse_args()
    twin.start(args)

    layers = []
    for i in range(args.depth):
        linear = nn.Linear(args.dim, args.dim, bias=False)
        nn.init.xavier_uniform_(linear.weight)
        layers.append(linear)
        if args.norm == "batch" and i + 1 < args.depth:
            layers.append(nn.BatchNorm1d(args.dim))
    net = nn.Sequential(*layers).to(args.device).train()
    x = torch.randn(args.samples, args.dim).to(args.device)
    target = x @ torch.randn(args.dim, args.dim).to(args.device).T

    def loss():
        with twin.autocast(args):
            y = net(x)
        return (y.to(target.dtype) - target).square().sum()

    step, last_loss = twin.training(args, net, loss)
    seconds, each = twin.timed(step, args.steps, args.warm_up, args.device, args.seconds)
    twin.report(args, seconds, each, last_loss())


if __name__ == "__main__":
    main()
