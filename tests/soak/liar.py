# SPDX-License-Identifier: Apache-2.0
"""The seed of tests/remote as a process that lies on order.

    liar.py ADDRESS PORT NAME DIR OTHER-DIR

Each line of the input is the name of a lie, which holds until the next one;
an empty line ends it.  Each is answered by a line.
"""
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "remote"))
from fake_seed import BUSY, IO, OK, STALE, UNKNOWN, FakeSeed, Faults  # noqa

LIES = {}  # name -> what it does to the seed's faults


def lie(function):
    LIES[function.__name__.replace("_", "-")] = function
    return function


@lie
def answers_500(faults):
    faults.http_status = 500
    faults.answer = lambda path, off: IO


@lie
def answers_404(faults):
    faults.http_status = 404
    faults.answer = lambda path, off: UNKNOWN


@lie
def busy(faults):
    faults.http_status = 503
    faults.answer = lambda path, off: BUSY


@lie
def short(faults):
    faults.truncate = lambda path, off: True
    faults.reshape = lambda data: data[:-len(data) // 3]


@lie
def long(faults):
    faults.surplus = 4099
    faults.reshape = lambda data: data + b"\0" * 4099


@lie
def wrong_bytes(faults):
    """Under a digest of their own: consistently so."""
    faults.wrong = lambda path, off: True


@lie
def rotten_bytes(faults):
    """Under the digest of the right ones."""
    faults.rotten = lambda path, off: True


@lie
def says_stale(faults):
    faults.answer = lambda path, off: STALE


@lie
def hangs(faults):
    faults.hang.set()


@lie
def other_protocol(faults):
    faults.protocol = 2


@lie
def garbage(faults):
    faults.surplus = 31
    faults.reshape = lambda data: b"\xff\0{" * (len(data) // 3)


OTHER_VERSION = "other-version"  # of the model is what it has


class Liar(FakeSeed):
    def __init__(self, host, port, name, path, other):
        super().__init__(port, host=host)
        self.name, self.path, self.forged = name, path, other
        self.forges = False
        self.offer(name, path)

    def obey(self, order):
        before, faults = self.faults, Faults()
        forges = order == OTHER_VERSION
        if order and not forges:
            LIES[order](faults)
        self.faults = faults
        before.hang.clear()
        if forges != self.forges:
            self.offer(self.name, self.forged if forges else self.path)
        self.forges = forges


def main():
    host, port, *rest = sys.argv[1:]
    liar = Liar(host, int(port), *rest)
    print("listening", flush=True)
    for line in sys.stdin:
        liar.obey(line.strip())
        print("done", flush=True)


if __name__ == "__main__":
    main()
