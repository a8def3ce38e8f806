# SPDX-License-Identifier: Apache-2.0
"""The arena: full, pinned, evicted, and its memory given back."""
import random
import subprocess
import sys
import threading
from pathlib import Path

import checkpoints as ck
from mounts import (DEADLINE, PATIENT, SCALE, RawMap, assert_same, served,
                    wait_until, xattr)

MIB = 1 << 20


def arena_used(m):
    return m.status()["arena"]["used"]


def test_memory_comes_back_after_the_last_unmap(mount, folder, seed,
                                                passthrough):
    model = ck.hf_single(folder / "m", ck.layers(6, 5_000_000), seed)
    m = passthrough(mount(PATIENT, "prefetch=0", m=model))
    assert arena_used(m) == 0
    items = list(model.ranks["0"].items())
    maps = [RawMap(m.path / "m" / "0" / name) for name, _ in items]
    assert arena_used(m) >= model.tensor_bytes
    m.evict()
    for at, (name, place) in zip(maps, items):
        assert_same(at.bytes(), place.read(), name)
    assert arena_used(m) >= model.tensor_bytes, "mapped, so still there"
    for at in maps:
        at.close()
    m.evict_all()
    status = m.status()
    assert status["arena"]["resident_files"] == 0
    assert status["arena"]["resident_bytes"] == 0
    assert status["reads"]["count"] == 0


def test_a_map_outlives_close_eviction_and_a_full_arena(mount, folder, seed,
                                                        passthrough):
    size = 4 * MIB
    model = ck.hf_single(folder / "m", ck.layers(24, size), seed)
    m = passthrough(mount(PATIENT, "prefetch=0",
                          f"arena_size={8 * size}", m=model))
    items = list(model.ranks["0"].items())
    kept = [RawMap(m.path / "m" / "0" / name) for name, _ in items[:2]]
    m.evict()
    for name, place in items[2:]:
        assert_same((m.path / "m" / "0" / name).read_bytes(), place.read(),
                    name)
    assert m.status()["hydration"]["evicted_files"] > 0
    for at, (name, place) in zip(kept, items):
        assert_same(at.bytes(), place.read(), name)
        at.close()
    m.evict_all()


def test_a_pinned_arena_serves_slower_and_never_fails(mount, folder, seed,
                                                      passthrough):
    size = 4 * MIB
    model = ck.hf_single(folder / "m", ck.layers(12, size), seed)
    m = passthrough(mount(PATIENT, "prefetch=0",
                          f"arena_size={4 * size}", m=model))
    items = list(model.ranks["0"].items())
    maps = [RawMap(m.path / "m" / "0" / name) for name, _ in items]
    for at, (name, place) in zip(maps, items):
        assert_same(at.bytes(), place.read(), name)
    status = m.status()
    assert status["arena"]["used"] <= status["arena"]["bytes"]
    assert status["opens"]["cached"] > 0
    assert status["hydration"]["no_room"] > 0
    assert status["reads"]["errors"] == 0
    for at in maps:
        at.close()
    m.evict_all()


def test_files_of_the_checkpoint_need_no_arena(mount, folder, seed,
                                               passthrough):
    model = ck.hf_sharded(folder / "m", ck.layers(4, 3 * MIB), seed)
    m = passthrough(mount("arena_size=1M", m=model))
    for name in model.files():
        assert_same((m.path / "m" / name).read_bytes(),
                    (model.path / name).read_bytes(), name)
    status = m.status()
    assert status["arena"]["used"] == 0
    assert status["reads"]["count"] == 0
    assert status["opens"]["cached"] <= 1, "the empty file"


def test_a_tensor_larger_than_the_arena_is_served(mount, folder, seed):
    model = ck.hf_single(folder / "m", [ck.of_bytes("w", 9 * MIB)], seed)
    m = mount("arena_size=4M", m=model)
    for _ in range(2):
        assert_same((m.path / "m" / "0" / "w").read_bytes(),
                    model.ranks["0"]["w"].read(), "w")
    assert served(m.path / "m" / "0" / "w") == "cached"
    assert m.status()["arena"]["used"] == 0


