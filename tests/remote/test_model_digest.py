# SPDX-License-Identifier: Apache-2.0
"""A model's digest: what its bytes are held against, where they are."""
import mounts
import pytest
from web import Odd, Server


@pytest.fixture
def root(model):
    """What `weightfs digest` prints of the model."""
    done = mounts.run("digest", model.path)
    assert done.returncode == 0, done.stderr
    (found,) = [w for w in done.stdout.split() if w.startswith("sha256:")]
    return found


def digest(m, name="m"):
    return mounts.xattr(m.path / name, "digest")


def test_of_a_seed_s_model(mount, seeder, model, root):
    url = f"http://127.0.0.1:{seeder(llama=model.path).address[1]}"
    pinned = mount(args=("--model", f"llama={url}#{root}"))
    assert digest(pinned, "llama") == root
    # Nobody has compared it with anything.
    assert digest(mount(args=("--seed", url)), "llama") == "unknown"


def test_of_a_web_server_s_model(mount, model, root):
    server = Server(model.path.parent, Odd)
    try:
        place = f"{server.url}/{model.path.name}/"
        assert digest(mount(args=("--model", f"m={place}#{root}"))) == root
        assert digest(mount(args=("--model", f"m={place}"))) == "unknown"
    finally:
        server.close()


def known(m, name="m"):
    """Asks until the answer is there."""
    mounts.wait_until(lambda: digest(m, name) != "pending",
                      "the digest is known")
    return digest(m, name)


def lists(cache):
    """(name, inode) of what is kept: it is written anew by rename."""
    return sorted((p.name, p.stat().st_ino) for p in cache.glob("*.sha256"))


def test_of_a_local_model(mount, model, folder, root):
    option = f"digest_cache={folder / 'digests'}"
    m = mount(option, m=model)
    assert digest(m) in ("pending", root)
    assert known(m) == root
    # It lies in the cache, for the next mount.
    kept = lists(folder / "digests")
    assert len(kept) >= len(list(model.path.glob("*.safetensors")))
    assert known(mount(option, n=model), "n") == root
    assert lists(folder / "digests") == kept


def test_of_a_local_model_that_is_rewritten(mount, model, folder, root):
    m = mount(f"digest_cache={folder / 'digests'}", "rescan=0.1",
              "switch_after=0.1", m=model)
    assert known(m) == root
    path = max(model.path.glob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert digest(m) != root
    done = mounts.run("digest", model.path)
    assert done.returncode == 0, done.stderr
    assert root not in done.stdout
    mounts.wait_until(lambda: digest(m) in done.stdout,
                      lambda: f"another digest: {digest(m)}")


def test_of_a_local_model_without_digests(mount, model):
    assert digest(mount("digests=off", m=model)) == "unknown"
