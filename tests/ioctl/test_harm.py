# SPDX-License-Identifier: Apache-2.0
"""Readers that die, or take their memory away, while it is being filled: the
mount goes on, with nothing left behind.
"""
import errno
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import calls
from mounts import SAN, assert_same, wait_until

HERE = Path(__file__).parent
CYCLES = 1000 if not SAN else 150
KILLS = 24 if not SAN else 8
FILE = "model-00001-of-00003.safetensors"
BEGIN = """
import os, sys
sys.path.insert(0, sys.argv[1])
import calls
fd = os.open(sys.argv[2], os.O_RDONLY)
size = os.fstat(fd).st_size
passer = calls.Passer.of(fd)
"""
FILLS_FOR_EVER = BEGIN + """
target = calls.Target(passer, size, sys.argv[3] == "sealed")
print("begins", flush=True)
while True:
    calls.fill(fd, target.slot, [(0, 0, size)])
"""
TAKES_AWAY = BEGIN + """
import errno, mmap, threading
how, count = sys.argv[3], int(sys.argv[4])
target = calls.Target(passer, size, how == "punch")
over = False
def spoil():
    while not over:
        if how == "punch":
            calls.libc.fallocate(target.fd, 3, calls.ctypes.c_long(0),
                                 calls.ctypes.c_long(size))
        else:
            os.ftruncate(target.fd, 4096)
            os.ftruncate(target.fd, size)
        os.posix_fallocate(target.fd, 0, size)
thread = threading.Thread(target=spoil)
thread.start()
for _ in range(count):
    try:
        calls.fill(fd, target.slot, [(0, 0, size)])
    except calls.Failed as e:
        if (e.errno, e.stage) != (errno.EFAULT, calls.MAP):
            sys.exit(str(e))
over = True
thread.join()
"""


def child(code, *args, **kw):
    return subprocess.Popen([sys.executable, "-B", "-c", code, HERE,
                             *map(str, args)], text=True, **kw)


def check(m, model):
    """One who means well is served as ever."""
    fd = os.open(m.path / "m" / FILE, os.O_RDONLY)
    truth = (model.path / FILE).read_bytes()
    with calls.Passer.of(fd) as passer:
        target = calls.Target(passer, len(truth))
        calls.fill(fd, target.slot, [(0, 0, len(truth))])
        assert_same(target.bytes(), truth, FILE)
        target.close()
    os.close(fd)
    wait_until(lambda: m.status()["fills"]["slots"] == 0, "no slot is left")


def test_readers_are_killed_in_the_middle(mount, model, seed):
    m = mount("passthrough=off", m=model)
    chance = random.Random(seed)
    for i in range(KILLS):
        reader = child(FILLS_FOR_EVER, m.path / "m" / FILE,
                       ("sealed", "plain")[i % 2], stdout=subprocess.PIPE)
        assert reader.stdout.readline() == "begins\n"
        done = m.status()["fills"]["count"] + chance.randrange(3)
        wait_until(lambda: m.status()["fills"]["count"] >= done, "it fills")
        reader.kill()
        assert reader.wait() == -signal.SIGKILL
        reader.stdout.close()
    check(m, model)


def test_memory_is_taken_away_in_the_middle(mount, model):
    m = mount(m=model)
    for how in ("punch", "truncate"):
        spoiler = child(TAKES_AWAY, m.path / "m" / FILE, how, CYCLES // 10,
                        stderr=subprocess.PIPE)
        _, said = spoiler.communicate()
        assert spoiler.returncode == 0, said
    check(m, model)


def resources(m):
    fds = len(os.listdir(f"/proc/{m.pid}/fd"))
    maps = Path(f"/proc/{m.pid}/maps").read_text()
    return fds, sum("memfd:target" in line for line in maps.splitlines())


def test_nothing_is_left_of_a_thousand_readers(mount, model):
    m = mount(m=model)
    fd = os.open(m.path / "m" / FILE, os.O_RDONLY)
    check(m, model)
    before = resources(m)
    for i in range(CYCLES):
        with calls.Passer.of(fd) as passer:
            target = calls.Target(passer, 10_000, i % 2 == 0)
            event = os.eventfd(0)
            bell, _, _ = passer.pass_on(event, calls.PASS_EVENT)
            call = calls.fill(fd, target.slot, [(i, 0, 10_000)],
                              flags=calls.ASYNC if i % 3 == 0 else 0,
                              event=bell if i % 3 == 0 else 0)
            if i % 3 == 0:
                os.eventfd_read(event)
                calls.drop(fd, call.ticket)
            if i % 5:
                calls.drop(fd, target.slot)
            os.close(event)
            target.close()
    wait_until(lambda: m.status()["fills"]["slots"] == 0, "no slot is left")
    wait_until(lambda: all(n <= b for n, b in zip(resources(m), before)),
               lambda: f"{resources(m)} descriptors and maps, not {before}")
    os.close(fd)
