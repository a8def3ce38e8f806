# SPDX-License-Identifier: Apache-2.0
"""Processes that each serve the memory of their rank with the real library,
put together by a mount: one model, one version, any layout."""
import errno
import hashlib
import json
import os
import signal
import threading
import urllib.request

import pytest

import mounts
import truth

FAMILY = "llama_defaults"  # F16, which numpy knows
SAID = {"engine": "vllm", "engine_version": "0.32", "state": "loaded",
        "layout": "tp2"}

COLD = ("rescan=0.2", "prefetch=0", "passthrough=off", "chunk_cache=0")


@pytest.fixture
def dump(folder):
    """What vLLM has in memory of a small model, rank by rank."""
    made = truth.make(truth.read(FAMILY)["spec"], folder / "made")
    done = mounts.run("export", "--part-size=0", f"{made}@tp2",
                      folder / "dump")
    assert done.returncode == 0, done.stderr
    return folder / "dump"


@pytest.fixture
def worker(engine, dump):
    """worker(rank, …) -> an engine that has it, of this dump or of another"""
    def make(rank, of=None, seed=None, **said):
        return engine({rank: (of or dump) / file_of(rank)}, kind="numpy",
                      name="llama", serve={**SAID, **said}, seed=seed or {},
                      files={"config.json":
                             (dump / "config.json").read_text()})
    return make


@pytest.fixture
def workers(worker):
    """workers(…) -> an engine for each rank of the dump"""
    return lambda **how: [worker(rank, **how) for rank in (0, 1)]


def file_of(rank):
    return f"model-rank-{rank}-part-0.safetensors"


def args_of(*engines):
    return [arg for e in engines for arg in ("--seed", e.url)]


def models(mount):
    return sorted(set(os.listdir(mount.path)) - {".weightfs"})


def tensors_of(folder):
    return {p.name: truth.digest(p) for p in folder.iterdir()}


def header_and_data(dump, rank, key):
    """Of a rank's file; what was flipped is so in every byte."""
    raw = (dump / file_of(rank)).read_bytes()
    size = 8 + int.from_bytes(raw[:8], "little")
    return raw[:size], raw[size:].translate(
        bytes(i ^ key for i in range(256)))


def held(dump, rank, key=0):
    """The same of a rank's memory."""
    header, data = header_and_data(dump, rank, key)
    head = json.loads(header[8:])
    head.pop("__metadata__", None)
    return {name: hashlib.sha256(data[slice(*t["data_offsets"])]).hexdigest()
            for name, t in head.items()}


def flipped(dump, rank, key, to):
    """A dump of that rank whose bytes are all others."""
    to.mkdir()
    (to / file_of(rank)).write_bytes(
        b"".join(header_and_data(dump, rank, key)))
    return to


def test_two_processes_are_one_model_at_any_size(mount, workers, dump):
    m = mount("rescan=0.2", "part_size=0", args=args_of(*workers()))
    assert models(m) == ["llama"]
    for rank in (0, 1):
        assert tensors_of(m.path / "llama" / str(rank)) == held(dump, rank)
    (row,) = m.status()["models"]
    assert row["live"]["layout"] == "tp2" and row["trust"] == "seed"
    for file in truth.read(FAMILY)["truth"]["tp4"]["files"]:
        assert truth.digest(m.path / "llama@tp4" / file["name"]) == (
            file["sha256"])
    want = {name: hashlib.sha256(truth.tensor_bytes(
        t.get("as", name), t["dtype"], t["shape"])).hexdigest()
        for name, t in truth.read(FAMILY)["spec"]["tensors"].items()}
    assert tensors_of(m.path / "llama@hf" / "0") == want


def wait_for(mount, want):
    def ready():
        try:
            return all(tensors_of(mount.path / "llama" / rank) == tensors
                       for rank, tensors in want.items())
        except OSError as e:
            assert e.errno in (errno.ESTALE, errno.ENOENT, errno.EIO), e
    mounts.wait_until(ready, "the new version is there")


def test_an_update_of_all_ranks_is_one_new_version(mount, workers, dump):
    ranks = workers()
    m = mount("rescan=0.2", args=args_of(*ranks))
    name = "model.norm.weight"
    with open(m.path / "llama/0" / name, "rb") as old:
        for worker in ranks:
            worker("flip", 5)
            # Both ranks are those of one epoch, or of none.
            try:
                got = [tensors_of(m.path / "llama" / str(r)) for r in (0, 1)]
            except OSError as e:
                assert e.errno in (errno.ESTALE, errno.ENOENT), e
            else:
                assert got in ([held(dump, r) for r in (0, 1)],
                               [held(dump, r, 5) for r in (0, 1)])
        wait_for(m, {str(r): held(dump, r, 5) for r in (0, 1)})
        try:
            assert hashlib.sha256(old.read()).hexdigest() == (
                held(dump, 0)[name])
        except OSError as e:
            assert e.errno == errno.ESTALE


