# SPDX-License-Identifier: Apache-2.0
"""Opens and reads over a source that is slow, hangs or fails.

weightfs-faults is the program with a wrapper around every source; it takes
its orders from a file that can be changed at any time.
"""
import errno
import os
import signal
import subprocess
import sys
import threading

import pytest
from safetensors import safe_open

import checkpoints as ck
from mounts import (DEADLINE, RawMap, assert_model_equals, assert_same,
                    is_mounted, served, wait_until, xattr)

MIB = 1 << 20


class Faults:
    """Orders for weightfs-faults; see tests/faults/fault_source.h."""

    def __init__(self, folder):
        self.file = folder / "faults"
        self.set()

    def set(self, *orders):
        fresh = self.file.with_suffix(".new")
        fresh.write_text("".join(f"{order}\n" for order in orders))
        os.replace(fresh, self.file)


@pytest.fixture
def faults(folder, mount):
    orders = Faults(folder)
    yield orders
    orders.set()  # before the mounts are taken down


def shards(model):
    return sorted(f for f in model.files() if f.endswith(".safetensors"))


def test_stat_and_head_of_a_cold_model_hydrate_nothing(
        mount, folder, seed, faults):
    model = ck.hf_sharded(folder / "m", ck.layers(12, 4 * MIB), seed)
    faults.set("nodescriptor")
    m = mount(m=model, faults=faults.file)
    for name in shards(model):
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
    m = passthrough(mount("open_wait=30", m=model, faults=faults.file))
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
    m = passthrough(mount("open_wait=30", "prefetch=0", m=model,
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
    m = passthrough(mount("open_wait=100", "prefetch=0", m=model, o=other,
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


def test_a_killed_reader_of_a_hung_source_goes_away(mount, folder, seed,
                                                    faults):
    model = ck.hf_single(folder / "m", [ck.of_bytes("w", MIB)], seed)
    m = mount("open_wait=1000", m=model, faults=faults.file)
    faults.set("hang .safetensors")
    path = m.path / "m" / "0" / "w"
    reader = subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL)
    wait_until(lambda: m.status()["opens"]["waited"]
               or m.status()["open_files"], "it opens")
    reader.kill()
    # In an open that waits it goes at once; in a read when it is answered.
    faults.set()
    assert reader.wait(DEADLINE) == -signal.SIGKILL
    wait_until(lambda: m.status()["open_files"] == 0, "nothing is open")
    assert_same(path.read_bytes(), model.ranks["0"]["w"].read(), "w")


def test_an_error_of_the_source_is_eio_for_that_read_alone(
        mount, folder, seed, faults, plain):
    model = ck.hf_sharded(folder / "m", ck.layers(6, MIB), seed, parts=2)
    m = mount("passthrough=off", m=model, p=plain, faults=faults.file)
    first, second = shards(model)
    bad = [n for n, p in model.ranks["0"].items() if p.file.name == first]
    good = [n for n, p in model.ranks["0"].items() if p.file.name == second]
    faults.set(f"eio {first}")
    for name in bad:
        with pytest.raises(OSError) as e:
            (m.path / "m" / "0" / name).read_bytes()
        assert e.value.errno == errno.EIO
    for name in good:
        assert_same((m.path / "m" / "0" / name).read_bytes(),
                    model.ranks["0"][name].read(), name)
    assert_model_equals(m, "p", plain)
    status = m.status()
    assert status["errors"]["source"] >= len(bad)
    assert status["reads"]["errors"] >= len(bad)
    said = [x for x in m.log().splitlines() if first in x]
    assert len(said) == 1, m.log()
    # Mended: nothing of the failure stays.
    faults.set()
    assert_model_equals(m, "m", model)


def test_an_error_while_hydrating_is_eio_and_can_be_tried_again(
        mount, folder, seed, faults, passthrough):
    model = ck.hf_single(folder / "m", ck.layers(4, MIB), seed)
    m = passthrough(mount("open_wait=30", "prefetch=0", m=model,
                          faults=faults.file))
    faults.set("eio model.safetensors")
    names = list(model.ranks["0"])
    for name in names:
        with pytest.raises(OSError) as e:
            (m.path / "m" / "0" / name).read_bytes()
        assert e.value.errno == errno.EIO
    status = m.status()
    assert status["hydration"]["failed"] > 0
    assert status["hydration"]["files"] == 0
    faults.set()
    assert_model_equals(m, "m", model)
    m.evict()
    wait_until(lambda: m.status()["arena"]["used"] == 0, "it is all free")


FAULTER = r"""
import sys
sys.path.insert(0, sys.argv[1])
import mounts
with mounts.RawMap(sys.argv[2]) as m:
    print("mapped", flush=True)
    sys.stdin.readline()
    print(sum(m.bytes()))
"""


def test_a_fault_that_fails_kills_the_reader_alone(mount, folder, seed,
                                                   faults):
    model = ck.hf_single(folder / "m", [ck.of_bytes("w", 4 * MIB)], seed)
    m = mount("passthrough=off", m=model, faults=faults.file)
    path = m.path / "m" / "0" / "w"
    reader = subprocess.Popen(
        [sys.executable, "-c", FAULTER, os.path.dirname(__file__), path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert reader.stdout.readline() == "mapped\n"
    faults.set("eio model.safetensors")
    reader.stdin.write("\n")
    reader.stdin.close()
    reader.stdout.close()
    assert reader.wait(DEADLINE) == -signal.SIGBUS
    faults.set()
    assert_same(path.read_bytes(), model.ranks["0"]["w"].read(), "w")


def test_sigterm_while_the_source_hangs_ends_it(mount, folder, seed, faults):
    model = ck.hf_single(folder / "m", ck.layers(8, MIB), seed)
    m = mount("open_wait=1000", m=model, faults=faults.file)
    faults.set("hang .safetensors")
    readers = [subprocess.Popen(["cat", m.path / "m" / "0" / name],
                                stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
               for name in model.ranks["0"]]
    wait_until(lambda: m.status()["opens"]["waited"] > 0
               or m.status()["open_files"] > 0, "they wait")
    signal.pidfd_send_signal(m.pidfd, signal.SIGTERM)
    # However it ends the readers must not be left in the kernel.
    wait_until(lambda: not is_mounted(m.path), "it is unmounted")
    faults.set()
    for r in readers:
        r.wait(DEADLINE)
    assert m.wait_end() == 0


READ_ON = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
print("reads", flush=True)
while os.pread(fd, 4096, 0):
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
"""


def test_sigterm_while_reads_are_answered_ends_it(mount, folder, seed):
    model = ck.hf_single(folder / "m", ck.layers(8, MIB), seed)
    for _ in range(3):
        m = mount("passthrough=off", m=model)
        readers = [subprocess.Popen(
            [sys.executable, "-c", READ_ON, m.path / "m" / "0" / name],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            for name in list(model.ranks["0"])[:8]]
        for r in readers:
            assert r.stdout.readline() == b"reads\n"
        signal.pidfd_send_signal(m.pidfd, signal.SIGTERM)
        assert m.wait_end() == 0
        assert not is_mounted(m.path)
        for r in readers:
            r.stdout.close()
            assert r.wait(DEADLINE) != 0  # ENOTCONN


def test_a_load_over_a_slow_source_gets_the_right_bytes(mount, folder, seed,
                                                        faults):
    model = ck.hf_sharded(folder / "m", ck.layers(16, MIB), seed)
    faults.set("nodescriptor", "delay_ms 2")
    for option in ("open_wait=0", "open_wait=0.01", "open_wait=30"):
        m = mount(option, m=model, faults=faults.file)
        assert_model_equals(m, "m", model)
        assert_model_equals(m, "m", model)
        assert m.terminate() == 0
