# SPDX-License-Identifier: Apache-2.0
"""A reader whose memory is of another kind: gpu_kinds.py HOW SEED FILE...

vmm:  fills of random segments in memory of cuMemCreate.
pool: the same in memory of an exported pool.
user: as a user who is not the mount's: fills are the truth, nothing is lent.
mig:  on a part of a GPU, UUID in MIG_UUID: fills are the truth, or EOPNOTSUPP.
"""
import ctypes
import errno
import os
import random
import sys

import calls
import gpu_reader
from gpu_memory import VmmGpu
from gpu_reader import ROOM, TIMEOUT

FILLS = 25
BY_MIG = 3


def vmm(gpu, rng, opened):
    at, memory, size = gpu.allocate_vmm(ROOM)
    fill_random(gpu, rng, opened, at, memory, memory=calls.CUDA_VMM,
                alloc_bytes=size)


def pool(gpu, rng, opened):
    at, memory, data = gpu.allocate_pooled(ROOM)
    fill_random(gpu, rng, opened, at, memory, memory=calls.CUDA_POOL,
                alloc_bytes=ROOM, handle=(ctypes.c_uint8 * 64)(*data))


def fill_random(gpu, rng, opened, at, passed, **fields):
    with calls.Passer.of(opened[0][0]) as passer:
        slot = passer.pass_on(passed, calls.PASS_DEVICE)[0]
        for _ in range(FILLS):
            fd, truth = rng.choice(opened)
            rows = gpu_reader.random_rows(rng, len(truth))
            gpu.clear(at, ROOM)
            calls.ioctl(fd, calls.FILL, calls.segments(calls.new(
                calls.Fill, slot=slot, timeout_ns=TIMEOUT, **fields), rows))
            assert gpu.read(at, ROOM) == gpu_reader.applied(truth, rows), rows


def user(gpu, rng, opened):
    gpu_reader.fill(gpu, rng, opened, FILLS)
    gpu_reader.refused(errno.EACCES, calls.ioctl, opened[0][0], calls.LEND,
                       calls.new(calls.Lend, timeout_ns=TIMEOUT))


def mig(gpu, rng, opened):
    handle = gpu.allocate(ROOM)[1]
    fd, truth = opened[0]
    # MIG-xxxxxxxx-xxxx-…: the sixteen bytes are what tells it.
    part = bytes.fromhex(os.environ["MIG_UUID"][4:].replace("-", ""))
    device = calls.Device(uuid=(ctypes.c_uint8 * 16)(*part), by=BY_MIG)
    try:
        gpu_reader.send(fd, handle, [(0, 0, min(len(truth), ROOM))],
                        device=device)
        print("filled")
    except calls.Failed as failed:
        assert failed.errno == errno.EOPNOTSUPP, failed
        print("refused")


def main(how, seed, *files):
    opened = [(os.open(file, os.O_RDONLY), open(file, "rb").read())
              for file in files]
    {"vmm": vmm, "pool": pool, "user": user, "mig": mig}[how](
        VmmGpu(), random.Random(int(seed)), opened)


if __name__ == "__main__":
    main(*sys.argv[1:])
