# SPDX-License-Identifier: Apache-2.0
"""Kinds of GPU memory and of readers: over the FAKE libcudart, and on the GPUs
of the machine by `make test-gpu`.
"""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mounts
from test_device_memory import (  # noqa: F401 (a fixture)
    DEADLINE, REAL, gpus, tensors)

HERE = Path(__file__).parent
NOBODY = 65534
FAKE_MIG = "MIG-46414b45-0000-0000-0000-000000000000"
ALLOCATORS = "backend:native", "expandable_segments:True", \
    "backend:cudaMallocAsync"
PYTHONS = sys.executable, "/usr/bin/python3"


def run(gpus, script, *args, python=sys.executable, user=None):
    done = subprocess.run(
        [python, HERE / script, *map(str, args)], text=True, user=user,
        env={**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", **gpus},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE,
        check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["vmm", "pool"])
def test_memory_of_a_descriptor_is_filled(gpus, mount, model, seed, kind):
    print("seed", seed)
    m = mount("gpu=on", m=model, env=gpus)
    run(gpus, "gpu_kinds.py", kind, seed, *tensors(m, model, 3))


def test_another_user_is_filled_for_and_lent_nothing(gpus, mount, model, seed):
    if os.geteuid() != 0:
        pytest.skip("only root has other users' readers")
    print("seed", seed)
    if not REAL:
        os.chmod(gpus["FAKE_CUDART"], 0o777)
    m = mount("gpu=on", "allow_other", m=model, env=gpus)
    run(gpus, "gpu_kinds.py", "user", seed, *tensors(m, model, 3),
        user=NOBODY)


def mig_of_this_machine():
    if not shutil.which("nvidia-smi"):
        pytest.skip("no nvidia-smi, which lists parts of GPUs (MIG)")
    said = subprocess.run(["nvidia-smi", "-L"], text=True, check=False,
                          stdout=subprocess.PIPE).stdout
    found = re.search(r"\(UUID: (MIG-[0-9a-f-]{36})\)", said)
    if not found:
        pytest.skip("no GPU here is cut in parts (MIG)")
    return found[1]


def test_a_part_of_a_gpu_is_filled_or_refused(gpus, mount, model):
    uuid = mig_of_this_machine() if REAL else FAKE_MIG
    m = mount("gpu=on", m=model, env=gpus)
    said = run({**gpus, "MIG_UUID": uuid, "CUDA_VISIBLE_DEVICES": uuid},
               "gpu_kinds.py", "mig", 0, *tensors(m, model, 1))
    assert said in (("filled\n", "refused\n") if REAL else ("refused\n",))


@pytest.mark.skipif(REAL or bool(mounts.SAN), reason=(
    "`make bench-gpu` is that" if REAL else
    "a Python without sanitizers cannot open a library that has them"))
def test_what_is_measured_on_gpus_works_over_the_fake_and_has_no_figures(
        folder, gpus):
    script = mounts.ROOT / "tests/bench/gpu.py"
    lines = run({**gpus, "BENCH_DIR": str(folder)}, script).splitlines()
    assert len(lines) == 10
    assert all(line.endswith(": the bytes are right (FAKE)") for line in lines)
    (line,) = run({**gpus, "FAKE_CUDART": "/none"}, script).splitlines()
    assert line.startswith("bench-gpu: nothing is measured: ")


@pytest.fixture(scope="module")
def torch_python():
    """A Python with a torch that sees a GPU."""
    if not REAL:
        pytest.skip("torch has no FAKE GPU: tests/client has stand-ins")
    for python in PYTHONS:
        done = subprocess.run(
            [python, "-c", "import torch; torch.zeros(1, device='cuda')"],
            check=False, capture_output=True)
        if not done.returncode:
            return python
    pytest.skip("no Python here has a torch that can use a GPU")


@pytest.mark.parametrize("allocator", ALLOCATORS)
def test_tensors_of_each_of_torchs_allocators_are_filled(
        mount, model, torch_python, allocator):
    args = [model.path]
    if os.path.exists("/dev/fuse"):
        m = mount("gpu=on", m=model)
        args = [m.path / "m", tensors(m, model, 1)[0]]
    said = json.loads(run(
        {"PYTORCH_CUDA_ALLOC_CONF": allocator,
         "PYTHONPATH": str(mounts.ROOT / "tools/python"),
         "WEIGHTFS_LIBRARY": str(mounts.BUILD / "libweightfs.so.0")},
        "torch_gpu.py", *args, python=torch_python))
    print(said)
    assert said["loaded"] and said["staged"] and said["into"]
    if len(args) == 1:
        pytest.skip("FILL alone: no mounts here, '/dev/fuse' does not exist")
    # What can be exported at all is filled from another process.
    assert said["filled"] or said["export"] != 0
    assert said["export"] == 0 or allocator != "backend:native"
