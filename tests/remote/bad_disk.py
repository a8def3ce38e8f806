# SPDX-License-Identifier: Apache-2.0
"""A disk that loses its end: reads of what lies there are EIO, from the
kernel, whoever reads and however.

A file system in an image behind a loop device, on which one file lies behind
all others, and whose image is cut off in the midst of it.
"""
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import mounts
import pytest

MIB = 1 << 20
BLOCK = 4096


def call(*args):
    return subprocess.run(args, check=True, capture_output=True,
                          text=True).stdout


def attach(image, *options):
    """The loop device of that image. The kernel says which one is free before
    it is taken, and others take them, too."""
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(["losetup", "--find", "--show", *options,
                               str(image)], capture_output=True, text=True,
                              env={**os.environ, "LC_ALL": "C"})
        if done.returncode == 0:
            return done.stdout.strip()
        if "busy" not in done.stderr or time.monotonic() > deadline:
            raise AssertionError(f"losetup: {done.stderr}")
        time.sleep(0.05)


def stretches(path):
    """[(place on the disk, in the file, length)] in blocks, by filefrag."""
    rows = re.findall(r"^\s*\d+:\s*(\d+)\.\.\s*\d+:\s*(\d+)\.\.\s*\d+:"
                      r"\s*(\d+):",
                      call("filefrag", "-v", f"-b{BLOCK}", str(path)), re.M)
    return [(int(on_disk), int(at), int(n)) for at, on_disk, n in rows]


class BadDisk:
    """`path` has a copy of a folder; reads of `file` fail from `off` on."""

    def __init__(self, folder, source):
        if os.geteuid() or not os.path.exists("/dev/loop-control"):
            pytest.skip("needs root and loop devices")
        self.image, self.top = folder / "image", folder / "disk"
        self.top.mkdir()
        size = sum(p.stat().st_size for p in source.rglob("*") if p.is_file())
        with open(self.image, "wb") as file:
            file.truncate(2 * size + 32 * MIB)
        self.device = None
        try:
            while not self.lay(source):
                self.close()
            self.cut()
        except BaseException:
            self.close()
            raise

    def lay(self, source):
        """The copy, on a fresh file system; False where another file has
        something behind the end that is to be lost: where files lie depends
        on which CPU wrote them, too."""
        call("mkfs.ext4", "-q", "-F", "-b", str(BLOCK), "-O", "^has_journal",
             "-m", "0", str(self.image))
        self.mount()
        self.path = self.top / source.name
        self.file = self.path / max(source.glob("*.safetensors")).name
        self.fill(source)
        on_disk, at, n = max(stretches(self.file))
        lost = n - n // 4  # not the chunk with the header
        self.off, self.end = (at + lost + 1) * BLOCK, (on_disk + lost) * BLOCK
        return not any(
            (begin + length) * BLOCK > self.end
            for path in self.path.rglob("*")
            if path.is_file() and path != self.file
            for begin, _, length in stretches(path))

    def cut(self):
        self.close()  # nothing stays in memory
        self.mount("--read-only")
        os.truncate(self.image, self.end)

    def mount(self, *options):
        self.device = attach(self.image, *options)
        call("mount", *("-r" for o in options), self.device, str(self.top))

    def take_all(self, name):
        """A file of all that is free."""
        room = os.statvfs(self.top)
        with open(self.top / name, "wb") as file:
            os.posix_fallocate(file.fileno(), 0,
                               (room.f_bavail - 64) * room.f_frsize)
        os.sync()
        return self.top / name

    def fill(self, source):
        """The end of the disk is kept for the file that is to fail."""
        held = self.take_all("held")
        _, at, n = max(stretches(held))
        need = (source / self.file.name).stat().st_size // BLOCK + 16
        assert n > need
        for first, last in (0, at + n - need), (at + n, 1 << 30):
            call("fallocate", "--punch-hole", f"--offset={first * BLOCK}",
                 f"--length={(last - first) * BLOCK}", str(held))
        shutil.copytree(source, self.path,
                        ignore=lambda *_: [self.file.name])
        os.sync()
        self.take_all("filler")
        held.unlink()
        shutil.copy2(source / self.file.name, self.file)
        os.sync()

    def close(self):
        if mounts.is_mounted(self.top):
            call("umount", str(self.top))
        if self.device:
            call("losetup", "--detach", self.device)
            self.device = None
