# SPDX-License-Identifier: Apache-2.0
"""What an engine saved, put together to the checkpoint again and cut anew:
every family that is known by bytes, and why others are refused."""
import hashlib
import json
import os
import random
import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest

import mounts
import truth

SEED = int(os.environ.get("WEIGHTFS_SEED", "20264"))


def in_memory():
    """If it can be: hundreds of exports wait for the disk."""
    shm = Path("/dev/shm")
    return tempfile.TemporaryDirectory(
        prefix="weightfs-inverse-",
        dir=shm if os.access(shm, os.W_OK) else None)


@pytest.fixture
def folder():
    with in_memory() as path:
        yield Path(path)


@pytest.fixture(scope="module")
def dump():
    """dump(family) -> what it is at the largest layout, made once."""
    with in_memory() as path:
        def make(family):
            folder = Path(path) / family
            if not folder.exists():
                dumped(folder, family, largest(family))
                shutil.rmtree(folder / "model")
            return folder / "dump"
        yield make


def weightfs(*args):
    return subprocess.run([mounts.PROGRAM, *map(str, args)],
                          capture_output=True, text=True,
                          timeout=mounts.DEADLINE)


def exported(*args):
    done = weightfs("export", "--part-size=0", *args)
    assert done.returncode == 0, done.stderr
    return args[-1]


def layouts(family):
    """{the layout's name in weightfs: the truth's}"""
    return {layout: name for of, name, layout in truth.layouts()
            if of == family}


def dumped(folder, family, layout, change=None):
    """What the engine saves of the family at that layout."""
    spec = truth.read(family)["spec"]
    if change:
        change(spec)
    model = truth.make(spec, folder / "model")
    return exported(f"{model}@{layout}", folder / "dump")


def losses(dump, layout):
    done = weightfs("plan", "check", "--json", dump, layout)
    assert done.returncode == 0, done.stdout
    (row,) = json.loads(done.stdout)["layouts"]
    return row["checkpoint"]["losses"]


def fits(name, pattern):
    """'*' is any text, {n} a number."""
    expression = re.escape(pattern).replace(r"\*", ".*")
    return re.fullmatch(expression.replace(r"\{n\}", r"\d+"), name)


def largest(family):
    """Of the tensor-parallel layouts of one stage."""
    return max((name for name in layouts(family) if "pp" not in name),
               key=lambda name: int(name[2:]))


def assert_is_the_engines(path, family, layout):
    wanted = truth.read(family)["truth"][layouts(family)[layout]]["files"]
    for file in wanted:
        assert truth.tensors_of(path / file["name"]) == file["tensors"]
        assert truth.digest(path / file["name"]) == file["sha256"]
    assert {p.name for p in path.glob("*.safetensors")} == {
        file["name"] for file in wanted}


@pytest.mark.parametrize("family", truth.families())
def test_ranks_become_other_ranks_byte_for_byte(dump, folder, family):
    others = sorted(set(layouts(family)) - {largest(family)})
    other = "tp2" if "tp2" in others else others[0]
    exported(f"{dump(family)}@{other}", folder / "out")
    assert_is_the_engines(folder / "out", family, other)


def pairs():
    """Some of all ways from one layout to another."""
    every = [(family, a, b) for family in truth.families()
             for a in layouts(family) for b in layouts(family)]
    return sorted(random.Random(SEED).sample(every, 24))


@pytest.mark.parametrize("family, layout, other", pairs())
def test_any_layout_becomes_any_other(folder, family, layout, other):
    dump = dumped(folder, family, layout)
    exported(f"{dump}@{other}", folder / "out")
    assert_is_the_engines(folder / "out", family, other)


@pytest.mark.parametrize("family", truth.families())
def test_the_checkpoint_is_there_again_but_for_what_is_listed(
        dump, folder, family):
    spec = truth.read(family)["spec"]
    exported(f"{dump(family)}@tp1+hf", folder / "hf")
    (path,) = (folder / "hf").glob("*.safetensors")
    got = {row[0]: row[1:] for row in truth.tensors_of(path)}
    lost = losses(dump(family), "tp1")
    gone = [x["name"] for x in lost if x["kind"] == "gone"]
    changed = {kind: {x["name"] for x in lost if x["kind"] == kind}
               for kind in ("cast", "shape")}
    for name, t in spec["tensors"].items():
        if name not in got:
            assert any(fits(name, pattern) for pattern in gone), name
            continue
        dtype, shape, digest = got.pop(name)
        if dtype != t["dtype"]:
            assert name in changed["cast"]
        elif shape != t["shape"]:
            assert name in changed["shape"]
        if dtype == t["dtype"]:
            assert digest == hashlib.sha256(truth.tensor_bytes(
                t.get("as", name), dtype, t["shape"])).hexdigest(), name
    assert not got  # nothing that the checkpoint did not have
    assert all(re.search(r"\.(fragment|plan):\d+$", x["reason"])
               for x in lost)


# ---- refusals


