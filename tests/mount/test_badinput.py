# SPDX-License-Identifier: Apache-2.0
"""A bad model gets one clear line; the others stay served."""
import json
import os
import struct

import pytest

import checkpoints as ck
from mounts import assert_model_equals, assert_same, run


def edit(change):
    return lambda path: ck.change_json(path, change)


def first(head):
    return head[next(k for k in head if k != "__metadata__")]


def move(name, begin, end):
    def change(head):
        head[name]["data_offsets"] = [begin, end]
    return edit(change)


def set_of(key, value):
    def change(head):
        first(head)[key] = value
    return edit(change)


def empty(path):
    (path / "model.safetensors").write_bytes(b"")


def few_bytes(path):
    (path / "model.safetensors").write_bytes(b"\x08\0\0")


def length(value):
    def change(path):
        with open(path / "model.safetensors", "r+b") as f:
            f.write(struct.pack("<Q", value))
    return change


def duplicate_key(path):
    def change(text):
        head = json.loads(text)
        name, value = next(iter(head.items()))
        more = json.dumps({name: value}).encode()
        return b"{" + more[1:-1] + b"," + text.lstrip()[1:]
    ck.rewrite_header(path, change)


def trailing(path):
    with open(path / "model.safetensors", "ab") as f:
        f.write(b"x")


def header_text(text):
    return lambda path: ck.rewrite_header(path, lambda _: text)


# What is wrong -> (the damage, words of the line that must be there).
# The tensors are t0 … t3 of 1000 bytes each.
BAD = {
    "truncated by a byte": (ck.truncated, ["model.safetensors"]),
    "empty": (empty, ["model.safetensors"]),
    "shorter than the length of its header": (
        few_bytes, ["model.safetensors"]),
    "header length beyond the file": (
        length(1 << 20), ["model.safetensors", "header"]),
    "header length over 100 MB": (
        length(100_000_001), ["model.safetensors", "header"]),
    "header length of 2^64-1": (
        length(2**64 - 1), ["model.safetensors", "header"]),
    "header length 0": (length(0), ["model.safetensors"]),
    "no JSON": (header_text(b"{nonsense"), ["model.safetensors", "JSON"]),
    "no object": (header_text(b"[1, 2]"), ["model.safetensors"]),
    "no UTF-8": (header_text(b'{"\xff\xfe": 1}'), ["model.safetensors"]),
    "a duplicate key": (duplicate_key, ["model.safetensors", "t0"]),
    "overlapping tensors": (
        move("t1", 500, 1500), ["model.safetensors", "t1"]),
    "a gap": (move("t0", 0, 990), ["model.safetensors"]),
    "offsets out of range": (
        move("t3", 3000, 1 << 40), ["model.safetensors", "t3"]),
    "offsets the wrong way round": (
        move("t1", 2000, 1000), ["model.safetensors", "t1"]),
    "negative offsets": (move("t0", -1, 1000), ["model.safetensors", "t0"]),
    "offsets that are no numbers": (
        move("t0", "0", 1000), ["model.safetensors", "t0"]),
    "an overflowing shape": (
        set_of("shape", [2**40, 2**40]), ["model.safetensors", "t0"]),
    "a negative shape": (
        set_of("shape", [-500]), ["model.safetensors", "t0"]),
    "too few bytes for the shape": (
        set_of("shape", [501]), ["model.safetensors", "t0"]),
    "an unknown dtype": (
        set_of("dtype", "F7"), ["model.safetensors", "t0", "F7"]),
    "no dtype": (edit(lambda h: first(h).pop("dtype")),
                 ["model.safetensors", "t0"]),
    "metadata that are no strings": (
        edit(lambda h: h.update(__metadata__={"a": 1})),
        ["model.safetensors", "__metadata__"]),
    "trailing bytes": (trailing, ["model.safetensors"]),
}


def damaged(folder, seed, what):
    specs = [ck.of_bytes(f"t{i}", 1000) for i in range(4)]
    model = ck.hf_single(folder / "bad", specs, seed)
    BAD[what][0](model.path)
    return model


def lines_with(log, words):
    return [x for x in log.splitlines() if all(w in x for w in words)]


