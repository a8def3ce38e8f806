# SPDX-License-Identifier: Apache-2.0
"""Opens and reads over a source that is slow or hangs.

weightfs-faults is the program with a wrapper around every source; it takes
its orders from a file that can be changed at any time (`faults`).
"""
import os
import signal
import subprocess
import sys
import threading

import pytest
from safetensors import safe_open

import checkpoints as ck
from mounts import (DEADLINE, PATIENT, RawMap, assert_same, served, wait_until,
                    xattr)

MIB = 1 << 20


def test_stat_and_head_of_a_cold_model_hydrate_nothing(
        mount, folder, seed, faults):
    model = ck.hf_sharded(folder / "m", ck.layers(12, 4 * MIB), seed)
    faults.set("nodescriptor")
    m = mount(m=model, faults=faults.file)
    for name in model.shards():
        path = m.path / "m" / name
        path.stat()
        got = subprocess.run(["head", "-c", "16", path], check=True,
                             capture_output=True).stdout
        assert got == (model.path / name).read_bytes()[:16]
    subprocess.run(["ls", "-lR", m.path], check=True, capture_output=True)
    status = m.status()
    assert status["hydration"]["files"] == 0
    assert status["hydration"]["bytes"] == 0
    assert status["arena"]["used"] == 0


def test_more_than_8_mib_of_a_file_is_intent(mount, folder, seed, faults,
                                             passthrough):
    model = ck.hf_single(folder / "m", ck.layers(4, 8 * MIB), seed)
    faults.set("nodescriptor")
    m = passthrough(mount(m=model, faults=faults.file))
    path = m.path / "m" / "model.safetensors"
    want = (model.path / "model.safetensors").read_bytes()
    with open(path, "rb", buffering=0) as f:
        got = f.read(MIB)
        assert m.status()["hydration"]["files"] == 0
        while part := f.read(MIB):
            got += part
    assert_same(got, want, "first read")
    wait_until(lambda: xattr(path, "resident_bytes") == str(len(want)),
               "it is resident")
    count = m.status()["reads"]["count"]
    assert_same(path.read_bytes(), want, "second read")
    assert served(path) == "passthrough"
    assert m.status()["reads"]["count"] == count


def test_a_second_open_is_intent(mount, folder, seed, faults, passthrough):
    model = ck.hf_single(folder / "m", ck.layers(2, MIB), seed)
    faults.set("nodescriptor")
    m = passthrough(mount(PATIENT, m=model, faults=faults.file))
    path = m.path / "m" / "model.safetensors"
    path.read_bytes()
    assert_same(path.read_bytes(),
                (model.path / "model.safetensors").read_bytes(), "again")
    wait_until(lambda: served(path) == "passthrough", "it is resident")


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_safetensors_over_a_slow_source_ends_in_passthrough(
        mount, folder, seed, faults, passthrough, backend):
    """
    Maps, and opens again by name while the first map lives; the hydration
    ends between the two.
    """
    model = ck.hf_single(folder / "m", ck.layers(4, 4 * MIB, "F32"), seed)
    faults.set("nodescriptor", "delay_ms 5")
    m = passthrough(mount("open_wait=0", m=model, faults=faults.file))
    path = m.path / "m" / "model.safetensors"
    want = model.ranks["0"]
    path.open("rb").close()
    number = path.stat().st_ino
    with safe_open(path, "numpy", backend=backend) as first:
        assert m.status()["opens"]["passthrough"] == 0
        wait_until(lambda: served(path) == "passthrough", "it is resident")
        with safe_open(path, "numpy", backend=backend) as second:
            before = m.status()
            assert before["opens"]["passthrough"] >= 1, before["opens"]
            assert path.stat().st_ino == number
            for name, place in want.items():
                assert_same(second.get_tensor(name).tobytes(), place.read(),
                            name)
            assert m.status()["reads"]["count"] == before["reads"]["count"]
            # The first one still reads, the slow way, the same bytes.
            for name, place in want.items():
                assert_same(first.get_tensor(name).tobytes(), place.read(),
                            name)


def test_a_tensor_opened_again_while_mapped_is_passthrough(
        mount, folder, seed, faults, passthrough):
    model = ck.hf_single(folder / "m", [ck.of_bytes("w", 8 * MIB)], seed)
    faults.set("delay_ms 5")
    m = passthrough(mount("open_wait=0", m=model, faults=faults.file))
    path = m.path / "m" / "0" / "w"
    want = model.ranks["0"]["w"].read()
    with RawMap(path) as slow:
        assert m.status()["opens"]["cached"] == 1
        wait_until(lambda: served(path) == "passthrough", "it is resident")
        reads = m.status()["reads"]["count"]
        with RawMap(path) as fast:
            assert_same(fast.bytes(), want, "the second map")
            assert m.status()["opens"]["passthrough"] == 1
            assert m.status()["reads"]["count"] == reads
        assert_same(slow.bytes(), want, "the first map")
    # Nothing lives any more: the plain node, in passthrough.
    assert_same(path.read_bytes(), want, "afterwards")


