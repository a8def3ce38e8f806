#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure the ways to a GPU beside copies from pinned memory.

`make bench-gpu` runs this: a table on stdout, the same in build/bench-gpu.json.
Every line is a median of interleaved rounds after a warm-up, and each way's
bytes are read back and compared.  Without a GPU one line says why there is
nothing.  Over the FAKE libcudart (FAKE_CUDART) all of it runs, on less data, and
no figure is shown.  BENCH_DIR is where the checkpoint is written (build/bench).

As `gpu.py borrow KIND FILE...` it is a reader that is lent files.
"""
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for _part in ("tools/python", "tools/scripts", "tests/ioctl"):
    sys.path.insert(1, str(ROOT / _part))
BUILD = Path(os.environ.get("WEIGHTFS_BUILD", ROOT / "build/release"))
os.environ.setdefault("WEIGHTFS_LIBRARY", str(BUILD / "libweightfs.so.0"))
os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")

import calls  # noqa: E402
import gpu_memory  # noqa: E402
import mkmodel  # noqa: E402
import mount  # noqa: E402
from gpu_reader import TIMEOUT, TO_DEVICE  # noqa: E402
from table import GB, Table  # noqa: E402
from weightfs._set import Set  # noqa: E402

FAKE = bool(os.environ.get("FAKE_CUDART"))
MIB = 1 << 20
LENT, EACH, COUNT = (4 * MIB, 2 * MIB, 2) if FAKE else \
    (1024 * MIB, 256 * MIB, 12)
PINNED = EACH
ROUNDS = 2 if FAKE else 7
WHERE = Path(os.environ.get("BENCH_DIR", ROOT / "build/bench"))
MODEL = "gpu-fake" if FAKE else "gpu"
SHARD = "model-rank-0-part-0.safetensors"


class Checkpoint:
    """One rank: a tensor to be lent, and others."""
    name = "m"

    def __init__(self):
        self.path = str(WHERE / MODEL)
        self.tensors = [("lent", "U8", (LENT,))] + [
            ("t%02d" % i, "U8", (EACH,)) for i in range(COUNT)]
        self.size = LENT + EACH * COUNT
        mkmodel.make_once(self.path, self.write)

    def write(self, path):
        mkmodel.write_shard(os.path.join(path, SHARD), self.tensors)
        mkmodel.write_config(os.path.join(path, "config.json"),
                             {"model_type": "llama"})


class Bench:
    def __init__(self):
        self.gpu = gpu_memory.VmmGpu()
        self.checkpoint = Checkpoint()
        self.table = None if FAKE else self.table_of()
        self.ways = {}  # what a row is called: (what does it, where it lands)

    def table_of(self):
        name = ctypes.create_string_buffer(96)
        self.gpu.call("cuDeviceGetName", name, 96, 0)
        print(name.value.decode())
        table = Table()
        table.machine += ", " + name.value.decode()
        return table

    def allocate(self):
        at, handle = self.gpu.allocate(self.checkpoint.size)
        return at.value, handle

    def pinned(self):
        """Copies of as many bytes, which are all from one buffer."""
        at = ctypes.c_void_p()
        self.gpu.call("cudaHostAlloc", ctypes.byref(at),
                      ctypes.c_size_t(PINNED), 0)
        ctypes.memset(at, 1, PINNED)

        def copy(to):
            for off in range(0, self.checkpoint.size, PINNED):
                self.gpu.call("cudaMemcpyAsync", ctypes.c_void_p(to + off), at,
                              ctypes.c_size_t(PINNED), TO_DEVICE,
                              self.gpu.stream)
            self.gpu.call("cudaStreamSynchronize", self.gpu.stream)
        return copy

    def in_process(self, path, staged):
        def load(to):
            with Set(path) as found:
                places, at = [], to
                for info in found.infos:
                    places.append(at)
                    at += info.size
                found.load(to=places, device="cuda:0", staged=staged)
        return load

    def fill(self, files, **fields):
        def fill(_):
            at = 0
            for fd, size in files:
                calls.ioctl(fd, calls.FILL, calls.segments(calls.new(
                    calls.Fill, timeout_ns=TIMEOUT, **fields),
                    [(0, at, size)]))
                at += size
        return fill

    def check(self, what, to):
        """All bytes, in the order of the file, whose end they are."""
        with open(os.path.join(self.checkpoint.path, SHARD), "rb") as file:
            file.seek(-self.checkpoint.size, os.SEEK_END)
            for off in range(0, self.checkpoint.size, EACH):
                got = self.gpu.read(ctypes.c_void_p(to + off), EACH)
                if got != file.read(EACH):
                    raise RuntimeError("%s: wrong bytes from %d on"
                                       % (what, off))

    def measure(self):
        """All ways, in turns."""
        took = {what: [] for what in self.ways}
        for i in range(ROUNDS + 1):
            for what, (work, to) in list(self.ways.items())[::1 - i % 2 * 2]:
                if not i and what != "pinned":
                    self.gpu.clear(ctypes.c_void_p(to), self.checkpoint.size)
                begin = time.perf_counter()
                work(to)
                took[what].append(time.perf_counter() - begin)
                if not i and what != "pinned":
                    self.check(what, to)
        size = self.checkpoint.size / GB
        base = size / statistics.median(took.pop("pinned")[1:])
        for what, seconds in took.items():
            self.say(what, size / statistics.median(seconds[1:]), "GB/s",
                     (">=", 0.95), base, "pinned cudaMemcpyAsync")

    def say(self, what, *figures):
        if FAKE:
            print("%s: the bytes are right (FAKE)" % what)
        else:
            self.table.add(what, *figures)

    def lending(self, files, paths, kind, of):
        held, first = [], None
        for fd, _ in files:
            begin = time.perf_counter()
            held.append(lease(fd, kind))
            first = first or time.perf_counter() - begin
        self.say("LEND of %s, the first of its readers" % of, first * 1e3,
                 "ms")
        said = [borrow(paths, kind) for _ in range(ROUNDS)]
        self.say("LEND of %s that is lent, opened" % of, statistics.median(
            row["lent"] for row in said) * 1e3, "ms", ("<=", 10))
        self.say("a reader's restart, all lent to it, %s" % of,
                 statistics.median(row["start"] for row in said), "s",
                 ("<=", 1))
        for (fd, _), given in zip(files, held):
            calls.drop(fd, lease=given.lease)


def lease(fd, kind):
    return calls.ioctl(fd, calls.LEND, calls.new(calls.Lend, memory=kind,
                                                 timeout_ns=TIMEOUT))


def borrow(paths, kind):
    """What a reader took, from its start on."""
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, __file__, "borrow", str(kind),
                           *paths],
                          check=True, text=True, stdout=subprocess.PIPE)
    said = json.loads(done.stdout)
    # Of its clock, which is this one's: till all was open.
    return {"start": said["ready"] - begin, "lent": said["lent"]}


def map_lent(gpu, passer, said):
    if said.memory == calls.CUDA_IPC:
        return gpu.open(said.handle)
    memory, size = passer.descriptor(said.lease)
    at = gpu.map(memory, size)[0]
    os.close(memory)
    return ctypes.c_void_p(at.value)


def reader(kind, paths):
    gpu = gpu_memory.VmmGpu()
    opened, took = [], []
    fds = [os.open(path, os.O_RDONLY) for path in paths]
    with calls.Passer.of(fds[0]) as passer:
        for fd, path in zip(fds, paths):
            begin = time.perf_counter()
            said = lease(fd, kind)
            opened.append((path, said, map_lent(gpu, passer, said)))
            took.append(time.perf_counter() - begin)
        ready = time.perf_counter()
    for path, said, at in opened:
        with open(path, "rb") as file:
            if gpu.read(at, said.bytes) != file.read():
                raise RuntimeError("'%s': wrong bytes were lent" % path)
    # The first path is the large tensor; what it has ends with the reader.
    print(json.dumps({"ready": ready, "lent": took[0]}))


def measure_mounted(bench, point):
    paths = [os.path.join(point, "m/0", name)
             for name, _, _ in bench.checkpoint.tensors]
    files = [(os.open(path, os.O_RDONLY), os.path.getsize(path))
             for path in paths]
    at, handle = bench.allocate()
    top = os.path.join(point, "m", SHARD)
    bench.ways["in-process, registered"] = bench.in_process(top, False), at
    bench.ways["in-process, staged"] = bench.in_process(top, True), at
    bench.ways["FILL of cudaMalloc's"] = bench.fill(
        files, cookie=1, memory=calls.CUDA_IPC, alloc_bytes=bench.checkpoint.size,
        handle=(ctypes.c_uint8 * 64)(*handle)), at
    with calls.Passer.of(files[0][0]) as passer:
        at, memory, size = bench.gpu.allocate_vmm(bench.checkpoint.size)
        slot = passer.pass_on(memory, calls.PASS_DEVICE)[0]
        bench.ways["FILL of cuMemCreate's"] = bench.fill(
            files, cookie=2, memory=calls.CUDA_VMM, alloc_bytes=size, slot=slot), \
            at.value
        bench.measure()
    for cookie in 1, 2:
        calls.drop(files[0][0], cookie=cookie)
    bench.lending(files, paths, calls.CUDA_IPC, "cudaMalloc's")
    bench.lending(files, paths, calls.CUDA_VMM, "cuMemCreate's")
    for fd, _ in files:
        os.close(fd)


def measure_files(bench):
    at = bench.allocate()[0]
    path = os.path.join(bench.checkpoint.path, SHARD)
    bench.ways["in-process, registered"] = bench.in_process(path, False), at
    bench.ways["in-process, staged"] = bench.in_process(path, True), at
    bench.measure()


def main():
    why = gpu_memory.why_none()
    if why:
        print("bench-gpu: nothing is measured: %s" % why)
        return
    bench = Bench()
    bench.ways["pinned"] = bench.pinned(), bench.allocate()[0]
    point = str(WHERE / "mnt-gpu")
    try:
        mounted = mount.Weightfs(point, [bench.checkpoint], gpu="on")
        mounted.__enter__()
    except (OSError, subprocess.CalledProcessError, RuntimeError) as error:
        print("FILL and LEND are not measured, files of no mount are: %s"
              % error)
        measure_files(bench)
    else:
        try:
            measure_mounted(bench, point)
        finally:
            mounted.__exit__()
    if not FAKE:
        bench.table.save(os.environ.get("BENCH_OUT", "build/bench-gpu.json"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["borrow"]:
        reader(int(sys.argv[2]), sys.argv[3:])
    else:
        main()
