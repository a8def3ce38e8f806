# SPDX-License-Identifier: Apache-2.0
"""A loader that is told over its standard input what to load, and when.

Each line names a directory; all its *.safetensors are loaded through the
safetensors package, every tensor copied into one that is there already, and
the seconds that it took are printed.  What comes before the first line, and
allocating the tensors, is not counted.
"""
import glob
import sys
import time

import numpy as np
from safetensors import safe_open


def tensors_of(directory):
    for path in sorted(glob.glob(directory + "/*.safetensors")):
        with safe_open(path, framework="np") as file:
            for name in file.keys():
                yield (path.rsplit("/", 1)[1], name), file.get_tensor(name)


def main():
    held = {}
    print("ready", flush=True)
    for line in sys.stdin:
        directory = line.rstrip("\n")
        if not held:
            for key, tensor in tensors_of(directory):
                held[key] = np.array(tensor)
        begin = time.monotonic()
        for key, tensor in tensors_of(directory):
            np.copyto(held[key], tensor)
        print("%.9f" % (time.monotonic() - begin), flush=True)


if __name__ == "__main__":
    main()
