# SPDX-License-Identifier: Apache-2.0
"""Layouts: what it costs to have a rank's files computed as they are read.

A Llama of more than 1 GB is produced for four ranks, out of an empty arena,
beside a copy of as many bytes into fresh memory of the same kind; loaded by
safetensors in a process for each rank, beside processes that read the
checkpoint and cut out what is theirs, and beside a dump of the same files.
"""
import os
import shlex
import statistics
import subprocess
import time

import checkpoints
import memory
import mount
from table import GB

TP = 4
MANY_PARTS = "64M"  # as a larger model has of 512 MiB
ROW_PARALLEL = ("o_proj.weight", "down_proj.weight")


class Reshard:
    """The lists of a layout; `tools` are run.py's."""

    def __init__(self, tools, checkpoint, mountpoint):
        self.tools, self.checkpoint = tools, checkpoint
        self.mountpoint = mountpoint
        self.layout = os.path.join(mountpoint, "%s@tp%d" % (checkpoint.name,
                                                            TP))
        self.source = tools.write_list("reshard-source", [
            (size, 0, os.path.join(checkpoint.path, name))
            for size, name in checkpoint.files])

    def warm(self, again=False):
        """The source is in the page cache; `again`: brought in by reads,
        in large folios, and not in small ones by faults."""
        forget = ["forget:" + self.source] if again else []
        self.tools.read(1, *forget, "read:" + self.source)

    def files(self, label, rank, keep=lambda name: True):
        """(list, bytes) of a rank's tensors, in the order of its parts."""
        where = os.path.join(self.layout, str(rank))
        pieces = [(os.path.getsize(os.path.join(where, name)), 0,
                   os.path.join(where, name))
                  for name in sorted(os.listdir(where)) if keep(name)]
        return (self.tools.write_list(label, pieces),
                sum(piece[0] for piece in pieces))

    def parts(self, label, root):
        """The shard files of rank 0."""
        names = sorted(n for n in os.listdir(root)
                       if n.startswith("model-rank-0-"))
        return self.tools.write_list(label, [
            (os.path.getsize(os.path.join(root, n)), 0,
             os.path.join(root, n)) for n in names])


def evicting(mountpoint):
    return "run:%s >/dev/null" % shlex.join(
        [mount.PROGRAM, "evict", mountpoint])


def measure_producing(table, r, tmpfs):
    """One rank, and its matrices that are cut along rows alone."""
    for label, keep, target in (
            ("one rank of @tp4, produced and read", lambda n: True, 0.7),
            ("the same, only what is cut in runs of 2 KiB",
             lambda n: n.endswith(ROW_PARALLEL), 0.5)):
        through, size = r.files("produce", 0, keep)
        fresh = r.tools.write_list("fresh", [
            (size, 0, os.path.join(tmpfs.path, "fresh"))])
        empty = "run:rm -f " + shlex.quote(os.path.join(tmpfs.path, "fresh"))
        r.warm()
        took = r.tools.hot(r.tools.ROUNDS, evicting(r.mountpoint),
                           "files:" + through, empty, "fresh:" + fresh,
                           "copy:" + through)
        table.add(label, size / took[1] / GB, "GB/s", (">=", target),
                  size / took[3] / GB, "memcpy to fresh tmpfs",
                  size / took[4] / GB)


def measure_again(table, r, dump):
    through = r.parts("again", r.layout)
    native = r.parts("again-dump", dump)
    r.tools.read(1, "files:" + through)
    n, w = r.tools.hot(r.tools.ROUNDS, "read:" + native, "read:" + through)
    size = r.checkpoint.file_bytes() / TP
    table.add("a rank's shard files, the second read", size / w / GB, "GB/s",
              (">=", 0.95), size / n / GB, "a dump, hot")


def measure_bytes_read(table, r, daemon):
    """Four readers at once, each of a rank."""
    lists = [r.files("together-%d" % rank, rank)[0] for rank in range(TP)]
    daemon.evict()
    before = source_bytes(daemon, r.checkpoint.name)
    readers = [subprocess.Popen([r.tools.READER, "1", "files:" + each],
                                stdout=subprocess.DEVNULL) for each in lists]
    if any([reader.wait() for reader in readers]):
        raise RuntimeError("a reader failed")
    table.add("bytes read of the checkpoint by 4 ranks at once",
              (source_bytes(daemon, r.checkpoint.name) - before) / 1e6, "MB",
              ("<=", 1.05), r.checkpoint.file_bytes() / 1e6, "of files")


def source_bytes(daemon, name):
    (row,) = [m for m in daemon.status()["models"] if m["name"] == name]
    return row["source_bytes"]


def load(loaders, orders):
    """Seconds until the last of them has loaded what it was told to."""
    for loader, order in zip(loaders, orders):
        loader.start(order)
    return max([float(loader.answer()) for loader in loaders])


