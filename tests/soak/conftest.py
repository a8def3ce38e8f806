# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests with faults: folders and mounts are those of
tests/mount."""
import importlib.util
import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
for _part in ("remote", "seed", "mount", "soak"):
    sys.path.insert(0, str(TESTS / _part))
from net import NoNetwork  # noqa: E402
from world import World, paper  # noqa: E402

_spec = importlib.util.spec_from_file_location(
    "mount_conftest", TESTS / "mount" / "conftest.py")
_mount = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_mount)
folder, seed, mount, machine, root = (
    _mount.folder, _mount.seed, _mount.mount, _mount.machine, _mount.root)
pytest_runtest_makereport = _mount.pytest_runtest_makereport


@pytest.fixture
def number():
    """Of the script of faults; SEED repeats one."""
    n = int(os.environ.get("SEED") or 1)
    print(f"SEED={n}")
    return n


@pytest.fixture
def world(folder, mount, root, number):
    """Running, and warm; what it complains of at its end is a failure."""
    try:
        made = World(folder, mount, paper(folder, number), number)
    except NoNetwork as e:
        pytest.skip(str(e))
    wrong = []
    try:
        made.start()
        yield made
    finally:
        wrong = made.close()
        made.lab.close()
    assert not wrong, "\n".join(wrong)
