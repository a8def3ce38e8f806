#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure how fast files come to a node by RDMA, beside bare READs.

`make bench-rdma` runs this where the kernel has an RDMA device, and else in a
virtual machine that has one made of software: there the figures say how much
weightfs adds to what the device costs, and nothing about devices.  The yardstick
is readloop.c: READs of the same sizes over as many queue pairs with as many
under way, which nobody looks at.  It runs in the same round, just before; files
are brought into an empty arena by `weightfs warm`.  A running engine's weights
are pulled in the same way.  The table goes to stdout and build/bench-rdma.json.

BENCH_MIB in the environment is the size of each checkpoint (default: 192 in
the guest, else 1024), BENCH_ROUNDS how often each is read.  Arguments (large,
small, plain: large without digests, calls, live) choose what is measured.
"""
import json
import os
import random
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import mount
import network
import trace_calls
from table import GB, Table

BUILD = os.environ.get("WEIGHTFS_BUILD", "build/release")
READLOOP = os.path.join(BUILD, "bench", "readloop")
ENGINE = os.path.join(BUILD, "bench", "engine")
MIB = 1 << 20
IN_GUEST = "GUEST" in os.environ
TOTAL = int(os.environ.get("BENCH_MIB", 192 if IN_GUEST else 1024)) * MIB
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 3))
LANES, DEPTH = 4, 2  # connections to a seed, requests under way on each
CHUNK = MIB
PARTS = ["large", "small", "calls", "plain", "live"]
THREADS = "fetch", "hydrate"  # of the mount, that a chunk goes by
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


class Rank:
    """Tensors of one size, of which an engine holds a copy in memory."""

    def __init__(self, root, name, size):
        self.name, self.size = os.path.join(name, "0"), size
        self.path = os.path.join(root, name)
        self.count = TOTAL // size
        self.bytes = self.count * size
        os.makedirs(self.path)
        head = json.dumps({
            "t%05d" % i: {"dtype": "U8", "shape": [size],
                          "data_offsets": [i * size, (i + 1) * size]}
            for i in range(self.count)}).encode()
        block = random.Random(size).randbytes(MIB)
        with open(os.path.join(self.path, "model.safetensors"), "wb") as file:
            file.write(struct.pack("<Q", len(head)) + head)
            for _ in range(self.bytes // MIB):
                file.write(block)
        with open(os.path.join(self.path, "config.json"), "wb") as file:
            file.write(b'{"model_type": "llama"}')


class Engine(network.Process):
    def __init__(self, rank):
        super().__init__("the engine", [
            ENGINE, "serve", rank.path, os.path.dirname(rank.name), "1"],
            stdin=subprocess.PIPE)

    def is_ready(self):
        found = re.search(r"^http\S+", self.log(), re.M)
        self.url = found and found[0]
        return found


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
    """Its speed, and what its seed does meanwhile."""
    node.warm(checkpoint)  # memory that is new is slower
    ours, theirs, tcp, used = [], [], [], []
    for _ in range(ROUNDS):
        theirs.append(bare(checkpoint))
        before = network.cpu(node.seed.pid)
        took, part = node.warm(checkpoint)
        used.append(network.cpu(node.seed.pid) - before)
        ours.append(took)
        tcp.append(part)
    table.add(name, checkpoint.bytes / statistics.median(ours) / GB, "GB/s",
              (">=", target),
              baseline=checkpoint.bytes / statistics.median(theirs) / GB,
              against="bare READs")
    if max(tcp):
        say("of a round's bytes up to %.1f%% came by TCP" % (100 * max(tcp)))
    table.add("%s: the CPU of %s" % (name, node.seed.name),
              100 * sum(used) / sum(ours), "% of wall", ("<=", 1))
    say("rounds: %s" % ", ".join(
        "%.2f%% of %.2f s, at %.2f of bare READs" % (
            100 * u / o, o, t / o) for u, o, t in zip(used, ours, theirs)))


def calls(table, node, checkpoint):
    """System calls for each chunk, of the threads that it goes by.  Where the
    clock cannot be read without one (an emulated machine's) those are no work
    of ours; nor is writing to a device that is made of software, which others
    are told of work by a store to a page of theirs."""
    chunks = ROUNDS * (checkpoint.bytes // CHUNK)
    node.warm(checkpoint)
    with trace_calls.Trace(node.mount.pid, THREADS) as trace:
        for _ in range(ROUNDS):
            node.warm(checkpoint)
    found = {name: count for name, count in trace.calls.items()
             if name != "clock_gettime"}
    table.add("system calls of the mount a chunk",
              (sum(found.values()) - trace.device) / chunks, "", ("<=", 1))
    say("besides %.2f to the device; of all: %s" % (
        trace.device / chunks, ", ".join(
            "%s %.2f" % (name, count / chunks) for name, count in
            sorted(found.items(), key=lambda row: -row[1])[:6])))


def measure_files(table, root, parts):
    large = Checkpoint(root, "large", 64 * MIB)
    small = Checkpoint(root, "small", MIB)
    with network.Seed(root, [large, small], "--rdma-memory",
                      str(3 * TOTAL)) as seed:
        mount.await_that("the seed's memory to be registered", lambda:
                         re.search(r"RDMA: \d+ files in .*, 0 left out",
                                   seed.log()))
        with Node(root, seed, "on") as node:
            if "large" in parts:
                compare(table, node, large, "files of 64 MiB", 0.85)
            if "small" in parts:
                compare(table, node, small, "files of 1 MiB", 0.7)
            if "calls" in parts:
                calls(table, node, large)
        if "plain" in parts:
            with Node(root, seed, "off") as node:
                compare(table, node, large, "files of 64 MiB, digests off",
                        0.95)


def measure_live(table, root):
    rank = Rank(root, "live", 64 * MIB)
    with Engine(rank) as engine, Node(root, engine, "off") as node:
        compare(table, node, rank, "a running engine's rank", 0.9)


def main():
    parts = sys.argv[1:] or PARTS
    if not set(parts) <= set(PARTS):
        sys.exit("bench-rdma: the parts are: " + " ".join(PARTS))
    if not os.path.isdir("/sys/class/infiniband"):
        sys.exit("bench-rdma: this machine has no RDMA device")
    table = Table()
    with tempfile.TemporaryDirectory(prefix="weightfs-bench-") as root:
        if set(parts) - {"live"}:
            measure_files(table, root, parts)
        if "live" in parts:
            measure_live(table, root)
    table.save(OUT)


if __name__ == "__main__":
    main()
