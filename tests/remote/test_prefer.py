# SPDX-License-Identifier: Apache-2.0
"""A model with several places: seeds, a directory, a web server.

Who delivered what is counted for each; what one cannot bring another does, in
the same read, and nothing but bytes of the seeds' version is ever seen.
"""
import os
import shutil
import signal

import pytest

import mounts
from test_proof import digest
from test_remote import models, read_all, read_cold, seeds_of, shard
from web import Nginx, Odd, Server

MIB = 1 << 20


@pytest.fixture
def copy(folder, model):
    """The same checkpoint, somewhere else."""
    shutil.copytree(model.path, folder / "copy")
    return folder / "copy"


@pytest.fixture
def web(folder):
    made = []

    def make(kind, root=folder):
        made.append(Nginx(folder / f"nginx{len(made)}", root)
                    if kind is Nginx else Server(root, kind))
        return made[-1]
    yield make
    for one in made:
        one.close()


def places(mount):
    """By its kind: the row of the seed, of the copy, …"""
    return {row["place"]: row for row in seeds_of(mount)}


def ready(mount, *kinds):
    """Waits until every chunk of these copies could be checked."""
    def look():
        rows = places(mount)
        return all(rows[kind]["state"] == "ready" and
                   rows[kind]["files"] == rows[kind]["checkable"]
                   for kind in kinds)
    mounts.wait_until(look, f"{kinds} may stand in")


def kill(seed):
    seed.process.send_signal(signal.SIGKILL)
    seed.expect_rc = -signal.SIGKILL
    seed.process.wait(mounts.DEADLINE)


def url_of(seed):
    return f"http://127.0.0.1:{seed.address[1]}"


def told(mount):
    """What was said of where bytes come from, in order."""
    start = "model 'llama': bytes come from "
    return [line.partition(start)[2] for line in mount.log().splitlines()
            if start in line]


def brings_all(mount, model, kind):
    """Waits until one place brings a model, and no other anything of it.

    Not at once: on a busy machine any of them may be late.
    """
    def look():
        had = places(mount)
        read_cold(mount, model)
        by = {k: row["chunks"] - had[k]["chunks"]
              for k, row in places(mount).items()}
        return by.pop(kind) and not any(by.values())
    mounts.wait_until(look, f"all is brought by the {kind}")


def test_the_disk_stands_in_for_seeds_in_the_same_read(mount, seeder, model,
                                                       copy):
    seed = seeder(llama=model.path)
    m = mount("rescan=0.1", args=("--seed", url_of(seed)), llama=copy)
    ready(m, "disk")
    path, name = m.path / "llama" / shard(model), shard(model)
    want = (model.path / name).read_bytes()
    before = os.stat(path)
    with open(path, "rb", buffering=0) as file:
        mounts.assert_same(file.read(MIB), want[:MIB], name)
        kill(seed)
        got = want[:MIB]
        while chunk := file.read(MIB):
            got += chunk
        mounts.assert_same(got, want, name)
        after = os.fstat(file.fileno())
    assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size)
    read_cold(m, model)
    assert places(m)["disk"]["bytes"] > 0
    mounts.wait_until(
        lambda: told(m)[-1:] == [f"'{copy}', nothing better brings them"],
        "it is said whose bytes these are")
    # The seed comes back, where it was, and is used again.
    seeder(address=f"127.0.0.1:{seed.address[1]}", llama=model.path)
    brings_all(m, model, "seed")
    mounts.wait_until(
        lambda: read_cold(m, model) or told(m)[-1] == "seeds again",
        "that is said, too")
    said = told(m)
    assert all(a != b for a, b in zip(said, said[1:])), said
    assert os.stat(path).st_ino == before.st_ino


def test_seeds_are_asked_before_the_disk(mount, seeder, model, copy):
    m = mount("rescan=0.1", args=("--seed", url_of(seeder(llama=model.path))),
              llama=copy)
    ready(m, "disk")
    brings_all(m, model, "seed")


