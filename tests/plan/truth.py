# SPDX-License-Identifier: Apache-2.0
"""What real engines made of tiny checkpoints: tests/truth/<family>.json.

Each file says how to make the checkpoint (its tensors' bytes follow from
their names) and, for each layout, every file that the engine's sharded state
consists of: name, size, SHA-256, and each tensor's dtype, shape and SHA-256.
"""
import hashlib
import json
import re
import struct
import zlib

import numpy as np

from mounts import ROOT

FOLDER = ROOT / "tests/truth"
SIZE = {"BF16": 2, "F16": 2, "F32": 4, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8,
        "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
# dtype: type of the bits, mantissa, exponent, exponent of a norm's weight
FLOATS = {"BF16": ("<u2", 0x007F, 0x3C00, 0x3F00),
          "F16": ("<u2", 0x03FF, 0x2000, 0x3800),
          "F32": ("<u4", 0x007FFFFF, 0x3C000000, 0x3F000000)}


def families():
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read(family):
    return json.loads((FOLDER / f"{family}.json").read_text())


def layouts():
    """(family, the truth's name of the layout, its name in weightfs)"""
    for family in families():
        for name in read(family)["truth"]:
            pp = re.search(r"pp(\d+)", name)
            tp = re.search(r"tp(\d+)", name)
            yield (family, name, f"tp{tp[1] if tp else 1}"
                   + (f"pp{pp[1]}" if pp else ""))


def tensor_bytes(name, dtype, shape):
    """A function of the name, the dtype and the shape alone."""
    size = int(np.prod(shape, dtype=np.int64)) * SIZE[dtype]
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(
        (size + 7) // 8)
    raw = np.atleast_1d(raw).astype("<u8").tobytes()[:size]
    if dtype in FLOATS:
        bits, mantissa, exponent, norm = FLOATS[dtype]
        kind = np.dtype(bits)
        mask = mantissa
        if not name.endswith(("scale", "scales", "scale_inv")):
            mask |= 1 << (8 * kind.itemsize - 1)
        if name.endswith("norm.weight"):
            exponent = norm
        values = np.frombuffer(raw, kind)
        return ((values & mask) | exponent).astype(kind).tobytes()
    if dtype == "F8_E4M3":
        values = np.frombuffer(raw, "u1").copy()
        values[(values & 0x7F) == 0x7F] ^= 1  # no NaN
        return values.tobytes()
    return raw


def write_shard(path, tensors):
    head, at = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(tensors):
        t = tensors[name]
        size = int(np.prod(t["shape"], dtype=np.int64)) * SIZE[t["dtype"]]
        head[name] = {"dtype": t["dtype"], "shape": t["shape"],
                      "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(tensors):
            t = tensors[name]
            f.write(tensor_bytes(t.get("as", name), t["dtype"], t["shape"]))


def make(spec, folder):
    """The checkpoint of a specification, in a folder that is made."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(spec["config"]))
    for name, data in spec.get("files", {}).items():
        (folder / name).write_text(json.dumps(data))
    tensors, shards = spec["tensors"], spec.get("shards", 1)
    if shards == 1:
        write_shard(folder / "model.safetensors", tensors)
        return folder
    names, where = sorted(tensors), {}
    for i in range(shards):
        part = names[len(names) * i // shards:len(names) * (i + 1) // shards]
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        write_shard(folder / file, {name: tensors[name] for name in part})
        where.update(dict.fromkeys(part, file))
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": where}))
    return folder


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rank_of(file):
    """The rank's directory of one of the engine's files."""
    return re.match(r"model-(?:rank-)?(\d+|pp-\d+-tp-\d+)-part-", file)[1]


def tensors_of(path):
    """[[name, dtype, shape, SHA-256], …] in the order of the offsets."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + size])
    rows = sorted(head.items(), key=lambda row: row[1]["data_offsets"])
    return [[name, t["dtype"], t["shape"], hashlib.sha256(
        raw[8 + size:][slice(*t["data_offsets"])]).hexdigest()]
        for name, t in rows]
