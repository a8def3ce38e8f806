# SPDX-License-Identifier: Apache-2.0
"""Models of seeds, both ends on this machine, verified, into an empty arena.

The yardstick is bare.c: the same files sent by sendfile and received into the
maps of new files on a tmpfs of huge pages over as many connections, with
nothing looked at.  It runs in the same round just before, and each of the two
gets memory that is there (memory.py).

What the machine can give at best: the sender, the receiver and the digests
share its cores.  XXH3 over what has just arrived takes some 0.04 s of CPU a
gigabyte where the yardstick takes 0.4 to 0.5 for both ends, so that on two
cores 0.92 of it is all there is.
"""
import os
import statistics
import subprocess
import time

import checkpoints
import memory
import mount
import network
from table import GB

LANES = 4  # connections to a seed, if nothing else is said
RATE = 200 * 10 ** 6  # bytes a second of a capped seed
FIRSTS = 24  # chunks of a file whose first bytes are read


class Remote:
    """A checkpoint, its lists, and the mounts of its seeds."""

    def __init__(self, tools, root, checkpoint, name=None):
        self.tools, self.root, self.checkpoint = tools, root, checkpoint
        self.mountpoint = os.path.join(root, "mnt")
        self.model = os.path.join(self.mountpoint, name or checkpoint.name)
        self.size = checkpoint.file_bytes()
        self.native = self.files("remote-native", checkpoint.path)
        self.through = self.files("remote", self.model)
        self.tmpfs = os.path.join(root, "tmpfs")

    def files(self, label, where):
        return self.tools.write_list(label, [
            (size, 0, os.path.join(where, name))
            for size, name in self.checkpoint.files])

    def seed(self, *arguments, **options):
        return network.Seed(self.root, [self.checkpoint], *arguments,
                            **options)

    def mount(self, *seeds, **options):
        arguments = [a for seed in seeds for a in ("--seed", seed.url)]
        options.setdefault("same_host", "off")
        return mount.Weightfs(
            self.mountpoint, [], arguments,
            arena_size=self.size + (512 << 20), **options)

    def bare(self, keep=False):
        """(seconds, CPU of the sender, of the receiver) of the yardstick."""
        bare = os.path.join(self.tools.BUILD, "bench", "bare")
        # The first time the memory is not there yet.
        done = subprocess.run([bare, "2", str(LANES), self.tmpfs, self.native],
                              check=True, text=True, stdout=subprocess.PIPE)
        if not keep:
            self.drop()
        return [float(x) for x in done.stdout.splitlines()[1].split()]

    def drop(self):
        for _, name in self.checkpoint.files:
            os.unlink(os.path.join(self.tmpfs, name))


def timed(run):
    begin = time.monotonic()
    run()
    return time.monotonic() - begin


def warmed(warming):
    """Waits for it; what it says of a failure is the error."""
    said = warming.communicate()[1]
    if warming.returncode:
        raise RuntimeError("warm failed: " + said.strip()[-1000:])


