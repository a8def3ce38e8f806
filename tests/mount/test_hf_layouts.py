# SPDX-License-Identifier: Apache-2.0
"""Layouts with the checkpoint's own names, against a reference of their
own: the checkpoint's tensors, cut and nothing else.
"""
import errno
import json
import os
import sys
from pathlib import Path

import pytest

import checkpoints as ck
from mounts import xattr

sys.path.insert(0, str(Path(__file__).parents[1] / "plan"))
import hf_reference  # noqa: E402
import truth  # noqa: E402


def ranks_of(tp, pp):
    """(directory, file, stage, rank) of each."""
    for stage in range(pp):
        for rank in range(tp):
            name = f"pp-{stage}-tp-{rank}" if pp > 1 else str(rank)
            file = name if pp > 1 else f"rank-{rank}"
            yield name, f"model-{file}-part-0.safetensors", stage, rank


def assert_is_cut(where, spec, tp, pp=1):
    for name, file, stage, rank in ranks_of(tp, pp):
        want = hf_reference.rank_of(spec, tp, pp, stage, rank)
        got = {row[0]: row[1:] for row in truth.tensors_of(where / file)}
        assert got == want, where / file
        raw = {p.name: truth.digest(p) for p in (where / name).iterdir()}
        assert raw == {n: row[2] for n, row in want.items()}, where / name


@pytest.mark.parametrize("family", truth.families())
def test_every_family_is_the_checkpoint_itself_cut(mount, folder, family):
    spec = truth.read(family)["spec"]
    truth.make(spec, folder / "models" / family)
    m = mount("part_size=0", models=folder / "models")
    for tp, pp in (1, 1), (2, 1), (4, 1), (1, 2), (2, 2):
        layout = f"tp{tp}" + (f"pp{pp}" if pp > 1 else "")
        assert_is_cut(m.path / f"{family}@{layout}+hf", spec, tp, pp)


@pytest.fixture
def spec():
    """Llama's, for a test to change."""
    return truth.read("llama")["spec"]


@pytest.mark.parametrize("vocabulary", [1, 64, 65, 100, 192])
def test_a_vocabulary_is_not_padded(mount, folder, spec, vocabulary):
    spec["config"]["vocab_size"] = vocabulary
    for name in "model.embed_tokens.weight", "lm_head.weight":
        spec["tensors"][name]["shape"][0] = vocabulary
    truth.make(spec, folder / "models" / "m")
    m = mount("part_size=0", models=folder / "models")
    for tp in 1, 2, 4:
        assert_is_cut(m.path / f"m@tp{tp}+hf", spec, tp)
    shape = json.loads(xattr(m.path / "m@tp4" / "0" / "lm_head.weight",
                             "shape"))
    assert shape[0] == (vocabulary + 63) // 64 * 16


def test_what_no_rule_covers_is_whole(mount, folder, spec):
    name = "model.layers.0.self_attn.surprise.weight"
    spec["tensors"][name] = {"dtype": "F32", "shape": [3, 5]}
    truth.make(spec, folder / "models" / "m")
    m = mount("part_size=0", models=folder / "models")
    assert_is_cut(m.path / "m@tp2+hf", spec, 2)
    assert xattr(m.path / "m@tp2+hf" / "1" / name, "shape") == "[3, 5]"
    with pytest.raises(OSError) as e:
        os.stat(m.path / "m@tp2")
    assert e.value.errno == errno.EINVAL


@pytest.mark.parametrize("gone", [
    "model.layers.1.self_attn.k_proj.weight",
    "model.layers.0.mlp.down_proj.weight",
    "model.norm.weight",
])
def test_what_is_not_there_is_left_out(mount, folder, spec, gone):
    del spec["tensors"][gone]
    truth.make(spec, folder / "models" / "m")
    m = mount("part_size=0", models=folder / "models")
    assert_is_cut(m.path / "m@tp2+hf", spec, 2)
    with pytest.raises(OSError) as e:
        os.stat(m.path / "m@tp2")
    assert e.value.errno == errno.EINVAL


def test_an_expert_that_is_not_there_is_left_out(mount, folder):
    spec = truth.read("qwen3_moe")["spec"]
    gone = [n for n in spec["tensors"] if ".experts.1." in n]
    assert gone
    for name in gone[1:]:
        del spec["tensors"][name]
    truth.make(spec, folder / "models" / "m")
    m = mount("part_size=0", models=folder / "models")
    assert_is_cut(m.path / "m@tp2+hf", spec, 2)


@pytest.mark.parametrize("config", [
    None, "{", json.dumps({"architectures": ["NobodyKnowsForCausalLM"]})])
def test_one_rank_needs_no_plan(mount, folder, seed, config):
    model = ck.hf_single(folder / "models" / "odd", ck.layers(2, 4096), seed)
    path = model.path / "config.json"
    path.unlink() if config is None else path.write_text(config)
    m = mount(models=folder / "models")
    where = m.path / "odd@tp1+hf" / "0"
    assert sorted(os.listdir(where)) == sorted(model.ranks["0"])
    for name, place in model.ranks["0"].items():
        assert (where / name).read_bytes() == place.read(), name
    with pytest.raises(OSError) as e:
        os.stat(m.path / "odd@tp2+hf")
    assert e.value.errno == errno.EINVAL
