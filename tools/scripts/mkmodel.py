#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write checkpoints to show and to measure with.

usage: mkmodel.py DIR [MEGABYTES]

As a program: a two-rank sharded_state checkpoint of about MEGABYTES (1000) in
DIR, with the tensor names and the proportions of a small Llama as vLLM saves
one.  As a module: the writer behind it.  Bytes depend on the seed and the
names alone.  DIR appears when it is complete, never half.
"""
import json
import os
import shutil
import sys
import zlib

import numpy as np

SEED = 7
SIZE = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1}
STEP = 32 << 20
# Sign and mantissa stay random, magnitudes are those of weights: [1/128, 1/64).
F16_KEEP, F16_SET = 0x83FF, 0x2000


def tensor_bytes(dtype, shape):
    n = SIZE[dtype]
    for dim in shape:
        n *= dim
    return n


def write_data(file, bits, dtype, length):
    """Append `length` random bytes of `dtype` from the generator `bits`."""
    while length > 0:
        n = min(length, STEP)
        raw = bits.random_raw((n + 7) // 8)
        raw = np.atleast_1d(raw).astype("<u8", copy=False)
        if dtype == "F16":
            half = raw.view("<u2")
            half &= F16_KEEP
            half |= F16_SET
        file.write(memoryview(raw.view("u1"))[:n])
        length -= n


def write_shard(path, tensors, metadata=None):
    """A safetensors file of [(name, dtype, shape)], in that order."""
    head, at = {}, 0
    if metadata:
        head["__metadata__"] = metadata
    for name, dtype, shape in tensors:
        end = at + tensor_bytes(dtype, shape)
        head[name] = {"dtype": dtype, "shape": list(shape),
                      "data_offsets": [at, end]}
        at = end
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    bits = np.random.SFC64([SEED, zlib.crc32(os.path.basename(path).encode())])
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        # One run for neighbours of a dtype: small tensors cost nothing extra.
        run, length = None, 0
        for name, dtype, shape in tensors:
            if dtype != run:
                write_data(file, bits, run, length)
                run, length = dtype, 0
            length += tensor_bytes(dtype, shape)
        write_data(file, bits, run, length)


def write_index(path, where):
    """model.safetensors.index.json of {tensor: file}."""
    with open(path, "w") as file:
        json.dump({"metadata": {}, "weight_map": where}, file, indent=1)


def write_config(path, config):
    with open(path, "w") as file:
        json.dump(config, file, indent=2, sort_keys=True)
        file.write("\n")


def make_once(path, write):
    """Make the directory `path` by write(temporary directory), if missing."""
    if os.path.isdir(path):
        return False
    part = path + ".part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    write(part)
    os.rename(part, path)
    return True


def llama_rank(megabytes, hidden, inner, vocab, ranks):
    """One rank's tensors of about megabytes / ranks, sorted by dtype, name."""
    def layer(i):
        at = "model.layers.%d." % i
        return [
            (at + "input_layernorm.weight", "F16", (hidden,)),
            (at + "mlp.down_proj.weight", "F16", (hidden, inner // ranks)),
            (at + "mlp.gate_up_proj.weight", "F16",
             (2 * inner // ranks, hidden)),
            (at + "post_attention_layernorm.weight", "F16", (hidden,)),
            (at + "self_attn.o_proj.weight", "F16", (hidden, hidden // ranks)),
            (at + "self_attn.qkv_proj.weight", "F16",
             (hidden * 3 // 2 // ranks, hidden)),
        ]

    ends = [("lm_head.weight", "F16", (vocab // ranks, hidden)),
            ("model.embed_tokens.weight", "F16", (vocab // ranks, hidden)),
            ("model.norm.weight", "F16", (hidden,))]
    want = megabytes * 1000 * 1000 // ranks
    left = want - sum(tensor_bytes(d, s) for _, d, s in ends)
    each = sum(tensor_bytes(d, s) for _, d, s in layer(0))
    layers = max(1, round(left / each))
    tensors = [t for i in range(layers) for t in layer(i)] + ends
    return sorted(tensors), layers


def write_demo(path, megabytes):
    # Below the size that the ends alone have, a narrower model.
    hidden, inner, vocab, ranks = 2048, 5632, 32000, 2
    if megabytes < 400:
        hidden, inner, vocab = 256, 704, 4000
    tensors, layers = llama_rank(megabytes, hidden, inner, vocab, ranks)
    for rank in range(ranks):
        name = "model-rank-%d-part-0.safetensors" % rank
        write_shard(os.path.join(path, name), tensors)
    write_config(os.path.join(path, "config.json"), {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "hidden_size": hidden, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": vocab,
        "torch_dtype": "float16", "tie_word_embeddings": False})
    write_config(os.path.join(path, "generation_config.json"),
                 {"do_sample": False, "max_new_tokens": 64})


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: mkmodel.py DIR [MEGABYTES]")
    megabytes = int(sys.argv[2]) if len(sys.argv) == 3 else 1000
    make_once(sys.argv[1], lambda part: write_demo(part, megabytes))


if __name__ == "__main__":
    main()
