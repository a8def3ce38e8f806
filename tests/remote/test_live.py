# SPDX-License-Identifier: Apache-2.0
"""Engines whose workers serve their memory, each its own rank: one model, of
one version, and nothing else."""
import errno
import hashlib
import json
import os

import pytest

import mounts
import seeds as real
import truth
from live_engines import (  # noqa: F401
    RANKS, args_of, assert_is, dumps, engine, other_weights, shards,
    tensors_of, wait_for, wait_nothing_is_missing, wait_why, why)
from test_remote import models


def test_workers_of_one_engine_are_one_model(mount, engine, dumps):
    dump = dumps()
    m = mount("rescan=0.2", args=args_of(*engine(dump)))
    assert models(m) == ["llama"]
    assert_is(m, dump)
    assert sorted(n for n in os.listdir(m.path / "llama") if n.isdigit()) == [
        "0", "1", "2", "3"]
    path = m.path / "llama" / "3" / "model.norm.weight"
    assert mounts.xattr(path, "trust") == "seed"
    assert mounts.xattr(m.path / "llama", "engine") == (
        "vllm 0.32, tp4, epoch 1")
    (row,) = m.status()["models"]
    live = row["live"]
    assert (live["engine"], live["engine_version"], live["layout"],
            live["epoch"]) == ("vllm", "0.32", "tp4", 1)
    assert live["ranks"] == [0, 1, 2, 3] and row["trust"] == "seed"


def test_a_model_is_there_when_its_last_rank_is(mount, engine, seeds, dumps):
    dump = dumps()
    late = seeds()
    m = mount("rescan=0.2",
              args=args_of(*engine(dump, ranks=[0, 1, 3]), late))
    assert models(m) == []
    mounts.wait_until(lambda: "rank 2 of 4 missing" in str(why(m)),
                      lambda: f"the missing rank is said: {why(m)}")
    m.wait_event("seed", saying="rank 2 of 4 missing")
    late.offer_live("llama", dump, [2])
    mounts.wait_until(lambda: models(m) == ["llama"], "it is complete")
    assert_is(m, dump)
    wait_nothing_is_missing(m)


@pytest.mark.parametrize("said", [
    {"epoch": 2}, {"declared": "v2"}, {"version": "0.31"},
    {"engine": "sglang"}, {"layout": "tp8"}, {"state": "processed"}],
    ids=lambda said: next(iter(said)))
def test_a_rank_of_something_else_completes_nothing(mount, engine, seeds,
                                                    dumps, said):
    dump, odd = dumps(), seeds()
    workers = engine(dump, ranks=[0, 1, 2])
    odd.offer_live("llama", dump, [3], **said)
    m = mount("rescan=0.2", args=args_of(*workers, odd))
    wait_why(m, "rank 3 of 4 missing", f"'{odd.url}' has another")
    assert models(m) == []


def test_another_config_completes_nothing(mount, engine, seeds, dumps):
    dump = dumps()
    workers = engine(dump, ranks=[0, 1, 2])
    config = json.loads((dump / "config.json").read_text())
    (dump / "config.json").write_text(json.dumps(config | {"x": 1}))
    odd = seeds()
    odd.offer_live("llama", dump, [3])
    m = mount("rescan=0.2", args=args_of(*workers, odd))
    wait_why(m, "another config.json")
    assert models(m) == []


@pytest.mark.parametrize("declared", [None, "v"])
def test_an_update_is_a_new_version_of_the_whole(mount, engine, dumps,
                                                 declared):
    old, new = dumps(), dumps(other_weights)
    name = shards(old)[1]
    workers = engine(old, declared=declared and "v1")
    m = mount("rescan=0.2", args=args_of(*workers))
    assert_is(m, old)
    with open(m.path / "llama" / name, "rb") as held:
        before = held.read(100)
        for rank, worker in enumerate(workers):
            worker.offer_live("llama", new, [rank], epoch=2,
                              declared=declared and "v2")
            # Nobody sees some ranks of this and some of that.
            for _ in range(3):
                for shard in shards(old):
                    try:
                        got = (m.path / "llama" / shard).read_bytes()
                    except OSError as e:
                        assert e.errno in (errno.ESTALE, errno.ENOENT), e
                        continue
                    if rank < 3:
                        assert got == (old / shard).read_bytes()
        wait_for(m, new)
        assert before == (old / name).read_bytes()[:100]
    assert models(m) == ["llama"]
    (live,) = [r["live"] for r in m.status()["models"]
               if r["state"] == "serving"]
    assert live["epoch"] == 2


