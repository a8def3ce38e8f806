# SPDX-License-Identifier: Apache-2.0
"""Whatever fails on the way: every byte is right, and in time."""
import errno
import os
import random
import signal
import subprocess
import threading

import mounts
import pair
import pytest
from pair import MIB
from tamper import Tamper

SEED = 20_08
ODD = [3 * MIB + 12345, 7, 5 * MIB - 1]
EDGES = [1, 2, 3, 63, 64, 65, 4095, 4096, 4097, 4 * MIB - 1, 4 * MIB,
         4 * MIB + 1, 28 * MIB + 3]
MANY = [random.Random(SEED).randrange(1, 30000) for _ in range(60)]

# Root without the capability that lifts the limit, and a limit.
FEW_LOCKED = ("setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock",
              "prlimit", "--memlock=65536:65536")


def ip(*args):
    subprocess.run(["ip", *args], check=True)


def test_many_regions_of_odd_sizes_come_by_rails_of_unlike_mtu(folder, both):
    ip("link", "set", "net1", "mtu", "1500")
    try:
        files = pair.checkpoint(folder / "m", EDGES + MANY, SEED)
        seed, mnt = both(folder / "m")
        before = pair.settled(mnt)
        with pair.Shut(seed.port):
            pair.read(mnt, "m", files)
        after = pair.peer(mnt)
        assert after["bytes"] == before["bytes"], "TCP carried some"
        assert after["rdma"]["wrong"] == after["rdma"]["errors"] == 0
        assert len(pair.rails(mnt)) == 2
        assert all(rail["bytes"] > 0 for rail in pair.rails(mnt))
    finally:
        ip("link", "set", "net1", "mtu", "4200")


def test_pieces_at_odd_offsets_are_those_of_the_source(folder, both):
    files = pair.checkpoint(folder / "m", [9 * MIB + 1], SEED)
    seed, mnt = both(folder / "m")
    pair.settled(mnt)
    rng = random.Random(SEED)
    with pair.Shut(seed.port):
        for name, want in files.items():
            fd = os.open(mnt.path / "m" / name, os.O_RDONLY)
            try:
                for _ in range(20):
                    off = rng.randrange(len(want))
                    size = rng.randrange(1, 300_000)
                    got = os.pread(fd, size, off)
                    assert got == want[off:off + size], (name, off, size)
            finally:
                os.close(fd)


def test_each_rail_counts_what_it_read_and_how_long_that_took(folder, both):
    files = pair.checkpoint(folder / "m", ODD, SEED)
    _, mnt = both(folder / "m")
    pair.read(mnt, "m", files)
    rdma = pair.peer(mnt)["rdma"]
    assert sum(rail["bytes"] for rail in rdma["rails"]) >= rdma["bytes"] > 0
    assert sum(rail["reads"] for rail in rdma["rails"]) >= rdma["chunks"]
    for rail in rdma["rails"]:
        assert sum(rail["latency_us"].values()) == rail["reads"]
        assert rail["below_us"]["half"] <= rail["below_us"]["99%"]
    stats = mnt.stats()
    total = sum(value for sample, value in stats.items()
                if sample.startswith("weightfs_remote_rdma_read_bytes_total"))
    assert total >= rdma["bytes"]
    shown = subprocess.run([mounts.PROGRAM, "status", mnt.path], text=True,
                           capture_output=True, check=True).stdout
    assert "10.77.0.1" in shown and "10.78.0.1" in shown


def test_a_wrong_key_is_tcp_until_there_is_a_right_one(folder, both):
    files = pair.checkpoint(folder / "m", ODD, SEED)
    with Tamper() as between:
        _, mnt = both(folder / "m", between=between)

        def again():
            pair.forget(mnt)
            pair.read(mnt, "m", files)

        def is_refused():
            again()
            return pair.failed(mnt, "remote_access") > 0

        def comes_by_rdma():
            again()
            return pair.peer(mnt)["rdma"]["bytes"] > 0
        mounts.wait_until(is_refused, lambda: "the key opens nothing: "
                          f"{pair.peer(mnt)}")
        assert not comes_by_rdma()
        assert pair.peer(mnt)["bytes"] >= sum(ODD)
        between.honest.set()
        mounts.wait_until(comes_by_rdma, "bytes come by RDMA")
        assert pair.peer(mnt)["wrong"] == 0


def test_rails_that_go_down_in_mid_transfer_leave_the_rest_to_tcp(
        folder, links, both):
    files = pair.checkpoint(folder / "m", [24 * MIB + 5], SEED)
    _, mnt = both(folder / "m")
    wrong = []

    def reader():
        try:
            pair.read(mnt, "m", files)
        except (OSError, AssertionError) as error:
            wrong.append(error)
    thread = threading.Thread(target=reader)
    thread.start()
    mounts.wait_until(lambda: pair.peer(mnt)["rdma"]["bytes"] > 0,
                      "some came by RDMA")
    links(0, 1)
    thread.join(mounts.DEADLINE)
    assert not thread.is_alive()
    assert not wrong, wrong
    assert pair.peer(mnt)["rdma"]["wrong"] == 0


def test_memory_that_the_node_may_not_lock_is_tcp(folder, both):
    files = pair.checkpoint(folder / "m", ODD, SEED)
    _, mnt = both(folder / "m", wrap=FEW_LOCKED)
    pair.read(mnt, "m", files)
    row = pair.peer(mnt)
    assert row["bytes"] >= sum(ODD) and row["rdma"]["bytes"] == 0
    assert "ulimit -l unlimited" in row["rdma"]["why"]


def test_a_seed_that_nothing_reaches_is_an_error_in_time(folder, links, both):
    files = pair.checkpoint(folder / "m", ODD, SEED)
    seed, mnt = both(folder / "m", mount_args=("-o", "seed_deadline=5"))
    mounts.freeze(seed.process.pid)
    links(0, 1)
    try:
        with pytest.raises(OSError) as caught:
            pair.read(mnt, "m", files)
        assert caught.value.errno == errno.EIO
    finally:
        seed.process.send_signal(signal.SIGCONT)
