# SPDX-License-Identifier: Apache-2.0
"""A small seed that speaks transport/PROTOCOL.md, and can be told to lie.

Written from that page alone, so that it is a second opinion on it.  As a
program it serves until it is killed; in a test it is a thread whose behaviour
is changed while it runs.

    fake_seed.py [--port=N] [--live=JSON] NAME=DIR…

prints its port on a line.
"""
import ctypes
import ctypes.util
import hashlib
import json
import os
import re
import secrets
import socket
import struct
import sys
import threading
import time
from pathlib import Path

CHUNK = 1 << 20
OK, UNKNOWN, STALE, IO, NOT_HELD, MALFORMED, BUSY = range(7)

_lib = ctypes.CDLL(ctypes.util.find_library("xxhash"))


class _Hash(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


_lib.XXH3_128bits.restype = _Hash
_lib.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def xxh3(data):
    h = _lib.XXH3_128bits(bytes(data), len(data))
    return struct.pack(">QQ", h.high, h.low)


class Region:
    def __init__(self, path):
        st = path.stat()
        self.path = path
        self.size = st.st_size
        self.id = hashlib.sha256(
            f"{path} {st.st_ino} {st.st_size} {st.st_mtime_ns}".encode()
        ).digest()[:16]

    def chunk(self, off, length):
        with open(self.path, "rb") as f:
            f.seek(off)
            return f.read(length)

    def read(self):
        return self.path.read_bytes()

    def digests(self, hash=xxh3):
        data = self.read()
        return [hash(data[i:i + CHUNK]) for i in range(0, len(data), CHUNK)]


class Memory(Region):
    """Bytes of an engine, which has them under no name twice."""

    def __init__(self, path):
        super().__init__(path)
        self.id = secrets.token_bytes(16)
        self.data = path.read_bytes()

    def chunk(self, off, length):
        return self.data[off:off + length]

    def read(self):
        return self.data


class Live:
    """What an engine's worker says of itself."""

    def __init__(self, ranks, layout="tp4", epoch=1, declared=None,
                 state="loaded", engine="vllm", version="0.32"):
        self.said = {"epoch": epoch, "engine": engine, "engine_version":
                     version, "layout": layout, "ranks": ranks, "state":
                     state, "declared": declared}

    def has(self, name):
        m = re.fullmatch(r"model-rank-(\d+)-part-\d+\.safetensors", name)
        return not m or int(m[1]) in self.said["ranks"]


def sha256(data):
    return hashlib.sha256(data).digest()


class Faults:
    """What the seed does otherwise than it should."""

    def __init__(self):
        self.roots = True  # it knows its root digests
        self.answer = lambda path, off: OK  # status of a chunk
        self.http_status = None  # of every control request
        self.protocol = 1
        self.wrong = lambda path, off: False  # bytes, under a digest of them
        self.rotten = lambda path, off: False  # bytes, under the right digest
        self.truncate = lambda path, off: False  # closes within the chunk
        self.drip = lambda path, off: 0  # pieces of a chunk, each later
        self.delay = lambda path, off: 0  # seconds before an answer
        self.has_sha256 = lambda path: True  # it knows the list of a file
        self.manifest = lambda manifest: manifest
        self.reshape = None  # what comes of a body after its length was said
        self.surplus = 0  # bytes after a chunk that belong to nothing
        self.hang = threading.Event()  # while set nothing is answered


class FakeSeed:
    def __init__(self, port=0, token=None, host="127.0.0.1", **models):
        self.faults = Faults()
        self.token = token
        self.models = {}
        self.live = {}  # by name
        self.regions = {}
        self.stale = set()  # ids of what an engine has overwritten
        self.node = secrets.token_hex(16)
        self.requests = []  # (path, offset) of chunks asked for
        self.connections = set()
        self.closed = False
        self.lock = threading.Lock()  # of the two above
        self.socket = socket.create_server((host, port), backlog=64)
        self.port = self.socket.getsockname()[1]
        for name, path in models.items():
            self.offer(name, path)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def offer_live(self, name, path, ranks, **said):
        """The ranks of the dump in `path`, as an engine has them in memory."""
        self.stale |= {bytes.fromhex(f["region"]) for f in
                       self.models.get(name, (0, []))[1] if "region" in f}
        self.live[name] = Live(ranks, **said)
        self.offer(name, path)

    def offer(self, name, path):
        """Offers what lies in `path` now: a new version if that is new."""
        path, live = Path(path), self.live.get(name)
        files = []
        for top, dirs, names in os.walk(path):
            for item in dirs + names:
                p = Path(top, item)
                if live and not live.has(item):
                    continue
                st = p.stat()
                row = {"path": str(p.relative_to(path)), "mode": st.st_mode
                       & 0o777, "mtime": [st.st_mtime_ns // 10**9,
                                          st.st_mtime_ns % 10**9]}
                if p.is_dir():
                    row["directory"] = True
                else:
                    region = (Memory if live else Region)(p)
                    self.regions[region.id] = region
                    row |= {"size": region.size, "region": region.id.hex(),
                            "xxh3": None, "sha256": None, "held": 1.0}
                files.append(row)
        self._believe(path / "weightfs.digests.json", files)
        files.sort(key=lambda row: row["path"].encode())
        version = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]
        self.models[name] = (version, files)

    @staticmethod
    def _believe(manifest, files):
        """SHA-256 roots from the digest manifest, where there is one."""
        if manifest.exists():
            said = {f["path"]: f for f in
                    json.loads(manifest.read_text())["files"]}
            for row in files:
                f = said.get(row["path"])
                if f and f["size"] == row.get("size"):
                    row["sha256"] = f["sha256"]

    def withdraw(self, name):
        _, files = self.models.pop(name)
        if self.live.pop(name, None):  # the memory is somebody else's now
            for f in files:
                self.regions.pop(bytes.fromhex(f["region"]), None)

    def close(self):
        with self.lock:
            if self.closed:
                return
            self.closed = True
            connections = list(self.connections)
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for conn in connections:
            try:
                conn.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while not self.closed:
            try:
                conn, _ = self.socket.accept()
            except OSError:
                return
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                if self.closed:
                    conn.close()
                    return
                self.connections.add(conn)
            threading.Thread(target=self._serve, args=(conn,),
                             daemon=True).start()

    def _serve(self, conn):
        try:
            with conn, conn.makefile("rb") as file:
                while self._request(conn, file):
                    pass
        except (OSError, ValueError, struct.error):
            pass
        finally:
            with self.lock:
                self.connections.discard(conn)

    def _wait(self):
        while self.faults.hang.is_set() and not self.closed:
            time.sleep(0.02)

    def _request(self, conn, file):
        line = file.readline().decode()
        if not line:
            return False
        target = line.split()[1]
        headers = {}
        while (row := file.readline().decode().strip()):
            key, value = row.split(":", 1)
            headers[key.lower()] = value.strip()
        self._wait()
        if self.faults.http_status:
            return self._reply(conn, self.faults.http_status,
                               {"error": "told to"})
        if self.token and headers.get("authorization") != (
                f"Bearer {self.token}"):
            return self._reply(conn, 401, {"error": "no or a wrong token"})
        if headers.get("weightfs-protocol") != str(self.faults.protocol):
            return self._reply(conn, 426, {
                "error": f"this seed speaks protocol {self.faults.protocol}, "
                f"you {headers.get('weightfs-protocol')}"})
        if target == "/v1/stream":
            conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: "
                         b"Upgrade\r\nUpgrade: weightfs-stream/1\r\n\r\n")
            return self._stream(conn, file)
        return self._get(conn, target, headers)

    def _reply(self, conn, status, body, extra=""):
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        head = (f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}"
                f"\r\n{extra}\r\n").encode()
        reshape = self.faults.reshape
        conn.sendall(head + (reshape(body) if reshape else body))
        return not reshape

    def _get(self, conn, target, headers):
        path, _, query = target.partition("?")
        if path == "/v1/models":
            rows = [{"name": name, "version": version, "format": "hf",
                     "bytes": sum(f.get("size", 0) for f in files),
                     "manifest": f"/v1/models/{name}/manifest"}
                    for name, (version, files) in sorted(self.models.items())]
            body = json.dumps({"protocol": self.faults.protocol, "node":
                               self.node, "chunk_bytes": CHUNK, "models":
                               rows, "software": "fake"}).encode()
            etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            if headers.get("if-none-match") == etag:
                return self._reply(conn, 304, b"", f"ETag: {etag}\r\n")
            return self._reply(conn, 200, body, f"ETag: {etag}\r\n")
        if (m := re.fullmatch("/v1/models/([^/]+)/manifest", path)):
            if m[1] not in self.models:
                return self._reply(conn, 404, {"error": "no such model"})
            version, files = self.models[m[1]]
            live = self.live.get(m[1])
            if self.faults.roots and "wait=" in query and not live:
                files = [dict(f, xxh3=xxh3(b"".join(self.regions[
                    bytes.fromhex(f["region"])].digests())).hex())
                    if "region" in f else f for f in files]
            manifest = {"protocol": self.faults.protocol, "model": m[1],
                        "version": version, "format": "hf", "chunk_bytes":
                        CHUNK, "tree_sha256": None, "files": files,
                        "ranks": []}
            if live:
                manifest["live"] = live.said
            return self._reply(conn, 200, self.faults.manifest(manifest))
        if (m := re.fullmatch("/v1/regions/([0-9a-f]{32})/digests", path)):
            region = self.regions.get(bytes.fromhex(m[1]))
            if not region:
                return self._reply(conn, 404, {"error": "no such region"})
            number, size, hash = 1, 16, xxh3
            if "algorithm=sha256" in query:
                number, size, hash = 2, 32, sha256
                if not self.faults.has_sha256(region.path.name):
                    return self._reply(conn, 202, b"", "Retry-After: 1\r\n")
            return self._reply(conn, 200, b"WFSDIG01" + struct.pack(
                "<IIQQ", number, size, CHUNK, region.size)
                + b"".join(region.digests(hash)))
        if (m := re.fullmatch("/v1/regions/([0-9a-f]{32})", path)):
            region = self.regions.get(bytes.fromhex(m[1]))
            if not region:
                return self._reply(conn, 404, {"error": "no such region"})
            if region.id in self.stale:
                return self._reply(conn, 410, {"error": "overwritten"})
            data = region.read()
            if (part := re.fullmatch("bytes=0-([0-9]+)",
                                     headers.get("range", ""))):
                return self._reply(conn, 206, data[:int(part[1]) + 1])
            return self._reply(conn, 200, data)
        return self._reply(conn, 404, {"error": "nothing of that name"})

    def _stream(self, conn, file):
        while (frame := file.read(48)):
            magic, op, flags, tag, length, rid, off, zero = struct.unpack(
                "<4sHHII16sQQ", frame)
            assert (magic, op, flags, zero) == (b"WFR1", 1, 0, 0), frame
            assert off % CHUNK == 0, off
            self._wait()
            self._answer(conn, tag, rid, off, length)
        return False

    def _answer(self, conn, tag, rid, off, length):
        faults, region = self.faults, self.regions.get(rid)
        status = (UNKNOWN if not region else STALE if rid in self.stale
                  else faults.answer(region.path.name, off))
        if status != OK:
            text = b"told to"
            conn.sendall(struct.pack("<4sIII16s", b"WFA1", tag, status,
                                     len(text), bytes(16)) + text)
            return
        name = region.path.name
        self.requests.append((name, off))
        data = region.chunk(off, length)
        assert len(data) == length == min(CHUNK, region.size - off)
        digest = xxh3(data)
        time.sleep(faults.delay(name, off))
        if faults.wrong(name, off) or faults.rotten(name, off):
            lie = bytearray(data)
            lie[len(lie) // 2] ^= 1
            data = bytes(lie)
            if faults.wrong(name, off):
                digest = xxh3(data)
        head = struct.pack("<4sIII16s", b"WFA1", tag, OK, length, digest)
        if faults.truncate(name, off):
            conn.sendall(head + data[:length // 2])
            raise OSError("told to")
        conn.sendall(head)
        data += bytes(faults.surplus)
        step = len(data) // (faults.drip(name, off) + 1) + 1
        for at in range(0, len(data), step):
            time.sleep(0.15 if at else 0)
            conn.sendall(data[at:at + step])


def main():
    models = dict(arg.split("=", 1) for arg in sys.argv[1:])
    live = json.loads(models.pop("--live", "null"))
    seed = FakeSeed(int(models.pop("--port", "0")),
                    **({} if live else models))
    for name, path in models.items() if live else ():
        seed.offer_live(name, path, **live)
    print(seed.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
