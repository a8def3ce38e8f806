# SPDX-License-Identifier: Apache-2.0
"""What a seed does when its machine lets it do little, or its files change."""
import errno
import json
import os
import subprocess

import mounts
import pair
import pytest
from pair import MIB

ODD = [2 * MIB + 77, MIB - 1]
SEED = 20_07

# Root without the capability that lifts the limit, and a limit.
FEW_LOCKED = ("setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock",
              "prlimit", "--memlock=65536:65536")


def test_memory_that_may_not_be_locked_is_one_line_and_tcp(folder):
    files = pair.checkpoint(folder / "m", ODD, SEED)
    seed = pair.Seed(folder, "seed", ["--rdma-memory", "256M", "--model",
                                      f"m={folder / 'm'}"], before=FEW_LOCKED)
    mnt = None
    try:
        seed.wait_registered()
        mnt = pair.mount(folder, seed)
        pair.read(mnt, "m", files)
        row = pair.peer(mnt)
        assert row["bytes"] > 0, row
        assert row["rdma"]["bytes"] < MIB, "what was not locked was read"
        said = [line for line in seed.log().splitlines()
                if "cannot register" in line]
        assert len(said) == 1 and "ulimit -l unlimited" in said[0]
    finally:
        wrong = (mnt.close() if mnt else []) + seed.close()
    assert not wrong, seed.log()


def table(seed):
    status, body = pair.get(seed, "/v1/rdma")
    return json.loads(body) if status == 200 else None


def test_a_port_is_offered_while_it_is_up(folder, both):
    files = pair.checkpoint(folder / "m", ODD, SEED)
    seed, mnt = both(folder / "m")
    assert [r["address"] for r in table(seed)["rails"]] == ["10.77.0.1",
                                                            "10.78.0.1"]
    subprocess.run(["ip", "link", "set", "net0", "down"], check=True)
    try:
        seed.wait("RDMA: 'rdma0' at 10.77.0.1: its port is down")
        told = table(seed)
        assert [r["address"] for r in told["rails"]] == ["10.78.0.1"]
        assert {len(r["rkeys"]) for r in told["regions"]} == {1}
    finally:
        subprocess.run(["ip", "link", "set", "net0", "up"], check=True)
    mounts.wait_until(lambda: len(table(seed)["rails"]) == 2,
                      "the port is offered again")
    pair.read(mnt, "m", files)
    assert pair.peer(mnt)["rdma"]["wrong"] == 0


def test_a_key_ends_with_its_file_and_the_next_one_is_asked_for(folder, both):
    files = pair.checkpoint(folder / "m", [40 * MIB + 5], SEED)
    news = pair.checkpoint(folder / "new", [40 * MIB + 5], SEED + 1)
    name = next(name for name in files if name.endswith(".safetensors"))
    seed, mnt = both(folder / "m", ("--rdma-memory", "256M", "--rescan=0.1"),
                     ("-o", "prefetch=0,rescan=0.1,switch_after=0.1,"
                      "seed_deadline=5"))
    with open(mnt.path / "m" / name, "rb", buffering=0) as file:
        ats = iter(range(0, 36 * MIB, MIB))  # as many seconds

        def comes_by_rdma():
            at = next(ats)
            assert os.pread(file.fileno(), 9, at) == files[name][at:at + 9]
            return pair.peer(mnt)["rdma"]["bytes"] > 0
        mounts.wait_until(comes_by_rdma, "a chunk comes by RDMA", every=1)
        before = pair.settled(mnt)["rdma"]["bytes"]
        with pair.Shut(seed.port):
            # Of that the node does not hear: it reads where the file was.
            os.replace(folder / "new" / name, folder / "m" / name)
            mounts.wait_until(
                lambda: seed.log().count("of registered memory") > 1,
                "the new file is registered")
            with pytest.raises(OSError) as caught:
                os.pread(file.fileno(), 9, 40 * MIB)
            assert caught.value.errno == errno.EIO
            assert pair.failed(mnt, "remote_access") > 0, pair.peer(mnt)

    def is_new():
        try:
            return (mnt.path / "m" / name).read_bytes() == news[name]
        except OSError as problem:
            assert problem.errno in (errno.ESTALE, errno.EIO)
    mounts.wait_until(is_new, "the new file is there")
    row = pair.peer(mnt)["rdma"]
    assert row["bytes"] > before and row["wrong"] == 0, row


def test_a_file_that_was_replaced_is_stale_as_over_tcp(folder, both):
    files = pair.checkpoint(folder / "m", [8 * MIB + 5], SEED)
    pair.checkpoint(folder / "new", [8 * MIB + 5], SEED + 1)
    name = next(name for name in files if name.endswith(".safetensors"))
    seed, mnt = both(folder / "m", ("--rdma-memory", "256M", "--rescan=0.1"),
                     ("-o", "prefetch=0,rescan=600,seed_deadline=600"))
    with open(mnt.path / "m" / name, "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 9, 0) == files[name][:9]
        pair.settled(mnt)
        os.replace(folder / "new" / name, folder / "m" / name)
        mounts.wait_until(lambda: seed.log().count("registered memory") > 1,
                          "the new file is registered")
        with pytest.raises(OSError) as caught:
            os.pread(file.fileno(), 9, 7 * MIB)
        assert caught.value.errno == errno.ESTALE
