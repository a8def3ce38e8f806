# SPDX-License-Identifier: Apache-2.0
"""A mount passes on what it has fetched: seed A, mount B of it, mount C of
both."""
import errno
import os
import signal

import mounts
import pytest
import seeds as real
from test_remote import models, read_cold, seeds_of


def url(seed):
    return f"http://127.0.0.1:{seed.address[1]}"


def kill(seed):
    seed.process.send_signal(signal.SIGKILL)
    seed.process.wait()
    seed.expect_rc = -signal.SIGKILL


@pytest.fixture
def passing(mount, folder):
    """passing(*seeds, …) -> (mount, its seeding side); C is a plain mount."""
    def make(*upstream, port=0, options=(), args=()):
        m = mount(f"serve=127.0.0.1:{port}", f"digest_cache={folder}/digests",
                  "rescan=0.2", *options,
                  args=[*(a for s in upstream
                          for a in ("--seed", url(s))), *args])
        return m, real.Seed.of(m)
    return make


def mount_of(mount, *upstream, options=()):
    return mount("same_host=off", "rescan=0.2", *options,
                 args=[a for s in upstream for a in ("--seed", url(s))])


def wait_for_roots(seed):
    def rooted():
        files = seed.files("llama").values()
        return files and all(f["xxh3"] for f in files)
    mounts.wait_until(rooted, "roots are passed on")


def hydrate(m, names):
    out = mounts.run("warm", *[m.path / "llama" / name for name in names])
    assert out.returncode == 0, out.stderr


def given(m):
    """Bytes by seed, in the order of the arguments."""
    return [row["bytes"] for row in seeds_of(m)]


def shards(model):
    return [f for f in model.files() if f.endswith(".safetensors")]


def test_what_was_fetched_outlives_where_it_came_from(mount, seeder, passing,
                                                      model):
    a = seeder(llama=model.path)
    b_mount, b = passing(a)
    wait_for_roots(b)
    assert {n: f["xxh3"] for n, f in a.files("llama").items()} == {
        n: f["xxh3"] for n, f in b.files("llama").items()}
    hydrate(b_mount, model.files())
    assert all(f["held"] == 1 for f in b.files("llama").values())
    before = given(b_mount)
    kill(a)
    c = mount_of(mount, b, a)
    read_cold(c, model)
    of_b, of_a = given(c)
    assert of_b >= model.tensor_bytes and of_a == 0
    assert given(b_mount) == before  # B asked nobody for it
    assert not any(row["wrong"] or row["errors"] for row in seeds_of(c)[:1])


def test_tensors_are_passed_on_as_well(mount, seeder, passing, model):
    a = seeder(llama=model.path)
    b_mount, b = passing(a)
    wait_for_roots(b)
    hydrate(b_mount, ["0"])
    hydrate(b_mount, [n for n in model.files() if n not in shards(model)])
    assert all(b.files("llama")[n]["held"] == 1 for n in shards(model))
    kill(a)
    c = mount_of(mount, b)
    read_cold(c, model)
    assert given(c)[0] >= model.tensor_bytes


def test_half_comes_from_who_has_half(mount, seeder, passing, model):
    a = seeder(llama=model.path)
    b_mount, b = passing(a, options=("prefetch=0",))
    wait_for_roots(b)
    half = shards(model)[:-1]
    hydrate(b_mount, half)
    row = b.files("llama")[shards(model)[-1]]
    assert row["held"] < 1
    assert b.ask(f"/v1/regions/{row['region']}").status == 503
    c = mount_of(mount, b, a, options=("prefetch=0",))
    mounts.wait_until(lambda: read_cold(c, model) or all(given(c)),
                      "both give bytes")
    before = given(c)
    last = (model.path / shards(model)[-1]).read_bytes()
    c.evict()
    with open(c.path / "llama" / shards(model)[-1], "rb") as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert f.read() == last
    got = [now - was for now, was in zip(given(c), before)]
    assert got[1] >= len(last) - (2 << 20) and got[0] <= 2 << 20, got
    assert not any(r["wrong"] or r["errors"] or r["quarantine_s"]
                   for r in seeds_of(c))


class At:
    """A seed that is not there yet."""

    def __init__(self, port):
        self.address = ("127.0.0.1", port)


