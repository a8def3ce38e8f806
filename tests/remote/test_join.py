# SPDX-License-Identifier: Apache-2.0
"""A web server has the name already when seeds come with the very version that
its digest proves: they bring bytes of that, and nothing is begun anew."""
import os
import shutil
import signal

import pytest

import mounts
from test_prefer import kill, spoil, web
from test_proof import digest, keys
from test_remote import read_all, read_cold, seeds_of, shard
from web import Odd

__all__ = ["keys", "web"]
MIB = 1 << 20


@pytest.fixture
def address(seeder, model):
    """Where a seed was."""
    gone = seeder(llama=model.path)
    kill(gone)
    return f"127.0.0.1:{gone.address[1]}"


def joined(mount):
    return "and is asked for its bytes, too" in mount.log()


def told(mount):
    mounts.wait_until(lambda: joined(mount), "seeds have the same version")


def of_seeds(mount):
    return sum(row["bytes"] for row in seeds_of(mount)
               if row["place"] == "seed")


def brought_by_seeds(mount, model):
    """Waits until all of a model came of seeds; any of them may be late."""
    def look():
        had = of_seeds(mount)
        read_cold(mount, model)
        return of_seeds(mount) - had >= model.tensor_bytes
    mounts.wait_until(look, "all is brought by seeds")


def test_seeds_that_come_later_are_one_more_source(mount, seeder, web, address,
                                                   model):
    root = digest(model.path)
    server = web(Odd)
    m = mount("rescan=0.1", "switch_after=0", "prefetch=0", mounts.PATIENT,
              args=("--seed", f"http://{address}", "--model",
                    f"llama={server.url}/model/#{root}"))
    names = [name for name in model.files() if name.endswith(".safetensors")]
    path = m.path / "llama" / names[0]
    want = (model.path / names[0]).read_bytes()
    before = os.stat(path)
    with open(path, "rb", buffering=0) as file:
        mounts.assert_same(file.read(MIB), want[:MIB], names[0])
        kept = mounts.xattr(path, "resident")
        seeder(address=address, llama=model.path)
        told(m)
        # It is the same version, the same files, and what is here stays.
        after = os.stat(path)
        assert (after.st_ino, after.st_mtime_ns) == (
            before.st_ino, before.st_mtime_ns)
        assert int(mounts.xattr(path, "resident")) >= int(kept)
        # Not even the digests of the others came from there.
        server.close()
        got = want[:MIB]
        while chunk := file.read(MIB):
            got += chunk
        mounts.assert_same(got, want, names[0])
    brought_by_seeds(m, model)
    assert mounts.xattr(path, "trust") == "origin"
    assert server.url in mounts.xattr(path, "source")
    assert os.stat(path).st_ino == before.st_ino
    assert m.log().count("and is asked for its bytes, too") == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_without_those_seeds_the_server_goes_on(mount, seeder, web, address,
                                                model, how):
    root = digest(model.path)
    m = mount("rescan=0.1", "switch_after=0",
              args=("--seed", f"http://{address}", "--model",
                    f"llama={web(Odd).url}/model/#{root}"))
    seed = seeder(address=address, llama=model.path)
    told(m)
    brought_by_seeds(m, model)
    if how == signal.SIGKILL:
        kill(seed)
        read_cold(m, model)
        # It comes back, and is used again.
        seeder(address=address, llama=model.path)
        brought_by_seeds(m, model)
        return
    mounts.freeze(seed.process.pid)
    read_cold(m, model)
    assert m.terminate() == 0
    seed.process.send_signal(signal.SIGCONT)


def test_a_signed_version_is_joined_by_seeds_without_the_signature(
        mount, seeder, web, folder, address, model, keys):
    private, public = keys
    digest(model.path, "--key", private)
    m = mount("rescan=0.1", "switch_after=0", f"trust_key={public}",
              args=("--seed", f"http://{address}", "--model",
                    f"llama={web(Odd).url}/model/"))
    path = m.path / "llama" / shard(model)
    before = os.stat(path).st_ino
    other = folder / "other"
    shutil.copytree(model.path, other)
    (other / "weightfs.digests.json.sig").unlink()
    seeder(address=address, llama=other)
    told(m)
    brought_by_seeds(m, model)
    assert os.stat(path).st_ino == before
    assert mounts.xattr(path, "trust") == "signed"


def test_another_version_does_not_join(mount, seeder, web, folder, address,
                                       model):
    root = digest(model.path)
    other = folder / "other"
    shutil.copytree(model.path, other)
    name = shard(model)
    spoil(other / name, (other / name).stat().st_size - 1)
    digest(other)
    m = mount("rescan=0.1", "switch_after=0",
              args=("--seed", f"http://{address}", "--model",
                    f"llama={web(Odd).url}/model/#{root}"))
    seeder(address=address, llama=other)
    mounts.wait_until(lambda: "its digest manifest is sha256:" in m.log(),
                      "it is said what the seed has")
    read_all(m, model)
    assert not joined(m) and not of_seeds(m)
