# SPDX-License-Identifier: Apache-2.0
"""A running engine's memory, filled into a GPU's by RDMA, past the host's.

The READs, the mount and its GPU helper are real ones; the GPU (libcudart) and
that soft-RoCE registers its memory are FAKE.
"""
import os
import subprocess
import sys

import mounts
import pair
import pytest
from test_live import SIZES, engine, tensors  # noqa: F401

sys.path.insert(0, str(mounts.ROOT / "tests/ioctl"))
import calls  # noqa: E402
from test_device_memory import gpus  # noqa: E402, F401

READER = mounts.ROOT / "tests/ioctl/land_reader.py"
SHIM = mounts.BUILD / "rdma/fake_dmabuf.so"
NAMES = "t00", "t02", "t03"


@pytest.fixture
def filled(folder, gpus, engine, tensors):  # noqa: F811
    """filled(before=None, env…) -> (mount, the flags of a fill of each of NAMES,
    how much came into the arena by that); `before` is called with the mount"""
    made = []

    def fill(before=None, **env):
        e = engine()
        mnt = mounts.Mount(folder, "mnt", [
            "mount", "-f", "--log-level", "debug", "--seed",
            f"http://127.0.0.1:{e.port}", "-o",
            "same_host=off,gpu=on,prefetch=0", folder / "mnt"],
            env={**gpus, **env}).wait_ready()
        made.append(mnt)
        pair.connected(mnt)
        files = []
        for name in NAMES:
            truth = folder / f"truth-{name}"
            truth.write_bytes(tensors[name])
            files += [mnt.path / "m/0" / name, truth]
        if before:
            before(mnt)
        used = mnt.status()["arena"]["used"]
        run = subprocess.run(
            [sys.executable, READER, *files], text=True,
            capture_output=True, env={**os.environ, **gpus},
            timeout=mounts.DEADLINE, check=False)
        assert run.returncode == 0, run.stderr
        return (mnt, [int(line) for line in run.stdout.split()],
                mnt.status()["arena"]["used"] - used)
    yield fill
    assert not [wrong for one in made for wrong in one.close()]


def test_a_fill_lands_past_the_arena(filled, tensors):  # noqa: F811
    mnt, flags, kept = filled(LD_PRELOAD=str(SHIM))
    assert flags == [calls.BY_RING] * len(NAMES)
    assert kept == 0
    assert sum(rail["device_bytes"] for rail in pair.rails(mnt)) == sum(
        len(tensors[name]) for name in NAMES)


def test_what_is_in_the_arena_is_filled_from_there(
        filled, tensors):  # noqa: F811
    carried = []

    def warm(mnt):
        subprocess.run([mounts.PROGRAM, "warm",
                        *(mnt.path / "m/0" / name for name in NAMES)],
                       check=True, capture_output=True,
                       timeout=mounts.DEADLINE)
        carried.append(pair.settled(mnt)["rdma"]["bytes"])
    mnt, flags, kept = filled(warm, LD_PRELOAD=str(SHIM))
    assert flags == [0] * len(NAMES)
    assert kept == 0
    assert pair.settled(mnt)["rdma"]["bytes"] == carried[0]
    assert sum(rail["device_bytes"] for rail in pair.rails(mnt)) == 0


def test_a_device_that_refuses_leaves_it_to_the_arena(filled):
    mnt, flags, kept = filled()
    assert flags == [0] * len(NAMES)
    assert kept > 0
    assert sum(rail["device_bytes"] for rail in pair.rails(mnt)) == 0
