# SPDX-License-Identifier: Apache-2.0
"""A reader of its own: filler.py SEED COUNT TABLE fills memory COUNT times at
random and compares it with the truth.  TABLE is a JSON of [path, file, offset,
size]: what is at the path lies there in a file of the checkpoint.
"""
import json
import os
import random
import sys

import numpy as np

import calls

MEMORY = 3 << 20


class File:
    def __init__(self, path, source, offset, size):
        self.path = path
        self.fd = os.open(path, os.O_RDONLY)
        with open(source, "rb") as f:
            f.seek(offset)
            self.truth = np.frombuffer(f.read(size), np.uint8)


def draw(chance, file_bytes, at, room):
    """A segment that lies within `room` bytes of memory from `at` on."""
    length = min(chance.choice((1, 2, 7, 64, 4096, 70_000, 1 << 20)),
                 file_bytes, room)
    length = chance.randint(1, length)
    if chance.random() < 0.4:
        return (chance.randint(0, file_bytes - length),
                at + chance.randint(0, room - length), length)
    dst_stride = length + chance.choice((0, 0, 1, 100, 4096))
    file_stride = chance.choice((0, 1, length, length, length + 3, 8192))
    count = min(chance.choice((2, 3, 50, 5000)),
                (room - length) // dst_stride + 1)
    if file_stride:
        count = min(count, (file_bytes - length) // file_stride + 1)
    extent = (count - 1) * file_stride + length
    reach = (count - 1) * dst_stride + length
    return (chance.randint(0, file_bytes - extent),
            at + chance.randint(0, room - reach), length, file_stride,
            dst_stride, count)


def paint(memory, truth, row):
    off, dst, length, stride, dst_stride, count = (
        row if len(row) == 6 else (*row, 0, 0, 1))
    to = np.lib.stride_tricks.as_strided(
        memory[dst:], (count, length), (dst_stride, 1))
    to[:] = np.lib.stride_tricks.as_strided(
        truth[off:], (count, length), (stride, 1), writeable=False)


def one(chance, file, target, memory):
    """Segments of parts of the memory, so that none is in another's way."""
    n = chance.choice((1, 1, 2, 5, 64))
    part = MEMORY // n
    rows = [draw(chance, len(file.truth), i * part, part) for i in range(n)]
    want = memory.copy()
    for row in rows:
        paint(want, file.truth, row)
    call = calls.fill(file.fd, target.slot, rows)
    assert call.done == sum(r[2] * (r[5] if len(r) == 6 else 1)
                            for r in rows)
    if not np.array_equal(memory, want):
        sys.exit(f"{file.path}: other bytes for {rows}")


def main():
    seed, count, table = sys.argv[1:]
    chance = random.Random(int(seed))
    with open(table, encoding="utf-8") as text:
        files = [File(*row) for row in json.load(text) if row[3]]
    passer = calls.Passer.of(files[0].fd)
    targets = [calls.Target(passer, MEMORY, seal) for seal in (True, False)]
    memories = [np.frombuffer(t.view(), np.uint8) for t in targets]
    for _ in range(int(count)):
        which = chance.randrange(2)
        one(chance, chance.choice(files), targets[which], memories[which])


if __name__ == "__main__":
    main()
