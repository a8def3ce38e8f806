# SPDX-License-Identifier: Apache-2.0
"""The tensors of a checkpoint, as Hugging Face names them, from its
config.json: one function for each way in which families name and shape them.
"""
TWO_NORMS = ("input_layernorm", "post_attention_layernorm")
GEMMA_NORMS = TWO_NORMS + ("pre_feedforward_layernorm",
                           "post_feedforward_layernorm")


class Tensors(dict):
    """name → dtype and shape"""

    def add(self, name, *shape, dtype="BF16"):
        self[name] = {"dtype": dtype, "shape": list(shape)}

    def linear(self, name, out, inputs, bias=False):
        self.add(name + ".weight", out, inputs)
        if bias:
            self.add(name + ".bias", out)

    def ends(self, c):
        self.add("model.embed_tokens.weight", c["vocab_size"],
                 c["hidden_size"])
        self.add("model.norm.weight", c["hidden_size"])
        if not c.get("tie_word_embeddings", False):
            self.add("lm_head.weight", c["vocab_size"], c["hidden_size"])

    def norms(self, at, c, names=TWO_NORMS):
        for name in names:
            self.add(f"{at}.{name}.weight", c["hidden_size"])

    def attention(self, at, c, qkv_bias=False, o_bias=False, norms=None):
        hidden, heads = c["hidden_size"], c["num_attention_heads"]
        size = c.get("head_dim") or hidden // heads
        q = size * heads
        kv = size * c.get("num_key_value_heads", heads)
        self.linear(f"{at}.q_proj", q, hidden, qkv_bias)
        self.linear(f"{at}.k_proj", kv, hidden, qkv_bias)
        self.linear(f"{at}.v_proj", kv, hidden, qkv_bias)
        self.linear(f"{at}.o_proj", hidden, q, o_bias)
        if norms:  # over a head, or over all of them
            self.add(f"{at}.q_norm.weight", size if norms == "head" else q)
            self.add(f"{at}.k_norm.weight", size if norms == "head" else kv)

    def mlp(self, at, hidden, inner, bias=False):
        self.linear(f"{at}.gate_proj", inner, hidden, bias)
        self.linear(f"{at}.up_proj", inner, hidden, bias)
        self.linear(f"{at}.down_proj", hidden, inner, bias)

    def experts(self, at, c, count, bias=None):
        """Experts under `at`, and the router."""
        for e in range(count):
            self.mlp(f"{at}.experts.{e}", c["hidden_size"],
                     c["moe_intermediate_size"])
        self.linear(f"{at}.gate", count, c["hidden_size"])
        if bias:
            self.add(f"{at}.gate.e_score_correction_bias", count, dtype=bias)


def layers(c, more=0):
    return [(i, f"model.layers.{i}")
            for i in range(c["num_hidden_layers"] + more)]


def llama(c):
    t, bias = Tensors(), c.get("attention_bias", c.get("bias", False))
    t.ends(c)
    for _, at in layers(c):
        t.norms(at, c)
        t.attention(at + ".self_attn", c, c.get("qkv_bias", bias), bias)
        t.mlp(at + ".mlp", c["hidden_size"], c["intermediate_size"],
              c.get("mlp_bias", False))
    return t


def qwen(c):
    t = Tensors()
    t.ends(c)
    for _, at in layers(c):
        t.norms(at, c)
        if c["model_type"] == "qwen2":
            t.attention(at + ".self_attn", c, True)
        else:
            t.attention(at + ".self_attn", c, c.get("attention_bias", False),
                        norms="head")
        t.mlp(at + ".mlp", c["hidden_size"], c["intermediate_size"])
    return t


def olmo2(c):
    t, bias = Tensors(), c.get("attention_bias", False)
    t.ends(c)
    for _, at in layers(c):
        t.norms(at, c, ("post_attention_layernorm",
                        "post_feedforward_layernorm"))
        t.attention(at + ".self_attn", c, bias, bias, norms="all")
        t.mlp(at + ".mlp", c["hidden_size"], c["intermediate_size"])
    return t


def gemma(c):
    t, bias = Tensors(), c.get("attention_bias", False)
    t.ends({"tie_word_embeddings": True, **c})
    for _, at in layers(c):
        t.norms(at, c, GEMMA_NORMS)
        t.attention(at + ".self_attn", c, bias, bias,
                    norms="head" if c["model_type"] != "gemma2" else None)
        t.mlp(at + ".mlp", c["hidden_size"], c["intermediate_size"])
    return t


def phi3(c):
    t = Tensors()
    t.ends(c)
    hidden, inner = c["hidden_size"], c["intermediate_size"]
    heads = c["num_attention_heads"] + 2 * c["num_key_value_heads"]
    size = hidden // c["num_attention_heads"]
    for _, at in layers(c):
        t.norms(at, c)
        t.linear(at + ".self_attn.qkv_proj", size * heads, hidden)
        t.linear(at + ".self_attn.o_proj", hidden, hidden)
        t.linear(at + ".mlp.gate_up_proj", 2 * inner, hidden)
        t.linear(at + ".mlp.down_proj", hidden, inner)
    return t


def glm4(c):
    t, hidden, inner = Tensors(), c["hidden_size"], c["intermediate_size"]
    t.ends(c)
    for _, at in layers(c):
        t.norms(at, c, TWO_NORMS + ("post_self_attn_layernorm",
                                    "post_mlp_layernorm"))
        t.attention(at + ".self_attn", c, c.get("attention_bias", True))
        t.linear(at + ".mlp.gate_up_proj", 2 * inner, hidden)
        t.linear(at + ".mlp.down_proj", hidden, inner)
    return t


