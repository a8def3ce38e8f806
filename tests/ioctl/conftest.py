# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests on ioctls; mounts, folders and checkpoints are those of
tests/mount.
"""
import importlib.util
import sys
from pathlib import Path

import pytest

MOUNT = Path(__file__).parents[1] / "mount"
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(MOUNT))
import checkpoints as ck  # noqa: E402

_spec = importlib.util.spec_from_file_location("mount_conftest",
                                               MOUNT / "conftest.py")
_mount = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_mount)
folder, seed, mount, machine, plain, root = (
    _mount.folder, _mount.seed, _mount.mount, _mount.machine, _mount.plain,
    _mount.root)
pytest_runtest_makereport = _mount.pytest_runtest_makereport


@pytest.fixture
def model(folder, seed):
    """Tensors that are large, small, and of a few bytes."""
    specs = ck.layers(6, 5_000_002) + ck.layers(4, 4096, prefix="small")
    specs += [ck.Spec("odd", "U8", (12_345,)), ck.Spec("none", "F32", (0,)),
              ck.Spec("many.dims", "F32", (2,) * 10)]
    return ck.hf_sharded(folder / "model", specs, seed)
