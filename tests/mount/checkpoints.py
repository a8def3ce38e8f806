# SPDX-License-Identifier: Apache-2.0
"""Writes checkpoints by hand: safetensors files with known random bytes.

Nothing of the product and no safetensors library is used, so that what a
mount shows is compared with something that was made independently.  A
checkpoint's bytes follow from its seed.
"""
import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8,
    "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8,
    "F8_E4M3FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32,
    "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}
MIB = 1 << 20


@dataclass(frozen=True)
class Spec:
    """A tensor to be written."""
    name: str
    dtype: str = "BF16"
    shape: tuple = ()

    @property
    def nbytes(self):
        count = 1
        for dim in self.shape:
            count *= dim
        assert count * BITS[self.dtype] % 8 == 0, self
        return count * BITS[self.dtype] // 8


@dataclass(frozen=True)
class Place:
    """Where a tensor's bytes lie."""
    file: Path
    offset: int
    size: int
    dtype: str
    shape: tuple

    def read(self):
        with open(self.file, "rb") as f:
            f.seek(self.offset)
            return f.read(self.size)


@dataclass
class Checkpoint:
    path: Path
    ranks: dict = field(default_factory=dict)  # rank -> {name: Place}

    def files(self):
        """Every regular file below, relative; but the lists of digests,
        which nobody vouches for and a proven model does not show."""
        return sorted(
            str(Path(top, name).relative_to(self.path))
            for top, _, names in os.walk(self.path, followlinks=True)
            for name in names if name != "weightfs.digests.lists")

    def shards(self):
        return sorted(f for f in self.files() if f.endswith(".safetensors"))

    def tensors(self):
        for rank, tensors in self.ranks.items():
            for name, place in tensors.items():
                yield rank, name, place

    @property
    def tensor_bytes(self):
        return sum(p.size for _, _, p in self.tensors())


