# SPDX-License-Identifier: Apache-2.0
"""torch's own memory on a GPU: torch_gpu.py MODEL [FILE], with an allocator that
PYTORCH_CUDA_ALLOC_CONF names.  Prints JSON:

loaded, staged, into: weightfs.load_file, the same through pinned buffers, and
    load_into had each byte right
export: what cudaIpcGetMemHandle says of a tensor's memory; null without FILE
filled: where that was 0, FILL of that memory had each byte right
"""
import ctypes
import json
import os
import sys

import torch
import weightfs
from weightfs._set import Set

import calls
import gpu_reader


def same(got, want):
    def raw(tensor):
        return tensor.reshape(-1).view(torch.uint8) if tensor.numel() else \
            tensor
    return got.keys() == want.keys() and all(
        torch.equal(raw(got[n].cpu()), raw(want[n])) for n in want)


def staged(path, want):
    into = {n: torch.zeros_like(t, device="cuda:0") for n, t in want.items()}
    torch.cuda.synchronize()
    with Set(path) as found:
        found.load(to=[into[info.name].data_ptr() for info in found.infos],
                   device="cuda:0", staged=True)
    return same(into, want)


def export(lib, tensor):
    """(code, handle, offset of the tensor in it, bytes of the allocation)"""
    driver = ctypes.CDLL("libcuda.so.1")
    base, size = ctypes.c_uint64(), ctypes.c_size_t()
    at = ctypes.c_uint64(tensor.data_ptr())
    if driver.cuMemGetAddressRange_v2(ctypes.byref(base), ctypes.byref(size),
                                      at):
        return -1, None, 0, 0
    handle = gpu_reader.Handle()
    code = lib.cudaIpcGetMemHandle(ctypes.byref(handle),
                                   ctypes.c_void_p(base.value))
    lib.cudaGetLastError()
    return code, bytes(handle), at.value - base.value, size.value


def fill(lib, path):
    with open(path, "rb") as file:
        truth = file.read()
    tensor = torch.zeros(len(truth), dtype=torch.uint8, device="cuda:0")
    torch.cuda.synchronize()
    code, handle, offset, size = export(lib, tensor)
    if code:
        return code, False
    fd = os.open(path, os.O_RDONLY)
    calls.ioctl(fd, calls.FILL, calls.segments(calls.new(
        calls.Fill, memory=calls.CUDA_IPC, alloc_bytes=size,
        handle=(ctypes.c_uint8 * 64)(*handle),
        timeout_ns=gpu_reader.TIMEOUT), [(0, offset, len(truth))]))
    return 0, bytes(tensor.cpu().numpy()) == truth


def main(path, file=None):
    want = weightfs.load_file(path)
    into = {n: torch.zeros_like(t, device="cuda:0") for n, t in want.items()}
    weightfs.load_into(into, path)
    code, filled = None, None
    if file:
        code, filled = fill(gpu_reader.load(*gpu_reader.NAMES), file)
    print(json.dumps({
        "loaded": same(weightfs.load_file(path, device="cuda:0"), want),
        "staged": staged(path, want), "into": same(into, want),
        "export": code, "filled": filled}))


if __name__ == "__main__":
    main(*sys.argv[1:])
