# SPDX-License-Identifier: Apache-2.0
"""As much of vLLM as its plugin touches: `make peers` has the real one.

Names, and the order in which things happen, are those of vLLM 0.32.0.
"""
import sys
import types

import torch

MADE = {}
GROUP = types.SimpleNamespace(rank_in_group=0, world_size=1)


class Model(torch.nn.Module):
    """Tensors like these; `seen` is called when they are half changed."""

    def __init__(self, tensors):
        super().__init__()
        self.tensors = {n: torch.zeros_like(t) for n, t in tensors.items()}
        self.seen = lambda: None

    def state_dict(self, *_, **__):
        return dict(self.tensors)

    def load_weights(self, weights):
        self.seen()
        for name, tensor in weights:
            self.tensors[name].copy_(tensor)


class BaseModelLoader:
    def load_model(self, vllm_config, model_config, prefix=""):
        model = Model(vllm_config.tensors)
        self.load_weights(model, model_config)
        return model


class ShardedStateLoader(BaseModelLoader):
    @staticmethod
    def _filter_subtensors(state):
        return state


class WorkerBase:
    pass


class Worker(WorkerBase):
    """Of a GPU."""

    def __init__(self, model):
        self.model_runner = types.SimpleNamespace(
            model=model, get_model=lambda: model)
        self._weight_update_active = False

    def reload_weights(self, weights_iterator, is_checkpoint_format=True):
        model = self.model_runner.model
        if is_checkpoint_format:
            model.load_weights(weights_iterator)
        else:
            Model.load_weights(model, weights_iterator)

    def start_weight_update(self):
        self._weight_update_active = True

    def update_weights(self, update_info):
        try:
            Model.load_weights(self.model_runner.model, update_info)
        except BaseException:
            self._weight_update_active = False
            raise

    def finish_weight_update(self):
        self._weight_update_active = False

    def execute_model(self, scheduler_output):
        pass

    def wake_up(self, tags=None):
        pass


class SleepyWorker(Worker):
    """One whose class has something of its own."""

    def sleep(self, level=1):
        self.model_runner.model.seen()


def _module(name, **members):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
    vars(sys.modules[name]).update(members)
    return sys.modules[name]


def install():
    """From now on it can be imported."""
    loaders = _module(
        "vllm.model_executor.model_loader", BaseModelLoader=BaseModelLoader,
        register_model_loader=lambda form: lambda kind: MADE.__setitem__(
            form, kind))
    _module("vllm.model_executor.model_loader.sharded_state_loader",
            ShardedStateLoader=ShardedStateLoader)
    _module("vllm", __version__="0.32.0")
    _module("vllm.model_executor", model_loader=loaders)
    _module("vllm.distributed", get_tp_group=lambda: GROUP,
            get_pp_group=lambda: GROUP)
    _module("vllm.v1")
    base = _module("vllm.v1.worker.worker_base", WorkerBase=WorkerBase)
    _module("vllm.v1.worker", worker_base=base)


def load(path, tensors, **parallel):
    """A model that was read from there."""
    parallel = {"enable_eplb": False, "data_parallel_index": 0, **parallel}
    config = types.SimpleNamespace(
        tensors=tensors, parallel_config=types.SimpleNamespace(**parallel))
    return MADE["weightfs"]().load_model(config, types.SimpleNamespace(
        model=path, quantization=None))
