# SPDX-License-Identifier: Apache-2.0
"""What engines' plugins do, without an engine: `make peers` has real ones."""
import pytest

from small_llama import Llama

FILL = """
from weightfs import _engine
path = _engine.directory_of(sys.argv[1], "tp2")
print(path.rsplit("/", 1)[1])
rank = _engine.rank_of(1, 0, 1)
want = weightfs.load_file(path, rank=rank)
state = {n: torch.zeros(t.shape, dtype=t.dtype) for n, t in want.items()}
padded = next(n for n, t in want.items() if t.ndim == 2)
rows = want[padded].shape[0]
state[padded] = torch.zeros(rows + 5, want[padded].shape[1],
                            dtype=want[padded].dtype)
_engine.fill(state, path, rank)
assert not state[padded][rows:].any()
state[padded] = state[padded][:rows]
print(digests(state) == digests(want))
del state[padded]
try:
    _engine.fill(state, path, rank)
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


@pytest.fixture
def llama(mount, folder, seed):
    Llama(folder / "llama", seed=seed).write()
    return mount(llama=folder / "llama").path / "llama"


def test_a_rank_is_read_into_parameters(llama, run):
    assert run(FILL, llama).split("\n") == ["llama@tp2", "True", "True"]


def test_what_an_engine_loaded_is_served_to_a_mount(llama, mount, start):
    child = start(PLUGIN, llama)
    assert child.line() == "True", child.end()
    served = mount(args=["--seed", child.line()])
    assert served.path.joinpath("llama").is_dir()
    child.say()
    child.end()