def test_an_open_waits_only_when_that_is_short(mount, folder, seed, faults,
                                               passthrough):
    model = ck.hf_single(folder / "m", [ck.of_bytes("a", 4 * MIB),
                                        ck.of_bytes("b", 4 * MIB)], seed)
    m = passthrough(mount(PATIENT, "prefetch=0", m=model,
                          faults=faults.file))
    assert_same((m.path / "m" / "0" / "a").read_bytes(),
                model.ranks["0"]["a"].read(), "a")
    assert m.status()["opens"]["passthrough"] == 1
    patient = mount("open_wait=0.05", "prefetch=0", m=model,
                    faults=faults.file)
    faults.set("hang .safetensors")
    done = threading.Event()
    got = []

    def reader():
        with open(patient.path / "m" / "0" / "b", "rb", buffering=0) as f:
            done.set()
            got.append(f.read())

    thread = threading.Thread(target=reader)
    thread.start()
    assert done.wait(DEADLINE), "the open returned while the source hangs"
    assert patient.status()["opens"]["cached"] == 1
    faults.set()
    thread.join(DEADLINE)
    assert_same(got[0], model.ranks["0"]["b"].read(), "b")


def test_waiting_opens_cannot_exhaust_the_threads(mount, folder, seed,
                                                  faults, passthrough):
    model = ck.hf_sharded(folder / "m", ck.layers(64, 100_000), seed)
    other = ck.hf_single(folder / "o", ck.layers(2, 1000), seed)
    m = passthrough(mount(PATIENT, "prefetch=0", m=model, o=other,
                          faults=faults.file))
    faults.set("hang .safetensors")
    wrong = []

    def reader(name, place):
        if (m.path / "m" / "0" / name).read_bytes() != place.read():
            wrong.append(name)

    threads = [threading.Thread(target=reader, args=item)
               for item in model.ranks["0"].items()]
    for t in threads:
        t.start()
    wait_until(lambda: m.status()["opens"]["waited"] >= 64,
               "64 opens wait")
    assert any(t.is_alive() for t in threads)
    # Everything that needs no bytes answers.
    assert len(os.listdir(m.path / "m" / "0")) == 64
    subprocess.run(["ls", "-lR", m.path], check=True, capture_output=True,
                   timeout=DEADLINE)
    for name in model.ranks["0"]:
        assert (m.path / "m" / "0" / name).stat().st_size == 100_000
    m.stats()
    # So does what is resident or a file of its own.
    assert_same((m.path / "o" / "model.safetensors").read_bytes(),
                (other.path / "model.safetensors").read_bytes(), "a file")
    faults.set()
    for t in threads:
        t.join(DEADLINE)
        assert not t.is_alive()
    assert not wrong


def test_waiting_reads_cannot_exhaust_the_threads(mount, folder, seed,
                                                  faults):
    model = ck.hf_sharded(folder / "m", ck.layers(64, 100_000), seed)
    m = mount("passthrough=off", m=model, faults=faults.file)
    faults.set("hang .safetensors")
    wrong = []

    def reader(name, place):
        if (m.path / "m" / "0" / name).read_bytes() != place.read():
            wrong.append(name)

    threads = [threading.Thread(target=reader, args=item)
               for item in model.ranks["0"].items()]
    for t in threads:
        t.start()
    wait_until(lambda: m.status()["open_files"] >= 64, "64 are open")
    subprocess.run(["ls", "-lR", m.path], check=True, capture_output=True,
                   timeout=DEADLINE)
    for name in model.ranks["0"]:
        xattr(m.path / "m" / "0" / name, "served")
    m.stats()
    faults.set()
    for t in threads:
        t.join(DEADLINE)
        assert not t.is_alive()
    assert not wrong


OPENER = r"""
import os, signal, sys, threading
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
print("opening", flush=True)
fd = os.open(sys.argv[1], os.O_RDONLY)
print("open", flush=True)
sys.stdin.readline()
signal.setitimer(signal.ITIMER_REAL, 0)
print(sum(os.read(fd, 1 << 24)), flush=True)
"""


def test_an_interrupted_open_is_answered_at_once(mount, folder, seed, faults,
                                                 passthrough):
    model = ck.hf_single(folder / "m", [ck.of_bytes("w", MIB)], seed)
    m = passthrough(mount("open_wait=1000", m=model, faults=faults.file))
    faults.set("hang .safetensors")
    reader = subprocess.Popen(
        [sys.executable, "-c", OPENER, m.path / "m" / "0" / "w"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert reader.stdout.readline() == "opening\n"
        assert reader.stdout.readline() == "open\n"
        assert m.status()["opens"]["cached"] == 1
        faults.set()
        reader.stdin.write("\n")
        reader.stdin.flush()
        want = sum(model.ranks["0"]["w"].read())
        assert reader.stdout.readline() == f"{want}\n"
    finally:
        reader.stdin.close()
        reader.stdout.close()
        assert reader.wait(DEADLINE) == 0


def test_an_open_that_may_not_block_does_not_wait(mount, folder, seed, faults,
                                                  passthrough):
    model = ck.hf_single(folder / "m", [ck.of_bytes("w", MIB)], seed)
    m = passthrough(mount("open_wait=1000", m=model, faults=faults.file))
    faults.set("hang .safetensors")
    fd = os.open(m.path / "m" / "0" / "w", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert m.status()["opens"]["cached"] == 1
        faults.set()
        assert_same(os.read(fd, 2 * MIB), model.ranks["0"]["w"].read(), "w")
    finally:
        os.close(fd)
