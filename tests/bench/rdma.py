#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure how fast files come to a node by RDMA, beside bare READs.

`make bench-rdma` runs this where the kernel has an RDMA device, and else in a
virtual machine that has one made of software: there the figures say how much
weightfs adds to what the device costs, and nothing about devices.  The yardstick
is readloop.c: READs of the same sizes over as many queue pairs with as many
under way, which nobody looks at.  It runs in the same round, just before; files
are brought into an empty arena by `weightfs warm`.  The table goes to stdout
and build/bench-rdma.json.

BENCH_MIB in the environment is the size of each checkpoint (default: 192 in
the guest, else 1024), BENCH_ROUNDS how often each is read.
"""
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

import mount
import network
from table import GB, Table

BUILD = os.environ.get("WEIGHTFS_BUILD", "build/release")
READLOOP = os.path.join(BUILD, "bench", "readloop")
MIB = 1 << 20
IN_GUEST = "GUEST" in os.environ
TOTAL = int(os.environ.get("BENCH_MIB", 192 if IN_GUEST else 1024)) * MIB
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 3))
LANES, DEPTH = 4, 2  # connections to a seed, requests under way on each
CHUNK = MIB
OUT = os.environ.get("BENCH_OUT", "build/bench-rdma.json")


class Checkpoint:
    """Files of one size, as they are: no shards that could be taken apart."""

    def __init__(self, root, name, size):
        self.name, self.size = name, size
        self.path = os.path.join(root, name)
        self.count = TOTAL // size
        self.bytes = self.count * size
        os.makedirs(self.path)
        block = random.Random(size).randbytes(min(size, 4 * MIB))
        for i in range(self.count):
            with open(os.path.join(self.path, "%05d.bin" % i), "wb") as file:
                for k in range(size // len(block)):
                    file.write(b"%16d" % (i << 20 | k) + block[16:])


def bare(checkpoint):
    """Seconds that the same takes without weightfs."""
    done = subprocess.run(
        [READLOOP, str(checkpoint.count), str(checkpoint.size), str(CHUNK),
         str(LANES), str(DEPTH)], check=True, text=True,
        stdout=subprocess.PIPE)
    return float(done.stdout)


class Node:
    def __init__(self, root, seed, digests):
        self.root, self.seed = root, seed
        self.mount = mount.Weightfs(
            os.path.join(root, "mnt"), [], ["--seed", seed.url],
            same_host="off", digests=digests, arena_size=2 * TOTAL,
            chunk_cache="16M")

    def __enter__(self):
        self.mount.__enter__()
        return self

    def __exit__(self, *_):
        self.mount.__exit__()

    def carried(self):
        """(bytes by RDMA, bytes by TCP)"""
        (row,) = self.mount.status()["seeds"]
        return row["rdma"]["bytes"] if row["rdma"] else 0, row["bytes"]

    def warm(self, checkpoint):
        """(seconds, part of the bytes that came by TCP)"""
        self.mount.evict()
        return self.fill(checkpoint)

    def fill(self, checkpoint):
        before = self.carried()
        began = time.monotonic()
        subprocess.run(
            [mount.PROGRAM, "warm",
             os.path.join(self.mount.path, checkpoint.name)],
            check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        took = time.monotonic() - began
        rdma, tcp = (b - a for a, b in zip(before, self.carried()))
        if rdma + tcp < checkpoint.bytes:
            raise RuntimeError("%d bytes came, not %d"
                               % (rdma + tcp, checkpoint.bytes))
        return took, tcp / (rdma + tcp)


def say(what):
    print("  (%s)" % what, flush=True)


def compare(table, node, checkpoint, name, target):
    node.warm(checkpoint)  # memory that is new is slower
    ours, theirs, tcp, used, wall = [], [], [], 0, 0
    for _ in range(ROUNDS):
        theirs.append(bare(checkpoint))
        before = network.cpu(node.seed.pid)
        took, part = node.warm(checkpoint)
        used, wall = used + network.cpu(node.seed.pid) - before, wall + took
        ours.append(took)
        tcp.append(part)
    table.add(name, checkpoint.bytes / statistics.median(ours) / GB, "GB/s",
              (">=", target),
              baseline=checkpoint.bytes / statistics.median(theirs) / GB,
              against="bare READs")
    if max(tcp):
        say("of a round's bytes up to %.1f%% came by TCP" % (100 * max(tcp)))
    return 100 * used / wall


def calls(node, checkpoint):
    """System calls of the whole daemon for each chunk; where the clock cannot
    be read without one (an emulated machine's) those are no work of ours."""
    node.mount.evict()
    with tempfile.NamedTemporaryFile("r") as out:
        tracer = subprocess.Popen(
            ["strace", "-f", "-c", "-o", out.name, "-p",
             str(node.mount.pid)], stderr=subprocess.PIPE, text=True)
        tracer.stderr.readline()  # it is attached
        node.fill(checkpoint)
        tracer.terminate()
        tracer.wait()
        found = [(int(row[1]), row[0]) for row in re.findall(
            r"^ *[\d.]+ +[\d.]+ +\d+ +(?=\d+.* (\w+)$)(\d+)", out.read(),
            re.M)]
    found = [row for row in found if row[1] not in ("total", "clock_gettime")]
    total = sum(count for count, _ in found)
    say("most of them: " + ", ".join(
        "%s %d" % (name, count) for count, name in
        sorted(found, reverse=True)[:6]))
    return total / (checkpoint.bytes // CHUNK)


def measure(table, root):
    large = Checkpoint(root, "large", 64 * MIB)
    small = Checkpoint(root, "small", MIB)
    with network.Seed(root, [large, small], "--rdma-memory",
                      str(3 * TOTAL)) as seed:
        mount.await_that("the seed's memory to be registered", lambda:
                         re.search(r"RDMA: \d+ files in .*, 0 left out",
                                   seed.log()))
        with Node(root, seed, "on") as node:
            busy = compare(table, node, large, "files of 64 MiB", 0.85)
            table.add("the seed's CPU meanwhile", busy, "% of one", ("<=", 1))
            compare(table, node, small, "files of 1 MiB", 0.7)
            table.add("system calls of the mount a chunk",
                      calls(node, large), "", ("<=", 1))
        with Node(root, seed, "off") as node:
            compare(table, node, large, "files of 64 MiB, digests off", 0.95)


def main():
    if not os.path.isdir("/sys/class/infiniband"):
        sys.exit("bench-rdma: this machine has no RDMA device")
    table = Table()
    with tempfile.TemporaryDirectory(prefix="weightfs-bench-") as root:
        measure(table, root)
    table.save(OUT)


if __name__ == "__main__":
    main()
