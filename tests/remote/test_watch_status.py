# SPDX-License-Identifier: Apache-2.0
"""`weightfs status --watch`: on a terminal, and through a pipe."""
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import mounts
import pytest
from test_remote import read_all, seeds_of
from test_seed_figures import url

FAST = "--watch=0.1"
HOME, BELOW = "\033[H", "\033[J"


def own_signals():
    """^C ends it, also where the tests run in the background and ignore it."""
    mounts.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Watch:
    """A running `status --watch` whose output is collected."""

    def __init__(self, folder, *args, terminal=None):
        out, ours = None, None
        if terminal:
            ours, out = pty.openpty()
            fcntl.ioctl(out, termios.TIOCSWINSZ,
                        struct.pack("HHHH", *terminal, 0, 0))
        self.process = subprocess.Popen(
            [mounts.PROGRAM, "status", *map(str, args)],
            stdout=out or subprocess.PIPE, stderr=subprocess.PIPE,
            env=mounts.environment(folder), start_new_session=True,
            preexec_fn=own_signals)
        if out:
            os.close(out)
        self.fd = ours or self.process.stdout.fileno()
        self.ours = ours
        self.text = ""

    def read(self, seconds):
        """Some more of it; False at its end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            more = os.read(self.fd, 65536).decode()
        except OSError:  # of a terminal whose other side is closed
            more = ""
        self.text += more
        return bool(more)

    def wait_for(self, pattern, after=0):
        """Where it ends, once it was written behind `after`."""
        deadline = time.monotonic() + mounts.DEADLINE
        while not (found := re.compile(pattern, re.S).search(self.text,
                                                              after)):
            left = mounts.remaining(deadline)
            assert left and self.read(left), (pattern, self.text)
        return found.end()

    def end(self):
        """Reads to the end; (exit status, what it complained of)."""
        deadline = time.monotonic() + mounts.DEADLINE
        while self.read(mounts.remaining(deadline)):
            assert mounts.remaining(deadline), "it goes on"
        complaint = self.process.stderr.read().decode()
        return self.process.wait(mounts.DEADLINE), complaint

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        if self.process.stdout:
            self.process.stdout.close()
        if self.ours is not None:
            os.close(self.ours)


@pytest.fixture
def watch(folder):
    made = []

    def make(*args, terminal=None):
        made.append(Watch(folder, *args, terminal=terminal))
        return made[-1]
    yield make
    for one in made:
        one.close()


def blocks(text):
    """[(first line, the rest)] of what went through a pipe."""
    parts = re.split(r"(?m)^(.*: weightfs .* pid .*)\n", text)
    return list(zip(parts[1::2], parts[2::2]))


def seed_row(m):
    """The row of the only seed, with the bytes that it has sent by now: all
    that it was asked for, so that no more come."""
    mounts.wait_until(lambda: not seeds_of(m)[0]["requests"],
                      "all answers are here")
    row, size = seeds_of(m)[0], r"[0-9.]+ [KMGT]?i?B"
    sent = re.escape(f"{row['bytes'] / (1 << 20):.1f} MiB")
    return (re.escape(row["url"]) + rf" +ready +{size} +{sent} "
            rf"+0 +0 +\d+ +\d+ +0 s +{size}")


def test_a_block_is_written_whenever_something_changed(mount, seeder, model,
                                                       watch):
    m = mount(args=("--seed", url(seeder(llama=model.path))))
    w = watch(FAST, m.path)
    end = w.wait_for(r"SEED .* QUARANTINE .*\n\n")
    read_all(m, model)
    w.wait_for(seed_row(m) + r".*\n\n", end)
    w.process.send_signal(signal.SIGINT)
    assert w.end() == (-signal.SIGINT, "")
    seen = blocks(w.text)
    assert len(seen) > 1 and "\033" not in w.text
    assert re.search(seed_row(m), seen[-1][1]), seen[-1][1]
    for (head, body), (_, following) in zip(seen, seen[1:]):
        assert head.startswith(f"{m.path}: ")
        assert body != following


def test_a_terminal_is_drawn_over(mount, seeder, model, watch):
    m = mount(args=("--seed", url(seeder(llama=model.path))))
    w = watch(FAST, m.path, terminal=(60, 300))
    end = w.wait_for(re.escape(HOME) + ".*" + re.escape(BELOW))
    read_all(m, model)
    end = w.wait_for(seed_row(m), end)
    w.wait_for(re.escape(HOME) + ".*" + re.escape(BELOW), end)
    frames = w.text.split(HOME)[1:-1]
    assert len(frames) > 1
    for frame in frames:
        lines = frame.split("\r\n")
        assert lines[0].startswith(f"{m.path}: weightfs ")
        assert all(line.endswith("\033[K") for line in lines[:-1])
        assert lines[-1].startswith(BELOW)
        assert any("MODEL" in line for line in lines)


def test_no_more_is_drawn_than_a_small_terminal_has_rows(mount, plain, watch):
    m = mount(p=plain)
    w = watch(FAST, m.path, terminal=(5, 80))
    w.wait_for(re.escape(BELOW))
    assert w.text.split(BELOW)[0].count("\n") == 4


def test_a_hydration_is_shown(mount, seeder, model, watch, folder):
    m = mount(args=("--seed", url(seeder(llama=model.path))))
    if not m.status()["passthrough"]["in_use"]:
        return
    w = watch(FAST, m.path)
    end = w.wait_for(r"copied +0 B, 0 B/s now; 0 files \(0 B\) queued")
    done = mounts.run("warm", m.path / "llama" / "0", folder=folder)
    assert done.returncode == 0, done.stderr
    w.wait_for(r"copied +22\.9 MiB, [^;]* now; 0 files \(0 B\) queued, "
               r"22\.9 MiB resident", end)


@pytest.mark.parametrize("terminal", [None, (60, 120)])
def test_it_ends_with_an_error_when_the_mount_goes(mount, plain, watch,
                                                   terminal):
    m = mount(p=plain)
    w = watch(FAST, m.path, terminal=terminal)
    w.wait_for("MODEL")
    m.terminate()
    rc, complaint = w.end()
    assert rc == 1
    # A look may fall between the end of the daemon and that of the mount.
    assert (f"'{m.path}' is not mounted any more" in complaint
            or f"the daemon of '{m.path}' is gone" in complaint), complaint


def test_it_ends_with_an_error_when_the_daemon_dies(mount, plain, watch):
    m = mount(p=plain)
    w = watch(FAST, m.path)
    w.wait_for("MODEL")
    m.kill()
    rc, complaint = w.end()
    assert rc == 1
    assert f"the daemon of '{m.path}' is gone" in complaint


def test_mistakes_are_told(folder):
    for args, what in ((["--watch=0"], "--watch: '0'"),
                       (["--watch=soon"], "--watch: 'soon'"),
                       (["--watch", "--json"], "do not go together")):
        done = mounts.run("status", *args)
        assert done.returncode == 2 and what in done.stderr, done.stderr
    done = mounts.run("status", "--watch", folder)
    assert done.returncode == 1 and str(folder) in done.stderr
