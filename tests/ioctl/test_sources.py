# SPDX-License-Identifier: Apache-2.0
"""FILL and LEND of files that no seed gives, or none rightly: whoever asks is
told which of these it was, for memory of the host and of a GPU (the FAKE
libcudart's) alike, and nothing was written.
"""
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

for _part in ("mount", "remote"):
    sys.path.insert(0, str(Path(__file__).parents[1] / _part))
import calls  # noqa: E402
import checkpoints as ck  # noqa: E402
from fake_seed import IO, FakeSeed  # noqa: E402
from mounts import tensor_path  # noqa: E402
from test_device_memory import finish, gpus  # noqa: E402, F401
from test_waiting import rung  # noqa: E402

ALONE = Path(__file__).with_name("gpu_unfetched.py")


def rotten(source):
    """Other bytes, under the digest of the right ones."""
    source.faults.rotten = lambda path, off: True


def unreadable(source):
    source.faults.answer = lambda path, off: IO


WAYS = {errno.EBADMSG: rotten, errno.EIO: unreadable,
        errno.EHOSTUNREACH: FakeSeed.close,
        errno.ETIMEDOUT: lambda source: source.faults.hang.set()}


class World:
    """A model of a seed of its own for each errno; none gives its bytes."""

    def __init__(self, mount, folder, seed, *options, **kw):
        model = ck.hf_sharded(folder / "model", ck.layers(2, 1_500_002), seed)
        self.sources = {code: FakeSeed(**{errno.errorcode[code]: model.path})
                        for code in WAYS}
        args = [word for source in self.sources.values()
                for word in ("--seed", source.url)]
        self.m = mount("prefetch=0", "readahead=0", "seed_deadline=2",
                       *options, args=args, **kw)
        (self.rank, self.name, place), *_ = model.tensors()
        self.size = place.size
        for code, source in self.sources.items():
            WAYS[code](source)

    def path(self, code):
        return str(tensor_path(self.m, errno.errorcode[code], self.rank,
                               self.name))

    def close(self):
        for source in self.sources.values():
            source.faults.hang.clear()
            source.close()


@pytest.fixture
def world(mount, folder, seed):
    made = []

    def make(*options, **kw):
        made.append(World(mount, folder, seed, *options, **kw))
        return made[0]
    yield make
    for one in made:
        one.close()


class Filling:
    """All of a file, begun; nobody waits."""

    def __init__(self, world, code):
        # Without waiting, and without its bytes.
        self.fd = os.open(world.path(code), os.O_RDONLY | os.O_NONBLOCK)
        self.passer = calls.Passer.of(self.fd)
        self.target = calls.Target(self.passer, world.size)
        self.event = os.eventfd(0)
        bell, _, _ = self.passer.pass_on(self.event, calls.PASS_EVENT)
        patience = 10 ** 6 if code == errno.ETIMEDOUT else 0
        self.ticket = calls.fill(self.fd, self.target.slot,
                                 [(0, 0, world.size)], calls.ASYNC,
                                 event=bell, timeout_ns=patience).ticket

    def outcome(self):
        rung(self.event)
        told = calls.drop(self.fd, self.ticket)
        assert told.done == 0 and not any(self.target.bytes())
        self.target.close()
        self.passer.close()
        os.close(self.event)
        os.close(self.fd)
        return -told.result, told.stage


@pytest.mark.parametrize("options", [(), ("passthrough=off",)],
                         ids=["arena", "readers"])
def test_memory_is_not_filled_and_why(world, options):
    lost = world(*options)
    fillings = {code: Filling(lost, code) for code in WAYS}
    assert {code: filling.outcome() for code, filling in fillings.items()} \
        == {code: (code, calls.FETCH) for code in WAYS}


def test_device_memory_is_not_filled_nor_lent_and_why(world, gpus):  # noqa
    lost = world("gpu=on", env=gpus)
    finish([subprocess.Popen(
        [sys.executable, ALONE, lost.path(code), str(code)],
        env={**os.environ, **gpus}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE) for code in WAYS])