def test_readers_under_eviction_with_a_tiny_arena(mount, folder, seed):
    size = 2 * MIB // SCALE
    model = ck.hf_sharded(folder / "m", ck.layers(64, size), seed, parts=4)
    m = mount(f"arena_size={3 * size}", m=model)
    items = list(model.ranks["0"].items())
    wrong = []

    def reader(number):
        order = random.Random(seed + number).sample(items, len(items))
        for name, place in order:
            path = m.path / "m" / "0" / name
            if number % 2:
                with RawMap(path) as at:
                    got = at.bytes()
            else:
                got = path.read_bytes()
            if got != place.read():
                wrong.append(name)

    threads = [threading.Thread(target=reader, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    status = m.status()
    assert status["reads"]["errors"] == 0
    assert status["arena"]["used"] <= status["arena"]["bytes"]
    if status["passthrough"]["in_use"]:
        m.evict_all()


def test_small_tensors_take_no_more_than_their_bytes(mount, folder, seed,
                                                     passthrough):
    count = 10_000 // SCALE
    model = ck.hf_single(folder / "m", [
        ck.Spec(f"t.{i:05}", "U8", (4096,)) for i in range(count)], seed)
    m = passthrough(mount(PATIENT, m=model))
    rank = m.path / "m" / "0"
    for i in range(count):
        with open(rank / f"t.{i:05}", "rb", buffering=0) as f:
            f.read(1)
    wait_until(lambda: m.status()["arena"]["resident_files"] == count,
               "all are resident")
    assert arena_used(m) <= 1.05 * count * 4096


def test_evict_drops_one_model_or_file_when_asked(mount, folder, seed,
                                                  passthrough):
    model = ck.hf_single(folder / "m", ck.layers(4, MIB), seed)
    m = passthrough(mount(PATIENT, "prefetch=0", m=model))
    for name in model.ranks["0"]:
        (m.path / "m" / "0" / name).read_bytes()
    wait_until(lambda: m.status()["arena"]["resident_files"] == 4,
               "all are resident")
    m.evict_all()
    assert m.status()["arena"]["resident_files"] == 0
    name, place = next(iter(model.ranks["0"].items()))
    path = m.path / "m" / "0" / name
    assert xattr(path, "resident_bytes") == "0"
    assert_same(path.read_bytes(), place.read(), "after the eviction")


# One reader of the test below, a process of its own: maps all its files and
# closes them, says so, waits for a line, compares each byte, says what it
# saw, waits for another line, unmaps.
READER = r"""
import ctypes, sys
sys.path.insert(0, sys.argv[1])
from mounts import RawMap, libc, served
libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
rows = [line.rstrip("\n").split("\t") for line in open(sys.argv[2])]
maps = [(RawMap(file), file, source, int(off))
        for file, source, off in rows]
print(sum(served(file) == "passthrough" for _, file, _, _ in maps),
      flush=True)
sys.stdin.readline()
bad = 0
for at, file, source, off in maps:
    with RawMap(source) as whole:
        bad += libc.memcmp(at.address, whole.address + off, at.size) != 0
print(bad, flush=True)
sys.stdin.readline()
for at, *_ in maps:
    at.close()
print("unmapped", flush=True)
sys.stdin.readline()
"""


class Reader:
    def __init__(self, folder, number, rows):
        table = folder / f"reader{number}"
        table.write_text("".join(f"{a}\t{b}\t{c}\n" for a, b, c in rows))
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER, str(Path(__file__).parent), table],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def answer(self):
        return self.process.stdout.readline().strip()

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()


def test_the_whole_of_it_at_once(mount, folder, seed, passthrough):
    """
    Arena an eighth of the model; 16 readers map their share of the files,
    close them, wait until others have forced evictions, then compare.
    """
    count, size = 128, 2 * MIB // SCALE
    model = ck.hf_sharded(folder / "m", ck.layers(count, size), seed, parts=4)
    m = passthrough(mount(PATIENT, f"arena_size={count * size // 8}",
                          m=model))
    items = list(model.ranks["0"].items())
    rng = random.Random(seed)
    readers = []
    try:
        for number in range(16):
            chosen = rng.sample(items, count // 16)
            readers.append(Reader(folder, number, [
                (m.path / "m" / "0" / name, place.file, place.offset)
                for name, place in chosen]))
            if number % 4 == 3:
                # Others force evictions meanwhile.
                for name, place in rng.sample(items, count // 4):
                    assert_same((m.path / "m" / "0" / name).read_bytes(),
                                place.read(), name)
        mapped = [int(r.answer()) for r in readers]
        assert sum(mapped) > 0
        for name, place in items:
            assert_same((m.path / "m" / "0" / name).read_bytes(),
                        place.read(), name)
        status = m.status()
        assert status["hydration"]["evicted_files"] > 0, status
        assert status["arena"]["used"] <= status["arena"]["bytes"]
        for r in readers:
            r.go_on()
        assert [r.answer() for r in readers] == ["0"] * 16
        for r in readers:
            r.go_on()
        assert [r.answer() for r in readers] == ["unmapped"] * 16
        assert m.status()["reads"]["errors"] == 0
        # The readers still live, with nothing mapped.
        m.evict_all()
        for r in readers:
            r.go_on()
    finally:
        for r in readers:
            r.process.stdin.close()
            r.process.stdout.close()
            r.process.kill()
            r.process.wait(DEADLINE)


def test_no_read_is_answered_for_a_file_that_says_passthrough(
        mount, folder, seed, passthrough):
    size = 2 * MIB // SCALE
    model = ck.hf_sharded(folder / "m", ck.layers(32, size), seed)
    m = passthrough(mount(PATIENT, f"arena_size={8 * size}",
                          "prefetch=0", m=model))
    maps = []
    for name, place in model.ranks["0"].items():
        path = m.path / "m" / "0" / name
        before = m.status()["reads"]["count"]
        at = RawMap(path)
        mode = served(path)
        assert_same(at.bytes(), place.read(), name)
        answered = m.status()["reads"]["count"] - before
        assert (answered == 0) == (mode == "passthrough"), (name, mode)
        maps.append(at)
    assert len(maps) == 32
    assert m.status()["opens"]["passthrough"] >= 4
    for at in maps:
        at.close()
    m.evict_all()
