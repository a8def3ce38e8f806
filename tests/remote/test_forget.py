# SPDX-License-Identifier: Apache-2.0
"""Seeds that are gone for good: what only they had is listed no more."""
import mounts
import pytest
from test_remote import models, read_all, shard

OPTIONS = ["forget_after=1", "switch_after=0", "rescan=0.1"]


@pytest.fixture
def seed(processes, model, plain):
    return processes(llama=model.path, other=plain.path)


def events_of(m, name):
    return [e["event"] for e in m.events() if e.get("model") == name]


def test_a_model_goes_with_its_seed_and_comes_back(mount, processes, seed,
                                                   model, plain):
    m = mount(*OPTIONS, args=("--seed", seed.url))
    seed.kill()
    mounts.wait_until(lambda: models(m) == [], "they are gone")
    assert events_of(m, "llama") == ["model", "gone"]
    assert m.log().count("model 'llama': its seeds could not be reached") == 1
    processes(port=seed.port, llama=model.path, other=plain.path)
    mounts.wait_until(lambda: models(m) == ["llama", "other"], "they are back")
    read_all(m, model)
    assert events_of(m, "llama") == ["model", "gone", "model"]


def test_what_is_open_stays(mount, seed, model):
    m = mount(*OPTIONS, args=("--seed", seed.url))
    with open(m.path / "llama" / shard(model), "rb"):
        seed.kill()
        mounts.wait_until(lambda: models(m) == ["llama"], "the other is gone")
        m.wait_event("gone", "other")
    mounts.wait_until(lambda: models(m) == [], "it is gone, too")


def test_what_this_node_has_stays(mount, seed, model):
    m = mount(*OPTIONS, args=("--seed", seed.url))
    if not m.status()["passthrough"]["in_use"]:
        pytest.skip("nothing is kept without an arena")
    done = mounts.run("warm", m.path / "llama", folder=m.folder)
    assert done.returncode == 0, done.stderr
    seed.kill()
    mounts.wait_until(lambda: models(m) == ["llama"], "the other is gone")
    read_all(m, model)
    m.evict()
    mounts.wait_until(lambda: models(m) == [], "it is gone, too")


def test_by_default_it_is_waited_for(mount, seed):
    m = mount("switch_after=0", "rescan=0.1", args=("--seed", seed.url))
    short = mount(*OPTIONS, args=("--seed", seed.url))
    seed.kill()
    mounts.wait_until(lambda: models(short) == [], "it is gone elsewhere")
    assert models(m) == ["llama", "other"]


def test_the_name_passes_to_a_seed_that_is_left(mount, processes, seed, model):
    left = processes(llama=model.path)
    m = mount(*OPTIONS, args=("--seed", seed.url, "--seed", left.url))
    path = m.path / "llama" / shard(model)
    mounts.wait_until(lambda: all(row["state"] == "ready" for row in
                                  m.status()["seeds"]), "both answer")
    first = mounts.xattr(path, "source").startswith(seed.url)
    gone, left = (seed, left) if first else (left, seed)
    gone.kill()

    def is_left():
        try:
            return mounts.xattr(path, "source").startswith(left.url)
        except FileNotFoundError:
            return False
    mounts.wait_until(is_left, "the name is the other's")
    assert "gone" not in events_of(m, "llama")
    read_all(m, model)
