# SPDX-License-Identifier: Apache-2.0
"""Starts the program under test on a mount point of its own, and takes it
down again whatever happens.

Nothing here sleeps: readiness is the mount's appearance in mountinfo (which
can be polled), an end is a pidfd.
"""
import contextlib
import ctypes
import errno
import json
import mmap
import os
import random
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("WEIGHTFS_BUILD", ROOT / "build/release"))
PROGRAM = Path(os.environ.get("WEIGHTFS", ROOT / "build/weightfs"))
FAULTS = BUILD / "weightfs-faults"
HELPERS = BUILD / "mount"
SAN = os.environ.get("WEIGHTFS_SAN") or os.environ.get("SAN", "")
SCALE = 4 if SAN else 1  # sizes are divided by it
# Seconds; for events, never a measurement. A guest of tests/rdma is emulated.
DEADLINE = 240 if SAN or "GUEST" in os.environ else 60

FINDING = re.compile(
    r"ERROR: (Address|Leak|Memory|HWAddress)Sanitizer|runtime error:"
    r"|WARNING: ThreadSanitizer|Sanitizer:DEADLYSIGNAL|Assertion .* failed")

# An open that is answered when the file is in the arena, however long it takes.
PATIENT = f"open_wait={DEADLINE}"

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
                      ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PR_SET_PDEATHSIG = 1
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def exchange(one, two):
    """Each has the other's name, and at no moment none."""
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(two),
                      RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), "renameat2", str(one))


def mountinfo():
    """[(mount point, fs type, source, options)]"""
    rows = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        left, right = left.split(), right.split()
        point = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), left[4])
        rows.append((point, right[0], right[1], left[5]))
    return rows


def is_mounted(path):
    return any(row[0] == str(path) for row in mountinfo())


kept_ports = []


def free_port():
    """A port of this machine's for as long as this process runs, whoever
    listens on it meanwhile and whoever no more: none of those that the kernel
    gives away, and no other test has it."""
    low = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]
    while True:
        port = random.randrange(10_000, int(low))
        kept = socket.socket(socket.AF_UNIX)
        try:
            kept.bind(f"\0weightfs-test-port-{port}")
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("127.0.0.1", port))
        except OSError as problem:
            kept.close()
            assert problem.errno == errno.EADDRINUSE, problem
            continue
        kept_ports.append(kept)
        return port


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def remaining(deadline):
    return max(0.0, deadline - time.monotonic())


def freeze(pid):
    """Stops a process; no thread of it runs when this returns. (The signal
    goes to one thread, and the others go on until that one has seen it.)"""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: is_still(pid), f"process {pid} stands still")


def is_still(pid):
    """Does no thread of it run any more: is it stopped, or over?"""
    def runs(task):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            return state not in "TZX"
    return not any(map(runs, Path(f"/proc/{pid}/task").iterdir()))


def wait_until(ready, what, seconds=DEADLINE, every=0.02):
    """Asks again and again; for states that nothing announces. `what` is a
    text, or gives one when it is too late."""
    deadline = time.monotonic() + seconds
    while True:
        value = ready()
        if value:
            return value
        assert remaining(deadline), "never happened: " + (
            what() if callable(what) else what)
        select.select([], [], [], every)


def environment(folder):
    env = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache"}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
                 "LSAN_OPTIONS"):
        had = env.get(name)
        env[name] = ":".join(filter(None, [
            had, f"log_path={folder}/sanitizer",
            "print_stacktrace=1" if name == "UBSAN_OPTIONS" else ""]))
    return env


def python_environment(library):
    """Of a Python that opens the library: what its sanitizers need is there
    before. An interpreter leaks by itself; unit tests look for leaks."""
    env = {**os.environ, "WEIGHTFS_LIBRARY": str(library),
           "PYTHONPATH": str(ROOT / "tools/python")}
    if SAN:
        needed = subprocess.run(["ldd", library], capture_output=True,
                                check=True, text=True).stdout.split()
        env["LD_PRELOAD"] = " ".join(
            path for path in needed if path.startswith("/")
            and Path(path).name.startswith(("libasan.", "libtsan.",
                                            "libubsan.")))
        env["ASAN_OPTIONS"] = ":".join(filter(None, [
            env.get("ASAN_OPTIONS"), "detect_leaks=0"]))
    return env


