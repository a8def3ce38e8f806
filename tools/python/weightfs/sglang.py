# SPDX-License-Identifier: Apache-2.0
"""SGLang's plugin, found by itself once this package is installed.

load_format="weightfs" reads this worker's tensors from a mount, straight to
where its parameters lie on a CPU, from mapped files to a device elsewhere:

    sglang serve --model-path /weights/llama --load-format weightfs --tp 2

WEIGHTFS_SERVE=HOST:PORT in the environment has each worker serve its weights,
however they were loaded, at that port and those after it, a new version once
SGLang has changed them, and none while their memory is released.  With
--custom-weight-loader weightfs.sglang.reload it takes others from a mount:

    engine.update_weights_from_tensor([("/weights/new", torch.empty(0))],
                                      load_format="weightfs.sglang.reload")
"""
import functools
import os

from . import _engine, _served

INITIALIZE = "sglang.srt.model_loader.loader._initialize_model"
RUNNER = "sglang.srt.model_executor.model_runner.ModelRunner."
UPDATER = ("sglang.srt.model_executor.model_runner_components.weight_updater."
           "WeightUpdater.")
WHOLE = "update_weights_from_disk", "update_weights_from_ipc"
PIECES = "update_weights_from_tensor", "load_weights_from_distributed"
SESSION = "begin_weight_update", "end_weight_update"
MANAGER = ("sglang.srt.managers.scheduler_components.weight_updater."
           "SchedulerWeightUpdaterManager.")


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
    """Before SGLang looks for it among its own; a class is taken as it is."""
    if config.load_format == "weightfs":
        config.load_format = _loader()


def _serve(_, runner, *__, **___):
    """After a runner has its weights; some startups fetch them later."""
    import sglang
    if runner.startup_weight_load is None:
        _engine.serve_model(runner.model, runner.model_config.model_path,
                            _parallel(), runner.model_config.quantization,
                            engine="sglang", engine_version=sglang.__version__)


def _change(original, updater, *args, **named):
    """Of all of them: what it says begins with whether it went well."""
    served = _served.All(updater.get_model())
    with served.changing(whole=False):
        result = original(updater, *args, **named)
    if original.__name__ in WHOLE and result[0]:
        served.settle()
    return result


def _session(original, updater, **named):
    begins = original.__name__ == SESSION[0]
    with _served.All(updater.get_model()).changing(not begins, lambda: begins):
        return original(updater, **named)


def _compute(runner, *_, **__):
    _served.All(runner.model).settle()


def _weights_of(manager, request):
    """Of a scheduler's models, if they are what goes or comes back."""
    weights = not request.tags or "weights" in request.tags
    runners = manager._select_runners() if weights else []
    return _served.All(*(runner.model for _, runner in runners))


def _release(manager, recv_req):
    _weights_of(manager, recv_req).sleep(keeps=False)


def _resume(_, manager, recv_req):
    _weights_of(manager, recv_req).wake()


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
    # Its weights are where they will be.
    hook(INITIALIZE, lambda model, *_, **__: _engine.note(model),
         HookType.AFTER)
    for name in "load_model", "finalize_startup_weight_load":
        hook(RUNNER + name, _serve, HookType.AFTER)
    hook(RUNNER + "forward", _compute, HookType.BEFORE)
    for name in WHOLE + PIECES:
        hook(UPDATER + name, _change, HookType.AROUND)
    for name in SESSION:
        hook(UPDATER + name, _session, HookType.AROUND)
    hook(MANAGER + "release_memory_occupation", _release, HookType.BEFORE)
    hook(MANAGER + "resume_memory_occupation", _resume, HookType.AFTER)
