# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests with real verbs.

They run in the guest of tests/rdma/guest (make test-rdma), which has two
soft-RoCE devices, rdma0 on 10.77.0.1 and rdma1 on 10.78.0.1, and nothing else
on this machine does.
"""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "mount"))
import mounts  # noqa: E402


def pytest_collection_modifyitems(items):
    if "GUEST" not in os.environ:
        for item in items:
            item.add_marker(pytest.mark.skip(
                reason="only in a guest with RDMA: make test-rdma"))


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="weightfs-rdma-"))
    yield path
    left = [row[0] for row in mounts.mountinfo()
            if row[0].startswith(f"{path}/")]
    for point in reversed(left):
        subprocess.run(["umount", "-l", point], check=False)
    shutil.rmtree(path)
    assert not left, f"still mounted at the end: {left}"


@pytest.fixture
def weightfs():
    """weightfs(ARG, …) -> what it prints."""
    def run(*args):
        done = subprocess.run([mounts.PROGRAM, *args], text=True,
                              capture_output=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.stdout
    return run


@pytest.fixture
def links(folder):
    """links(i, …) takes these interfaces down.

    They are up again afterwards, and their devices new: soft-RoCE's management
    queue pair, by which connections are made, never recovers from a port that
    went down while it sent.  (`folder`: what is mounted ends before that.)
    """
    down = []

    def take_down(*which):
        down.extend(which)
        for i in which:
            subprocess.run(["ip", "link", "set", f"net{i}", "down"],
                           check=True)
    yield take_down
    for i in down:
        subprocess.run(["rdma", "link", "delete", f"rdma{i}"], check=True)
        subprocess.run(["ip", "link", "set", f"net{i}", "up"], check=True)
        subprocess.run(["rdma", "link", "add", f"rdma{i}", "type", "rxe",
                        "netdev", f"net{i}"], check=True)


@pytest.fixture
def both(folder):
    """both(checkpoint, …) -> (Seed, Mount), the memory registered."""
    import pair
    running = []

    def start(path, seed_args=("--rdma-memory", "256M"), mount_args=(),
              between=None, wrap=()):
        seed = pair.Seed(folder, "seed",
                         [*seed_args, "--model", f"m={path}"])
        running.append(seed)
        if "--rdma-memory" in seed_args:
            seed.wait_registered()
        if between:
            between.lead_to(seed.port)
        running.append(pair.mount(folder, between or seed, mount_args,
                                  wrap=wrap))
        return tuple(running[-2:])
    yield start
    wrong = []
    for one in reversed(running):
        wrong += one.close()
    assert not wrong, "\n".join(wrong + [one.log() for one in running])
