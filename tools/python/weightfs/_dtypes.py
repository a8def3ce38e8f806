# SPDX-License-Identifier: Apache-2.0
"""Element types: what torch and numpy have for those of safetensors.

One that this torch lacks becomes uint8, with the last dimension in bytes; so
do those that are smaller than a byte, but for F4, of which newer torch has two
in a byte.  numpy has none for BF16 and the 8-bit floats: that is refused.
"""

from .serve import DTYPES

BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8,
    "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8,
    "F8_E4M3FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32,
    "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}
NUMPY = {
    "BOOL": "bool", "U8": "u1", "I8": "i1", "I16": "<i2", "U16": "<u2",
    "F16": "<f2", "I32": "<i4", "U32": "<u4", "F32": "<f4", "F64": "<f8",
    "I64": "<i8", "U64": "<u8", "C64": "<c8",
}
TORCH = {theirs: name for name, theirs in DTYPES.items()}
TORCH["F4"] = "float4_e2m1fn_x2"


def in_bytes(info):
    """The shape with its last dimension in bytes."""
    *front, last = info.shape or (1,)
    bits = last * BITS[info.dtype]
    if bits % 8:
        raise ValueError("tensor '%s': %d elements of %s in a row are no whole "
                         "bytes" % (info.name, last, info.dtype))
    return (*front, bits // 8)


def torch_type(info):
    """(dtype, shape) that torch has for it."""
    import torch
    found = getattr(torch, TORCH.get(info.dtype, ""), None)
    if found is None:
        return torch.uint8, in_bytes(info)
    if info.dtype == "F4":
        return found, in_bytes(info)
    return found, info.shape


def as_numpy(info, data):
    """An array over `data`, a Bytes or None."""
    import numpy as np
    if info.dtype not in NUMPY:
        raise TypeError("tensor '%s': numpy has no %s, torch may have it"
                        % (info.name, info.dtype))
    kind = np.dtype(NUMPY[info.dtype])
    if data is None:
        return np.empty(info.shape, kind)
    return aligned(data, kind.itemsize).view(kind).reshape(info.shape)


def aligned(data, size):
    """Bytes as an array, copied if elements of `size` bytes would lie askew:
    a header may have any length."""
    import numpy as np
    raw = np.asarray(data)
    return raw.copy() if data.address % size else raw


def as_torch(info, data):
    """A tensor over `data`, a Bytes or None."""
    import torch
    dtype, shape = torch_type(info)
    if data is None:
        return torch.empty(shape, dtype=dtype)
    size = max(1, BITS[info.dtype] // 8)
    raw = torch.from_numpy(aligned(data, size))
    # A view of elements as wide as a byte first needs no other shape.
    return raw.view(dtype).view(shape)
