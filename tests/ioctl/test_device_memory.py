# SPDX-License-Identifier: Apache-2.0
"""FILL and LEND of device memory on a real mount, over the FAKE libcudart:
readers are processes of their own, and so are those that fill.  `make test-gpu`
runs the same with the libcudart and the GPUs of the machine.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import mounts
from mounts import tensor_path

FAKE = mounts.BUILD / "fake_cudart"
READER = Path(__file__).parent / "gpu_reader.py"
DEADLINE = 120
REAL = bool(os.environ.get("REAL_GPU"))


@pytest.fixture
def gpus():
    """The environment in which there are GPUs."""
    if REAL:
        if not os.path.exists("/dev/nvidiactl"):
            pytest.skip("no GPU here: '/dev/nvidiactl' does not exist")
        if not os.path.exists("/dev/fuse"):
            pytest.skip("no mounts here: '/dev/fuse' does not exist")
        yield {}
        return
    where = Path(tempfile.mkdtemp(prefix="weightfs-gpus-", dir="/dev/shm"))
    yield {"LD_LIBRARY_PATH": str(FAKE), "FAKE_CUDART": str(where)}
    shutil.rmtree(where)


def tensors(m, model, most):
    rows = [(rank, name) for rank, name, place in model.tensors()
            if 4096 < place.size]
    return [str(tensor_path(m, "m", rank, name)) for rank, name in rows[:most]]


def start(gpus, how, count, seed, files, wrap=()):
    return subprocess.Popen(
        [*wrap, sys.executable, READER, how, str(count), str(seed), *files],
        env={**os.environ, **gpus}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)


def finish(readers):
    for reader in readers:
        out, err = reader.communicate(timeout=DEADLINE)
        assert reader.returncode == 0, out + err


def test_random_fills_of_four_readers_are_the_truth(gpus, mount, model, seed):
    print("seed", seed)
    m = mount("gpu=on", m=model, env=gpus)
    files = tensors(m, model, 4)
    finish([start(gpus, "fill", 250 if not mounts.SAN else 40, seed + i,
                  files) for i in range(4)])


def test_readers_are_lent_the_truth_and_give_it_back(gpus, mount, model):
    m = mount("gpu=on", m=model, env=gpus)
    files = tensors(m, model, 3)
    finish([start(gpus, "lend", 3, i, files) for i in range(3)])


def test_only_who_has_a_lease_is_given_its_descriptor(gpus, mount, model):
    m = mount("gpu=on", m=model, env=gpus)
    finish([start(gpus, "borrow", 0, 0, tensors(m, model, 1))])


def test_fills_that_go_on_by_themselves_ring(gpus, mount, model):
    m = mount("gpu=on", m=model, env=gpus)
    finish([start(gpus, "later", 5, 0, tensors(m, model, 1))])


def test_what_is_refused_says_why_and_where(gpus, mount, model):
    m = mount("gpu=on", m=model, env=gpus)
    finish([start(gpus, "errors", 0, 0, tensors(m, model, 1))])


def test_in_a_pid_namespace_handles_mean_nothing(gpus, mount, model, root):
    m = mount("gpu=on", m=model, env=gpus)
    finish([start(gpus, "apart", 0, 0, tensors(m, model, 1),
                  ["unshare", "--pid", "--fork", "--kill-child"])])


def test_readers_killed_in_the_middle_cost_nobody_else(gpus, mount, model):
    m = mount("gpu=on", m=model, env=gpus)
    files = tensors(m, model, 2)
    for i in range(4):
        reader = start(gpus, "hold", 0, i, files)
        assert reader.stdout.readline() == "ready\n"
        finish([start(gpus, "fill", 3, i, files)])
        reader.send_signal(signal.SIGKILL)
        reader.communicate()
    finish([start(gpus, "lend", 1, 0, files)])


def in_ioctl(pid):
    said = Path(f"/proc/{pid}/syscall").read_text()
    return said.split()[0] in ("16", "29")  # of x86-64, of aarch64


@pytest.mark.skipif(REAL, reason="a real event always comes")
def test_a_reader_that_waits_for_its_event_can_be_killed(mount, model, gpus):
    m = mount("gpu=on", m=model, env=gpus)
    files = tensors(m, model, 1)
    reader = start(gpus, "stuck", 0, 0, files)
    assert reader.stdout.readline() == "ready\n", reader.communicate()[1]
    mounts.wait_until(lambda: in_ioctl(reader.pid), "the reader's call")
    reader.kill()
    reader.communicate(timeout=DEADLINE)
    finish([start(gpus, "fill", 1, 0, files)])


@pytest.mark.skipif(REAL, reason="of machines without a GPU")
def test_a_mount_that_must_have_gpus_does_not_start_without(gpus, mount, model):
    m = mount("gpu=on", m=model, env={**gpus, "FAKE_CUDART": "/none"},
              ready=False)
    m.expect_rc = 1
    assert m.wait_end() == 1
    assert "option 'gpu' is on: no GPU on this node: " in m.log()
