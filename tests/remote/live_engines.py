# SPDX-License-Identifier: Apache-2.0
"""Engines of workers that serve their memory, each its own rank: made, and
what a mount of them has to show."""
import errno

import pytest

import mounts
import truth
from test_remote import seeds_of

RANKS = range(4)


@pytest.fixture
def dumps(folder):
    """dumps(change=…) -> a folder as an engine of tp4 would save it, and what
    it is a dump of."""
    count = 0

    def make(change=lambda spec: None, layout="tp4", family="llama"):
        nonlocal count
        count += 1
        spec = truth.read(family)["spec"]
        change(spec)
        made = truth.make(spec, folder / f"made{count}")
        dump = folder / f"dump{count}"
        done = mounts.run("export", "--part-size=0", f"{made}@{layout}", dump)
        assert done.returncode == 0, done.stderr
        return dump
    return make


def other_weights(spec):
    """Of the same names and shapes."""
    for name, tensor in spec["tensors"].items():
        tensor["as"] = f"other {name}"


@pytest.fixture
def engine(seeds):
    """engine(dump, …) -> the seeds of its workers"""
    def make(dump, ranks=RANKS, **said):
        workers = [seeds() for _ in ranks]
        for rank, worker in zip(ranks, workers):
            worker.offer_live("llama", dump, [rank], **said)
        return workers
    return make


def args_of(*workers):
    return [arg for w in workers for arg in ("--seed", w.url)]


def shards(dump):
    return sorted(p.name for p in dump.glob("*.safetensors"))


def assert_is(mount, dump, names=None):
    for name in names or [*shards(dump), "config.json"]:
        mounts.assert_same((mount.path / "llama" / name).read_bytes(),
                           (dump / name).read_bytes(), name)


def tensors_of(seed):
    """What it was asked for but config.json, which both have."""
    return [r for r in seed.requests if r[0].endswith(".safetensors")]


def why(mount):
    return {row["url"]: live["why"] for row in seeds_of(mount)
            for live in row["live"]}


def wait_for(mount, dump, names=None):
    """Until the name leads to these bytes, whatever it was before."""
    def ready():
        try:
            return all((mount.path / "llama" / n).read_bytes()
                       == (dump / n).read_bytes()
                       for n in names or shards(dump))
        except OSError as e:
            assert e.errno in (errno.ESTALE, errno.ENOENT, errno.EIO,
                               errno.EHOSTUNREACH), e
    mounts.wait_until(ready, "the new version is there")


def wait_why(mount, *texts):
    """Until all of this is said of what completes no model: after the first
    look, which a mount does not wait for very long."""
    def said():
        text = " ".join(why(mount).values())
        return all(t in text for t in texts)
    mounts.wait_until(said, lambda: f"{texts} are said: {why(mount)}")


def wait_nothing_is_missing(mount):
    mounts.wait_until(lambda: set(why(mount).values()) == {""},
                      lambda: f"nothing is missing: {why(mount)}")
