# SPDX-License-Identifier: Apache-2.0
"""weightfs plan learn, from dumps of engines that are known."""
import os
import random
import re
import shutil

import pytest

import truth
from invented import Family
from small_llama import (Llama, assert_same_tensors, read_file, write_dump,
                         write_file)

# Many small files, which no disk need hold.
FOLDERS = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def learnt(weightfs, folder, model, *dumps, options=()):
    """The text of the plan, which is all that lies in folder/plans."""
    plans = folder / "plans"
    plans.mkdir(exist_ok=True)
    done = weightfs("plan", "learn", model, *dumps, "-o",
                    plans / "learnt.plan", *options)
    assert done.returncode == 0, done.stderr
    return (plans / "learnt.plan").read_text()


@pytest.mark.parametrize("family", truth.families())
def test_tp1_and_tp2_of_a_family_tell_what_the_engine_makes_of_others(
        folder, weightfs, family):
    """And of other stages, with pp2 where the engine made stages."""
    want = truth.read(family)
    made = {layout: name for f, name, layout in truth.layouts()
            if f == family}
    examples = ["tp1", "tp2"] + ["tp1pp2"] * any("pp" in x for x in made)
    model = truth.make(want["spec"], folder / family)
    for layout in examples:
        assert weightfs("export", f"{model}@{layout}",
                        folder / layout).returncode == 0
    learnt(weightfs, folder, model, *(folder / x for x in examples))
    others = made.keys() - set(examples)
    assert others
    for layout in others:
        done = weightfs("export", "--part-size=0", "--plans",
                        folder / "plans", f"{model}@{layout}",
                        folder / layout)
        assert done.returncode == 0, done.stderr
        for file in want["truth"][made[layout]]["files"]:
            path = folder / layout / file["name"]
            assert truth.tensors_of(path) == file["tensors"]
            assert truth.digest(path) == file["sha256"]


@pytest.mark.parametrize("number", range(5))
def test_a_family_that_nobody_has_is_learnt(folder, weightfs, seed, number):
    family = Family(1000 * seed + number)
    model = family.write(folder / "model")
    dumps = [family.dump(folder / f"tp{tp}pp{pp}", tp, pp)
             for tp, pp in ((1, 1), (2, 1), (1, 2))]
    learnt(weightfs, folder, model, *dumps)
    for tp, pp, layout in (4, 1, "tp4"), (2, 2, "tp2pp2"):
        assert weightfs("export", "--part-size=0", "--plans",
                        folder / "plans", f"{model}@{layout}",
                        folder / layout).returncode == 0
        for name, tensors in family.files(tp, pp).items():
            assert_same_tensors(read_file(folder / layout / name), tensors,
                                f"family {number}, {name}")


@pytest.fixture
def dumps(llama, folder):
    return [write_dump(folder / f"tp{n}", llama, n) for n in (1, 2)]


def rules_of(plan):
    """The plan cut before each of its rules: [head, rule, …]"""
    return re.split(r"(?m)^(?=tensor )", plan)


def test_a_tensor_whose_rule_is_taken_out_is_refused_by_its_name(
        llama, dumps, folder, weightfs, seed):
    head, *rules = rules_of(learnt(weightfs, folder, llama.path, *dumps))
    gone = random.Random(seed).choice(
        [r for r in rules if "const(" not in r])
    print("without", gone)
    (folder / "plans/learnt.plan").write_text(
        head + "".join(r for r in rules if r != gone))
    done = weightfs("plan", "check", "--plans", folder / "plans",
                    f"{llama.path}@tp4")
    assert done.returncode == 1
    sources = re.findall(r'"(model.*|lm_head.*)"', gone.split("=\n")[1])
    assert any(s.replace("{l}", "0") in done.stdout + done.stderr
               for s in sources)


def spoil(folder, name, seed):
    """Other bytes for a tensor of rank 0."""
    path = folder / "model-rank-0-part-0.safetensors"
    tensors = read_file(path)
    dtype, shape, data = tensors[name]
    tensors[name] = dtype, shape, random.Random(seed).randbytes(len(data))
    write_file(path, tensors)


@pytest.mark.parametrize("name", [
    "model.layers.1.self_attn.qkv_proj.weight",
    "model.layers.0.input_layernorm.weight",
    "model.layers.2.self_attn.attn._k_scale", "model.norm.weight"])
def test_a_tensor_of_random_bytes_is_said_by_name_and_nothing_is_written(
        llama, dumps, folder, weightfs, seed, name):
    for dump in dumps:
        spoil(dump, name, seed)
    out = folder / "x.plan"
    done = weightfs("plan", "learn", llama.path, *dumps, "-o", out)
    assert done.returncode == 1
    assert re.findall(r"(?m)^not explained: '(.*?)'", done.stderr) == [name]
    assert not out.exists()


