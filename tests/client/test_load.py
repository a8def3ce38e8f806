# SPDX-License-Identifier: Apache-2.0
"""weightfs.load_file, load_into and open, over mounts of every kind."""
import hashlib
import json
import os

import pytest

import checkpoints as ck
import mounts
from small_llama import Llama

MIB = 1 << 20
LOAD = """
for path, rank in json.loads(sys.argv[1]):
    print(json.dumps(digests(weightfs.load_file(path, rank=rank))))
"""
TYPES = {"BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16",
         "F16": "float16", "BF16": "bfloat16", "I32": "int32",
         "F32": "float32", "F64": "float64", "I64": "int64",
         "C64": "complex64"}


def truth(places):
    return {name: [TYPES[p.dtype], list(p.shape),
                   hashlib.sha256(p.read()).hexdigest()]
            for name, p in places.items()}


def all_loaded(run, *loads):
    """Of each (path, rank) what was loaded, by one child."""
    said = run(LOAD, json.dumps([(str(p), r) for p, r in loads]))
    return [json.loads(line) for line in said.split("\n")]


def loaded(run, path, rank=None):
    (got,) = all_loaded(run, (path, rank))
    return got


@pytest.fixture
def model(folder, seed):
    return ck.hf_sharded(folder / "model", ck.layers(12, 1_000_002), seed)


def test_a_checkpoint_is_loaded_in_each_of_its_forms(mount, model, run):
    m = mount(m=model)
    want = truth(model.ranks["0"])
    top = m.path / "m"
    name = next(iter(want))
    shards = sorted(f for f in model.files() if f.endswith(".safetensors"))
    whole, rank, files, one, *parts = all_loaded(
        run, (top, None), (top, 0), (top / "0", None),
        (top / "0" / name, None), *((top / s, None) for s in shards))
    assert whole == rank == files == want
    assert one == {name: want[name]}
    assert {n: t for part in parts for n, t in part.items()} == want
    assert m.status()["reads"]["errors"] == 0


def test_files_of_no_mount_are_loaded_too(model, run):
    assert loaded(run, model.path) == truth(model.ranks["0"])


def test_a_rank_of_a_dump_is_its_own(mount, folder, seed, run):
    plain = ck.sharded_state(folder / "s", ck.layers(6, 300_002), seed)
    staged = ck.sharded_state(folder / "p", ck.layers(6, 300_002), seed,
                              stages=2)
    m = mount(s=plain, p=staged)
    for name, model in ("s", plain), ("p", staged):
        got = all_loaded(run, *((m.path / name, r) for r in model.ranks),
                         *((m.path / name / r, None) for r in model.ranks))
        assert got == 2 * [truth(p) for p in model.ranks.values()]
    said = run("""
try:
    weightfs.load_file(sys.argv[1])
except FileExistsError as error:
    print(error.strerror)
try:
    weightfs.load_file(sys.argv[1], rank=2)
except FileNotFoundError as error:
    print(error.strerror)
""", m.path / "s")
    assert "say which rank is wanted" in said
    assert "has no rank '2'" in said


def test_ranks_of_a_layout_are_what_its_files_hold(mount, folder, seed, run):
    Llama(folder / "llama", seed=seed).write()
    m = mount(llama=folder / "llama")
    ranks = [(m.path / layout, rank)
             for layout in ("llama@tp2", "llama@tp2+hf") for rank in "01"]
    got = all_loaded(run, *ranks, *((top / rank, None) for top, rank in ranks))
    for at, (top, rank) in enumerate(ranks):
        want = {file.name: [TYPES[mounts.xattr(file, "dtype")],
                            json.loads(mounts.xattr(file, "shape")),
                            hashlib.sha256(file.read_bytes()).hexdigest()]
                for file in (top / rank).iterdir()}
        assert got[at] == got[at + len(ranks)] == want and len(want) > 20


def test_a_model_of_a_seed_is_brought_here_and_passed_through(
        mount, seeder, model, run):
    seed = seeder(m=model.path)
    m = mount(mounts.PATIENT, args=["--seed", seed.url])
    assert loaded(run, m.path / "m") == truth(model.ranks["0"])
    if m.status()["passthrough"]["in_use"]:
        assert m.status()["reads"]["bytes"] < model.tensor_bytes / 4
    m.evict()
    assert loaded(run, m.path / "m" / "0") == truth(model.ranks["0"])


