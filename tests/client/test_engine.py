# SPDX-License-Identifier: Apache-2.0
"""What engines' plugins do, without an engine: `make peers` has real ones."""
import os

import pytest

import mounts
from small_llama import Llama, write_dump

FILL = """
from weightfs import _engine
assert _engine.name_beside("a%b", ["a%b", "a%b.2"]) == "a%b.3"
path, tp = sys.argv[1], int(sys.argv[2])
here = (1, tp, 0, 1)
path = _engine.directory_of(path, tp, 1)
print(path.rsplit("/", 1)[1])
rank = _engine.rank_of(1, 0, 1)
want = weightfs.load_file(path, rank=rank)
state = {n: torch.zeros(t.shape, dtype=t.dtype) for n, t in want.items()}
padded = next(n for n, t in want.items() if t.ndim == 2)
rows = want[padded].shape[0]
state[padded] = torch.zeros(rows + 5, want[padded].shape[1],
                            dtype=want[padded].dtype)
_engine.fill(state, sys.argv[1], here)
assert not state[padded][rows:].any()
state[padded] = state[padded][:rows]
print(digests(state) == digests(want))
del state[padded]
try:
    _engine.fill(state, sys.argv[1], here)
except KeyError as error:
    print(padded in str(error))
"""

PLUGIN = """
import os, types
made = {}
class Sharded:
    @staticmethod
    def _filter_subtensors(state):
        return state
class Base:
    def load_model(self, vllm_config, model_config, prefix=""):
        self.load_weights(made["model"], model_config)
        return made["model"]
class Loader(Sharded, Base):
    pass
def module(name, **members):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(members)
    return sys.modules[name]
group = types.SimpleNamespace(rank_in_group=0, world_size=1)
loaders = module("vllm.model_executor.model_loader", BaseModelLoader=Base,
                 register_model_loader=lambda form: lambda kind:
                 made.__setitem__(form, kind))
module("vllm", __version__="0.32.0")
module("vllm.model_executor", model_loader=loaders)
module("vllm.distributed", get_tp_group=lambda: group,
       get_pp_group=lambda: group)
module("vllm.model_executor.model_loader.sharded_state_loader",
       ShardedStateLoader=Loader)
os.environ["WEIGHTFS_SERVE"] = "127.0.0.1:0"
from weightfs import vllm as plugin
plugin.register()
want = weightfs.load_file(sys.argv[1] + "@tp1", rank=0)
state = {n: torch.zeros_like(t) for n, t in want.items()}
made["model"] = types.SimpleNamespace(state_dict=lambda: state)
config = types.SimpleNamespace(model=sys.argv[1], quantization=None)
model = made["weightfs"]().load_model(None, config)
print(digests(state) == digests(want))
print(model.weightfs_served.url, flush=True)
sys.stdin.readline()
model.weightfs_served.close()
"""


SGLANG = """
import os, types
sys.path.insert(0, sys.argv[1])
import fake_sglang
fake_sglang.install()
os.environ["WEIGHTFS_SERVE"] = "127.0.0.1:0"
from weightfs import sglang as plugin
plugin.register()
fake_sglang.HookRegistry.apply_hooks()
want, new = (weightfs.load_file(path + "@tp1", rank=0)
             for path in sys.argv[2:4])
def runner():
    made = fake_sglang.ModelRunner(types.SimpleNamespace(
        model_path=sys.argv[2], revision=None, dtype=torch.bfloat16,
        quantization=None, tensors=want))
    made.load_model()
    return made
first = runner()
model = first.model
print(digests(model.tensors) == digests(want), model.processed,
      model.post_loads)
print(model.weightfs_served.url, flush=True)
sys.stdin.readline()
def epoch():
    return model.weightfs_served._served.epoch
fake_sglang.WeightUpdater(model).update_weights_from_tensor(
    [(sys.argv[3], None)], "weightfs.sglang.reload")
print(digests(model.tensors) == digests(new), epoch(), flush=True)
sys.stdin.readline()
updater = fake_sglang.WeightUpdater(model)
updater.begin_weight_update()
for _ in range(2):
    updater.load_weights_from_distributed([])
print(epoch())
updater.end_weight_update(run_post_load=False)
print(epoch())
draft = runner().model.weightfs_served
print(draft._served.name, draft.url == model.weightfs_served.url)
for name in "lm_head.weight", "model.norm.weight":
    updater.load_weights_from_distributed([(name, want[name])])
print([one.name for one in draft._served.seed.models],
      model.tensors["model.norm.weight"] is want["model.norm.weight"])
"""


@pytest.fixture
def llama(mount, folder, seed):
    for name, number in ("llama", seed), ("new", seed + 1):
        Llama(folder / name, seed=number).write()
    return mount(llama=folder / "llama", new=folder / "new").path / "llama"


def test_a_rank_is_read_into_parameters(llama, run):
    assert run(FILL, llama, 2).split("\n") == ["llama@tp2", "True", "True"]


def test_of_a_dump_the_ranks_are_taken_or_cut_anew(mount, folder, seed, run):
    made = Llama(folder / "made", seed=seed).write()
    dump = write_dump(folder / "dump", made, 2)
    (dump / "config.json").write_bytes(
        (folder / "made/config.json").read_bytes())
    path = mount(dump=dump).path / "dump"
    for tp, taken in (2, "dump"), (4, "dump@tp4"):
        assert run(FILL, path, tp).split("\n") == [taken, "True", "True"]


def test_what_an_engine_loaded_is_served_to_a_mount(llama, mount, start):
    child = start(PLUGIN, llama)
    assert child.line() == "True", child.end()
    served = mount(args=["--seed", child.line()])
    assert served.path.joinpath("llama").is_dir()
    child.say()
    child.end()


def test_what_sglang_loads_and_changes_is_served(llama, mount, start):
    """With a pretended SGLang."""
    child = start(SGLANG, os.path.dirname(__file__), llama,
                  llama.parent / "new")
    assert child.line() == "True 1 1", child.end()
    served = mount("rescan=0.2", args=["--seed", child.line()])
    (row,) = served.status()["models"]
    assert row["live"]["layout"] == "tp1"
    norm = "0/model.norm.weight"

    def is_that_of(name):
        try:
            return (served.path / "llama" / norm).read_bytes() == (
                llama.parent / name / norm).read_bytes()
        except OSError:  # in between there is none, or it is stale
            return False
    assert is_that_of("llama")
    child.say()
    assert child.line() == "True 2"
    mounts.wait_until(lambda: is_that_of("new"), "the new weights are served")
    child.say()
    assert child.end().split("\n") == [
        "3", "4", "llama.2 True", "['llama.2'] True"]
