# SPDX-License-Identifier: Apache-2.0
"""What a seed does when its machine lets it do little."""
import json
import subprocess

import mounts
import pair
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
