# SPDX-License-Identifier: Apache-2.0
"""Connections leave nothing behind, in the process or in the kernel."""
import json
import os
import subprocess

import mounts

TIMES = 200
PROGRAM = os.path.join(os.environ.get("WEIGHTFS_BUILD", "build/release"),
                       "rdma", "connects")


def held(pid):
    """What the process has: descriptors, and each kind of verbs object."""
    found = {"files": len(os.listdir(f"/proc/{pid}/fd")),
             "threads": len(os.listdir(f"/proc/{pid}/task"))}
    for kind in ("qp", "cq", "pd", "mr", "cm_id"):
        rows = json.loads(subprocess.run(
            ["rdma", "-j", "resource", "show", kind], check=True, text=True,
            stdout=subprocess.PIPE).stdout or "[]")
        found[kind] = sum(row.get("pid") == pid for row in rows)
    return found


def test_two_hundred_connections_leave_nothing(folder):
    with subprocess.Popen([PROGRAM, str(TIMES)], text=True,
                          stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == "once\n"
            # The seed's own half of a connection goes when it hears of it,
            # and what belongs to that a moment later.
            seen = [None]

            def settled():
                before, seen[0] = seen[0], held(process.pid)
                return seen[0]["qp"] == 0 and seen[0] == before
            mounts.wait_until(settled, lambda: f"all end: {seen[0]}",
                              every=0.5)
            once = seen[0]
            assert once["pd"] and once["mr"] and once["cm_id"], once
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
            mounts.wait_until(lambda: all(
                n <= once[kind] for kind, n in held(process.pid).items()),
                              lambda: f"{once} is left, not "
                              f"{held(process.pid)}")
            process.stdin.write("\n")
            process.stdin.close()
            assert process.wait(mounts.DEADLINE) == 0
        finally:
            process.kill()
