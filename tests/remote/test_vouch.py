# SPDX-License-Identifier: Apache-2.0
"""A model of a web server or a directory, whose bytes seeds bring: the digest
manifest that lies there says which version theirs must be."""
import shutil

import pytest

import mounts
from test_prefer import brings_all, copy, kill, ready, spoil, url_of, web
from test_proof import digest
from test_remote import models, read_all, read_cold, shard
from web import Odd

__all__ = ["copy", "web"]


def trust_of(mount, model):
    return mounts.xattr(mount.path / "llama" / shard(model), "trust")


def source_of(mount, model):
    return mounts.xattr(mount.path / "llama" / shard(model), "source")


def web_url(origin):
    return origin.partition("=")[2].rstrip("/")


def tree_of(mount):
    return mounts.xattr(mount.path / "llama", "digest")


@pytest.fixture
def origin(web, model):
    return f"llama={web(Odd).url}/model/"


def test_seeds_bring_what_the_origins_digest_names(mount, seeder, origin,
                                                   model):
    root = digest(model.path)
    seed = seeder(llama=model.path)
    m = mount("rescan=0.1", args=("--model", f"{origin}#{root}",
                                  "--seed", url_of(seed)))
    ready(m, "origin")
    brings_all(m, model, "seed")
    assert trust_of(m, model) == "origin" and tree_of(m) == root
    kill(seed)
    read_cold(m, model)


def test_an_origin_vouches_for_seeds_whose_word_is_not_enough(
        mount, seeder, origin, model):
    root = digest(model.path)
    seed = seeder(llama=model.path)
    m = mount("rescan=0.1", "trust=origin",
              args=("--model", origin, "--seed", url_of(seed)))
    assert models(m) == ["llama"]
    ready(m, "origin")
    brings_all(m, model, "seed")
    assert trust_of(m, model) == "origin" and tree_of(m) == root
    kill(seed)
    read_cold(m, model)


def test_a_directory_vouches_for_seeds_too(mount, seeder, model, copy):
    root = digest(model.path)
    shutil.copy(model.path / "weightfs.digests.json", copy)
    seed = seeder(llama=model.path)
    m = mount("rescan=0.1", "trust=origin",
              args=("--seed", url_of(seed)), llama=copy)
    ready(m, "disk")
    brings_all(m, model, "seed")
    assert trust_of(m, model) == "origin" and tree_of(m) == root


def test_a_seed_with_another_version_brings_nothing(mount, seeder, origin,
                                                    model, copy):
    digest(model.path)
    shard_path = copy / shard(model)
    spoil(shard_path, shard_path.stat().st_size - 1)
    digest(copy)
    seed = seeder(llama=copy)
    m = mount("rescan=0.1", "trust=origin",
              args=("--model", origin, "--seed", url_of(seed)))
    mounts.wait_until(lambda: models(m) == ["llama"], "the origin serves it")
    read_all(m, model)
    mounts.wait_until(lambda: "its digest manifest is sha256:" in m.log(),
                      "it is said what the seed has")
    assert web_url(origin) in source_of(m, model)


def test_without_a_digest_manifest_the_origin_is_alone(mount, seeder, origin,
                                                       model):
    seed = seeder(llama=model.path)
    m = mount("rescan=0.1", "trust=origin",
              args=("--model", origin, "--seed", url_of(seed)))
    mounts.wait_until(lambda: models(m) == ["llama"], "the origin serves it")
    read_all(m, model)
    assert "has no weightfs.digests.json (weightfs digest writes it)" in m.log()
    assert web_url(origin) in source_of(m, model)
