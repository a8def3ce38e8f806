# SPDX-License-Identifier: Apache-2.0
"""Random checkpoints of several families against a reference in numpy."""
import random

import pytest

import hf_reference
import truth
from small_models import FAMILIES, Model, random_config

ROUNDS = 3


def ranks(tp, pp):
    """(directory, part of a file's name, stage, rank)"""
    for stage in range(pp):
        for rank in range(tp):
            yield (f"model-pp-{stage}-tp-{rank}" if pp > 1
                   else f"model-rank-{rank}"), stage, rank


def assert_is(folder, want, tp, pp):
    for name, stage, rank in ranks(tp, pp):
        rows = truth.tensors_of(folder / f"{name}-part-0.safetensors")
        got = {row[0]: row[1:] for row in rows}
        assert got == want(stage, rank), f"{folder.name}: {name}"


@pytest.mark.parametrize("family", FAMILIES)
def test_layouts_of_random_models_are_what_the_reference_says(
        folder, seed, weightfs, family):
    rng = random.Random(f"{seed} {family}")
    for i in range(ROUNDS):
        most = rng.choice([1, 2, 3, 4, 6, 8])
        model = Model(random_config(rng, family, most))
        print(model.config)
        path = truth.make(model.spec, folder / f"m{i}")
        for tp in {1, most, rng.choice([t for t in range(1, most + 1)
                                        if most % t == 0])}:
            kv = model.config["num_key_value_heads"]
            if kv % tp and tp % kv:
                continue
            pp = rng.randint(1, model.config["num_hidden_layers"])
            layout = f"tp{tp}" + (f"pp{pp}" if pp > 1 else "")
            for hf in "", "+hf":
                out = folder / f"m{i}@{layout}{hf}"
                done = weightfs("export", "--part-size=0",
                                f"{path}@{layout}{hf}", out)
                assert done.returncode == 0, done.stderr
                assert_is(out, lambda stage, rank: hf_reference.rank_of(
                    model.spec, tp, pp, stage, rank) if hf
                    else model.rank_of(tp, pp, stage, rank), tp, pp)


@pytest.mark.parametrize("family", FAMILIES)
def test_ranks_that_do_not_divide_random_models_are_refused(
        folder, seed, weightfs, family):
    rng = random.Random(f"{seed} {family} odd")
    config = random_config(rng, family, 4)
    path = truth.make(Model(config).spec, folder / "m")
    for tp in 5, 7, 64:
        done = weightfs("export", f"{path}@tp{tp}", folder / "out")
        assert done.returncode == 1
        assert f"{tp} ranks" in done.stderr and "take a" in done.stderr
        assert not (folder / "out").exists()
