# SPDX-License-Identifier: Apache-2.0
"""What `+hf` layouts hold, slow and obvious: each tensor of the checkpoint
cut by what its name says, whatever a plan may say.
"""
import hashlib
import re

import numpy as np

import truth

EVERYWHERE = ("Mixtral", "Qwen2Moe", "Qwen3Moe", "Gemma2", "Gemma3",
              "GptOss")
# The engine keeps the last of several shapes, the second of two input scales.
NO_RULE_USES = re.compile(
    r"\.g_idx$|\.(q|k|gate|w1|kv_a)(_proj.*)?\.weight_shape$"
    r"|\.experts\.\d+\.(gate_proj|w1)\.input_scale$")


def stages_of(name, config, pp):
    """On which pipeline stages a tensor is."""
    if NO_RULE_USES.search(name):
        return list(range(pp))
    layers = config["num_hidden_layers"]
    # Those that are left over go to the stages before the last.
    counts = [layers // pp] * pp
    for i in range(layers % pp):
        counts[-2 - i] += 1
    layer = re.match(r"model\.layers\.(\d+)\.", name)
    if layer and int(layer[1]) < layers:
        at = int(layer[1])
        return [s for s in range(pp)
                if sum(counts[:s]) <= at < sum(counts[:s + 1])]
    # A layer after the last predicts further tokens: no rule uses it.
    if layer or config["architectures"][0].startswith(EVERYWHERE):
        return list(range(pp))
    if "embed_tokens" in name:
        tied = config.get("tie_word_embeddings", False)
        return sorted({0, pp - 1}) if tied else [0]
    return [pp - 1]


def cut(array, dim, tp, rank):
    return np.split(array, tp, axis=dim)[rank]


def rows_of_vocabulary(array, tp, rank):
    """As padded to a multiple of 64, without the padding."""
    each = (len(array) + 63) // 64 * 64 // tp
    return array[rank * each:(rank + 1) * each]


def blocks_of(array, dim, block, tp, rank):
    """A share of whole blocks, rounded up: less for the last ranks."""
    each = -(-(array.shape[dim] // block) // tp) * block
    return array[(slice(None),) * dim + (slice(rank * each,
                                               (rank + 1) * each),)]


def heads_of(array, dim, heads, tp, rank):
    """A share of the heads, or one that several ranks have."""
    if heads >= tp:
        return cut(array, dim, tp, rank)
    return np.split(array, heads, axis=dim)[rank * heads // tp]


def part_of(name, array, config, tp, rank):
    """The rank's part of a whole tensor."""
    at = re.match(r"model\.layers\.(\d+)\.", name)
    if at and int(at[1]) >= config["num_hidden_layers"]:
        return array
    *_, layer, kind = name.split(".")
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    awq = kind in ("qweight", "qzeros", "scales")
    out, ins = (1, 0) if awq else (0, 1)
    if layer in ("embed_tokens", "lm_head"):
        return rows_of_vocabulary(array, tp, rank)
    if kind in ("g_idx", "weight_shape") or array.size == 1:
        return array
    if layer == "experts" and "mxfp4" in str(config):
        dim, block = {
            "gate_up_proj_blocks": (1, 64), "gate_up_proj_scales": (1, 64),
            "gate_up_proj_bias": (1, 64), "down_proj_blocks": (2, 1),
            "down_proj_scales": (2, 1)}.get(kind, (0, None))
        return blocks_of(array, dim, block, tp, rank) if block else array
    if layer == "experts":  # of gpt_oss, inputs first
        dim = {"gate_up_proj": 2, "gate_up_proj_bias": 1, "down_proj": 1}
        return cut(array, dim[kind], tp, rank) if kind in dim else array
    if kind == "sinks":
        return cut(array, 0, tp, rank)
    if layer in ("q_proj", "gate_proj", "up_proj", "kv_b_proj", "q_b_proj",
                 "w1", "w3"):
        return cut(array, out, tp, rank)
    if layer in ("k_proj", "v_proj"):
        return heads_of(array, out, kv_heads, tp, rank)
    if layer in ("o_proj", "down_proj", "w2"):
        if kind == "bias" or array.shape[ins] == 1:
            return array  # all inputs have it in common
        return cut(array, ins, tp, rank)
    if layer == "gate_up_proj":
        return np.concatenate([cut(half, out, tp, rank)
                               for half in np.split(array, 2, out)], out)
    if layer == "qkv_proj":
        head = array.shape[out] // (heads + 2 * kv_heads)
        q, k, v = np.split(array, [heads * head, (heads + kv_heads) * head],
                           out)
        return np.concatenate([cut(q, out, tp, rank),
                               heads_of(k, out, kv_heads, tp, rank),
                               heads_of(v, out, kv_heads, tp, rank)], out)
    return array


def rank_of(spec, tp, pp, stage, rank):
    """{name: [dtype, shape, SHA-256]} of one rank."""
    out = {}
    for name, t in spec["tensors"].items():
        if stage not in stages_of(name, spec["config"], pp):
            continue
        array = np.frombuffer(
            truth.tensor_bytes(t.get("as", name), t["dtype"], t["shape"]),
            f"V{truth.SIZE[t['dtype']]}").reshape(t["shape"])
        part = part_of(name, array, spec["config"], tp, rank)
        if part.size:
            out[name] = [t["dtype"], list(part.shape),
                         hashlib.sha256(part.tobytes()).hexdigest()]
    return out
