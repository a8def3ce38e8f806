# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests on the client's Python face.

Mounts, seeds and checkpoints are those of tests/mount and tests/remote.  What
is tested runs in children of server.py: of a Python that has torch, which need
not be the one of the tests.
"""
import contextlib
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for _part in ("plan", "seed", "remote", "mount"):
    sys.path.insert(0, str(HERE.parent / _part))
import mounts  # noqa: E402

_spec = importlib.util.spec_from_file_location(
    "remote_conftest", HERE.parent / "remote" / "conftest.py")
_remote = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_remote)
folder, seed, mount, machine, seeder = (
    _remote.folder, _remote.seed, _remote.mount, _remote.machine,
    _remote.seeder)
pytest_runtest_makereport = _remote.pytest_runtest_makereport

# A Python without sanitizers cannot open a library that has them.
LIBRARY = (mounts.ROOT / "build/release" if mounts.SAN else
           mounts.BUILD) / "libweightfs.so.0"
PYTHONS = sys.executable, "/usr/bin/python3"


class Child:
    """A snippet at work, which ends with the test."""

    def __init__(self, server, code, args):
        mine, its = [], []
        for reads in False, True, True, True:
            r, w = os.pipe()
            mine.append(r if reads else w)
            its.append(w if reads else r)
        self.stdin = open(mine[0], "w", encoding="utf-8")
        self.stdout, self.stderr, self.status = (
            open(fd, encoding="utf-8", errors="replace") for fd in mine[1:])
        text = json.dumps([code, [str(a) for a in args]]).encode()
        socket.send_fds(server, [text], its)
        for fd in its:
            os.close(fd)
        self.pid = int(server.recv(64))

    def line(self):
        return self.stdout.readline().rstrip("\n")

    def say(self, text=""):
        self.stdin.write(text + "\n")
        self.stdin.flush()

    def interrupt(self):
        os.kill(self.pid, signal.SIGINT)

    def end(self):
        """What it still had to say; it must end well."""
        out, err = self.stdout.read(), self.stderr.read()
        status = self.status.read()
        assert status == "0", f"status '{status}': {out[-1000:]}{err[-4000:]}"
        return out.rstrip("\n")

    def close(self):
        ready, _, _ = select.select([self.status], [], [], 0)
        if not ready:
            with contextlib.suppress(ProcessLookupError):  # it just ended
                os.kill(self.pid, signal.SIGKILL)
            self.status.read()
        for file in self.stdin, self.stdout, self.stderr, self.status:
            file.close()


@pytest.fixture(scope="session")
def server():
    """A Python that has torch, and what is tested."""
    if not LIBRARY.exists():
        pytest.skip(f"'{LIBRARY}' is not built")
    for python in PYTHONS:
        if not subprocess.run([python, "-c", "import torch, numpy"],
                              capture_output=True, check=False).returncode:
            break
    else:
        pytest.skip("torch is not installed (Debian: python3-torch)")
    ours, its = socket.socketpair()
    with ours, its, subprocess.Popen(
            [python, HERE / "server.py", str(its.fileno())],
            pass_fds=[its.fileno()], preexec_fn=mounts.die_with_parent,
            env={**os.environ, "WEIGHTFS_LIBRARY": str(LIBRARY),
                 "PYTHONPATH": str(mounts.ROOT / "tools/python")}):
        its.close()
        yield ours
        ours.close()


@pytest.fixture
def start(server):
    """start(code, *args) -> a Child that runs it."""
    made = []

    def run(code, *args):
        made.append(Child(server, code, args))
        return made[-1]
    yield run
    for child in made:
        child.close()


@pytest.fixture
def run(start):
    """run(code, *args): what it prints."""
    return lambda code, *args: start(code, *args).end()
