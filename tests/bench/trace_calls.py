# SPDX-License-Identifier: Apache-2.0
"""System calls of threads, counted by the kernel: nothing stops them meanwhile,
as strace does, which makes threads wait for each other that else would not."""
import os
import re
import subprocess

TRACEFS = "/sys/kernel/tracing"
NAME = "weightfs-bench"
CALLS = "raw_syscalls/sys_enter", "hist:keys=common_pid,id.syscall:size=4096"
WRITES = "syscalls/sys_enter_write", "hist:keys=common_pid,fd:size=4096"
ROW = re.compile(r"^\{ (.*) \} hitcount: +(\d+)", re.M)


def threads(pid, names):
    """Those of a process that have one of these names, {id: name}."""
    found = {}
    for tid in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/comm" % (pid, tid),
                  encoding="utf-8") as file:
            found[int(tid)] = file.read().strip()
    return {tid: name for tid, name in found.items() if name in names}


def is_device(pid, fd):
    try:
        return os.readlink("/proc/%d/fd/%d" % (pid, fd)).startswith(
            "/dev/infiniband/")
    except FileNotFoundError:
        return False


class Trace:
    """with Trace(pid, names) as trace: ...; then trace.calls is {call: count},
    trace.device how many of them wrote to an RDMA device."""

    def __init__(self, pid, names):
        self.pid, self.threads = pid, threads(pid, names)
        self.at = os.path.join(TRACEFS, "instances", NAME)

    def put(self, name, text):
        with open(os.path.join(self.at, name), "w", encoding="ascii") as file:
            file.write(text)

    def rows(self, event):
        """[({key: value}, count)] of our threads"""
        with open(os.path.join(self.at, "events", event, "hist"),
                  encoding="ascii") as file:
            found = ROW.findall(file.read())
        rows = [(dict(re.findall(r"(\S+): *([\w-]+)", keys)), int(count))
                for keys, count in found]
        return [row for row in rows
                if int(row[0]["common_pid"]) in self.threads]

    def __enter__(self):
        if not os.path.exists(os.path.join(TRACEFS, "instances")):
            subprocess.run(["mount", "-t", "tracefs", "none", TRACEFS],
                           check=True)
        os.makedirs(self.at, exist_ok=True)
        for event, trigger in (CALLS, WRITES):
            self.put("events/%s/trigger" % event, trigger)
        return self

    def __exit__(self, *_):
        self.calls = {}
        for keys, count in self.rows(CALLS[0]):
            name = keys["id"].removeprefix("sys_")
            self.calls[name] = self.calls.get(name, 0) + count
        self.device = sum(count for keys, count in self.rows(WRITES[0])
                          if is_device(self.pid, int(keys["fd"])))
        for event, trigger in (CALLS, WRITES):
            self.put("events/%s/trigger" % event, "!" + trigger)
        os.rmdir(self.at)
