# SPDX-License-Identifier: Apache-2.0
"""A loader that is told over its standard input what to load, and when.

Each line is a pattern of files (or a directory: all its *.safetensors), which
are loaded through the safetensors package, every tensor copied into one that
is there already; "slice RANK RANKS PATTERN" takes out of each what is that
rank's.  The seconds that it took are printed.  What comes before the first
line, and allocating the tensors, is not counted.
"""
import glob
import sys
import time

import numpy as np
from safetensors import safe_open


ROW_PARALLEL = ("o_proj.weight", "down_proj.weight")


def share(name, tensor, rank, ranks):
    """A rank's part, as an engine takes it: of rows, of columns or all."""
    if tensor.ndim < 2:
        return tensor
    dim = 1 if name.endswith(ROW_PARALLEL) else 0
    part = tensor.shape[dim] // ranks
    at = slice(rank * part, (rank + 1) * part)
    return tensor[:, at] if dim else tensor[at]


def tensors_of(pattern):
    for path in sorted(glob.glob(pattern)):
        with safe_open(path, framework="np") as file:
            for name in file.keys():
                yield (path.rsplit("/", 1)[1], name), file.get_tensor(name)


def wanted(line):
    if line.startswith("slice "):
        _, rank, ranks, pattern = line.split(" ", 3)
        for key, tensor in tensors_of(pattern):
            yield key, share(key[1], tensor, int(rank), int(ranks))
        return
    yield from tensors_of(line if "*" in line else line + "/*.safetensors")


def main():
    held = {}
    print("ready", flush=True)
    for line in sys.stdin:
        line = line.rstrip("\n")
        if not held:
            for key, tensor in wanted(line):
                held[key] = np.array(tensor)
        begin = time.monotonic()
        for key, tensor in wanted(line):
            np.copyto(held[key], tensor)
        print("%.9f" % (time.monotonic() - begin), flush=True)


if __name__ == "__main__":
    main()
