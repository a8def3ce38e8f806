# SPDX-License-Identifier: Apache-2.0
"""Layouts that cannot be: one line says why, what and how else, the same to
whoever looks the name up in a mount and on the command line.
"""
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mounts

sys.path.insert(0, str(Path(__file__).parents[1] / "plan"))
import truth  # noqa: E402

LLAMA = (truth.ROOT / "core/plan/builtin/llama.plan").read_text()
LEARN = "'weightfs plan learn'"


def config(**values):
    """Sets keys of config.json; None takes one out."""
    def change(spec):
        for key, value in values.items():
            if value is None:
                del spec["config"][key]
            else:
                spec["config"][key] = value
    return change


def inner_354(spec):
    """A width of the feed-forward layers that 4 does not divide."""
    spec["config"]["intermediate_size"] = 354
    for name, t in spec["tensors"].items():
        if ".mlp." in name:
            t["shape"][t["shape"].index(352)] = 354


def kv_heads_3(spec):
    """Three key and value heads, which two ranks can neither share nor
    repeat."""
    spec["config"]["num_key_value_heads"] = 3
    for name, t in spec["tensors"].items():
        if "k_proj" in name or "v_proj" in name:
            t["shape"][0] = 3 * spec["config"]["head_dim"]


def more(name):
    def change(spec):
        spec["tensors"][name] = {"dtype": "BF16", "shape": [4]}
    return change


def less(name):
    def change(spec):
        del spec["tensors"][name]
    return change


def narrow_down_proj(spec):
    name = "model.layers.1.mlp.down_proj.weight"
    spec["tensors"][name]["shape"] = [128, 350]


def plans(*names, add=""):
    """Plans for Llama beside the built-in one, with a statement more."""
    return {f"{name}.plan": LLAMA.replace("plan llama\n", f"plan {name}\n")
            + add for name in names}


CASES = {
    # what: (layout, change of the model, the user's plans, words, remedy)
    "a dim that N does not divide": (
        "tp4", inner_354, {},
        ["model.layers.0.mlp.gate_proj.weight", "dim 0", "354", "4 ranks"],
        "take a tp"),
    "heads that N does not divide": (
        "tp3", None, {},
        ["4 attention heads", "dim 0 of self_attn.q_proj", "3 ranks"],
        "take a tp"),
    "key heads that N can neither share nor repeat": (
        "tp2", kv_heads_3, {},
        ["model.layers.0.self_attn.k_proj.weight", "dim 0", "3 heads",
         "2 ranks"], "take another tp"),
    "more ranks than heads": (
        "tp8", None, {}, ["4 attention heads", "8 ranks"], "take a tp"),
    "more stages than layers": (
        "tp2pp5", None, {}, ["layers", "5 stages"], "take a smaller pp"),
    "a tensor that no rule covers": (
        "tp2", more("model.layers.0.self_attn.surprise.weight"), {},
        ["'model.layers.0.self_attn.surprise.weight'", "plan 'llama'",
         LEARN], "'m@tp2+hf' can be had"),
    "a rule without its tensor": (
        "tp2", less("model.layers.1.self_attn.v_proj.weight"), {},
        ["'model.layers.1.self_attn.v_proj.weight'", ".fragment:",
         "complete the checkpoint"], "'m@tp2+hf' can be had"),
    "a rule of the user's that matches nothing": (
        "tp2", None, plans("mine", add='drop "model.layers.{l}.x.*"\n'),
        ["'model.layers.{n}.x.*'", "mine.plan:", "optional"],
        "'m@tp2+hf' can be had"),
    "an architecture without a plan": (
        "tp2", config(architectures=["NobodyKnowsForCausalLM"]), {},
        ["'NobodyKnowsForCausalLM'", "engine vllm", LEARN],
        "'m@tp1+hf' can be had"),
    "no architecture": (
        "tp2", config(architectures=None), {},
        ["config.json", '"architectures"'], "'m@tp1+hf' can be had"),
    "two architectures": (
        "tp2", config(architectures=["A", "B"]), {},
        ["config.json", '"architectures"'], "'m@tp1+hf' can be had"),
    "an unknown quantisation": (
        "tp2", config(quantization_config={"quant_method": "bitsandbytes"}),
        {}, ["'bitsandbytes'", "plan 'llama'", "awq", LEARN],
        "'m@tp1+hf' can be had"),
    "no config.json": (
        "tp2", lambda path: (path / "config.json").unlink(), {},
        ["no config.json"], "'m@tp1+hf' can be had"),
    "a config.json that is no JSON": (
        "tp2", lambda path: (path / "config.json").write_text('{"a": }'), {},
        ["config.json"], "'m@tp1+hf' can be had"),
    "a config.json that is no object": (
        "tp2", lambda path: (path / "config.json").write_text("[1]"), {},
        ["config.json", "no object"], "'m@tp1+hf' can be had"),
    "a config.json that lacks a number": (
        "tp2", config(num_hidden_layers=None), {},
        ["config.json", "'num_hidden_layers'"], "put the checkpoint's own"),
    "a config.json with another kind of value": (
        "tp2", config(num_hidden_layers="three"), {},
        ["count", "layers.fragment:"], ""),
    "a config.json that contradicts a tensor": (
        "tp2", config(vocab_size=1000), {},
        ["'model.embed_tokens.weight'", "[1003, 128]", "[1000, 128]"],
        "put the right config.json"),
    "a tensor that contradicts the others": (
        "tp2", narrow_down_proj, {},
        ["'model.layers.1.mlp.down_proj.weight'", "[128, 350]", "[128, 352]"],
        "put the right config.json"),
    "a config.json of fewer layers": (
        "tp2", config(num_hidden_layers=2), {},
        ["'model.layers.2.", "config.json may be another model's"],
        "'m@tp2+hf' can be had"),
    "a config.json of more layers": (
        "tp2", config(num_hidden_layers=5), {},
        ["'model.layers.4.", "config.json"], "'m@tp2+hf' can be had"),
    "a config.json of absurdly many layers": (
        "tp2", config(num_hidden_layers=1000000), {},
        ["1000000", "layers.fragment:", "more than the checkpoint"],
        "put the right config.json"),
    "a requirement that cannot be told": (
        "tp2", None,
        plans("mine", add='require config.nothing > 1 otherwise "no"\n'),
        ["'nothing'", "mine.plan:"], "put the checkpoint's own"),
    "a rule that gives the ranks other shapes": (
        "tp2", None, plans("mine", add='tensor "x" stage all = '
                           'const("U8", [1 + rank], 0)\n'),
        ["'x'", "rank 1", "rank 0"], "correct the plan"),
    "two plans that fit equally": (
        "tp2", None, plans("mine", "yours"),
        ["mine.plan", "yours.plan", "LlamaForCausalLM", "equally"],
        "remove one"),
}


