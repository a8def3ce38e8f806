# SPDX-License-Identifier: Apache-2.0
"""Tiny checkpoints of many families, chosen for what decides how they are cut:
layers that do not divide by stages, vocabularies that are no multiple of
anything, fewer key and value heads than ranks, embeddings tied and untied,
each bias, norms of query and key, shared experts, layers of both kinds.

A family is what makes its tensors (see makers.py), its config.json, and where
they are not the usual ones the layouts to make of it and the dtype in which
its tensors are stored.
"""
from makers import (deepseek, gemma, glm4, glm4_moe, gpt_oss, llama, mixtral,
                    olmo2, phi3, qwen, qwen_moe)

VERSION = "0.32.0"
BASE = {
    "bos_token_id": 1, "eos_token_id": 2, "dtype": "bfloat16",
    "hidden_act": "silu", "hidden_size": 128, "intermediate_size": 176,
    "max_position_embeddings": 512, "num_attention_heads": 4,
    "num_hidden_layers": 3, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0, "tie_word_embeddings": False, "vocab_size": 203}
ABSENT = object()  # of a key: it is not in config.json


def config(model_type, architecture, **keys):
    merged = {**BASE, "model_type": model_type,
              "architectures": [architecture + "ForCausalLM"], **keys}
    return {key: value for key, value in merged.items()
            if value is not ABSENT}


LLAMA = config("llama", "Llama", head_dim=32)
MISTRAL = config("mistral", "Mistral", sliding_window=None)
QWEN2 = config("qwen2", "Qwen2")
QWEN3 = config("qwen3", "Qwen3", head_dim=32)
PHI3 = config("phi3", "Phi3", pad_token_id=0)
GRANITE = config("granite", "Granite", embedding_multiplier=12.0,
                 attention_multiplier=0.0883, residual_multiplier=0.22,
                 logits_scaling=8.0)
OLMO2 = config("olmo2", "Olmo2", attention_bias=False)
GEMMA = {"hidden_act": ABSENT, "hidden_activation": "gelu_pytorch_tanh",
         "head_dim": 64, "query_pre_attn_scalar": 64, "sliding_window": 64,
         "tie_word_embeddings": ABSENT, "attn_logit_softcapping": None,
         "final_logit_softcapping": None}
GEMMA2 = config("gemma2", "Gemma2", **GEMMA)
GEMMA3 = config("gemma3_text", "Gemma3", **GEMMA,
                rope_local_base_freq=10000.0)
GLM4 = config("glm4", "Glm4", attention_bias=True, head_dim=32,
              partial_rotary_factor=0.5)
MOE = {"moe_intermediate_size": 48, "num_experts_per_tok": 2,
       "norm_topk_prob": True}
DEEP = {**MOE, "n_routed_experts": 6, "n_shared_experts": 1, "n_group": 1,
        "topk_group": 1, "first_k_dense_replace": 1,
        "routed_scaling_factor": 1.0}
GLM4_MOE = config("glm4_moe", "Glm4Moe", **DEEP, head_dim=32,
                  attention_bias=True, use_qk_norm=False,
                  num_nextn_predict_layers=0, partial_rotary_factor=0.5)
DEEPSEEK = {**DEEP, "num_key_value_heads": 4, "kv_lora_rank": 512,
            "q_lora_rank": 48, "qk_nope_head_dim": 32, "qk_rope_head_dim": 64,
            "v_head_dim": 32, "hidden_size": 64}
DEEPSEEK_V2 = config("deepseek_v2", "DeepseekV2", **DEEPSEEK,
                     topk_method="greedy", scoring_func="softmax")
DEEPSEEK_V3 = config("deepseek_v3", "DeepseekV3", **DEEPSEEK,
                     topk_method="noaux_tc", scoring_func="sigmoid",
                     num_nextn_predict_layers=1)
QWEN = {**MOE, "num_experts": 6, "decoder_sparse_step": 1,
        "mlp_only_layers": []}
QWEN2_MOE = config("qwen2_moe", "Qwen2Moe", **QWEN,
                   shared_expert_intermediate_size=80)
QWEN3_MOE = config("qwen3_moe", "Qwen3Moe", **QWEN, head_dim=32)
MIXTRAL = config("mixtral", "Mixtral", num_local_experts=6,
                 num_experts_per_tok=2, sliding_window=None)
GPT_OSS = config(
    "gpt_oss", "GptOss", num_local_experts=6, num_experts_per_tok=2,
    head_dim=64, attention_bias=True, sliding_window=128, swiglu_limit=7.0,
    intermediate_size=128, num_key_value_heads=4,
    layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    rope_scaling={"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0,
                  "beta_slow": 1.0, "truncate": False,
                  "original_max_position_embeddings": 4096})

