# SPDX-License-Identifier: Apache-2.0
"""What real vLLM makes of a checkpoint, as each rank of any layout.

The engine's own model classes and loader run in one process, one rank after
the other: only the process groups are pretended, since loading says nothing to
other ranks.  What a rank would save is the state that its loader filled, less
the names that share another's storage, as the engine's own filter leaves it.
That is before the engine turns weights into what its kernels want, so that
neither CPU nor GPU shows in it.
"""
import contextlib
import os
import tempfile

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import kernels  # noqa: E402
import safetensors.torch  # noqa: E402
import torch  # noqa: E402
import vllm.distributed.parallel_state as parallel  # noqa: E402
from torch.testing._internal.distributed.fake_pg import FakeStore  # noqa: E402
from vllm.config import set_current_vllm_config  # noqa: E402
from vllm.engine.arg_utils import EngineArgs  # noqa: E402
from vllm.model_executor.model_loader import get_model_loader  # noqa: E402
from vllm.model_executor.model_loader.sharded_state_loader import (  # noqa: E402
    ShardedStateLoader)
from vllm.model_executor.models import utils  # noqa: E402
from vllm.utils.torch_utils import set_default_torch_dtype  # noqa: E402


def pretend():
    """Groups of processes of which there is only this one."""
    new_group = torch.distributed.new_group

    def fake_group(ranks=None, backend=None, **kw):
        return new_group(ranks, backend="fake", **kw)

    def group(group_ranks, local_rank, backend, group_name=None, **_):
        return parallel.GroupCoordinator(
            group_ranks, local_rank, "fake", use_device_communicator=False,
            group_name=group_name)

    torch.distributed.new_group = fake_group
    parallel.init_model_parallel_group = group
    parallel._node_count = lambda _: 1
    # What kernels there are decides only what is made of the weights later.
    torch.cpu._is_amx_tile_supported = lambda: True
    kernels.pretend()


pretend()


@contextlib.contextmanager
def rank_of(config, rank):
    """This process is that rank of the configuration's."""
    size = config.parallel_config.world_size
    torch.distributed.init_process_group(backend="fake", rank=rank,
                                         world_size=size, store=FakeStore())
    try:
        with set_current_vllm_config(config):
            parallel.init_distributed_environment(size, rank, local_rank=0)
            parallel.initialize_model_parallel(
                config.parallel_config.tensor_parallel_size,
                config.parallel_config.pipeline_parallel_size)
            yield
    finally:
        parallel.destroy_model_parallel()
        parallel.destroy_distributed_environment()


def load(config):
    """The model as this rank's loader fills it."""
    loader = get_model_loader(config.load_config)
    with set_default_torch_dtype(config.model_config.dtype), \
            torch.device("cpu"):
        model = loader.create_model(config, config.model_config)
        loader.load_weights(model, config.model_config)
    return model


def save(folder, tp, pp, to, load_format="safetensors"):
    """Writes into `to` what each rank saves of the checkpoint in `folder`, or
    with "sharded_state" of what ranks saved there."""
    config = EngineArgs(
        model=str(folder), tensor_parallel_size=tp, pipeline_parallel_size=pp,
        skip_tokenizer_init=True, enforce_eager=True, dtype="auto",
        max_model_len=128, max_num_seqs=4, max_num_batched_tokens=256,
        load_format=load_format, use_tqdm_on_load=False,
        distributed_executor_backend="mp",
    ).create_engine_config()
    for rank in range(tp * pp):
        config.parallel_config.rank = rank
        # Layers register themselves in the configuration, and models by their
        # address in memory.
        utils._model_to_pp_missing_layer_names.clear()
        config.compilation_config.static_forward_context.clear()
        config.compilation_config.static_all_moe_layers.clear()
        with rank_of(config, rank):
            ShardedStateLoader.save_model(load(config), str(to))
