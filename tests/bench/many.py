# SPDX-License-Identifier: Apache-2.0
"""Many tensors: small ones, whose price is an open, and 100,000 of them, to
be mounted and listed.
"""
import os
import statistics
import subprocess
import time

import mount


def backing_directory(path, checkpoint):
    """The tensors of a checkpoint as files of their own."""
    zeros = bytes(max(t[0] for t in checkpoint.tensors))
    for size, _, _, _, name in checkpoint.tensors:
        with open(os.path.join(path, name), "wb") as file:
            file.write(zeros[:size])


def measure_small(table, tools, checkpoint):
    """4 KiB tensors: the price of an open, and the arena's grain."""
    mountpoint = os.path.join(tools.ROOT, "mnt")
    data = tools.Data(checkpoint, mountpoint)
    count = 2000
    some = [t[4] for t in checkpoint.tensors[::len(checkpoint.tensors)
                                             // count]][:count]
    keep = set(some).__contains__
    through = data.tensors("small", lambda t: keep(t[4]))
    with mount.Weightfs(mountpoint, [checkpoint]) as daemon, \
            mount.Tmpfs(os.path.join(tools.ROOT, "tmpfs"), 20000) as tmpfs:
        everything = data.tensors("all-small", lambda t: True)
        tools.read(1, "files:" + everything)
        daemon.evict()
        tools.read(1, "files:" + everything)
        used = daemon.status()["arena"]["used"]
        backing_directory(tmpfs.path, checkpoint)
        with mount.Passd(tools.PASSD, tmpfs.path,
                         os.path.join(tools.ROOT, "passd")) as p:
            lists = [tools.write_list(label, [
                (4096, 0, os.path.join(root, name)) for name in some])
                for label, root in (("passd", p.path),
                                    ("tmpfs", tmpfs.path))]
            d, w, t = tools.hot(tools.OPEN_ROUNDS, "files:" + lists[0],
                                "files:" + through, "files:" + lists[1])
    table.add("a 4 KiB tensor: open, read, close, hot", w / count * 1e6, "us",
              ("<=", 1.3), d / count * 1e6, "minimal daemon",
              t / count * 1e6)
    table.add("arena used for 10,000 tensors of 4 KiB", used / 1e6, "MB",
              ("<=", 1.05), checkpoint.tensor_bytes() / 1e6, "of tensors")


def list_directory(path):
    begin = time.monotonic()
    subprocess.run(["ls", "-l", path], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "LC_ALL": "C"})
    return time.monotonic() - begin


def measure_many(table, tools, checkpoint):
    """100,000 tensors: mounting, listing, memory."""
    mountpoint = os.path.join(tools.ROOT, "mnt")
    model = os.path.join(mountpoint, checkpoint.name)
    last = os.path.join(model, "0", checkpoint.tensors[-1][4])
    mounts, firsts, hots, memories = [], [], [], []
    with mount.Tmpfs(os.path.join(tools.ROOT, "tmpfs"), 200000) as tmpfs:
        backing_directory(tmpfs.path, checkpoint)
        for _ in range(tools.ROUNDS + 1):
            begin = time.monotonic()
            with mount.Weightfs(mountpoint, [checkpoint]) as daemon:
                os.stat(last)
                mounts.append(time.monotonic() - begin)
                firsts.append(list_directory(model + "/0"))
                hots.append((list_directory(model + "/0"),
                             list_directory(tmpfs.path)))
                memories.append(daemon.memory())
    w, t = tools.medians(hots[1:])
    table.add("100,000 tensors: mount to the first answer",
              statistics.median(mounts[1:]), "s", ("<=", 0.5))
    table.add("100,000 tensors: ls -l", w, "s", ("<=", 5), t, "tmpfs")
    table.add("100,000 tensors: ls -l, the first after mount",
              statistics.median(firsts[1:]), "s", None, t, "tmpfs")
    table.add("100,000 tensors: memory beside the arena",
              statistics.median(memories) / (1 << 20), "MiB", ("<=", 64))