def of_bytes(name, size, dtype="BF16"):
    """A tensor of `size` bytes."""
    return Spec(name, dtype, (size * 8 // BITS[dtype],))


def random_bytes(seed, size):
    return np.random.Generator(np.random.PCG64(seed)).bytes(size)


def header(specs, metadata=None, pad=8):
    """The header of a file of these tensors, with its length in front."""
    head, at = {}, 0
    if metadata is not None:
        head["__metadata__"] = metadata
    for spec in specs:
        head[spec.name] = {"dtype": spec.dtype, "shape": list(spec.shape),
                           "data_offsets": [at, at + spec.nbytes]}
        at += spec.nbytes
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False)
    return with_length(text.encode(), pad)


def with_length(text, pad=8):
    text += b" " * (-len(text) % pad)
    return struct.pack("<Q", len(text)) + text


def write_safetensors(path, specs, seed, metadata=None, pad=8):
    """Writes the file; {name: Place} in file order."""
    head = header(specs, metadata, pad)
    path.parent.mkdir(parents=True, exist_ok=True)
    places, at = {}, len(head)
    with open(path, "wb") as f:
        f.write(head)
        for i, spec in enumerate(specs):
            f.write(random_bytes([seed, i], spec.nbytes))
            places[spec.name] = Place(path, at, spec.nbytes, spec.dtype,
                                      tuple(spec.shape))
            at += spec.nbytes
    return places


def write_side_files(path, seed=0):
    """What lies beside the weights, in a sub-directory too."""
    (path / "config.json").write_text(
        '{"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"}\n')
    (path / "tokenizer.json").write_bytes(random_bytes([seed, 77], 300_001))
    (path / "1_Pooling").mkdir(exist_ok=True)
    (path / "1_Pooling" / "config.json").write_text('{"dim": 384}\n')
    (path / "empty.txt").write_bytes(b"")


def hf_single(path, specs, seed, metadata=None):
    path.mkdir(parents=True, exist_ok=True)
    places = write_safetensors(path / "model.safetensors", specs, seed,
                               metadata)
    write_side_files(path, seed)
    return Checkpoint(path, {"0": places})


def spread(specs, parts):
    """`parts` lists, consecutive, of about the same number of tensors."""
    cuts = [len(specs) * i // parts for i in range(parts + 1)]
    return [specs[a:b] for a, b in zip(cuts, cuts[1:])]


def hf_sharded(path, specs, seed, parts=3, index=True):
    path.mkdir(parents=True, exist_ok=True)
    rank, weight_map = {}, {}
    for i, part in enumerate(spread(specs, parts)):
        name = f"model-{i + 1:05}-of-{parts:05}.safetensors"
        places = write_safetensors(path / name, part, seed + i)
        rank.update(places)
        weight_map.update(dict.fromkeys(places, name))
    if index:
        write_index(path, weight_map)
    write_side_files(path, seed)
    return Checkpoint(path, {"0": rank})


def write_index(path, weight_map):
    (path / "model.safetensors.index.json").write_text(json.dumps(
        {"metadata": {"total_size": 0}, "weight_map": weight_map}, indent=1))


def sharded_state(path, specs, seed, ranks=2, parts=2, stages=None):
    """vLLM's dump, with `stages` in its second file pattern."""
    path.mkdir(parents=True, exist_ok=True)
    out = {}
    for stage in range(stages or 1):
        for rank in range(ranks):
            name = f"pp-{stage}-tp-{rank}" if stages else str(rank)
            stem = (f"model-pp-{stage}-tp-{rank}" if stages
                    else f"model-rank-{rank}")
            out[name] = {}
            for i, part in enumerate(spread(specs, parts)):
                out[name].update(write_safetensors(
                    path / f"{stem}-part-{i}.safetensors", part,
                    seed + 1000 * stage + 100 * rank + i))
    write_side_files(path, seed)
    return Checkpoint(path, out)


def hub_snapshot(cache, repo, revision, specs, seed, ref=None):
    """A snapshot in a hub cache: links into the blobs beside it."""
    top = cache / ("models--" + repo.replace("/", "--"))
    snapshot, blobs = top / "snapshots" / revision, top / "blobs"
    plain = hf_single(top / f".plain-{revision}", specs, seed)
    for name in plain.files():
        blob = blobs / f"{revision}-{abs(hash(name)):x}"
        blobs.mkdir(parents=True, exist_ok=True)
        os.replace(plain.path / name, blob)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    for sub, _, _ in os.walk(plain.path, topdown=False):
        os.rmdir(sub)
    if ref:
        (top / "refs").mkdir(exist_ok=True)
        (top / "refs" / ref).write_text(revision)
    real = snapshot / "model.safetensors"
    return Checkpoint(snapshot, {"0": {
        name: Place(real, p.offset, p.size, p.dtype, p.shape)
        for name, p in plain.ranks["0"].items()}})


def layers(count, size, dtype="BF16", prefix="model.layers"):
    """`count` tensors of `size` bytes, named as transformers name them."""
    parts = ("self_attn.q_proj", "self_attn.k_proj", "mlp.gate_proj",
             "mlp.down_proj")
    return [of_bytes(f"{prefix}.{i // 4}.{parts[i % 4]}.weight", size, dtype)
            for i in range(count)]


def every_dtype():
    """One tensor of each dtype, and the odd shapes there are."""
    specs = [Spec(f"of.{d}", d, (3, 8)) for d in BITS]
    specs += [
        Spec("scalar", "F32", ()),
        Spec("nothing", "F32", (0,)),
        Spec("nothing.wide", "BF16", (7, 0, 3)),
        Spec("one", "U8", (1,)),
        Spec("odd", "U8", (4097,)),
        Spec("six.bits", "F6_E2M3", (4,)),
        Spec("four.bits", "F4", (2,)),
        Spec("big", "F64", (1024, 640)),
    ]
    return specs


def many(path, count, files, seed):
    """`count` tensors of 16 bytes in `files` files without an index."""
    specs = [Spec(f"model.layers.{i // 100:04}.experts.{i % 100:02}.weight",
                  "BF16", (8,)) for i in range(count)]
    return hf_sharded(path, specs, seed, parts=files, index=False)


# Broken files.  Each takes the folder of a good hf_single or hf_sharded
# checkpoint apart; the name says what is wrong.

def truncated(path):
    file = path / "model.safetensors"
    os.truncate(file, file.stat().st_size - 1)


def rewrite_header(path, change, tail=None):
    """Replaces the JSON text of model.safetensors by change(text)."""
    file = path / "model.safetensors"
    data = file.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    body = data[8 + size:] if tail is None else tail
    file.write_bytes(with_length(change(data[8:8 + size]), 1) + body)


def change_json(path, change):
    def edit(text):
        head = json.loads(text)
        change(head)
        return json.dumps(head).encode()
    rewrite_header(path, edit)
