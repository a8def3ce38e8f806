# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests on plans and exports, which need no mount."""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "mount"))
import mounts  # noqa: E402
from small_llama import Llama  # noqa: E402

SEED = int(os.environ.get("WEIGHTFS_SEED", "20264"))


def pytest_report_header(config):
    return f"weightfs: {mounts.PROGRAM}, seed: {SEED}"


@pytest.fixture
def seed():
    """Of every random choice; set WEIGHTFS_SEED to repeat a run."""
    print(f"seed {SEED}")
    return SEED


@pytest.fixture
def folder(request):
    """Where a module's FOLDERS says, if it does."""
    path = Path(tempfile.mkdtemp(
        prefix="weightfs-plan-", dir=getattr(request.module, "FOLDERS", None)))
    yield path
    for point, *_ in reversed(mounts.mountinfo()):
        if point.startswith(f"{path}/"):
            subprocess.run(["umount", "-l", point], check=False)
    reports = mounts.sanitizer_reports(path)
    shutil.rmtree(path)
    assert not reports, "\n".join(reports)


@pytest.fixture
def weightfs(folder):
    """weightfs(word, …) -> the finished process, its texts printed."""
    def run(*args, **kw):
        done = mounts.run(*args, folder=folder, **kw)
        print("$ weightfs", *args, f"-> {done.returncode}\n", done.stdout,
              done.stderr, sep=" ")
        return done
    return run


@pytest.fixture
def llama(folder, seed):
    """A checkpoint of three layers in two files."""
    return Llama(folder / "llama", seed).write()


@pytest.fixture
def small_disk(folder):
    """small_disk(options) -> a tmpfs of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root")

    def make(options):
        point = folder / "disk"
        point.mkdir(exist_ok=True)
        again = ["-o", f"remount,{options}"]
        first = ["-t", "tmpfs", "-o", options, "none"]
        subprocess.run(["mount", *(again if mounts.is_mounted(point)
                                   else first), point], check=True)
        return point
    return make
