# SPDX-License-Identifier: Apache-2.0
"""What is seen: models, ranks, tensors, names."""
import os
import shutil

import checkpoints as ck
from mounts import assert_model_equals, assert_same, wait_until, xattr


def test_every_file_and_tensor_has_its_bytes(mount, plain):
    m = mount(llama=plain)
    assert_model_equals(m, "llama", plain)
    assert sorted(os.listdir(m.path / "llama" / "0")) == sorted(
        plain.ranks["0"])
    assert sorted(os.listdir(m.path / "llama")) == sorted(
        os.listdir(plain.path) + ["0"])


def test_every_dtype_and_odd_shape_is_served(mount, folder, seed):
    model = ck.hf_single(folder / "d", ck.every_dtype(), seed)
    m = mount(d=model)
    assert_model_equals(m, "d", model)
    for _, name, place in model.tensors():
        path = m.path / "d" / "0" / name
        assert path.stat().st_size == place.size
        assert xattr(path, "dtype") == place.dtype
        assert xattr(path, "shape") == str(list(place.shape))


def test_tensors_without_an_index_are_found(mount, folder, seed):
    model = ck.hf_sharded(folder / "n", ck.layers(10, 5000), seed,
                          index=False)
    m = mount(n=model)
    assert_model_equals(m, "n", model)


def test_a_sharded_state_shows_its_ranks(mount, folder, seed):
    model = ck.sharded_state(folder / "s", ck.layers(8, 70_000), seed,
                             ranks=3)
    m = mount(s=model)
    assert_model_equals(m, "s", model)
    assert {"0", "1", "2"} <= set(os.listdir(m.path / "s"))
    assert m.model("s")["format"] == "sharded_state"
    assert m.model("s")["ranks"] == 3
    assert xattr(m.path / "s", "ranks") == "3"


def test_pipeline_stages_are_ranks_of_their_own(mount, folder, seed):
    model = ck.sharded_state(folder / "p", ck.layers(6, 4000), seed, ranks=2,
                             stages=2)
    m = mount(p=model)
    assert_model_equals(m, "p", model)
    assert {f"pp-{p}-tp-{t}" for p in (0, 1) for t in (0, 1)} <= set(
        os.listdir(m.path / "p"))


def test_a_checkpoints_own_entry_wins_over_a_rank(mount, folder, seed):
    model = ck.hf_single(folder / "c", ck.layers(4, 1000), seed)
    (model.path / "0").mkdir()
    (model.path / "0" / "notes.txt").write_text("mine\n")
    m = mount(c=model)
    assert os.listdir(m.path / "c" / "0") == ["notes.txt"]
    assert (m.path / "c" / "0" / "notes.txt").read_text() == "mine\n"
    assert_model_equals(m, "c", model, ranks_at=".ranks")


def test_models_of_a_directory_are_its_checkpoints(mount, folder, seed):
    top = folder / "models"
    one = ck.hf_single(top / "one", ck.layers(2, 100), seed)
    two = ck.sharded_state(top / "two", ck.layers(4, 100), seed)
    (top / "papers").mkdir()
    (top / "papers" / "a.txt").write_text("no checkpoint")
    (top / "README").write_text("no directory")
    m = mount(models=top)
    assert sorted(os.listdir(m.path)) == [".weightfs", "one", "two"]
    assert_model_equals(m, "one", one)
    assert_model_equals(m, "two", two)


def test_named_models_stand_beside_those_of_a_directory(mount, folder, seed):
    one = ck.hf_single(folder / "models" / "one", ck.layers(2, 100), seed)
    two = ck.hf_single(folder / "elsewhere", ck.layers(2, 100), seed + 1)
    m = mount(models=folder / "models", mine=two)
    assert_model_equals(m, "one", one)
    assert_model_equals(m, "mine", two)


def test_a_model_named_by_hand_wins_over_one_of_the_directory(
        mount, folder, seed):
    ck.hf_single(folder / "models" / "one", ck.layers(2, 100), seed)
    mine = ck.hf_single(folder / "elsewhere", ck.layers(2, 200), seed + 1)
    m = mount(models=folder / "models", one=mine)
    assert_model_equals(m, "one", mine)
    assert len(m.status()["models"]) == 1


def test_names_that_are_no_utf8_are_names_all_the_same(mount, folder, seed):
    top = os.fsencode(folder / "models")
    made = ck.hf_single(folder / "models" / "one", ck.layers(2, 100), seed)
    with open(os.fsencode(made.path) + b"/f\xfe.txt", "wb") as f:
        f.write(b"hello")
    os.rename(top + b"/one", top + b"/m\xff")
    m = mount(models=folder / "models")
    at = os.fsencode(m.path) + b"/m\xff"
    with open(at + b"/f\xfe.txt", "rb") as f:
        assert f.read() == b"hello"
    assert m.status()["models"][0]["tensors"] == 2
    m.events()


def test_a_hub_cache_shows_its_repositories(mount, folder, seed):
    cache = folder / "hub"
    main = ck.hub_snapshot(cache, "org/name", "1" * 40, ck.layers(3, 9000),
                           seed, ref="main")
    other = ck.hub_snapshot(cache, "org/name", "2" * 40, ck.layers(3, 9000),
                            seed + 1)
    only = ck.hub_snapshot(cache, "solo", "3" * 40, ck.layers(2, 500),
                           seed + 2, ref="main")
    m = mount(models=cache)
    assert sorted(os.listdir(m.path)) == [
        ".weightfs", "org--name", "org--name@" + "2" * 40, "solo"]
    assert_model_equals(m, "org--name", main)
    assert_model_equals(m, "org--name@" + "2" * 40, other)
    assert_model_equals(m, "solo", only)
    assert not list((m.path / "org--name").rglob("*blobs*"))


