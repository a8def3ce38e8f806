# SPDX-License-Identifier: Apache-2.0
"""A running vLLM gives its weights to one of another size, through a mount.

usage: live.py WORKDIR [CASE...]: same, cut, frozen, killed, restarted, updated;
or all

Engine A, one rank, serves what it holds with our plugin and goes on answering.
The mount knows nothing but A; engine B loads from it as two ranks, and says
what two ranks say of the same checkpoint on disk.  Then A is cut off by a
firewall, frozen, killed, started again with other weights or told to reload
others in place while B loads: B says the same or fails, and never anything
else.  Exit status 1 if one case goes wrong.
"""
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import llama
import peers
from peers import PROGRAM, RANKS

import mounts
import net

NAME, OTHER = "live", "other/live"
GONE = re.compile("OSError.*")
# So that the fault comes while B reads: some seconds of it.
SLOWLY = 8 << 20


class Engine:
    """A process of engine.py; what it says is `answer`."""

    def __init__(self, log, *args, env=None, wrap=()):
        self.log_path = log
        with open(log, "wb") as file:
            self.process = subprocess.Popen(
                [*wrap, sys.executable, os.path.join(peers.HERE, "engine.py"),
                 *args],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
                text=True, env={**os.environ, **(env or {})},
                preexec_fn=mounts.die_with_parent, start_new_session=True)

    def answer(self):
        """What it says next, None if it ends without a word."""
        with open(self.log_path, "a") as log:
            for line in self.process.stdout:
                if line.startswith("RESULT "):
                    return json.loads(line[7:])
                log.write(line)
        self.process.wait()
        return None

    def again(self, model=""):
        self.process.stdin.write(model + "\n")
        self.process.stdin.flush()
        return self.answer()

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Case:
    """Engine A, the mount of it, and B that loads."""

    def __init__(self, work, disk, ends):
        self.work, self.disk, self.ends = work, disk, ends
        self.port = mounts.free_port()
        self.point = os.path.join(work, "mnt-live")
        self.wrap = ()  # before A and the mount: where their wire is

    def seed(self, model=NAME, **env):
        a = Engine(os.path.join(self.work, "a.log"), "auto",
                   os.path.join(self.disk, model), "1", "stay", env={
                       "WEIGHTFS_SERVE": f"127.0.0.1:{self.port}", **env},
                   wrap=self.wrap)
        self.ends.callback(a.end)
        said = a.answer()
        assert said, a.log()[-6000:]
        return a, said

    def mount(self, *options):
        os.makedirs(self.point, exist_ok=True)
        subprocess.run([*self.wrap, PROGRAM, "mount", *options, "--seed",
                        f"http://127.0.0.1:{self.port}", self.point],
                       check=True)
        self.ends.callback(peers.unmount, self.point)

    def load(self, how="weightfs"):
        b = Engine(os.path.join(self.work, "b.log"), how,
                   os.path.join(self.point, NAME), str(RANKS))
        self.ends.callback(b.end)
        return b

    def of_seed(self, what):
        with open(os.path.join(self.point, ".weightfs/status.json"),
                  encoding="utf-8") as file:
            return json.load(file)["seeds"][0][what]

    def bytes_read(self):
        return self.of_seed("bytes")

    def wait_for_bytes(self, b):
        enough = self.bytes_read() + (4 << 20)
        mounts.wait_until(lambda: self.bytes_read() > enough or
                          b.process.poll() is not None, "B reads", 240)
        assert b.process.poll() is None, b.log()[-6000:]


def same(case, truth):
    a, said = case.seed()
    case.mount()
    b = case.load()
    answers = 0
    while b.process.poll() is None and not answers:
        assert a.again() == said, "A says something else"
        answers += 1
    assert b.answer() == truth[NAME], b.log()[-6000:]
    assert a.again() == said
    return "B says what it says from disk, and A went on"


def slow(case, deadline):
    """A, and B which is in the middle of what it reads of it."""
    a, _ = case.seed(WEIGHTFS_SERVE_RATE=str(SLOWLY))
    case.mount("-o", f"prefetch=0,seed_deadline={deadline}")
    b = case.load()
    case.wait_for_bytes(b)
    return a, b


def frozen(case, truth):
    a, b = slow(case, 240)
    mounts.freeze(a.process.pid)
    before = case.bytes_read()
    # What was under way has come, and then nothing does.
    while (now := case.bytes_read()) != before:
        before = now
    os.kill(a.process.pid, signal.SIGCONT)
    assert b.answer() == truth[NAME], b.log()[-6000:]
    return "B says what it says from disk, though A stood still"


def cut(case, truth):
    wire = net.Space(f"wfs-{os.getpid():x}-live")
    case.ends.callback(wire.delete)
    case.wrap = wire.wrap
    a, b = slow(case, 240)
    wire.filter("drop")
    mounts.wait_until(lambda: case.of_seed("state") != "ready",
                      "A is missed", 240)
    before = case.bytes_read()
    assert b.process.poll() is None, b.log()[-6000:]
    assert a.again(), "A minds"
    assert case.bytes_read() == before, "bytes come through a cut wire"
    wire.unfilter()
    assert b.answer() == truth[NAME], b.log()[-6000:]
    return "B says what it says from disk, though no wire led to A"


def killed(case, truth):
    a, b = slow(case, 5)
    a.end()
    assert b.answer() is None, "B says something, of weights that are gone"
    assert GONE.search(b.log()), b.log()[-6000:]
    return "B fails, and says which tensor and why"


def restarted(case, truth):
    a, b = slow(case, 240)
    a.end()
    case.seed(OTHER)
    said = b.answer()
    assert said in (None, truth[OTHER]), b.log()[-6000:]
    if said is None:
        assert GONE.search(b.log()), b.log()[-6000:]
        b = case.load()
        assert b.answer() == truth[OTHER], b.log()[-6000:]
    return "B has the other weights, once it starts anew"


def updated(case, truth):
    a, b = slow(case, 240)
    other = os.path.join(case.disk, OTHER)
    was, now = a.again(), a.again(other)
    assert now and now != was, "A has the weights that it had"
    said = b.answer()
    assert said in (None, truth[NAME], truth[OTHER]), b.log()[-6000:]
    if said is None:
        assert GONE.search(b.log()), b.log()[-6000:]
    b = case.load()
    assert b.answer() == truth[OTHER], b.log()[-6000:]
    return "B has what A reloaded, %s" % (
        "once it starts anew" if said is None else "and all of one before")


CASES = {"same": same, "cut": cut, "frozen": frozen, "killed": killed,
         "restarted": restarted, "updated": updated}


def make_others(disk):
    """A checkpoint of the same name and shapes, and other weights."""
    whole = llama.weight
    llama.weight = lambda name, *shape: whole("other " + name, *shape)
    llama.write_plain(os.path.join(disk, OTHER))
    llama.weight = whole


def main():
    work = os.path.abspath(sys.argv[1])
    disk = peers.prepare(work)
    cases = sys.argv[2:] or CASES
    llama.write_plain(os.path.join(disk, NAME))
    make_others(disk)
    models = {NAME, OTHER} if {"restarted", "updated"} & {*cases} else {NAME}
    truth = {model: peers.answer("auto", os.path.join(disk, model))
             for model in models}
    for name in cases:
        begin = time.monotonic()
        with contextlib.ExitStack() as ends:
            said = CASES[name](Case(work, disk, ends), truth)
        print("  %-10s %s %4.0f s" % (name, said, time.monotonic() - begin),
              flush=True)


if __name__ == "__main__":
    main()
