# SPDX-License-Identifier: Apache-2.0
"""The checkpoints that are measured, made once under build/bench/."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools", "scripts"))
import mkmodel  # noqa: E402

LARGE = 32 << 20  # what the table calls a large tensor begins here
RANKS = 2
# Bytes of one layer of one rank: 44, 22, 12, 8 MiB and two of 4 KiB.
LAYER = (("mlp.gate_up_proj.weight", (11264, 2048)),
         ("mlp.down_proj.weight", (2048, 5632)),
         ("self_attn.qkv_proj.weight", (3072, 2048)),
         ("self_attn.o_proj.weight", (2048, 2048)),
         ("input_layernorm.weight", (2048,)),
         ("post_attention_layernorm.weight", (2048,)))
LAYER_BYTES = sum(mkmodel.tensor_bytes("F16", shape) for _, shape in LAYER)


def write_data(path, total):
    """sharded_state, two ranks: large tensors and smaller ones."""
    layers = max(2, round(total / RANKS / LAYER_BYTES))
    tensors = sorted(("model.layers.%d.%s" % (i, name), "F16", shape)
                     for i in range(layers) for name, shape in LAYER)
    for rank in range(RANKS):
        mkmodel.write_shard(os.path.join(
            path, "model-rank-%d-part-0.safetensors" % rank), tensors)
    mkmodel.write_config(os.path.join(path, "config.json"),
                         {"model_type": "llama"})


def write_hf(path, tensors, shards):
    """Hugging Face: `shards` files and an index."""
    where = {}
    for i in range(shards):
        part = tensors[len(tensors) * i // shards:
                       len(tensors) * (i + 1) // shards]
        name = "model-%05d-of-%05d.safetensors" % (i + 1, shards)
        mkmodel.write_shard(os.path.join(path, name), part, {"format": "pt"})
        where.update((tensor, name) for tensor, _, _ in part)
    mkmodel.write_index(
        os.path.join(path, "model.safetensors.index.json"), where)
    mkmodel.write_config(os.path.join(path, "config.json"),
                         {"model_type": "llama"})


def expert_names(count):
    parts = ("down_proj", "gate_proj", "up_proj")
    return sorted("model.layers.%d.mlp.experts.%d.%s.weight"
                  % (i // 768, i // 3 % 256, parts[i % 3])
                  for i in range(count))


def write_many(path):
    """100,000 tensors of 64 bytes in 200 files."""
    tensors = [(name, "F16", (32,)) for name in expert_names(100000)]
    write_hf(path, tensors, 200)


def write_small(path):
    """10,000 tensors of 4 KiB."""
    tensors = [(name, "F16", (2048,)) for name in expert_names(10000)]
    write_hf(path, tensors, 4)


def write_llama(path):
    """Hugging Face: 1.3 GB, whose rows four ranks cut in runs of 2 KiB."""
    hidden, heads, kv_heads, layers, vocab = 4096, 32, 8, 4, 32000
    kv = hidden // heads * kv_heads
    tensors = [("lm_head.weight", "F16", (vocab, hidden)),
               ("model.embed_tokens.weight", "F16", (vocab, hidden)),
               ("model.norm.weight", "F16", (hidden,))]
    for i in range(layers):
        tensors += [("model.layers.%d.%s.weight" % (i, name), "F16", shape)
                    for name, shape in (
                        ("input_layernorm", (hidden,)),
                        ("post_attention_layernorm", (hidden,)),
                        ("mlp.down_proj", (hidden, hidden)),
                        ("mlp.gate_proj", (hidden, hidden)),
                        ("mlp.up_proj", (hidden, hidden)),
                        ("self_attn.k_proj", (kv, hidden)),
                        ("self_attn.o_proj", (hidden, hidden)),
                        ("self_attn.q_proj", (hidden, hidden)),
                        ("self_attn.v_proj", (kv, hidden)))]
    write_hf(path, sorted(tensors), 3)
    mkmodel.write_config(os.path.join(path, "config.json"), {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "hidden_size": hidden, "intermediate_size": hidden,
        "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "vocab_size": vocab,
        "head_dim": hidden // heads, "tie_word_embeddings": False,
        "attention_bias": False, "mlp_bias": False,
        "torch_dtype": "float16"})


class Checkpoint:
    """Where a checkpoint lies and what its headers say."""

    def __init__(self, name, path):
        self.name, self.path, self.made = name, path, False
        self.files, self.tensors = [], []

    def read_headers(self):
        for file in sorted(os.listdir(self.path)):
            if file.endswith(".safetensors"):
                self.read_header(file)
        return self

    def read_header(self, file):
        path = os.path.join(self.path, file)
        self.files.append((os.path.getsize(path), file))
        rank = file.split("-")[2] if file.startswith("model-rank-") else "0"
        with open(path, "rb") as f:
            length = int.from_bytes(f.read(8), "little")
            head = json.loads(f.read(length))
        head.pop("__metadata__", None)
        for name, tensor in head.items():
            begin, end = tensor["data_offsets"]
            self.tensors.append((end - begin, 8 + length + begin, file,
                                 rank, name))

    def file_bytes(self):
        return sum(size for size, _ in self.files)

    def tensor_bytes(self):
        return sum(t[0] for t in self.tensors)


def make(root, kind, write):
    checkpoint = Checkpoint(kind, os.path.join(root, kind))
    checkpoint.made = mkmodel.make_once(checkpoint.path, write)
    return checkpoint.read_headers()
