# SPDX-License-Identifier: Apache-2.0
"""Layouts against what the engine itself wrote, byte for byte."""
import os
import random
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

import mounts
import truth

# Of several shapes and input scales of one layer, all but one; what only says
# in which order inputs are, when they are in order.
NOT_LOOKED_AT = re.compile(
    r"\.g_idx$|\.(q|k|gate|w1|kv_a)(_proj.*)?\.weight_shape$"
    r"|\.experts\.\d+\.(gate_proj|w1)\.input_scale$")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    made = {}

    def make(family):
        if family not in made:
            made[family] = truth.make(
                truth.read(family)["spec"],
                tmp_path_factory.mktemp("truth") / family)
        return made[family]
    return make


@pytest.fixture
def folder():
    """In memory if it can be: hundreds of exports wait for the disk."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
            prefix="weightfs-truth-",
            dir=shm if os.access(shm, os.W_OK) else None) as path:
        yield Path(path)


def export(*args):
    return subprocess.run([mounts.PROGRAM, "export", *map(str, args)],
                          capture_output=True, text=True,
                          timeout=mounts.DEADLINE)


def exported(*args):
    done = export(*args)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("family, name, layout", list(truth.layouts()))
def test_files_equal_the_engines_own(checkpoint, folder, family, name, layout):
    wanted = truth.read(family)["truth"][name]["files"]
    exported("--part-size=0", f"{checkpoint(family)}@{layout}", folder / "out")
    for file in wanted:
        path = folder / "out" / file["name"]
        # Tensor by tensor first: that says what is wrong.
        assert truth.tensors_of(path) == file["tensors"]
        assert path.stat().st_size == file["size"]
        assert truth.digest(path) == file["sha256"]
    got = {path.name for path in (folder / "out").glob("*.safetensors")}
    assert got == {file["name"] for file in wanted}


@pytest.mark.parametrize("family, name, layout", list(truth.layouts()))
def test_raw_tensors_equal_the_engines_own(checkpoint, folder, family, name,
                                           layout):
    exported("--raw", f"{checkpoint(family)}@{layout}", folder / "out")
    for file in truth.read(family)["truth"][name]["files"]:
        rank = folder / "out" / truth.rank_of(file["name"])
        got = {path.name: truth.digest(path) for path in rank.iterdir()}
        assert got == {row[0]: row[3] for row in file["tensors"]}


@pytest.mark.parametrize("family", truth.families())
def test_the_model_with_one_tensor_more_is_refused_by_its_name(
        folder, family):
    spec = truth.read(family)["spec"]
    name = "model.layers.0.self_attn.surprise.weight"
    spec["tensors"][name] = {"dtype": "BF16", "shape": [4]}
    model = truth.make(spec, folder / "model")
    refused = export(f"{model}@tp1", folder / "out")
    assert refused.returncode != 0
    assert name in refused.stderr


@pytest.mark.parametrize("family", truth.families())
def test_the_model_without_any_one_tensor_is_refused_by_its_name(
        folder, family, seed):
    spec = truth.read(family)["spec"]
    gone = random.Random(f"{seed} {family}").choice(sorted(
        name for name in spec["tensors"] if not NOT_LOOKED_AT.search(name)))
    del spec["tensors"][gone]
    model = truth.make(spec, folder / "model")
    refused = export(f"{model}@tp1", folder / "out")
    assert refused.returncode != 0
    assert gone in refused.stderr


@pytest.mark.parametrize("family", truth.families())
def test_ranks_that_do_not_divide_are_refused(checkpoint, folder, family):
    refused = export(f"{checkpoint(family)}@tp3", folder / "out")
    assert refused.returncode != 0
    assert "3 ranks" in refused.stderr
