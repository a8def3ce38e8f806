# SPDX-License-Identifier: Apache-2.0
"""Starts `weightfs seed` and talks to it as anybody could."""
import contextlib
import ctypes
import ctypes.util
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import mounts

DEADLINE = mounts.DEADLINE


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        self.body = body

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The sentence of a refusal."""
        return self.json()["error"]

    @property
    def etag(self):
        return self.headers["etag"].strip('"')


class Seed:
    """A running seed in front, on a port of its own."""

    def __init__(self, folder, name, args, address="127.0.0.1:0", wrap=(),
                 program=mounts.PROGRAM, command="seed", env=None):
        self.folder, self.args = folder, [str(a) for a in args]
        self.log_path = folder / f"{name}.log"
        self.context = None
        self.token = None
        self.expect_rc = 0
        listen = ["--listen", address] if address else []
        self.command = [*wrap, str(program), command, "-f", *listen,
                        "--digest-cache", str(folder / "digests"),
                        "--log-level", "debug", *self.args]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env={**mounts.environment(folder), **(env or {})},
                preexec_fn=mounts.die_with_parent, start_new_session=True)

    @classmethod
    def of(cls, mount):
        """The seeding side of a mount, which owns the process."""
        seed = cls.__new__(cls)
        seed.process, seed.log_path = mount.process, mount.log_path
        seed.context = seed.token = None
        return seed.wait_ready()

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_ready(self):
        def url():
            assert self.process.poll() is None, self.log()
            return re.search(r"seeding on '(\w+)://(.*):(\d+)'", self.log())
        found = mounts.wait_until(url, "the seed listens")
        self.scheme = found[1]
        self.address = (found[2].strip("[]"), int(found[3]))
        return self

    @property
    def url(self):
        return f"{self.scheme}://localhost:{self.address[1]}"

    # ---- HTTP

    def connect(self, timeout=DEADLINE):
        if self.scheme == "https":
            conn = http.client.HTTPSConnection(
                *self.address, timeout=timeout, context=self.context)
        else:
            conn = http.client.HTTPConnection(*self.address, timeout=timeout)
        return conn

    def ask(self, path, method="GET", headers=None, body=None, conn=None):
        own = conn is None
        conn = conn or self.connect()
        headers = dict(headers or {})
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        try:
            conn.request(method, path, body=body, headers=headers)
            response = conn.getresponse()
            return Answer(response, response.read())
        finally:
            if own:
                conn.close()

    def answers(self, path="/healthz"):
        """Does it let one more in and answer?  Not yet while it is full,
        says so or cuts the connection off, nor while those that are dead
        fill the queue that it listens on."""
        try:
            return self.ask(path).status == 200
        except ConnectionError:
            return False

    def wait_answers(self, path="/healthz"):
        def answers():
            assert self.process.poll() is None, self.log()
            return self.answers(path)
        mounts.wait_until(answers, f"'{path}' is answered")

    def curl(self, *args):
        out = subprocess.run(["curl", "-sS", "--noproxy", "*", *args],
                             capture_output=True, check=True)
        return out.stdout

    def patiently(self, ask):
        """What that gives.  With a short --client-timeout a machine that is
        slow is cut off before it has asked, too, and asks again."""
        def asked():
            with contextlib.suppress(ConnectionError):
                return ask()
            assert self.process.poll() is None, self.log()
            return None
        return mounts.wait_until(asked, "it is in time with its request")

    def raw(self, text=b"", timeout=DEADLINE):
        sock = socket.create_connection(self.address, timeout)
        if text:
            sock.sendall(text)
        return sock

    def models(self):
        return {m["name"]: m for m in self.ask("/v1/models").json()["models"]}

    def manifest(self, model="m", query=""):
        return self.patiently(lambda: self.ask(
            f"/v1/models/{model}/manifest{query}")).json()

    def files(self, model="m"):
        """{path: row} of the regular files."""
        return {f["path"]: f for f in self.manifest(model)["files"]
                if not f.get("directory")}

    def metrics(self):
        out = {}
        got = self.patiently(lambda: self.ask("/metrics"))
        for line in got.body.decode().splitlines():
            if not line.startswith("#"):
                sample, value = line.rsplit(" ", 1)
                out[sample.removeprefix("weightfs_seed_")] = float(value)
        return out

    # ---- what it holds

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def tasks(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def held(self):
        """Descriptors and threads, when nobody is connected any more."""
        return self.fds(), self.tasks()

    def settled(self):
        """What it holds when it is idle: asked until it stays the same."""
        return self.wait_held(lambda now, before: now == before)

    def wait_held(self, right):
        before = [None]

        def steady():
            now = self.held()
            fine = right(now, before[0])
            before[0] = now
            return fine and now
        return mounts.wait_until(steady, f"idle; holds {before}", every=0.2)

    def wait_back_to(self, held):
        mounts.wait_until(
            lambda: all(a <= b for a, b in zip(self.held(), held)),
            f"back to {held} descriptors and threads", every=0.1)

    # ---- its end

    def terminate(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def close(self):
        """What went wrong, as sentences."""
        wrong = []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                wrong.append("SIGTERM did not end the seed")
                self.process.kill()
                self.process.wait()
        if self.process.returncode != self.expect_rc:
            wrong.append(f"exit status {self.process.returncode}, "
                         f"not {self.expect_rc}")
        found = mounts.FINDING.search(self.log())
        if found:
            wrong.append(f"in the log: {found[0]}")
        return wrong


def openssl(folder, *args):
    subprocess.run(["openssl", *args], cwd=folder, check=True,
                   capture_output=True)


def authority(folder, name="ca"):
    """A certificate authority: its files in `folder` are NAME.pem, .key."""
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", f"/CN=weightfs test {name}", "-keyout", f"{name}.key",
            "-out", f"{name}.pem")
    return folder / f"{name}.pem"


def certificate(folder, name, ca="ca"):
    """(certificate, key), signed by the authority."""
    (folder / f"{name}.ext").write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
            f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem",
            "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2",
            "-extfile", f"{name}.ext", "-out", f"{name}.pem")
    return folder / f"{name}.pem", folder / f"{name}.key"


def trusting(ca, cert=None, key=None):
    context = ssl.create_default_context(cafile=ca)
    if cert:
        context.load_cert_chain(cert, key)
    return context


class Xxh128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


xxhash = ctypes.CDLL(ctypes.util.find_library("xxhash"))
xxhash.XXH3_128bits.restype = Xxh128
xxhash.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def xxh3_of(data):
    got = xxhash.XXH3_128bits(bytes(data), len(data))
    return got.high.to_bytes(8, "big") + got.low.to_bytes(8, "big")


def sha256_of(data):
    return hashlib.sha256(data).digest()


def is_cut_off(sock, seconds=DEADLINE):
    """Reads until the other side ends it; False when it never did."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        sock.settimeout(max(0.1, deadline - time.monotonic()))
        try:
            if not sock.recv(1 << 16):
                return True
        except (ConnectionError, ssl.SSLError):
            return True
        except TimeoutError:
            return False
    return False


def write(path, data):
    Path(path).write_bytes(data)
