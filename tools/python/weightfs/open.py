# SPDX-License-Identifier: Apache-2.0
"""One tensor, as a file and as an array."""
import io
import os

from . import _dtypes
from ._set import Set


class Tensor(io.RawIOBase):
    """The bytes of a tensor: read like a file's, or seen without a copy.

    name, dtype (as safetensors names it), shape and size (bytes) say what it
    is.  torch() and numpy() are views of the mapped file, which live as long
    as they like.  They can be written to: what is written stays in this
    process and never reaches the file.
    """

    def __init__(self, info, data):
        super().__init__()
        self.info, self._data, self._at = info, data, 0
        self.name, self.dtype, self.shape, self.size = info

    def torch(self):
        self._check()
        return _dtypes.as_torch(self.info, self._data)

    def numpy(self):
        self._check()
        return _dtypes.as_numpy(self.info, self._data)

    def _check(self):
        if self.closed:
            raise ValueError("tensor '%s' is closed" % self.name)

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=os.SEEK_SET):
        self._check()
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at,
                       os.SEEK_END: self.size}[whence]
        if at < 0:
            raise ValueError("tensor '%s' has no byte %d" % (self.name, at))
        self._at = at
        return at

    def readinto(self, buffer):
        self._check()
        to = memoryview(buffer).cast("B")
        n = max(0, min(len(to), self.size - self._at))
        if n:
            import numpy as np
            raw = memoryview(np.asarray(self._data))
            to[:n] = raw[self._at:self._at + n]
            self._at += n
        return n

    def close(self):
        self._data = None
        super().close()


def open(path, tensor=None, rank=None):  # pylint: disable=redefined-builtin
    """A Tensor: that of a tensor file, or the one of that name out of a
    safetensors file, a rank's directory or (with a rank) a model's."""
    with Set(path, rank) as found:
        names = [info.name for info in found.infos]
        if tensor is None and len(names) != 1:
            raise ValueError("'%s' holds %d tensors: say which"
                             % (os.fsdecode(path), len(names)))
        if tensor is not None and tensor not in names:
            raise KeyError("'%s' has no tensor '%s'"
                           % (os.fsdecode(path), tensor))
        i = 0 if tensor is None else names.index(tensor)
        return Tensor(found.infos[i], found.map(i))
