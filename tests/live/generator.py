# SPDX-License-Identifier: Apache-2.0
"""A small Llama of torch, cut as an engine's ranks have it, which serves what
it computes with and never stops generating.

    python generator.py torch OPTIONS_JSON < orders > answers

Options: "model", a folder with its config; "ranks", its directories, one for
each rank of `layout`; "core", the only one that torch gets; "seed", arguments
of weightfs.Seed, or nothing is served; "ballast", MiB that are served and not
computed with.  It says {"url", "regions"}; for each line then which
continuations of the prompt it has come to, how many tokens it made since it was
asked last, and in how many seconds.
"""
import json
import os
import select
import sys
import time

import torch
import weightfs

PROMPT, TOKENS = [1, 5, 17, 101, 333], 6


def norm(x, weight, epsilon):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight


def rotated(x, base):
    """Positions, of (heads, tokens, elements)."""
    half = x.shape[-1] // 2
    turns = base ** (-torch.arange(half, dtype=x.dtype) / half)
    angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * turns
    a, b = x[..., :half], x[..., half:]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Llama:
    """Its ranks compute one after the other, and their parts are added: in
    double precision, so that no size of it decides which token it is."""

    def __init__(self, config, ranks):
        self.config, self.ranks = config, ranks
        self.head = config["head_dim"]

    def of(self, rank, name):
        return rank[name + ".weight"].double()

    def rows(self, name):
        """Of all ranks, without what fills up the last."""
        return torch.cat([self.of(r, name) for r in self.ranks])[
            :self.config["vocab_size"]]

    def attention(self, x, rank, at):
        heads = self.of(rank, at + "o_proj").shape[1] // self.head
        qkv = x @ self.of(rank, at + "qkv_proj").T
        qkv = qkv.view(len(x), -1, self.head).transpose(0, 1)
        keys = (len(qkv) - heads) // 2
        q, k = (rotated(part, 10000.0)
                for part in (qkv[:heads], qkv[heads:heads + keys]))
        k, v = (part.repeat_interleave(heads // keys, 0)
                for part in (k, qkv[heads + keys:]))
        scores = q @ k.transpose(1, 2) / self.head ** 0.5
        later = torch.ones(len(x), len(x)).triu(1).bool()
        scores = scores.masked_fill(later, float("-inf")).softmax(-1)
        return (scores @ v).transpose(0, 1).reshape(len(x), -1) @ (
            self.of(rank, at + "o_proj").T)

    def mlp(self, x, rank, at):
        gate, up = (x @ self.of(rank, at + "gate_up_proj").T).chunk(2, -1)
        return gate * gate.sigmoid() * up @ self.of(rank, at + "down_proj").T

    def next(self, tokens):
        epsilon = self.config["rms_norm_eps"]
        x = self.rows("model.embed_tokens")[tokens]
        for i in range(self.config["num_hidden_layers"]):
            at = f"model.layers.{i}."
            for part, inside, before in (
                    (self.attention, "self_attn.", "input_layernorm"),
                    (self.mlp, "mlp.", "post_attention_layernorm")):
                y = norm(x, self.of(self.ranks[0], at + before), epsilon)
                x = x + sum(part(y, rank, at + inside) for rank in self.ranks)
        x = norm(x[-1], self.of(self.ranks[0], "model.norm"), epsilon)
        return int((self.rows("lm_head") @ x).argmax())


def serve(ranks, options, config):
    seed = weightfs.Seed(**options["seed"])
    served = seed.model("llama", engine="vllm", engine_version="0.32",
                        layout="tp%d" % len(ranks), state="loaded",
                        one_name=True)
    served.add_file("config.json", config.encode())
    for number, rank in enumerate(ranks):
        served.add(rank, number)
    served.publish()
    return served


def ballast(mib):
    part = 1 << 24  # elements: 64 MiB
    return {f"ballast.{i}": torch.full((part,), float(i))
            for i in range(mib // 64)}


def say(**what):
    print(json.dumps(what), flush=True)


def generate(llama):
    """Tokens, and each continuation once it is whole."""
    while True:
        tokens = list(PROMPT)
        for _ in range(TOKENS):
            tokens.append(llama.next(tokens))
            yield None
        yield tokens


def main():
    options = json.loads(sys.argv[2])
    torch.set_num_threads(1)
    with open(options["model"] + "/config.json", encoding="utf-8") as file:
        config = file.read()
    # Memory of its own, as that of a device would be.
    ranks = [{name: tensor.clone() for name, tensor in
              weightfs.load_file(path).items()} for path in options["ranks"]]
    ranks[0].update(ballast(options.get("ballast", 0)))
    served = serve(ranks, options, config) if "seed" in options else None
    if "core" in options:  # after threads that serve were begun, and may roam
        os.sched_setaffinity(0, [options["core"]])
    say(url=served and served.url, regions=served and served.regions)
    said, made, since = [], 0, time.monotonic()
    for whole in generate(Llama(json.loads(config), ranks)):
        made += whole is None
        if whole and whole not in said:
            said.append(whole)
        if said and select.select([sys.stdin], [], [], 0)[0]:
            if not sys.stdin.readline():
                return
            say(said=said, tokens=made, seconds=time.monotonic() - since)
            made, since = 0, time.monotonic()


if __name__ == "__main__":
    main()