def test_no_tensor_is_torn_in_many_updates(mount, workers, dump):
    ranks, rounds = workers(), 20
    m = mount("rescan=0.2", args=args_of(*ranks))
    names = ["model.norm.weight", "lm_head.weight"]
    whole = [[held(dump, rank)] for rank in (0, 1)]
    torn, reads, over = [], [], threading.Event()

    def read():
        while not over.is_set():
            for rank in (0, 1):
                for name in names:
                    try:
                        got = truth.digest(m.path / "llama" / str(rank) / name)
                    except OSError as e:
                        assert e.errno in (errno.ESTALE, errno.ENOENT), e
                        continue
                    reads.append(got)
                    if not any(got == v[name] for v in list(whole[rank])):
                        torn.append((rank, name))
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        key = 0
        for i in range(1, rounds + 1):
            key ^= i
            for rank, worker in enumerate(ranks):
                whole[rank].append(held(dump, rank, key))
                worker("flip", i)
            if i % 5 == 0:
                wait_for(m, {str(r): whole[r][-1] for r in (0, 1)})
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert reads and not torn


# ---- digests

def ask(engine, path):
    with urllib.request.urlopen(engine.url + path,
                                timeout=mounts.DEADLINE) as answer:
        return answer.read()


def manifest_of(engine, wait=30):
    return json.loads(ask(engine, f"/v1/models/llama/manifest?wait={wait}"))


def assert_has_digests(engine):
    """Each file is one chunk, whose SHA-256 ends the list."""
    said = manifest_of(engine)
    assert said["live"]["digests"] is True
    for file in said["files"]:
        at = f"/v1/regions/{file['region']}"
        digests = ask(engine, f"{at}/digests?algorithm=sha256&wait=30")
        assert digests[-32:] == hashlib.sha256(ask(engine, at)).digest()
        assert file["xxh3"]
    return {file["path"]: file["xxh3"] for file in said["files"]}


def test_digests_of_an_epoch_are_had_when_asked_for(workers):
    one, other = workers(seed={"digests": True})
    was = assert_has_digests(one)
    one("begin", 5)  # while it is changed nobody has the digests of it
    assert manifest_of(one, wait=0)["live"]["epoch"] == 0
    one("end")
    now = assert_has_digests(one)
    assert was["config.json"] == now["config.json"]
    assert was[file_of(0)] != now[file_of(0)]
    assert file_of(1) in assert_has_digests(other)


def test_there_are_no_digests_unless_they_are_wanted(workers):
    said = manifest_of(workers()[0])
    assert said["live"]["digests"] is False
    assert not any(file["xxh3"] for file in said["files"])


def test_who_declares_a_version_of_other_bytes_is_told_of_once(mount, workers,
                                                               dump):
    first = workers(declared="v1", seed={"digests": True})
    second = workers(declared="v1", seed={"digests": True})
    second[1]("flip", 5, "v1")  # one rank, whose header stays the same
    m = mount(*COLD, args=args_of(*first, *second))
    saying = "declares version 'v1', but its"
    text = m.wait_event("seed", saying=saying)["text"]
    odd = [e for e in (first[1], second[1]) if e.url in text]
    assert len(odd) == 1 and "digest" in text and file_of(1) in text
    key = 5 if odd == [first[1]] else 0
    for _ in range(2):
        for rank in (0, 1):
            assert tensors_of(m.path / "llama" / str(rank)) == (
                held(dump, rank, key if rank else 0))
    assert len([e for e in m.events() if saying in e["text"]]) == 1
    assert mounts.xattr(m.path / "llama", "trust") == "seed"


def test_engines_without_versions_are_one_by_their_digests(mount, workers,
                                                           dump):
    both = [*workers(seed={"digests": True}), *workers(seed={"digests": True})]
    m = mount("rescan=0.2", args=args_of(*both))
    mounts.wait_until(lambda: models(m) == ["llama"], "they were compared")
    assert tensors_of(m.path / "llama/1") == held(dump, 1)


def test_who_was_not_compared_stands_in_for_one_that_is_gone(mount, workers,
                                                             dump):
    first = workers(declared="v1", seed={"digests": True})
    second = workers(declared="v1", seed={"digests": True})
    m = mount(*COLD, "seed_deadline=1", args=args_of(*first, *second))
    for worker in first:
        worker.kill()

    def is_whole():
        try:
            return [tensors_of(m.path / "llama" / str(r)) for r in (0, 1)]
        except OSError as e:
            # Until it is known to be gone nobody else is asked.
            assert e.errno in (errno.EIO, errno.EHOSTUNREACH, errno.ENOENT,
                               errno.ESTALE), e
    assert mounts.wait_until(is_whole, "the others are asked") == [
        held(dump, r) for r in (0, 1)]


def fails_with(file, at):
    with pytest.raises(OSError) as failed:
        os.pread(file.fileno(), 4096, at)
    return failed.value.errno