@pytest.mark.parametrize("what", BAD)
def test_a_broken_file_gets_one_line_and_others_are_served(
        mount, folder, plain, seed, what):
    damaged(folder, seed, what)
    m = mount(bad=folder / "bad", good=plain)
    assert sorted(os.listdir(m.path)) == [".weightfs", "good"]
    assert_model_equals(m, "good", plain)
    lines = [x for x in m.log().splitlines()
             if "bad" in x and "model.safetensors" in x]
    assert len(lines) == 1, m.log()
    for word in BAD[what][1]:
        assert word in lines[0], lines[0]


def index_names_missing_file(path):
    change_index(path, lambda w: w.update(t0="model-00009.safetensors"))


def index_names_missing_tensor(path):
    change_index(path, lambda w: w.update(
        ghost="model-00001-of-00002.safetensors"))


def index_names_another_file(path):
    change_index(path, lambda w: w.update(
        t0="model-00002-of-00002.safetensors"))


def index_leaves_the_checkpoint(path):
    change_index(path, lambda w: w.update(t0="../elsewhere.safetensors"))


def index_is_no_json(path):
    (path / "model.safetensors.index.json").write_text("{")


def index_has_a_duplicate(path):
    file = path / "model.safetensors.index.json"
    name = "model-00001-of-00002.safetensors"
    file.write_text('{"weight_map": {"t0": "%s", "t0": "%s"}}' % (name, name))


def change_index(path, change):
    file = path / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    change(index["weight_map"])
    file.write_text(json.dumps(index))


BAD_INDEX = {
    "names a missing file": (index_names_missing_file,
                             ["model-00009.safetensors"]),
    "names a missing tensor": (index_names_missing_tensor, ["ghost"]),
    "names another file": (index_names_another_file, ["t0"]),
    "leaves the checkpoint": (index_leaves_the_checkpoint, ["elsewhere"]),
    "is no JSON": (index_is_no_json, ["index.json"]),
    "has a duplicate key": (index_has_a_duplicate, ["index.json", "t0"]),
}


@pytest.mark.parametrize("what", BAD_INDEX)
def test_a_broken_index_gets_one_line_and_others_are_served(
        mount, folder, plain, seed, what):
    specs = [ck.of_bytes(f"t{i}", 1000) for i in range(4)]
    model = ck.hf_sharded(folder / "bad", specs, seed, parts=2)
    change, words = BAD_INDEX[what]
    change(model.path)
    m = mount(bad=model, good=plain)
    assert sorted(os.listdir(m.path)) == [".weightfs", "good"]
    assert_model_equals(m, "good", plain)
    lines = lines_with(m.log(), ["bad", *words])
    assert len(lines) == 1, m.log()


def test_one_tensor_in_two_files_is_refused(mount, folder, plain, seed):
    path = folder / "bad"
    for i in (1, 2):
        ck.write_safetensors(path / f"model-0000{i}-of-00002.safetensors",
                             [ck.of_bytes("same.weight", 100),
                              ck.of_bytes(f"own.{i}", 100)], seed + i)
    m = mount(bad=path, good=plain)
    assert sorted(os.listdir(m.path)) == [".weightfs", "good"]
    (line,) = lines_with(m.log(), ["bad", "same.weight"])
    assert "model-00001-of-00002.safetensors" in line
    assert "model-00002-of-00002.safetensors" in line


def test_ranks_that_are_not_contiguous_are_refused(mount, folder, plain,
                                                   seed):
    model = ck.sharded_state(folder / "bad", ck.layers(4, 100), seed, ranks=3)
    for file in model.path.glob("model-rank-1-*"):
        file.unlink()
    m = mount(bad=model, good=plain)
    assert sorted(os.listdir(m.path)) == [".weightfs", "good"]
    assert lines_with(m.log(), ["bad", "rank"]), m.log()


def test_parts_that_are_not_contiguous_are_refused(mount, folder, plain,
                                                   seed):
    model = ck.sharded_state(folder / "bad", ck.layers(6, 100), seed, parts=3)
    (model.path / "model-rank-1-part-1.safetensors").unlink()
    m = mount(bad=model, good=plain)
    assert sorted(os.listdir(m.path)) == [".weightfs", "good"]
    assert lines_with(m.log(), ["bad", "part"]), m.log()