def test_two_that_seed_each_other_do_not_wait_for_each_other(
        mount, seeder, passing, model):
    a, port = seeder(llama=model.path), mounts.free_port()
    first, b = passing(a, At(port), options=["seed_deadline=1"])
    second, c = passing(a, b, port=port, options=["seed_deadline=1"])
    wait_for_roots(b)
    wait_for_roots(c)
    node = a.ask("/v1/models").json()["node"]
    for one in (b, c):
        (row,) = one.ask("/v1/models").json()["models"]
        assert row["via"] == [node]
    kill(a)
    for m in (first, second):
        assert models(m) == ["llama"]
        with pytest.raises(OSError) as failed:
            (m.path / "llama" / shards(model)[0]).read_bytes()
        assert failed.value.errno in (errno.EIO, errno.EHOSTUNREACH)
        assert m.status()["pid"] == m.pid


def test_a_node_has_nothing_from_itself(mount, passing, model):
    port = mounts.free_port()
    m, seed = passing(At(port), port=port,
                      args=("--model", f"llama={model.path}"))
    mounts.wait_until(lambda: seeds_of(m)[0]["state"] == "ready", "it answers")
    assert seeds_of(m)[0]["models"] == 0
    assert "via" not in seed.ask("/v1/models").json()["models"][0]


def test_a_proof_is_passed_on(mount, seeder, passing, model):
    out = mounts.run("digest", model.path)
    assert out.returncode == 0, out.stderr
    (root,) = [w for w in out.stdout.split() if w.startswith("sha256:")]
    a = seeder(llama=model.path)
    b_mount, b = passing(args=("--model", f"llama={url(a)}#{root}"))
    hydrate(b_mount, model.files())
    kill(a)
    c = mount("same_host=off", "trust=origin",
              args=("--model", f"llama={url(b)}#{root}"))
    for name in model.files():
        assert ((c.path / "llama" / name).read_bytes()
                == (model.path / name).read_bytes()), name
    assert mounts.xattr(c.path / "llama" / shards(model)[0],
                        "trust") == "origin"
    assert given(c)[0] >= model.tensor_bytes


def test_a_mount_lends_what_it_has_fetched(mount, seeder, passing, model):
    a = seeder(llama=model.path)  # which does not
    b_mount, b = passing(a)
    wait_for_roots(b)
    hydrate(b_mount, shards(model))
    kill(a)
    c = mount(args=("--seed", url(b)))
    (row,) = seeds_of(c)
    assert row["lent_files"] == len(shards(model))
    for name in shards(model):
        assert ((c.path / "llama" / name).read_bytes()
                == (model.path / name).read_bytes()), name
    assert seeds_of(c)[0]["bytes"] <= 1 << 20  # its config, not lent
    assert c.status()["arena"]["used"] < model.tensor_bytes / 10
    # What is lent is in use: it outlives an eviction, and the lender.
    b_mount.evict()
    assert b_mount.status()["arena"]["resident_files"] >= len(shards(model))
    b_mount.kill()
    for name in shards(model):
        assert ((c.path / "llama" / name).read_bytes()
                == (model.path / name).read_bytes()), name


def test_what_is_fetched_later_is_lent_later(mount, seeder, passing, model):
    a = seeder(llama=model.path)  # which lends nothing
    b_mount, b = passing(a)
    wait_for_roots(b)
    c = mount("rescan=0.2",
              args=[x for s in (a, b) for x in ("--seed", url(s))])
    path, own = c.path / "llama" / shards(model)[0], model.path / shards(
        model)[0]
    hydrate(c, shards(model)[:1])
    with open(path, "rb") as held:
        assert seeds_of(c)[1]["lent_files"] == 0
        hydrate(b_mount, model.files())
        lent = len([n for n in model.files()
                    if os.path.getsize(model.path / n)])
        mounts.wait_until(lambda: seeds_of(c)[1]["lent_files"] == lent,
                          "B lends what it has by now")
        # One open is of C's own arena, which the next has to be as well.
        for _ in range(2):
            mounts.assert_same(path.read_bytes(), own.read_bytes(), path)
        mounts.assert_same(held.read(), own.read_bytes(), path)
    before = given(c)
    read_cold(c, model)
    assert given(c) == before
