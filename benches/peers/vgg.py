#!/usr/bin/env python3
"""Times a training step of the paper's VGG in PyTorch: forward, cross-entropy, backward, plain SGD."""

import torch
import torch.nn.functional as F

import twin


def main():
    parser = twin.parser(__doc__)
    twin.vgg_options(parser)
    twin.step_options(parser, steps=10, warm_up=3)
    args = parser.parse_args()
    twin.start(args)

    memory = torch.channels_last if args.memory_format == "channels_last" else torch.contiguous_format
    net = twin.vgg(args.model, args.width, args.norm).to(args.device, memory_format=memory).train()
    # Random, never zeros: ReLU and pooling on zeros are another computation.
    x = torch.randn(args.batch, 3, 32, 32).to(args.device, memory_format=memory)
    labels = torch.randint(0, 10, (args.batch,)).to(args.device)

    def loss():
        with twin.autocast(args):
            return F.cross_entropy(net(x), labels)

    step, last_loss = twin.training(args, net, loss)
    seconds, each = twin.timed(step, args.steps, args.warm_up, args.device, args.seconds)
    twin.report(args, seconds, each, last_loss())


if __name__ == "__main__":
    main()