def test_memory_that_was_unregistered_is_stale(mount, workers, dump):
    ranks = workers()
    m = mount(*COLD, args=args_of(*ranks))
    path = m.path / "llama" / file_of(1)
    with open(path, "rb", buffering=0) as file:
        ranks[1]("close")
        assert fails_with(file, os.path.getsize(path) // 2) == errno.ESTALE
    mounts.wait_until(lambda: "rank 1 of 2 missing" in str(m.status()["seeds"]),
                      "which rank is missing is said")


def test_an_engine_that_is_killed_is_waited_for(mount, workers, dump):
    ranks = workers()
    m = mount(*COLD, "seed_deadline=1", args=args_of(*ranks))
    path = m.path / "llama" / file_of(1)
    with open(path, "rb", buffering=0) as file:
        ranks[1].kill()
        assert fails_with(file, os.path.getsize(path) // 2) in (
            errno.EIO, errno.EHOSTUNREACH)
    assert models(m) == ["llama"]
    assert tensors_of(m.path / "llama/0") == held(dump, 0)


def test_an_engine_that_is_frozen_goes_on_where_it_was(mount, workers, dump):
    ranks = workers()
    m = mount(*COLD, "seed_deadline=1", args=args_of(*ranks))
    with open(m.path / "llama" / file_of(1), "rb", buffering=0) as file:
        at = os.path.getsize(m.path / "llama" / file_of(1)) // 2
        mounts.freeze(ranks[1].process.pid)
        try:
            assert fails_with(file, at) in (errno.EIO, errno.EHOSTUNREACH)
        finally:
            ranks[1].process.send_signal(signal.SIGCONT)

        def reads():
            try:
                return os.pread(file.fileno(), 4096, at)
            except OSError as e:
                assert e.errno in (errno.EIO, errno.EHOSTUNREACH), e
        got = mounts.wait_until(reads, "it answers again")
    assert got == (dump / file_of(1)).read_bytes()[at:at + 4096]


def test_one_that_comes_back_with_other_weights_is_another(
        mount, worker, workers, dump, folder):
    ranks = workers()
    other = flipped(dump, 1, 5, folder / "other")
    m = mount(*COLD, "seed_deadline=1", args=args_of(*ranks))
    path = m.path / "llama" / file_of(1)
    with open(path, "rb", buffering=0) as file:
        ranks[1].kill()
        address = ranks[1].url.rpartition("/")[2]
        worker(1, of=other, seed={"listen": address})
        mounts.wait_until(lambda: fails_with(
            file, os.path.getsize(dump / file_of(1)) // 2) == errno.ESTALE,
            "what was of the old one is stale")
    wait_for(m, {"0": held(dump, 0), "1": held(dump, 1, 5)})


def test_memory_that_is_lost_without_a_word_is_an_error(mount, workers, dump):
    ranks = workers()
    m = mount(*COLD, "seed_deadline=1", args=args_of(*ranks))
    path = m.path / "llama" / file_of(1)
    with open(path, "rb", buffering=0) as file:
        ranks[1]("lose")
        assert fails_with(file, os.path.getsize(path) // 2) == errno.EIO
    assert tensors_of(m.path / "llama/0") == held(dump, 0)
    assert ranks[1]("close") == {"epoch": None}  # it went on


def test_declared_versions_stand_in_for_each_other(mount, workers, dump):
    first, second = workers(declared="v1"), workers(declared="v1")
    m = mount(*COLD, args=args_of(*first, *second))
    for worker in first:
        worker.kill()
    for rank in (0, 1):
        assert tensors_of(m.path / "llama" / str(rank)) == held(dump, rank)


def test_a_declared_version_is_over_when_its_weights_change(mount, workers,
                                                            dump):
    """Though nothing that is known of them has changed but that."""
    ranks, others = workers(declared="v1"), workers(declared="v1")
    ranks[1]("flip", 5)
    m = mount(*COLD, "seed_deadline=1", args=args_of(*others, *ranks))
    with open(m.path / "llama" / file_of(1), "rb", buffering=0) as file:
        others[1].kill()
        assert fails_with(file, os.path.getsize(dump / file_of(1)) // 2) in (
            errno.EIO, errno.EHOSTUNREACH)
    assert tensors_of(m.path / "llama/0") == held(dump, 0)


def test_an_update_declares_the_version_that_it_is(mount, workers, dump):
    first, second = workers(declared="v1"), workers(declared="v1")
    for worker in (*first, *second):
        worker("flip", 5, "v2")
    m = mount(*COLD, args=args_of(*first, *second))
    (row,) = m.status()["models"]
    assert row["live"]["declared"] == "v2"
    for worker in first:
        worker.kill()
    for rank in (0, 1):
        assert tensors_of(m.path / "llama" / str(rank)) == (
            held(dump, rank, 5))
