# SPDX-License-Identifier: Apache-2.0
"""vLLM's plugin, found by itself once this package is installed.

load_format="weightfs" reads this worker's tensors from a mount, straight to
where its parameters lie on a CPU, from mapped files to a device elsewhere:

    vllm serve /weights/llama --load-format weightfs -tp 2    (llama@tp2)

WEIGHTFS_SERVE=HOST:PORT in the environment has each worker serve its weights,
however they were loaded, at that port and those after it.
"""
import functools
import os

from . import _engine


def _parallel():
    """(tp_rank, tp, pp_rank, pp) of this worker."""
    from vllm.distributed import get_pp_group, get_tp_group
    tp, pp = get_tp_group(), get_pp_group()
    return (tp.rank_in_group, tp.world_size, pp.rank_in_group, pp.world_size)


def _loader():
    from vllm.model_executor.model_loader.sharded_state_loader import \
        ShardedStateLoader

    class WeightfsLoader(ShardedStateLoader):
        """As sharded_state, without its copy in between."""

        def load_weights(self, model, model_config):
            tp_rank, tp, pp_rank, pp = _parallel()
            path = _engine.directory_of(
                getattr(model_config, "model_weights", None)
                or model_config.model, _engine.layout_of(tp, pp))
            _engine.fill(self._filter_subtensors(model.state_dict()), path,
                         _engine.rank_of(tp_rank, pp_rank, pp))
    return WeightfsLoader


def _serve(model, model_config, as_loaded):
    import vllm
    tp_rank, tp, pp_rank, pp = _parallel()
    model.weightfs_served = _engine.serve_rank(
        model.state_dict(), model_config.model, pp_rank * tp + tp_rank,
        _engine.layout_of(tp, pp), engine="vllm",
        engine_version=vllm.__version__,
        state="loaded" if as_loaded else "processed")


def _serving(base):
    """Has every loader serve what it has loaded: weights that the engine then
    left where and as they were are as loaded, others as processed."""
    plain = base.load_model

    @functools.wraps(plain)
    def load_model(self, vllm_config, model_config, *args, **named):
        before = {}
        load_weights = self.load_weights

        def noting(model, config):
            load_weights(model, config)
            before.update(_engine.places(model.state_dict()))
        self.load_weights = noting
        try:
            model = plain(self, vllm_config, model_config, *args, **named)
        finally:
            del self.load_weights
        same = model_config.quantization is None and \
            before == _engine.places(model.state_dict())
        _serve(model, model_config, same)
        return model
    base.load_model = load_model


def register():
    """The entry point."""
    from vllm.model_executor import model_loader
    model_loader.register_model_loader("weightfs")(_loader())
    if os.environ.get("WEIGHTFS_SERVE"):
        _serving(model_loader.BaseModelLoader)
