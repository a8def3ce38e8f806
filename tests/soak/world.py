# SPDX-License-Identifier: Apache-2.0
"""Three seeds, a liar and three mounts of what they hold, on machines of
their own; what reads from them, and what all of it holds."""
import contextlib
import dataclasses
import errno
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import checkpoints as ck
import mounts
import seeds as real
from mounts import wait_until
from net import Lab
from readers import Reader, Truth, read

HERE = Path(__file__).parent
HONEST = 3
READERS = 8
NAME = "llama"
WORKERS = 64  # that answer reads of a mount
LANES = 4  # connections to a seed
CLIENT_TIMEOUT = 5  # seconds
PATIENCE = 240  # seconds that a read waits for a seed, but on `brief`
BRIEF = 1
FORGED_AT = (1 << 20) + 77  # the byte of a file that a forger changes


class Honest:
    """`weightfs seed` on a node."""

    lies = False

    def __init__(self, world, node):
        self.world, self.node = world, node
        self.lives = 0
        self.seed = None
        self.start()

    def start(self):
        self.lives += 1
        w = self.world
        self.seed = real.Seed(
            w.folder, f"seed-{self.node.wire}-{self.lives}",
            ["--insecure", "--same-host=off", "--client-timeout",
             CLIENT_TIMEOUT, "--model", f"{NAME}={w.model.path}"],
            self.node.listen, self.node.wrap).wait_ready()
        self.process = self.seed.process

    def end(self, number):
        """The signal, and the end; what went wrong."""
        self.process.send_signal(number)
        self.seed.expect_rc = 0 if number == signal.SIGTERM else -number
        self.process.wait(mounts.DEADLINE)
        return self.seed.close()


class Liar:
    lies = True

    def __init__(self, world, node):
        self.world, self.node = world, node
        self.start()

    def start(self):
        w = self.world
        self.unanswered = 0
        self.process = subprocess.Popen(
            [*self.node.wrap, sys.executable, HERE / "liar.py",
             self.node.address, self.node.listen.split(":")[1], NAME,
             w.model.path, w.forged], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, preexec_fn=mounts.die_with_parent,
            stderr=open(w.folder / "liar.log", "ab"))
        assert self.process.stdout.readline(), "the liar does not start"

    def tell(self, lie):
        """Obeyed when this returns; when it is stopped, once it goes on; it
        may be dead."""
        with contextlib.suppress(OSError):
            self.process.stdin.write(f"{lie}\n")
            self.process.stdin.flush()
            self.unanswered += 1
            wait_until(lambda: self._obeys() or mounts.is_still(
                self.process.pid), "the liar obeys, or stands still")

    def _obeys(self):
        ready, _, _ = select.select([self.process.stdout], [], [], 0)
        if ready:
            said = os.read(self.process.stdout.fileno(), 4096)
            self.unanswered -= said.count(b"\n")
            return not said or self.unanswered == 0
        return self.unanswered == 0

    def end(self, _):
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.stdout.close()
        return []


class Loader:
    """A process that maps whole files; see readers.py."""

    def __init__(self, world, mount, names):
        self.lines = 0
        self.process = subprocess.Popen(
            [sys.executable, HERE / "readers.py", "load", "0.05",
             world.model.path, mount.path / NAME, *names], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=mounts.die_with_parent)
        self.thread = threading.Thread(target=self._count, daemon=True)
        self.thread.start()

    def _count(self):
        for _ in self.process.stdout:
            self.lines += 1

    def close(self):
        """What went wrong."""
        alive = self.process.poll() is None
        self.process.kill()
        said = self.process.stderr.read()
        rc = self.process.wait()
        self.thread.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return [] if alive else [f"a loader ended with {rc}: {said}"]


