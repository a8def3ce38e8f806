# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that are replaced, rewritten or taken away while read."""
import errno
import os
import shutil

import pytest

import checkpoints as ck
from mounts import (RawMap, assert_model_equals, assert_same, exchange, inode,
                    wait_until)


def swap(folder, new, where):
    """Puts directory `new` at `where` by rename, the old one beside it."""
    old = folder / "old"
    exchange(new, where)
    os.rename(new, old)
    return old


def moved(model, old, new):
    """The checkpoint after its directory was renamed."""
    return ck.Checkpoint(new, {
        rank: {n: ck.Place(new / p.file.relative_to(old), p.offset, p.size,
                           p.dtype, p.shape) for n, p in tensors.items()}
        for rank, tensors in model.ranks.items()})


def two_versions(folder, seed, size=600_000):
    specs = ck.layers(8, size)
    first = ck.hf_sharded(folder / "models" / "m", specs, seed)
    second = ck.hf_sharded(folder / "next", specs, seed + 100)
    return first, second


@pytest.mark.parametrize("option", [(), ("passthrough=off",)],
                         ids=["passthrough", "cached"])
def test_a_replaced_checkpoint_is_never_served_mixed(mount, folder, seed,
                                                     option):
    first, second = two_versions(folder, seed)
    m = mount("rescan=0.1", "switch_after=3600", *option,
              models=folder / "models")
    hasty = mount("rescan=0.1", "switch_after=0.2", *option,
                  models=folder / "models")
    rank = m.path / "m" / "0"
    names = list(first.ranks["0"])
    here = hasty.path / "m" / "0" / names[0]
    number = inode(here)
    hasty_hold = open(here, "rb")
    half = len(names) // 2
    # A load under way: half of it before the swap, a file kept open.
    for name in names[:half]:
        assert_same((rank / name).read_bytes(), first.ranks["0"][name].read(),
                    name)
    hold = open(rank / names[0], "rb")
    old = swap(folder, second.path, first.path)
    kept = moved(first, first.path, old)
    now = moved(second, second.path, first.path)
    wait_until(lambda: any(r["state"] == "switching"
                           for r in m.status()["models"]),
               "the new one waits")
    for name in names[half:]:
        assert_same((rank / name).read_bytes(), kept.ranks["0"][name].read(),
                    f"{name} is the old one's")
    assert_same((m.path / "m" / "config.json").read_bytes(),
                (old / "config.json").read_bytes(), "config.json")
    hold.seek(0)
    assert_same(hold.read(), kept.ranks["0"][names[0]].read(), "held")
    hold.close()
    # Asking is no open, which would keep the old one.
    wait_until(lambda: inode(here) not in (None, number), "it switched")
    assert_same(here.read_bytes(), now.ranks["0"][names[0]].read(),
                "the new one")
    assert_same(hasty_hold.read(), kept.ranks["0"][names[0]].read(), "held")
    hasty_hold.close()
    assert_model_equals(hasty, "m", now)
    assert any(e["event"] and e.get("model") == "m" for e in hasty.events())


def is_served(m, model):
    try:
        return all((m.path / "m" / rank / name).read_bytes() == place.read()
                   for rank, name, place in model.tensors())
    except OSError as e:
        assert e.errno in (errno.ESTALE, errno.ENOENT), e
        return False


def test_files_replaced_one_by_one_are_never_served_mixed(mount, folder,
                                                          seed):
    first, second = two_versions(folder, seed)
    want = {n: p.read() for n, p in first.ranks["0"].items()}
    m = mount("rescan=0.05", "switch_after=3600", models=folder / "models")
    hasty = mount("rescan=0.05", "switch_after=0", models=folder / "models")
    rank = m.path / "m" / "0"
    for file in second.files():
        os.replace(second.path / file, first.path / file)
        for each in want:
            assert_same((rank / each).read_bytes(), want[each], each)
    now = moved(second, second.path, first.path)
    wait_until(lambda: is_served(hasty, now), "it switched")
    assert_model_equals(hasty, "m", now)


def test_a_map_of_the_old_version_stays_the_old_version(mount, folder, seed):
    first, second = two_versions(folder, seed)
    m = mount("rescan=0.1", "switch_after=0.2", models=folder / "models")
    name, place = next(iter(first.ranks["0"].items()))
    want = place.read()
    file = "model-00001-of-00003.safetensors"
    whole = (first.path / file).read_bytes()
    with RawMap(m.path / "m" / "0" / name) as tensor, \
            RawMap(m.path / "m" / file) as shard:
        swap(folder, second.path, first.path)
        now = moved(second, second.path, first.path)
        # Each look is an open, so they are further apart than switch_after.
        wait_until(lambda: (m.path / "m" / "0" / name).read_bytes()
                   == now.ranks["0"][name].read(),
                   "the name has switched", every=0.5)
        assert_same(tensor.bytes(), want, "the mapped tensor")
        assert_same(shard.bytes(), whole, "the mapped shard file")
    assert_model_equals(m, "m", now)


def test_inode_numbers_of_another_version_are_others(mount, folder, seed):
    first, second = two_versions(folder, seed)
    m = mount("rescan=0.1", "switch_after=0", models=folder / "models")
    name = next(iter(first.ranks["0"]))
    before = (m.path / "m" / "0" / name).stat().st_ino
    swap(folder, second.path, first.path)
    path = m.path / "m" / "0" / name
    wait_until(lambda: inode(path) not in (None, before),
               "the number is another")


