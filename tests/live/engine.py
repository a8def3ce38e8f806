# SPDX-License-Identifier: Apache-2.0
"""A process that holds tensors and serves them, as an engine would.

    python engine.py torch|numpy|plain OPTIONS_JSON < orders > answers

Options: "ranks", {number: safetensors file}, whose tensors are read into
memory of their own; "strided", names that lie transposed in memory; "serve",
arguments of weightfs.serve. It says {"url", "regions"}; then it obeys, line by
line, and answers each with a line:

    flip N [VERSION]
              every byte of every tensor is changed in place, in an update,
              to what is declared as that version
    begin, end, close
    child     forks; the child's copy of the model is closed there
    lose      the memory of all tensors cannot be read any more, which nobody
              is told
"""
import ctypes
import json
import mmap
import os
import struct
import sys

import weightfs

KIND = sys.argv[1]
TORCH = {"F32": "float32", "BF16": "bfloat16", "F16": "float16",
         "I64": "int64", "U8": "uint8", "F64": "float64", "I32": "int32",
         "F8_E4M3": "float8_e4m3fn"}
NUMPY = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "U8": "u1", "F64": "<f8",
         "I32": "<i4"}


def read(path):
    """[(name, dtype, shape, bytes)]"""
    with open(path, "rb") as file:
        data = file.read()
    (n,) = struct.unpack("<Q", data[:8])
    head = json.loads(data[8:8 + n])
    head.pop("__metadata__", None)
    return [(name, t["dtype"], t["shape"],
             data[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]])
            for name, t in head.items()]


class Pool:
    """Memory from one mapping, as an engine's allocator has it."""

    def __init__(self, size):
        self.map = mmap.mmap(-1, size + 4096)
        self.used = 0

    def take(self, data):
        at = self.used
        self.map[at:at + len(data)] = data
        self.used = -(-(at + len(data)) // 64) * 64
        return memoryview(self.map)[at:at + len(data)]


def as_torch(memory, dtype, shape):
    import torch
    return torch.frombuffer(
        memory, dtype=getattr(torch, TORCH[dtype])).reshape(shape)


def as_numpy(memory, dtype, shape):
    import numpy
    return numpy.frombuffer(memory, dtype=NUMPY[dtype]).reshape(shape)


class Plain:
    """An array of bytes, for where it takes too long to import anything."""

    class dtype:
        name, itemsize, byteorder = "uint8", 1, "|"

    def __init__(self, memory, shape):
        at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self.shape, self.strides = tuple(shape), (1,)
        self.__array_interface__ = {"data": (at, False)}


def as_plain(memory, dtype, shape):
    assert dtype == "U8" and len(shape) == 1
    return Plain(memory, shape)


def turned(tensor):
    """The same values; in memory its last two dimensions are swapped."""
    if KIND == "torch":
        return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    import numpy
    return numpy.ascontiguousarray(tensor.swapaxes(-1, -2)).swapaxes(-1, -2)


def main():
    options = json.loads(sys.argv[2])
    files = {int(r): read(path) for r, path in options["ranks"].items()}
    pool = Pool(sum(len(t[3]) + 64 for f in files.values() for t in f) + 64)
    make = {"torch": as_torch, "numpy": as_numpy, "plain": as_plain}[KIND]
    ranks = {}
    for number, tensors in files.items():
        ranks[number] = {
            name: make(pool.take(data), dtype, shape)
            for name, dtype, shape, data in tensors if data}
        for name in options.get("strided", ()):
            ranks[number][name] = turned(ranks[number][name])
        for name, other in options.get("tied", {}).items():
            ranks[number][name] = ranks[number][other]
    first, *more = ranks
    seed = weightfs.Seed(**options.get("seed", {}))
    served = seed.model(options["serve"].pop("model"), **options["serve"])
    for name, content in options.get("files", {}).items():
        served.add_file(name, content.encode())
    for number in (first, *more):
        served.add(ranks[number], number)
    served.publish()
    say(url=seed.url, regions=served.regions)
    for line in sys.stdin:
        obey(line.split(), pool, served)


def say(**what):
    print(json.dumps(what), flush=True)


def flip(pool, key):
    data = bytes(pool.map[:pool.used])
    pool.map[:pool.used] = bytes(b ^ key for b in data) if len(
        data) < 65536 else data.translate(bytes(i ^ key for i in range(256)))


def lose(pool):
    size = len(pool.map) // mmap.PAGESIZE * mmap.PAGESIZE
    at = ctypes.addressof(ctypes.c_char.from_buffer(pool.map))
    libc = ctypes.CDLL(None)
    assert libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(size), 0) == 0


def obey(order, pool, served):
    if order[0] == "flip":
        with served.update(*order[2:]):
            flip(pool, int(order[1]))
    elif order[0] == "begin":
        served.half = served.update()
        served.half.__enter__()
        flip(pool, int(order[1]))
    elif order[0] == "end":
        served.half.__exit__(None, None, None)
    elif order[0] == "close":
        served.close()
    elif order[0] == "lose":
        lose(pool)
    elif order[0] == "child":
        if os.fork() == 0:
            served.close()
            sys.stdin.read()
            os._exit(0)
    say(epoch=served.epoch if order[0] != "close" else None)


if __name__ == "__main__":
    main()
