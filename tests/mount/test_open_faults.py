# SPDX-License-Identifier: Apache-2.0
"""What a source that fails or hangs for good costs those who read, and who
end the mount."""
import errno
import os
import signal
import subprocess
import sys

import pytest

import checkpoints as ck
from mounts import (DEADLINE, PATIENT, RawMap, assert_model_equals,
                    assert_same, is_mounted, wait_until)

MIB = 1 << 20


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
    first, second = model.shards()
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
    m = passthrough(mount(PATIENT, "prefetch=0", m=model,
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
    m.evict_all()


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