def held(pid):
    """What a process holds: descriptors, threads, bytes of its own memory,
    connections that the other side has closed."""
    proc = Path(f"/proc/{pid}")
    memory = next(line for line in (proc / "status").read_text().splitlines()
                  if line.startswith("RssAnon"))
    links = [os.readlink(f"{proc}/fd/{fd}") for fd in os.listdir(proc / "fd")
             if os.path.lexists(f"{proc}/fd/{fd}")]
    return {"files": sum("socket:" not in link for link in links),
            "sockets": sum("socket:" in link for link in links),
            "threads": len(os.listdir(proc / "task")),
            "memory": int(memory.split()[1]) * 1024}


@dataclasses.dataclass
class Paper:
    """A checkpoint, what a forger makes of it, and what proves it."""
    model: ck.Checkpoint
    forged: Path
    root: str  # "sha256:…"
    key: Path  # the public one


def paper(folder, seed):
    model = ck.hf_sharded(folder / "model", ck.layers(12, 2_000_002), seed)
    private, public = folder / "key.pem", folder / "key.pub"
    real.openssl(folder, "genpkey", "-algorithm", "ed25519", "-out", private)
    real.openssl(folder, "pkey", "-in", private, "-pubout", "-out", public)
    done = mounts.run("digest", "--key", private, "--digest-cache",
                      folder / "digests", model.path, folder=folder)
    assert done.returncode == 0, done.stderr
    forged = folder / "forged"
    shutil.copytree(model.path, forged)
    for shard in forged.glob("*.safetensors"):
        data = bytearray(shard.read_bytes())
        data[FORGED_AT] ^= 1
        shard.write_bytes(data)
    return Paper(model, forged, done.stdout.strip(), public)