def start_warm(path):
    return subprocess.Popen([mount.PROGRAM, "warm", path], text=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def warm(path):
    warmed(start_warm(path))


def medians(rows):
    return [statistics.median(column) for column in zip(*rows)]


def pull(r, seed, ballast, **options):
    """(seconds, those of the yardstick, CPU of its two, of the seed, of the
    mount) of a rank, into an empty arena."""
    with ballast.lent():
        bare = r.bare()
    with ballast.lent(), r.mount(seed, **options) as daemon:
        pids = (seed.pid, daemon.pid)
        before = [network.cpu(pid) for pid in pids]
        took = timed(lambda: warm(r.model + "/0"))
        return [took, *bare] + [network.cpu(pid) - was
                                for pid, was in zip(pids, before)]


def measure_rank(table, r, seed, label, **options):
    """(CPU of the seed, of the mount, of the yardstick's two) beside it."""
    with memory.Ballast(2 * r.size) as ballast:
        rows = [pull(r, seed, ballast, **options)
                for _ in range(r.tools.ROUNDS + 1)]
    took, bare, sender, receiver, sent, received = medians(rows[1:])
    table.add(label, r.size / took / GB, "GB/s",
              None if options else (">=", 0.80), r.size / bare / GB,
              "sendfile, recv")
    if options:
        return
    for name, value, against in (("the seed", sent, sender),
                                 ("the mount", received, receiver)):
        table.add("CPU of %s for that" % name, value / r.size * GB, "s/GB",
                  None, against / r.size * GB, "sendfile, recv")


def measure_files(table, r, seed):
    rows = []
    with memory.Ballast(2 * r.size) as ballast:
        for _ in range(r.tools.ROUNDS + 1):
            with ballast.lent():
                bare = r.bare()[0]
            with ballast.lent(), r.mount(seed):
                took = r.tools.read(1, "read:" + r.through)[0][0]
                rows.append((took, bare))
    took, bare = medians(rows[1:])
    table.add("a remote model's files, read, cold", r.size / took / GB,
              "GB/s", (">=", 0.75), r.size / bare / GB, "sendfile, recv")
    return took


def measure_loads(table, r, seed):
    """safetensors: the first load, and the second."""
    rows = []
    loader, of_mount = r.tools.Loader(), r.tools.Loader()
    load = r.tools.load_all
    ballast = memory.Ballast(2 * r.size)
    try:
        for one in (loader, of_mount):
            load([one], r.checkpoint.path)  # its tensors are made now
        for _ in range(r.tools.ROUNDS + 1):
            with ballast.lent():
                bare = r.bare(keep=True)[0]
                bare += load([loader], r.tmpfs)
                r.drop()
            with ballast.lent(), r.mount(seed):
                first = load([of_mount], r.model)
                rows.append((first, bare, load([of_mount], r.model),
                             load([loader], r.checkpoint.path)))
    finally:
        ballast.let_go()
        loader.close()
        of_mount.close()
    first, bare, second, native = medians(rows[1:])
    table.add("safetensors load of a remote model, cold",
              r.size / first / GB, "GB/s", (">=", 0.75), r.size / bare / GB,
              "the same, then a load")
    table.add("the same, the second time", r.size / second / GB, "GB/s",
              (">=", 0.95), r.size / native / GB, "native")
    return first


def measure_rclone(table, r, took, loaded):
    """Each round a mount of its own: it keeps nothing by itself."""
    rows = []
    path = os.path.join(r.root, "rclone-mnt")
    files = r.files("rclone", path)
    loader = r.tools.Loader()
    ballast = memory.Ballast(2 * r.size)
    try:
        r.tools.load_all([loader], r.checkpoint.path)
        with network.Nginx(r.root, r.checkpoint.path) as server:
            for _ in range(r.tools.COLD_ROUNDS):
                with ballast.lent(), network.Rclone(r.root, server.url, path):
                    read = r.tools.read(1, "read:" + files)[0][0]
                with ballast.lent(), network.Rclone(r.root, server.url, path):
                    rows.append((read, r.tools.load_all([loader], path)))
    finally:
        ballast.let_go()
        loader.close()
    read, load = medians(rows)
    table.add("a remote model's files, read, cold", r.size / took / GB,
              "GB/s", (">=", 4), r.size / read / GB, "rclone mount, nginx")
    table.add("safetensors load of a remote model, cold",
              r.size / loaded / GB, "GB/s", (">=", 10), r.size / load / GB,
              "rclone mount, nginx")


def chunks_asked(daemon):
    return sum(seed["chunks"] for seed in daemon.status()["seeds"])


def measure_first_bytes(table, r, seed):
    """4 KiB of chunks that nobody has looked at, of files that are opened for
    the first time: what a look into a checkpoint costs.  (The open of a tensor
    brings all of it.)  What connects goes before."""
    size, name = max(r.checkpoint.files)
    path = os.path.join(r.model, name)
    step = size // (FIRSTS + 1)
    pieces = [(4096, i * step, path) for i in range(1, FIRSTS + 1)]
    other = next(os.path.join(r.model, n) for s, n in r.checkpoint.files
                 if s > (8 << 20) and n != name)
    connect = r.tools.write_list("connect", [(4096, 4 << 20, other)])
    lists = r.tools.write_list("first", pieces)
    with r.mount(seed) as daemon:
        r.bare()  # or the machine's host gives memory slower than that
        r.tools.read(1, "pread:" + connect)
        asked = chunks_asked(daemon)
        took = r.tools.read(1, "pread:" + lists)[0][0]
        asked = chunks_asked(daemon) - asked
    table.add("4 KiB of a remote file, cold", took / FIRSTS * 1e3, "ms",
              ("<=", 2))
    table.add("requests to the seed for it", asked / FIRSTS, "",
              ("<=", 1.05))


def until_all_share(r, daemon):
    """Seeds are asked once their digests show that they hold the same."""
    path = os.path.join(r.model, r.checkpoint.files[0][1])
    places = iter(range(2 << 20, r.checkpoint.files[0][0], 2 << 20))
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)

    def shared():
        os.pread(fd, 1, next(places))
        return all(seed["bytes"] for seed in daemon.status()["seeds"])
    try:
        mount.await_that("all seeds to give something", shared)
    finally:
        os.close(fd)