def test_the_order_is_the_users(mount, seeder, model, copy):
    m = mount("rescan=0.1", "prefer=disk:seed",
              args=("--seed", url_of(seeder(llama=model.path))), llama=copy)
    ready(m, "disk")
    brings_all(m, model, "disk")
    # What the disk cannot bring the seed does, in the same read.
    path = next(copy.rglob(shard(model)))
    with open(m.path / "llama" / shard(model), "rb") as file:
        os.truncate(path, 10)
        m.evict()
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        mounts.assert_same(file.read(), (model.path / shard(model)).read_bytes(),
                           "what the disk lost")


@pytest.mark.parametrize("kind", [Nginx, Odd])
def test_an_origin_stands_in_for_seeds(mount, seeder, web, model, kind):
    seed = seeder(llama=model.path)
    server = web(kind)
    m = mount("rescan=0.1", args=("--model", f"llama={url_of(seed)}",
                                  "--model", f"llama={server.url}/model/"))
    ready(m, "origin")
    kill(seed)
    read_cold(m, model)
    assert places(m)["origin"]["bytes"] >= model.tensor_bytes
    assert mounts.xattr(m.path / "llama" / shard(model), "trust") == "seed"


def test_the_disk_goes_before_the_origin(mount, seeder, web, model, copy):
    seed = seeder(llama=model.path)
    url = f"{web(Odd).url}/model/"
    m = mount("rescan=0.1", args=("--seed", url_of(seed), "--model",
                                  f"llama={url}"), llama=copy)
    ready(m, "disk", "origin")
    kill(seed)
    brings_all(m, model, "disk")


def spoil(path, at):
    """Other bytes, with the size and the times that it had."""
    st = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0xff]))
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def test_a_copy_with_one_wrong_byte_is_dropped(mount, seeder, model, copy):
    spoil(copy / shard(model), (model.path / shard(model)).stat().st_size - 1)
    seed = seeder(llama=model.path)
    m = mount("rescan=0.1", "prefer=disk", args=("--seed", url_of(seed)),
              llama=copy)
    ready(m, "disk")
    read_cold(m, model)
    line = (f"copy '{copy}' is not what '{url_of(seed)}/v1/models/llama' has: "
            f"model 'llama', file '{shard(model)}', offset ")
    assert m.log().count(line) == 1
    mounts.wait_until(lambda: not places(m)["disk"]["requests"],
                      "all answers are there")
    row = places(m)["disk"]
    assert (row["state"], row["files"]) == ("differs", 0)
    read_cold(m, model)
    assert places(m)["disk"]["chunks"] == row["chunks"]
    # It is put right, which is seen, and used.
    spoil(copy / shard(model), (model.path / shard(model)).stat().st_size - 1)
    ready(m, "disk")
    read_cold(m, model)
    assert places(m)["disk"]["chunks"] > row["chunks"]
    assert m.log().count(line) == 1


def test_a_copy_with_another_header_is_not_asked_at_all(mount, seeder, model,
                                                        copy):
    spoil(copy / shard(model), 60)
    seed = seeder(llama=model.path)
    m = mount("rescan=0.1", "prefer=disk", args=("--seed", url_of(seed)),
              llama=copy)
    mounts.wait_until(lambda: places(m)["disk"]["state"] == "differs",
                      "it is found out")
    read_cold(m, model)
    assert places(m)["disk"]["bytes"] == 0
    assert (f"copy '{copy}' is not what '{url_of(seed)}/v1/models/llama' has: "
            f"the beginning of '{shard(model)}' is another") in m.log()