class Mount:
    """A running `weightfs mount -f`, or the faults program in its place."""

    def __init__(self, folder, name, args, program=PROGRAM, wrap=(), env=None,
                 preexec=None, point=None):
        self.folder = folder
        self.path = Path(point) if point else folder / name
        if not point:
            self.path.mkdir()
        self.log_path = folder / f"{name}.log"
        command = [*wrap, str(program), *args]
        self.command = [str(c) for c in command]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env={**environment(folder), **(env or {})},
                preexec_fn=preexec or die_with_parent, start_new_session=True)
        self.pidfd = os.pidfd_open(self.process.pid)
        self.expect_rc = 0

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_ready(self):
        with open("/proc/self/mountinfo", encoding="utf-8") as info:
            poller = select.poll()
            poller.register(info, select.POLLPRI | select.POLLERR)
            poller.register(self.pidfd, select.POLLIN)
            deadline = time.monotonic() + DEADLINE
            while not is_mounted(self.path):
                assert self.process.poll() is None, (
                    f"{self.command} ended with {self.process.returncode}:\n"
                    + self.log())
                assert remaining(deadline), "not mounted:\n" + self.log()
                poller.poll(1000 * remaining(deadline))
        os.stat(self.path)  # the daemon answers
        return self

    def wait_end(self, seconds=DEADLINE):
        """The exit status."""
        return self.process.wait(seconds)

    def control(self, name):
        return (self.path / ".weightfs" / name).read_text()

    def status(self):
        return json.loads(self.control("status.json"))

    def model(self, name):
        (row,) = [m for m in self.status()["models"] if m["name"] == name]
        return row

    def stats(self):
        """{sample: value} of the Prometheus text."""
        out = {}
        for line in self.control("stats").splitlines():
            if line and not line.startswith("#"):
                sample, value = line.rsplit(" ", 1)
                out[sample] = float(value)
        return out

    def events(self):
        return [json.loads(line)
                for line in self.control("events").splitlines()]

    def wait_event(self, kind, model=None, saying=""):
        """Waits by poll(2) for an event that is there or will come."""
        deadline = time.monotonic() + DEADLINE
        seen, text = [], ""
        fd = os.open(self.path / ".weightfs" / "events",
                     os.O_RDONLY | os.O_NONBLOCK)
        try:
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            while remaining(deadline):
                try:
                    text += os.read(fd, 65536).decode()
                except BlockingIOError:
                    pass
                *lines, text = text.split("\n")
                for line in lines:
                    event = json.loads(line)
                    seen.append(event)
                    if event["event"] == kind and model in (
                            None, event.get("model")) and (
                            saying in event["text"]):
                        return event
                poller.poll(1000)
        finally:
            os.close(fd)
        raise AssertionError(f"no event {kind!r}; there were {seen}")

    def evict(self):
        subprocess.run([PROGRAM, "evict", self.path], check=True,
                       stdout=subprocess.DEVNULL,
                       env=environment(self.folder))

    def evict_all(self):
        """Until nothing is left: what was let go a moment ago may lag."""
        def is_empty():
            self.evict()
            return self.status()["arena"]["used"] == 0
        wait_until(is_empty, "the arena is empty")

    def kill(self):
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        self.process.wait()
        self.expect_rc = -signal.SIGKILL

    def terminate(self):
        """SIGTERM, and the end; the exit status."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)
        return self.wait_end()

    def close(self):
        """Nothing stays mounted and nothing runs on.  What went wrong."""
        wrong = []
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                wrong.append(f"'{self.path}': SIGTERM did not end the daemon")
                subprocess.run(["umount", "-l", self.path], check=False)
                self.process.kill()
                self.process.wait()
        os.close(self.pidfd)
        if is_mounted(self.path):
            if self.expect_rc == 0:
                wrong.append(f"'{self.path}' stayed mounted")
            subprocess.run(["umount", "-l", self.path], check=False)
        if self.process.returncode != self.expect_rc:
            wrong.append(f"exit status {self.process.returncode}, "
                         f"not {self.expect_rc}")
        found = FINDING.search(self.log())
        if found:
            wrong.append(f"in the log: {found[0]}")
        return wrong


def sanitizer_reports(folder):
    return [p.read_text(errors="replace")
            for p in Path(folder).glob("sanitizer.*")
            if FINDING.search(p.read_text(errors="replace"))]


class RawMap:
    """A map that keeps no descriptor, unlike Python's own: mapped, closed."""

    def __init__(self, path, size=None, flags=mmap.MAP_SHARED):
        fd = os.open(path, os.O_RDONLY)
        try:
            self.size = os.fstat(fd).st_size if size is None else size
            self.address = libc.mmap(None, self.size, mmap.PROT_READ, flags,
                                     fd, 0)
            if self.address == ctypes.c_void_p(-1).value:
                raise OSError(ctypes.get_errno(), "mmap", str(path))
        finally:
            os.close(fd)

    def view(self):
        return memoryview((ctypes.c_char * self.size).from_address(
            self.address)).cast("B")

    def bytes(self):
        return ctypes.string_at(self.address, self.size)

    def close(self):
        if self.address is not None:
            libc.munmap(self.address, self.size)
            self.address = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def inode(path):
    """Its number; None while its name is on the way to another."""
    with contextlib.suppress(FileNotFoundError):
        return os.stat(path).st_ino
    return None


def tensor_path(mount, model, rank, name):
    return mount.path / model / rank / name


def assert_same(got, want, what):
    """Without pytest's attempt to print a difference of megabytes."""
    if got == want:
        return
    where = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b),
                 min(len(got), len(want)))
    raise AssertionError(f"{what}: {len(got)} bytes for {len(want)}, "
                         f"the first other byte is {where}")


def assert_model_equals(mount, model, checkpoint, ranks_at=""):
    """Every byte of every virtual file against the checkpoint."""
    top = mount.path / model
    for rank, name, place in checkpoint.tensors():
        assert_same((top / ranks_at / rank / name).read_bytes(), place.read(),
                    f"{model}/{rank}/{name}")
    for name in checkpoint.files():
        assert_same((top / name).read_bytes(),
                    (checkpoint.path / name).read_bytes(), f"{model}/{name}")


def xattr(path, name):
    return os.getxattr(path, f"user.weightfs.{name}").decode()


def served(path):
    return xattr(path, "served")


def run(*args, folder=None, **kw):
    """A sub-command; the finished process with its texts."""
    env = environment(folder) if folder else None
    return subprocess.run([str(PROGRAM), *map(str, args)], text=True,
                          capture_output=True, timeout=DEADLINE, env=env,
                          check=False, **kw)
