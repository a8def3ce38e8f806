# SPDX-License-Identifier: Apache-2.0
"""All tensors of a file, a directory or a rank."""
import collections
import contextlib
import os

from . import _dtypes
from ._bar import Bar
from ._set import Set


@contextlib.contextmanager
def _told(progress, path):
    bar = Bar(os.path.basename(os.path.normpath(os.fsdecode(path)))) \
        if progress else None
    try:
        yield bar
    finally:
        if bar:
            bar.close()


def load_file(path, rank=None, device="cpu", progress=False):
    """{name: torch tensor}, in the order in which the tensors lie there.

    path: a safetensors file, a directory of them, a rank's directory of a
    mount, or one tensor file.  rank: of a model's directory only those of one
    rank (3, "pp-0-tp-1").  progress: a bar on stderr, if that is a terminal.

    On the CPU they are views of the mapped files: nothing is copied, and the
    memory is shared with every other reader of the node.  They can be written
    to: what is written stays in this process and never reaches the file.  On
    another device they are copies: a GPU of CUDA takes them from the files
    itself, many at a time, while the files after them are on their way here.

    A dtype that this torch lacks becomes uint8, with the last dimension in
    bytes.
    """
    import torch
    to = torch.device(device)
    with Set(path, rank) as found, _told(progress, path) as told:
        if _cuda_name(to):
            return _load_to_gpu(found, to, told)
        found.load(told=told)
        tensors = {info.name: _dtypes.as_torch(info, found.map(i))
                   for i, info in enumerate(found.infos)}
    if to.type != "cpu":
        tensors = {name: tensor.to(to) for name, tensor in tensors.items()}
    return tensors


def _cuda_name(device):
    """As the library calls it; None if it is no GPU of CUDA."""
    import torch
    if device.type != "cuda" or torch.version.cuda is None:
        return None
    index = device.index
    return "cuda:%d" % (torch.cuda.current_device() if index is None
                        else index)


def _load_to(found, to, device, told):
    """To memory that torch has on a GPU."""
    import torch
    # What torch queued for that memory, when it was another tensor's.
    torch.cuda.synchronize(device)
    found.load(to=to, told=told, device=device)


def _load_to_gpu(found, device, told):
    import torch
    tensors, to = {}, []
    for info in found.infos:
        dtype, shape = _dtypes.torch_type(info)
        tensor = torch.empty(shape, dtype=dtype, device=device)
        tensors[info.name] = tensor
        to.append(tensor.data_ptr())
    _load_to(found, to, _cuda_name(device), told)
    return tensors


def load_into(tensors, path, rank=None, strict=True, progress=False):
    """Copies what is at `path` into the torch tensors of those names.

    Each must have the dtype and the shape that load_file would give it.
    strict: both sides have the same names; else what only one of them has is
    left alone.  Contiguous ones on the CPU or a GPU of CUDA are read to where
    they are, by several threads at once; others are copied out of the mapped
    files.
    """
    with Set(path, rank) as found, _told(progress, path) as told:
        _compare_names(tensors, found, path, strict)
        to = collections.defaultdict(lambda: [0] * len(found.infos))
        others = []
        for i, info in enumerate(found.infos):
            tensor = tensors.get(info.name)
            if tensor is None or not info.size:
                continue
            _compare(tensor, info, path)
            device = "cpu" if tensor.device.type == "cpu" else \
                _cuda_name(tensor.device)
            if device and tensor.is_contiguous():
                to[device][i] = tensor.data_ptr()
            else:
                others.append((tensor, i))
        for device, places in to.items():
            if device == "cpu":
                found.load(to=places, told=told)
            else:
                _load_to(found, places, device, told)
        for tensor, i in others:
            tensor.detach().copy_(_dtypes.as_torch(found.infos[i],
                                                   found.map(i)))


def _compare_names(tensors, found, path, strict):
    there = {info.name for info in found.infos}
    missing, extra = tensors.keys() - there, there - tensors.keys()
    if strict and (missing or extra):
        raise KeyError("'%s' lacks %d tensors that are wanted %s and has %d "
                       "others %s" % (
                           os.fsdecode(path), len(missing),
                           sorted(missing)[:3], len(extra),
                           sorted(extra)[:3]))


def _compare(tensor, info, path):
    dtype, shape = _dtypes.torch_type(info)
    if tensor.dtype != dtype or tuple(tensor.shape) != tuple(shape):
        raise ValueError("tensor '%s' is %s %s in '%s', %s %s is wanted" % (
            info.name, dtype, list(shape), os.fsdecode(path), tensor.dtype,
            list(tensor.shape)))
