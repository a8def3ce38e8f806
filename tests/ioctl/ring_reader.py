# SPDX-License-Identifier: Apache-2.0
"""A reader of files that the arena has no room for, with memory on a GPU:
ring_reader.py HOW COUNT SEED FILE TRUTH...

fill: COUNT fills of random segments, each compared with the truth.
small: COUNT fills of the first bytes.
sticky, crash: (FAKE) an error of CUDA's that lasts, or the death of the helper,
costs the call that it is in; the next one fills.
lost: fills until its seed is gone, after it has said "ready".
late: a fill whose time is over while the source hangs.

Each but of "lost" and "late" says that it went by a ring.
"""
import ctypes
import errno
import os
import random
import sys

import calls
from gpu_reader import Gpu, applied, refused

ROOM = 12 << 20
TIMEOUT = 60 * 10**9
STICKS, CRASHES = 1, 2
ILLEGAL_ADDRESS = 700


def random_rows(rng, size):
    """Short runs and long ones, near each other and far apart."""
    rows, at = [], 0
    for _ in range(rng.randint(1, 8)):
        length = rng.choice([rng.randint(1, 3000),
                             rng.randint(1, min(size // 2, ROOM // 4))])
        count = rng.randint(1, 20 if length <= 3000 else 2)
        stride = rng.randint(0, (size - length) // count)
        to_stride = length + rng.randint(0, 30)
        if at + to_stride * count > ROOM:
            break
        rows.append((rng.randint(0, size - stride * (count - 1) - length), at,
                     length, stride, to_stride, count))
        at += to_stride * count
    return rows


class Reader:
    def __init__(self, files, truths):
        self.opened = [(os.open(file, os.O_RDONLY | os.O_NONBLOCK),
                        open(truth, "rb").read())
                       for file, truth in zip(files, truths)]
        for fd, _ in self.opened:
            can = calls.info(fd).can
            assert can & calls.CAN_FILL_DEVICE and can & calls.FILLS_BY_RING
        self.gpu = Gpu()
        self.at, self.handle = self.gpu.allocate(ROOM)

    def send(self, fd, rows, **fields):
        fields = {"cookie": 7, "timeout_ns": TIMEOUT, **fields}
        return calls.ioctl(fd, calls.FILL, calls.segments(calls.new(
            calls.Fill, memory=calls.CUDA_IPC, alloc_bytes=ROOM,
            handle=(ctypes.c_uint8 * 64)(*self.handle), **fields), rows))

    def fill(self, fd, truth, rows, **fields):
        self.gpu.clear(self.at, ROOM)
        said = self.send(fd, rows, **fields)
        assert said.head.flags == calls.BY_RING
        assert said.done == sum(row[2] * row[5] for row in rows)
        assert self.gpu.read(self.at, ROOM) == applied(truth, rows, ROOM), rows

    def inject(self, call, action, code=0):
        lib = self.gpu.lib
        lib.fake_cu_control_open.restype = ctypes.c_void_p
        control = ctypes.c_void_p(lib.fake_cu_control_open(
            os.environ["FAKE_CUDART"].encode()))
        lib.fake_cu_inject(control, call, action, code, 1, 1)


def whole(truth):
    return [(0, 0, len(truth), 0, 0, 1)]


def fail_once(reader, stage, *fault):
    fd, truth = reader.opened[0]
    reader.fill(fd, truth, whole(truth))
    reader.inject(*fault)
    refused(errno.EIO, reader.send, fd, whole(truth), stage=stage)
    reader.fill(fd, truth, whole(truth))


def lose(reader):
    fd, truth = reader.opened[0]
    reader.fill(fd, truth, whole(truth))
    print("ready", flush=True)
    while True:
        try:
            reader.send(fd, whole(truth))
        except calls.Failed as failed:
            assert failed.stage == calls.FETCH, failed.stage
            assert failed.errno in (errno.EHOSTUNREACH, errno.EIO), failed
            return


def main(how, count, seed, *files):
    reader = Reader(files[::2], files[1::2])
    rng = random.Random(int(seed))
    fd, truth = reader.opened[0]
    if how == "fill":
        for _ in range(int(count)):
            fd, truth = rng.choice(reader.opened)
            reader.fill(fd, truth, random_rows(rng, len(truth)),
                        cookie=7)
            if rng.random() < 0.5:
                try:
                    calls.drop(fd, cookie=7)
                except calls.Failed as failed:
                    assert failed.errno == errno.ESRCH
    elif how == "small":
        for _ in range(int(count)):
            reader.fill(fd, truth, [(0, 0, 5000, 0, 0, 1)])
    elif how == "sticky":
        fail_once(reader, calls.COPY, b"cudaMemcpyAsync", STICKS,
                  ILLEGAL_ADDRESS)
    elif how == "crash":
        fail_once(reader, calls.COPY, b"cudaMemcpyAsync", CRASHES)
    elif how == "lost":
        lose(reader)
    else:
        refused(errno.ETIMEDOUT, reader.send, fd, whole(truth),
                stage=calls.FETCH, timeout_ns=10**8)


if __name__ == "__main__":
    main(*sys.argv[1:])
