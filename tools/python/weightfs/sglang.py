# SPDX-License-Identifier: Apache-2.0
"""SGLang's plugin, found by itself once this package is installed.

load_format="weightfs" reads this worker's tensors from a mount, straight to
where its parameters lie on a CPU, from mapped files to a device elsewhere:

    sglang serve --model-path /weights/llama --load-format weightfs --tp 2

WEIGHTFS_SERVE=HOST:PORT in the environment has each worker serve its weights,
however they were loaded, at that port and those after it; what SGLang changes
in them afterwards is a new version.  With --custom-weight-loader
weightfs.sglang.reload a running engine takes others from a mount:

    engine.update_weights_from_tensor([("/weights/new", torch.empty(0))],
                                      load_format="weightfs.sglang.reload")
"""
import functools
import os

from . import _engine

INITIALIZE = "sglang.srt.model_loader.loader._initialize_model"
RUNNER = "sglang.srt.model_executor.model_runner.ModelRunner."
UPDATER = ("sglang.srt.model_executor.model_runner_components."
           "weight_updater.WeightUpdater.")
UPDATES = ("update_weights_from_disk", "update_weights_from_tensor",
           "update_weights_from_ipc", "load_weights_from_distributed")


def _parallel():
    from sglang.srt.distributed import get_pp_group, get_tp_group
    return _engine.parallel_of(get_tp_group(), get_pp_group())


def _fill(model, path):
    from sglang.srt.model_loader import loader
    keep = loader.ShardedStateLoader._filter_subtensors
    _engine.fill(keep(model.state_dict()), path, _parallel())
    loader.post_load_weights(model)


@functools.lru_cache(maxsize=None)
def _loader():
    from sglang.srt.model_loader import loader

    class WeightfsLoader(loader.ShardedStateLoader):
        """As sharded_state, without its copy in between."""

        def load_model(self, *, model_config, device_config):
            import torch
            path = self._prepare_weights(model_config.model_path,
                                         model_config.revision)
            config = self.load_config
            quantised = loader._get_quantization_config(model_config, config)
            with loader.set_default_torch_dtype(model_config.dtype):
                with torch.device(device_config.device):
                    model = loader._initialize_model(model_config, config,
                                                     quantised)
                    for module in model.modules():
                        method = getattr(module, "quant_method", None)
                        if method is not None:
                            method.process_weights_after_loading(module)
                _fill(model, path)
            return model.eval()
    return WeightfsLoader


def reload(model, named_tensors):
    """For --custom-weight-loader: the names are paths, the tensors nothing."""
    for path, _ in named_tensors:
        _fill(model, path)


def _verify(config):
    """Before SGLang looks for the name of a load format among its own; a class
    is taken as it is."""
    if config.load_format == "weightfs":
        config.load_format = _loader()


def _note(model, *_, **__):
    """After a model was made, with its weights where they will be."""
    _engine.note(model)


def _serve(_, runner, *__, **___):
    """After a runner has its weights; some startups fetch them later."""
    import sglang
    if runner.startup_weight_load is None:
        _engine.serve_model(runner.model, runner.model_config.model_path,
                            _parallel(), runner.model_config.quantization,
                            engine="sglang", engine_version=sglang.__version__)


def _update(original, updater, *args, **named):
    with _engine.updating(updater.get_model()):
        return original(updater, *args, **named)


def _begin(updater, *_, **__):
    _engine.begin(updater.get_model())


def _end(original, updater, *args, **named):
    try:
        return original(updater, *args, **named)
    finally:
        _engine.end(updater.get_model())


def register():
    """The entry point."""
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType
    from sglang.srt.server_args import add_load_format_choices
    add_load_format_choices(["weightfs"])
    hook = HookRegistry.register
    hook("sglang.srt.configs.load_config.LoadConfig._verify_load_format",
         _verify, HookType.BEFORE)
    if not os.environ.get("WEIGHTFS_SERVE"):
        return
    hook(INITIALIZE, _note, HookType.AFTER)
    hook(RUNNER + "load_model", _serve, HookType.AFTER)
    hook(RUNNER + "finalize_startup_weight_load", _serve, HookType.AFTER)
    for name in UPDATES:
        hook(UPDATER + name, _update, HookType.AROUND)
    hook(UPDATER + "begin_weight_update", _begin, HookType.BEFORE)
    hook(UPDATER + "end_weight_update", _end, HookType.AROUND)
