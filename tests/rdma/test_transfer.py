# SPDX-License-Identifier: Apache-2.0
"""Bytes that go by RDMA, and what happens when they cannot."""
import http.client
import os
import re
import signal
import subprocess

import mounts
import pair
from pair import MIB

ODD = [3 * MIB + 12345, MIB, 7, 9 * MIB - 1]
SEED = 20_06


def metric(seed, name):
    conn = http.client.HTTPConnection("127.0.0.1", seed.port,
                                      timeout=mounts.DEADLINE)
    conn.request("GET", "/metrics")
    text = conn.getresponse().read().decode()
    conn.close()
    return int(re.search(rf"^weightfs_seed_rdma_{name} (\d+)$", text,
                         re.M)[1])


def halves(files):
    names = sorted(files)
    return ({n: files[n] for n in names[:3]}, {n: files[n] for n in names[3:]})


def test_every_byte_comes_by_rdma_with_tcp_shut(folder, both):
    files = pair.checkpoint(folder / "m", ODD, SEED)
    seed, mnt = both(folder / "m")
    before = pair.connected(mnt)
    with pair.Shut(seed.port):
        pair.read(mnt, "m", files)
    after = pair.peer(mnt)
    assert after["bytes"] == before["bytes"], "TCP carried some"
    assert after["rdma"]["bytes"] + before["bytes"] >= sum(ODD)
    assert after["rdma"]["bytes"] >= before["rdma"]["bytes"] + 5 * MIB - 1
    assert after["rdma"]["wrong"] == after["rdma"]["errors"] == 0


def test_a_frozen_seed_is_read_all_the_same(folder, both):
    files = pair.checkpoint(folder / "m", ODD, SEED)
    seed, mnt = both(folder / "m")
    pair.settled(mnt)
    mounts.freeze(seed.process.pid)
    try:
        pair.read(mnt, "m", files)
    finally:
        seed.process.send_signal(signal.SIGCONT)
    assert pair.peer(mnt)["rdma"]["bytes"] >= 5 * MIB - 1


def test_what_does_not_fit_in_memory_comes_over_tcp(folder, both):
    files = pair.checkpoint(folder / "m", ODD, SEED)
    seed, mnt = both(folder / "m", ("--rdma-memory", "4M"))
    assert metric(seed, "left_out") > 0
    assert 0 < metric(seed, "registered_bytes") <= 4 * MIB
    pair.read(mnt, "m", files)
    row = pair.peer(mnt)
    assert row["bytes"] > 0 and row["rdma"]["bytes"] > 0
    assert row["wrong"] == row["rdma"]["wrong"] == 0


def test_either_side_may_do_without(folder, both):
    files = pair.checkpoint(folder / "m", ODD, SEED)
    seed, mnt = both(folder / "m", mount_args=("-o", "rdma=off"))
    pair.read(mnt, "m", files)
    assert pair.peer(mnt)["rdma"] is None
    assert metric(seed, "sessions") == 0


def test_a_rail_that_goes_down_is_left_for_another(folder, links, both):
    files = pair.checkpoint(folder / "m", ODD, SEED)
    _, mnt = both(folder / "m")
    first, rest = halves(files)
    pair.read(mnt, "m", first)
    links(0)
    pair.read(mnt, "m", rest)
    assert pair.peer(mnt)["rdma"]["wrong"] == 0


def test_a_seed_killed_and_started_again_is_read_by_rdma_again(folder, both):
    files = pair.checkpoint(folder / "m", ODD, SEED)
    seed, mnt = both(folder / "m")
    first, rest = halves(files)
    pair.read(mnt, "m", first)
    seed.kill()
    again = pair.Seed(folder, "again", ["--rdma-memory", "256M", "--model",
                                        f"m={folder / 'm'}"], seed.port)
    try:
        again.wait_registered()
        before = pair.peer(mnt)["rdma"]["bytes"]

        def comes_by_rdma():
            pair.forget(mnt)
            pair.read(mnt, "m", rest)
            return pair.peer(mnt)["rdma"]["bytes"] > before
        mounts.wait_until(comes_by_rdma, "bytes come by RDMA again")
    finally:
        again.close()


def test_a_node_that_dies_leaves_no_connection_behind(folder, both):
    files = pair.checkpoint(folder / "m", ODD, SEED)
    seed, mnt = both(folder / "m")
    pair.read(mnt, "m", files)
    assert metric(seed, "connections") > 0
    mnt.kill()
    mounts.wait_until(lambda: metric(seed, "connections") == 0,
                      "the seed's queue pairs end")
    kept = subprocess.run(["rdma", "resource", "show", "qp"], text=True,
                          capture_output=True, check=True).stdout
    assert f"pid {seed.process.pid}" not in kept
    assert os.path.exists(f"/proc/{seed.process.pid}")