FAMILIES = {
    # A vocabulary that is a multiple of 64 already; heads a rank of their own.
    "llama_mlp_bias": (llama, {
        **LLAMA, "num_hidden_layers": 7, "vocab_size": 192, "mlp_bias": True,
        "num_attention_heads": 8, "head_dim": 16, "hidden_size": 64}, {
            "layouts": ["tp1", "tp8", "pp3", "pp4", "pp5", "pp3tp2",
                        "pp4tp4"]}),
    # What config.json leaves out has the family's own default.
    "llama_defaults": (llama, {
        k: v for k, v in {**LLAMA, "torch_dtype": "float16"}.items()
        if k not in ("head_dim", "num_key_value_heads", "dtype",
                     "tie_word_embeddings")}, {"stored": "F16"}),
    "llama_f16": (llama, {**LLAMA, "bias": True}, {"stored": "F16"}),
    "llama_qkv_bias": (llama, {**LLAMA, "qkv_bias": True}),
    "mistral_tied": (llama, {**MISTRAL, "tie_word_embeddings": True,
                             "num_key_value_heads": 1}),
    "qwen2_kv1": (qwen, {**QWEN2, "num_key_value_heads": 1}),
    "qwen3_bias": (qwen, {**QWEN3, "attention_bias": True,
                          "num_key_value_heads": 1}),
    "phi3_tied": (phi3, {**PHI3, "tie_word_embeddings": True,
                         "num_key_value_heads": 1}),
    "granite": (llama, GRANITE),
    "granite_tied": (llama, {**GRANITE, "tie_word_embeddings": True,
                             "num_key_value_heads": 1, "attention_bias": True,
                             "mlp_bias": True}),
    "olmo2": (olmo2, OLMO2),
    "olmo2_tied": (olmo2, {**OLMO2, "tie_word_embeddings": True,
                           "num_key_value_heads": 1}),
    "olmo2_bias": (olmo2, {**OLMO2, "attention_bias": True}),
    "gemma2_bias": (gemma, {**GEMMA2, "attention_bias": True,
                            "num_key_value_heads": 1}),
    "gemma3": (gemma, GEMMA3),
    "gemma3_bias": (gemma, {**GEMMA3, "attention_bias": True,
                            "num_key_value_heads": 1}),
    "gemma3_untied": (gemma, {**GEMMA3, "tie_word_embeddings": False}),
    "glm4": (glm4, GLM4),
    "glm4_tied": (glm4, {**GLM4, "attention_bias": False,
                         "tie_word_embeddings": True,
                         "num_key_value_heads": 1}),
    "glm4_moe": (glm4_moe, GLM4_MOE),
    "glm4_moe_qk_norm": (glm4_moe, {
        **GLM4_MOE, "use_qk_norm": True, "attention_bias": False,
        "num_nextn_predict_layers": 1, "n_shared_experts": 2,
        "first_k_dense_replace": 0, "num_key_value_heads": 1}),
    "glm4_moe_f32": (glm4_moe, GLM4_MOE, {"stored": "F32"}),
    "glm4_moe_unshared": (glm4_moe, {**GLM4_MOE, "n_shared_experts": 0}),
    "qwen2_moe": (qwen_moe, QWEN2_MOE),
    "qwen2_moe_tied": (qwen_moe, {
        **QWEN2_MOE, "tie_word_embeddings": True, "qkv_bias": True,
        "mlp_only_layers": [0], "num_key_value_heads": 1}),
    "qwen2_moe_unshared": (qwen_moe, {
        **QWEN2_MOE, "shared_expert_intermediate_size": 0,
        "decoder_sparse_step": 2}),
    "qwen3_moe_tied": (qwen_moe, {
        **QWEN3_MOE, "num_hidden_layers": 4, "tie_word_embeddings": True, "decoder_sparse_step": 2,
        "attention_bias": True, "num_key_value_heads": 1}),
    "mixtral": (mixtral, MIXTRAL),
    "mixtral_tied": (mixtral, {**MIXTRAL, "tie_word_embeddings": True,
                               "num_key_value_heads": 1, "head_dim": 64}),
    "deepseek_v2_low_rank": (deepseek, {**DEEPSEEK_V2, "n_shared_experts": 2}),
    "deepseek_v2_unshared": (deepseek, {
        **DEEPSEEK_V2, "n_shared_experts": 0, "q_lora_rank": None,
        "first_k_dense_replace": 0, "moe_layer_freq": 2}),
    "deepseek_v3": (deepseek, DEEPSEEK_V3),
    "deepseek_v3_sparse": (deepseek, {
        **DEEPSEEK_V3, "q_lora_rank": None, "first_k_dense_replace": 0,
        "num_nextn_predict_layers": 0}, {"stored": "F16"}),
    "gpt_oss": (gpt_oss, GPT_OSS),
}


def spec(family):
    """The spec of a checkpoint, and the layouts to make of it, or None."""
    make, values, *options = FAMILIES[family]
    options = options[0] if options else {}
    tensors = dict(sorted(make(values).items()))
    for tensor in tensors.values():
        tensor["dtype"] = options.get("stored", tensor["dtype"])
    return ({"config": dict(sorted(values.items())), "tensors": tensors},
            options.get("layouts"))
