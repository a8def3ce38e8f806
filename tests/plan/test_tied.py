# SPDX-License-Identifier: Apache-2.0
"""Embeddings that config.json ties, in a checkpoint that has a head too."""
import json
import struct

import pytest

import truth

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@pytest.fixture(params=["llama_tied", "gemma2", "gemma3", "qwen3"])
def family(request):
    return request.param


def with_head(family, folder):
    """The family's checkpoint and a head of its own, and its one file."""
    spec = truth.read(family)["spec"]
    assert HEAD not in spec["tensors"]
    spec["tensors"][HEAD] = spec["tensors"][EMBEDDING]
    model = truth.make(spec, folder / family)
    return model, model / "model.safetensors"


def copy_tensor(path, source, to):
    raw = bytearray(path.read_bytes())
    size = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + size])
    begin, end = (8 + size + at for at in head[source]["data_offsets"])
    where, stop = (8 + size + at for at in head[to]["data_offsets"])
    raw[where:stop] = raw[begin:end]
    path.write_bytes(raw)


def test_a_head_that_is_a_copy_is_left_out(family, folder, weightfs):
    model, path = with_head(family, folder)
    copy_tensor(path, EMBEDDING, HEAD)
    done = weightfs("export", "--part-size=0", f"{model}@tp2", folder / "out")
    assert done.returncode == 0
    for file in truth.read(family)["truth"]["tp2"]["files"]:
        assert truth.digest(folder / "out" / file["name"]) == file["sha256"]


def test_a_head_that_is_another_is_refused(family, folder, weightfs):
    model, _ = with_head(family, folder)
    done = weightfs("export", f"{model}@tp2", folder / "out")
    assert done.returncode != 0
    for word in HEAD, EMBEDDING, "tie_word_embeddings":
        assert word in done.stderr
