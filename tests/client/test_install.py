# SPDX-License-Identifier: Apache-2.0
"""The package installed as its users do, in an environment of its own."""
import json
import os
import shutil
import subprocess
import sys

import mounts
import pytest

LIBRARY = mounts.BUILD / "libweightfs.so.0"
SOURCE = mounts.ROOT / "tools/python"
LOOK = """
import importlib.metadata as metadata, json, os, sys
import weightfs
from weightfs._set import Set
groups = "vllm.general_plugins", "sglang.srt.plugins"
with Set(sys.argv[1]) as found:
    names = [info.name for info in found.infos]
print(json.dumps({
    "files": sorted(os.listdir(os.path.dirname(weightfs.__file__))),
    "prefix": weightfs.__file__.startswith(sys.prefix),
    "plugins": [[point.load().__module__ for point in
                 metadata.entry_points(group=group)] for group in groups],
    "names": names}))
"""


def ran(*command, **named):
    done = subprocess.run([str(part) for part in command], text=True,
                          capture_output=True, check=False,
                          timeout=mounts.DEADLINE, **named)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def no_litter(folder, names):
    """Of a clean checkout there is none."""
    return [n for n in names if n == "build" or n == "__pycache__"
            or n.endswith(".egg-info")]


@pytest.mark.skipif(bool(mounts.SAN), reason="nothing of it has sanitizers")
def test_the_package_is_there_once_it_is_installed(folder):
    source = shutil.copytree(SOURCE, folder / "python", ignore=no_litter)
    files = sorted(p.name for p in (source / "weightfs").iterdir())
    pip = sys.executable, "-m", "pip", "--disable-pip-version-check"
    # Offline: with the setuptools that is here.
    ran(*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation",
        "--wheel-dir", folder / "made", source)
    ran(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv/bin/python"
    ran(*pip, "--python", python, "install", "--no-index", "--no-compile",
        *folder.glob("made/*.whl"))
    held = folder / "held.safetensors"
    head = json.dumps({"x": {"dtype": "U8", "shape": [2],
                             "data_offsets": [0, 2]}}).encode()
    held.write_bytes(len(head).to_bytes(8, "little") + head + b"ab")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    said = json.loads(ran(
        python, "-c", LOOK, held, cwd=folder,
        env={**env, "WEIGHTFS_LIBRARY": str(LIBRARY),
             "PYTHONDONTWRITEBYTECODE": "1"}))
    assert said == {"files": files, "prefix": True, "names": ["x"],
                    "plugins": [["weightfs.vllm"], ["weightfs.sglang"]]}
