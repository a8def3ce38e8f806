# SPDX-License-Identifier: Apache-2.0
"""Is what weightfs makes what real vLLM makes, of checkpoints made at random?

usage: shuffled.py [--seed N] CASES [FAMILY...]

Each case is a family of families.py with heads, sizes, layers, experts and a
vocabulary of its own, and a layout.  Both export it, and whole files are
compared.  What both refuse is right; that weightfs alone refuses is wrong, but
for more stages than layers; that the engine alone refuses is only shown, since
it also refuses what its kernels or its checks of config.json cannot do.
"""
import argparse
import collections
import math
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "plan"), str(HERE.parent / "mount")]
import families  # noqa: E402
import mounts  # noqa: E402
import truth  # noqa: E402

EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts")
SIZES = {"intermediate_size": (96, 120, 176, 192, 384),
         "moe_intermediate_size": (40, 48, 96, 144),
         "shared_expert_intermediate_size": (48, 80, 96),
         "n_shared_experts": (1, 2, 3)}


def shuffle(config, r):
    """The config with other numbers."""
    c, heads = dict(config), r.choice((2, 4, 6, 8, 12))
    latent = "kv_lora_rank" in c
    c["num_attention_heads"] = heads
    c["num_key_value_heads"] = heads if latent else r.choice(
        [n for n in range(1, heads + 1) if heads % n == 0])
    c["hidden_size"] = heads * 32
    if "head_dim" in c:
        c["head_dim"] = r.choice((32, 64))
    elif not latent:
        c["hidden_size"] = heads * r.choice((32, 64))
    c["vocab_size"] = r.randint(65, 400)
    c["num_hidden_layers"] = r.randint(2, 6)
    if "layer_types" in c:
        kinds = config["layer_types"] * 3
        c["layer_types"] = kinds[:c["num_hidden_layers"]]
    for key in EXPERTS:
        if key in c:
            c[key] = r.choice((4, 5, 8, 9))
    for key, sizes in SIZES.items():
        if c.get(key):
            c[key] = r.choice(sizes)
    return c


def layout(c, r):
    """tp and pp, mostly such as divide what has to be divided."""
    heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
    rows = math.ceil(c["vocab_size"] / 64) * 64
    fit = [n for n in (1, 2, 3, 4, 6, 8, 12)
           if heads % n == rows % n == 0 and (kv % n == 0 or n % kv == 0)]
    if r.random() < 0.1:
        fit = (1, 2, 3, 4, 6, 8)
    return r.choice(fit), r.choice((1, 1, 2, 3))


def engines(model, tp, pp, out):
    """Why the engine refuses, or None."""
    import sharded
    out.mkdir()
    try:
        sharded.save(model, tp, pp, out)
    except Exception as e:  # of whatever kind it likes
        return f"{type(e).__name__}: {e}".split("\n")[-1]
    return None


def ours(model, tp, pp, out):
    done = subprocess.run(
        [mounts.PROGRAM, "export", "--part-size=0",
         f"{model}@tp{tp}pp{pp}", out], capture_output=True, text=True,
        check=False)
    return done.stderr.strip() if done.returncode else None


def digests(folder):
    return {path.name: truth.digest(path)
            for path in folder.glob("*.safetensors")}


def case(family, r):
    """What came of one, what it was, and why it was refused if it was."""
    make, config, *options = families.FAMILIES[family]
    config = shuffle(config, r)
    families.FAMILIES["shuffled"] = (make, config, *options)
    spec, _ = families.spec("shuffled")
    tp, pp = layout(config, r)
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="weightfs-truth-",
                                     dir=shm) as folder:
        folder = Path(folder)
        model = truth.make(spec, folder / "model")
        theirs = engines(model, tp, pp, folder / "theirs")
        why = ours(model, tp, pp, folder / "ours")
        if theirs and why:
            what = "both refuse"
        elif theirs:
            what = "the engine refuses"
        elif why:
            what = ("both refuse" if pp > config["num_hidden_layers"]
                    else "WEIGHTFS REFUSES")
        else:
            what = ("the same" if digests(folder / "theirs")
                    == digests(folder / "ours") else "DIFFERENT")
    changed = {k: v for k, v in config.items()
               if families.FAMILIES[family][1].get(k) != v}
    return what, f"{family} tp{tp}pp{pp} {changed}", theirs or why


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=20264)
    parser.add_argument("cases", type=int)
    parser.add_argument("families", nargs="*", metavar="FAMILY")
    args = parser.parse_args()
    r, counts = random.Random(args.seed), collections.Counter()
    names = args.families or sorted(families.FAMILIES)
    for _ in range(args.cases):
        what, which, why = case(r.choice(names), r)
        counts[what] += 1
        if what not in ("the same", "both refuse"):
            print(f"  {what}: {which}: {why}", flush=True)
    print(f"shuffled, seed {args.seed}:",
          ", ".join(f"{n} {what}" for what, n in counts.most_common()))
    sys.exit(1 if counts["DIFFERENT"] + counts["WEIGHTFS REFUSES"] else 0)


if __name__ == "__main__":
    main()
