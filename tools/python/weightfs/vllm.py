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


def _serving(base):
    """Has every loader serve what it has loaded."""
    plain = base.load_model

    @functools.wraps(plain)
    def load_model(self, vllm_config, model_config, *args, **named):
        import vllm
        load_weights = self.load_weights

        def noting(model, config):
            load_weights(model, config)
            _engine.note(model)
        self.load_weights = noting
        try:
            model = plain(self, vllm_config, model_config, *args, **named)
        finally:
            del self.load_weights
        _engine.serve_model(model, model_config.model, _parallel(),
                            model_config.quantization, engine="vllm",
                            engine_version=vllm.__version__)
        return model
    base.load_model = load_model


def register():
    """The entry point."""
    from vllm.model_executor import model_loader
    model_loader.register_model_loader("weightfs")(_loader())
    if os.environ.get("WEIGHTFS_SERVE"):
        _serving(model_loader.BaseModelLoader)
