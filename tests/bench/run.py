#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure weightfs beside the same bytes read without it.

`make bench` runs this: a table on stdout, the same in build/bench.json.  Every
line is a median of interleaved rounds, after a warm-up in which the arena has
been filled and emptied once, since memory that is new to a virtual machine is
ten times slower.  QUICK=1 in the environment does fewer rounds.  Times decide
nothing: the exit status is 0 unless something breaks.  Arguments (data,
client, layouts, small, many, remote, or of that only remote-rank, remote-files
or remote-seeds, live, generate) choose what is measured.
"""
import functools
import math
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time

import checkpoints
import client
import generate
import live
import many
import mount
import remote
import reshard
from table import GB, Table

BUILD = os.environ.get("WEIGHTFS_BUILD", "build/release")
ROOT = os.path.abspath("build/bench")
QUICK = os.environ.get("QUICK", "") not in ("", "0")
ROUNDS = 3 if QUICK else 7  # of what takes a second or more
FAST_ROUNDS = 5 if QUICK else 15  # of what does not
COLD_ROUNDS = 2 if QUICK else 3  # of what reads a gigabyte from a disk
LOAD_ROUNDS = 5 if QUICK else 11  # of loads, which fill every core
OPEN_ROUNDS = 11 if QUICK else 41  # of opens: wake-ups vary the most
READER = os.path.join(BUILD, "bench", "reader")
FILLER = os.path.join(BUILD, "bench", "filler")
PASSD = os.path.join(BUILD, "bench", "passd")


def write_list(name, pieces):
    """A list file for the reader of (length, offset, path)."""
    path = os.path.join(ROOT, "lists", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.writelines("%d %d %s\n" % piece for piece in pieces)
    return path


def read(rounds, *jobs):
    """Seconds of each job in each round, as the reader says."""
    done = subprocess.run([READER, str(rounds), *jobs], check=True, text=True,
                          stdout=subprocess.PIPE)
    return [[float(x) for x in line.split()]
            for line in done.stdout.splitlines()]


def medians(rounds):
    return [statistics.median(column) for column in zip(*rounds)]


def hot(rounds, *jobs):
    """Medians after one round that does not count."""
    return medians(read(rounds + 1, *jobs)[1:])


class Data:
    """The lists of a data checkpoint, natively and through a mount."""

    def __init__(self, checkpoint, mountpoint):
        self.checkpoint = checkpoint
        self.mountpoint = mountpoint
        self.native = checkpoint.path
        self.model = os.path.join(mountpoint, checkpoint.name)

    def files(self, label, root):
        return write_list(label, [(size, 0, os.path.join(root, name))
                                  for size, name in self.checkpoint.files])

    def warm(self):
        """Has the kernel cache the source again, in large folios: a machine
        may have taken parts of it away, and page faults bring it back in
        small ones."""
        read(1, "read:" + self.files("files-native", self.native))

    def pieces(self, label, root, scattered):
        """Ranges of the whole files, tensor by tensor."""
        order = list(self.checkpoint.tensors)
        if scattered:
            # A fixed stride through each file: neither sorted nor random.
            order = [t for _, name in self.checkpoint.files
                     for t in stride([t for t in order if t[2] == name])]
        return write_list(label, [
            (t[0], t[1], os.path.join(root, t[2])) for t in order])

    def ranges(self, label, keep):
        return write_list(label + "-native", [
            (t[0], t[1], os.path.join(self.native, t[2]))
            for t in self.checkpoint.tensors if keep(t)])

    def tensors(self, label, keep):
        return write_list(label, [
            (t[0], 0, os.path.join(self.model, t[3], t[4]))
            for t in self.checkpoint.tensors if keep(t)])


def stride(items):
    step = next(s for s in range(37, 37 + len(items) + 1)
                if math.gcd(s, len(items)) == 1)
    return [items[(i * step + 11) % len(items)] for i in range(len(items))]


def in_rank_0(large):
    return lambda t: t[3] == "0" and (t[0] >= checkpoints.LARGE) == large


def measure_files(table, data):
    """Whole files of the checkpoint, in the three ways."""
    total = data.checkpoint.file_bytes()
    tensors = data.checkpoint.tensor_bytes()
    native = data.files("files-native", data.native)
    through = data.files("files", data.model)
    data.warm()
    n, w = hot(ROUNDS, "read:" + native, "read:" + through)
    table.add("checkpoint files, read 1 MiB", total / w / GB, "GB/s",
              (">=", 0.95), total / n / GB, "native")
    for label, scattered in (("file", False), ("scattered", True)):
        native = data.pieces("map-native", data.native, scattered)
        through = data.pieces("map", data.model, scattered)
        data.warm()
        n, w, c = hot(ROUNDS, "map:" + native, "map:" + through,
                      "copy:" + native)
        table.add("checkpoint files, mmap, copy in %s order" % label,
                  tensors / w / GB, "GB/s", (">=", 0.95), tensors / n / GB,
                  "native", tensors / c / GB)


def measure_tensors(table, data):
    """Tensor files of a rank that are in the arena."""
    native = data.ranges("large", in_rank_0(True))
    through = data.tensors("large", in_rank_0(True))
    size = sum(t[0] for t in data.checkpoint.tensors if in_rank_0(True)(t))
    data.warm()
    n, w, c = hot(ROUNDS, "pread:" + native, "files:" + through,
                  "copy:" + native)
    table.add("tensors >= 32 MiB: open, read, close, hot", size / w / GB,
              "GB/s", (">=", 0.90), size / n / GB, "native pread",
              size / c / GB)
    native = data.ranges("smaller", in_rank_0(False))
    through = data.tensors("smaller", in_rank_0(False))
    count = sum(1 for t in data.checkpoint.tensors if in_rank_0(False)(t))
    data.warm()
    n, w = hot(FAST_ROUNDS, "pread:" + native, "files:" + through)
    table.add("smaller tensors: a file, over native", (w - n) / count * 1e6,
              "us", ("<=", 100))


def measure_first_read(table, data, options):
    """Out of an empty arena, and without passthrough out of an empty cache.

    What is freed goes back from a virtual machine to its host within seconds
    and is slow again, so that nothing may come between emptying and reading.
    """
    mountpoint = os.path.join(ROOT, "mnt-off")
    large = in_rank_0(True)
    size = sum(t[0] for t in data.checkpoint.tensors if large(t))
    through = data.tensors("large", large)
    off = Data(data.checkpoint, mountpoint).tensors("large-off", large)
    with mount.Weightfs(mountpoint, [data.checkpoint], passthrough="off",
                        **options):
        data.warm()
        evict = shlex.join([mount.PROGRAM, "evict", data.mountpoint])
        took = hot(ROUNDS, "run:%s >/dev/null" % evict, "files:" + through,
                   "forget:" + off, "files:" + off,
                   "pread:" + data.ranges("large", large))
    table.add("tensors >= 32 MiB: the first read", size / took[1] / GB,
              "GB/s", (">=", 3), size / took[3] / GB, "passthrough=off",
              size / took[4] / GB)


class Loader:
    """A child process that loads as it is told, a script of this folder."""

    def __init__(self, command=(sys.executable, "load.py"), env=None):
        here = os.path.dirname(os.path.abspath(__file__))
        python, script = command
        self.child = subprocess.Popen(
            [python, os.path.join(here, script)], text=True, env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.answer()

    def answer(self):
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError("the loader ended")
        return line

    def start(self, directory):
        self.child.stdin.write(directory + "\n")
        self.child.stdin.flush()

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def load_all(loaders, directory):
    for loader in loaders:
        loader.start(directory)
    return max([float(loader.answer()) for loader in loaders])


def measure_loads(table, data):
    size = data.checkpoint.tensor_bytes()
    loaders = []
    try:
        for name in ("safetensors load of the checkpoint",
                     "two processes loading it at once"):
            loaders.append(Loader())
            took = []
            data.warm()
            for i in range(LOAD_ROUNDS + 1):
                row = {}
                for where in (data.native, data.model)[::1 - i % 2 * 2]:
                    row[where] = load_all(loaders, where)
                took.append((row[data.native], row[data.model]))
            n, w = medians(took[1:])
            size_of_all = size * len(loaders)
            table.add(name, size_of_all / w / GB, "GB/s", (">=", 0.95),
                      size_of_all / n / GB, "native")
    finally:
        for loader in loaders:
            loader.close()


def measure_one_copy(table, data, daemon):
    """Two processes read every tensor at once: how much the arena holds."""
    through = data.tensors("all", lambda t: True)
    daemon.evict()
    readers = [subprocess.Popen([READER, "1", "files:" + through],
                                stdout=subprocess.DEVNULL) for _ in range(2)]
    if any([reader.wait() for reader in readers]):
        raise RuntimeError("a reader failed")
    table.add("arena used when two read all tensors at once",
              daemon.status()["arena"]["used"] / 1e6, "MB", ("<=", 1.05),
              data.checkpoint.tensor_bytes() / 1e6, "of tensors")


def measure_data(table, checkpoint, options):
    mountpoint = os.path.join(ROOT, "mnt")
    data = Data(checkpoint, mountpoint)
    everything = data.tensors("all", lambda t: True)
    with mount.Weightfs(mountpoint, [checkpoint], **options) as daemon:
        status = daemon.status()
        for part in ("passthrough", "arena"):
            if not status[part]["in_use"]:
                print("%s is not in use: %s" % (part, status[part]["why"]))
        native = data.files("files-native", data.native)
        read(1, "forget:" + native, "read:" + native, "files:" + everything)
        daemon.evict()
        read(1, "files:" + everything)
        measure_files(table, data)
        measure_tensors(table, data)
        measure_fills(table, data)
        measure_loads(table, data)
        measure_one_copy(table, data, daemon)
        measure_first_read(table, data, options)


def measure_fills(table, data):
    """Memory of a reader filled by the daemon, beside its own copy of what it
    has mapped: from the arena, and from local files."""
    small = min(t for t in data.checkpoint.tensors if t[3] == "0")
    small = os.path.join(data.model, "0", small[4])
    kinds = (("tensors of the arena", [
        os.path.join(data.model, "0", t[4])
        for t in data.checkpoint.tensors if in_rank_0(True)(t)]),
             ("local files", [os.path.join(data.model, name)
                              for _, name in data.checkpoint.files]))
    for what, paths in kinds:
        done = subprocess.run([FILLER, str(ROUNDS + 1), small, *paths],
                              check=True, text=True, stdout=subprocess.PIPE)
        copied, filled, short = medians(
            [float(x) for x in line.split()]
            for line in done.stdout.splitlines()[1:])
        size = sum(os.path.getsize(path) for path in paths)
        table.add("FILL from %s" % what, size / filled / GB, "GB/s",
                  (">=", 0.9), size / copied / GB, "memcpy of their maps")
    table.add("FILL of 4 KiB, there and back", short * 1e6, "us",
              ("<=", 100))


def made_data():
    """The data checkpoint, and options of a mount that it fits into."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    total = min(2 * 10 ** 9, memory // 10)
    made = checkpoints.make(ROOT, "data-%d" % (total // 10 ** 6),
                            lambda part: checkpoints.write_data(part, total))
    return made, {"arena_size": made.tensor_bytes() + (256 << 20)}


def data_part(table):
    measure_data(table, *made_data())


def client_part(table):
    made, options = made_data()
    client.measure(table, sys.modules[__name__],
                   Data(made, os.path.join(ROOT, "mnt")), options)


PARTS = {
    "data": data_part,
    "client": client_part,
    "layouts": lambda table: reshard.measure(table, sys.modules[__name__],
                                             ROOT),
    "small": lambda table: many.measure_small(
        table, sys.modules[__name__],
        checkpoints.make(ROOT, "small", checkpoints.write_small)),
    "many": lambda table: many.measure_many(
        table, sys.modules[__name__],
        checkpoints.make(ROOT, "many", checkpoints.write_many)),
    **{name: functools.partial(remote.measure, sys.modules[__name__], ROOT,
                               part)
       for name, part in remote.PARTS.items()},
    "live": lambda table: live.measure(table, sys.modules[__name__], ROOT),
    "generate": lambda table: generate.measure(table, sys.modules[__name__],
                                               ROOT),
}


def interrupted(number, _):
    raise SystemExit(128 + number)


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    begin = time.monotonic()
    os.makedirs(ROOT, exist_ok=True)
    chosen = sys.argv[1:] or list(PARTS)
    if "remote" in chosen:
        chosen.remove("remote")
        chosen += remote.PARTS
    table = Table()
    for part in chosen:
        PARTS[part](table)
    table.save("build/bench.json")
    missed = sum(1 for line in table.lines if line["met"] is False)
    print("\n%d of %d targets met; %d rounds, %.0f s; build/bench.json" % (
        sum(1 for line in table.lines if line["met"]),
        sum(1 for line in table.lines if line["met"] is not None), ROUNDS,
        time.monotonic() - begin))
    if missed:
        print("%d MISSED" % missed)


if __name__ == "__main__":
    main()