def test_a_name_with_a_digest_is_not_served_by_a_disk_alone(mount, seeder,
                                                            model, copy):
    root = digest(model.path)
    seed = seeder(llama=model.path)
    args = ("--model", f"llama={url_of(seed)}#{root}")
    m = mount("rescan=0.1", "prefer=disk", args=args, llama=copy)
    ready(m, "disk")
    brings_all(m, model, "disk")
    assert mounts.xattr(m.path / "llama" / shard(model), "trust") == "origin"
    kill(seed)
    read_cold(m, model)
    assert models(mount("rescan=0.1", args=args, llama=copy)) == []


def test_without_seeds_the_disk_serves_the_name_until_they_come(
        mount, seeder, folder, model, copy):
    port = seeder(llama=model.path)
    kill(port)
    m = mount("rescan=0.1", "switch_after=0",
              args=("--seed", url_of(port)), llama=copy)
    read_all(m, model)
    path = m.path / "llama" / shard(model)
    assert mounts.xattr(path, "trust") == "origin"
    seeder(address=f"127.0.0.1:{port.address[1]}", llama=model.path)
    mounts.wait_until(lambda: mounts.xattr(path, "trust") == "seed",
                      "the seed has the name")
    read_cold(m, model)


def test_the_origin_serves_a_name_whose_directory_is_missing(
        mount, web, folder, model):
    url = f"{web(Odd).url}/model/"
    m = mount("rescan=0.1", "switch_after=0", args=(
        "--model", f"llama={url}", "--model", f"llama={folder}/none"))
    assert models(m) == ["llama"]
    read_all(m, model)
    # It comes later, and goes before the origin.
    shutil.copytree(model.path, folder / "coming")
    os.rename(folder / "coming", folder / "none")
    path = m.path / "llama" / shard(model)
    mounts.wait_until(
        lambda: f"{folder}/none/" in mounts.xattr(path, "source"),
        "the disk has the name")
    read_all(m, model)


def retype(path):
    """Another type of the same width for all tensors of a shard."""
    was = path.read_bytes()
    now = was.replace(b'"BF16"', b'"F16" ')
    assert now != was
    path.write_bytes(now)


@pytest.mark.parametrize("by", ["size", "header", "digest"])
def test_a_late_seed_takes_no_name_from_an_origin_for_another_version(
        mount, seeder, web, folder, model, copy, by):
    if by == "size":
        with open(copy / "config.json", "a", encoding="ascii") as file:
            file.write("\n")
    elif by == "header":
        retype(copy / shard(model))
    else:
        spoil(copy / shard(model), (copy / shard(model)).stat().st_size - 1)
        digest(model.path)
        digest(copy)
    gone = seeder(llama=model.path)
    kill(gone)
    address = f"127.0.0.1:{gone.address[1]}"
    server = web(Odd)
    m = mount("rescan=0.1", "switch_after=0",
              args=("--seed", url_of(gone), "--model",
                    f"llama={server.url}/model/"))
    path = m.path / "llama" / shard(model)
    assert mounts.xattr(path, "trust") == "origin"
    other = seeder(address=address, llama=copy)
    mounts.wait_until(
        lambda: f"is another version than '{server.url}/model', which "
        "keeps the name" in m.log(), "it is said that it is another")
    assert mounts.xattr(path, "trust") == "origin"
    read_all(m, model)
    # One that has the same is asked instead, and the origin stands in.
    kill(other)
    seeder(address=address, llama=model.path)
    mounts.wait_until(lambda: mounts.xattr(path, "trust") == "seed",
                      "the seed has the name")
    ready(m, "origin")
    brings_all(m, model, "seed")


def test_a_seed_that_lists_it_no_more_leaves_it_to_the_disk(mount, seeds,
                                                            model, copy):
    seed = seeds(llama=model.path)
    m = mount("rescan=0.1", "switch_after=0", args=("--seed", seed.url),
              llama=copy)
    path = m.path / "llama" / shard(model)
    assert mounts.xattr(path, "trust") == "seed"
    seed.withdraw("llama")
    mounts.wait_until(lambda: mounts.xattr(path, "trust") == "origin",
                      "the disk has the name")
    read_all(m, model)
