# SPDX-License-Identifier: Apache-2.0
"""What a loader will open next is fetched ahead of it, from far away too."""
import contextlib
import threading

import checkpoints as ck
import mounts
import pytest
from mounts import assert_same, wait_until, xattr

MIB = 1 << 20
NAMES = [f"t{i:02}" for i in range(40)]


@pytest.fixture
def tensors(folder, seed):
    return ck.hf_single(folder / "m", [ck.of_bytes(n, MIB) for n in NAMES],
                        seed)


@pytest.fixture
def far(mount):
    """far(seed, *options) -> a mount of what it has, if it has an arena."""
    def make(seed, *options):
        m = mount(*options, args=("--seed", seed.url))
        if not m.status()["passthrough"]["in_use"]:
            pytest.skip("nothing is fetched ahead without an arena")
        return m
    return make


def read(m, tensors, *picks):
    places = {name: place for _, name, place in tensors.tensors()}
    for pick in picks:
        name = NAMES[pick]
        got = (m.path / "m" / "0" / name).read_bytes()
        assert_same(got, places[name].read(), name)


@contextlib.contextmanager
def loading(m, tensors, pick):
    """A tensor is read and stays open: what is ahead of it is wanted still."""
    with open(m.path / "m" / "0" / NAMES[pick], "rb"):
        read(m, tensors, pick)
        yield


def resident(m):
    return {i for i, name in enumerate(NAMES)
            if xattr(m.path / "m" / "0" / name, "resident") == "100"}


def forget(m):
    """Nothing of what was read stays, and nothing is on its way."""
    wait_until(lambda: m.status()["prefetch"]["queued"] == 0
               and m.evict() is None and not resident(m), "all closed")


def test_one_tensor_brings_those_behind_it_up_to_the_window(far, seeder,
                                                            tensors):
    m = far(seeder(m=tensors.path), "prefetch=4M")
    with loading(m, tensors, 3):
        wait_until(lambda: resident(m) == {3, 4, 5, 6, 7}, "four more")
        read(m, tensors, 4)
        wait_until(lambda: resident(m) == {3, 4, 5, 6, 7, 8}, "and one more")
    ahead = m.status()["prefetch"]
    assert ahead["window"] == 4 * MIB and ahead["queued"] == 0
    # The fourth was perhaps wanted before it was counted.
    assert ahead["files"] in (4, 5)
    assert ahead["bytes"] == ahead["files"] * MIB


def test_nothing_is_fetched_ahead_if_so_told(far, seeder, tensors):
    m = far(seeder(m=tensors.path), "prefetch=0")
    read(m, tensors, 0, 1, 2, 3)
    assert resident(m) == {0, 1, 2, 3}
    assert m.status()["prefetch"]["files"] == 0


def test_the_order_of_the_last_load_is_remembered(far, seeder, tensors):
    m = far(seeder(m=tensors.path), "prefetch=3M")
    order = [5, 27, 2, 11, 38, 20, 14]
    read(m, tensors, *order)
    forget(m)
    with loading(m, tensors, order[0]):
        wait_until(lambda: set(order[:4]) <= resident(m), "as the last time")
    assert not {6, 7, 8} & resident(m), "not those that lie behind it"


def test_chunks_are_asked_for_in_the_order_of_the_loader(far, seeds, tensors):
    seed = seeds(m=tensors.path)
    m = far(seed, "prefetch=64M")
    with loading(m, tensors, 8):
        wait_until(lambda: resident(m) == set(range(8, 40)), "all behind it")
    # The header is in the first one; several are under way at once.
    asked = [off // MIB for path, off in seed.requests
             if path.endswith(".safetensors") and off]
    assert sorted(asked) == list(range(8, 41)), "each of them once"
    half = len(asked) // 2
    assert sum(asked[:half]) < 0.75 * sum(asked[half:]), asked


def test_one_shard_file_brings_the_next_one(far, seeder, model):
    m = far(seeder(m=model.path), "prefetch=1")
    shards = sorted(n for n in model.files() if n.endswith(".safetensors"))
    for _ in range(2):  # the second open says that it is being loaded
        (m.path / "m" / shards[0]).read_bytes()

    def there():
        return [xattr(m.path / "m" / n, "resident") == "100" for n in shards]
    with open(m.path / "m" / shards[0], "rb"):
        wait_until(lambda: there() == [True, True, False], "the next one")
    assert there() == [True, True, False]


def test_what_is_wanted_goes_before_what_is_fetched_ahead(far, seeds,
                                                          tensors):
    seed = seeds(m=tensors.path)
    gate = threading.Event()
    seed.faults.delay = lambda path, off: (
        gate.wait(mounts.DEADLINE) and 0
        if path.endswith(".safetensors") and off >= 2 * MIB else 0)
    m = far(seed, "prefetch=64M")

    def queued():
        return m.status()["prefetch"]["queued"]
    with loading(m, tensors, 0):
        wait_until(lambda: queued() > 8, "some wait")
        waiting = queued()
        reader = threading.Thread(target=read, args=(m, tensors, 38))
        reader.start()
        wait_until(lambda: queued() < waiting, "one is wanted")
        gate.set()
        reader.join()
        wait_until(lambda: queued() == 0, "all go on")
    asked = [off // MIB for path, off in seed.requests
             if path.endswith(".safetensors") and off]
    assert asked.index(39) < len(asked) - 10, asked


def test_no_more_is_begun_once_all_is_closed(far, seeds, tensors):
    seed = seeds(m=tensors.path)
    gate = threading.Event()
    seed.faults.delay = lambda path, off: (
        gate.wait(mounts.DEADLINE) and 0
        if path.endswith(".safetensors") and off >= 2 * MIB else 0)
    m = far(seed, "prefetch=64M")
    with loading(m, tensors, 0):
        wait_until(lambda: m.status()["prefetch"]["queued"] > 8, "some wait")
    wait_until(lambda: m.status()["prefetch"]["queued"] == 0, "given up")
    gate.set()
    read(m, tensors, 39, 1, 20)
