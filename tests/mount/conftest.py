# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests on real mounts.

Each test has a private folder (readable for other users, on a disk rather
than a tmpfs) and whatever it mounts is unmounted at its end, also when it
fails or is interrupted.
"""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import checkpoints as ck  # noqa: E402
import mounts  # noqa: E402

SEED = int(os.environ.get("WEIGHTFS_SEED", "20261"))


def pytest_configure(config):
    # A CI that gives up sends SIGTERM: leave through the fixtures.
    def leave(signum, frame):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, leave)


def pytest_report_header(config):
    return (f"weightfs: {mounts.PROGRAM}, build: {mounts.BUILD}, "
            f"seed: {SEED}, sanitizers: {mounts.SAN or 'none'}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.when == "call":
        for mount in item.funcargs.get("mount", []) or []:
            report.sections.append((f"log of {mount.path}",
                                    mount.log()[-8000:]))


@pytest.fixture
def seed():
    """Of every random choice; set WEIGHTFS_SEED to repeat a run."""
    print(f"seed {SEED}")
    return SEED


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="weightfs-mount-"))
    path.chmod(0o755)
    yield path
    left = [row[0] for row in mounts.mountinfo()
            if row[0].startswith(f"{path}/")]
    for point in reversed(left):
        subprocess.run(["umount", "-l", point], check=False)
    reports = mounts.sanitizer_reports(path)
    shutil.rmtree(path, ignore_errors=False)
    assert not left, f"still mounted at the end: {left}"
    assert not reports, "\n".join(reports)


FIRST = 5  # seconds: so long a mount waits for its seeds, see tools/seeds.c


def wait_for_seeds(mount, began):
    """A machine that was too slow for that has a mount without what its seeds
    offer, which comes behind: what is listed at once is there, though not
    what cannot be loaded."""
    def is_there():
        status = mount.status()
        rows = [row for row in status["seeds"] if row["place"] == "seed"]
        return (all(row["state"] != "waiting" for row in rows) and
                len(status["models"]) >= max(
                    (row.get("models", 0) for row in rows), default=0))
    if time.monotonic() - began >= FIRST:
        with contextlib.suppress(AssertionError, OSError):
            mounts.wait_until(is_there, "seeds", seconds=10 * FIRST)


class Mounter(list):
    """mount(m=checkpoint, …) -> Mount; a list of those made."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __call__(self, *options, models=None, point=None, faults=None,
                 ready=True, patient=True, args=(), wrap=(), env=None,
                 preexec=None, **checkpoints):
        """
        options: -o words.  models: a --models directory.  checkpoints:
        NAME=Checkpoint or path.  faults: the file of orders for
        weightfs-faults, which takes the program's place.  patient: no
        seed of it is known to be silent.
        """
        began = time.monotonic()
        command = ["mount", "-f"]
        program = mounts.PROGRAM
        if faults is not None:
            if not mounts.FAULTS.exists():
                pytest.skip(f"'{mounts.FAULTS}' is not built")
            program = mounts.FAULTS
            env = {**(env or {}), "WFS_FAULTS": str(faults)}
        for option in options:
            command += ["-o", option]
        if models:
            command += ["--models", str(models)]
        for name, where in checkpoints.items():
            where = where.path if isinstance(where, ck.Checkpoint) else where
            command += ["--model", f"{name}={where}"]
        name = f"mnt{len(self)}"
        command += [*args, str(point or self.folder / name)]
        mount = mounts.Mount(self.folder, name, command, program=program,
                             wrap=wrap, env=env, preexec=preexec, point=point)
        self.append(mount)
        if ready:
            mount.wait_ready()
        if ready and patient:
            wait_for_seeds(mount, began)
        return mount


@pytest.fixture
def mount(folder):
    made = Mounter(folder)
    yield made
    wrong = [w for m in reversed(made) for w in m.close()]
    if wrong:
        print("\n".join(m.log()[-8000:] for m in made))
    assert not wrong, "; ".join(wrong)


@pytest.fixture
def plain(folder, seed):
    """A small Hugging Face checkpoint of three shard files."""
    return ck.hf_sharded(folder / "plain", ck.layers(12, 300_002), seed)


@pytest.fixture
def passthrough(mount):
    """Skips the test where this machine has no passthrough."""
    def need(a_mount):
        state = a_mount.status()["passthrough"]
        if not state["in_use"]:
            pytest.skip(f"no passthrough here: {state['why']}")
        return a_mount
    return need


def need_root():
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def root():
    need_root()


@pytest.fixture(autouse=True)
def machine():
    if not os.path.exists("/dev/fuse"):
        pytest.skip("needs /dev/fuse")


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
