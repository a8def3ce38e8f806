# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that come, go, are replaced and are rewritten under a seed."""
import json
import os
import shutil
import threading

import checkpoints as ck
import mounts
import pytest
import seeds
import wire

MIB = 1 << 20


@pytest.fixture
def watched(seeder, folder, chance):
    """A seed of a directory with the model `a` in it."""
    ck.hf_single(folder / "models" / "a", ck.layers(2, 600_002), chance)
    return seeder("--models", folder / "models", "--rescan", "0.05")


class Events:
    """Reads /v1/events on a thread."""

    def __init__(self, seed):
        self.etags = []
        self.conn = seed.connect()
        self.conn.request("GET", "/v1/events")
        self.response = self.conn.getresponse()
        assert self.response.headers["Content-Type"] == "text/event-stream"
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        kind = None
        for line in iter(self.response.readline, b""):
            text = line.decode().rstrip("\n")
            if text.startswith("event: "):
                kind = text[7:]
            if text.startswith("data: "):
                assert kind == "models"
                self.etags.append(json.loads(text[6:])["etag"])

    def wait_other(self, etag):
        return mounts.wait_until(
            lambda: self.etags and self.etags[-1] != etag and self.etags[-1],
            f"an event with another tag than {etag}")


def test_events_tell_of_models_that_come_and_go(watched, folder, chance):
    events = Events(watched)
    first = watched.ask("/v1/models").etag
    mounts.wait_until(lambda: first in events.etags, "the first event")
    ck.hf_single(folder / "models" / "b", ck.layers(1, 1002), chance)
    events.wait_other(first)
    mounts.wait_until(lambda: sorted(watched.models()) == ["a", "b"], "b")
    # It may have been seen before all of it was written: the last one counts.
    mounts.wait_until(
        lambda: events.etags[-1] == watched.ask("/v1/models").etag, "its tag")
    second = events.etags[-1]
    shutil.rmtree(folder / "models" / "a")
    mounts.wait_until(lambda: sorted(watched.models()) == ["b"], "a is gone")
    events.wait_other(second)


def test_events_tell_of_digests(watched):
    events = Events(watched)
    first = watched.ask("/v1/models").etag
    mounts.wait_until(
        lambda: all(f["xxh3"] for f in watched.manifest("a", "?wait=30")
                    ["files"] if "region" in f), "all roots are known")
    assert events.wait_other(first)


def rewrite(path):
    """In place, with other bytes of the same length."""
    with open(path, "r+b") as f:
        f.seek(-100, os.SEEK_END)
        f.write(b"\xa5" * 100)


def test_a_rewritten_file_is_gone(seeder, plain):
    seed = seeder("--rescan", "3600", m=plain)
    name = "model-00001-of-00003.safetensors"
    row = seed.files()[name]
    other = seed.files()["model-00002-of-00003.safetensors"]
    with wire.Stream(seed.address) as s:
        assert s.read(row["region"], 0, MIB)[1] == wire.OK
        rewrite(plain.path / name)
        tag, status, _, text = s.read(row["region"], 0, MIB, tag=3)
        assert (tag, status) == (3, wire.STALE) and b"rewritten" in text
        assert s.read(other["region"], 0, MIB)[1] == wire.OK
    for path in ("", "/digests?wait=5"):
        got = seed.ask(f"/v1/regions/{row['region']}{path}")
        assert got.status == 410 and "rewritten" in got.error
    assert seed.ask(f"/v1/regions/{row['region']}", "HEAD").status == 410
    assert seed.metrics()["stale_total"] >= 3


def test_a_rewritten_file_gets_another_id(watched, folder):
    name = "model.safetensors"
    before = watched.files("a")[name]["region"]
    version = watched.models()["a"]["version"]
    path = folder / "models" / "a" / name
    rewrite(path)
    mounts.wait_until(
        lambda: watched.models().get("a", {}).get("version", version)
        != version, "another version")
    after = watched.files("a")[name]["region"]
    assert after != before
    assert watched.ask(f"/v1/regions/{before}").status == 410
    mounts.assert_same(watched.ask(f"/v1/regions/{after}").body,
                       path.read_bytes(), name)


