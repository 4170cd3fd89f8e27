#!/usr/bin/env python3
"""Times a training step of the paper's VGG in PyTorch: forward, cross-entropy, backward, plain SGD."""

import torch
import torch.nn.functional as F

import twin


def main():
    parser = twin.parser(__doc__)
    twin.vgg_options(parser)
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument("--warm-up", type=int, default=3, help="steps before them")
    parser.add_argument("--precision", choices=["f32", "tf32", "bf16"], default="f32", help="bf16 is autocast; tf32 needs a GPU")
    parser.add_argument("--compile", choices=["none", "default", "max-autotune"], default="none", help="torch.compile's mode")
    args = parser.parse_args()
    twin.start(args)
    # The fastest algorithms of cuDNN for these shapes, and exact f32 unless tf32 is asked for.
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = args.precision == "tf32"

    memory = torch.channels_last if args.memory_format == "channels_last" else torch.contiguous_format
    net = twin.vgg(args.model, args.width, args.norm).to(args.device, memory_format=memory).train()
    # Random, never zeros: ReLU and pooling on zeros are another computation.
    x = torch.randn(args.batch, 3, 32, 32).to(args.device, memory_format=memory)
    labels = torch.randint(0, 10, (args.batch,)).to(args.device)
    parameters = list(net.parameters())

    def loss():
        with torch.autocast(torch.device(args.device).type, torch.bfloat16, enabled=args.precision == "bf16"):
            return F.cross_entropy(net(x), labels)

    # max-autotune records CUDA graphs by itself, where there is a GPU.
    compiled = loss if args.compile == "none" else torch.compile(loss, mode=args.compile)

    def step():
        net.zero_grad(set_to_none=True)
        compiled().backward()
        twin.sgd(parameters, args.lr)

    twin.report(args, "s", 1.0, twin.timed(step, args.steps, args.warm_up, args.device))


if __name__ == "__main__":
    main()
