# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests on engines: processes that serve what they hold."""
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MOUNT = HERE.parent / "mount"
for _part in (HERE, HERE.parent / "plan", MOUNT):
    sys.path.insert(0, str(_part))
import mounts  # noqa: E402

_spec = importlib.util.spec_from_file_location("mount_conftest",
                                               MOUNT / "conftest.py")
_mount = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_mount)
folder, seed, mount = _mount.folder, _mount.seed, _mount.mount
pytest_runtest_makereport = _mount.pytest_runtest_makereport

# A Python without sanitizers cannot open a library that has them.
LIBRARY = (mounts.ROOT / "build/release" if mounts.SAN else
           mounts.BUILD) / "libweightfs.so"
TORCH_PYTHONS = sys.executable, "/usr/bin/python3"


def python_of(kind):
    """A Python that has what the engine computes with."""
    for python in TORCH_PYTHONS:
        if subprocess.run([python, "-c", f"import {kind}"],
                          capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip(f"{kind} is not installed (Debian: python3-{kind})")
    return None


class Engine:
    def __init__(self, folder, kind, options):
        self.log_path = folder / "engine.log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [python_of(kind), HERE / "engine.py", kind,
                 json.dumps(options)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True, preexec_fn=mounts.die_with_parent,
                env={**os.environ, "WEIGHTFS_LIBRARY": str(LIBRARY),
                     "PYTHONPATH": str(mounts.ROOT / "tools/python")})
        said = self.answer()
        self.url, self.regions = said["url"], said["regions"]

    def answer(self):
        line = self.process.stdout.readline()
        assert line, self.log_path.read_text()
        return json.loads(line)

    def __call__(self, *order):
        self.process.stdin.write(" ".join(map(str, order)) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        """What it said beyond its answers."""
        self.process.stdin.close()
        try:
            self.process.wait(mounts.DEADLINE)
        finally:
            self.process.kill()
            self.process.stdout.close()
        return self.log_path.read_text()


@pytest.fixture
def engine(folder):
    """engine(RANKS, kind="numpy", **options) -> a running Engine"""
    if not LIBRARY.exists():
        pytest.skip(f"'{LIBRARY}' is not built")
    made = []

    def make(ranks, kind="numpy", name="m", **options):
        serve = {"model": name, **options.pop("serve", {})}
        made.append(Engine(folder, kind, {
            "ranks": {r: str(path) for r, path in ranks.items()},
            "serve": serve, **options}))
        return made[-1]
    yield make
    said = [one.close() for one in made]
    assert not any(said), said