def test_a_snapshot_may_be_named_itself(mount, folder, seed):
    snapshot = ck.hub_snapshot(folder / "hub", "org/name", "1" * 40,
                               ck.layers(3, 9000), seed, ref="main")
    m = mount(mine=snapshot)
    assert_model_equals(m, "mine", snapshot)


def test_links_out_of_a_snapshot_are_not_followed(mount, folder, seed):
    snapshot = ck.hub_snapshot(folder / "hub", "org/name", "1" * 40,
                               ck.layers(3, 900), seed, ref="main")
    (snapshot.path / "passwd").symlink_to("/etc/passwd")
    (snapshot.path / "up").symlink_to("../../../../secret")
    (folder / "secret").write_text("secret")
    m = mount(mine=snapshot)
    assert "passwd" not in os.listdir(m.path / "mine")
    assert "up" not in os.listdir(m.path / "mine")
    assert "passwd" in m.log()


def test_links_that_leave_a_checkpoint_need_asking(mount, folder, plain):
    (folder / "secret").write_text("secret")
    (folder / "dir").mkdir()
    (folder / "dir" / "inside.txt").write_text("inside")
    (plain.path / "link.txt").symlink_to(folder / "secret")
    (plain.path / "sub").symlink_to(folder / "dir")
    m = mount(p=plain)
    assert not {"link.txt", "sub"} & set(os.listdir(m.path / "p"))
    assert not os.path.lexists(m.path / "p" / "link.txt")
    assert "link.txt" in m.log()
    asked = mount("follow_links", p=plain)
    assert (asked.path / "p" / "link.txt").read_text() == "secret"
    assert (asked.path / "p" / "sub" / "inside.txt").read_text() == "inside"


def escaped(name):
    """The scheme as core/model/names.h tells it."""
    if name == "":
        return "%"
    if name in (".", ".."):
        return name.replace(".", "%2E")
    return name.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")


def test_names_that_are_no_file_names_are_escaped(mount, folder, seed):
    names = ["a/b", "../../etc/passwd", ".", "..", "100%", "%2F", "größe",
             "sp ace\nline", "-rf", "日本語" * 20, "plain.weight", "%",
             "a\\b", "'quoted\"", "\U0001f600"]
    specs = [ck.Spec(n, "U8", (i + 1,)) for i, n in enumerate(names)]
    model = ck.hf_single(folder / "e", specs, seed)
    m = mount(e=model)
    rank = m.path / "e" / "0"
    assert sorted(os.listdir(rank)) == sorted(map(escaped, names))
    for name in names:
        file = rank / escaped(name)
        assert xattr(file, "name") == name
        assert_same(file.read_bytes(), model.ranks["0"][name].read(), name)


def test_names_too_long_for_a_file_are_cut(mount, folder, seed):
    names = ["x" * 256, "x" * 255 + "y", "x" * 255, "ö" * 200]
    specs = [ck.Spec(n, "U8", (i + 1,)) for i, n in enumerate(names)]
    model = ck.hf_single(folder / "l", specs, seed)
    m = mount(l=model)
    files = os.listdir(m.path / "l" / "0")
    assert len(files) == len(names)
    assert "x" * 255 in files
    seen = {}
    for file in files:
        assert len(file.encode()) <= 255
        path = m.path / "l" / "0" / file
        # An attribute's value may be longer than a file name.
        seen[xattr(path, "name")] = path.read_bytes()
    assert seen == {n: p.read() for n, p in model.ranks["0"].items()}


def test_weights_in_other_formats_are_passed_through(mount, folder, seed):
    path = folder / "gguf"
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "model.gguf").write_bytes(ck.random_bytes(seed, 3_000_001))
    (path / "pytorch_model.bin").write_bytes(ck.random_bytes(seed, 70_001))
    m = mount(g=path)
    assert_model_equals(m, "g", ck.Checkpoint(path))
    assert m.model("g")["format"] == "opaque"
    lines = [x for x in m.log().splitlines()
             if "model.gguf" in x or "pytorch_model.bin" in x or "'g'" in x
             or "model=g" in x]
    assert any("tensor" in x for x in lines), m.log()


def test_models_appear_and_vanish_without_a_remount(mount, folder, seed):
    top = folder / "models"
    one = ck.hf_single(top / "one", ck.layers(2, 100), seed)
    m = mount("rescan=0.1", "switch_after=0", models=top)
    assert_model_equals(m, "one", one)
    made = ck.hf_single(folder / "making", ck.layers(2, 5000), seed + 1)
    os.rename(made.path, top / "two")
    wait_until(lambda: "two" in os.listdir(m.path), "'two' is listed")
    moved = ck.Checkpoint(top / "two", {"0": {
        n: ck.Place(top / "two" / p.file.name, p.offset, p.size, p.dtype,
                    p.shape) for n, p in made.ranks["0"].items()}})
    assert_model_equals(m, "two", moved)
    shutil.rmtree(top / "one")
    wait_until(lambda: "one" not in os.listdir(m.path), "'one' is gone")
    wait_until(lambda: not os.path.lexists(m.path / "one"),
               "'one' cannot be looked up")
    assert_model_equals(m, "two", moved)


def test_lookups_of_nothing_give_enoent_and_nothing_more(mount, plain):
    m = mount(p=plain)
    for name in ("q", "p@v1", "p@tp2", "p/1", "p/0/none", "p/.ranks/0",
                 ".weightfs/none", "p/0/" + "n" * 255):
        assert not os.path.lexists(m.path / name), name
    try:
        os.stat(m.path / "p" / "0" / ("n" * 256))
        raise AssertionError("a name of 256 bytes was found")
    except OSError as e:
        assert e.errno in (2, 36)
