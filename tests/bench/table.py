# SPDX-License-Identifier: Apache-2.0
"""The table: one line for each thing measured, as text and as JSON."""
import json
import os

WIDTH = 50
GB = 1e9


def machine():
    """The machine's name in a line: what the figures are worth depends on it."""
    model = "unknown CPU"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return "%s, %d cores, %.0f GiB, Linux %s" % (
        model, len(os.sched_getaffinity(0)), memory / (1 << 30),
        os.uname().release)


def shown(value, unit):
    if value is None:
        return "-"
    return "%.*f %s" % (0 if abs(value) >= 100 else 1 if abs(value) >= 20 else
                        2 if abs(value) >= 1 else 3, value, unit)


class Table:
    """Prints each line as it comes and keeps it for the JSON."""

    def __init__(self):
        self.lines = []
        self.machine = machine()
        print("\n%s\n" % self.machine)
        self.row("what", "weightfs", "compared with", "limit", "ratio",
                 "target", "")

    @staticmethod
    def row(what, value, against, limit, ratio, target, met):
        print("%-*s %11s  %-25s %11s %7s  %-9s %s" % (
            WIDTH, what, value, against, limit, ratio, target, met),
            flush=True)

    def add(self, name, value, unit, target=None, baseline=None,
            against=None, limit=None, enough=None):
        """A line.  `target` is (">=" or "<=", number): of the ratio where
        there is a baseline, else of the value.  `limit` is what the machine
        does at best, in the same unit; a value of `enough` times that meets
        any target."""
        ratio = value / baseline if baseline else None
        met = None
        if target:
            have = value if ratio is None else ratio
            met = have >= target[1] if target[0] == ">=" else have <= target[1]
            if enough and value >= enough * limit:
                met = True
        self.lines.append({
            "name": name, "value": value, "unit": unit, "baseline": baseline,
            "against": against, "limit": limit, "ratio": ratio,
            "target": "%s %g" % target if target else None, "met": met,
            "machine": self.machine})
        self.row(name, shown(value, unit),
                 "%s %s" % (shown(baseline, unit), against) if baseline
                 else "", shown(limit, unit) if limit else "",
                 "%.2f" % ratio if ratio else "",
                 "%s %g" % target if target else "",
                 {True: "met", False: "MISSED", None: ""}[met])

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.lines, file, indent=1)
            file.write("\n")