def test_who_is_in_the_middle_of_a_rewritten_file_is_cut_off(
        seeder, folder, chance):
    large = ck.hf_single(folder / "large", ck.layers(4, 16 * MIB), chance)
    seed = seeder("--rescan", "3600", m=large)
    row = seed.files()["model.safetensors"]
    with seed.raw(f"GET /v1/regions/{row['region']} HTTP/1.1\r\n"
                  "Host: x\r\n\r\n".encode()) as sock:
        assert sock.recv(1000)
        rewrite(large.path / "model.safetensors")
        # What is in the sockets still comes, the end does not.
        mounts.wait_until(lambda: seed.metrics()["cut_off_total"] == 1,
                          "it is cut off")
        got = 1000
        sock.settimeout(seeds.DEADLINE)
        try:
            while more := len(sock.recv(1 << 20)):
                got += more
        except ConnectionError:
            pass
        assert got < row["size"]


def test_a_replaced_checkpoint_stays_for_who_is_in_it(watched, folder, chance):
    old = watched.files("a")["model.safetensors"]
    old_bytes = (folder / "models" / "a" / "model.safetensors").read_bytes()
    version = watched.models()["a"]["version"]
    ck.hf_single(folder / "new", ck.layers(2, 600_002), chance + 1)
    with wire.Stream(watched.address) as s:
        assert s.read(old["region"], 0, MIB)[1] == wire.OK
        os.rename(folder / "models" / "a", folder / "old")
        os.rename(folder / "new", folder / "models" / "a")
        mounts.wait_until(
            lambda: watched.models().get("a", {}).get("version", version)
            != version, "another version")
        _, status, _, got = s.read(old["region"], 0, MIB)
        assert status == wire.OK
        mounts.assert_same(got, old_bytes[:MIB], "the old bytes")
    new = watched.files("a")["model.safetensors"]
    assert new["region"] != old["region"]
    mounts.assert_same(
        watched.ask(f"/v1/regions/{new['region']}").body,
        (folder / "models" / "a" / "model.safetensors").read_bytes(), "new")


def test_a_truncated_file_kills_nobody(seeder, plain):
    seed = seeder("--rescan", "3600", m=plain)
    name = "model-00001-of-00003.safetensors"
    row = seed.files()[name]
    os.truncate(plain.path / name, 1000)
    assert seed.ask(f"/v1/regions/{row['region']}").status == 410
    with wire.Stream(seed.address) as s:
        assert s.read(row["region"], 0, MIB)[1] == wire.STALE
    assert seed.ask("/healthz").status == 200


def test_a_model_that_is_broken_is_not_offered(seeder, folder, chance, plain):
    bad = ck.hf_single(folder / "bad", ck.layers(2, 1002), chance)
    ck.truncated(bad.path)
    seed = seeder(good=plain, bad=bad)
    assert sorted(seed.models()) == ["good"]


def test_mounting_and_seeding_read_headers_only(seeder, folder, chance):
    """A terabyte of holes: had anybody read it, this would not end."""
    sparse = ck.hf_single(folder / "sparse", ck.layers(2, 1002), chance)
    path = sparse.path / "model.safetensors"
    size = 1 << 40
    head = ck.header([ck.of_bytes("w", size)])
    with open(path, "wb") as f:
        f.write(head)
        f.truncate(len(head) + size)
    seed = seeder(m=sparse)
    row = seed.files()["model.safetensors"]
    assert row["size"] == len(head) + size and row["xxh3"] is None
    with wire.Stream(seed.address) as s:
        assert s.read(row["region"], size // 2 // MIB * MIB, MIB)[1:] == (
            wire.OK, seeds.xxh3_of(bytes(MIB)).hex(), bytes(MIB))
    got = seed.ask(f"/v1/regions/{row['region']}/digests?wait=0.1")
    assert got.status == 202
    assert seed.terminate() == 0  # also in the middle of that
