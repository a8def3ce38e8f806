# SPDX-License-Identifier: Apache-2.0
"""The functions of <weightfs/client.h>, as Python has them."""
import ctypes
import os
import threading
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, \
    c_uint64, c_void_p
from typing import NamedTuple

from ._lib import check, function, sized, text

PROGRESS = ctypes.CFUNCTYPE(c_int, c_void_p, c_uint64, c_uint64)


class _Tensor(ctypes.Structure):
    _fields_ = [("name", c_void_p), ("name_len", c_size_t),
                ("dtype", c_char_p), ("shape", POINTER(c_uint64)),
                ("ndim", c_uint), ("size", c_uint64)]


class _Load(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("to", POINTER(c_void_p)),
                ("threads", c_uint), ("ahead", c_uint64),
                ("progress", PROGRESS), ("ctx", c_void_p),
                ("device", c_char_p), ("staged", c_int)]


class Info(NamedTuple):
    """What a tensor is; dtype as safetensors names it, size in bytes."""
    name: str
    dtype: str
    shape: tuple
    size: int


class Bytes:
    """A tensor's bytes in a mapped file, unmapped with the last view."""

    def __init__(self, address, mapping, size):
        self._mapping, self.address = mapping, address
        # Kept for the end of the interpreter, when modules are empty.
        self._unmap = function("weightfs_unmap", c_void_p, result=None)
        self.__array_interface__ = {
            "version": 3, "shape": (size,), "typestr": "|u1",
            "data": (address, False)}

    def __del__(self):
        self._unmap(self._mapping)


class Set:
    """Tensors that were opened together."""

    def __init__(self, path, rank=None):
        self._handle, handle = None, c_void_p()
        check(function("weightfs_open", c_char_p, c_char_p,
                       POINTER(c_void_p))(
            os.fsencode(path), text(rank if rank is None else str(rank)),
            byref(handle)))
        self._handle = handle
        count = function("weightfs_count", c_void_p, result=c_size_t)(handle)
        self.infos = [self._info(i) for i in range(count)]

    def _info(self, i):
        t = _Tensor()
        function("weightfs_tensor", c_void_p, c_size_t, POINTER(_Tensor),
                 result=None)(self._handle, i, byref(t))
        return Info(ctypes.string_at(t.name, t.name_len).decode(),
                    t.dtype.decode(), tuple(t.shape[:t.ndim]), t.size)

    def map(self, i):
        """Bytes of tensor i, or None if it has none."""
        address, mapping = c_void_p(), c_void_p()
        check(function("weightfs_map", c_void_p, c_size_t, POINTER(c_void_p),
                       POINTER(c_void_p))(
            self._handle, i, byref(address), byref(mapping)))
        if not mapping:
            return None
        return Bytes(address.value, mapping, self.infos[i].size)

    def load(self, to=None, told=None, device=None, staged=False):
        """Copies to the addresses `to`, of memory here or of the device "cuda:N"
        (nothing else uses that meanwhile), or maps all.  staged: to a device
        through pinned buffers, always.  told(done, total) is
        called a few times a second, and ends the load by raising.

        In a thread of its own, where no signal interrupts what C calls: the
        caller's is there for Ctrl-C."""
        raised, stop, ended = [], threading.Event(), threading.Event()

        def step(_, done, total):
            try:
                if told:
                    told(done, total)
            except Exception as error:
                raised.append(error)
            return bool(raised) or stop.is_set()

        def run():
            load = sized(_Load, progress=PROGRESS(step), device=text(device),
                         staged=staged,
                         to=None if to is None else
                         (c_void_p * max(len(to), 1))(*to))
            try:
                check(function("weightfs_load", c_void_p, POINTER(_Load))(
                    self._handle, byref(load)))
            except Exception as error:
                raised.append(error)
            ended.set()
        threading.Thread(target=run, name="weightfs").start()
        while not ended.is_set():
            try:
                ended.wait()
            except BaseException as error:  # Ctrl-C: not before it has ended
                stop.set()
                raised.insert(0, error)
        if raised:
            raise raised[0]

    def close(self):
        function("weightfs_close", c_void_p, result=None)(self._handle)
        self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if self._handle:
            self.close()
