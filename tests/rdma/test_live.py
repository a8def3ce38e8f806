# SPDX-License-Identifier: Apache-2.0
"""A running engine's memory, read where it lies."""
import errno
import random
import sys

import mounts
import pair
import pytest
from pair import MIB

sys.path.insert(0, str(mounts.ROOT / "tests/live"))
import engines  # noqa: E402

FILE = "model-rank-0-part-0.safetensors"
# As if from an allocator: large ones, small ones, and nothing round.
SIZES = [3 * MIB + 771, 13, MIB - 5, 4096, *[700] * 20, 2 * MIB]
SEED = 20_09
ROUNDS = 60


@pytest.fixture
def tensors():
    """What engines hold: {name: bytes}."""
    rng = random.Random(SEED)
    return {f"t{i:02}": rng.randbytes(size) for i, size in enumerate(SIZES)}


class Engine(engines.Engine):
    """With what pair.mount and pair.Shut want of a seed."""

    @property
    def port(self):
        return int(self.url.rpartition(":")[2])


@pytest.fixture
def engine(folder, tensors):
    """engine(port=0) -> one that holds them"""
    made = []
    held = folder / FILE
    pair.safetensors(held, tensors)

    def make(port=0):
        env = mounts.python_environment(mounts.BUILD / "libweightfs.so")
        made.append(Engine(folder, [sys.executable, "plain"], env, {
            "ranks": {0: str(held)}, "files": {"config.json": "{}"},
            "serve": {"model": "m", "layout": "tp1"},
            "seed": {"rdma": "on", "listen": f"127.0.0.1:{port}"}}))
        return made[-1]
    yield make
    said = "".join(one.close() for one in made)
    assert "Traceback" not in said, said


@pytest.fixture
def mounted(folder):
    made = []

    def make(at, *args):
        made.append(pair.mount(folder, at, args))
        return made[-1]
    yield make
    assert not [wrong for one in made for wrong in one.close()]


def test_weights_are_read_where_they_lie(engine, mounted, tensors):
    e = engine()
    mnt = mounted(e)
    before = pair.settled(mnt)["bytes"]
    with pair.Shut(e.port):
        for name, want in tensors.items():
            assert (mnt.path / "m/0" / name).read_bytes() == want, name
    row = pair.peer(mnt)
    assert row["bytes"] == before, "TCP carried some"
    assert row["rdma"]["bytes"] >= sum(SIZES) and row["rdma"]["wrong"] == 0