def test_a_partial_plan_says_what_it_does_not_make(
        llama, dumps, folder, weightfs, seed):
    name = "model.layers.1.self_attn.qkv_proj.weight"
    for dump in dumps:
        spoil(dump, name, seed)
    plan = learnt(weightfs, folder, llama.path, *dumps,
                  options=["--partial"])
    assert f"#   {name}: " in plan
    done = weightfs("plan", "diff", "--plans", folder / "plans",
                    f"{llama.path}@tp2", dumps[1])
    assert done.returncode == 1
    assert f"missing 0/{name}" in done.stdout
    assert "differing 0" in done.stdout
    assert "missing 2, extra 0" in done.stdout


def test_one_byte_that_differs_anywhere_is_found(
        llama, dumps, folder, weightfs, seed):
    """Also where a rule was not derived from."""
    chance = random.Random(seed)
    path = dumps[1] / f"model-rank-{chance.randrange(2)}-part-0.safetensors"
    tensors = read_file(path)
    name = chance.choice([n for n in sorted(tensors)
                          if not n.endswith("_scale")])
    dtype, shape, data = tensors[name]
    at = chance.randrange(len(data))
    print(path.name, name, "byte", at)
    tensors[name] = dtype, shape, (
        data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
    write_file(path, tensors)
    done = weightfs("plan", "learn", llama.path, *dumps)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"'{name}'" in done.stderr


def test_what_is_in_no_dump_is_dropped_and_said(llama, folder, weightfs):
    dumps = []
    for n in 1, 2:
        dumps.append(write_dump(
            folder / f"tp{n}", llama, n, lambda rank, tensors:
            tensors.pop("lm_head.weight")))
    plan = learnt(weightfs, folder, llama.path, *dumps)
    assert 'drop "lm_head.weight"' in plan
    assert "# " in plan and "dropped" in plan


def test_tp1_alone_does_not_tell_how_ranks_share(llama, folder, weightfs):
    plan = learnt(weightfs, folder, llama.path,
                  write_dump(folder / "tp1", llama, 1))
    assert "tp1 alone" in plan
    done = weightfs("plan", "check", "--plans", folder / "plans",
                    f"{llama.path}@tp2")
    assert done.returncode == 1
    assert "dump of tp2" in done.stdout + done.stderr


def test_without_stages_in_the_examples_there_are_none(
        llama, dumps, folder, weightfs):
    learnt(weightfs, folder, llama.path, *dumps)
    done = weightfs("plan", "check", "--plans", folder / "plans",
                    f"{llama.path}@tp2pp2")
    assert done.returncode == 1
    assert "knows no pipeline" in done.stdout + done.stderr


def test_a_plan_is_for_the_engine_that_it_was_learnt_from(
        llama, dumps, folder, weightfs):
    plan = learnt(weightfs, folder, llama.path, *dumps, options=[
        "--engine=sglang-0.5.2", "--name=mine"])
    assert "plan mine\nengine sglang >=0.5 <0.6\n" in plan
    check = "plan", "check", "--plans", folder / "plans"
    assert weightfs(*check, "--engine=sglang-0.5",
                    f"{llama.path}@tp4").returncode == 0
    assert weightfs(*check, "--engine=sglang-0.6",
                    f"{llama.path}@tp4").returncode == 1


def test_what_is_no_dump_is_refused(llama, dumps, folder, weightfs):
    done = weightfs("plan", "learn", llama.path, llama.path)
    assert done.returncode == 1
    assert "no dump of an engine" in done.stderr
    done = weightfs("plan", "learn", dumps[0], dumps[1])
    assert done.returncode == 1
    assert "no plain safetensors checkpoint" in done.stderr
    assert weightfs("plan", "learn", llama.path).returncode == 2
    shutil.copy(llama.path / "config.json", folder / "config.json")
    (llama.path / "config.json").unlink()
    done = weightfs("plan", "learn", llama.path, *dumps)
    assert done.returncode == 1
    assert "config.json" in done.stderr


def with_norms_of_ones(folder, seed):
    """A llama whose norms are ones, and an engine that calls them new."""
    model = Llama(folder / "ones", seed).write()
    norms = [n for n in model.places if "layernorm" in n]
    one = b"\x80\x3f" * model.hidden
    for name in norms:
        place = model.places[name]
        with open(place.file, "r+b") as f:
            f.seek(place.offset)
            f.write(one)

    def rename(rank, tensors):
        for name in norms:
            tensors[name.replace("layernorm", "norm_7")] = tensors.pop(name)
    return model, [write_dump(folder / f"ones{n}", model, n, rename)
                   for n in (1, 2)]


def test_norms_of_ones_are_not_taken_for_constants(folder, weightfs, seed):
    model, dumps = with_norms_of_ones(folder, seed)
    plan = learnt(weightfs, folder, model.path, *dumps)
    for key in "input", "post_attention":
        rule = next(r for r in rules_of(plan)[1:] if f"{key}_norm_7" in r)
        assert f'"model.layers.{{l}}.{key}_layernorm.weight"' in rule
    assert "is a constant, or a tensor of the checkpoint" in plan
