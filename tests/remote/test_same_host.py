# SPDX-License-Identifier: Apache-2.0
"""A seed on the same host lends its files: the same memory, nothing copied."""
import mmap
import os
import signal

import mounts
import pytest
from test_attributes import NOBODY
from test_remote import read_all, read_cold, seeds_of, shard


def url(seed):
    return f"http://127.0.0.1:{seed.address[1]}"


def mount_of(mount, seed, *options):
    return mount(*options, args=("--seed", url(seed)))


def fetched(m):
    return sum(row["bytes"] for row in seeds_of(m))


def lent(m):
    (row,) = seeds_of(m)
    return row["lent_files"]


def cached(path):
    return int(mounts.xattr(path, "resident_bytes"))


def test_a_lent_model_is_read_without_a_byte_over_the_network(mount, seeder,
                                                              model):
    seed = seeder(llama=model.path, lend=True)
    m = mount_of(mount, seed)
    files = model.files()
    for name in files:
        assert ((m.path / "llama" / name).read_bytes()
                == (model.path / name).read_bytes()), name
    (row,) = seeds_of(m)
    sizes = [os.path.getsize(model.path / name) for name in files]
    size = sum(sizes)
    assert (row["lent_files"], row["lent_bytes"]) == (
        len([one for one in sizes if one]), size)
    assert row["bytes"] == 0
    assert seed.metrics()["chunks_total"] == 0
    assert m.status()["arena"]["used"] < size / 10
    assert mounts.xattr(m.path / "llama" / shard(model), "trust") == "seed"
    read_all(m, model)  # tensors, too
    assert fetched(m) == 0


def test_the_memory_of_a_lent_file_is_shared(mount, seeder, model):
    seed = seeder(llama=model.path, lend=True)
    m = mount_of(mount, seed)
    file, own = m.path / "llama" / shard(model), model.path / shard(model)
    with open(own, "rb") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = cached(file)
    with open(file, "rb") as f:
        assert f.read() == own.read_bytes()
        if mounts.served(file) != "passthrough":
            pytest.skip("no passthrough to this file system")

    def is_cached():
        """All of it, less what the machine wanted back at once."""
        file.read_bytes()
        return cached(file) > max(before, 0.9 * os.path.getsize(own))
    mounts.wait_until(is_cached, lambda: f"{cached(file)} bytes are cached")
    assert m.status()["arena"]["used"] < os.path.getsize(own) / 10
    assert m.stats()["weightfs_read_bytes_total"] == 0


@pytest.mark.parametrize("who", ["node", "seed"])
def test_same_host_off_is_the_network(mount, seeder, model, who):
    seed = seeder(llama=model.path, lend=who == "node")
    m = mount_of(mount, seed, *["same_host=off"] * (who == "node"))
    read_cold(m, model)
    assert lent(m) == 0 and fetched(m) >= model.tensor_bytes


def test_a_killed_lender_leaves_what_it_lent(mount, seeder, model):
    seed = seeder(llama=model.path, lend=True)
    m = mount_of(mount, seed)
    file, want = m.path / "llama" / shard(model), (
        model.path / shard(model)).read_bytes()
    with open(file, "rb") as f, mmap.mmap(
            f.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        half = len(want) // 2
        got = mapped[:half]
        seed.process.send_signal(signal.SIGKILL)
        seed.process.wait()
        seed.expect_rc = -signal.SIGKILL
        assert got + mapped[half:] == want
    read_all(m, model)
    read_cold(m, model)
    assert fetched(m) == 0


def test_a_lent_file_that_is_rewritten_is_stale(mount, seeder, model):
    seed = seeder(llama=model.path, lend=True)
    m = mount_of(mount, seed, "rescan=0.1")
    path = model.path / "config.json"
    text = path.read_bytes()
    assert (m.path / "llama" / "config.json").read_bytes() == text
    path.write_bytes(text + b"\n")

    def is_new():
        try:
            got = (m.path / "llama" / "config.json").read_bytes()
        except OSError:
            return False  # stale until it is read again
        assert got in (text, text + b"\n")
        return got == text + b"\n"
    mounts.wait_until(is_new, "the new bytes are served")


def test_a_version_with_a_digest_to_meet_is_fetched_and_checked(
        mount, seeder, model):
    out = mounts.run("digest", model.path)
    assert out.returncode == 0, out.stderr
    (root,) = [w for w in out.stdout.split() if w.startswith("sha256:")]
    seed = seeder(llama=model.path, lend=True)
    m = mount(args=("--model", f"llama={url(seed)}#{root}"))
    file = shard(model)
    assert ((m.path / "llama" / file).read_bytes()
            == (model.path / file).read_bytes())
    assert lent(m) == 0 and fetched(m) > 0
    assert "every chunk of them is to be checked" in m.log()


def test_nothing_is_borrowed_of_another_user(mount, seeder, model, folder):
    if os.geteuid():
        pytest.skip("only root can be two users")
    run = folder / "run"
    run.mkdir(mode=0o700)
    os.chown(run, 65534, 65534)
    seed = seeder("--digest-cache", run / "digests", llama=model.path,
                  lend=True, wrap=NOBODY, env={"XDG_RUNTIME_DIR": str(run)})
    assert seed.ask("/v1/models").json()["host"]["socket"]
    m = mount_of(mount, seed)
    read_cold(m, model)
    assert lent(m) == 0 and fetched(m) >= model.tensor_bytes
    mounts.wait_until(lambda: "neither root's nor our own user's" in m.log(),
                      "it is said why")
