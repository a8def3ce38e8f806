# SPDX-License-Identifier: Apache-2.0
"""A progress bar: on a terminal, and nowhere else."""
import sys
import time

WIDTH = 30


class Bar:
    """Called with the bytes that are done and their total."""

    def __init__(self, what, out=None):
        self.what, self.out = what, out or sys.stderr
        self.begun, self.shown = time.monotonic(), False

    def __call__(self, done, total):
        if not self.out.isatty():
            return
        share = done / total if total else 1.0
        rate = done / max(time.monotonic() - self.begun, 1e-9) / 1e9
        self.out.write("\r%s [%-*s] %3d%%  %.1f of %.1f GB  %.1f GB/s\033[K" % (
            self.what, WIDTH, "#" * int(share * WIDTH), share * 100,
            done / 1e9, total / 1e9, rate))
        self.out.flush()
        self.shown = True

    def close(self):
        if self.shown:
            self.out.write("\n")
            self.out.flush()
