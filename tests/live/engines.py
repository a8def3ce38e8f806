# SPDX-License-Identifier: Apache-2.0
"""Processes that serve what they hold, see engine.py and generator.py.

Stands on nothing but the standard library, so that a guest has it, too.
"""
import json
import subprocess
from pathlib import Path

import mounts

HERE = Path(__file__).parent


class Engine:
    SCRIPT = "engine.py"

    def __init__(self, folder, run, env, options):
        """`run`: a Python, and what the script computes with."""
        python, kind = run
        self.log_path = folder / "engine.log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [python, HERE / self.SCRIPT, kind,
                 json.dumps(options)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True, preexec_fn=mounts.die_with_parent,
                env=env)
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


class Generator(Engine):
    """A Llama that generates all the time, see generator.py."""
    SCRIPT = "generator.py"
