# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests on models that other nodes hold.

Mounts, folders and checkpoints are those of tests/mount; seeds are the fake
one of this folder, in a thread or as a process that can be stopped.
"""
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

MOUNT = Path(__file__).parents[1] / "mount"
sys.path.insert(0, str(Path(__file__).parent))
for _part in ("plan", "seed", "mount"):
    sys.path.insert(0, str(MOUNT.parent / _part))
import checkpoints as ck  # noqa: E402
import mounts  # noqa: E402
import seeds as real  # noqa: E402
from fake_seed import FakeSeed  # noqa: E402

_spec = importlib.util.spec_from_file_location("mount_conftest",
                                               MOUNT / "conftest.py")
_mount = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_mount)
folder, seed, mount, machine, plain = (
    _mount.folder, _mount.seed, _mount.mount, _mount.machine, _mount.plain)
pytest_runtest_makereport = _mount.pytest_runtest_makereport


@pytest.fixture
def model(folder, seed):
    """A checkpoint of three shard files, 24 chunks together."""
    return ck.hf_sharded(folder / "model", ck.layers(12, 2_000_002), seed)


@pytest.fixture
def seeds():
    """seeds(NAME=path, …) -> FakeSeed, closed at the end."""
    made = []

    def make(**models):
        made.append(FakeSeed(mounts.free_port(), **models))
        return made[-1]
    yield make
    for one in made:
        one.close()


class Process:
    """A seed that can be killed and stopped."""

    def __init__(self, models, port, live=None):
        args = [f"{name}={path}" for name, path in models.items()]
        if live:
            args.append(f"--live={json.dumps(live)}")
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).parent / "fake_seed.py",
             f"--port={port}", *args], stdout=subprocess.PIPE, text=True,
            preexec_fn=mounts.die_with_parent)
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self):
        mounts.freeze(self.process.pid)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def processes():
    """processes(NAME=path, …) -> Process; live=… as of offer_live"""
    made = []

    def make(port=0, live=None, **models):
        made.append(Process(models, port or mounts.free_port(), live))
        return made[-1]
    yield make
    for one in made:
        if one.process.poll() is None:
            one.kill()


@pytest.fixture
def seeder(folder):
    """seeder(*args, NAME=path) -> a running `weightfs seed`.

    It lends nothing unless told so: what is tried here is the network.
    """
    made = []

    def make(*args, address="127.0.0.1:0", lend=False, wrap=(), env=None,
             **models):
        if not lend:
            args += ("--same-host=off",)
        for name, where in models.items():
            args += ("--model", f"{name}={where}")
        made.append(real.Seed(folder, f"seed{len(made)}", args, address,
                              wrap, env=env))
        return made[-1].wait_ready()
    yield make
    wrong = [w for s in reversed(made) for w in s.close()]
    assert not wrong, "; ".join(wrong)
