# SPDX-License-Identifier: Apache-2.0
"""A small Llama with known bytes, as Hugging Face and as two ranks have it.

The two-rank form is what vLLM's own save_sharded_state writes for this model:
its parameter names (fused qkv and gate_up, the scales of the attention), its
order, its headers.  That it is right is not taken for granted: vLLM loads both
forms and must say the same.
"""
import json
import os
import zlib

import numpy as np

HIDDEN, INNER, LAYERS, VOCAB, HEADS, KV_HEADS = 512, 1408, 8, 4096, 16, 8
HEAD = HIDDEN // HEADS
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "hidden_size": HIDDEN, "intermediate_size": INNER, "head_dim": HEAD,
    "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS, "vocab_size": VOCAB,
    "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "max_position_embeddings": 512, "tie_word_embeddings": False,
    "attention_bias": False, "mlp_bias": False, "bos_token_id": 1,
    "eos_token_id": 2, "torch_dtype": "bfloat16"}
ONE = np.ones((), "<f4")


def weight(name, *shape):
    """bfloat16 as its bits: a random sign and mantissa, a weight's size."""
    bits = np.random.Generator(np.random.SFC64(zlib.crc32(name.encode())))
    raw = bits.integers(0, 1 << 16, shape, dtype=np.uint16)
    return raw & 0x807F | 0x3C00


def norm(name):
    return weight(name, HIDDEN) & 0x007F | 0x3F00


def layer(i):
    at = "model.layers.%d." % i
    kv = KV_HEADS * HEAD
    shapes = {"self_attn.q_proj": (HIDDEN, HIDDEN),
              "self_attn.k_proj": (kv, HIDDEN),
              "self_attn.v_proj": (kv, HIDDEN),
              "self_attn.o_proj": (HIDDEN, HIDDEN),
              "mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN),
              "mlp.down_proj": (HIDDEN, INNER)}
    tensors = {}
    for part, shape in shapes.items():
        name = at + part + ".weight"
        tensors[name] = weight(name, *shape)
    for part in ("input_layernorm", "post_attention_layernorm"):
        name = at + part + ".weight"
        tensors[name] = norm(name)
    return tensors


def checkpoint():
    tensors = {"model.norm.weight": norm("model.norm.weight")}
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = weight(name, VOCAB, HIDDEN)
    for i in range(LAYERS):
        tensors.update(layer(i))
    return tensors


def rank_of(tensors, rank, ranks):
    """What rank `rank` of `ranks` holds, under the engine's names."""
    def rows(name):
        return np.split(tensors[name + ".weight"], ranks)[rank]

    def columns(name):
        return np.split(tensors[name + ".weight"], ranks, axis=1)[rank]

    mine = {name + ".weight": rows(name)
            for name in ("lm_head", "model.embed_tokens")}
    for name, tensor in tensors.items():
        if name.endswith("norm.weight"):
            mine[name] = tensor
    for i in range(LAYERS):
        attn = "model.layers.%d.self_attn." % i
        mlp = "model.layers.%d.mlp." % i
        mine[attn + "qkv_proj.weight"] = np.concatenate(
            [rows(attn + part) for part in ("q_proj", "k_proj", "v_proj")])
        mine[mlp + "gate_up_proj.weight"] = np.concatenate(
            [rows(mlp + part) for part in ("gate_proj", "up_proj")])
        for name in (attn + "o_proj", mlp + "down_proj"):
            mine[name + ".weight"] = columns(name)
        for scale in ("k", "q", "v", "prob"):
            mine[attn + "attn._%s_scale" % scale] = ONE
    return mine


def write(path, tensors, metadata=None):
    """A safetensors file: F32 before BF16, then by name."""
    def order(name):
        return tensors[name].dtype != ONE.dtype, name

    head, at = {}, 0
    if metadata:
        head["__metadata__"] = metadata
    for name in sorted(tensors, key=order):
        tensor = tensors[name]
        head[name] = {"dtype": "F32" if tensor.dtype == ONE.dtype else "BF16",
                      "shape": list(tensor.shape),
                      "data_offsets": [at, at + tensor.nbytes]}
        at += tensor.nbytes
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(tensors, key=order):
            file.write(np.ascontiguousarray(tensors[name]).tobytes())


def write_config(path):
    with open(os.path.join(path, "config.json"), "w") as file:
        json.dump(CONFIG, file, indent=1)


def write_plain(path, shards=3):
    """As the Hugging Face hub has it: some files and an index."""
    os.makedirs(path)
    write_config(path)
    tensors, where = checkpoint(), {}
    names = sorted(tensors)
    for i in range(shards):
        part = names[len(names) * i // shards:len(names) * (i + 1) // shards]
        file = "model-%05d-of-%05d.safetensors" % (i + 1, shards)
        write(os.path.join(path, file), {n: tensors[n] for n in part},
              {"format": "pt"})
        where.update(dict.fromkeys(part, file))
    with open(os.path.join(path, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {}, "weight_map": where}, file)


def write_sharded(path, ranks=2):
    os.makedirs(path)
    write_config(path)
    tensors = checkpoint()
    for rank in range(ranks):
        write(os.path.join(path, "model-rank-%d-part-0.safetensors" % rank),
              rank_of(tensors, rank, ranks))
