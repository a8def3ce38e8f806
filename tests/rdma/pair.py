# SPDX-License-Identifier: Apache-2.0
"""A seed and a mount, two processes with RDMA between them.

Stands on nothing but the standard library: every import is slow in the guest.
"""
import http.client
import json
import random
import re
import signal
import struct
import subprocess
import time

import mounts

MIB = 1 << 20


def safetensors(path, tensors):
    """A file of these tensors, {name: bytes}; its bytes."""
    header, end = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)],
                        "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header).encode()
    whole = struct.pack("<Q", len(text)) + text + b"".join(tensors.values())
    path.write_bytes(whole)
    return whole


def checkpoint(path, sizes, seed):
    """Shard files of these sizes, {name: its bytes}; sizes may be odd."""
    rng = random.Random(seed)
    files, index = {}, {}
    path.mkdir()
    for i, size in enumerate(sizes):
        name = f"model-{i + 1:05}-of-{len(sizes):05}.safetensors"
        files[name] = safetensors(path / name, {f"t{i}": rng.randbytes(size)})
        index[f"t{i}"] = name
    files["model.safetensors.index.json"] = json.dumps(
        {"metadata": {}, "weight_map": index}).encode()
    files["config.json"] = b'{"model_type": "llama"}'
    for name, data in files.items():
        (path / name).write_bytes(data)
    return files


class Seed:
    def __init__(self, folder, name, args, port=0, before=()):
        self.expect_rc = 0
        self.log_path = folder / f"{name}.log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*before, mounts.PROGRAM, "seed", "-f", "--log-level", "debug",
                 "--listen", f"127.0.0.1:{port or mounts.free_port()}",
                 "--digest-cache", folder / f"{name}-digests", *args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=mounts.die_with_parent)
        self.port = int(self.wait(r"seeding on 'http://.*:(\d+)'")[1])

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait(self, pattern):
        def look():
            assert self.process.poll() is None, self.log()
            return re.search(pattern, self.log())
        return mounts.wait_until(look, f"the seed's log says {pattern}")

    def wait_registered(self):
        return self.wait(r"RDMA: (\d+) files in (.*) of registered memory, "
                         r"(\d+) left out")

    def close(self):
        """What went wrong."""
        if self.process.poll() is None:
            self.process.terminate()
        ended = self.process.wait(mounts.DEADLINE)
        return [] if ended == self.expect_rc else [f"exit status {ended}"]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.expect_rc = -signal.SIGKILL


def get(seed, path):
    """(status, body) of what the seed answers."""
    conn = http.client.HTTPConnection("127.0.0.1", seed.port,
                                      timeout=mounts.DEADLINE)
    try:
        conn.request("GET", path)
        answer = conn.getresponse()
        return answer.status, answer.read().decode()
    finally:
        conn.close()


class Shut:
    """Nothing gets to that TCP port, whatever was connected before."""

    def __init__(self, port):
        self.nft(f"""table inet shut {{
            chain in {{
                type filter hook input priority 0;
                tcp dport {port} drop
            }}
        }}""")

    @staticmethod
    def nft(rules):
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.nft("delete table inet shut")


def mount(folder, seed, args=(), name="mnt", wrap=()):
    return mounts.Mount(folder, name, [
        "mount", "-f", "--log-level", "debug", "--seed",
        f"http://127.0.0.1:{seed.port}", "-o", "same_host=off", *args,
        folder / name], wrap=wrap).wait_ready()


def forget(mnt):
    """What was read is asked for again, of the seed."""
    mnt.evict()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as drop:
        drop.write("3")


def peer(mnt):
    """What the mount says of its seed."""
    (row,) = mnt.status()["seeds"]
    return row


def rails(mnt):
    return peer(mnt)["rdma"]["rails"]


def failed(mnt, kind):
    """How many READs did, in that way."""
    return sum(rail["errors"][kind] for rail in rails(mnt))


def connected(mnt):
    """What the mount says of its seed once it reads by RDMA, and nothing is
    under way."""
    def look():
        row = settled(mnt)
        return row["rdma"]["state"] == "ready" and row
    return mounts.wait_until(look, lambda: f"it is ready: {peer(mnt)}")


def settled(mnt):
    """The same once nothing is under way: what a model's loading asked for
    before RDMA was connected came over TCP."""
    def look():
        row = peer(mnt)
        return not (row["requests"] or row["rdma"]["requests"]) and row
    return mounts.wait_until(look, "nothing is under way")


def read(mnt, model, files):
    """Compares every file through the mount; how many seconds it took."""
    began = time.monotonic()
    for name, want in files.items():
        got = (mnt.path / model / name).read_bytes()
        assert got == want, f"'{name}' differs"
    return time.monotonic() - began