def test_what_there_is_no_room_for_is_read(mount, seeder, folder, seed, run):
    model = ck.hf_sharded(folder / "large", ck.layers(6, 12 * MIB), seed)
    far = seeder(m=model.path)
    m = mount("arena_size=32M", args=["--seed", far.url])
    assert loaded(run, m.path / "m") == truth(model.ranks["0"])


def test_a_seed_that_dies_is_an_error_and_no_signal(mount, seeder, model,
                                                    start):
    far = seeder(m=model.path)
    m = mount("seed_deadline=1", args=["--seed", far.url])
    child = start("""
print("ready", flush=True)
sys.stdin.readline()
try:
    weightfs.load_file(sys.argv[1])
except OSError as error:
    print(type(error).__name__, error.strerror)
""", m.path / "m")
    assert child.line() == "ready"
    far.process.kill()
    far.process.wait()
    far.expect_rc = -9
    child.say()
    assert "cannot read" in child.end()


def test_what_is_written_stays_in_the_process(mount, model, run):
    m = mount(m=model)
    name, place = next(iter(model.ranks["0"].items()))
    run("""
for path in sys.argv[1:]:
    for tensor in weightfs.load_file(path).values():
        tensor.zero_()
        assert not tensor.any()
""", m.path / "m", m.path / "m" / "0")
    assert (m.path / "m" / "0" / name).read_bytes() == place.read()
    assert place.read().strip(b"\0")


def test_a_tensor_outlives_its_dict_and_pins_nothing_else(mount, model,
                                                          start):
    m = mount(m=model)
    name, place = next(iter(model.ranks["0"].items()))
    child = start("""
tensor = weightfs.load_file(sys.argv[1])[sys.argv[2]]
print("one", flush=True)
sys.stdin.readline()
print(digests({"it": tensor})["it"][2], flush=True)
del tensor
print("none", flush=True)
sys.stdin.readline()
""", m.path / "m" / "0", name)
    assert child.line() == "one"
    # What was let go a moment ago may lag.
    mounts.wait_until(lambda: m.evict() or m.status()["arena"][
        "resident_bytes"] <= 2 * place.size, "nothing else is there")
    child.say()
    assert child.line() == hashlib.sha256(place.read()).hexdigest()
    assert child.line() == "none"
    m.evict_all()
    assert m.status()["arena"]["resident_bytes"] == 0
    child.say()
    child.end()


