# SPDX-License-Identifier: Apache-2.0
"""The factory of these tests, against the safetensors library itself."""
import pytest
from safetensors import SafetensorError, safe_open

import checkpoints as ck
import test_badinput

KNOWN = {"BOOL", "U8", "I8", "I16", "U16", "F16", "I32", "U32", "F32", "F64",
         "I64", "U64"}


def test_the_library_reads_what_the_factory_writes(folder, seed):
    model = ck.hf_single(folder / "m", ck.every_dtype(), seed,
                         metadata={"format": "pt"})
    with safe_open(model.path / "model.safetensors", "numpy") as f:
        assert sorted(f.keys()) == sorted(model.ranks["0"])
        for name, place in model.ranks["0"].items():
            part = f.get_slice(name)
            assert part.get_shape() == list(place.shape)
            assert part.get_dtype() == place.dtype
            if place.dtype in KNOWN:
                assert f.get_tensor(name).tobytes() == place.read()


def test_the_same_seed_gives_the_same_bytes(folder, seed):
    one = ck.hf_sharded(folder / "1", ck.layers(5, 1000), seed)
    two = ck.hf_sharded(folder / "2", ck.layers(5, 1000), seed)
    other = ck.hf_sharded(folder / "3", ck.layers(5, 1000), seed + 1)
    for name, place in one.ranks["0"].items():
        assert place.read() == two.ranks["0"][name].read()
        assert place.read() != other.ranks["0"][name].read()


@pytest.mark.parametrize("what", test_badinput.BAD)
def test_the_library_refuses_what_is_broken(folder, seed, what):
    test_badinput.damaged(folder, seed, what)
    if what == "a duplicate key":
        pytest.skip("the library takes the last of them")
    with pytest.raises((SafetensorError, OSError)):
        safe_open(folder / "bad" / "model.safetensors", "numpy")
