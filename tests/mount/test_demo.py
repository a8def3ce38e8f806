# SPDX-License-Identifier: Apache-2.0
"""`make demo`: what it says is so, and Ctrl-C leaves nothing mounted."""
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import checkpoints as ck
import mounts

DEMO = mounts.ROOT / "tools/scripts/demo"


def start(folder, *model):
    """The demo as a shell starts it: in front, in a group of its own."""
    return subprocess.Popen(
        [DEMO, *model], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "WEIGHTFS": str(mounts.PROGRAM),
             "DEMO_DIR": str(folder / "demo"), "DEMO_MEGABYTES": "40"})


def processes_of(folder):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:  # it ended
            continue
        if str(folder) in words:
            found.append(words.replace("\0", " "))
    return found


def nothing_is_left(folder, pid):
    """Nothing mounted now, and soon no process or namespace either."""
    left = [row[0] for row in mounts.mountinfo()
            if row[0].startswith(f"{folder}/")]
    assert not left, left
    deadline = time.monotonic() + mounts.DEADLINE
    while processes_of(folder):
        assert time.monotonic() < deadline, processes_of(folder)
        time.sleep(0.05)
    nets = Path("/run/netns")
    assert not nets.exists() or not [
        n for n in os.listdir(nets) if n.startswith(f"wfs-demo-{pid}-")]


def test_the_demo_compares_loads_and_leaves_nothing(folder, root):
    demo = start(folder)
    said, _ = demo.communicate(timeout=mounts.DEADLINE * 4)
    assert demo.returncode == 0, said
    assert "all equal" in said
    assert "user.weightfs.shape=" in said
    assert "loaded by Python's safetensors" in said
    if "not shown: it takes root" not in said:
        assert "kill -9" in said and "the load never noticed" in said
        assert said.count("all equal") == 2
    nothing_is_left(folder, demo.pid)


def test_the_demo_shows_a_model_that_one_has(folder, root, seed):
    model = folder / "a model"
    ck.hf_sharded(model, ck.layers(2, 30_002), seed)
    demo = start(folder, model)
    said, _ = demo.communicate(timeout=mounts.DEADLINE * 4)
    assert demo.returncode == 0, said
    assert f"--model a model={model}" in said
    assert "all equal" in said
    nothing_is_left(folder, demo.pid)


@pytest.mark.parametrize("moment", [
    "making a checkpoint", "$ weightfs mount", "Each rank is", "The same",
    "Loaded by", "At the same", "Second act", "--listen 10.77.2.2",
    "Loaded over"])
def test_interrupted_the_demo_leaves_nothing(folder, root, moment):
    demo = start(folder)
    said = ""
    for line in demo.stdout:
        said += line
        if moment in line:
            os.killpg(demo.pid, signal.SIGINT)
            break
    said += demo.stdout.read()
    assert demo.wait(timeout=mounts.DEADLINE) == 130, said
    assert moment in said
    nothing_is_left(folder, demo.pid)
