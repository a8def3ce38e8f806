# SPDX-License-Identifier: Apache-2.0
"""Random small checkpoints of several families, and what an engine's ranks
make of them: whole tensors in memory, cut and joined by numpy.
"""
import hashlib

import numpy as np

import truth
from hf_reference import EVERYWHERE, cut, heads_of, stages_of

FAMILIES = {
    "llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM", "mixtral": "MixtralForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM"}
ONE = np.float32(1).tobytes()


def random_config(rng, family, ranks):
    """One that so many ranks can have, and what divides them."""
    heads = ranks * rng.randint(1, 3)
    kv = rng.choice([k for k in range(1, heads + 1) if heads % k == 0
                     and (k % ranks == 0 or ranks % k == 0)])
    rows = 64 * (3 if ranks % 3 == 0 else 1) * rng.randint(1, 2)
    config = {
        "architectures": [FAMILIES[family]], "dtype": "bfloat16",
        "hidden_size": rng.randint(3, 40), "head_dim": rng.randint(1, 12),
        "num_attention_heads": heads, "num_key_value_heads": kv,
        "num_hidden_layers": rng.randint(1, 4),
        "vocab_size": rows - rng.randint(0, 63),
        "intermediate_size": ranks * rng.randint(1, 12),
        "tie_word_embeddings": rng.random() < 0.4}
    if family in ("llama", "qwen3"):
        config["attention_bias"] = rng.random() < 0.5
    if family == "llama":
        config["mlp_bias"] = rng.random() < 0.5
    if family == "mixtral":
        config["num_local_experts"] = rng.randint(1, 6)
    if family == "qwen3_moe":
        config.update(num_experts=rng.randint(ranks, ranks + 3),
                      moe_intermediate_size=ranks * rng.randint(1, 8),
                      decoder_sparse_step=rng.randint(1, 2),
                      mlp_only_layers=rng.sample(range(4), rng.randint(0, 2)))
    return config


