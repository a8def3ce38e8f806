# SPDX-License-Identifier: Apache-2.0
"""Descriptors instead of bytes, for processes of the same host."""
import os
import socket
import stat
import struct

import mounts
import pytest


@pytest.fixture
def path(seed):
    """Of the seed's socket."""
    got = seed.ask("/v1/models").json()["host"]["socket"]
    if got is None:
        pytest.skip("no place for a socket here: " + seed.log())
    return got


def borrow(path, region):
    """(status, size, descriptor or None)"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(path)
        sock.send(struct.pack("<4sI16s", b"WFL1", 1, bytes.fromhex(region)))
        answer, fds, _, _ = socket.recv_fds(sock, 100, 4)
    magic, status, size = struct.unpack("<4sIQ", answer)
    assert magic == b"WFLA" and len(fds) == (status == 0)
    return status, size, fds[0] if fds else None


def test_a_descriptor_is_of_the_file_itself(seed, plain, path):
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    for name, row in seed.files().items():
        status, size, fd = borrow(path, row["region"])
        try:
            assert (status, size) == (0, row["size"])
            assert os.path.samestat(os.fstat(fd), os.stat(plain.path / name))
            with pytest.raises(OSError):
                os.write(fd, b"x")
        finally:
            os.close(fd)


def test_what_is_unknown_or_rewritten_is_not_lent(seed, plain, path):
    assert borrow(path, "0" * 32)[0] == 1
    row = seed.files()["config.json"]
    with open(plain.path / "config.json", "ab") as f:
        f.write(b" ")
    assert borrow(path, row["region"])[0] == 2


def test_it_can_be_switched_off(seeder, plain):
    seed = seeder("--same-host=off", m=plain)
    assert seed.ask("/v1/models").json()["host"]["socket"] is None


def test_the_socket_goes_with_the_seed(seed, path):
    assert seed.terminate() == 0
    mounts.wait_until(lambda: not os.path.exists(path), "it is gone")
