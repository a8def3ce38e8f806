# SPDX-License-Identifier: Apache-2.0
"""As much of SGLang as its plugin touches, where there is none.

SGLang needs a GPU and what is built for it.  Names, parameters and the order in
which things happen are those of SGLang 0.5.23; `make peers` holds them against
the source of the real one.
"""
import contextlib
import enum
import importlib
import inspect
import pkgutil
import sys
import types
from unittest import mock

import torch

VERSION = "0.5.23"
PARTS = {}


def part_of(module):
    """What it decorates is found in that module of SGLang's."""
    def put(thing):
        PARTS[module, thing.__name__] = thing
        return thing
    return put


@part_of("sglang.srt.plugins.hook_registry")
class HookType(enum.Enum):
    BEFORE = "before"
    AFTER = "after"
    AROUND = "around"
    REPLACE = "replace"


@part_of("sglang.srt.plugins.hook_registry")
class HookRegistry:
    _hooks = []

    @classmethod
    def register(cls, target, hook, hook_type=HookType.AFTER, *, source=None):
        cls._hooks.append((target, hook, hook_type))

    @classmethod
    def apply_hooks(cls):
        for target, hook, kind in cls._hooks:
            place, _, name = target.rpartition(".")
            place = pkgutil.resolve_name(place)
            setattr(place, name, hooked(getattr(place, name), hook, kind))


def hooked(plain, hook, kind):
    def before(*args, **named):
        args, named = hook(*args, **named) or (args, named)
        return plain(*args, **named)

    def after(*args, **named):
        result = plain(*args, **named)
        changed = hook(result, *args, **named)
        return result if changed is None else changed

    def around(*args, **named):
        return hook(plain, *args, **named)
    return {HookType.BEFORE: before, HookType.AFTER: after,
            HookType.AROUND: around}[kind]


FORMATS = ["auto", "sharded_state"]
PARTS["sglang.srt.server_args", "add_load_format_choices"] = FORMATS.extend


@part_of("sglang.srt.configs.load_config")
class LoadConfig:
    def __init__(self, load_format):
        assert load_format in FORMATS
        self.load_format = load_format
        self.__post_init__()

    def __post_init__(self):
        self._verify_load_format()

    def _verify_load_format(self):
        if isinstance(self.load_format, str):
            raise ValueError(f"no LoadFormat '{self.load_format}'")


LOADER = "sglang.srt.model_loader.loader"


@part_of(LOADER)
class BaseModelLoader:
    def __init__(self, load_config):
        self.load_config = load_config


@part_of(LOADER)
class ShardedStateLoader(BaseModelLoader):
    @staticmethod
    def _filter_subtensors(tensors):
        return tensors

    def _prepare_weights(self, model_name_or_path, revision):
        return model_name_or_path


@part_of(LOADER)
def get_model_loader(load_config, model_config=None):
    assert isinstance(load_config.load_format, type)
    return load_config.load_format(load_config)


@part_of(LOADER)
def _get_quantization_config(model_config, load_config):
    return None


@part_of(LOADER)
def _initialize_model(model_config, load_config, quant_config=None):
    return Model(model_config.tensors)


@part_of(LOADER)
def post_load_weights(model):
    model.post_loads += 1


@part_of("sglang.srt.model_loader.utils")
@contextlib.contextmanager
def set_default_torch_dtype(dtype):
    yield


class Model(torch.nn.Module):
    """Tensors like these, and a layer that looks at them before they are
    there."""

    def __init__(self, tensors):
        super().__init__()
        self.post_loads, self.processed = 0, 0
        self.tensors = {name: torch.zeros_like(t)
                        for name, t in tensors.items()}

    @property
    def quant_method(self):
        return self

    def state_dict(self, *_, **__):
        return dict(self.tensors)

    def process_weights_after_loading(self, layer):
        assert not any(t.any() for t in self.tensors.values())
        self.processed += 1


