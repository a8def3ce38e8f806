# SPDX-License-Identifier: Apache-2.0
"""A Llama checkpoint of any size, and what an engine's ranks make of it.

The reference is slow and obvious: whole tensors in memory, cut by numpy.  It
knows this one family only; it is there so that what the program writes and
compares is held against something made independently.
"""
import json
from dataclasses import dataclass, field
from pathlib import Path

import checkpoints as ck
import numpy as np

ONE = np.ones((), "<f4").tobytes()
BF16, F32 = "BF16", "F32"


@dataclass
class Llama:
    path: Path
    seed: int = 1
    hidden: int = 128
    inner: int = 352
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    vocab: int = 1003
    parts: int = 2
    config: dict = field(default_factory=dict)  # changes; None: leave out

    def __post_init__(self):
        assert self.hidden % self.heads == 0
        self.head = self.hidden // self.heads

    def shapes(self):
        kv = self.kv_heads * self.head
        yield "lm_head.weight", (self.vocab, self.hidden)
        yield "model.embed_tokens.weight", (self.vocab, self.hidden)
        for i in range(self.layers):
            at = f"model.layers.{i}."
            yield at + "input_layernorm.weight", (self.hidden,)
            yield at + "mlp.down_proj.weight", (self.hidden, self.inner)
            yield at + "mlp.gate_proj.weight", (self.inner, self.hidden)
            yield at + "mlp.up_proj.weight", (self.inner, self.hidden)
            yield at + "post_attention_layernorm.weight", (self.hidden,)
            yield at + "self_attn.k_proj.weight", (kv, self.hidden)
            yield at + "self_attn.o_proj.weight", (self.hidden, self.hidden)
            yield at + "self_attn.q_proj.weight", (self.hidden, self.hidden)
            yield at + "self_attn.v_proj.weight", (kv, self.hidden)
        yield "model.norm.weight", (self.hidden,)

    def write(self, change=None):
        """change(list of Spec) may take tensors out or put some in."""
        specs = [ck.Spec(n, BF16, s) for n, s in self.shapes()]
        if change:
            specs = change(specs)
        made = ck.hf_sharded(self.path, specs, self.seed, self.parts)
        self.places = made.ranks["0"]
        config = {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "hidden_size": self.hidden, "intermediate_size": self.inner,
            "head_dim": self.head, "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads, "vocab_size": self.vocab,
            "tie_word_embeddings": False, "attention_bias": False,
            "mlp_bias": False, "torch_dtype": "bfloat16"}
        config.update(self.config)
        (self.path / "config.json").write_text(json.dumps(
            {k: v for k, v in config.items() if v is not None}))
        return self

    def tensor(self, name):
        place = self.places[name]
        return np.frombuffer(place.read(), "<u2").reshape(place.shape)

    def side_files(self):
        """Those that lie beside the weights in every layout, too."""
        return {str(p.relative_to(self.path)): p.read_bytes()
                for p in sorted(self.path.rglob("*"))
                if p.is_file() and "safetensors" not in p.name}

    def rank(self, tp, rank):
        """{name: (dtype, shape, bytes)} of one of `tp` ranks."""
        def split(array, dim=0):
            return np.split(array, tp, axis=dim)[rank]

        def kv(name):
            rows = self.tensor(name).reshape(
                self.kv_heads, self.head, self.hidden)
            if self.kv_heads < tp:
                return rows[rank * self.kv_heads // tp]
            return split(rows).reshape(-1, self.hidden)

        def padded(name):
            array = self.tensor(name)
            return split(np.pad(array, ((0, -len(array) % 64), (0, 0))))

        out = {n: padded(n) for n in ("lm_head.weight",
                                      "model.embed_tokens.weight")}
        out["model.norm.weight"] = self.tensor("model.norm.weight")
        for i in range(self.layers):
            at = f"model.layers.{i}."
            attn, mlp = at + "self_attn.", at + "mlp."
            for norm in ("input_layernorm", "post_attention_layernorm"):
                out[f"{at}{norm}.weight"] = self.tensor(f"{at}{norm}.weight")
            out[attn + "qkv_proj.weight"] = np.concatenate([
                split(self.tensor(attn + "q_proj.weight")),
                kv(attn + "k_proj.weight"), kv(attn + "v_proj.weight")])
            out[attn + "o_proj.weight"] = split(
                self.tensor(attn + "o_proj.weight"), 1)
            out[mlp + "gate_up_proj.weight"] = np.concatenate([
                split(self.tensor(mlp + "gate_proj.weight")),
                split(self.tensor(mlp + "up_proj.weight"))])
            out[mlp + "down_proj.weight"] = split(
                self.tensor(mlp + "down_proj.weight"), 1)
        made = {n: (BF16, list(a.shape), a.tobytes()) for n, a in out.items()}
        for i in range(self.layers):
            for part in ("k", "prob", "q", "v"):
                made[f"model.layers.{i}.self_attn.attn._{part}_scale"] = (
                    F32, [], ONE)
        return made


def write_file(path, tensors):
    """A safetensors file of {name: (dtype, shape, bytes)}."""
    head, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        head[name] = {"dtype": dtype, "shape": list(shape),
                      "data_offsets": [at, at + len(data)]}
        at += len(data)
    with open(path, "wb") as f:
        f.write(ck.with_length(json.dumps(head).encode()))
        for _, _, data in tensors.values():
            f.write(data)


def read_file(path):
    """{name: (dtype, shape, bytes)}, and that it is whole."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8:8 + size])
    end = max((t["data_offsets"][1] for t in head.values()), default=0)
    assert len(data) == 8 + size + end, path
    return {name: (t["dtype"], t["shape"],
                   data[8 + size + t["data_offsets"][0]:
                        8 + size + t["data_offsets"][1]])
            for name, t in head.items()}


def read_rank(folder, rank):
    """All parts of a rank."""
    parts = sorted(folder.glob(f"model-rank-{rank}-part-*.safetensors"))
    assert parts, f"'{folder}' has no parts of rank {rank}"
    out = {}
    for part in parts:
        for name, tensor in read_file(part).items():
            assert name not in out, f"{part}: {name} twice"
            out[name] = tensor
    return out


def assert_same_tensors(got, want, what):
    """Without a difference of megabytes being printed."""
    assert sorted(got) == sorted(want), what
    for name, (dtype, shape, data) in want.items():
        assert got[name][:2] == (dtype, shape), f"{what}: {name}"
        assert got[name][2] == data, f"{what}: {name}: other bytes"


def write_dump(folder, llama, tp, change=None):
    """What an engine would have saved; change(rank, tensors) before."""
    folder.mkdir()
    for rank in range(tp):
        tensors = llama.rank(tp, rank)
        if change:
            change(rank, tensors)
        write_file(folder / f"model-rank-{rank}-part-0.safetensors", tensors)
    return folder