def dumped(root):
    return ["%s/model-rank-%d-*.safetensors" % (root, i) for i in range(TP)]


def sliced(root):
    return ["slice %d %d %s/*.safetensors" % (i, TP, root)
            for i in range(TP)]


def cold_load(r, options, ballast, load_it):
    """Seconds of one load by a new mount, of a source that is on the disk."""
    with ballast.lent():
        with mount.Weightfs(r.mountpoint, [r.checkpoint], **options):
            os.listdir(r.layout)
            r.tools.read(1, "forget:" + r.source)
            took = load_it()
        r.tools.read(1, "forget:" + r.source)
    return took


def measure_cold_loads(table, r, options, ballast):
    """Each round new mounts: nothing is kept from the one before.  A rank of
    this model is a single part of the usual size, and of a larger model many:
    these are loaded while what follows them is read."""
    parts = dict(options, part_size=MANY_PARTS)
    cut, layout, many = [[r.tools.Loader() for _ in range(TP)]
                         for _ in range(3)]
    ways = {
        "cut": (options, lambda: load(cut, sliced(r.checkpoint.path))),
        "layout": (options, lambda: load(layout, dumped(r.layout))),
        "many": (parts, lambda: load(many, dumped(r.layout))),
        "disk": (options,
                 lambda: r.tools.read(1, "read:" + r.source)[0][0]),
    }
    took = {name: [] for name in ways}
    r.tools.read(1, "forget:" + r.source)
    try:
        for i in range(r.tools.COLD_ROUNDS + 1):
            for name in list(ways)[::1 - i % 2 * 2]:
                took[name].append(cold_load(r, ways[name][0], ballast,
                                            ways[name][1]))
    finally:
        for loader in cut + layout + many:
            loader.close()
    size = r.checkpoint.file_bytes()
    speed = {name: size / statistics.median(each[1:]) / GB
             for name, each in took.items()}
    for name, label in (
            ("many", "4 ranks load @tp4 in parts of %s, cold disk" %
             MANY_PARTS),
            ("layout", "the same, each rank in one part")):
        table.add(label, speed[name], "GB/s", (">=", 2.5), speed["cut"],
                  "each cuts its own", speed["disk"], enough=0.95)


def measure_hot_loads(table, r, dump, options, ballast):
    """A first and a second load beside a dump that lies there hot."""
    firsts, seconds, dumps = [], [], []
    loaders = [r.tools.Loader() for _ in range(TP)]
    try:
        for _ in range(r.tools.ROUNDS + 1):
            r.warm()
            with ballast.lent(), mount.Weightfs(
                    r.mountpoint, [r.checkpoint], **options):
                firsts.append(load(loaders, dumped(r.layout)))
                dumps.append(load(loaders, dumped(dump)))
                seconds.append(load(loaders, dumped(r.layout)))
    finally:
        for loader in loaders:
            loader.close()
    size = r.checkpoint.file_bytes()
    first, second, hot = [statistics.median(each[1:])
                          for each in (firsts, seconds, dumps)]
    table.add("4 ranks load @tp4, source hot, the first time",
              size / first / GB, "GB/s", (">=", 0.5), size / hot / GB,
              "a dump, hot")
    table.add("the same, the second time", size / second / GB, "GB/s",
              (">=", 1), size / hot / GB, "a dump, hot")


def export(checkpoint, root):
    """The layout as files of its own, made once."""
    where = os.path.join(root, "%s-tp%d" % (checkpoint.name, TP))
    subprocess.run([mount.PROGRAM, "export", "%s@tp%d" % (checkpoint.path,
                                                          TP), where],
                   check=True, stdout=subprocess.DEVNULL)
    return where


def measure(table, tools, root):
    checkpoint = checkpoints.make(root, "llama", checkpoints.write_llama)
    dump = export(checkpoint, root)
    mountpoint = os.path.join(root, "mnt")
    options = {"arena_size": checkpoint.file_bytes() + (512 << 20)}
    r = Reshard(tools, checkpoint, mountpoint)
    begin = time.monotonic()
    with mount.Weightfs(mountpoint, [checkpoint], **options) as daemon, \
            mount.Tmpfs(os.path.join(root, "tmpfs"), 16, "2g",
                        huge=True) as tmpfs:
        r.warm(again=True)
        for rank in range(TP):
            tools.read(1, "files:" + r.files("all", rank)[0])
        daemon.evict()
        measure_bytes_read(table, r, daemon)
        measure_producing(table, r, tmpfs)
        measure_again(table, r, dump)
    with memory.Ballast(2 * options["arena_size"]) as ballast:
        measure_hot_loads(table, r, dump, options, ballast)
        measure_cold_loads(table, r, options, ballast)
    return time.monotonic() - begin
