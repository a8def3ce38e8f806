# SPDX-License-Identifier: Apache-2.0
"""The stream of PROTOCOL.md from a client's side, in a few lines of Python."""
import socket
import ssl
import struct

CHUNK = 1 << 20
OK, UNKNOWN, STALE, IO, NOT_HELD, MALFORMED, BUSY = range(7)


def request(region, off, size, tag=1, op=1):
    return struct.pack("<4sHHII16sQQ", b"WFR1", op, 0, tag, size,
                       bytes.fromhex(region), off, 0)


class Stream:
    """A connection that was upgraded."""

    def __init__(self, address, headers=(), early=b"", context=None,
                 name="weightfs-stream/1", timeout=60):
        sock = socket.create_connection(address, timeout)
        if context:
            sock = context.wrap_socket(sock, server_hostname="localhost")
        self.sock = sock
        lines = ["GET /v1/stream HTTP/1.1", "Host: seed",
                 "Connection: Upgrade", f"Upgrade: {name}", *headers]
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + early)
        head = b""
        while b"\r\n\r\n" not in head:
            got = sock.recv(1)
            if not got:
                raise ConnectionError(f"closed after {head!r}")
            head += got
        self.head = head.decode()
        self.status = int(self.head.split()[1])

    def send(self, data):
        self.sock.sendall(data)

    def exactly(self, size):
        data = bytearray()
        while len(data) < size:
            got = self.sock.recv(min(size - len(data), 1 << 20))
            if not got:
                raise EOFError(f"closed after {len(data)} of {size} bytes")
            data += got
        return bytes(data)

    def answer(self):
        """(tag, status, digest as hex, bytes)"""
        magic, tag, status, size, digest = struct.unpack(
            "<4sIII16s", self.exactly(32))
        assert magic == b"WFA1"
        return tag, status, digest.hex(), self.exactly(size)

    def read(self, region, off, size, tag=1):
        self.send(request(region, off, size, tag))
        return self.answer()

    def is_closed(self):
        """Waits for the end; False when bytes came instead."""
        try:
            return self.sock.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
