# SPDX-License-Identifier: Apache-2.0
"""Ranks of a layout read each byte of the checkpoint once between them.

How much was read is counted at the source, by the daemon; what the ranks get
is compared with a slow reference or with the same layout read alone.
"""
import errno
import json
import os
import sys
import threading
from pathlib import Path

import checkpoints as ck
import mounts
import pytest
from mounts import wait_until

sys.path.insert(0, str(Path(__file__).parents[1] / "plan"))
from small_llama import Llama  # noqa: E402

# What an open does not wait for is read a second time, past the arena.
WHOLE = mounts.PATIENT, "nodigests"

TP = 8


@pytest.fixture
def llama(folder, seed):
    """Fewer heads for keys and values than ranks, rows cut to 128 … 704
    bytes."""
    return Llama(folder / "models" / "llama", seed=seed,
                 hidden=1024 // mounts.SCALE, inner=2816 // mounts.SCALE,
                 layers=3, heads=16, kv_heads=4, vocab=2003).write()


def mla(folder, seed):
    """A checkpoint with latent attention: its first projections are whole on
    every rank."""
    scale = mounts.SCALE
    hidden, inner, heads, layers = 1024 // scale, 2816 // scale, 8, 3
    q_rank, kv_rank, nope, rope, v = 384 // scale, 256 // scale, 64, 32, 64
    config = {
        "architectures": ["DeepseekV2ForCausalLM"],
        "model_type": "deepseek_v2", "hidden_size": hidden,
        "intermediate_size": inner, "num_attention_heads": heads,
        "num_key_value_heads": heads, "num_hidden_layers": layers,
        "q_lora_rank": q_rank, "kv_lora_rank": kv_rank,
        "qk_nope_head_dim": nope, "qk_rope_head_dim": rope, "v_head_dim": v,
        "n_routed_experts": 8, "n_shared_experts": 2,
        "moe_intermediate_size": 512 // scale, "first_k_dense_replace": 1,
        "moe_layer_freq": 1, "n_group": 1, "topk_group": 1,
        "topk_method": "greedy", "num_experts_per_tok": 2, "vocab_size": 2003,
        "scoring_func": "softmax", "tie_word_embeddings": False,
        "norm_topk_prob": True, "routed_scaling_factor": 1.0,
        "torch_dtype": "bfloat16", "hidden_act": "silu"}
    specs = [("lm_head.weight", (2003, hidden)),
             ("model.embed_tokens.weight", (2003, hidden)),
             ("model.norm.weight", (hidden,))]

    def mlp(at, width):
        for name in ("gate_proj", "up_proj"):
            yield f"{at}.{name}.weight", (width, hidden)
        yield f"{at}.down_proj.weight", (hidden, width)

    for i in range(layers):
        at = f"model.layers.{i}"
        attn = f"{at}.self_attn"
        specs += [
            (f"{at}.input_layernorm.weight", (hidden,)),
            (f"{at}.post_attention_layernorm.weight", (hidden,)),
            (f"{attn}.q_a_proj.weight", (q_rank, hidden)),
            (f"{attn}.q_a_layernorm.weight", (q_rank,)),
            (f"{attn}.q_b_proj.weight", (heads * (nope + rope), q_rank)),
            (f"{attn}.kv_a_proj_with_mqa.weight", (kv_rank + rope, hidden)),
            (f"{attn}.kv_a_layernorm.weight", (kv_rank,)),
            (f"{attn}.kv_b_proj.weight", (heads * (nope + v), kv_rank)),
            (f"{attn}.o_proj.weight", (hidden, heads * v))]
        if i == 0:
            specs += mlp(f"{at}.mlp", inner)
            continue
        specs += [(f"{at}.mlp.gate.weight", (8, hidden)),
                  *mlp(f"{at}.mlp.shared_experts", 1024 // scale)]
        for e in range(8):
            specs += mlp(f"{at}.mlp.experts.{e}", 512 // scale)
    made = ck.hf_sharded(folder / "models" / "mla",
                         [ck.Spec(n, "BF16", s) for n, s in specs], seed, 2)
    (made.path / "config.json").write_text(json.dumps(config))
    return made


def read_rank(where, rank, out):
    got = {}
    for name in sorted(os.listdir(where / str(rank))):
        got[name] = (where / str(rank) / name).read_bytes()
    out[rank] = got


def read_together(where, ranks=range(TP)):
    """{rank: {name: bytes}}, each read by a thread of its own."""
    out = {}
    threads = [threading.Thread(target=read_rank, args=(where, r, out))
               for r in ranks]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(out) == sorted(ranks)
    return out


def right(llama, got):
    for rank, tensors in got.items():
        want = llama.rank(TP, rank)
        assert sorted(tensors) == sorted(want)
        for name, (_, _, data) in want.items():
            assert tensors[name] == data, (rank, name)


def size_of(path):
    return sum(p.stat().st_size for p in path.glob("*.safetensors"))


def source_bytes(m, name):
    return m.model(name)["source_bytes"]


def arena_is_no_larger_than_the_layout(m, name):
    used = m.status()["arena"]["used"]
    assert used <= 1.1 * m.model(name)["tensor_bytes"]


def test_all_ranks_at_once_read_each_byte_once(mount, folder, llama,
                                               passthrough):
    m = passthrough(mount(*WHOLE, models=folder / "models"))
    where = m.path / f"llama@tp{TP}"
    os.listdir(where)
    before = source_bytes(m, "llama")
    got = read_together(where)
    read = source_bytes(m, "llama") - before
    arena_is_no_larger_than_the_layout(m, f"llama@tp{TP}")
    right(llama, got)
    assert read <= 1.05 * size_of(llama.path), (
        read / size_of(llama.path), m.status()["chunk_cache"])


def test_ranks_with_latent_attention_read_each_byte_once(
        mount, folder, seed, passthrough):
    made = mla(folder, seed)
    m = passthrough(mount(*WHOLE, models=folder / "models"))
    where = m.path / f"mla@tp{TP}"
    os.listdir(where)
    before = source_bytes(m, "mla")
    read_together(where)
    read = source_bytes(m, "mla") - before
    arena_is_no_larger_than_the_layout(m, f"mla@tp{TP}")
    assert read <= 1.05 * size_of(made.path), (
        read / size_of(made.path), m.status()["chunk_cache"])


def test_one_rank_after_another_read_each_byte_once(mount, folder, llama,
                                                    passthrough):
    m = passthrough(mount(*WHOLE, models=folder / "models"))
    where = m.path / f"llama@tp{TP}"
    os.listdir(where)
    before = source_bytes(m, "llama")
    for rank in range(TP):
        right(llama, read_together(where, [rank]))
    read = source_bytes(m, "llama") - before
    assert read <= 1.05 * size_of(llama.path)


def test_a_rank_alone_leaves_nothing_behind(mount, folder, llama, passthrough):
    m = passthrough(mount(*WHOLE, "ranks=2", models=folder / "models"))
    right(llama, read_together(m.path / f"llama@tp{TP}", [2]))
    assert m.status()["chunk_cache"]["chunks"] == 0
    assert m.status()["chunk_cache"]["fetched_bytes"] == 0


def test_chunks_go_when_the_ranks_of_this_node_have_had_them(
        mount, folder, llama, passthrough):
    m = passthrough(mount(*WHOLE, "ranks=2-3",
                          models=folder / "models"))
    where = m.path / f"llama@tp{TP}"
    right(llama, read_together(where, [2]))
    kept = m.status()["chunk_cache"]["chunks"]
    right(llama, read_together(where, [3]))
    assert kept > 0
    assert m.status()["chunk_cache"]["chunks"] < kept


def test_evicting_all_drops_the_chunks(mount, folder, llama, passthrough):
    m = passthrough(mount(*WHOLE, models=folder / "models"))
    right(llama, read_together(m.path / f"llama@tp{TP}", [2]))
    assert m.status()["chunk_cache"]["chunks"] > 0
    m.evict()
    assert m.status()["chunk_cache"]["chunks"] == 0


def test_without_room_for_chunks_the_bytes_are_right(mount, folder, llama):
    m = mount("nodigests", "chunk_cache=1", models=folder / "models")
    right(llama, read_together(m.path / f"llama@tp{TP}"))
    assert m.status()["chunk_cache"]["bytes"] == 0


def test_chunks_that_make_room_under_readers_are_right(mount, folder, llama):
    m = mount("nodigests", "chunk_cache=2M", models=folder / "models")
    right(llama, read_together(m.path / f"llama@tp{TP}"))
    assert m.status()["chunk_cache"]["bytes"] == 2 << 20


def test_a_layout_without_an_arena_shares_chunks_too(mount, folder, llama):
    m = mount("passthrough=off", models=folder / "models")
    right(llama, read_together(m.path / f"llama@tp{TP}"))
    assert m.status()["chunk_cache"]["served_bytes"] > 0


NORM = "model.norm.weight"  # whole on each rank


@pytest.fixture
def orders(folder):
    """write(text) gives the faulty source its orders."""
    path = folder / "orders"

    def write(text):
        (folder / "orders.new").write_text(text)
        os.rename(folder / "orders.new", path)
    write("")
    write.path = path
    return write


def open_all(where, name):
    """What each rank's read of a tensor came to: bytes or an errno."""
    out = {}

    def run(rank):
        try:
            out[rank] = (where / str(rank) / name).read_bytes()
        except OSError as e:
            out[rank] = e.errno
    threads = [threading.Thread(target=run, args=(r,)) for r in range(TP)]
    for t in threads:
        t.start()
    return threads, out


def test_far_sources_are_read_once_too(mount, folder, llama, orders):
    orders("nodescriptor\ndelay_ms 1\n")
    m = mount(*WHOLE, models=folder / "models", faults=orders.path)
    where = m.path / f"llama@tp{TP}"
    os.listdir(where)
    before = source_bytes(m, "llama")
    right(llama, read_together(where))
    read = source_bytes(m, "llama") - before
    assert read <= 1.05 * size_of(llama.path), (
        read / size_of(llama.path), m.status())


def test_what_fails_fails_for_all_and_works_afterwards(mount, folder, llama,
                                                       orders):
    m = mount("nodigests", models=folder / "models", faults=orders.path)
    where = m.path / f"llama@tp{TP}"
    os.listdir(where)
    orders("delay_ms 200\neio .safetensors\n")
    threads, out = open_all(where, NORM)
    for t in threads:
        t.join()
    assert set(out.values()) == {errno.EIO}
    orders("")
    threads, out = open_all(where, NORM)
    for t in threads:
        t.join()
    want = llama.tensor(NORM).tobytes()
    assert all(data == want for data in out.values())


def test_ranks_that_wait_for_a_source_that_hangs_get_on_when_it_does(
        mount, folder, llama, orders):
    m = mount("nodigests", models=folder / "models", faults=orders.path)
    where = m.path / f"llama@tp{TP}"
    os.listdir(where)
    orders("hang .safetensors\n")
    threads, out = open_all(where, NORM)
    wait_until(lambda: m.status()["chunk_cache"]["waited"] > 0,
               "a rank waits for another's fetch")
    assert not out
    orders("")
    for t in threads:
        t.join()
    want = llama.tensor(NORM).tobytes()
    assert all(data == want for data in out.values())


def test_a_mount_ends_while_ranks_wait_for_a_source(mount, folder, llama,
                                                    orders):
    m = mount("nodigests", models=folder / "models", faults=orders.path)
    where = m.path / f"llama@tp{TP}"
    os.listdir(where)
    orders("hang .safetensors\n")
    threads, out = open_all(where, NORM)
    wait_until(lambda: m.status()["chunk_cache"]["waited"] > 0,
               "a rank waits for another's fetch")
    ended = threading.Thread(target=m.terminate)
    ended.start()
    for t in threads:
        t.join()
    assert all(isinstance(e, int) for e in out.values()), out
    orders("")
    ended.join()
