# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to seeds, links and readers: right bytes, no bus error, no
read that fails while one good source is left, and nothing that leaks.

`make soak` plays a longer script of the same kind: FAULTS= many, which follow
from the number SEED=.
"""
import collections
import json
import os
import time

import pytest

import script
from mounts import SAN, wait_until
from world import HONEST, LANES, WORKERS

FAULTS = int(os.environ.get("FAULTS") or (12 if SAN else 50))
LOST_FOR = float(os.environ.get("LOST_FOR") or 0)  # s, some of the times
GROWTH = 24 << 20  # bytes of memory that fragments may take
MOUNTS = 3
SOCKETS = 3  # of a connection, with those by which libcurl is woken
BUFFER = (1 << 20) + (64 << 10)  # of a thread that answers reads


def leaks(world, before):
    """What is held that was not held before, as sentences."""
    found = []
    for name, now in world.holds().items():
        was, is_mount = before[name], name not in world.wires()
        others = HONEST + 1 if is_mount else MOUNTS
        # A seed has each file open that somebody read.
        files = 0 if is_mount else len(world.truth.bytes)
        most = {"files": was["files"] + files,
                # Lanes, what is asked and what is told by events.
                "sockets": SOCKETS * (LANES + 2) * others + 8,
                # Those that answer reads, or a connection.
                "threads": was["threads"] + (WORKERS if is_mount else
                                             (LANES + 1) * others),
                "memory": was["memory"] + GROWTH + BUFFER * max(
                    0, now["threads"] - was["threads"])}
        found += [f"{name}: {now[what]} {what}, not {limit}"
                  for what, limit in most.items()
                  if now[what] > limit and not (SAN and what == "memory")]
    return found


def lets_go(world, before):
    """What was being prefetched when all was dropped is there again."""
    world.chill()
    return not leaks(world, before)


def report(world, counts, before, after):
    reads = sum(r.reads for r in world.readers)
    print("\n".join(world.notes))
    print(json.dumps({
        "seed": world.seed, "faults": sum(counts.values()), "kinds": counts,
        "seconds": round(time.monotonic() - world.begun, 1), "reads": reads,
        "megabytes": sum(r.bytes for r in world.readers) // 1000000,
        "loads": world.loads,
        "longest_read_s": round(max(r.longest for r in world.readers), 2),
        "readers_waiting_when_all_were_lost": world.waited,
        "ls_stat_status_then_ms": [round(ms, 1) for ms in world.answer_ms],
        "before": before, "after": after}, indent=1))


def play(world, script_part):
    """A part of the script; then all is quiet, and what is held is told."""
    world.begin_reading()
    counts = script.play(world, script_part)
    if not world.wrong + world.trouble():
        world.wait_progress()
    world.end_reading()
    if world.wrong:
        print("\n".join(world.notes))
    assert not world.wrong, world.wrong
    world.chill()
    return counts


@pytest.mark.timeout(60 * FAULTS)
def test_random_faults(world, number):
    """After half of them all that there is to be held is held."""
    steps = script.write(number, FAULTS, HONEST)
    world.lost_for = LOST_FOR
    world.warm_up()
    middle = script.middle(steps)
    counts = collections.Counter(play(world, steps[:middle]))
    before = world.holds()
    counts.update(play(world, steps[middle:]))
    after = world.holds()
    report(world, counts, before, after)
    assert sum(counts.values()) == FAULTS
    wait_until(lambda: lets_go(world, before),
               lambda: "; ".join(leaks(world, before)) + " are let go")
