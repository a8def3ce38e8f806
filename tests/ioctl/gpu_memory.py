# SPDX-License-Identifier: Apache-2.0
"""Memory of a GPU that a descriptor stands for, as newer allocators have it."""
import ctypes

import gpu_reader
from gpu_reader import Gpu, ON_DEVICE, POSIX_FD

PINNED = 1


class Prop(ctypes.Structure):
    _fields_ = [("type", ctypes.c_uint), ("handle_types", ctypes.c_uint),
                ("location_type", ctypes.c_uint), ("location", ctypes.c_int),
                ("win32", ctypes.c_void_p), ("flags", ctypes.c_ubyte * 8)]


class Pool(ctypes.Structure):
    _fields_ = [("type", ctypes.c_uint), ("handle_types", ctypes.c_uint),
                ("location_type", ctypes.c_uint), ("location", ctypes.c_int),
                ("rest", ctypes.c_ubyte * 72)]


def why_none():
    """Why this process has no GPU; None if it has one."""
    try:
        lib = gpu_reader.load(*gpu_reader.NAMES)
    except FileNotFoundError as error:
        return str(error)
    count = ctypes.c_int()
    code = lib.cudaGetDeviceCount(ctypes.byref(count))
    if code:
        return "cudaGetDeviceCount says %d" % code
    return None if count.value else "there is no GPU"


class VmmGpu(Gpu):
    def allocate_vmm(self, size):
        """(address, descriptor, bytes, which are whole pages of the GPU)"""
        prop = Prop(PINNED, POSIX_FD, ON_DEVICE, 0)
        grain, alloc = ctypes.c_size_t(), ctypes.c_uint64()
        fd, none = ctypes.c_int(-1), ctypes.c_uint64()
        self.call("cuMemGetAllocationGranularity", ctypes.byref(grain),
                  ctypes.byref(prop), 0)
        size = ctypes.c_size_t(-(-size // grain.value) * grain.value)
        self.call("cuMemCreate", ctypes.byref(alloc), size,
                  ctypes.byref(prop), none)
        at = self.place(alloc, size)
        self.call("cuMemExportToShareableHandle", ctypes.byref(fd), alloc,
                  POSIX_FD, none)
        return ctypes.c_void_p(at.value), fd.value, size.value

    def allocate_pooled(self, size):
        """(address, the pool's descriptor, what is exported of the address)"""
        props = Pool(PINNED, POSIX_FD, ON_DEVICE, 0)
        pool, at = ctypes.c_void_p(), ctypes.c_void_p()
        fd, data = ctypes.c_int(-1), gpu_reader.Handle()
        self.call("cudaMemPoolCreate", ctypes.byref(pool), ctypes.byref(props))
        self.call("cudaMallocFromPoolAsync", ctypes.byref(at),
                  ctypes.c_size_t(size), pool, self.stream)
        self.call("cudaStreamSynchronize", self.stream)
        self.call("cudaMemPoolExportToShareableHandle", ctypes.byref(fd), pool,
                  POSIX_FD, 0)
        self.call("cudaMemPoolExportPointer", ctypes.byref(data), at)
        return at, fd.value, bytes(data)