def copied(daemon):
    """Bytes that are in the arena, also of files that are not whole yet."""
    return daemon.status()["hydration"]["copied_bytes"]


def measure_capped(table, r, kill):
    """Four slow seeds; with `kill` one of them ends midway."""
    seeds = [r.seed("--rate=%d" % RATE) for _ in range(4)]
    with seeds[0], seeds[1], seeds[2], seeds[3], r.mount(*seeds) as daemon:
        until_all_share(r, daemon)
        r.bare()  # or the machine's host gives memory slower than that
        there, begin = copied(daemon), time.monotonic()
        warming = start_warm(r.model)
        if kill:
            while there < r.size / 2:
                time.sleep(0.02)
                there = copied(daemon)
            seeds[3].child.kill()
            begin = time.monotonic()
        warmed(warming)
        took = time.monotonic() - begin
    return (r.size - there) / took / GB


def measure_many_seeds(table, r):
    for label, kill, target, seeds in (
            ("four seeds of 200 MB/s each", False, 0.9, 4),
            ("the same once one of them was killed", True, 0.85, 3)):
        rates = [measure_capped(table, r, kill)
                 for _ in range(r.tools.COLD_ROUNDS)]
        table.add(label, statistics.median(rates), "GB/s", (">=", target),
                  seeds * RATE / GB, "what they may give")


def measure_same_host(table, r):
    """A seed's files through a mount that holds nothing."""
    rows, used = [], 0
    with r.seed(same_host=True) as seed:
        for _ in range(r.tools.ROUNDS + 1):
            with r.mount(seed, same_host="on") as daemon:
                r.tools.read(1, "read:" + r.native)
                rows.append(r.tools.read(1, "read:" + r.native,
                                         "read:" + r.through)[0])
                status = daemon.status()
                used = max(used, status["arena"]["used"] + sum(
                    seed["bytes"] for seed in status["seeds"]))
    native, took = medians(rows[1:])
    table.add("files of a seed on the same host, the first read",
              r.size / took / GB, "GB/s", (">=", 0.9), r.size / native / GB,
              "native")
    table.add("bytes copied for that", used / 1e6, "MB", ("<=", 1))


def measure_many_tensors(table, tools, root):
    checkpoint = checkpoints.make(root, "many", checkpoints.write_many)
    mountpoint = os.path.join(root, "mnt")
    last = os.path.join(mountpoint, checkpoint.name, "0",
                        checkpoint.tensors[-1][4])
    took = []
    with network.Seed(root, [checkpoint]) as seed:
        for _ in range(tools.ROUNDS + 1):
            begin = time.monotonic()
            with mount.Weightfs(mountpoint, [], ["--seed", seed.url],
                                same_host="off"):
                os.stat(last)
                took.append(time.monotonic() - begin)
    table.add("100,000 tensors of a seed: mount to the first answer",
              statistics.median(took[1:]), "s", ("<=", 1))


def measure_tls(table, r):
    cert, key = network.certificate(r.root)
    with r.seed("--tls-cert", cert, "--tls-key", key) as seed:
        measure_rank(table, r, seed, "a rank of 1.3 GB from a seed, TLS",
                     seed_ca=cert)


def measure_one_seed(table, r):
    with r.seed() as seed:
        measure_rank(table, r, seed, "a rank of 1.3 GB from a seed")
        measure_first_bytes(table, r, seed)
    measure_tls(table, r)


def measure_whole_files(table, r):
    with r.seed() as seed:
        took = measure_files(table, r, seed)
        loaded = measure_loads(table, r, seed)
    measure_rclone(table, r, took, loaded)


def measure_seeds(table, r):
    measure_many_seeds(table, r)
    measure_same_host(table, r)
    measure_many_tensors(table, r.tools, r.root)


PARTS = {
    "remote-rank": measure_one_seed,
    "remote-files": measure_whole_files,
    "remote-seeds": measure_seeds,
}


def measure(tools, root, part, table):
    checkpoint = checkpoints.make(root, "llama", checkpoints.write_llama)
    r = Remote(tools, root, checkpoint)
    tools.read(1, "forget:" + r.native, "read:" + r.native)
    with mount.Tmpfs(r.tmpfs, 64, "3g", huge=True):
        part(table, r)
