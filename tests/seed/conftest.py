# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests on seeds: real processes, on ports of their own."""
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "mount"))
import checkpoints as ck  # noqa: E402
import mounts  # noqa: E402
import seeds  # noqa: E402

SEED = int(os.environ.get("WEIGHTFS_SEED", "20265"))


@pytest.fixture
def chance():
    """Seeds every random choice; set WEIGHTFS_SEED to repeat a run."""
    print(f"seed {SEED}")
    return SEED


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="weightfs-seed-"))
    yield path
    reports = mounts.sanitizer_reports(path)
    shutil.rmtree(path)
    assert not reports, "\n".join(reports)


@pytest.fixture
def plain(folder, chance):
    """A small Hugging Face checkpoint of three shard files."""
    return ck.hf_sharded(folder / "plain", ck.layers(12, 1_300_002), chance)


class Seeder(list):
    """seeder(m=checkpoint, …) -> Seed; a list of those started."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __call__(self, *args, ready=True, address="127.0.0.1:0", wrap=(),
                 **models):
        command = list(args)
        for name, where in models.items():
            where = where.path if isinstance(where, ck.Checkpoint) else where
            command += ["--model", f"{name}={where}"]
        seed = seeds.Seed(self.folder, f"seed{len(self)}", command, address,
                          wrap)
        self.append(seed)
        return seed.wait_ready() if ready else seed


@pytest.fixture
def seeder(folder):
    made = Seeder(folder)
    yield made
    wrong = [w for s in reversed(made) for w in s.close()]
    if wrong:
        print("\n".join(s.log()[-8000:] for s in made))
    assert not wrong, "; ".join(wrong)


@pytest.fixture
def seed(seeder, plain):
    """One that offers `plain` as m."""
    return seeder(m=plain)
