# SPDX-License-Identifier: Apache-2.0
"""The config.json beside a layout: the checkpoint's own, but that it tells
which modules are quantised where the engine would guess it from names."""
import json

import pytest

import truth


def config_of(weightfs, model, layout, out):
    assert weightfs("export", f"{model}@{layout}", out).returncode == 0
    return json.loads((out / "config.json").read_text())


def modules(spec):
    """All, and those that are quantised."""
    names = spec["tensors"]
    return ({name.rpartition(".")[0] for name in names},
            {name.removesuffix(".qweight") for name in names
             if name.endswith(".qweight")})


@pytest.mark.parametrize("family, key", [
    ("llama_gptq", "modules_in_block_to_quantize"),
    ("mixtral_gptq", "modules_in_block_to_quantize"),
    ("llama_awq", "modules_to_not_convert"),
    ("qwen3_moe_awq", "modules_to_not_convert")])
def test_quantised_modules_are_told_by_the_checkpoints_names(
        family, key, folder, weightfs):
    spec = truth.read(family)["spec"]
    model = truth.make(spec, folder / "model")
    every, quantised = modules(spec)
    want = json.loads(json.dumps(spec["config"]))
    want["quantization_config"][key] = sorted(
        quantised if key == "modules_in_block_to_quantize"
        else every - quantised)
    assert config_of(weightfs, model, "tp2", folder / "out") == want
    # Names as in the checkpoint need nothing to be told.
    assert config_of(weightfs, model, "tp2+hf",
                     folder / "hf") == spec["config"]


def test_what_config_json_tells_already_stays(folder, weightfs):
    spec = truth.read("llama_gptq")["spec"]
    spec["config"]["quantization_config"]["modules_in_block_to_quantize"] = [
        ["self_attn.q_proj"], ["mlp.up_proj"]]
    model = truth.make(spec, folder / "model")
    assert config_of(weightfs, model, "tp2", folder / "out") == spec["config"]


def test_a_model_that_is_not_quantised_keeps_its_own(folder, weightfs):
    model = truth.make(truth.read("llama")["spec"], folder / "model")
    config_of(weightfs, model, "tp2", folder / "out")
    assert (folder / "out/config.json").read_bytes() == (
        model / "config.json").read_bytes()


@pytest.mark.parametrize("value, words", [
    ("1", "a list of texts"), ("[1]", "a list of texts"),
    ("[]", None), ('["a"]', None)])
def test_a_mend_is_a_list_of_texts(value, words, folder, weightfs):
    model = truth.make({
        "config": {"architectures": ["OneForCausalLM"]},
        "tensors": {"a.weight": {"dtype": "BF16", "shape": [4]}}},
        folder / "model")
    (folder / "plans").mkdir()
    (folder / "plans/one.plan").write_text(
        "plan one\nengine vllm\narchitectures OneForCausalLM\n"
        "quantisation none\n"
        f'mend "some.where" = {value}\n'
        'tensor "b.weight" stage all = "a.weight"\n')
    done = weightfs("export", "--plans", folder / "plans", f"{model}@tp1",
                    folder / "out")
    if words:
        assert done.returncode == 1
        assert words in done.stderr and "some.where" in done.stderr
        return
    assert done.returncode == 0
    told = json.loads((folder / "out/config.json").read_text())
    assert told["some"] == {"where": json.loads(value)}
