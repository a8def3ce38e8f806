# SPDX-License-Identifier: Apache-2.0
"""Fills that have to wait: for a source that hangs, as orders say (see
tests/faults/fault_source.h), until somebody has enough of it.
"""
import errno
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import calls
from mounts import DEADLINE, assert_same, environment, run, wait_until

SHARD = "model-00002-of-00003.safetensors"
HERE = Path(__file__).parent


class Slow:
    """A mount whose second shard file hangs, and memory for it."""

    def __init__(self, mount, model, folder):
        self.orders = folder / "orders"
        self.hang(False)
        self.m = mount("nodigests", "passthrough=off", m=model,
                       faults=self.orders)
        self.hang(True)
        self.path = self.m.path / "m" / SHARD
        self.truth = (model.path / SHARD).read_bytes()
        self.fd = os.open(self.path, os.O_RDONLY)
        self.passer = calls.Passer.of(self.fd)
        self.target = calls.Target(self.passer, len(self.truth))
        self.rows = [(0, 0, len(self.truth))]

    def order(self, *lines):
        fresh = self.orders.with_suffix(".new")
        fresh.write_text("".join(f"{line}\n" for line in lines))
        os.replace(fresh, self.orders)

    def hang(self, on):
        self.order("nodescriptor", *([f"hang {SHARD}"] if on else []))

    def fill(self, **fields):
        return calls.fill(self.fd, self.target.slot, self.rows, **fields)

    def is_filled(self):
        assert_same(self.target.bytes(), self.truth, "memory")


@pytest.fixture
def slow(mount, model, folder):
    it = Slow(mount, model, folder)
    yield it
    it.hang(False)
    it.passer.close()
    os.close(it.fd)


def until_waiting(thread):
    """In the kernel, for the daemon."""
    where = Path(f"/proc/{thread}/wchan")
    wait_until(lambda: where.read_text() == "request_wait_answer",
               lambda: f"the thread waits in {where.read_text()!r}")


class Child:
    """A reader that waits in a FILL of its own; says how it ended, line by
    line, when a signal or the bytes come."""

    CODE = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import calls
signal.signal(signal.SIGUSR1, lambda *_: None)
fd = os.open(sys.argv[2], os.O_RDONLY)
passer = calls.Passer.of(fd)
target = calls.Target(passer, int(sys.argv[3]))
call = calls.segments(calls.new(calls.Fill, slot=target.slot),
                      [(0, 0, target.size)])
print("begins", flush=True)
while True:
    try:
        calls.ioctl(fd, calls.FILL, call)
        break
    except calls.Failed as e:
        print(e.errno, e.stage, call.done, flush=True)
        call.head.status = 0
