# SPDX-License-Identifier: Apache-2.0
"""What the plugins of engines share: a rank read into parameters, and served.

An engine's parameters are those that sharded_state saves: of several names
for one memory the engine keeps one, which is its business here.
"""
import os

from . import _dtypes
from ._set import Set
from .load import load_into
from .serve import serve


def layout_of(tp, pp):
    return "tp%d" % tp + ("pp%d" % pp if pp > 1 else "")


def rank_of(tp_rank, pp_rank, pp):
    """As the files of a rank have it in their names."""
    return "pp-%d-tp-%d" % (pp_rank, tp_rank) if pp > 1 else str(tp_rank)


def directory_of(path, layout):
    """Where the engine's tensors are: beside a model of a mount that is named
    without a layout, the one of this size."""
    path = path.rstrip("/")
    if any(name.startswith(("model-rank-", "model-pp-"))
           for name in os.listdir(path)):
        return path
    beside = "%s@%s" % (path, layout)
    return beside if os.path.isdir(beside) else path


def fill(state, path, rank):
    """Reads a rank into the parameters of `state`, all of them.  One that is
    larger than what is read, as engines pad some, is filled from its start."""
    with Set(path, rank) as found:
        shapes = {info.name: _dtypes.torch_type(info)[1]
                  for info in found.infos}
    to = {}
    for name, param in state.items():
        param = param.data
        shape = shapes.get(name, param.shape)
        if len(shape) == param.ndim:
            for dim, size in enumerate(shape):
                if size < param.shape[dim]:
                    param = param.narrow(dim, 0, size)
        to[name] = param
    load_into(to, path, rank=rank)


def places(state):
    """Where each tensor lies, and as what."""
    return {name: (t.data_ptr(), t.dtype, tuple(t.shape), t.stride())
            for name, t in state.items()}


def serve_rank(tensors, path, rank, layout, **what):
    """Serves a worker's weights at the address that WEIGHTFS_SERVE says,
    HOST:PORT, each rank at a port of its own; the token is in the file that
    WEIGHTFS_SERVE_TOKEN names."""
    host, _, port = os.environ["WEIGHTFS_SERVE"].rpartition(":")
    port = int(port) and int(port) + rank  # 0: one that is free
    token = os.environ.get("WEIGHTFS_SERVE_TOKEN")
    options = {"token_file": token} if token else {}
    name = os.path.basename(path.rstrip("/")).partition("@")[0]
    return serve(tensors, model=name, rank=rank, layout=layout,
                 directory=path if os.path.isdir(path) else None,
                 one_name=True, listen="%s:%d" % (host, port),
                 **options, **what)
