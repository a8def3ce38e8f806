# SPDX-License-Identifier: Apache-2.0
"""FILL of device memory with files that the arena has no room for, on a real
mount over the FAKE libcudart: their bytes go by way of a ring.
"""
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

for _part in ("mount", "remote", "plan"):
    sys.path.insert(0, str(Path(__file__).parents[1] / _part))
import calls  # noqa: E402
import checkpoints as ck  # noqa: E402
import mounts  # noqa: E402
from fake_seed import FakeSeed  # noqa: E402
from mounts import tensor_path  # noqa: E402
from small_llama import Llama  # noqa: E402
from test_device_memory import finish, gpus, in_ioctl  # noqa: E402, F401

READER = Path(__file__).with_name("ring_reader.py")
SIZE = 9_000_002  # of a tensor, which takes three slots of a ring
ARENA = "arena_size=4M"


def start(gpus, how, count, seed, files):
    return subprocess.Popen(
        [sys.executable, READER, how, str(count), str(seed),
         *map(str, files)],
        env={**os.environ, **gpus}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)


def run(gpus, how, files, count=1, seed=0):
    finish([start(gpus, how, count, seed, files)])


class World:
    """A mount of a seed, and what its tensors truly are."""

    def __init__(self, mount, folder, seed, gpus):
        model = ck.hf_sharded(folder / "model", ck.layers(3, SIZE), seed)
        self.source = FakeSeed(m=model.path)
        self.m = mount(ARENA, "gpu=on", "prefetch=0", "seed_deadline=2",
                       args=["--seed", self.source.url], env=gpus)
        self.files = []
        for i, (rank, name, place) in enumerate(model.tensors()):
            truth = folder / f"truth{i}"
            truth.write_bytes(place.read())
            self.files += [tensor_path(self.m, "m", rank, name), truth]

    def used(self):
        return self.m.status()["arena"]["used"]

    def close(self):
        self.source.faults.hang.clear()
        self.source.close()


@pytest.fixture
def world(mount, folder, seed, gpus):  # noqa: F811
    print("seed", seed)
    one = World(mount, folder, seed, gpus)
    yield one
    one.close()


def test_random_fills_of_four_readers_are_the_truth(world, gpus, seed):  # noqa: F811
    before = world.used()
    finish([start(gpus, "fill", 12, seed + i, world.files)
            for i in range(4)])
    assert world.used() == before


def test_what_a_layout_makes_is_fed_as_well(mount, folder, seed, gpus):  # noqa: F811
    Llama(folder / "models" / "llama", seed=seed, hidden=512, inner=1408,
          layers=3, heads=16, kv_heads=4, vocab=2003).write()
    m = mount(ARENA, "gpu=on", "layout=llama@tp2", models=folder / "models",
              env=gpus)
    files = []
    for rank in (0, 1):
        path = m.path / "llama@tp2" / f"model-rank-{rank}-part-0.safetensors"
        truth = folder / f"truth{rank}"
        truth.write_bytes(path.read_bytes())  # by the mount, in its own way
        assert truth.stat().st_size > 4 << 20
        files += [path, truth]
    before = m.status()["arena"]["used"]
    run(gpus, "fill", files, 12, seed)
    assert m.status()["arena"]["used"] == before


def test_many_fills_leak_neither_descriptors_nor_memory(world, gpus):  # noqa: F811
    run(gpus, "fill", world.files)
    fds = Path(f"/proc/{world.m.pid}/fd")
    before = len(os.listdir(fds))
    run(gpus, "small", world.files, 200)
    # What the readers had goes with them, a moment later.
    mounts.wait_until(lambda: len(os.listdir(fds)) <= before,
                      lambda: f"{len(os.listdir(fds))} for {before}")


def test_an_error_that_sticks_costs_one_call(world, gpus):  # noqa: F811
    run(gpus, "sticky", world.files)


def test_a_helper_that_crashes_costs_one_call(world, gpus):  # noqa: F811
    run(gpus, "crash", world.files)


def test_a_seed_that_dies_midway_is_told(world, gpus):  # noqa: F811
    reader = start(gpus, "lost", 0, 0, world.files)
    assert reader.stdout.readline() == "ready\n", reader.communicate()[1]
    world.source.close()
    finish([reader])


def test_a_deadline_passes_while_the_source_hangs(world, gpus):  # noqa: F811
    world.source.faults.hang.set()
    run(gpus, "late", world.files)
    world.source.faults.hang.clear()
    run(gpus, "fill", world.files)


def test_a_reader_is_killed_while_the_source_hangs(world, gpus):  # noqa: F811
    world.source.faults.hang.set()
    reader = start(gpus, "fill", 1, 0, world.files)
    mounts.wait_until(lambda: in_ioctl(reader.pid), "the reader's call")
    reader.send_signal(signal.SIGKILL)
    reader.communicate(timeout=mounts.DEADLINE)
    world.source.faults.hang.clear()
    run(gpus, "fill", world.files)
