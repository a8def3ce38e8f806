# SPDX-License-Identifier: Apache-2.0
"""Mounts whose only source is what an engine saved."""
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors

import mounts
from mounts import xattr

sys.path.insert(0, str(Path(__file__).parents[1] / "plan"))
import truth  # noqa: E402

FAMILIES = ["llama", "qwen3_moe", "gpt_oss_mxfp4", "llama_awq"]


def saved(folder, family, layout):
    """The directory 'm' of a folder of models, as an engine would save it."""
    made = truth.make(truth.read(family)["spec"], folder / "made")
    (folder / "models").mkdir()
    done = mounts.run("export", "--part-size=0", f"{made}@{layout}",
                      folder / "models" / "m", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "models" / "m"


@pytest.mark.parametrize("family", FAMILIES)
def test_other_ranks_than_were_saved_are_served(mount, folder, family):
    saved(folder, family, "tp4")
    m = mount("part_size=0", models=folder / "models")
    assert sorted(os.listdir(m.path)) == [".weightfs", "m"]
    for file in truth.read(family)["truth"][
            "tp2" if "tp2" in truth.read(family)["truth"]
            else "load-tp2"]["files"]:
        path = m.path / "m@tp2" / file["name"]
        assert truth.digest(path) == file["sha256"]
        rank = m.path / "m@tp2" / truth.rank_of(file["name"])
        got = {path.name: truth.digest(path) for path in rank.iterdir()}
        assert got == {row[0]: row[3] for row in file["tensors"]}


def test_the_checkpoints_own_tensors_are_served(mount, folder):
    saved(folder, "llama", "tp2pp2")
    m = mount(models=folder / "models")
    tensors = truth.read("llama")["spec"]["tensors"]
    want = {name: hashlib.sha256(truth.tensor_bytes(
        t.get("as", name), t["dtype"], t["shape"])).hexdigest()
        for name, t in tensors.items()}
    for layout in "tp1+hf", "hf":
        rank = m.path / f"m@{layout}" / "0"
        assert {path.name: truth.digest(path)
                for path in rank.iterdir()} == want
    assert sorted(os.listdir(m.path / "m@hf")) == [
        "0", "config.json", "model.safetensors"]
    assert (m.path / "m@hf" / "config.json").read_text() == (
        m.path / "m" / "config.json").read_text()
    with safetensors.safe_open(m.path / "m@hf" / "model.safetensors",
                               "np") as file:
        assert file.metadata() == {"format": "pt"}
        assert sorted(file.keys()) == sorted(want)


def test_attributes_name_tensors_of_the_checkpoint(mount, folder):
    saved(folder, "llama", "tp4")
    m = mount(models=folder / "models")
    tensor = m.path / "m@tp2/1/model.layers.0.self_attn.qkv_proj.weight"
    assert xattr(tensor, "split") == (
        "model.layers.0.self_attn.q_proj.weight dim=0 range=64:128 of=128; "
        "model.layers.0.self_attn.k_proj.weight dim=0 range=32:64 of=64; "
        "model.layers.0.self_attn.v_proj.weight dim=0 range=32:64 of=64")
    assert xattr(m.path / "m@tp2", "plan").startswith("llama")


def test_a_dump_that_does_not_fit_is_refused_in_one_line(mount, folder):
    dump = saved(folder, "llama", "tp4")
    config = json.loads((dump / "config.json").read_text())
    config["num_hidden_layers"] += 1
    (dump / "config.json").write_text(json.dumps(config))
    m = mount(models=folder / "models")
    ls = subprocess.run(["ls", m.path / "m@tp2"], capture_output=True,
                        text=True, env={**os.environ, "LC_ALL": "C"})
    assert ls.returncode and "Invalid argument" in ls.stderr
    text = m.wait_event("layout", "m")["text"]
    assert "no tensor 'model.layers.4." in text and "config.json" in text
    assert "0" in os.listdir(m.path / "m")  # the dump itself is there
