# SPDX-License-Identifier: Apache-2.0
"""Weights in the memory of a running process, pulled by a mount over TCP, and
what it costs that process to have them served.

The yardstick is that of models of seeds: the same bytes sent by sendfile and
received into huge pages.  Memory cannot be sent by sendfile.  What is asked for
the first time is copied, and its digest computed of the copy; from then on it
is sent from where it lies.
"""
import os
import statistics
import subprocess

import checkpoints
import memory
import mount
import network
import remote
from table import GB

COUNT = 10000  # tensors that are registered
NAME = "live"


class Engine(network.Process):
    """Holds a checkpoint's rank in memory and serves it; so many of its
    threads send at a time."""

    def __init__(self, tools, checkpoint, threads):
        super().__init__("the engine", [
            os.path.join(tools.BUILD, "bench", "engine"), "serve",
            checkpoint.path, NAME, str(threads)], stdin=subprocess.PIPE)

    def is_ready(self):
        self.url = self.log().strip()
        return self.url.startswith("http")


def measure_registration(table, tools):
    engine = os.path.join(tools.BUILD, "bench", "engine")
    done = subprocess.run(
        [engine, "register", str(tools.FAST_ROUNDS + 1), str(COUNT)],
        check=True, text=True, stdout=subprocess.PIPE)
    rows = [line.split() for line in done.stdout.splitlines()][1:]
    table.add("10,000 tensors of a process: until they are served",
              statistics.median(float(row[0]) for row in rows) * 1e3, "ms",
              ("<=", 50))
    table.add("regions of them, from one mapping",
              max(int(row[1]) for row in rows), "", ("<=", 16))


def measure_first(table, r, threads, by):
    """Each round of an engine that nobody has asked yet."""
    rows = []
    with memory.Ballast(2 * r.size) as ballast:
        for _ in range(r.tools.COLD_ROUNDS):
            with Engine(r.tools, r.checkpoint, threads) as engine:
                rows.append(remote.pull(r, engine, ballast))
    took, bare = remote.medians(rows)[:2]
    table.add("a rank of 1.3 GB of a process's memory, by " + by,
              r.size / took / GB, "GB/s", (">=", 0.80),
              r.size / bare / GB, "sendfile, recv")


def measure(table, tools, root):
    checkpoint = checkpoints.make(root, "llama", checkpoints.write_llama)
    r = remote.Remote(tools, root, checkpoint, NAME)
    tools.read(1, "forget:" + r.native, "read:" + r.native)
    with mount.Tmpfs(r.tmpfs, 64, "3g", huge=True):
        for threads, by in ((1, "one thread"), (2, "two threads")):
            measure_first(table, r, threads, by)
            with Engine(tools, checkpoint, threads) as engine:
                remote.measure_rank(table, r, engine,
                                    "the same again, by " + by)
    measure_registration(table, tools)
