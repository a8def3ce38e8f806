# SPDX-License-Identifier: Apache-2.0
"""What the plugins of engines share: a rank read into parameters, and served.

An engine's parameters are those that sharded_state saves: of several names
for one memory the engine keeps one, which is its business here.
"""
import functools
import itertools
import os
import re

from . import _dtypes
from ._served import Served, places
from ._set import Set
from .load import load_into
from .serve import Seed, serve

RANK_FILE = re.compile(
    r"model-(?:rank-)?(\d+|pp-\d+-tp-\d+)-part-\d+\.safetensors$")


def layout_of(tp, pp):
    return "tp%d" % tp + ("pp%d" % pp if pp > 1 else "")


def rank_of(tp_rank, pp_rank, pp):
    """As the files of a rank have it in their names."""
    return "pp-%d-tp-%d" % (pp_rank, tp_rank) if pp > 1 else str(tp_rank)


def parallel_of(tp_group, pp_group):
    """(tp_rank, tp, pp_rank, pp) of this worker, by its engine's groups."""
    return (tp_group.rank_in_group, tp_group.world_size,
            pp_group.rank_in_group, pp_group.world_size)


def directory_of(path, tp, pp):
    """Where the engine's tensors are: unless those at `path` are the ranks of
    this size, those beside it that a mount has of it."""
    path = path.rstrip("/")
    found = {name[1] for name in map(RANK_FILE.match, os.listdir(path)) if name}
    beside = "%s@%s" % (path, layout_of(tp, pp))
    if found == {rank_of(t, p, pp) for t in range(tp) for p in range(pp)}:
        return path
    return beside if os.path.isdir(beside) else path


def fill(state, path, parallel):
    """Reads this worker's rank into the parameters of `state`, all of them.
    One that is larger than what is read, as engines pad some, is filled from
    its start."""
    tp_rank, tp, pp_rank, pp = parallel
    path = directory_of(path, tp, pp)
    rank = rank_of(tp_rank, pp_rank, pp)
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


def note(model):
    """Remembers where a model's weights are as they were loaded."""
    model.weightfs_places = places(model.state_dict())


@functools.lru_cache(maxsize=None)
def seed_at(rank):
    """Listens where WEIGHTFS_SERVE says, HOST:PORT, each rank at a port of its
    own; the token is in the file that WEIGHTFS_SERVE_TOKEN names, at most
    WEIGHTFS_SERVE_RATE bytes a second are sent, and digests are computed if
    WEIGHTFS_SERVE_DIGESTS is 1.  One for all models of a process, such as a
    draft's."""
    host, _, port = os.environ["WEIGHTFS_SERVE"].rpartition(":")
    port = int(port) and int(port) + rank  # 0: one that is free
    return Seed("%s:%d" % (host, port),
                token_file=os.environ.get("WEIGHTFS_SERVE_TOKEN") or None,
                rate=int(os.environ.get("WEIGHTFS_SERVE_RATE") or 0),
                digests=os.environ.get("WEIGHTFS_SERVE_DIGESTS") == "1")


def name_beside(name, taken):
    """It, or the first of NAME.2, NAME.3 and so on that is not taken."""
    numbered = (f"{name}.{i}" for i in itertools.count(2))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)


def serve_model(model, path, parallel, quantised, replica=0, **engine):
    """Serves a worker's weights, which are as loaded if the engine left them
    where and as note() saw them, else as processed.  They are declared as
    WEIGHTFS_SERVE_VERSION till they change.  replica: of the same ranks the
    how manieth on this host, whose ports come after the others'."""
    tp_rank, tp, pp_rank, pp = parallel
    rank = pp_rank * tp + tp_rank
    noted = getattr(model, "weightfs_places", None)
    seed = seed_at(replica * pp * tp + rank)
    name = name_beside(os.path.basename(path.rstrip("/")).partition("@")[0],
                       {other.name for other in seed.models})

    words = [os.environ.get("WEIGHTFS_SERVE_VERSION") or None]

    def make(state):
        declared = words.pop() if words else None
        loaded = not quantised and places(state) == noted
        return serve(
            state, model=name, rank=rank, layout=layout_of(tp, pp), seed=seed,
            one_name=True, directory=path if os.path.isdir(path) else None,
            state="loaded" if loaded else "processed", declared=declared,
            **engine)
    model.weightfs_served = Served(model, make)
