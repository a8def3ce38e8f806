# SPDX-License-Identifier: Apache-2.0
"""A reader whose GPU (FAKE) can export its memory: land_reader.py FILE TRUTH...

Fills memory with each file, compares, and says which flags each call had.
"""
import ctypes
import os
import sys

import calls
from gpu_reader import Gpu

TIMEOUT = 60 * 10**9
FLUSHED_BY_HOST = 1


def export(gpu):
    gpu.lib.fake_cu_control_open.restype = ctypes.c_void_p
    gpu.lib.fake_cu_export(ctypes.c_void_p(gpu.lib.fake_cu_control_open(
        os.environ["FAKE_CUDART"].encode())), 0, FLUSHED_BY_HOST)


def main(*files):
    gpu = Gpu()
    export(gpu)
    for path, truth in zip(files[::2], files[1::2]):
        with open(truth, "rb") as file:
            want = file.read()
        at, handle = gpu.allocate(len(want))
        gpu.clear(at, len(want))
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        said = calls.ioctl(fd, calls.FILL, calls.segments(calls.new(
            calls.Fill, memory=calls.CUDA_IPC, alloc_bytes=len(want),
            handle=(ctypes.c_uint8 * 64)(*handle), timeout_ns=TIMEOUT),
            [(0, 0, len(want), 0, 0, 1)]))
        os.close(fd)
        assert said.done == len(want)
        assert gpu.read(at, len(want)) == want, path
        print(said.head.flags)


if __name__ == "__main__":
    main(*sys.argv[1:])
