#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The part of the demo that reads: through the mount, and without it.

usage: demo-reads.py make DIR MEGABYTES
       demo-reads.py largest|compare|load|speed|rate SOURCE MOUNTED
       demo-reads.py lose SOURCE MOUNTED PID

SOURCE is the checkpoint's own directory, MOUNTED the same model through
weightfs.  The headers of the files are parsed here, by nobody else's code, so
that what is compared does not depend on what it is compared with.
"""
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time

import safetensors

import mkmodel

STEP = 1 << 20
COMPARE_STEP = 8 << 20
ENOUGH = 2 << 30  # bytes of a larger model that are loaded and timed
ROUNDS = 5


class Tensor:
    """Where a tensor's bytes are: in the source, and as a file."""

    def __init__(self, name, rank, file, offset, length):
        self.name, self.rank = name, rank
        self.file, self.offset, self.length = file, offset, length
        self.path = None


def rank_of(file):
    parts = re.fullmatch(r"model-rank-(\d+)-part-\d+\.safetensors", file)
    if parts:
        return parts[1]
    parts = re.fullmatch(r"model-pp-(\d+)-tp-(\d+)-part-\d+\.safetensors",
                         file)
    return "pp-%s-tp-%s" % parts.groups() if parts else "0"


def shard_files(source):
    """The files that make up the weights: the index's, if there is one."""
    files = sorted(f for f in os.listdir(source)
                   if f.endswith(".safetensors"))
    for index in sorted(os.listdir(source)):
        if index.endswith(".safetensors.index.json"):
            with open(os.path.join(source, index), encoding="utf-8") as file:
                return sorted(set(json.load(file)["weight_map"].values()))
    return files


def tensors_of(source, file):
    with open(os.path.join(source, file), "rb") as shard:
        length = int.from_bytes(shard.read(8), "little")
        head = json.loads(shard.read(length))
    for name, tensor in head.items():
        if name != "__metadata__":
            begin, end = tensor["data_offsets"]
            yield Tensor(name, rank_of(file), file, 8 + length + begin,
                         end - begin)


def rank_directory(mounted, rank):
    """A checkpoint's own entry of a rank's name wins; ranks are then aside."""
    aside = os.path.join(mounted, ".ranks", rank)
    return aside if os.path.isdir(aside) else os.path.join(mounted, rank)


def file_names(directory):
    """{tensor's name: file's name} of what a rank's directory holds."""
    names = {}
    for entry in os.listdir(directory):
        # A name that cannot be a file's is escaped, with '%'.
        if "%" in entry:
            name = os.getxattr(os.path.join(directory, entry),
                               "user.weightfs.name").decode()
        else:
            name = entry
        names[name] = entry
    return names


def all_tensors(source, mounted, files):
    """Every tensor of `files`, with the path that it has in the mount."""
    tensors = [t for file in files for t in tensors_of(source, file)]
    names = {}
    for tensor in tensors:
        directory = rank_directory(mounted, tensor.rank)
        if directory not in names:
            names[directory] = file_names(directory)
        if tensor.name not in names[directory]:
            sys.exit("  '%s' of rank %s is not in the mount"
                     % (tensor.name, tensor.rank))
        tensor.path = os.path.join(directory, names[directory][tensor.name])
    return tensors


def enough_files(source):
    files, total = [], 0
    for file in shard_files(source):
        files.append(file)
        total += os.path.getsize(os.path.join(source, file))
        if total >= ENOUGH:
            break
    return files


def largest(source, mounted):
    """The rank and the file name of the first of the largest tensors."""
    files = shard_files(source)
    if files:
        tensors = all_tensors(source, mounted, files)
        tensor = max(tensors, key=lambda t: t.length)
        directory, name = os.path.split(tensor.path)
        print(os.path.relpath(directory, mounted), name)


def same(source_fd, offset, length, mounted_fd):
    for at in range(0, length, COMPARE_STEP):
        n = min(COMPARE_STEP, length - at)
        want = os.pread(source_fd, n, offset + at)
        if len(want) != n or os.pread(mounted_fd, n, at) != want:
            return False
    return os.pread(mounted_fd, 1, length) == b""


def compare_file(source, offset, length, mounted):
    a = os.open(source, os.O_RDONLY)
    b = os.open(mounted, os.O_RDONLY)
    try:
        if os.fstat(b).st_size != length or not same(a, offset, length, b):
            sys.exit("  DIFFERENT: '%s' is not bytes %d to %d of '%s'"
                     % (mounted, offset, offset + length, source))
    finally:
        os.close(a)
        os.close(b)


def compare(source, mounted):
    begin, files = time.monotonic(), shard_files(source)
    tensors = all_tensors(source, mounted, files)
    for tensor in tensors:
        compare_file(os.path.join(source, tensor.file), tensor.offset,
                     tensor.length, tensor.path)
    others = [os.path.join(os.path.relpath(folder, source), name)
              for folder, _, names in os.walk(source) for name in names]
    for name in others:
        path = os.path.join(source, name)
        compare_file(path, 0, os.path.getsize(path),
                     os.path.join(mounted, name))
    print("  %d tensors, %.0f MB, and %d files of the checkpoint itself:"
          % (len(tensors), sum(t.length for t in tensors) / 1e6, len(others)))
    print("  every byte compared with its source in %.1f s, all equal"
          % (time.monotonic() - begin))


