# SPDX-License-Identifier: Apache-2.0
"""What goes wrong: kinds of faults, and a random script of them that follows
from a number."""
import contextlib
import os
import random
import signal
import subprocess
import threading
import time

import mounts
from liar import LIES, OTHER_VERSION
from mounts import wait_until
from world import NAME

SLOWEST = ("2mbit", "8mbit", "40mbit")
ALL = "all"  # servers
MOUNT = "a mount"


class Fault:
    """Of one server: from `begin` until `end`."""

    def __init__(self, world, server, chance):
        self.world, self.server, self.chance = world, server, chance

    def begin(self):
        raise NotImplementedError

    def end(self):
        pass


class Kill(Fault):
    number = signal.SIGKILL

    def begin(self):
        self.world.wrong += self.server.end(self.number)

    def end(self):
        self.server.start()


class Stop(Kill):
    """In good order, on the same port again later."""
    number = signal.SIGTERM


class Restart(Kill):
    number = signal.SIGTERM

    def begin(self):
        super().begin()
        self.server.start()

    def end(self):
        pass


class Freeze(Fault):
    def begin(self):
        mounts.freeze(self.server.process.pid)

    def end(self):
        self.server.process.send_signal(signal.SIGCONT)


class Cut(Fault):
    """A firewall swallows what comes and goes."""
    verdict = "drop"

    def begin(self):
        self.server.node.filter(self.verdict)

    def end(self):
        self.server.node.unfilter()


class Refuse(Cut):
    """It resets connections."""
    verdict = "reject with tcp reset"


class Unlink(Fault):
    def begin(self):
        self.server.node.unlink()

    def end(self):
        self.server.node.link()


class Slow(Fault):
    def begin(self):
        self.server.node.slow(self.chance.choice(SLOWEST))

    def end(self):
        self.server.node.unslow()


class Lie(Fault):
    lie = None

    def begin(self):
        self.server.tell(self.lie)

    def end(self):
        self.server.tell("")


class FullArena(Fault):
    """Everything is held open, which is more than there is memory."""

    def begin(self):
        self.over = threading.Event()
        self.fds = []
        self.thread = threading.Thread(target=self._hold, daemon=True)
        self.thread.start()

    def _hold(self):
        top = self.world.through.path / NAME
        for name in self.world.truth.large:
            if self.over.is_set():
                return
            fd = os.open(top / name, os.O_RDONLY)
            self.fds.append(fd)
            os.pread(fd, 1 << 20, 0)

    def end(self):
        self.over.set()
        self.thread.join(mounts.DEADLINE)
        if self.thread.is_alive():
            self.world.wrong.append("an open never came back")
            return
        for fd in self.fds:
            os.close(fd)


