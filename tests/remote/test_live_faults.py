# SPDX-License-Identifier: Apache-2.0
"""What the faults of an engine's workers cost those who read."""
import errno
import os

import pytest

import mounts
from live_engines import (  # noqa: F401
    RANKS, args_of, assert_is, dumps, engine, other_weights, shards, wait_for,
    wait_nothing_is_missing, why)
from test_remote import models


@pytest.fixture
def workers(processes):
    """workers(dump, …) -> the processes of an engine's ranks"""
    def make(dump, **said):
        return [processes(live={"ranks": [rank], **said}, llama=dump)
                for rank in RANKS]
    return make


def open_cold(mount, name):
    """A file of which nothing but the header is here."""
    m = mount.path / "llama" / name
    return open(m, "rb", buffering=0), os.path.getsize(m) // 2


def read_fails(file, at):
    with pytest.raises(OSError) as failed:
        os.pread(file.fileno(), 4096, at)
    return failed.value.errno


COLD = ("rescan=0.2", "prefetch=0", "passthrough=off", "chunk_cache=0")


def test_a_worker_that_is_killed_is_waited_for(mount, workers, processes,
                                               dumps):
    dump, new = dumps(), dumps(other_weights)
    ranks = workers(dump)
    m = mount(*COLD, "seed_deadline=1", args=args_of(*ranks))
    name = shards(dump)[2]
    file, at = open_cold(m, name)
    with file:
        ranks[2].kill()
        assert read_fails(file, at) in (errno.EIO, errno.EHOSTUNREACH)
        assert models(m) == ["llama"]
        wait_for(m, dump, [shards(dump)[0]])  # the others are there
        # On its port another process, whose weights nobody vouches for.
        processes(port=ranks[2].port, live={"ranks": [2]}, llama=new)
        mounts.wait_until(lambda: read_fails(file, at) == errno.ESTALE,
                          "what was of the old one is stale")
    wait_for(m, new, [name])
    wait_for(m, dump, [shards(dump)[0]])


def test_a_worker_that_hangs_goes_on_where_it_was(mount, workers, dumps):
    dump = dumps()
    ranks = workers(dump)
    m = mount(*COLD, "seed_deadline=1", args=args_of(*ranks))
    file, at = open_cold(m, shards(dump)[1])
    with file:
        ranks[1].stop()
        assert read_fails(file, at) in (errno.EIO, errno.EHOSTUNREACH)
        ranks[1].go_on()

        def reads():
            try:
                return os.pread(file.fileno(), 4096, at)
            except OSError as e:
                assert e.errno in (errno.EIO, errno.EHOSTUNREACH), e
        with open(dump / shards(dump)[1], "rb") as own:
            assert mounts.wait_until(reads, "it answers") == (
                os.pread(own.fileno(), 4096, at))
    wait_for(m, dump)  # a slow machine misses the deadline of a second


def test_memory_that_is_given_back_in_mid_read_is_stale(mount, engine, dumps):
    dump = dumps()
    ranks = engine(dump)
    m = mount(*COLD, args=args_of(*ranks))
    file, at = open_cold(m, shards(dump)[3])
    with file:
        # It says nothing of that before it is asked for it.
        ranks[3].faults.answer = lambda path, off: (
            "llama" in ranks[3].models and ranks[3].withdraw("llama")) or 1
        assert read_fails(file, at) == errno.ESTALE
    mounts.wait_until(lambda: "rank 3 of 4 missing" in str(why(m)),
                      lambda: f"the missing rank is said: {why(m)}")
    ranks[3].faults.answer = lambda path, off: 0
    ranks[3].offer_live("llama", dump, [3])
    wait_for(m, dump)


@pytest.mark.parametrize("gap", [True, False], ids=["gap", "at once"])
def test_a_declared_version_that_comes_back_is_served(mount, engine, dumps,
                                                      gap):
    dump = dumps()
    ranks = engine(dump, declared="v1")
    m = mount(*COLD, args=args_of(*ranks))
    assert_is(m, dump)
    if gap:  # the worker was started anew, and has to load first
        ranks[1].withdraw("llama")
        mounts.wait_until(lambda: "rank 1 of 4 missing" in str(why(m)),
                          lambda: f"the missing rank is said: {why(m)}")
    ranks[1].node = "0123456789abcdef" * 2
    ranks[1].offer_live("llama", dump, [1], declared="v1")
    wait_for(m, dump)
    wait_nothing_is_missing(m)


def test_an_engine_that_updates_is_asked_again(mount, engine, dumps):
    dump = dumps()
    ranks = engine(dump)
    m = mount(*COLD, args=args_of(*ranks))
    busy = []

    def answer(path, off):
        busy.append(path)
        return 6 if len(busy) < 3 else 0
    file, at = open_cold(m, shards(dump)[0])
    with file, open(dump / shards(dump)[0], "rb") as own:
        ranks[0].faults.answer = answer
        assert os.pread(file.fileno(), 4096, at) == (
            os.pread(own.fileno(), 4096, at))
    assert len(busy) >= 3
