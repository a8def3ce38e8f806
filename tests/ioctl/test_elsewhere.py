# SPDX-License-Identifier: Apache-2.0
"""Files that are put together, and files that are not on this node yet."""
import os
import sys
from pathlib import Path

import pytest

for _part in ("plan", "remote"):
    sys.path.insert(0, str(Path(__file__).parents[1] / _part))
import calls  # noqa: E402
import checkpoints as ck  # noqa: E402
from fake_seed import FakeSeed  # noqa: E402
from mounts import assert_same  # noqa: E402
from small_llama import Llama  # noqa: E402


def filled(path, seal=True):
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        with calls.Passer.of(fd) as passer:
            target = calls.Target(passer, size, seal)
            calls.fill(fd, target.slot, [(0, 0, size)])
            data = target.bytes()
            target.close()
        return data
    finally:
        os.close(fd)


@pytest.mark.parametrize("options", [(), ("arena_size=2M",),
                                     ("passthrough=off",)])
def test_files_of_a_layout(mount, folder, seed, options):
    llama = Llama(folder / "llama", seed=seed)
    llama.write()
    m = mount(*options, llama=llama.path)
    plain = mount("passthrough=off", llama=llama.path)
    paths = [p.relative_to(m.path)
             for p in sorted((m.path / "llama@tp2").rglob("*"))
             if p.is_file() and p.stat().st_size]
    assert len(paths) > 20
    for i, path in enumerate(paths):
        assert_same(filled(m.path / path, i % 2 == 0),
                    (plain.path / path).read_bytes(), str(path))


def test_files_of_a_seed_are_fetched_once(mount, folder, seed):
    model = ck.hf_sharded(folder / "model", ck.layers(6, 3_000_002), seed)
    one = FakeSeed(m=model.path)
    m = mount(args=("--seed", one.url))
    try:
        for rank, name, place in model.tensors():
            assert_same(filled(m.path / "m" / rank / name), place.read(),
                        name)
        chunks = [r for r in one.requests if r[1]]  # headers are asked for
        assert len(chunks) == len(set(chunks)), "each chunk is fetched once"
    finally:
        one.close()
