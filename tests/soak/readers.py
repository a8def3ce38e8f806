# SPDX-License-Identifier: Apache-2.0
"""Readers that know what they should get.

Random reads come from threads of this process.  Whole files are loaded by a
process that maps them, so that a bus error is seen:

    readers.py load SECONDS TRUTH MOUNTED FILE…   until it is killed

prints a line for each file that was right, and exits with 3 at a wrong byte.
"""
import mmap
import os
import random
import sys
import threading
import time
from pathlib import Path

import numpy as np

LONGEST = 3 << 20  # bytes of one random read


def mapped(path):
    if not os.path.getsize(path):
        return np.zeros(0, np.uint8)
    return np.memmap(path, np.uint8, "r")


class Truth:
    """Every file of a mounted model, and its bytes."""

    def __init__(self, checkpoint):
        self.bytes = {name: mapped(checkpoint.path / name)
                      for name in checkpoint.files()}
        for rank, name, place in checkpoint.tensors():
            self.bytes[f"{rank}/{name}"] = mapped(place.file)[
                place.offset:place.offset + place.size]
        self.large = [n for n, b in self.bytes.items() if b.size > 4096]

    def is_right(self, name, off, got):
        want = self.bytes[name][off:off + len(got)]
        return np.array_equal(np.frombuffer(got, np.uint8), want)


def read(path, off, length, cold=False):
    """All of it (None: to the end), or less at the end of the file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        if length is None:
            length = os.fstat(fd).st_size - off
        if cold:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        parts = []
        while length:
            part = os.pread(fd, length, off)
            if not part:
                break
            parts.append(part)
            off, length = off + len(part), length - len(part)
        return b"".join(parts)
    finally:
        os.close(fd)


class Reader(threading.Thread):
    """Reads here and there until told to stop."""

    def __init__(self, number, seed, truth, tops):
        super().__init__(daemon=True, name=f"reader {number}")
        self.chance = random.Random(f"{seed} reader {number}")
        self.truth, self.tops = truth, tops
        self.over = threading.Event()
        self.reads = self.bytes = 0
        self.since = None  # of the read that is under way
        self.longest = 0.0
        self.wrong, self.failed = [], []

    def one(self):
        name = self.chance.choice(self.truth.large)
        top = self.chance.choice(self.tops)
        size = self.truth.bytes[name].size
        length = min(size, int(LONGEST ** self.chance.random()) + 1)
        off = self.chance.randrange(size - length + 1)
        what = f"{length} bytes at {off} of '{top / name}'"
        self.since = time.monotonic()
        try:
            got = read(top / name, off, length, self.chance.random() < 0.5)
            if len(got) != length:
                self.failed.append(f"{what}: only {len(got)}")
            elif not self.truth.is_right(name, off, got):
                self.wrong.append(what)
        except OSError as e:
            self.failed.append(f"{what}: {e.strerror} after "
                               f"{time.monotonic() - self.since:.1f} s")
        self.longest = max(self.longest, time.monotonic() - self.since)
        self.since = None
        self.reads += 1
        self.bytes += length

    def run(self):
        while not self.over.is_set():
            self.one()
            self.over.wait(self.chance.random() / 50)

    def waits(self, seconds):
        since = self.since
        return since is not None and time.monotonic() - since > seconds


def load(pause, truth, mounted, names):
    while True:
        for name in names:
            want = mapped(Path(truth, name))
            with open(Path(mounted, name), "rb") as file, mmap.mmap(
                    file.fileno(), 0, prot=mmap.PROT_READ) as got:
                if not np.array_equal(np.frombuffer(got, np.uint8), want):
                    print(name, "is WRONG", flush=True)
                    sys.exit(3)
            print(name, flush=True)
            time.sleep(float(pause))


if __name__ == "__main__":
    load(*sys.argv[2:5], sys.argv[5:])
