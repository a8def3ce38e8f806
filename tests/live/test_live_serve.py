# SPDX-License-Identifier: Apache-2.0
"""A process serves the tensors that it holds, a mount reads them."""
import json
import urllib.request

import pytest

import checkpoints as ck
import mounts

CONFIG = '{"architectures": ["LlamaForCausalLM"]}\n'
SPECS = [ck.Spec("embed.weight", "F32", (1024, 600)),
         ck.Spec("layers.0.norm.weight", "F16", (600,)),
         ck.Spec("layers.0.proj.weight", "F32", (700, 900)),
         ck.Spec("layers.1.proj.weight", "I32", (33, 50, 7)),
         ck.Spec("step", "I64", ())]


def get(url, path):
    with urllib.request.urlopen(url + path) as answer:
        return answer.read()


def manifest(engine, model="m"):
    return json.loads(get(engine.url, f"/v1/models/{model}/manifest"))


@pytest.fixture
def held(folder, seed):
    """What an engine holds: {rank: file}, and the bytes of each tensor."""
    made = ck.sharded_state(folder / "held", SPECS, seed, ranks=2, parts=1)
    return made


def files_of(held):
    return {rank: held.path / f"model-rank-{rank}-part-0.safetensors"
            for rank in (0, 1)}


def same_tensors(one, two):
    for tensor in sorted(two.iterdir()):
        mounts.assert_same((one / tensor.name).read_bytes(),
                           tensor.read_bytes(), str(tensor))


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_mount_reads_what_a_process_holds(engine, mount, held, kind):
    strided = ["layers.0.proj.weight", "layers.1.proj.weight"]
    e = engine(files_of(held), kind=kind, strided=strided,
               files={"config.json": CONFIG}, serve={"layout": "tp2"})
    local = mount(held=held)
    m = mount(args=["--seed", e.url])
    assert (m.path / "m/config.json").read_text() == CONFIG
    for rank in "01":
        same_tensors(m.path / "m" / rank, local.path / "held" / rank)
