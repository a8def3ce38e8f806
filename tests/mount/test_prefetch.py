# SPDX-License-Identifier: Apache-2.0
"""What a loader will open next is hydrated ahead of it."""
import pytest

import checkpoints as ck
from mounts import assert_same, wait_until, xattr

MIB = 1 << 20
NAMES = [f"t{i:02}" for i in range(24)]


@pytest.fixture
def model(folder, seed):
    return ck.hf_single(folder / "m", [ck.of_bytes(n, MIB) for n in NAMES],
                        seed)


def read(mount, model, *picks):
    """Opens tensors of the model by their places, in that order."""
    places = {name: place for _, name, place in model.tensors()}
    for pick in picks:
        name = NAMES[pick]
        got = (mount.path / "m" / "0" / name).read_bytes()
        assert_same(got, places[name].read(), name)


def resident(mount):
    return {i for i, name in enumerate(NAMES)
            if xattr(mount.path / "m" / "0" / name, "resident") == "100"}


def test_a_loader_that_takes_all_finds_the_next_ones_hydrated(mount, model):
    m = mount("prefetch=4M", m=model)
    read(m, model, 0, 1, 2)
    wait_until(lambda: resident(m) == set(range(7)), "four more are there")


def test_a_loader_that_takes_every_fifth_gets_every_fifth(mount, model):
    m = mount("prefetch=64M", m=model)
    read(m, model, 1, 6, 11)
    wait_until(lambda: resident(m) == {1, 6, 11, 16, 21}, "and no others")


def test_picking_here_and_there_hydrates_nothing_else(mount, model):
    m = mount("prefetch=64M", m=model)
    read(m, model, 3, 20, 7, 9, 1)
    assert resident(m) == {3, 20, 7, 9, 1}


def test_prefetch_can_be_switched_off(mount, model):
    m = mount("prefetch=0", m=model)
    read(m, model, 0, 1, 2, 3)
    assert resident(m) == {0, 1, 2, 3}


def test_the_order_of_the_last_load_is_remembered(mount, model):
    m = mount("prefetch=3M", m=model)
    order = [5, 17, 2, 11, 8, 20, 14]
    read(m, model, *order)
    wait_until(lambda: m.evict() is None and not resident(m), "all closed")
    read(m, model, *order[:3])
    wait_until(lambda: resident(m) == set(order[:6]), "as the last time")
