# SPDX-License-Identifier: Apache-2.0
"""A loader that is told over its standard input how and what to load.

Each line is a way and a path: "safetensors" is safetensors.torch.load_file of
each *.safetensors that the pattern names, "weightfs" weightfs.load_file, each
followed by a copy of every tensor into one that is there already; "into" is
weightfs.load_into with those; "memory" a copy out of tensors in memory, which
is what the machine does at best.  The seconds that it took are printed.
"""
import glob
import sys
import time

import torch
import weightfs
from safetensors.torch import load_file


def by_safetensors(path):
    return {name: tensor for file in sorted(glob.glob(path))
            for name, tensor in load_file(file).items()}


def fill(held, tensors):
    for name, tensor in tensors.items():
        held[name].copy_(tensor)


def main():
    held = memory = None
    print("ready", flush=True)
    for line in sys.stdin:
        way, path = line.rstrip("\n").split(" ", 1)
        if held is None:
            found = by_safetensors(path)
            held = {n: torch.clone(t) for n, t in found.items()}
            memory = {n: torch.clone(t) for n, t in found.items()}
            del found
        begin = time.monotonic()
        if way == "safetensors":
            fill(held, by_safetensors(path))
        elif way == "weightfs":
            fill(held, weightfs.load_file(path))
        elif way == "into":
            weightfs.load_into(held, path)
        else:
            fill(held, memory)
        took = time.monotonic() - begin
        assert all(torch.equal(held[n].view(torch.uint8).view(-1)[:64],
                               memory[n].view(torch.uint8).view(-1)[:64])
                   for n in held)
        print("%.9f" % took, flush=True)


if __name__ == "__main__":
    main()
