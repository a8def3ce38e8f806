# SPDX-License-Identifier: Apache-2.0
"""vLLM's plugin, found by itself once this package is installed.

load_format="weightfs" reads this worker's tensors from a mount, straight to
where its parameters lie on a CPU, from mapped files to a device elsewhere:

    vllm serve /weights/llama --load-format weightfs -tp 2    (llama@tp2)

WEIGHTFS_SERVE=HOST:PORT in the environment has each worker serve its weights,
however they were loaded, at that port and those after it; what vLLM changes in
them afterwards is a new version, and while it sleeps they are served to nobody.
"""
import functools
import logging
import os
import weakref

from . import _engine, _served

# What a worker is asked to do with its weights: to bring all of them, or some.
WHOLE = "reload_weights", "finish_weight_update"
PIECES = ("start_weight_update", "start_draft_weight_update", "update_weights",
          "reset_weights")
COMPUTES = ("execute_model",)  # nobody uses what a dummy batch computes


def _parallel():
    from vllm.distributed import get_pp_group, get_tp_group
    return _engine.parallel_of(get_tp_group(), get_pp_group())


def _loader():
    from vllm.model_executor.model_loader.sharded_state_loader import \
        ShardedStateLoader

    class WeightfsLoader(ShardedStateLoader):
        """As sharded_state, without its copy in between."""

        def load_weights(self, model, model_config):
            _engine.fill(self._filter_subtensors(model.state_dict()),
                         getattr(model_config, "model_weights", None)
                         or model_config.model, _parallel())
    return WeightfsLoader


def _of(worker):
    """What is served of a worker's models."""
    runner = worker.model_runner
    draft = getattr(runner, "get_draft_model", lambda: None)
    return _served.All(runner.get_model(), draft())


def _change(plain, worker, *args, whole=False, **named):
    with _of(worker).changing(whole, lambda: getattr(
            worker, "_weight_update_active", False)):
        return plain(worker, *args, **named)


def _compute(plain, worker, *args, **named):
    _of(worker).settle()
    return plain(worker, *args, **named)


def _sleep(plain, worker, level=1):
    _of(worker).sleep(keeps=level == 1)
    return plain(worker, level)


def _wake_up(plain, worker, tags=None):
    result = plain(worker, tags)
    if not tags or "weights" in tags:
        _of(worker).wake()
    return result


HOOKS = {**dict.fromkeys(WHOLE, functools.partial(_change, whole=True)),
         **dict.fromkeys(PIECES, _change),
         **dict.fromkeys(COMPUTES, _compute),
         "sleep": _sleep, "wake_up": _wake_up}


@functools.lru_cache(maxsize=None)
def _hook(worker):
    """A class of workers, whose methods may be its own or its base's."""
    for name in HOOKS.keys() & vars(worker).keys():
        setattr(worker, name, _served.hooked(vars(worker)[name],
                                             HOOKS[name]))


def _hook_all(base):
    _hook(base)
    for worker in base.__subclasses__():
        _hook_all(worker)


def _hook_model(model):
    """Its load_weights, which trainers call by themselves, piece by piece."""
    plain, this = type(model).load_weights, weakref.ref(model)

    @functools.wraps(plain)
    def load_weights(*args, **named):
        with this().weightfs_served.changing(whole=False):
            return plain(this(), *args, **named)
    model.load_weights = load_weights


def _serve(model, vllm_config, model_config):
    import vllm
    from vllm.v1.worker import worker_base
    parallel = vllm_config.parallel_config
    if parallel.enable_eplb:  # it moves experts about, at any time
        logging.getLogger("weightfs").warning(
            "'%s' is not served: its experts are moved", model_config.model)
        return
    _engine.serve_model(model, model_config.model, _parallel(),
                        model_config.quantization, engine="vllm",
                        engine_version=vllm.__version__,
                        replica=parallel.data_parallel_index)
    _hook_model(model)
    _hook_all(worker_base.WorkerBase)


def _serving(base):
    """Has every loader serve what it has loaded."""
    plain = base.load_model

    @functools.wraps(plain)
    def load_model(self, vllm_config, model_config, *args, **named):
        load_weights = self.load_weights

        def noting(model, config):
            load_weights(model, config)
            _engine.note(model)
        self.load_weights = noting
        try:
            model = plain(self, vllm_config, model_config, *args, **named)
        finally:
            del self.load_weights
        _serve(model, vllm_config, model_config)
        return model
    base.load_model = load_model


def register():
    """The entry point."""
    from vllm.model_executor import model_loader
    model_loader.register_model_loader("weightfs")(_loader())
    if os.environ.get("WEIGHTFS_SERVE"):
        _serving(model_loader.BaseModelLoader)
