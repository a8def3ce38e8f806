# SPDX-License-Identifier: Apache-2.0
"""A running engine's memory, read by RDMA into memory that stands for a GPU's.

The READs are real ones; that soft-RoCE registers a dma-buf is FAKE, see
fake_dmabuf.c.
"""
import errno
import json
import os
import struct
import subprocess

import mounts
import pytest
from pair import Shut
from test_live import FILE, engine, tensors  # noqa: F401

PARTS = mounts.BUILD / "rdma"
BLANK = b"\x5a"


class Lander:
    def __init__(self, folder, url, fake=True):
        self.out, self.log = folder / "landed", folder / "lander.log"
        env = dict(os.environ)
        if fake:
            env["LD_PRELOAD"] = str(PARTS / "fake_dmabuf.so")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [PARTS / "lander", url, FILE, self.out], text=True, env=env,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                preexec_fn=mounts.die_with_parent)
        self.size = int(self.line())

    def line(self):
        said = self.process.stdout.readline()
        assert said, self.log.read_text()
        return said

    def __call__(self, *order):
        self.process.stdin.write(" ".join(map(str, order)) + "\n")
        self.process.stdin.flush()
        return self.line()

    def read(self, size, off):
        assert int(self("read", size, off)) == 0
        return self.out.read_bytes()

    def land(self, at, size, off):
        return -int(self("land", at, size, off))

    def tensors(self):
        """{name: (offset in the file, bytes)}"""
        (n,) = struct.unpack("<Q", self.read(8, 0))
        head = json.loads(self.read(n, 8))
        return {name: (8 + n + t["data_offsets"][0],
                       t["data_offsets"][1] - t["data_offsets"][0])
                for name, t in head.items() if name != "__metadata__"}

    def landed(self):
        """Bytes in device memory, as its rails count them."""
        (row,) = json.loads(self("stats"))
        return sum(rail["device_bytes"] for rail in row["rdma"]["rails"])

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(mounts.DEADLINE)
        finally:
            self.process.kill()
            self.process.stdout.close()
        assert self.process.returncode == 0, self.log.read_text()
        return self.log.read_text()


@pytest.fixture
def lander(folder):
    made = []

    def make(url, **how):
        made.append(Lander(folder, url, **how))
        return made[-1]
    yield make
    said = "".join(one.close() for one in made)
    assert said.count("FAKE dma-buf: registered") == said.count(
        "FAKE dma-buf: deregistered"), said


def test_tensors_land_in_device_memory(engine, lander, tensors):  # noqa: F811
    e = engine()
    land = lander(e.url)
    places = land.tensors()
    off, size = places["t00"]
    mounts.wait_until(lambda: land.land(0, size, off) == 0,
                      "it is read by RDMA")
    before = land.landed()
    with Shut(e.port):
        for at, (name, want) in enumerate(tensors.items()):
            at = 4096 * at + at % 3
            off, size = places[name]
            assert land.land(at, size, off) == 0, name
            ring = land.out.read_bytes()
            assert ring[at:at + size] == want, name
            assert not ring[:at].strip(BLANK), name
            assert not ring[at + size:].strip(BLANK), name
    assert land.landed() - before == sum(map(len, tensors.values()))
    # Its header lies in memory that is lent, too.
    head = land.read(100, 0)
    assert land.land(0, 100, 0) == 0
    assert land.out.read_bytes()[:100] == head
    assert int(land("end")) == 0
    assert "FAKE dma-buf: deregistered" in land.log.read_text()


def test_an_update_is_stale(engine, lander, tensors):  # noqa: F811
    e = engine()
    land = lander(e.url)
    off, size = land.tensors()["t00"]
    mounts.wait_until(lambda: land.land(0, size, off) == 0,
                      "it is read by RDMA")
    e("flip", 1)
    assert land.land(0, size, off) == errno.ESTALE
    assert land.land(0, size, off) == errno.ESTALE


def test_a_device_that_refuses_leaves_it_to_memory(
        engine, lander, tensors):  # noqa: F811
    e = engine()
    land = lander(e.url, fake=False)
    off, size = land.tensors()["t00"]

    def said():
        # Until RDMA is connected it says no for want of that.
        assert land.land(0, size, off) == errno.ENOTSUP
        return "registers no memory of GPUs" in land.log.read_text()
    mounts.wait_until(said, "the device was asked")
    assert land.land(0, size, off) == errno.ENOTSUP
    assert land.log.read_text().count("registers no memory of GPUs") <= 2
    assert not land.out.read_bytes().strip(BLANK)
    assert land.read(size, off) == tensors["t00"]
    assert land.landed() == 0