def rewrite(path, change):
    """change({name: [dtype, shape, bytes]}) of one safetensors file."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + size])
    tensors = {name: [t["dtype"], t["shape"],
                      raw[8 + size:][slice(*t["data_offsets"])]]
               for name, t in head.items()}
    change(tensors)
    head, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape,
                      "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text
                     + b"".join(data for _, _, data in tensors.values()))


NAME = "model.layers.1.mlp.down_proj.weight"
SCALE = "model.layers.0.self_attn.attn._k_scale"


def gone(tensors):
    del tensors[NAME]


def one_more(tensors):
    tensors["model.layers.1.mlp.surprise"] = ["U8", [1], b"x"]


def transposed(tensors):
    tensors[NAME][1].reverse()


def another_dtype(tensors):
    tensors[NAME][0] = "F16"


def another_constant(tensors):
    tensors[SCALE][2] = struct.pack("<f", 0.5)


FUSED = "model.layers.0.self_attn.qkv_proj.weight"


def longer(tensors):
    dtype, (rows, columns), data = tensors[FUSED]
    tensors[FUSED] = [dtype, [rows + 2, columns],
                      data + data[:4 * columns]]


OTHERS = "saved by another engine"


@pytest.mark.parametrize("change, words", [
    (gone, ["'0'", f"no tensor '{NAME}'", "mlp.fragment:", OTHERS]),
    (one_more, ["'0'", "'model.layers.1.mlp.surprise'", "no rule of plan",
                OTHERS]),
    (transposed, [f"'{NAME}'", "[88, 128]", "mlp.fragment:"]),
    (another_dtype, [f"'{NAME}'", "F16", "BF16", OTHERS]),
    (another_constant, [f"'{SCALE}'", "another value", OTHERS]),
    (longer, [f"'{FUSED}'", "qkv.fragment:", OTHERS]),
])
def test_a_dump_that_does_not_fit_the_plan_is_refused(folder, change, words):
    dump = dumped(folder, "llama", "tp4")
    rewrite(dump / "model-rank-0-part-0.safetensors", change)
    done = weightfs("export", f"{dump}@tp2", folder / "out")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
    assert not (folder / "out").exists()


def test_a_rank_that_differs_from_the_first_is_refused_by_its_number(folder):
    dump = dumped(folder, "llama", "tp4")
    rewrite(dump / "model-rank-3-part-0.safetensors", another_dtype)
    done = weightfs("export", f"{dump}@tp2", folder / "out")
    assert done.returncode == 1
    assert "rank '3'" in done.stderr and NAME in done.stderr


def test_a_dump_without_config_json_is_refused(folder):
    dump = dumped(folder, "llama", "tp4")
    (dump / "config.json").unlink()
    done = weightfs("export", f"{dump}@tp2", folder / "out")
    assert done.returncode == 1 and "has no config.json" in done.stderr


def test_a_config_json_of_another_model_is_refused(folder):
    dump = dumped(folder, "llama", "tp4")
    config = json.loads((dump / "config.json").read_text())
    config["intermediate_size"] *= 2
    (dump / "config.json").write_text(json.dumps(config))
    done = weightfs("export", f"{dump}@tp2", folder / "out")
    assert done.returncode == 1
    assert "model.layers.0.mlp." in done.stderr
    assert "mlp.fragment:" in done.stderr


def test_what_an_engine_changed_after_loading_is_refused(folder):
    """A matrix of eight-bit numbers, transposed as kernels want it."""
    name = "model.layers.1.mlp.gate_up_proj.weight"
    dump = dumped(folder, "llama_fp8_channel", "tp2")
    rewrite(dump / "model-rank-0-part-0.safetensors",
            lambda tensors: tensors[name][1].reverse())
    done = weightfs("plan", "check", dump, "tp1")
    assert done.returncode == 1
    assert name in done.stdout and "changed its weights" in done.stdout


def refused_by(folder, family, plan):
    """What is said of a dump of that family, with that plan for it."""
    (folder / "plans").mkdir()
    (folder / f"plans/{family}.plan").write_text(plan)
    dump = dumped(folder, family, "tp2")
    done = weightfs("export", f"--plans={folder / 'plans'}", f"{dump}@tp1",
                    folder / "out")
    assert done.returncode == 1
    return done.stderr


def test_a_plan_that_does_not_say_a_length_is_refused(folder):
    """Two lengths cannot be told from their sum."""
    text = (truth.ROOT / "core/plan/builtin/phi3.plan").read_text()
    text = re.sub(r'expect "[^"]*qkv_proj[^\n]*\n[^\n]*\n', "", text)
    said = refused_by(folder, "phi3", text)
    assert "'model.layers.0.self_attn.qkv_proj.weight'" in said
    assert "add an 'expect'" in said


def test_a_plan_that_asks_for_contents_is_refused(folder):
    """It is to be known what tensors there were before they are there."""
    text = (truth.ROOT / "core/plan/builtin/llama.plan").read_text()
    said = refused_by(
        folder, "llama",
        text + 'require same("lm_head.weight", "model.norm.weight")\n'
        '    otherwise "they differ"\n')
    assert "what tensors hold" in said
    assert "llama.plan:" in said
