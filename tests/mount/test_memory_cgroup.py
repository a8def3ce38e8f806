# SPDX-License-Identifier: Apache-2.0
"""A memory cgroup smaller than the model: slower, no error, no kill."""
import uuid
from pathlib import Path

import pytest

import checkpoints as ck
from mounts import SAN, RawMap, assert_same, die_with_parent, wait_until

MIB = 1 << 20
# What a sanitizer keeps of each byte is charged too.
LIMIT = (288 if SAN else 96) * MIB


class Cgroup:
    """A private child of our own cgroup, version 1 or 2."""

    def __init__(self, path, limit_file, events_file):
        self.path, self.limit_file = path, limit_file
        self.events_file = events_file

    def limit(self, size):
        (self.path / self.limit_file).write_text(str(size))

    def join(self):
        (self.path / "cgroup.procs").write_text("0")

    def kills(self):
        for line in (self.path / self.events_file).read_text().splitlines():
            key, value = line.split()
            if key == "oom_kill":
                return int(value)
        return 0

    def remove(self):
        def gone():
            try:
                self.path.rmdir()
                return True
            except OSError:
                return False
        wait_until(gone, f"'{self.path}' is removed")


def own_path(controller):
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path.lstrip("/")
    return None


def make_cgroup():
    name = f"weightfs-test-{uuid.uuid4().hex[:12]}"
    v1 = Path("/sys/fs/cgroup/memory")
    if (v1 / "memory.limit_in_bytes").exists():
        # Under the root, where no limit above is in the way; a container
        # shows its own there.
        (v1 / name).mkdir()
        return Cgroup(v1 / name, "memory.limit_in_bytes",
                      "memory.oom_control")
    v2 = Path("/sys/fs/cgroup")
    if (v2 / "cgroup.controllers").exists():
        top = v2 / (own_path("") or "")
        for at in (top, v2):
            try:
                (at / name).mkdir()
            except OSError:
                continue
            if (at / name / "memory.max").exists():
                return Cgroup(at / name, "memory.max", "memory.events")
            (at / name).rmdir()
        raise OSError("no cgroup here may have the memory controller")
    raise OSError("no memory cgroups here")


@pytest.fixture
def cgroup(root):
    if "thread" in SAN:
        pytest.skip("the shadow of what is copied is charged, and is larger "
                    "than what is copied")
    try:
        group = make_cgroup()
    except OSError as e:
        pytest.skip(f"cannot make a memory cgroup: {e}")
    group.limit(LIMIT)
    yield group
    group.remove()


@pytest.fixture
def caged(cgroup, mount):
    """mount() whose daemon lives in the cgroup; ends before it is removed."""
    def start(*options, **models):
        def enter():
            cgroup.join()
            die_with_parent()
        return mount(*options, preexec=enter, **models)
    yield start
    for m in mount:
        if m.process.poll() is None:
            m.terminate()


def test_a_model_larger_than_the_cgroup_is_served_whole(
        caged, cgroup, folder, seed):
    count = 72 if SAN else 24
    size = 8 * MIB
    model = ck.hf_sharded(folder / "m", ck.layers(count, size), seed, parts=4)
    assert model.tensor_bytes > LIMIT * 1.5
    m = caged("arena_size=1G", m=model)
    items = list(model.ranks["0"].items())
    maps = []
    for name, place in items:
        path = m.path / "m" / "0" / name
        at = RawMap(path)
        assert_same(at.bytes(), place.read(), name)
        maps.append(at)
    status = m.status()
    assert status["reads"]["errors"] == 0
    if status["passthrough"]["in_use"]:
        assert status["arena"]["used"] < LIMIT
        assert status["hydration"]["files"] > 0, "some of it fitted"
    for at, (name, place) in zip(maps, items):
        assert_same(at.bytes(), place.read(), name)
        at.close()
    for _, name, place in model.tensors():
        assert_same((m.path / "m" / "0" / name).read_bytes(), place.read(),
                    name)
    assert m.process.poll() is None, "the daemon lives"
    assert cgroup.kills() == 0
    assert m.terminate() == 0


def test_a_limit_lowered_later_is_obeyed(caged, cgroup, folder, seed):
    model = ck.hf_sharded(folder / "m", ck.layers(12, 8 * MIB), seed)
    cgroup.limit(4 * LIMIT)
    m = caged("arena_size=1G", "prefetch=0", m=model)
    items = list(model.ranks["0"].items())
    for name, place in items[:3]:
        assert_same((m.path / "m" / "0" / name).read_bytes(), place.read(),
                    name)
    cgroup.limit(LIMIT)
    for name, place in items[3:]:
        assert_same((m.path / "m" / "0" / name).read_bytes(), place.read(),
                    name)
    assert m.process.poll() is None
    assert cgroup.kills() == 0
