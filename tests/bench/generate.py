# SPDX-License-Identifier: Apache-2.0
"""Tokens a second of a Llama that torch computes and whose weights others pull
meanwhile, beside what it makes while the same mounts pull the same bytes from
a seed of files.

Torch has the first core, the mounts and the seed of files have the last one;
the threads that serve memory are those of the engine's process and run where
the kernel has them run.  The Llama is a small one; tensors that it does not
compute with make pulling it last.
"""
import os
import shutil
import statistics
import sys
import tempfile
import time
import types
from pathlib import Path

import client
import mount
import network
import remote
from table import GB

TESTS = Path(__file__).resolve().parent.parent
sys.path += [str(TESTS / part) for part in ("live", "plan", "mount")]
import truth  # noqa: E402
from engines import Generator  # noqa: E402

NAME = "llama"
BALLAST = 512  # MiB
SECONDS = 4  # of each look


class Pulls:
    """One mount after another takes all of a rank, each into an empty arena."""

    def __init__(self, root):
        self.path = os.path.join(root, "mnt")

    def mount(self, url):
        return mount.Weightfs(self.path, [], ["--seed", url], same_host="off",
                              arena_size=(BALLAST + 256) << 20)

    def rate(self, url):
        """GB/s while they take it."""
        size, took, end = 0, 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            with self.mount(url) as daemon:
                took += remote.timed(
                    lambda: remote.warm(os.path.join(self.path, NAME, "0")))
                size += daemon.status()["arena"]["resident_bytes"]
        return size / took / GB

    def keep(self, url, to):
        """A copy of the model's files."""
        os.makedirs(to, exist_ok=True)
        with self.mount(url):
            for entry in os.scandir(os.path.join(self.path, NAME)):
                if entry.is_file():
                    shutil.copy(entry.path, to)


def start(root, env, python):
    """The engine, once it has begun to generate."""
    folder = Path(root) / "generator"
    shutil.rmtree(folder, ignore_errors=True)
    truth.make(truth.read(NAME)["spec"], folder / NAME)
    made = types.SimpleNamespace(name=NAME, path=str(folder / NAME))
    with mount.Weightfs(os.path.join(root, "mnt"), [made]) as disk:
        engine = Generator(folder, [python, "torch"], env, {
            "model": str(folder / NAME), "seed": {}, "core": min(cores()),
            "ranks": [os.path.join(disk.path, NAME + "@tp1", "0")],
            "ballast": BALLAST})
    engine("say")
    return engine


def cores():
    return os.sched_getaffinity(0)


def tokens(engine, meanwhile):
    """(tokens a second, what came of that)"""
    engine("say")
    came = meanwhile()
    said = engine("say")
    return said["tokens"] / said["seconds"], came


def look(engine, pulls, seed, rounds):
    rows = []
    for _ in range(rounds + 1):
        alone, _ = tokens(engine, lambda: time.sleep(SECONDS))
        files, of_files = tokens(engine, lambda: pulls.rate(seed.url))
        memory, of_memory = tokens(engine, lambda: pulls.rate(engine.url))
        rows.append((alone, files, memory, of_files, of_memory))
    return [statistics.median(column) for column in zip(*rows[1:])]


def measure(table, tools, root):
    with tempfile.TemporaryDirectory() as lent:
        measure_with(table, tools, root, client.environment(tools, lent))


def measure_with(table, tools, root, env):
    python = client.torch_python(env)
    if not python or len(cores()) < 2:
        print("tokens while weights are pulled: not measured, torch is not "
              "installed or there is one core")
        return
    before, pulls = cores(), Pulls(root)
    kept = os.path.join(root, "generator", "kept")
    engine = start(root, env, python)
    os.sched_setaffinity(0, [max(before)])
    try:
        pulls.keep(engine.url, kept)
        made = types.SimpleNamespace(name=NAME, path=kept)
        with network.Seed(root, [made]) as seed:
            alone, files, memory, of_files, of_memory = look(
                engine, pulls, seed, tools.ROUNDS)
    finally:
        os.sched_setaffinity(0, before)
        engine.close()
    table.add("tokens a second while mounts pull the memory", memory, "/s",
              (">=", 0.95), files, "while they pull files")
    table.add("the same, beside nobody who pulls", memory, "/s", None, alone,
              "alone")
    table.add("what was pulled of the memory meanwhile", of_memory, "GB/s",
              None, of_files, "of files")
