# SPDX-License-Identifier: Apache-2.0
"""Tiny quantised checkpoints: families of families.py whose linear layers are
replaced by what each way of quantising keeps of them.

Shapes are such that four ranks get whole groups and whole blocks of scales.
"""
import families as f
import makers
from makers import Tensors

GROUP, BLOCK = 32, 128
# Linear layers that are small, and stay as they are.
KEPT = ("embed_tokens", "lm_head", "gate", "router", "shared_expert_gate",
        "eh_proj", "head")


def fp8(scale=(), dtype="F32", static=False):
    """One scale a layer; of this shape."""
    def made(t, name, out, inputs):
        t.add(name + ".weight", out, inputs, dtype="F8_E4M3")
        t.add(name + ".weight_scale", *scale, dtype=dtype)
        if static:
            t.add(name + ".input_scale", *scale, dtype=dtype)
    return made


def fp8_channel(t, name, out, inputs):
    t.add(name + ".weight", out, inputs, dtype="F8_E4M3")
    t.add(name + ".weight_scale", out, 1)


def fp8_block(scale, dtype):
    def made(t, name, out, inputs):
        t.add(name + ".weight", out, inputs, dtype="F8_E4M3")
        t.add(name + scale, -(-out // BLOCK), -(-inputs // BLOCK), dtype=dtype)
    return made


def gptq(bits, group):
    def made(t, name, out, inputs):
        pack, groups = 32 // bits, 1 if group < 0 else inputs // group
        t.add(name + ".qweight", inputs // pack, out, dtype="I32")
        t.add(name + ".qzeros", groups, out // pack, dtype="I32")
        t.add(name + ".scales", groups, out, dtype="F16")
        t.add(name + ".g_idx", inputs, dtype="I32")
    return made


def awq(t, name, out, inputs):
    t.add(name + ".qweight", inputs, out // 8, dtype="I32")
    t.add(name + ".qzeros", inputs // GROUP, out // 8, dtype="I32")
    t.add(name + ".scales", inputs // GROUP, out, dtype="F16")


def packed(bits, group):
    def made(t, name, out, inputs):
        groups = 1 if group is None else inputs // group
        t.add(name + ".weight_packed", out, inputs * bits // 32, dtype="I32")
        t.add(name + ".weight_scale", out, groups)
        t.add(name + ".weight_shape", 2, dtype="I64")
    return made


def mxfp4(t, name, count, inputs, out):
    """Of stacked experts, inputs first."""
    t.add(name + "_blocks", count, out, inputs // 32, 16, dtype="U8")
    t.add(name + "_scales", count, out, inputs // 32, dtype="U8")


def numbers(kind, bits, strategy, dynamic=False, **keys):
    return {"type": kind, "num_bits": bits, "strategy": strategy,
            "dynamic": dynamic, "symmetric": True, **keys}


def compressed(form, weights, activations=None):
    return {
        "quant_method": "compressed-tensors", "format": form,
        "quantization_status": "compressed", "kv_cache_scheme": None,
        "ignore": ["lm_head", "re:.*gate$", "re:.*router$"],
        "config_groups": {"group_0": {
            "targets": ["Linear"], "weights": weights,
            "input_activations": activations, "output_activations": None}}}


def eights(weights, activations, dynamic=True, **keys):
    return compressed("float-quantized", numbers("float", 8, weights, **keys),
                      numbers("float", 8, activations, dynamic,
                              group_size=BLOCK if keys else None))


def gptq_config(bits=4, group=GROUP, desc_act=False):
    return {"quant_method": "gptq", "bits": bits, "group_size": group,
            "desc_act": desc_act, "sym": True}


METHODS = {
    "fp8_channel": (fp8_channel, eights("channel", "token")),
    "fp8_tensor": (fp8((1,), "BF16", True), eights("tensor", "tensor", False)),
    "fp8_tensor_dynamic": (fp8((1,), "BF16"), eights("tensor", "token")),
    "fp8_blocks": (fp8_block(".weight_scale", "BF16"), eights(
        "block", "group", block_structure=[BLOCK, BLOCK])),
    "fp8_block": (fp8_block(".weight_scale_inv", "F32"), {
        "quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3",
        "weight_block_size": [BLOCK, BLOCK]}),
    "fp8_static": (fp8(static=True), {
        "quant_method": "fp8", "activation_scheme": "static"}),
    "fp8_dynamic": (fp8(), {
        "quant_method": "fp8", "activation_scheme": "dynamic"}),
    "gptq": (gptq(4, GROUP), gptq_config()),
    "gptq8": (gptq(8, -1), gptq_config(8, -1, True)),
    "awq": (awq, {
        "quant_method": "awq", "bits": 4, "group_size": GROUP,
        "zero_point": True, "version": "gemm"}),
    "w4a16": (packed(4, GROUP), compressed("pack-quantized", numbers(
        "int", 4, "group", group_size=GROUP))),
    "w8a16": (packed(8, None), compressed("pack-quantized", numbers(
        "int", 8, "channel", group_size=None))),
    "mxfp4": (mxfp4, {"quant_method": "mxfp4", "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router",
        "model.embed_tokens", "lm_head"]}),
}


def is_linear(method, name, tensor):
    if method == "mxfp4":
        return len(tensor["shape"]) == 3
    return name.endswith(".weight") and len(tensor["shape"]) == 2 and \
        name.split(".")[-2] not in KEPT


def quantised(make, method):
    """A maker of quantised tensors from one of others."""
    def made(c):
        t = Tensors()
        for name, tensor in make(c).items():
            if is_linear(method, name, tensor):
                METHODS[method][0](t, name.removesuffix(".weight"),
                                   *tensor["shape"])
            else:
                t[name] = tensor
        for name, tensor in t.items():
            # The engine wants the two of an expert to be equal.
            for up, gate in (("up_proj", "gate_proj"), ("w3", "w1")):
                if ".experts." in name and name.endswith(up + ".input_scale"):
                    tensor["as"] = name.replace(up, gate)
        return t
    return made


def family(make, values, method, **keys):
    values = {**values, "num_hidden_layers": 2, "intermediate_size": 256,
              "layouts": ["tp1", "tp2", "tp4"], **keys}
    config = dict(METHODS[method][1])
    if config["quant_method"] == "fp8":
        config["modules_to_not_convert"] = ["lm_head"] + sorted(
            name.removesuffix(".weight") for name in make(values)
            if name.endswith("gate.weight"))
    return quantised(make, method), {**values, "quantization_config": config}


WIDE = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 128}
SPARSE = {"moe_intermediate_size": 128, "num_experts": 4,
          "mlp_only_layers": [1], "shared_expert_intermediate_size": 256}
QWEN3_MOE = {k: v for k, v in SPARSE.items() if "shared" not in k}
DEEP = {"moe_intermediate_size": 128, "n_routed_experts": 4,
        "num_nextn_predict_layers": 0, "hidden_size": 128, "q_lora_rank": 64}
DEEP_WIDE = {**DEEP, **WIDE, "moe_intermediate_size": 512, "q_lora_rank": 128,
             "num_attention_heads": 8, "num_key_value_heads": 8,
             "qk_nope_head_dim": 128, "v_head_dim": 128}
ALL = {
    "llama": (makers.llama, f.LLAMA, {}, (
        "fp8_channel", "fp8_static", "fp8_dynamic", "fp8_tensor_dynamic",
        "gptq", "gptq8", "w4a16", "w8a16")),
    "llama+": (makers.llama, f.LLAMA, WIDE, ("fp8_blocks",)),
    "qwen2": (makers.qwen, f.QWEN2, {}, ("gptq",)),
    "qwen3+": (makers.qwen, f.QWEN3, WIDE, ("fp8_block",)),
    "gemma3": (makers.gemma, f.GEMMA3, {}, ("w4a16",)),
    "qwen3_moe": (makers.qwen_moe, f.QWEN3_MOE, QWEN3_MOE, (
        "fp8_tensor", "fp8_channel", "gptq", "awq", "w4a16")),
    "qwen3_moe+": (makers.qwen_moe, f.QWEN3_MOE, {
        **QWEN3_MOE, **WIDE, "moe_intermediate_size": 512},
        ("fp8_block", "fp8_blocks")),
    "qwen2_moe": (makers.qwen_moe, f.QWEN2_MOE, SPARSE, (
        "gptq", "awq", "w4a16")),
    "mixtral": (makers.mixtral, f.MIXTRAL, {"num_local_experts": 4}, (
        "fp8_static", "fp8_dynamic", "gptq", "gptq8", "awq", "w8a16")),
    "glm4_moe": (makers.glm4_moe, f.GLM4_MOE, DEEP, ("fp8_channel", "awq")),
    "deepseek_v3": (makers.deepseek, f.DEEPSEEK_V3, DEEP, ("gptq", "w4a16")),
    "deepseek_v3+": (makers.deepseek, f.DEEPSEEK_V3, DEEP_WIDE,
                     ("fp8_block",)),
    "phi3": (makers.phi3, f.PHI3, {}, ("fp8_tensor", "gptq", "awq", "w4a16")),
    "glm4": (makers.glm4, f.GLM4, {}, ("fp8_channel", "awq")),
    # Seven blocks, of which two and four ranks get unequal numbers.
    "gpt_oss": (makers.gpt_oss, f.GPT_OSS, {
        "intermediate_size": 224,
        "layer_types": ["sliding_attention", "full_attention"]}, ("mxfp4",)),
}
FAMILIES = {
    f"{name.removesuffix('+')}_{method}": family(make, values, method, **keys)
    for name, (make, values, keys, methods) in ALL.items()
    for method in methods}
