# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests on engines: processes that serve what they hold."""
import functools
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MOUNT = HERE.parent / "mount"
for _part in (HERE, HERE.parent / "plan", MOUNT):
    sys.path.insert(0, str(_part))
import mounts  # noqa: E402
from engines import Engine, Generator  # noqa: E402

_spec = importlib.util.spec_from_file_location("mount_conftest",
                                               MOUNT / "conftest.py")
_mount = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_mount)
folder, seed, mount = _mount.folder, _mount.seed, _mount.mount
pytest_runtest_makereport = _mount.pytest_runtest_makereport

LIBRARY = mounts.BUILD / "libweightfs.so"
TORCH_PYTHONS = sys.executable, "/usr/bin/python3"


@functools.lru_cache(maxsize=None)
def python_of(kind):
    """A Python that has what the engine computes with."""
    if kind == "torch" and "thread" in mounts.SAN:
        pytest.skip("with torch it shows no more, and takes a minute")
    for python in TORCH_PYTHONS:
        if subprocess.run([python, "-c", f"import {kind}"],
                          capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip(f"{kind} is not installed (Debian: python3-{kind})")
    return None


@pytest.fixture
def process(folder):
    """process(KIND, runs_on, **options) -> that kind of Engine, running"""
    if not LIBRARY.exists():
        pytest.skip(f"'{LIBRARY}' is not built")
    made = []

    def make(kind, runs_on, **options):
        made.append(kind(folder, [python_of(runs_on), runs_on],
                         mounts.python_environment(LIBRARY), options))
        return made[-1]
    yield make
    said = [one.close() for one in made]
    assert not any(said), said


@pytest.fixture
def engine(process):
    """engine(RANKS, kind="numpy", **options) -> a running Engine"""
    def make(ranks, kind="numpy", name="m", **options):
        serve = {"model": name, **options.pop("serve", {})}
        return process(Engine, kind, serve=serve, ranks={
            r: str(path) for r, path in ranks.items()}, **options)
    return make


@pytest.fixture
def generator(process):
    """generator(PATH, RANKS, **options) -> a running Generator"""
    return lambda path, ranks, **options: process(
        Generator, "torch", model=str(path),
        ranks=[str(path / str(rank)) for rank in range(ranks)], **options)
