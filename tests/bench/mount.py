# SPDX-License-Identifier: Apache-2.0
"""Mounts that go away with the block that they were made for."""
import json
import os
import subprocess
import time

PROGRAM = os.environ.get("WEIGHTFS", "build/weightfs")
DEADLINE = 60.0  # seconds that anything may take before it counts as broken


def await_that(what, condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("still waiting for " + what)
        time.sleep(0.005)


class Weightfs:
    """with Weightfs(mountpoint, checkpoints, **options) as mount: ..."""

    def __init__(self, path, checkpoints, arguments=(), **options):
        self.path = path
        self.command = [PROGRAM, "mount", *arguments]
        for checkpoint in checkpoints:
            self.command += ["--model",
                             "%s=%s" % (checkpoint.name, checkpoint.path)]
        if options:
            self.command += ["-o", ",".join("%s=%s" % o
                                            for o in options.items())]
        self.command.append(path)

    def __enter__(self):
        os.makedirs(self.path, exist_ok=True)
        try:
            subprocess.run(self.command, check=True)
            self.pid = self.status()["pid"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if os.path.ismount(self.path):
            subprocess.run([PROGRAM, "umount", self.path], check=False)
        if os.path.ismount(self.path):
            subprocess.run(["umount", "-l", self.path], check=False)
        # The next mount is measured without this one's daemon beside it.
        pid = getattr(self, "pid", None)
        if pid:
            await_that("the daemon to end",
                       lambda: not os.path.exists("/proc/%d" % pid))

    def status(self):
        with open(self.path + "/.weightfs/status.json",
                  encoding="utf-8") as file:
            return json.load(file)

    def evict(self):
        """Empties the arena."""
        subprocess.run([PROGRAM, "evict", self.path], check=True,
                       stdout=subprocess.DEVNULL)
        left = self.status()["arena"]["resident_bytes"]
        if left:
            raise RuntimeError("%d bytes stay in the arena" % left)

    def memory(self):
        """Bytes of memory the daemon has beside the arena's pages."""
        total = 0
        with open("/proc/%d/status" % self.pid, encoding="ascii") as file:
            for line in file:
                if line.startswith(("RssAnon:", "RssFile:")):
                    total += int(line.split()[1]) << 10
        return total


class Tmpfs:
    """A tmpfs of its own."""

    def __init__(self, path, inodes, size="1g", huge=False):
        self.path = path
        self.options = "size=%s,nr_inodes=%d%s" % (
            size, inodes + 64, ",huge=always" if huge else "")

    def __enter__(self):
        os.makedirs(self.path, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", self.options, "bench",
                        self.path], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], check=False)


class Passd:
    """The minimal passthrough daemon over a directory."""

    def __init__(self, program, backing, path):
        self.path, self.command = path, [program, backing, path]

    def __enter__(self):
        os.makedirs(self.path, exist_ok=True)
        self.child = subprocess.Popen(self.command)
        try:
            await_that("passd to mount", lambda: os.path.ismount(self.path)
                       or self.child.poll() is not None)
            if self.child.poll() is not None:
                raise RuntimeError("passd ended with status %d"
                                   % self.child.returncode)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()
        if os.path.ismount(self.path):
            subprocess.run(["umount", "-l", self.path], check=False)