def test_every_dtype_is_torchs_or_bytes(mount, folder, seed, run):
    model = ck.hf_single(folder / "m", ck.every_dtype(), seed)
    m = mount(m=model)
    got, files = all_loaded(run, (m.path / "m", None),
                            (m.path / "m" / "0", None))
    assert got == files
    assert got.keys() == model.ranks["0"].keys()
    for name, place in model.ranks["0"].items():
        dtype, shape, digest = got[name]
        assert digest == hashlib.sha256(place.read()).hexdigest()
        if dtype == TYPES.get(place.dtype):
            assert shape == list(place.shape)
            continue
        assert place.dtype not in TYPES
        if dtype == "uint8":
            *front, last = place.shape
            assert shape == [*front, last * ck.BITS[place.dtype] // 8]


def test_a_row_that_is_no_whole_bytes_is_refused_by_name(folder, seed, run):
    ck.hf_single(folder / "m", [ck.Spec("halves", "F4", (2, 3))], seed)
    assert run("""
try:
    weightfs.load_file(sys.argv[1])
except ValueError as error:
    print(error)
""", folder / "m") == ("tensor 'halves': 3 elements of F4 in a row are no "
                       "whole bytes")


def test_a_header_of_any_length_is_no_matter(folder, seed, run):
    model = ck.hf_single(folder / "m", [ck.Spec("x", "F64", (7, 3))], seed)
    ck.rewrite_header(model.path, lambda text: text.rstrip() + b" " * 3)
    places = model.ranks["0"]
    got = loaded(run, model.path)
    assert got["x"][2] == hashlib.sha256(
        (model.path / "model.safetensors").read_bytes()[-places["x"].size:]
    ).hexdigest()


INTO = """
want = weightfs.load_file(sys.argv[1])
mine = {n: torch.zeros_like(t) for n, t in want.items()}
turned = next(n for n, t in want.items() if t.ndim == 2)
mine[turned] = torch.zeros_like(want[turned].t().contiguous()).t()
weightfs.load_into(mine, sys.argv[1])
assert digests(mine) == digests(want)
first = next(iter(mine))
for change in ({"other": mine[first]}, {first: mine[first].float()}):
    for strict in True, False:
        try:
            weightfs.load_into({**mine, **change}, sys.argv[1], strict=strict)
            print("fine")
        except (KeyError, ValueError) as error:
            print(type(error).__name__, first in str(error))
del mine[first]
mine = {n: t.zero_() for n, t in mine.items()}
weightfs.load_into(mine, sys.argv[1], strict=False)
assert digests(mine) == {n: d for n, d in digests(want).items() if n != first}
"""


def test_tensors_that_are_there_are_filled(mount, folder, seed, run):
    Llama(folder / "llama", seed=seed).write()
    m = mount(llama=folder / "llama")
    assert run(INTO, m.path / "llama").split("\n") == [
        "KeyError False", "fine", "ValueError True", "ValueError True"]


def test_an_open_tensor_is_a_file_and_an_array(mount, model, run):
    m = mount(m=model)
    name, place = next(iter(model.ranks["0"].items()))
    at = m.path / "m" / "0" / name
    assert run("""
import io, os
path, shard, name = sys.argv[1:]
with open(path, "rb") as file:
    want = file.read()
with weightfs.open(path) as f:
    assert (f.name, f.dtype, f.size) == (name, "BF16", len(want))
    assert f.read() == want and f.read() == b""
    assert f.seek(-10, os.SEEK_END) == len(want) - 10
    assert f.read(100) == want[-10:]
    assert f.seek(3) == 3 and f.read(5) == want[3:8] and f.tell() == 8
    buffered = io.BufferedReader(f)
    assert buffered.peek(1)
    buffered.detach()
    tensor = f.torch()
    try:
        f.numpy()
    except TypeError as error:
        print(error)
assert tensor.dtype == torch.bfloat16 and tuple(tensor.shape) == f.shape
try:
    f.torch()
except ValueError as error:
    print("closed" in str(error))
again = weightfs.open(shard, name).torch()
assert digests({"": again}) == digests({"": tensor})
for wrong in (None, "nobody"):
    try:
        weightfs.open(shard, wrong)
    except (KeyError, ValueError) as error:
        print(type(error).__name__)
""", at, m.path / "m" / place.file.name, name).split("\n") == [
        f"tensor '{name}': numpy has no BF16, torch may have it", "True",
        "ValueError", "KeyError"]


def test_a_bar_is_drawn_on_a_terminal_alone(folder, model, run):
    said = run("""
import os, pty, threading
path = sys.argv[1]
master, slave = pty.openpty()
shown = []
def read():
    try:
        while more := os.read(master, 1 << 16):
            shown.append(more)
    except OSError:
        pass  # nobody writes to it any more
reader = threading.Thread(target=read)
reader.start()
err, sys.stderr = sys.stderr, os.fdopen(slave, "w")
weightfs.load_file(path, progress=True)
sys.stderr.close()
reader.join()
sys.stderr = open(sys.argv[2], "w")
weightfs.load_file(path, progress=True)
sys.stderr.close()
sys.stderr = err
print(b"".join(shown).decode("ascii").count("100%"),
      os.path.getsize(sys.argv[2]))
""", model.path, folder / "quiet")
    shown, quiet = said.split()
    assert int(shown) >= 1
    assert quiet == "0"


def test_an_interrupted_load_ends(mount, folder, seed, start):
    model = ck.hf_sharded(folder / "m", ck.layers(4, MIB), seed)
    orders = folder / "faults"
    orders.write_text("nodescriptor\n")
    m = mount("open_wait=0", m=model, faults=orders)
    fresh = orders.with_suffix(".new")
    fresh.write_text("nodescriptor\nhang .safetensors\n")
    os.replace(fresh, orders)
    child = start("""
class Said:
    def isatty(self):
        print("waiting", flush=True)
        return False
sys.stderr, err = Said(), sys.stderr
try:
    weightfs.load_file(sys.argv[1], progress=True)
except KeyboardInterrupt:
    print("interrupted")
sys.stderr = err
""", m.path / "m" / "0")
    try:
        assert child.line() == "waiting"
        child.interrupt()
        out = child.end()
        assert out.split("\n")[-1] == "interrupted"
    finally:
        orders.write_text("")
