# SPDX-License-Identifier: Apache-2.0
"""A running engine's memory, read where it lies."""
import concurrent.futures
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
SIZES = [3 * MIB // 2 + 771, 13, MIB - 5, 4096, *[700] * 20, MIB]
SEED = 20_09
ROUNDS = 50


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
        listen = f"127.0.0.1:{port or mounts.free_port()}"
        env = mounts.python_environment(mounts.BUILD / "libweightfs.so")
        made.append(Engine(folder, [sys.executable, "plain"], env, {
            "ranks": {0: str(held)}, "files": {"config.json": "{}"},
            "serve": {"model": "m", "layout": "tp1"},
            "seed": {"rdma": "on", "listen": listen}}))
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


def test_no_tensor_is_torn_while_weights_change(engine, mounted, tensors):
    e = engine()
    mnt = mounted(e, "-o", "prefetch=0,rescan=0.1,switch_after=0")
    first = tensors["t00"]
    versions, key = {first: 0}, 0

    def read():
        """Which version a reader has, whole; None: it was over."""
        try:
            got = (mnt.path / "m/0/t00").read_bytes()
        except OSError as problem:
            assert problem.errno in (errno.ESTALE, errno.EIO, errno.ENOENT)
            return None
        assert got in versions, "bytes of two versions"
        return versions[got]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for i in range(ROUNDS):
            key ^= i + 1
            versions[first.translate(bytes(b ^ key for b in range(256)))] = key
            reading = pool.submit(read)
            e("flip", i + 1)
            reading.result(mounts.DEADLINE)
            if i % 5 == 4:
                mounts.wait_until(lambda: read() == key,
                                  "somebody reads the new version")
    row = pair.peer(mnt)
    assert row["rdma"]["bytes"] > len(first) and row["rdma"]["wrong"] == 0, row


def test_an_engine_that_died_is_read_when_it_is_back(engine, mounted, tensors):
    e = engine()
    mnt = mounted(e, "-o", "prefetch=0,rescan=0.1,switch_after=0,"
                  "seed_deadline=5")
    big, last = "t00", f"t{len(SIZES) - 1:02}"
    assert (mnt.path / "m/0" / big).read_bytes() == tensors[big]
    e.kill()
    with pytest.raises(OSError) as caught:
        (mnt.path / "m/0" / last).read_bytes()
    assert caught.value.errno in (errno.EIO, errno.ESTALE)
    e = engine(e.port)

    def is_back():
        try:
            return (mnt.path / "m/0" / last).read_bytes() == tensors[last]
        except OSError as problem:
            return problem.errno not in (errno.ESTALE, errno.EIO,
                                         errno.ENOENT)
    mounts.wait_until(is_back, "the new one's weights are there")
    before = pair.settled(mnt)["bytes"]
    pair.forget(mnt)
    with pair.Shut(e.port):
        assert (mnt.path / "m/0" / big).read_bytes() == tensors[big]
    row = pair.peer(mnt)
    assert row["bytes"] == before and row["rdma"]["wrong"] == 0, row
