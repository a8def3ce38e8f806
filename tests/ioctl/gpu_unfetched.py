# SPDX-License-Identifier: Apache-2.0
"""A reader of a file whose bytes are not to be had: gpu_unfetched.py FILE CODE
is refused with that errno, at the stage FETCH, whichever way it wants them in
memory of a GPU; with ETIMEDOUT, of a file that nobody ever gives, a signal
ends the wait as well.
"""
import errno
import os
import signal
import sys

import calls
from gpu_reader import ROOM, TIMEOUT, Gpu, refused, send, take_lease

OFTEN = 0.02  # seconds; a signal that comes before the call is lost


def wait_until_interrupted(use, *args):
    while True:
        try:
            use(*args)
        except calls.Failed as failed:
            assert failed.stage == calls.FETCH
            if failed.errno == errno.EINTR:
                return
            # The mount itself has waited long enough before the signal came.
            assert failed.errno in (errno.EIO, errno.EHOSTUNREACH), failed


def main(path, code):
    code = int(code)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    said = calls.info(fd)
    assert said.devices >= 1
    gpu = Gpu()
    at, handle = gpu.allocate(ROOM)
    gpu.clear(at, ROOM)
    rows = [(0, 0, min(said.bytes, ROOM))]
    timeout = 10**6 if code == errno.ETIMEDOUT else TIMEOUT
    refused(code, send, fd, handle, rows, stage=calls.FETCH,
            timeout_ns=timeout)
    refused(code, take_lease, fd, stage=calls.FETCH, timeout_ns=timeout)
    if code == errno.ETIMEDOUT:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, OFTEN, OFTEN)
        wait_until_interrupted(send, fd, handle, rows)
        wait_until_interrupted(take_lease, fd)
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert not any(gpu.read(at, ROOM))


if __name__ == "__main__":
    main(*sys.argv[1:])