class ReaderDies(Fault):
    """In the middle of what it reads."""

    def begin(self):
        top = self.chance.choice(self.world.tops)
        self.reader = subprocess.Popen(
            ["cat", *(top / n for n in self.world.truth.large)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=mounts.die_with_parent)

    def end(self):
        self.reader.kill()
        self.reader.wait(mounts.DEADLINE)


class MountDies(Fault):
    """With what it has asked of seeds; another takes its place."""

    def begin(self):
        w = self.world
        w.brief.evict()
        self.reader = subprocess.Popen(
            ["cat", *(w.brief.path / NAME / n for n in w.truth.large)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=mounts.die_with_parent)

    def end(self):
        w = self.world
        w.brief.kill()
        self.reader.kill()
        self.reader.wait(mounts.DEADLINE)
        subprocess.run(["umount", "-l", w.brief.path], check=False)
        w.mount_brief()


class LoseAll(Fault):
    """Nobody has the bytes for a while."""
    how = (Kill, Freeze, Cut, Refuse, Unlink)

    def begin(self):
        w = self.world
        self.kind = self.chance.choice(self.how)
        self.lost = [self.kind(w, s, self.chance) for s in w.served]
        for fault in self.lost:
            fault.begin()
        with contextlib.suppress(AssertionError):
            wait_until(lambda: all(r.waits(0.2) for r in w.reading), "", 3)
        waiting = [(r, r.reads) for r in w.reading if r.waits(0.2)]
        failing = threading.Thread(target=self._tell, daemon=True,
                                   args=(w.brief_fails, self.chance))
        failing.start()
        telling = threading.Thread(target=self._tell, daemon=True,
                                   args=(w.answers,))
        telling.start()
        telling.join(mounts.DEADLINE)
        if telling.is_alive():
            w.wrong.append("ls, stat or status wait for seeds")
        waited = sum(r.reads == n for r, n in waiting)
        w.note(f"     {waited} of {len(w.reading)} readers waited meanwhile")
        w.waited.append(waited)
        w.note(f"     lost by {self.kind.__name__}")
        failing.join(mounts.DEADLINE)
        if failing.is_alive():
            w.wrong.append("a read outlived its deadline")
        if self.chance.random() < 0.1:
            time.sleep(w.lost_for)

    def _tell(self, what, *args):
        try:
            what(*args)
        except (OSError, AssertionError) as e:
            self.world.wrong.append(f"{what.__name__}: {e!r}")

    def end(self):
        for fault in self.lost:
            fault.end()
        if not self.world.wrong:
            self.world.brief_works()
            self.world.wait_progress()


def lies():
    for name in (*LIES, OTHER_VERSION):
        yield type(name, (Lie,), {"lie": name})


ANY = (Kill, Stop, Restart, Freeze, Cut, Refuse, Unlink, Slow)
LYING = tuple(lies())
OURS = (FullArena, ReaderDies, MountDies)
KINDS = ANY + LYING + OURS + (LoseAll,)


def write(seed, faults, honest):
    """The script: ("begin", n, kind, target), ("end", n) and ("pause",
    seconds).  One honest server at least has no fault, but in LoseAll."""
    chance = random.Random(f"{seed} script")
    deck, active, script = [], {}, []

    def end(n):
        script.append(("end", n))
        del active[n]
        script.append(("pause", round(chance.random() / 8, 3)))

    for n in range(faults):
        if not deck:
            deck = chance.sample(KINDS, len(KINDS))
        kind = deck.pop()
        if kind is LoseAll:
            target = ALL
        elif kind in OURS:
            target = MOUNT
        elif kind in LYING:
            target = honest
        else:
            target = chance.randrange(honest + 1)
        while active and (
                target == ALL or target in active.values()
                or len(active) > 2 or chance.random() < 0.4
                or len(set(active.values()) - {honest, MOUNT}) == honest - 1):
            end(chance.choice(sorted(active)))
        script.append(("begin", n, kind, target))
        active[n] = target
        script.append(("pause", round(chance.random() / 3, 3)))
        if target == ALL:
            end(n)
    while active:
        end(chance.choice(sorted(active)))
    return script


def middle(script):
    """The step about there where no fault is."""
    active, best = 0, 0
    for at, step in enumerate(script):
        if not active and abs(at - len(script) / 2) < abs(
                best - len(script) / 2):
            best = at
        active += {"begin": 1, "end": -1, "pause": 0}[step[0]]
    return best


def play(world, script):
    """How many of each kind there were; all is well again at the end."""
    active, counts = {}, {}
    try:
        for step in script:
            if step[0] == "pause":
                time.sleep(step[1])
                continue
            if step[0] == "begin":
                _, n, kind, target = step
                server = (world.served[target] if isinstance(target, int)
                          else None)
                world.note(f"{n:4} {kind.__name__} "
                           f"{server.node.wire if server else target}")
                active[n] = kind(world, server,
                                 random.Random(f"{world.seed} fault {n}"))
                active[n].begin()
                counts[kind.__name__] = counts.get(kind.__name__, 0) + 1
            else:
                active.pop(step[1]).end()
                world.note(f"{step[1]:4} is over")
            if world.wrong or world.trouble():
                break
    finally:
        for fault in active.values():
            fault.end()
    return counts
