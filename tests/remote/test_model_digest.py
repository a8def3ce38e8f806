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


def test_of_a_local_model(mount, model, root):
    assert digest(mount(m=model)) == "unknown"