def make(folder, change):
    """The model 'm', changed as a specification or as a directory."""
    spec = truth.read("llama")["spec"]
    of_path = change and change.__name__ == "<lambda>"
    if change and not of_path:
        change(spec)
    path = truth.make(spec, folder / "models" / "m")
    if of_path:
        change(path)
    return path


def possible(text):
    """The layout that the text says can be had."""
    found = re.search(r"'m@([^']*)' can be had", text)
    return found and found[1]


@pytest.mark.parametrize("what", CASES)
def test_it_is_said_why_not_and_what_else(mount, folder, what):
    layout, change, own, words, remedy = CASES[what]
    path = make(folder, change)
    (folder / "plans").mkdir()
    for name, text in own.items():
        (folder / "plans" / name).write_text(text)
    m = mount(f"plans={folder / 'plans'}", models=folder / "models")
    ls = subprocess.run(["ls", m.path / f"m@{layout}"], capture_output=True,
                        text=True, env={**os.environ, "LC_ALL": "C"})
    assert ls.returncode and "Invalid argument" in ls.stderr
    text = m.wait_event("layout", "m")["text"]
    for word in [*words, remedy]:
        assert word in text, text
    assert "\n" not in text and text in m.log()
    assert os.listdir(m.path / "m")  # the checkpoint itself is there
    # The command line says the same.
    done = mounts.run("plan", "check", f"--plans={folder / 'plans'}", "--json",
                      path, layout, folder=folder)
    (row,) = json.loads(done.stdout)["layouts"]
    assert done.returncode == 1 and row["refused"] == text
    done = mounts.run("export", f"--plans={folder / 'plans'}",
                      f"{path}@{layout}", folder / "out", folder=folder)
    assert done.returncode == 1
    assert done.stderr == f"weightfs: {text}\n"
    assert not (folder / "out").exists()
    other = possible(text)
    if other:
        assert "0" in os.listdir(m.path / f"m@{other}")


@pytest.mark.parametrize("text, where", [
    ("plan x\nengine\n", "3:1"),
    ("plan x\n\n  engine vllm >=\n", "4:1"),
    ("plan x\nengine vllm\narchitectures A\n"
     "quantisation none\ntensor \"a\" = split(0, \n", "6:1"),
    ("plan x\n  tensor \"a = 1\n", "2:10"),
    ("plan x\nengine vllm\nlet a = $\n", "3:9"),
    ("plan x\nengine vllm\nlet a = nothing\n", "3:9"),
    ("plan x\nplan y\n", "2:"),
])
def test_a_plan_that_cannot_be_read_is_named_by_line_and_column(
        mount, folder, text, where):
    """Nothing is mounted, since another plan would take its place."""
    path = make(folder, None)
    plan = folder / "plans" / "broken.plan"
    plan.parent.mkdir()
    plan.write_text(text)
    for command in ["check", path], ["show", f"{path}@tp2"]:
        done = mounts.run("plan", command[0], f"--plans={plan.parent}",
                          *command[1:], folder=folder)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"weightfs: {plan}:{where}")
    m = mount(f"plans={plan.parent}", models=folder / "models", ready=False)
    m.expect_rc = 1
    assert m.wait_end() == 1
    assert f"{plan}:{where}" in m.log()


def test_a_name_that_is_no_layout_is_just_not_there(mount, folder):
    make(folder, None)
    m = mount(models=folder / "models")
    for name in "m@tp0", "m@tp4097", "m@tp64pp65", "m@tpx", "m@tp2+vllm":
        with pytest.raises(OSError) as e:
            os.stat(m.path / name)
        assert e.value.errno == errno.ENOENT
    assert not [e for e in m.events() if e["event"] == "layout"]