def test_a_name_with_a_newline_stays_on_one_line(mount, folder, plain, seed):
    specs = [ck.Spec("evil\nerror forged=1", "U8", (8,)),
             ck.of_bytes("t1", 100)]
    model = ck.hf_single(folder / "bad", specs, seed)
    ck.change_json(model.path, lambda h: first(h).update(dtype="F7"))
    m = mount(bad=model, good=plain)
    assert not [x for x in m.log().splitlines()
                if x.startswith("error forged")]
    assert os.listdir(m.path / "good")


def test_nothing_left_to_mount_is_a_failure(folder, seed):
    damaged(folder, seed, "truncated by a byte")
    (folder / "mnt").mkdir()
    done = run("mount", "-f", "--model", f"bad={folder / 'bad'}",
               folder / "mnt", folder=folder)
    assert done.returncode == 1
    assert "model.safetensors" in done.stderr
    assert "nothing" in done.stderr or "no model" in done.stderr, done.stderr


def test_nothing_left_to_mount_is_said_by_the_daemon_too(folder, seed):
    damaged(folder, seed, "truncated by a byte")
    (folder / "mnt").mkdir()
    done = run("mount", "--model", f"bad={folder / 'bad'}", folder / "mnt",
               folder=folder)
    assert done.returncode == 1
    assert "model.safetensors" in done.stderr
    assert not os.path.ismount(folder / "mnt")


@pytest.mark.parametrize("name", ["a/b", "", ".", "..", ".weightfs", "a@v1",
                                  pytest.param("n" * 256, id="too long")])
def test_a_name_that_no_model_can_have_is_a_usage_error(folder, plain, name):
    (folder / "mnt").mkdir()
    done = run("mount", "-f", "--model", f"{name}={plain.path}",
               folder / "mnt", folder=folder)
    assert done.returncode == 2, done.stderr
    assert name[:40] in done.stderr


def test_a_model_directory_that_is_not_there_is_named(folder, plain, mount):
    gone = folder / "gone"
    m = mount(gone=gone, p=plain)
    assert sorted(os.listdir(m.path)) == [".weightfs", "p"]
    assert len(lines_with(m.log(), [str(gone)])) == 1


def test_devices_sockets_and_fifos_are_left_out(mount, plain):
    os.mkfifo(plain.path / "pipe")
    m = mount(p=plain)
    assert "pipe" not in os.listdir(m.path / "p")
    assert "pipe" in m.log()


def test_a_model_that_is_mended_is_served(mount, folder, seed, plain):
    """Broken at first, put right later, without a remount."""
    from mounts import wait_until
    top = folder / "models"
    good = ck.hf_single(top / "good", ck.layers(2, 100), seed)
    late = ck.hf_single(top / "late", ck.layers(2, 1000), seed + 1)
    whole = (late.path / "model.safetensors").read_bytes()
    ck.truncated(late.path)
    m = mount("rescan=0.1", "switch_after=0", models=top)
    assert "late" not in os.listdir(m.path)
    fresh = late.path / ".fresh"
    fresh.write_bytes(whole)
    os.rename(fresh, late.path / "model.safetensors")
    wait_until(lambda: "late" in os.listdir(m.path), "'late' is served")
    assert_model_equals(m, "late", late)
    assert_model_equals(m, "good", good)
    # Looked at ten times a second, complained about once.
    assert len([x for x in m.log().splitlines() if "late" in x
                and "model.safetensors" in x]) == 1, m.log()


def test_more_files_than_descriptors_is_said_clearly(mount, folder, plain,
                                                     seed):
    big = ck.hf_sharded(folder / "big", ck.layers(300, 64), seed, parts=300)
    m = mount(big=big, p=plain, wrap=["prlimit", "--nofile=128:128"])
    if "big" not in os.listdir(m.path):
        assert "big" in m.log()
        assert "descriptor" in m.log() or "open files" in m.log(), m.log()
    for rank, name, place in plain.tensors():
        assert_same((m.path / "p" / rank / name).read_bytes(), place.read(),
                    name)