def test_what_is_read_of_an_old_version_is_stale(mount, engine, dumps):
    old, new = dumps(), dumps(other_weights)
    workers = engine(old)
    m = mount("rescan=0.2", "prefetch=0", "passthrough=off",
              args=args_of(*workers))
    name = shards(old)[0]
    with open(m.path / "llama" / name, "rb", buffering=0) as held:
        workers[0].offer_live("llama", new, [0], epoch=2)
        mounts.wait_until(
            lambda: m.status()["models"][0]["state"] != "serving",
            lambda: f"the mount has seen it: {m.status()['models']}")
        with pytest.raises(OSError) as failed:
            held.seek(os.stat(held.fileno()).st_size // 2)
            held.read(4096)
        assert failed.value.errno == errno.ESTALE


def test_engines_that_declare_a_version_stand_in_for_each_other(mount, engine,
                                                                dumps):
    dump = dumps()
    first, second = (engine(dump, declared="v1") for _ in range(2))
    m = mount("rescan=0.2", args=args_of(*first, *second))
    assert_is(m, dump)
    version = m.status()["models"][0]
    for worker in first:
        worker.close()
    m.evict()
    assert_is(m, dump)
    assert m.status()["models"][0]["path"] == version["path"]
    asked = [bool(w.requests) for w in second]
    assert all(asked), asked


@pytest.fixture
def unlike(dumps):
    """unlike(layout) -> two dumps with one config.json, of other tensors"""
    def make(layout):
        dump, other = dumps(layout=layout), dumps(layout=layout,
                                                  family="qwen3")
        (other / "config.json").write_bytes(
            (dump / "config.json").read_bytes())
        return dump, other
    return make


def test_a_version_declared_falsely_is_not_mixed_in(mount, seeds, unlike):
    both = {dump: seeds() for dump in unlike("tp1")}
    for dump, seed in both.items():
        seed.offer_live("llama", dump, [0], layout="tp1", declared="v1")
    m = mount("rescan=0.2", args=args_of(*both.values()))
    text = m.wait_event("seed", saying="declares version 'v1', but")["text"]
    (liar,) = [dump for dump, seed in both.items() if seed.url in text]
    assert not tensors_of(both.pop(liar))
    assert_is(m, *both)


def test_a_version_declared_falsely_is_told_of_once(mount, seeds, unlike):
    both = {dump: seeds() for dump in unlike("tp4")}
    for dump, seed in both.items():
        seed.offer_live("llama", dump, list(RANKS), declared="v1")
    m = mount("rescan=0.2", args=args_of(*both.values()))
    saying = "declares version 'v1', but"
    m.wait_event("seed", saying=saying)
    assert len([e for e in m.events() if saying in e["text"]]) == 1


def test_ranks_of_a_version_declared_falsely_are_no_model(mount, engine,
                                                          unlike):
    workers = [w for dump in unlike("tp4")
               for w in engine(dump, declared="v1")]
    m = mount("rescan=0.2", args=args_of(*workers))
    wait_why(m, "version 'v1', but sizes, headers or digests")
    assert models(m) == []


def test_who_has_all_ranks_needs_no_others(mount, seeds, unlike):
    dump, other = unlike("tp4")
    all_ranks, one = seeds(), seeds()
    one.offer_live("llama", other, [0], declared="v1")
    all_ranks.offer_live("llama", dump, list(RANKS), declared="v1")
    m = mount("rescan=0.2", args=args_of(one, all_ranks))
    assert_is(m, dump)
    assert not tensors_of(one)


def test_without_a_version_one_engine_is_asked(mount, seeds, dumps):
    dump, other = dumps(layout="tp1"), dumps(other_weights, layout="tp1")
    both = {dump: seeds(), other: seeds()}
    for weights, seed in both.items():
        seed.offer_live("llama", weights, [0], layout="tp1")
    m = mount("rescan=0.2", args=args_of(*both.values()))
    (asked,) = [weights for weights, seed in both.items() if tensors_of(seed)]
    assert_is(m, asked)
    assert not any(tensors_of(seed) for weights, seed in both.items()
                   if weights != asked)


def test_two_engines_without_versions_are_told_apart_by_nobody(mount, engine,
                                                               dumps):
    dump = dumps()
    m = mount("rescan=0.2", args=args_of(*engine(dump), *engine(dump)))
    wait_why(m, "both have rank", "declare the version")
    assert models(m) == []


def test_other_layouts_are_cut_of_what_an_engine_has(mount, engine, dumps):
    dump = dumps()
    m = mount("rescan=0.2", "part_size=0", args=args_of(*engine(dump)))
    for file in truth.read("llama")["truth"]["tp2"]["files"]:
        assert truth.digest(m.path / "llama@tp2" / file["name"]) == (
            file["sha256"])
    tensors = truth.read("llama")["spec"]["tensors"]
    want = {name: hashlib.sha256(truth.tensor_bytes(
        t.get("as", name), t["dtype"], t["shape"])).hexdigest()
        for name, t in tensors.items()}
    assert {p.name: truth.digest(p)
            for p in (m.path / "llama@hf" / "0").iterdir()} == want


def test_the_engine_chooses_the_plan(mount, engine, dumps):
    dump = dumps()
    m = mount("rescan=0.2", args=args_of(*engine(dump, engine="unheard_of")))
    assert_is(m, dump)
    with pytest.raises(OSError) as failed:
        os.listdir(m.path / "llama@tp2")
    assert failed.value.errno == errno.EINVAL
    assert "unheard_of 0.32" in m.wait_event("layout", "llama")["text"]


def test_what_the_engine_has_changed_is_not_cut_anew(mount, engine, dumps):
    dump = dumps()
    m = mount("rescan=0.2", args=args_of(*engine(dump, state="processed")))
    assert_is(m, dump)
    with pytest.raises(OSError) as failed:
        os.listdir(m.path / "llama@tp2")
    assert failed.value.errno == errno.EINVAL
    text = m.wait_event("layout", "llama")["text"]
    assert "changed its weights" in text and "as loaded" in text


# ---- passed on

def passed_on(mount, folder, *workers):
    """A mount that serves what it has of the workers, and where."""
    m = mount("serve=127.0.0.1:0", f"digest_cache={folder}/digests",
              "rescan=0.2", args=args_of(*workers))
    return m, real.Seed.of(m)


def test_the_engine_is_asked_once(mount, engine, folder, dumps):
    dump = dumps()
    workers = engine(dump)
    b_mount, b = passed_on(mount, folder, *workers)
    done = mounts.run("warm", b_mount.path / "llama")
    assert done.returncode == 0, done.stderr
    assert_is(b_mount, dump)
    asked = [len(w.requests) for w in workers]
    for _ in range(2):
        c = mount("same_host=off", "rescan=0.2", "part_size=0", args=(
            "--seed", f"http://127.0.0.1:{b.address[1]}"))
        assert_is(c, dump)
        (row,) = c.status()["models"]
        assert row["live"]["layout"] == "tp4" and row["trust"] == "seed"
        for file in truth.read("llama")["truth"]["tp2"]["files"]:
            assert truth.digest(c.path / "llama@tp2" / file["name"]) == (
                file["sha256"])
    assert [len(w.requests) for w in workers] == asked
    assert "epoch 1" in mounts.run("status", c.path).stdout


def test_who_passes_an_engine_on_stands_in_for_it(mount, engine, folder,
                                                  dumps):
    dump, new = dumps(), dumps(other_weights)
    workers = engine(dump)
    b_mount, b = passed_on(mount, folder, *workers)
    assert mounts.run("warm", b_mount.path / "llama").returncode == 0
    c = mount("same_host=off", "rescan=0.2", args=[
        "--seed", f"http://127.0.0.1:{b.address[1]}", *args_of(*workers)])
    assert_is(c, dump)
    for worker in workers:
        worker.faults.hang.set()
    c.evict()
    assert_is(c, dump)
    # And not with what the engine has by then.
    for rank, worker in enumerate(workers):
        worker.offer_live("llama", new, [rank], epoch=2)
        worker.faults.hang.clear()
    wait_for(c, new)
    wait_for(b_mount, new)
