# SPDX-License-Identifier: Apache-2.0
"""What a loader will open next is hydrated ahead of it."""
import re

import pytest

import checkpoints as ck
from mounts import PATIENT, assert_same, run, wait_until, xattr

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
    m = mount(PATIENT, "prefetch=4M", m=model)
    read(m, model, 0, 1, 2)
    wait_until(lambda: resident(m) == set(range(7)), "four more are there")


def test_a_loader_that_takes_every_fifth_gets_every_fifth(mount, model):
    m = mount(PATIENT, "prefetch=64M", m=model)
    read(m, model, 1, 6, 11)
    wait_until(lambda: resident(m) == {1, 6, 11, 16, 21}, "and no others")


def test_picking_here_and_there_hydrates_nothing_else(mount, model):
    m = mount(PATIENT, "prefetch=64M", m=model)
    read(m, model, 3, 20, 7, 9, 1)
    assert resident(m) == {3, 20, 7, 9, 1}


def test_a_loader_that_begins_with_the_first_is_presumed_to_go_on(
        mount, model):
    m = mount(PATIENT, "prefetch=4M", m=model)
    read(m, model, 0)
    wait_until(lambda: resident(m) == set(range(5)), "four more are there")


def test_a_loader_that_takes_one_and_the_next_is_presumed_to_go_on(
        mount, model):
    m = mount(PATIENT, "prefetch=4M", m=model)
    read(m, model, 7)
    assert resident(m) == {7}
    read(m, model, 8)
    wait_until(lambda: resident(m) == set(range(7, 13)), "four more are there")


def test_little_is_hydrated_for_a_loader_that_may_be_none(mount, folder, seed):
    sizes = [MIB, MIB, 63 * MIB, MIB, MIB]
    model = ck.hf_single(folder / "m", [
        ck.of_bytes(n, size) for n, size in zip(NAMES, sizes)], seed)
    m = mount(PATIENT, "prefetch=1G,hydrators=1", m=model)
    (m.path / "m" / "0" / NAMES[0]).read_bytes()
    wait_until(lambda: m.status()["prefetch"]["files"] == 2, "64 MiB are there")
    # Of one thread: it would have begun another before it is asked for this.
    (m.path / "m" / "0" / NAMES[4]).read_bytes()
    assert m.status()["prefetch"]["queued"] == 0
    assert m.status()["hydration"]["files"] == 4


def test_prefetch_can_be_switched_off(mount, model):
    m = mount(PATIENT, "prefetch=0", m=model)
    read(m, model, 0, 1, 2, 3)
    assert resident(m) == {0, 1, 2, 3}


def test_the_order_of_the_last_load_is_remembered(mount, model):
    m = mount(PATIENT, "prefetch=3M", m=model)
    order = [5, 17, 2, 11, 8, 20, 14]
    read(m, model, *order)
    wait_until(lambda: m.evict() is None and not resident(m), "all closed")
    read(m, model, *order[:3])
    wait_until(lambda: resident(m) == set(order[:6]), "as the last time")


def load(mount, folder, model, order):
    """Loads it in that order, by a mount that ends then."""
    m = mount(PATIENT, f"order_cache={folder / 'orders'},prefetch=0", m=model)
    read(m, model, *order)
    assert m.terminate() == 0
    return order


@pytest.fixture
def loaded(mount, folder, model):
    """The order in which a mount that has ended saw the model loaded."""
    return load(mount, folder, model, [5, 17, 2, 11, 8, 20, 14, 0])


def test_the_order_outlives_the_mount(mount, folder, model, loaded):
    m = mount(PATIENT, f"order_cache={folder / 'orders'},prefetch=3M", m=model)
    positions = [int(xattr(m.path / "m" / "0" / NAMES[i], "position"))
                 for i in loaded]
    assert positions == list(range(len(loaded)))
    read(m, model, *loaded[:3])
    wait_until(lambda: resident(m) == set(loaded[:6]), "as the last time")


def test_what_is_warmed_comes_in_the_order_of_the_last_load(
        mount, folder, model):
    load(mount, folder, model, range(len(NAMES))[::-1])
    m = mount(PATIENT, f"order_cache={folder / 'orders'},hydrators=1,prefetch=0",
              m=model)
    done = run("warm", m.path / "m" / "0", folder=folder)
    assert done.returncode == 0, done.stderr
    shown = re.findall(r"/0/(t\d\d)$", done.stderr, re.M)
    # So many are asked for at once, in order; they may come in any.
    assert shown[0] in NAMES[:-17:-1], shown
    assert sorted(shown) == NAMES


def test_an_order_that_is_damaged_is_left_out(mount, folder, model, loaded):
    [kept] = (folder / "orders").iterdir()
    kept.write_bytes(kept.read_bytes()[:-3] + b"xyz")
    m = mount(PATIENT, f"order_cache={folder / 'orders'},prefetch=3M", m=model)
    assert m.log().count("are damaged") == 1 and kept.name in m.log()
    assert not kept.exists()
    order = [NAMES[int(xattr(m.path / "m" / "0" / name, "position"))]
             for name in NAMES]
    assert order == NAMES


def test_an_order_is_only_kept_where_nobody_else_writes(folder, model):
    shared, point = folder / "shared", folder / "point"
    shared.mkdir()
    shared.chmod(0o777)
    point.mkdir()
    done = run("mount", "-o", f"order_cache={shared}", "--model",
               f"m={model.path}", point, folder=folder)
    assert done.returncode == 1
    assert "will not keep orders" in done.stderr and "0700" in done.stderr