def load_file(path):
    """Loads all tensors of a file through the safetensors package, one after
    the other; returns how many."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return sum(file.get_tensor(name) is not None
                       for name in file.keys())
    except TypeError:
        # numpy lacks the dtype (bfloat16, most likely): as bytes then.
        with open(path, "rb") as file:
            return len(safetensors.deserialize(file.read()))


def load(source, mounted):
    count, size, begin, files = 0, 0, time.monotonic(), enough_files(source)
    for file in files:
        count += load_file(os.path.join(mounted, file))
        size += os.path.getsize(os.path.join(source, file))
    print("  Python's safetensors %s: %d files, %d tensors, %.0f MB in %.2f s"
          % (safetensors.__version__, len(files), count, size / 1e6,
             time.monotonic() - begin))


def read_ranges(pieces):
    """Read (path, offset, length), 1 MiB at a time."""
    buffer = memoryview(bytearray(STEP))
    last, fd = None, -1
    for path, offset, length in pieces:
        if path != last:
            if fd >= 0:
                os.close(fd)
            fd, last = os.open(path, os.O_RDONLY), path
        for at in range(0, length, STEP):
            n = min(STEP, length - at)
            if os.preadv(fd, [buffer[:n]], offset + at) != n:
                sys.exit("  short read of '%s'" % path)
    if fd >= 0:
        os.close(fd)


def timed(native, through):
    """Median seconds of both, in turn, after a round that does not count."""
    took = []
    for _ in range(ROUNDS + 1):
        row = []
        for job in (native, through):
            begin = time.monotonic()
            job()
            row.append(time.monotonic() - begin)
        took.append(row)
    return [statistics.median(column) for column in zip(*took[1:])]


def speed_line(what, size, native, through):
    n, w = timed(native, through)
    print("  %-34s %6.2f GB/s  %6.2f GB/s" % (what, size / n / 1e9,
                                              size / w / 1e9))


def speed(source, mounted):
    files = enough_files(source)
    tensors = all_tensors(source, mounted, files)
    size = sum(t.length for t in tensors)
    if not size:
        return

    def whole(root):
        return lambda: read_ranges([
            (os.path.join(root, f), 0,
             os.path.getsize(os.path.join(source, f))) for f in files])

    def loads(root):
        return lambda: [load_file(os.path.join(root, f)) for f in files]

    print("  %-34s %11s  %11s" % ("", "without", "weightfs"))
    speed_line("the files, read 1 MiB at a time", size, whole(source),
               whole(mounted))
    speed_line("each tensor, open, read, close", size,
               lambda: read_ranges([(os.path.join(source, t.file), t.offset,
                                     t.length) for t in tensors]),
               lambda: read_ranges([(t.path, 0, t.length) for t in tensors]))
    speed_line("loaded by Python's safetensors", size, loads(source),
               loads(mounted))
    print("  (medians of %d, in turn; without: the same bytes of '%s')"
          % (ROUNDS, source))


def rate(source, _):
    """Bytes a second of each of two seeds, for a load of some seconds."""
    print(max(16 << 20, sum(os.path.getsize(os.path.join(source, f))
                            for f in enough_files(source)) // 2))


def fetched(mounted):
    """[(URL, bytes that the seed gave)]"""
    status = os.path.join(os.path.dirname(mounted), ".weightfs/status.json")
    with open(status, encoding="utf-8") as file:
        return [(s["url"], s["bytes"]) for s in json.load(file)["seeds"]]


def lose(source, mounted, pid):
    """Loads it, and kills the first seed once a quarter is there."""
    size = sum(os.path.getsize(os.path.join(source, f))
               for f in enough_files(source))
    alive, row = True, ()
    with subprocess.Popen([sys.executable, __file__, "load", source,
                           mounted]) as loading:
        while loading.poll() is None:
            row = fetched(mounted)
            if alive and sum(n for _, n in row) > size / 4:
                os.kill(int(pid), signal.SIGKILL)
                alive = False
                print("  $ kill -9 %s    # the first seed, with %.0f of "
                      "%.0f MB loaded" % (pid, sum(n for _, n in row) / 1e6,
                                          size / 1e6), flush=True)
            time.sleep(0.01)
    if alive or loading.returncode:
        sys.exit("  the load %s" % ("failed" if loading.returncode else
                                    "ended before the seed was killed"))
    for url, n in row:
        print("  %s gave %.0f MB" % (url, n / 1e6))
    print("  the load never noticed")


def make(path, megabytes):
    mkmodel.make_once(path, lambda part: mkmodel.write_demo(part,
                                                            int(megabytes)))


def main():
    commands = {f.__name__: f for f in (make, largest, compare, load, speed,
                                        rate, lose)}
    command = commands.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if not command or len(sys.argv) != 4 + (command == lose):
        sys.exit(__doc__)
    try:
        command(*sys.argv[2:])
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
