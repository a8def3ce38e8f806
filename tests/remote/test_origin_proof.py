# SPDX-License-Identifier: Apache-2.0
"""Models of web servers under a root or a key of the operator's: whatever the
server sends, only the bytes that hash to it are seen."""
import errno
import os

import pytest

import mounts
from test_origin import of, shard, web  # noqa: F401
from test_proof import MANIFEST, SIGNATURE, digest, keys  # noqa: F401
from web import Odd, Quiet

MIB = 1 << 20
LISTS = "weightfs.digests.lists"


@pytest.mark.parametrize("kind", [Odd, Quiet])
def test_a_pinned_model_is_served_and_nothing_beside_it(mount, web, model,
                                                        kind):
    root = digest(model.path)
    (model.path / "surplus.txt").write_text("nobody vouches for it")
    m = of(mount, f"{web(kind).url}/model/#{root}")
    assert not (m.path / "m" / "surplus.txt").exists()
    (model.path / "surplus.txt").unlink()
    mounts.assert_model_equals(m, "m", model)
    assert mounts.xattr(m.path / "m" / shard(model), "trust") == "origin"
    assert (m.path / "m" / MANIFEST).read_bytes() == (
        model.path / MANIFEST).read_bytes()


def test_a_signed_model_is_worth_more(mount, web, model, keys):
    private, public = keys
    digest(model.path, "--key", private)
    server = web(Odd)
    m = of(mount, f"{server.url}/model/",
           options=(f"trust_key={public}", "trust=signed"))
    mounts.assert_model_equals(m, "m", model)
    assert mounts.xattr(m.path / "m" / shard(model), "trust") == "signed"
    (model.path / SIGNATURE).unlink()
    plain = of(mount, f"{server.url}/model/",
               options=(f"trust_key={public}",))
    assert "has no signature" in plain.log()
    assert mounts.xattr(plain.path / "m" / shard(model), "trust") == "origin"
    refused = of(mount, f"{server.url}/model/",
                 options=(f"trust_key={public}", "trust=signed"))
    assert not (refused.path / "m").exists()


def lie(path, first, body):
    return (body[:100] + bytes([body[100] ^ 1]) + body[101:]
            if len(body) == MIB and first == MIB else body)


def test_a_wrong_chunk_is_asked_for_again_and_logged_once(mount, web, model):
    root = digest(model.path)
    server = web(Odd)
    m = of(mount, f"{server.url}/model/#{root}", options=("prefetch=0",))
    left = [1]

    def spoil(path, first, body):
        if lie(path, first, body) != body and left[0]:
            left[0] -= 1
            return lie(path, first, body)
        return body
    server.http.spoil = spoil
    mounts.assert_model_equals(m, "m", model)
    assert not left[0]
    assert sum("wrong" in line for line in m.log().splitlines()) == 1


def test_a_server_that_only_lies_is_never_believed(mount, web, model):
    root = digest(model.path)
    server = web(Odd)
    m = of(mount, f"{server.url}/model/#{root}",
           options=("prefetch=0", "seed_deadline=1"))
    server.http.spoil = lie
    with open(m.path / "m" / shard(model), "rb", buffering=0) as file:
        with pytest.raises(OSError) as found:
            os.pread(file.fileno(), 4096, MIB + 5)
        assert found.value.errno == errno.EIO


@pytest.mark.parametrize("what, want", [
    ("root", "the digest manifest of"),
    ("no manifest", f"{MANIFEST}' is not there"),
    ("a file less", "is not there with the size"),
])
def test_what_does_not_hold_is_refused(mount, web, model, what, want):
    root = digest(model.path)
    server = web(Odd)
    if what == "root":
        root = "sha256:" + "1" * 64
    elif what == "no manifest":
        (model.path / MANIFEST).unlink()
    else:
        path = model.path / "config.json"
        path.write_bytes(path.read_bytes() + b" ")
    m = of(mount, f"{server.url}/model/#{root}")
    assert not (m.path / "m").exists()
    assert want in m.log()


def test_lists_that_are_missing_or_forged_are_told(mount, web, model):
    root = digest(model.path)
    server = web(Odd)
    lists = (model.path / LISTS).read_bytes()
    (model.path / LISTS).unlink()
    m = of(mount, f"{server.url}/model/#{root}",
           options=("seed_deadline=1", "prefetch=0"))
    assert f"{LISTS}' is not there: weightfs digest writes it" in m.log()
    assert not (m.path / "m").exists()
    (model.path / LISTS).write_bytes(bytes(len(lists)))
    m = of(mount, f"{server.url}/model/#{root}",
           options=("seed_deadline=1", "prefetch=0"))
    mounts.wait_until(lambda: "not a list of digests" in m.log(), "told")