class Model:
    def __init__(self, config):
        self.config = config
        self.family = next(name for name, arch in FAMILIES.items()
                           if arch == config["architectures"][0])
        self.tensors = {name: {"dtype": "BF16", "shape": list(shape)}
                        for name, shape in self.shapes()}
        self.spec = {"config": config, "tensors": self.tensors}

    def biases(self):
        """Of query, key and value; of the output; of the feed-forward."""
        own = self.config.get("attention_bias", False)
        return (own or self.family == "qwen2", own and self.family == "llama",
                self.config.get("mlp_bias", False))

    def is_sparse(self, layer):
        c = self.config
        if self.family == "qwen3_moe":
            return (layer not in c["mlp_only_layers"]
                    and (layer + 1) % c["decoder_sparse_step"] == 0)
        return self.family == "mixtral"

    def experts(self, layer):
        """(router, [(gate, down, up) of each], their width)"""
        c, at = self.config, f"model.layers.{layer}."
        if self.family == "mixtral":
            at += "block_sparse_moe."
            return at + "gate", [[f"{at}experts.{e}.w{i}" for i in (1, 2, 3)]
                                 for e in range(c["num_local_experts"])
                                 ], c["intermediate_size"]
        return at + "mlp.gate", [
            [f"{at}mlp.experts.{e}.{i}_proj" for i in ("gate", "down", "up")]
            for e in range(c["num_experts"])], c["moe_intermediate_size"]

    def shapes(self):
        c = self.config
        hidden, inner = c["hidden_size"], c["intermediate_size"]
        q = c["num_attention_heads"] * c["head_dim"]
        kv = c["num_key_value_heads"] * c["head_dim"]
        qkv_bias, o_bias, mlp_bias = self.biases()
        yield "model.embed_tokens.weight", (c["vocab_size"], hidden)
        if not c["tie_word_embeddings"]:
            yield "lm_head.weight", (c["vocab_size"], hidden)
        yield "model.norm.weight", (hidden,)
        for layer in range(c["num_hidden_layers"]):
            at = f"model.layers.{layer}."
            attn = at + "self_attn."
            for norm in "input_layernorm", "post_attention_layernorm":
                yield f"{at}{norm}.weight", (hidden,)
            for part, rows in ("q", q), ("k", kv), ("v", kv):
                yield f"{attn}{part}_proj.weight", (rows, hidden)
                if qkv_bias:
                    yield f"{attn}{part}_proj.bias", (rows,)
            yield attn + "o_proj.weight", (hidden, q)
            if o_bias:
                yield attn + "o_proj.bias", (hidden,)
            if self.family.startswith("qwen3"):
                yield attn + "q_norm.weight", (c["head_dim"],)
                yield attn + "k_norm.weight", (c["head_dim"],)
            if self.is_sparse(layer):
                router, experts, width = self.experts(layer)
                yield router + ".weight", (len(experts), hidden)
                for gate, down, up in experts:
                    yield gate + ".weight", (width, hidden)
                    yield down + ".weight", (hidden, width)
                    yield up + ".weight", (width, hidden)
                continue
            for part, shape in (("gate", (inner, hidden)),
                                ("up", (inner, hidden)),
                                ("down", (hidden, inner))):
                yield f"{at}mlp.{part}_proj.weight", shape
                if mlp_bias:
                    yield f"{at}mlp.{part}_proj.bias", shape[:1]

    def get(self, name):
        shape = self.tensors[name]["shape"]
        return np.frombuffer(truth.tensor_bytes(name, "BF16", shape),
                             "<u2").reshape(shape)

    def layer_of(self, layer, tp, rank, out):
        kv_heads = self.config["num_key_value_heads"]
        qkv_bias, o_bias, mlp_bias = self.biases()
        at = f"model.layers.{layer}."
        attn, mlp = at + "self_attn.", at + "mlp."

        def qkv(kind):
            return np.concatenate([
                cut(self.get(f"{attn}q_proj.{kind}"), 0, tp, rank)] + [
                heads_of(self.get(f"{attn}{p}_proj.{kind}"), 0, kv_heads, tp,
                         rank) for p in "kv"])

        def fused(*names):
            return np.concatenate([cut(self.get(n), 0, tp, rank)
                                   for n in names])

        for norm in (at + "input_layernorm", at + "post_attention_layernorm",
                     attn + "q_norm", attn + "k_norm"):
            if norm + ".weight" in self.tensors:
                out[norm + ".weight"] = self.get(norm + ".weight")
        out[attn + "qkv_proj.weight"] = qkv("weight")
        out[attn + "o_proj.weight"] = cut(self.get(attn + "o_proj.weight"), 1,
                                          tp, rank)
        if qkv_bias:
            out[attn + "qkv_proj.bias"] = qkv("bias")
        if o_bias:
            out[attn + "o_proj.bias"] = self.get(attn + "o_proj.bias")
        for part in "k", "prob", "q", "v":
            out[f"{attn}attn._{part}_scale"] = None
        if self.is_sparse(layer):
            router, experts, _ = self.experts(layer)
            where = router.removesuffix("gate") + "experts."
            name = (where + "gate.weight" if self.family == "qwen3_moe"
                    else router + ".weight")
            out[name] = self.get(router + ".weight")
            out[where + "routed_experts.w13_weight"] = np.stack([
                fused(gate + ".weight", up + ".weight")
                for gate, _, up in experts])
            out[where + "routed_experts.w2_weight"] = np.stack([
                cut(self.get(down + ".weight"), 1, tp, rank)
                for _, down, _ in experts])
            return
        for kind in ["weight"] + ["bias"] * mlp_bias:
            out[f"{mlp}gate_up_proj.{kind}"] = fused(f"{mlp}gate_proj.{kind}",
                                                     f"{mlp}up_proj.{kind}")
            down = self.get(f"{mlp}down_proj.{kind}")
            out[f"{mlp}down_proj.{kind}"] = (
                down if kind == "bias" else cut(down, 1, tp, rank))

    def rank_of(self, tp, pp, stage, rank):
        """{name: [dtype, shape, SHA-256]} of one rank."""
        def padded(name):
            array = self.get(name)
            return cut(np.pad(array, ((0, -len(array) % 64), (0, 0))), 0, tp,
                       rank)
        out, config = {}, self.config
        tied = config["tie_word_embeddings"]
        everywhere = config["architectures"][0].startswith(EVERYWHERE)
        first = everywhere or stage == 0
        last = everywhere or stage == pp - 1
        embedding = "model.embed_tokens.weight"
        if last:
            out["model.norm.weight"] = self.get("model.norm.weight")
            out["lm_head.weight"] = padded(
                embedding if tied else "lm_head.weight")
        # Tied, the two are one, under the smaller name.
        if first and not (tied and last):
            out[embedding] = padded(embedding)
        for layer in range(config["num_hidden_layers"]):
            if stage in stages_of(f"model.layers.{layer}.", config, pp):
                self.layer_of(layer, tp, rank, out)
        return {name: ["F32", [], hashlib.sha256(ONE).hexdigest()]
                if array is None else
                ["BF16", list(array.shape),
                 hashlib.sha256(array.tobytes()).hexdigest()]
                for name, array in out.items()}
