# SPDX-License-Identifier: Apache-2.0
"""Fills and calls drawn by chance."""
import ctypes
import errno
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import calls
from mounts import SAN, environment, tensor_path

FILLER = Path(__file__).with_name("filler.py")
FILLS = 250 if not SAN else 40  # of each of four processes
RANDOM_CALLS = 100_000 if not SAN else 5_000


def table(m, model, path):
    rows = [(str(tensor_path(m, "m", rank, name)), str(p.file), p.offset,
             p.size) for rank, name, p in model.tensors()]
    rows += [(str(m.path / "m" / f), str(model.path / f), 0,
              (model.path / f).stat().st_size) for f in model.files()]
    path.write_text(json.dumps(rows))
    return path


def run_fillers(folder, rows, seed, count=FILLS, n=4):
    processes = [subprocess.Popen(
        [sys.executable, FILLER, str(seed + i), str(count), rows],
        stderr=subprocess.PIPE, text=True, env=environment(folder))
        for i in range(n)]
    for i, process in enumerate(processes):
        _, said = process.communicate()
        assert process.returncode == 0, f"seed {seed + i}: {said}"


@pytest.mark.parametrize("options", [(), ("passthrough=off",),
                                     ("arena_size=8M",)])
def test_a_thousand_random_fills_by_four_processes(mount, model, folder, seed,
                                                   options):
    m = mount(*options, m=model)
    run_fillers(folder, table(m, model, folder / "table.json"), seed,
                FILLS if not options else FILLS // 5)
    fills = m.status()["fills"]
    assert fills["count"] > 0 and fills["errors"] == 0


def random_call(chance, slots):
    """A call as a fuzzer would make it: mostly a fill that is nearly right."""
    kind, number = chance.choice([(calls.Fill, calls.FILL)] * 6 + [
        (calls.Info, calls.INFO), (calls.Lend, calls.LEND),
        (calls.Drop, calls.DROP)])
    call = calls.new(kind)
    text = (ctypes.c_uint8 * ctypes.sizeof(kind)).from_buffer(call)
    if kind is calls.Fill:
        few = (0, 1, 7, 4096, 10_000, 20_000, 1 << 40, (1 << 64) - 1)
        call.slot = chance.choice(slots)
        call.count = chance.choice((0, 1, 2, 64, 65))
        call.timeout_ns = chance.choice((0, 0, 1, 10 ** 9))
        call.done = chance.choice((0, 0, 0, 1, 5000))
        for i in range(2):
            call.segment[i] = calls.Segment(*(chance.choice(few)
                                              for _ in range(6)))
            if chance.random() < 0.7:
                call.segment[i].count = chance.choice((1, 2))
    elif kind is calls.Drop and chance.random() < 0.9:
        call.slot = chance.getrandbits(64)
    for _ in range(chance.choice((0, 0, 1, 3))):
        text[chance.randrange(len(text))] = chance.getrandbits(8)
    if chance.random() < 0.01:
        number = chance.getrandbits(32)
    return number, call, text


def test_random_calls_do_no_harm(mount, model, seed):
    m = mount(m=model)
    chance = random.Random(seed)
    names = ["0/odd", "0/many.dims", "config.json", "0/none",
             "model-00001-of-00003.safetensors"]
    fds = [os.open(m.path / "m" / name, os.O_RDONLY) for name in names]
    fds += [os.open(m.path / name, os.O_RDONLY)
            for name in (".", "m/0", ".weightfs/version")]
    room = (ctypes.c_uint8 * (1 << 14))()
    with calls.Passer.of(fds[0]) as passer:
        targets = [calls.Target(passer, 10_000, seal)
                   for seal in (True, False)]
        event = os.eventfd(0, os.EFD_NONBLOCK)
        slots = [t.slot for t in targets] + [
            passer.pass_on(event, calls.PASS_EVENT)[0], 0, 1]
        seen = set()
        for _ in range(RANDOM_CALLS):
            number, call, text = random_call(chance, slots)
            ctypes.memmove(room, text, len(text))
            rc = calls.libc.ioctl(chance.choice(fds), number,
                                  ctypes.addressof(room))
            seen.add(ctypes.get_errno() if rc else 0)
    os.close(event)
    assert seen >= {0, errno.EINVAL, errno.ERANGE, errno.ENOTTY, errno.ESRCH}
    assert SAN or seen >= {errno.ETIMEDOUT, errno.EOPNOTSUPP, errno.ENXIO}
    for target in targets:
        assert os.fstat(target.fd).st_size == 10_000
        target.close()
    assert os.read(fds[0], 20_000) == model.ranks["0"]["odd"].read()
    for fd in fds:
        os.close(fd)
