# SPDX-License-Identifier: Apache-2.0
"""Files that are brought to the node: READs land in the arena by themselves."""
import re
import subprocess

import mounts
import pair
from pair import MIB

SEED = 20_09


def warm(mnt, model):
    subprocess.run([mounts.PROGRAM, "warm", mnt.path / model], check=True,
                   stdout=subprocess.DEVNULL)


def test_what_is_warm_came_by_rdma_and_stays_when_the_seed_is_gone(folder,
                                                                   both):
    files = pair.checkpoint(folder / "m", [33 * MIB + 5, 3 * MIB + 1], SEED)
    seed, mnt = both(folder / "m")
    before = pair.settled(mnt)
    with pair.Shut(seed.port):
        warm(mnt, "m")
    after = pair.peer(mnt)
    assert after["bytes"] == before["bytes"], "TCP carried some"
    assert mnt.model("m")["resident_bytes"] >= sum(map(len, files.values()))
    seed.kill()
    pair.read(mnt, "m", files)
    registered = re.findall(r"registered (\d+) bytes of the arena", mnt.log())
    assert registered and all(int(n) > 33 * MIB for n in registered)