def rewrite(file):
    """In place: the same inode, other bytes in the second half."""
    size = file.stat().st_size
    with open(file, "r+b") as f:
        f.seek(size // 2)
        f.write(ck.random_bytes(99, size - size // 2))


def errno_of_open(path):
    try:
        os.close(os.open(path, os.O_RDONLY))
        return 0
    except OSError as e:
        return e.errno


@pytest.mark.parametrize("option", [(), ("passthrough=off",)],
                         ids=["passthrough", "cached"])
def test_a_rewrite_in_place_is_refused_until_read_again(mount, folder, seed,
                                                        option):
    first, _ = two_versions(folder, seed)
    m = mount("rescan=3600", *option, models=folder / "models")
    place = next(iter(first.ranks["0"].values()))
    rank = m.path / "m" / "0"
    inside = [n for n, p in first.ranks["0"].items() if p.file == place.file]
    (rank / inside[0]).read_bytes()
    rewrite(place.file)
    for name in inside:
        assert errno_of_open(rank / name) == errno.ESTALE, name
    assert errno_of_open(m.path / "m" / place.file.name) == errno.ESTALE
    # What was not rewritten is as good as before.
    other = next(n for n, p in first.ranks["0"].items()
                 if p.file != place.file)
    assert_same((rank / other).read_bytes(),
                first.ranks["0"][other].read(), other)
    assert place.file.name in m.log()
    assert m.status()["errors"]["stale"] > 0
    assert m.model("m")["state"] == "stale"


def test_a_rewritten_model_is_read_again_and_served(mount, folder, seed):
    first, _ = two_versions(folder, seed)
    m = mount("rescan=0.2", "switch_after=3600", models=folder / "models")
    rank = m.path / "m" / "0"
    for name in first.ranks["0"]:
        (rank / name).read_bytes()
    for file in {p.file for p in first.ranks["0"].values()}:
        rewrite(file)
    name, place = list(first.ranks["0"].items())[-1]
    want = place.read()

    def reread():
        try:
            return (rank / name).read_bytes() == want
        except OSError as e:
            assert e.errno in (errno.ESTALE, errno.ENOENT), e
            return False
    wait_until(reread, "the new bytes are served", every=0.2)
    assert_model_equals(m, "m", first)


def test_a_truncated_source_is_an_error_and_no_end_of_the_daemon(
        mount, folder, seed, plain):
    model = ck.hf_sharded(folder / "m", ck.layers(6, 2_000_000), seed)
    m = mount("passthrough=off", "rescan=3600", m=model, p=plain)
    place = next(iter(model.ranks["0"].values()))
    name = next(iter(model.ranks["0"]))
    with open(m.path / "m" / "0" / name, "rb", buffering=0) as f:
        os.truncate(place.file, 100)
        with pytest.raises(OSError) as e:
            while f.read(1 << 20):
                pass
        assert e.value.errno in (errno.EIO, errno.ESTALE)
    assert_model_equals(m, "p", plain)
    assert m.status()["errors"]["source"] + m.status()["errors"]["stale"] > 0


def test_a_checkpoint_taken_away_is_read_to_its_end(mount, folder, seed):
    first, _ = two_versions(folder, seed)
    want = {n: p.read() for n, p in first.ranks["0"].items()}
    m = mount("rescan=0.1", "switch_after=3600", models=folder / "models")
    hasty = mount("rescan=0.1", "switch_after=0.2", models=folder / "models")
    rank = m.path / "m" / "0"
    names = list(want)
    assert_same((rank / names[0]).read_bytes(), want[names[0]], names[0])
    hold = open(hasty.path / "m" / "0" / names[0], "rb")
    shutil.rmtree(first.path)
    for name in names[1:]:
        assert_same((rank / name).read_bytes(), want[name], name)
    # The kernel is told of a name a moment after the list.
    wait_until(lambda: "m" not in os.listdir(hasty.path) and
               not os.path.lexists(hasty.path / "m"), "the name is gone")
    assert_same(hold.read(), want[names[0]], "held open")
    hold.close()
    wait_until(lambda: not [r for r in hasty.status()["models"]
                            if r["name"] == "m"], "nothing is left of it")


def test_a_broken_successor_leaves_the_old_one_served(mount, folder, seed):
    first, second = two_versions(folder, seed)
    os.truncate(second.path / "model-00002-of-00003.safetensors", 50)
    m = mount("rescan=0.1", "switch_after=0", models=folder / "models")
    rank = m.path / "m" / "0"
    old = swap(folder, second.path, first.path)
    kept = moved(first, first.path, old)
    wait_until(lambda: "model-00002-of-00003.safetensors" in m.log(),
               "the log says so")
    for name, place in kept.ranks["0"].items():
        assert_same((rank / name).read_bytes(), place.read(), name)


def test_a_new_model_announces_itself_to_those_who_poll(mount, folder, seed):
    import json
    import select
    top = folder / "models"
    ck.hf_single(top / "a", ck.layers(1, 100), seed)
    m = mount("rescan=0.1", "switch_after=0", models=top)
    fd = os.open(m.path / ".weightfs" / "events", os.O_RDONLY | os.O_NONBLOCK)
    try:
        while os.read(fd, 65536):
            pass
    except BlockingIOError:
        pass
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    assert poller.poll(0) == [], "nothing new, so not readable"
    made = ck.hf_single(folder / "b", ck.layers(1, 100), seed)
    os.rename(made.path, top / "b")
    assert poller.poll(60_000), "woken"
    text = os.read(fd, 65536).decode()
    os.close(fd)
    rows = [json.loads(line) for line in text.splitlines()]
    assert any(r["model"] == "b" for r in rows), rows
    for row in rows:
        assert {"time", "event", "text"} <= set(row)


def test_events_are_read_as_lines_from_the_beginning(mount, plain):
    m = mount(p=plain)
    rows = m.events()
    assert any(r.get("model") == "p" for r in rows), rows
    # As tail -f does: a second reader sees the same.
    assert m.events()[:len(rows)] == rows