print("done", call.done, flush=True)
"""

    def __init__(self, slow):
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-c", self.CODE, HERE, slow.path,
             str(len(slow.truth))], stdout=subprocess.PIPE, text=True)
        assert self.line() == "begins"

    def line(self):
        return self.process.stdout.readline().strip()

    def waits(self):
        until_waiting(self.process.pid)

    def close(self):
        self.process.stdout.close()


def test_a_signal_interrupts_and_the_call_goes_on(slow):
    child = Child(slow)
    child.waits()
    child.process.send_signal(signal.SIGUSR1)
    assert child.line() == f"{errno.EINTR} {calls.FETCH} 0"
    slow.hang(False)
    assert child.line() == f"done {len(slow.truth)}"
    assert child.process.wait(DEADLINE) == 0
    child.close()


def test_a_reader_that_is_killed_is_gone_at_once(slow):
    children = [Child(slow) for _ in range(4)]
    for child in children:
        child.waits()
        child.process.kill()
    for child in children:
        assert child.process.wait(DEADLINE) == -signal.SIGKILL
        child.close()
    slow.hang(False)
    wait_until(lambda: slow.m.status()["fills"]["slots"] == 1,
               "their slots are gone")
    slow.fill()
    slow.is_filled()


def test_a_deadline_passes_while_the_source_hangs(slow):
    with pytest.raises(calls.Failed) as e:
        slow.fill(timeout_ns=50_000_000)
    assert (e.value.errno, e.value.stage) == (errno.ETIMEDOUT, calls.FETCH)
    assert e.value.call.done == 0
    slow.hang(False)
    slow.fill(timeout_ns=DEADLINE * 10 ** 9)
    slow.is_filled()


def test_nothing_else_waits_for_a_source_that_hangs(slow):
    """More fills than there are threads for them, and then a tour."""
    for _ in range(40):
        slow.fill(flags=calls.ASYNC)
    os.listdir(slow.m.path / "m" / "0")
    slow.path.stat()
    small = slow.m.path / "m" / "0" / "odd"  # of another shard file
    assert len(small.read_bytes()) == 12_345
    assert calls.info(slow.fd).bytes == len(slow.truth)


def test_the_connection_closes_in_the_middle(slow):
    ended = []
    thread = threading.Thread(target=lambda: ended.append(
        pytest.raises(calls.Failed, slow.fill).value))
    thread.start()
    until_waiting(thread.native_id)
    slow.passer.close()
    wait_until(lambda: is_gone(slow), "the mount hears of it")
    slow.hang(False)
    thread.join(DEADLINE)
    assert ended[0].errno == errno.ESRCH


def is_gone(slow):
    """The memory of a fill that still waits."""
    with pytest.raises(calls.Failed) as e:
        calls.drop(slow.fd, slow.target.slot)
    assert e.value.errno in (errno.EBUSY, errno.ESRCH)
    return e.value.errno == errno.ESRCH


def rung(event):
    poller = select.poll()
    poller.register(event, select.POLLIN)
    assert poller.poll(1000 * DEADLINE), "the event is never rung"


def test_an_asynchronous_fill_rings_when_it_is_done(slow):
    event = os.eventfd(0)
    bell, _, _ = slow.passer.pass_on(event, calls.PASS_EVENT)
    call = slow.fill(flags=calls.ASYNC, event=bell)
    assert call.done == 0 and call.ticket not in (0, slow.target.slot)
    for slot in (call.ticket, slow.target.slot):
        with pytest.raises(calls.Failed) as e:
            calls.drop(slow.fd, slot)
        assert e.value.errno == errno.EBUSY
    slow.hang(False)
    rung(event)
    assert os.eventfd_read(event) == 1
    told = calls.drop(slow.fd, call.ticket)
    assert (told.result, told.stage) == (0, 0)
    assert told.done == len(slow.truth)
    slow.is_filled()
    for slot in (bell, slow.target.slot):
        calls.drop(slow.fd, slot)
    # Who rang may still have the bell in hand.
    wait_until(lambda: slow.m.status()["fills"]["slots"] == 0,
               "no slot is left")
    os.close(event)


def test_an_event_that_is_full_holds_nobody_up(slow):
    slow.hang(False)
    event = os.eventfd((1 << 32) - 1)
    os.eventfd_write(event, (1 << 64) - 2 - ((1 << 32) - 1))
    bell, _, _ = slow.passer.pass_on(event, calls.PASS_EVENT)
    for _ in range(20):
        call = slow.fill(flags=calls.ASYNC, event=bell)
        wait_until(lambda: dropped_if_done(slow, call.ticket),
                   "the fill ends")
    os.close(event)


def dropped_if_done(slow, ticket):
    try:
        return calls.drop(slow.fd, ticket).done
    except calls.Failed as e:
        assert e.errno == errno.EBUSY
        return 0


def test_an_asynchronous_fill_tells_how_it_failed(slow):
    event = os.eventfd(0)
    bell, _, _ = slow.passer.pass_on(event, calls.PASS_EVENT)
    late = slow.fill(flags=calls.ASYNC, event=bell, timeout_ns=1_000_000)
    rung(event)
    told = calls.drop(slow.fd, late.ticket)
    assert (told.result, told.stage) == (-errno.ETIMEDOUT, calls.FETCH)
    os.close(event)


def test_bytes_that_cannot_be_read(slow):
    slow.order("nodescriptor", f"eio {SHARD}")
    with pytest.raises(calls.Failed) as e:
        slow.fill()
    assert (e.value.errno, e.value.stage) == (errno.EIO, calls.FETCH)
    assert slow.m.status()["fills"]["errors"] >= 1
    slow.hang(False)
    slow.fill()
    slow.is_filled()


def test_the_mount_ends_while_fills_wait(slow):
    child = Child(slow)
    child.waits()
    slow.fill(flags=calls.ASYNC)
    assert run("umount", "--lazy", slow.m.path).returncode == 0
    os.close(slow.fd)
    os.kill(slow.m.pid, signal.SIGTERM)
    said = child.line()
    assert said.split()[0] in map(str, (errno.ENOTCONN, errno.ECONNABORTED))
    child.process.kill()
    child.process.wait()
    child.close()
    slow.fd = os.open("/dev/null", os.O_RDONLY)
