# SPDX-License-Identifier: Apache-2.0
"""The client beside safetensors, through one mount.

Both load the same rank and copy every tensor to where it is to lie, in turns;
a copy from memory to memory in the same process is what could be had at best.
"""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import mount
import safetensors
from table import GB

PYTHONS = sys.executable, "/usr/bin/python3"
WAYS = ("safetensors", "weightfs", "into", "memory")


def environment(tools, lent):
    """With which a Python that has torch has the rest, too."""
    os.symlink(Path(safetensors.__file__).parent, lent + "/safetensors")
    return {**os.environ, "PYTHONPATH": "tools/python:" + lent,
            "WEIGHTFS_LIBRARY": os.path.abspath(
                tools.BUILD + "/libweightfs.so.0")}


def torch_python(env):
    for python in PYTHONS:
        if not subprocess.run(
                [python, "-c", "import safetensors.torch"], env=env,
                check=False, stderr=subprocess.DEVNULL).returncode:
            return python
    return None


def measure_rank(table, tools, loader, size, names):
    """names: {way: (path, line of the table or None)}"""
    took = []
    for i in range(tools.LOAD_ROUNDS + 1):
        row = {}
        for way in WAYS[::1 - i % 2 * 2]:
            loader.start("%s %s" % (way, names[way][0]))
            row[way] = float(loader.answer())
        took.append([row[way] for way in WAYS])
    theirs, _, _, memory = medians = tools.medians(took[1:])
    for way, seconds in zip(WAYS, medians):
        if names[way][1]:
            table.add(names[way][1], size / seconds / GB, "GB/s", (">=", 1.0),
                      size / theirs / GB, "safetensors", size / memory / GB)


def measure(table, tools, data, options):
    with tempfile.TemporaryDirectory() as lent:
        env = environment(tools, lent)
        python = torch_python(env)
        if not python:
            print("weightfs.load_file: not measured, torch is not installed")
            return
        with mount.Weightfs(data.mountpoint, [data.checkpoint], **options):
            shard = os.path.join(data.model, "model-rank-0-part-0.safetensors")
            rank = os.path.join(data.model, "0")
            size = sum(t[0] for t in data.checkpoint.tensors if t[3] == "0")
            data.warm()
            tools.read(1, "files:" + data.tensors("rank", lambda t:
                                                  t[3] == "0"))
            loader = tools.Loader([python, "load_torch.py"], env)
            try:
                loader.start("safetensors " + shard)
                loader.answer()
                for ours, name in (shard, "a rank's shard file"), \
                        (rank, "a rank's tensor files"):
                    measure_rank(table, tools, loader, size, {
                        "safetensors": (shard, None),
                        "weightfs": (ours, "load_file and copy, " + name),
                        "into": (ours, "load_into, " + name),
                        "memory": (shard, None)})
            finally:
                loader.close()
