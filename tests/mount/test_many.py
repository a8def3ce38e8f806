# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of very many tensors."""
import os
import random
import subprocess

import pytest

import checkpoints as ck
from mounts import HELPERS, SCALE, assert_same


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    path = tmp_path_factory.mktemp("many")
    path.chmod(0o755)
    model = ck.many(path / "many", 100_000 // SCALE, 200, 5)
    yield model
    import shutil
    shutil.rmtree(path)


def test_all_are_listed_and_any_can_be_read(mount, many, seed):
    m = mount(m=many)
    rank = m.path / "m" / "0"
    names = os.listdir(rank)
    assert sorted(names) == sorted(many.ranks["0"])
    rng = random.Random(seed)
    for name in rng.sample(names, 500):
        assert_same((rank / name).read_bytes(),
                    many.ranks["0"][name].read(), name)
    assert m.model("m")["tensors"] == len(names)


def test_ls_l_shows_every_size(mount, many):
    m = mount(m=many)
    out = subprocess.run(["ls", "-l", m.path / "m" / "0"], check=True,
                         capture_output=True, text=True).stdout.splitlines()
    assert len(out) == len(many.ranks["0"]) + 1
    assert all(line.split()[4] == "16" for line in out[1:])


def test_a_long_directory_can_be_seeked(mount, many):
    m = mount(m=many)
    subprocess.run([HELPERS / "dirwalk", m.path / "m" / "0"], check=True,
                   stdout=subprocess.DEVNULL)


def test_the_daemon_stays_small(mount, many):
    m = mount(m=many)
    subprocess.run(["ls", "-l", m.path / "m" / "0"], check=True,
                   stdout=subprocess.DEVNULL)
    with open(f"/proc/{m.pid}/status") as f:
        rows = dict(line.split(":", 1) for line in f)
    resident = int(rows["RssAnon"].split()[0])
    if SCALE == 1:  # a sanitizer's own memory says nothing
        assert resident <= 64 * 1024, f"{resident} KiB"


def test_inode_numbers_are_all_distinct(mount, many):
    m = mount(m=many)
    numbers = {e.inode() for e in os.scandir(m.path / "m" / "0")}
    assert len(numbers) == len(many.ranks["0"])
