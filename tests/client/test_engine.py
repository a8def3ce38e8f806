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

VLLM = """
import os
sys.path.insert(0, sys.argv[1])
import fake_vllm
fake_vllm.install()
os.environ["WEIGHTFS_SERVE"] = "127.0.0.1:0"
from weightfs import vllm as plugin
plugin.register()
want, new = (weightfs.load_file(path + "@tp1", rank=0)
             for path in sys.argv[2:4])
model = fake_vllm.load(sys.argv[2], want)
served = model.weightfs_served
print(digests(model.tensors) == digests(want))
print(served.url, flush=True)
sys.stdin.readline()
worker = fake_vllm.SleepyWorker(model)
def there():
    return not served.model.closed and served.model.epoch % 2 == 0
"""

RELOADED = """
import os
os.environ.update(WEIGHTFS_SERVE_VERSION="v1", WEIGHTFS_SERVE_DIGESTS="1")
""" + VLLM + """
worker.reload_weights(new.items())
print(there(), flush=True)
sys.stdin.readline()
served.close()
worker.reload_weights(want.items())
print(served.model.closed)
print(hasattr(fake_vllm.load(sys.argv[2], want, enable_eplb=True),
              "weightfs_served"))
"""

CHANGED = VLLM + """
met = []
model.seen = lambda: met.append(there())
def after(*does):
    # Is it served when it is half changed, after each step, and once the
    # engine computed with it?
    met.clear()
    said = []
    for do, *args in does:
        try:
            do(*args)
        except (KeyError, TypeError):
            said.append("failed")
        said.append(there())
    assert not any(met), met
    worker.execute_model(None)
    print(*said, there())
epoch = served.model.epoch
after((worker.reload_weights, new.items()))
assert served.model.epoch == epoch + 2
after((worker.reload_weights, new.items(), False))
after((model.load_weights, list(new.items())[:1]),
      (model.load_weights, list(new.items())[1:]))
after((worker.reload_weights, [("none", None)]))
after((worker.start_weight_update,), (worker.update_weights, new.items()),
      (worker.execute_model, None), (worker.finish_weight_update,))
after((worker.start_weight_update,), (worker.update_weights, None))
after((worker.sleep, 1), (worker.wake_up, ["kv_cache"]),
      (worker.wake_up, ["weights"]))
after((worker.sleep, 2), (worker.wake_up,),
      (worker.reload_weights, new.items()))
after((worker.sleep, 2), (worker.execute_model, None), (worker.wake_up,))
after((model.load_weights, []), (worker.sleep, 1), (worker.wake_up,))
with served.update():
    worker.execute_model(None)
    print(there())
print(there())
was, model.tensors = served.model, {n: t.clone() for n, t in new.items()}
worker.reload_weights(new.items())
print(was.closed, there(), served.model.name)
name = next(iter(new))
model.tensors[name] = torch.zeros(3, device="meta")
worker.finish_weight_update()
print(served.model.closed)
model.tensors[name] = new[name]
worker.finish_weight_update()
print(there())
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
    return model.weightfs_served.model.epoch
fake_sglang.WeightUpdater(model).update_weights_from_tensor(
    [(sys.argv[3], None)], "weightfs.sglang.reload")
print(epoch())
first.forward(None)
print(digests(model.tensors) == digests(new), epoch(), flush=True)
sys.stdin.readline()
updater = fake_sglang.WeightUpdater(model)
updater.begin_weight_update()
for _ in range(2):
    updater.load_weights_from_distributed([])
    first.forward(None)
print(epoch())
updater.end_weight_update(run_post_load=False)
print(epoch())
print(updater.update_weights_from_disk("", "auto")[0], epoch())
print(updater.update_weights_from_disk("", "broken")[0], epoch())
first.forward(None)
print(epoch())
manager = fake_sglang.SchedulerWeightUpdaterManager(first)
for tags in ["kv_cache"], None, ["weights"]:
    what = types.SimpleNamespace(tags=tags)
    manager.release_memory_occupation(what)
    closed = model.weightfs_served.model.closed
    manager.resume_memory_occupation(what)
    print(closed, model.weightfs_served.model.closed)
    updater.begin_weight_update()
    updater.load_weights_from_distributed(new.items())
    updater.end_weight_update(run_post_load=False)
    print(epoch())
draft = runner().model.weightfs_served
print(draft.model.name, draft.url == model.weightfs_served.url)
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


def is_that_of(served, llama, name):
    norm = "0/model.norm.weight"
    try:
        return (served.path / "llama" / norm).read_bytes() == (
            llama.parent / name / norm).read_bytes()
    except OSError:  # in between there is none, or it is stale
        return False


def said_of(served, *words):
    """Of each version that there still is."""
    return [[row["live"][word] for word in words]
            for row in served.status()["models"]]


def start_vllm(start, code, llama):
    child = start(code, os.path.dirname(__file__), llama,
                  llama.parent / "new")
    assert child.line() == "True", child.end()
    return child, child.line()


def test_what_vllm_loads_and_reloads_is_served(llama, mount, start):
    """With a pretended vLLM."""
    child, url = start_vllm(start, RELOADED, llama)
    served = mount("rescan=0.2", args=["--seed", url])
    assert is_that_of(served, llama, "llama")
    assert said_of(served, "declared", "digests") == [["v1", True]]
    child.say()
    assert child.line() == "True"
    mounts.wait_until(lambda: is_that_of(served, llama, "new"),
                      "the new weights are served")
    assert [None, True] in said_of(served, "declared", "digests")
    child.say()
    assert child.end().split("\n") == ["True", "False"]


def test_what_vllm_changes_is_served_once_it_is_whole(llama, start):
    child, _ = start_vllm(start, CHANGED, llama)
    child.say()
    assert child.end().split("\n") == [
        "True True",                            # reloaded
        "True True",                            # as it lies there
        "False False True",                     # piece by piece
        "failed False True",                    # half reloaded
        "False False False True True",          # a session
        "False failed False True",              # one that failed
        "False False True True",                # slept, and kept it
        "False False True True",                # slept, and reloaded it
        "False False False True",               # slept, and did not say how
        "False False False True",               # in the midst of pieces
        "False", "True",                        # by hand
        "True True llama",                      # moved
        "True", "True"]                         # none, and back again


def test_what_sglang_loads_and_changes_is_served(llama, mount, start):
    """With a pretended SGLang."""
    child = start(SGLANG, os.path.dirname(__file__), llama,
                  llama.parent / "new")
    assert child.line() == "True 1 1", child.end()
    served = mount("rescan=0.2", args=["--seed", child.line()])
    (row,) = served.status()["models"]
    assert row["live"]["layout"] == "tp1"
    assert is_that_of(served, llama, "llama")
    child.say()
    assert child.line() == "1"
    assert child.line() == "True 2"
    mounts.wait_until(lambda: is_that_of(served, llama, "new"),
                      "the new weights are served")
    child.say()
    assert child.end().split("\n") == [
        "3", "4", "True 6", "False 7", "8",
        "False False", "0",                     # they were put elsewhere
        "True True", "0", "True True", "0", "llama.2 True"]
