# SPDX-License-Identifier: Apache-2.0
"""A family of models that nobody has, and what its engine makes of them.

Names, sizes and which of the known things the engine does follow from a seed.
The reference is slow and obvious: whole tensors, cut by numpy.  Each part of
a model adds its tensors to the checkpoint and says, as a function of tp and
rank, what the engine has of them.
"""
import json
import random
import string

import numpy as np

from small_llama import write_file

KINDS = {"BF16": "<u2", "F16": "<f2", "F32": "<f4", "I32": "<i4"}


def split(array, tp, rank, dim=0):
    return np.split(array, tp, axis=dim)[rank]


def to_f32(bf16):
    return (bf16.astype("<u4") << 16).view("<f4")


def to_bf16(f32):
    """To the nearest, ties to even."""
    bits = f32.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


class Family:
    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        pick = self.chance.choice
        self.layers = pick([2, 3, 4, 5])
        self.heads = pick([4, 8])
        self.kv = pick([k for k in (1, 2, 4, 8) if k <= self.heads])
        self.head = pick([8, 16, 24])
        self.hidden = pick([64, 72, 96])
        self.inner = 4 * pick([11, 13, 22, 40])
        self.expert_inner = 4 * pick([4, 7, 9])
        self.experts = pick([3, 5, 6])
        self.vocab = pick([331, 517, 640, 1003])
        self.everywhere = pick([True, False])
        self.words = set()
        self.checkpoint = {}  # name: (dtype, array)
        self.parts = []  # (name, layer or where, function of tp, rank)
        self.stem, self.engine_stem = self.word(), self.word()
        self.build()

    # ---- names and numbers

    def word(self):
        while True:
            letters = self.chance.choices(string.ascii_lowercase, k=3)
            w = "".join(letters) + self.chance.choice(
                ["", "", "_proj", "7", "_x2"])
            if w not in self.words:
                self.words.add(w)
                return w

    def tensor(self, name, *shape, dtype="BF16"):
        """New random elements in the checkpoint, none of them odd."""
        n = self.numbers
        if dtype == "BF16":
            array = n.integers(0x3800, 0x3FFF, shape, "<u2")
            array |= n.integers(0, 2, shape, "<u2") << 15
        elif dtype == "I32":
            array = n.integers(-2**31, 2**31, shape, "<i4")
        else:
            array = n.standard_normal(shape).astype(KINDS[dtype])
        self.checkpoint[name] = dtype, array
        return array

    def make(self, name, layer, function, dtype="BF16"):
        self.parts.append((name, layer, dtype, function))

    # ---- what there is

    def build(self):
        """Words first: they are the same in every layer."""
        self.names = {key: (f"{self.word()}.{self.word()}", self.word())
                      for key in "qkvoguden"}
        self.options = {key: self.chance.random() < p for key, p in (
            ("bias", .5), ("fused_mlp", .4), ("fused_qkv", .2),
            ("transposed", .4), ("stacked", .4), ("cast_router", .5),
            ("scale", .4), ("dense", .4), ("drop", .5), ("merged", .3),
            ("apart", .3))}
        self.order = self.chance.sample("kv", 2)
        for i in range(self.layers):
            self.attention(i)
            self.norms(i)
            if self.options["dense"] and i < self.layers // 2:
                self.mlp(i)
            else:
                self.moe(i)
        self.ends()

    def ours(self, i, key, tail="weight"):
        return f"{self.stem}.{i}.{self.names[key][0]}.{tail}"

    def theirs(self, i, key, tail="weight"):
        return f"{self.engine_stem}.blocks.{i}.{self.names[key][1]}.{tail}"

    def kv_heads(self, array, tp, rank):
        if self.kv >= tp:
            return split(array, tp, rank)
        return split(array, self.kv, rank // (tp // self.kv))

    def attention(self, i):
        rows = {"q": self.heads * self.head, "k": self.kv * self.head,
                "v": self.kv * self.head}
        order = ["q", *self.order]
        if self.options["fused_qkv"]:
            whole = self.tensor(self.ours(i, "q"), sum(rows.values()),
                                self.hidden)
            cuts = np.cumsum([rows[x] for x in order])[:-1]
            parts = dict(zip(order, np.split(whole, cuts)))
        else:
            parts = {x: self.tensor(self.ours(i, x), rows[x], self.hidden)
                     for x in order}
        self.make(self.theirs(i, "q"), i, self.fuse_qkv(parts))
        if self.options["bias"] and not self.options["fused_qkv"]:
            parts = {x: self.tensor(self.ours(i, x, "bias"), rows[x])
                     for x in order}
            self.make(self.theirs(i, "q", "bias"), i, self.fuse_qkv(parts))
        out = self.tensor(self.ours(i, "o"), self.hidden, rows["q"])
        self.make(self.theirs(i, "o"), i,
                  lambda tp, r: split(out, tp, r, 1))
        one = np.float32(1)
        self.make(f"{self.engine_stem}.blocks.{i}.one", i,
                  lambda tp, r: np.asarray(one), "F32")
        if self.options["drop"]:
            self.tensor(f"{self.stem}.{i}.nobody", 5, dtype="F32")

    def fuse_qkv(self, parts):
        return lambda tp, r: np.concatenate([
            split(parts["q"], tp, r),
            *(self.kv_heads(parts[x], tp, r) for x in self.order)])

    def norms(self, i):
        norm = self.tensor(self.ours(i, "n"), self.hidden)
        self.make(self.theirs(i, "n"), i, lambda tp, r: norm)
        if self.options["scale"]:
            scale = self.tensor(self.ours(i, "n", "scale"), self.hidden,
                                dtype="F16")
            self.make(self.theirs(i, "n", "scale"), i,
                      lambda tp, r: to_bf16(scale.astype("<f4")))

    def mlp(self, i):
        if self.options["fused_mlp"]:
            gate, up = np.split(self.tensor(
                self.ours(i, "g"), 2 * self.inner, self.hidden), 2)
        else:
            gate, up = (self.tensor(self.ours(i, x), self.inner, self.hidden)
                        for x in "gu")
        down = self.tensor(self.ours(i, "d"), self.hidden, self.inner)
        self.make(self.theirs(i, "g"), i, lambda tp, r: np.concatenate(
            [split(gate, tp, r), split(up, tp, r)]))
        self.make(self.theirs(i, "d"), i,
                  lambda tp, r: split(down, tp, r, 1))

    def experts_of(self, i, key, *shape):
        """Each in a tensor of its own, or all in one."""
        if self.options["stacked"]:
            if self.options["merged"]:
                return self.tensor(self.ours(i, "e", key), self.experts,
                                   shape[0], shape[1] // 4, 4).reshape(
                    self.experts, *shape)
            return self.tensor(self.ours(i, "e", key), self.experts, *shape)
        return np.stack([self.tensor(
            f"{self.stem}.{i}.{self.names['e'][0]}.{e}.{key}", *shape)
            for e in range(self.experts)])

    def experts_apart(self, i):
        """An engine that keeps them as they are."""
        for e in range(self.experts):
            at = f"{self.names['e'][0]}.{e}"
            gate, up = (self.tensor(
                f"{self.stem}.{i}.{at}.{x}", self.expert_inner, self.hidden)
                for x in ("g9", "u9"))
            down = self.tensor(f"{self.stem}.{i}.{at}.d9", self.hidden,
                               self.expert_inner)
            to = f"{self.engine_stem}.blocks.{i}.{self.names['e'][1]}.{e}"
            self.make(f"{to}.w13", i,
                      lambda tp, r, a=gate, b=up: np.concatenate(
                          [split(a, tp, r), split(b, tp, r)]))
            self.make(f"{to}.w2", i,
                      lambda tp, r, a=down: split(a, tp, r, 1))
            self.make(f"{to}.two", i, lambda tp, r: np.full(
                (self.expert_inner // tp,), 0x4000, "<u2"))

    def moe(self, i):
        if self.options["apart"]:
            self.experts_apart(i)
            return
        turned = self.options["transposed"] and not self.options["merged"]
        gate = self.experts_of(i, "g9", *(
            (self.hidden, self.expert_inner) if turned else
            (self.expert_inner, self.hidden)))
        down = self.experts_of(i, "d9", *(
            (self.expert_inner, self.hidden) if turned else
            (self.hidden, self.expert_inner)))
        if turned:
            gate, down = gate.transpose(0, 2, 1), down.transpose(0, 2, 1)
        parts = [gate]
        if not self.options["stacked"]:
            up = self.experts_of(i, "u9", *(
                (self.hidden, self.expert_inner) if turned else
                (self.expert_inner, self.hidden)))
            parts.append(up.transpose(0, 2, 1) if turned else up)
        self.make(self.theirs(i, "e", "w13"), i,
                  lambda tp, r: np.concatenate(
                      [split(x, tp, r, 1) for x in parts], 1))
        self.make(self.theirs(i, "e", "w2"), i,
                  lambda tp, r: split(down, tp, r, 2))
        router = self.tensor(self.ours(i, "e", "router"), self.experts,
                             self.hidden)
        if self.options["cast_router"]:
            self.make(self.theirs(i, "e", "router"), i,
                      lambda tp, r: to_f32(router), "F32")
        else:
            self.make(self.theirs(i, "e", "router"), i,
                      lambda tp, r: router)

    def ends(self):
        def padded(array):
            return lambda tp, r: split(np.pad(
                array, ((0, -len(array) % 64), (0, 0))), tp, r)
        names = [self.word() for _ in range(3)]
        embed = self.tensor(f"{names[0]}.weight", self.vocab, self.hidden)
        head = self.tensor(f"{names[1]}.weight", self.vocab, self.hidden)
        norm = self.tensor(f"{names[2]}.weight", self.hidden)
        first, last = ("all", "all") if self.everywhere else ("first", "last")
        self.make(f"{self.word()}.weight", first, padded(embed))
        self.make(f"{self.word()}.weight", last, padded(head))
        self.make(f"{self.word()}.weight", last, lambda tp, r: norm)

    # ---- what is written

    def write(self, folder):
        folder.mkdir()
        write_file(folder / "model.safetensors", {
            name: (dtype, list(array.shape), array.tobytes())
            for name, (dtype, array) in self.checkpoint.items()})
        (folder / "config.json").write_text(json.dumps({
            "architectures": ["InventedForCausalLM"],
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv, "head_dim": self.head,
            "hidden_size": self.hidden, "intermediate_size": self.inner,
            "moe_intermediate_size": self.expert_inner,
            "num_experts": self.experts, "vocab_size": self.vocab,
            "torch_dtype": "bfloat16"}))
        return folder

    def stage_of(self, layer, pp):
        """Those left over go to the stages before the last, from the back."""
        each, rest = divmod(self.layers, pp)
        counts = [each + (pp - 1 - s <= rest and s < pp - 1)
                  for s in range(pp)]
        return next(s for s in range(pp) if layer < sum(counts[:s + 1]))

    def rank(self, tp, rank, pp=1, stage=0):
        """{name: (dtype, shape, bytes)}"""
        out = {}
        for name, where, dtype, function in self.parts:
            if isinstance(where, int):
                here = self.stage_of(where, pp) == stage
            else:
                here = (where == "all" or (where == "first" and stage == 0)
                        or (where == "last" and stage == pp - 1))
            if here:
                array = function(tp, rank)
                out[name] = dtype, list(array.shape), array.tobytes()
        return out

    def files(self, tp, pp=1):
        """{name: tensors} of every file of a layout."""
        return {(f"model-pp-{s}-tp-{r}-part-0.safetensors" if pp > 1 else
                 f"model-rank-{r}-part-0.safetensors"):
                self.rank(tp, r, pp, s)
                for s in range(pp) for r in range(tp)}

    def dump(self, folder, tp, pp=1):
        folder.mkdir()
        for name, tensors in self.files(tp, pp).items():
            write_file(folder / name, tensors)
        return folder