@part_of("sglang.srt.model_executor.model_runner")
class ModelRunner:
    def __init__(self, model_config):
        self.model_config = model_config
        self.startup_weight_load = None

    def load_model(self):
        loader = importlib.import_module(LOADER).get_model_loader(
            load_config=LoadConfig("weightfs"),
            model_config=self.model_config)
        # Of torch before 2 it is none that can be entered.
        with mock.patch.object(torch, "device", contextlib.nullcontext):
            self.model = loader.load_model(
                model_config=self.model_config,
                device_config=types.SimpleNamespace(device="cpu"))

    def finalize_startup_weight_load(self):
        self.startup_weight_load = None

    def forward(self, forward_batch, skip_attn_backend_init=None,
                pp_proxy_tensors=None, reinit_attn_backend=False,
                split_forward_count=1):
        pass


@part_of("sglang.srt.model_executor.model_runner_components.weight_updater")
class WeightUpdater:
    def __init__(self, model):
        self.get_model = lambda: model

    def begin_weight_update(self):
        pass

    def end_weight_update(self, *, run_post_load):
        pass

    def update_weights_from_disk(self, model_path, load_format,
                                 weight_name_filter=None,
                                 recapture_cuda_graph=False):
        for tensor in self.get_model().tensors.values():
            tensor.add_(1)
        return load_format != "broken", "as it went"

    def load_weights_from_distributed(self, named_tensors):
        self.get_model().tensors.update(named_tensors)

    def update_weights_from_tensor(self, named_tensors, load_format=None):
        module, _, name = load_format.rpartition(".")
        getattr(importlib.import_module(module), name)(self.get_model(),
                                                       named_tensors)

    def update_weights_from_ipc(self, recv_req):
        pass


@part_of("sglang.srt.managers.scheduler_components.weight_updater")
class SchedulerWeightUpdaterManager:
    def __init__(self, runner):
        self.runner = runner

    def _select_runners(self, selector="all"):
        return [("target", self.runner)]

    def release_memory_occupation(self, recv_req):
        if "weights" in (recv_req.tags or ["weights"]):
            for tensor in self.runner.model.tensors.values():
                tensor.zero_()

    def resume_memory_occupation(self, recv_req):
        pass


GROUP = types.SimpleNamespace(rank_in_group=0, world_size=1)


@part_of("sglang.srt.distributed.parallel_state")
def get_tp_group():
    return GROUP


@part_of("sglang.srt.distributed.parallel_state")
def get_pp_group():
    return GROUP


def parameters():
    """{(module, name): parameters} of every function that is pretended."""
    found = {}
    for (module, name), thing in PARTS.items():
        inside = vars(thing).items() if isinstance(thing, type) else []
        for path, part in [(name, thing), *(
                (f"{name}.{member}", part) for member, part in inside)]:
            part = getattr(part, "__func__", part)  # a static or class method
            if getattr(part, "__module__", None) == __name__ and \
                    inspect.isfunction(part) and not path.endswith("__init__"):
                found[module, path] = list(
                    inspect.signature(part).parameters)
    return found


def install():
    """From now on it can be imported."""
    names = {}
    for (module, name), thing in PARTS.items():
        names.setdefault(module, {})[name] = thing
    # Where the plugin looks for them, which is not where they are written.
    names["sglang.srt.distributed"] = names.pop(
        "sglang.srt.distributed.parallel_state")
    names[LOADER].update(names.pop("sglang.srt.model_loader.utils"))
    names["sglang"] = {"__version__": VERSION}
    for name, members in names.items():
        path = name.split(".")
        for depth in range(1, len(path) + 1):
            made = sys.modules.setdefault(
                ".".join(path[:depth]),
                types.ModuleType(".".join(path[:depth])))
            made.__path__ = []
            if depth > 1:
                setattr(sys.modules[".".join(path[:depth - 1])],
                        path[depth - 1], made)
        vars(sys.modules[name]).update(members)