class World:
    def __init__(self, folder, mount, paper, seed):
        self.folder, self.mounter, self.seed = folder, mount, seed
        self.model, self.forged = paper.model, paper.forged
        self.root, self.key = paper.root, paper.key
        self.truth = Truth(self.model)
        self.begun = time.monotonic()
        self.notes, self.wrong = [], []
        self.readers, self.reading, self.loaders = [], [], []
        self.loads = 0
        self.served, self.waited = [], []
        self.failed = None  # what could not be read from `brief`
        self.lost_for = 0  # seconds that all servers are lost at times
        self.answer_ms = []
        self.lab = Lab(HONEST + 1)

    def start(self):
        self.honest = []
        for node in self.lab.nodes[:HONEST]:
            self.honest.append(Honest(self, node))
            self.served.append(self.honest[-1])
        self.liar = Liar(self, self.lab.nodes[HONEST])
        self.served.append(self.liar)
        # Whoever is first is believed where nothing was signed.
        self.liar.tell("answers-404")
        pinned = ("--model", f"{NAME}={self.honest[0].node.url}"
                  f"/v1/models/{NAME}#{self.root}")
        plain = ("--seed", self.honest[0].node.url)
        self.cached = self.mount("passthrough=off",
                                 f"trust_key={self.key}", args=pinned)
        self.through = self.mount("passthrough=auto", args=plain)
        self.mount_brief()
        self.liar.tell("")
        self.tops = [self.cached.path / NAME, self.through.path / NAME]
        return self

    def mount_brief(self):
        """One whose reads do not wait long."""
        self.brief = self.mount(
            "passthrough=off", f"seed_deadline={BRIEF}",
            "trust=signed", f"trust_key={self.key}",
            args=("--seed", self.honest[0].node.url))

    def mount(self, *options, args=()):
        others = [a for s in self.served[1:] for a in ("--seed", s.node.url)]
        return self.mounter(
            "rescan=0.2", "switch_after=0", "same_host=off", "arena_size=32M",
            f"seed_connections={LANES}", f"readers={WORKERS}",
            f"seed_deadline={PATIENCE}", *options,
            args=(*args, *others), wrap=self.lab.hub.wrap)

    def note(self, text):
        self.notes.append(f"{time.monotonic() - self.begun:7.2f} {text}")

    # ---- reading

    def chill(self):
        """Nothing that is not in use stays in memory."""
        for m in (self.cached, self.through):
            for name in self.truth.large:
                fd = os.open(m.path / NAME / name, os.O_RDONLY | os.O_NONBLOCK)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)
            m.evict()

    def warm_up(self):
        """Until every seed has given bytes to both mounts."""
        def all_gave(m):
            self.chill()
            for name in self.truth.large:
                if "/" not in name:
                    read(m.path / NAME / name, 0, None, True)
            rows = m.status()["seeds"]
            return all(row["bytes"] for row in rows)
        for m in (self.cached, self.through):
            wait_until(lambda m=m: all_gave(m), "all seeds give bytes")

    def begin_reading(self):
        self.reading = [Reader(len(self.readers) + i, self.seed, self.truth,
                               self.tops) for i in range(READERS)]
        self.readers += self.reading
        for reader in self.reading:
            reader.start()
        names = [n for n in self.truth.large if n.endswith(".safetensors")]
        self.loaders = [Loader(self, m, names)
                        for m in (self.cached, self.through)]

    def end_reading(self):
        for reader in self.reading:
            reader.over.set()
        for reader in self.reading:
            reader.join(mounts.DEADLINE)
            if reader.is_alive():
                self.wrong.append(f"{reader.name} never came back")
        self.wrong += self.trouble()
        for loader in self.loaders:
            self.wrong += loader.close()
            self.loads += loader.lines
        self.reading, self.loaders = [], []

    def trouble(self):
        """Of those who read now."""
        found = [f"WRONG BYTES: {w}" for r in self.reading for w in r.wrong]
        found += [f"failed: {f}" for r in self.reading for f in r.failed]
        return found + ["a loader ended" for loader in self.loaders
                        if loader.process.poll() is not None]

    def wait_progress(self):
        """Everyone reads again."""
        before = {r: r.reads for r in self.reading}
        lines = {loader: loader.lines for loader in self.loaders}
        wait_until(lambda: self.trouble() or (
            all(r.reads > n for r, n in before.items())
            and all(k.lines > n for k, n in lines.items())),
            "everybody reads again")

    # ---- while nobody has the bytes

    def answers(self):
        """What needs no seed is told at once, whoever waits."""
        for m in (self.cached, self.through):
            begun = time.monotonic()
            assert set(os.listdir(m.path / NAME)) > {"config.json", "0"}
            for name in self.truth.large:
                assert os.stat(m.path / NAME / name).st_size == \
                    self.truth.bytes[name].size
            status = m.status()
            assert len(status["seeds"]) == len(self.served)
            self.answer_ms.append(1000 * (time.monotonic() - begun))

    def brief_fails(self, chance):
        """A read of a mount that waits no longer: of something that it has
        not in memory, which may not be the first that is tried."""
        for name in chance.sample(self.truth.large, len(self.truth.large)):
            path = self.brief.path / NAME / name
            off = self.truth.bytes[name].size // 2
            try:
                got = read(path, off, 4096, True)
            except OSError as e:
                if e.errno not in (errno.EIO, errno.EHOSTUNREACH):
                    self.wrong.append(f"a read failed with {e}")
                self.failed = name
                return
            if not self.truth.is_right(name, off, got):
                self.wrong.append(f"WRONG BYTES: '{path}'")
        self.wrong.append("reads that nobody could serve did not fail")

    def brief_works(self):
        """What failed is tried again, and is there."""
        path = self.brief.path / NAME / self.failed

        def again():
            with contextlib.suppress(OSError):
                return read(path, 0, 4096, True)
        got = wait_until(again, "a read after the loss")
        if not self.truth.is_right(self.failed, 0, got):
            self.wrong.append(f"WRONG BYTES: '{path}'")

    # ---- what is held

    def wires(self):
        return [s.node.wire for s in self.honest]

    def processes(self):
        return {"cached": self.cached.pid, "through": self.through.pid,
                "brief": self.brief.pid,
                **{s.node.wire: s.process.pid for s in self.honest}}

    def holds(self):
        return {name: held(pid) for name, pid in self.processes().items()}

    def close(self):
        wrong = list(self.wrong)
        for server in self.served:
            with contextlib.suppress(ProcessLookupError):
                server.process.send_signal(signal.SIGCONT)
            if server.process.poll() is None:
                wrong += server.end(signal.SIGTERM)
        return wrong
