# SPDX-License-Identifier: Apache-2.0
"""A process serves the tensors that it holds, a mount reads them."""
import errno
import os
import subprocess
import threading

import pytest

import checkpoints as ck
import mounts
import truth

CONFIG = '{"architectures": ["LlamaForCausalLM"]}\n'
SPECS = [ck.Spec("embed.weight", "F32", (1024, 600)),
         ck.Spec("layers.0.norm.weight", "F16", (600,)),
         ck.Spec("layers.0.proj.weight", "F32", (700, 900)),
         ck.Spec("layers.1.proj.weight", "I32", (33, 50, 7)),
         ck.Spec("step", "I64", ())]


@pytest.fixture
def held(folder, seed):
    """What an engine holds: {rank: file}, and the bytes of each tensor."""
    made = ck.sharded_state(folder / "held", SPECS, seed, ranks=2, parts=1)
    return made


def files_of(held):
    return {rank: held.path / f"model-rank-{rank}-part-0.safetensors"
            for rank in (0, 1)}


def same_tensors(one, two):
    for tensor in sorted(two.iterdir()):
        mounts.assert_same((one / tensor.name).read_bytes(),
                           tensor.read_bytes(), str(tensor))


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_mount_reads_what_a_process_holds(engine, mount, held, kind):
    strided = ["layers.0.proj.weight", "layers.1.proj.weight"]
    e = engine(files_of(held), kind=kind, strided=strided,
               files={"config.json": CONFIG}, serve={"layout": "tp2"})
    local = mount(held=held)
    m = mount(args=["--seed", e.url])
    assert (m.path / "m/config.json").read_text() == CONFIG
    for rank in "01":
        same_tensors(m.path / "m" / rank, local.path / "held" / rank)


def exported(source, out):
    subprocess.run([mounts.PROGRAM, "export", "--part-size=0", str(source),
                    str(out)], check=True, capture_output=True,
                   timeout=mounts.DEADLINE)
    return out


def test_other_layouts_come_from_what_an_engine_holds(engine, mount, folder):
    """All ranks of a tp4 engine: cut for tp2, and the checkpoint again."""
    family = truth.read("llama")
    truth.make(family["spec"], folder / "llama")
    dump = exported(f"{folder / 'llama'}@tp4", folder / "dump")
    e = engine({r: dump / f"model-rank-{r}-part-0.safetensors"
                for r in range(4)}, kind="torch",
               files={"config.json": (dump / "config.json").read_text()},
               serve={"layout": "tp4", "engine": "vllm", "state": "loaded",
                      "engine_version": "0.32", "one_name": True})
    m = mount("part_size=0", args=["--seed", e.url])
    (name,) = [name for name, at in truth_layouts("llama") if at == "tp2"]
    for file in family["truth"][name]["files"]:
        assert truth.digest(m.path / "m@tp2" / file["name"]) == file["sha256"]
    (whole,) = exported(f"{dump}@tp1+hf",
                        folder / "hf").glob("*.safetensors")
    (got,) = (m.path / "m@tp1+hf").glob("*.safetensors")
    mounts.assert_same(got.read_bytes(), whole.read_bytes(), str(got))


def truth_layouts(family):
    return [(name, layout) for of, name, layout in truth.layouts()
            if of == family]


def one_tensor(folder, size, seed):
    path = folder / "large.safetensors"
    ck.write_safetensors(path, [ck.of_bytes("large", size, "I32")], seed)
    return path, path.read_bytes()[-size:]


@pytest.fixture
def large(folder, seed):
    """A file of one tensor, and its bytes."""
    return one_tensor(folder, 6_000_000, seed)


def flipped(data, key):
    return bytes(data).translate(bytes(i ^ key for i in range(256)))


def test_an_update_becomes_a_new_version(engine, mount, large):
    path, data = large
    e = engine({0: path})
    m = mount("switch_after=0", "seed_deadline=1", args=["--seed", e.url])
    tensor = m.path / "m/0/large"
    mounts.assert_same(tensor.read_bytes(), data, "before")
    assert e("flip", 5)["epoch"] == 2
    new = flipped(data, 5)

    def is_new():
        try:
            return tensor.read_bytes() == new
        except OSError as error:
            assert error.errno in (errno.ESTALE, errno.ENOENT, errno.EIO)
            return False
    mounts.wait_until(is_new, "the new version is read")


def test_readers_in_the_middle_of_updates_have_one_version(
        engine, mount, large):
    """Every byte of what is read whole was changed by the same updates."""
    path, data = large
    e = engine({0: path})
    m = mount("switch_after=0", "seed_deadline=1", "passthrough=off",
              args=["--seed", e.url])
    wrong, whole, done = [], [], threading.Event()
    some = 2 if mounts.SAN else 5  # updates, until one has to be seen

    def read():
        while not done.is_set():
            try:
                got = (m.path / "m/0/large").read_bytes()
            except OSError as error:
                if error.errno not in (errno.ESTALE, errno.ENOENT, errno.EIO):
                    wrong.append(error)
                continue
            whole.append(got[0] ^ data[0])
            if got != flipped(data, got[0] ^ data[0]):
                wrong.append("torn")
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        key = 0
        for i in range(4 * some):
            e("flip", i + 1)
            key ^= i + 1
            if i % some == some - 1:
                mounts.wait_until(lambda: key in whole[-9:] or wrong,
                                  "somebody reads the new version whole")
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert not wrong, wrong
    assert len(set(whole)) >= 4


@pytest.mark.parametrize("end", ["kill", "close"])
def test_bytes_that_are_gone_are_an_error_and_never_others(
        engine, mount, folder, seed, end):
    # An open waits for an eighth of it: it is slow, and there is much.
    path, data = one_tensor(folder, 64_000_000, seed)
    e = engine({0: path}, seed={"rate": 4_000_000})
    m = mount("seed_deadline=2", args=["--seed", e.url])
    with open(m.path / "m/0/large", "rb", buffering=0) as tensor:
        got = tensor.read(65536)
        if end == "kill":
            e.kill()
        else:
            e("close")
        with pytest.raises(OSError) as failed:
            while True:
                more = tensor.read(1 << 20)
                assert more, "all of it was read"
                got += more
    assert failed.value.errno in (errno.EIO, errno.ESTALE)
    mounts.assert_same(got, data[:len(got)], "what was read")


def test_what_was_hydrated_outlives_the_engine(engine, mount, large):
    path, data = large
    e = engine({0: path})
    m = mount("seed_deadline=1", args=["--seed", e.url])
    tensor = m.path / "m/0/large"
    mounts.wait_until(
        lambda: tensor.read_bytes() and
        os.getxattr(tensor, "user.weightfs.resident") == b"100",
        "all of it is here")
    e.kill()
    mounts.assert_same(tensor.read_bytes(), data, "afterwards")