def predicting(t, at, c):
    """What a layer that predicts further tokens has besides a layer."""
    hidden = c["hidden_size"]
    for name in "enorm", "hnorm", "shared_head.norm":
        t.add(f"{at}.{name}.weight", hidden)
    t.linear(at + ".eh_proj", hidden, 2 * hidden)
    t.linear(at + ".embed_tokens", c["vocab_size"], hidden)
    t.linear(at + ".shared_head.head", c["vocab_size"], hidden)


def deep_mlp(t, i, at, c, bias):
    """Dense or experts, as GLM 4 and DeepSeek tell."""
    hidden, shared = c["hidden_size"], c.get("n_shared_experts")
    if i < c["first_k_dense_replace"] or i % c.get("moe_layer_freq", 1):
        t.mlp(at + ".mlp", hidden, c["intermediate_size"])
        return
    t.experts(at + ".mlp", c, c["n_routed_experts"], bias)
    if shared:
        t.mlp(at + ".mlp.shared_experts", hidden,
              shared * c["moe_intermediate_size"])


def glm4_moe(c):
    t, further = Tensors(), c.get("num_nextn_predict_layers", 0)
    t.ends(c)
    for i, at in layers(c, further):
        t.norms(at, c)
        t.attention(at + ".self_attn", c, c.get("attention_bias", False),
                    norms="head" if c.get("use_qk_norm") else None)
        deep_mlp(t, i, at, c, "F32")
        if i >= c["num_hidden_layers"]:
            predicting(t, at, c)
    return t


def latent_attention(t, at, c):
    hidden, heads = c["hidden_size"], c["num_attention_heads"]
    nope, rope = c["qk_nope_head_dim"], c["qk_rope_head_dim"]
    value, low, q_low = c["v_head_dim"], c["kv_lora_rank"], c["q_lora_rank"]
    bias = c.get("attention_bias", False)
    if q_low:
        t.linear(at + ".q_a_proj", q_low, hidden, bias)
        t.add(at + ".q_a_layernorm.weight", q_low)
        t.linear(at + ".q_b_proj", heads * (nope + rope), q_low)
    else:
        t.linear(at + ".q_proj", heads * (nope + rope), hidden)
    t.linear(at + ".kv_a_proj_with_mqa", low + rope, hidden, bias)
    t.add(at + ".kv_a_layernorm.weight", low)
    t.linear(at + ".kv_b_proj", heads * (nope + value), low)
    t.linear(at + ".o_proj", hidden, heads * value, bias)


def deepseek(c):
    t, further = Tensors(), c.get("num_nextn_predict_layers", 0)
    bias = "F32" if c.get("topk_method") == "noaux_tc" else None
    t.ends(c)
    for i, at in layers(c, further):
        t.norms(at, c)
        latent_attention(t, at + ".self_attn", c)
        deep_mlp(t, i, at, c, bias)
        if i >= c["num_hidden_layers"]:
            predicting(t, at, c)
    return t


def qwen_moe(c):
    t, old = Tensors(), c["model_type"] == "qwen2_moe"
    t.ends(c)
    for i, at in layers(c):
        t.norms(at, c)
        t.attention(at + ".self_attn", c,
                    c.get("qkv_bias" if old else "attention_bias", old),
                    norms=None if old else "head")
        if i in c["mlp_only_layers"] or (i + 1) % c["decoder_sparse_step"]:
            t.mlp(at + ".mlp", c["hidden_size"], c["intermediate_size"])
            continue
        t.experts(at + ".mlp", c, c["num_experts"])
        if old:
            t.linear(at + ".mlp.shared_expert_gate", 1, c["hidden_size"])
        if c.get("shared_expert_intermediate_size"):
            t.mlp(at + ".mlp.shared_expert", c["hidden_size"],
                  c["shared_expert_intermediate_size"])
    return t


def mixtral(c):
    t, hidden, inner = Tensors(), c["hidden_size"], c["intermediate_size"]
    t.ends(c)
    for _, at in layers(c):
        t.norms(at, c)
        t.attention(at + ".self_attn", c)
        moe = at + ".block_sparse_moe"
        t.linear(moe + ".gate", c["num_local_experts"], hidden)
        for e in range(c["num_local_experts"]):
            t.linear(f"{moe}.experts.{e}.w1", inner, hidden)
            t.linear(f"{moe}.experts.{e}.w2", hidden, inner)
            t.linear(f"{moe}.experts.{e}.w3", inner, hidden)
    return t


def gpt_oss(c):
    t, hidden, inner = Tensors(), c["hidden_size"], c["intermediate_size"]
    count = c["num_local_experts"]
    t.ends(c)
    for _, at in layers(c):
        t.norms(at, c)
        t.attention(at + ".self_attn", c, True, True)
        t.add(at + ".self_attn.sinks", c["num_attention_heads"])
        t.linear(at + ".mlp.router", count, hidden, True)
        t.add(at + ".mlp.experts.gate_up_proj", count, hidden, 2 * inner)
        t.add(at + ".mlp.experts.gate_up_proj_bias", count, 2 * inner)
        t.add(at + ".mlp.experts.down_proj", count, inner, hidden)
        t.add(at + ".mlp.experts.down_proj_bias", count, hidden)
    return t
