# SPDX-License-Identifier: Apache-2.0
"""A reader with memory of its own on a GPU: gpu_reader.py HOW COUNT SEED FILE...

fill: COUNT fills of random segments of the files, each compared with the file.
lend: COUNT leases of each file in memory of each kind, each opened, compared
and given back.
borrow: a lease whose descriptor only the process that has it is given.
later: COUNT fills that go on by themselves and ring when they have ended.
errors: calls that are refused, each with its errno and its stage.
apart: what a process in a pid namespace of its own is lent, and what not.
stuck: says "ready" and has a fill wait for an event that does not come (FAKE).
hold: takes a lease of each, says "ready" and fills until it is killed.

The GPU is the FAKE libcudart's, where LD_LIBRARY_PATH leads to that.
"""
import ctypes
import errno
import os
import random
import sys

import calls

ROOM = 1 << 20  # of the memory that is filled
TIMEOUT = 60 * 10**9
TO_DEVICE, TO_HOST = 1, 2
INTERPROCESS = 2 | 4  # of an event, which then takes no time
NOWHERE = calls.Device(by=1, pci_domain=0xEEEE)
NAMES = "libcudart.so.13", "libcudart.so.12", "libcudart.so"
POSIX_FD, ON_DEVICE, READ_WRITE = 1, 1, 3  # of the driver


class Handle(ctypes.Structure):
    _fields_ = [("reserved", ctypes.c_char * 64)]


class Access(ctypes.Structure):
    _fields_ = [("type", ctypes.c_uint), ("id", ctypes.c_int),
                ("flags", ctypes.c_uint)]


def load(*names):
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            pass
    raise FileNotFoundError(f"there is no {names[0]}")


class Gpu:
    def __init__(self):
        self.lib = load(*NAMES)
        # The FAKE is both in one.
        self.driver = (self.lib if hasattr(self.lib, "cuMemMap")
                       else load("libcuda.so.1"))
        self.stream = ctypes.c_void_p()
        self.call("cudaSetDevice", 0)
        self.call("cudaStreamCreateWithFlags", ctypes.byref(self.stream), 1)

    def call(self, name, *args):
        lib = self.lib if name.startswith("cuda") else self.driver
        code = getattr(lib, name)(*args)
        assert code == 0, (name, code)

    def allocate(self, size):
        """(address, handle)"""
        at, handle = ctypes.c_void_p(), Handle()
        self.call("cudaMalloc", ctypes.byref(at), ctypes.c_size_t(size))
        self.call("cudaIpcGetMemHandle", ctypes.byref(handle), at)
        return at, bytes(handle)

    def clear(self, at, size):
        self.call("cudaMemsetAsync", at, 0, ctypes.c_size_t(size),
                  self.stream)
        self.call("cudaStreamSynchronize", self.stream)

    def read(self, at, size):
        room = ctypes.create_string_buffer(size)
        self.call("cudaMemcpyAsync", room, at, ctypes.c_size_t(size), TO_HOST,
                  self.stream)
        self.call("cudaStreamSynchronize", self.stream)
        return room.raw

    def open(self, handle):
        at = ctypes.c_void_p()
        self.call("cudaIpcOpenMemHandle", ctypes.byref(at),
                  Handle.from_buffer_copy(bytes(handle)), 1)
        return at

    def close(self, at):
        self.call("cudaIpcCloseMemHandle", at)

    def map(self, fd, size):
        """(address, allocation) of memory that `fd` stands for."""
        alloc = ctypes.c_uint64()
        self.call("cuMemImportFromShareableHandle", ctypes.byref(alloc),
                  ctypes.c_void_p(fd), POSIX_FD)
        return self.place(alloc, ctypes.c_size_t(size)), alloc

    def place(self, alloc, size):
        """The address at which it is mapped."""
        at, none = ctypes.c_uint64(), ctypes.c_uint64()
        self.call("cuMemAddressReserve", ctypes.byref(at), size,
                  ctypes.c_size_t(), none, none)
        self.call("cuMemMap", at, size, ctypes.c_size_t(), alloc, none)
        self.call("cuMemSetAccess", at, size,
                  ctypes.byref(Access(ON_DEVICE, 0, READ_WRITE)),
                  ctypes.c_size_t(1))
        return at

    def unmap(self, at, alloc, size):
        self.call("cuMemUnmap", at, ctypes.c_size_t(size))
        self.call("cuMemAddressFree", at, ctypes.c_size_t(size))
        self.call("cuMemRelease", alloc)


def random_rows(rng, size):
    rows, at = [], 0
    for _ in range(rng.randint(1, 6)):
        length = rng.randint(1, min(size, 3000))
        count = rng.randint(1, 20)
        stride = rng.randint(0, (size - length) // count)
        span = stride * (count - 1) + length
        row = (rng.randint(0, size - span), at + rng.randint(0, 50), length,
               stride, length + rng.randint(0, 30), count)
        rows.append(row)
        at = row[1] + row[4] * count
    return rows


def applied(truth, rows, room=ROOM):
    out = bytearray(room)
    for off, to, length, stride, to_stride, count in rows:
        for i in range(count):
            out[to + i * to_stride:to + i * to_stride + length] = \
                truth[off + i * stride:off + i * stride + length]
    return bytes(out)


def send(fd, handle, rows, flags=0, timeout_ns=TIMEOUT, **fields):
    return calls.ioctl(fd, calls.FILL, calls.segments(calls.new(
        calls.Fill, flags, memory=calls.CUDA_IPC, alloc_bytes=ROOM,
        handle=(ctypes.c_uint8 * 64)(*handle), timeout_ns=timeout_ns, **fields),
        rows))


def fill(gpu, rng, opened, count):
    at, handle = gpu.allocate(ROOM)
    for i in range(count):
        fd, truth = rng.choice(opened)
        rows = random_rows(rng, len(truth))
        gpu.clear(at, ROOM)
        done = send(fd, handle, rows, cookie=rng.choice([0, 7])
                    if i % 10 == 0 else 7)
        assert done.done == sum(row[2] * row[5] for row in rows)
        assert gpu.read(at, ROOM) == applied(truth, rows), rows
        if i % 10 == 9:
            calls.drop(fd, cookie=7)


def refused(code, use, *args, stage=None, **fields):
    try:
        use(*args, **fields)
    except OSError as failed:
        assert failed.errno == code, failed
        assert stage in (None, getattr(failed, "stage", None)), failed.stage
    else:
        raise AssertionError(f"not refused with {errno.errorcode[code]}")


def take_lease(fd, kind=0, timeout_ns=TIMEOUT):
    return calls.ioctl(fd, calls.LEND, calls.new(
        calls.Lend, memory=kind, timeout_ns=timeout_ns))


def read_lent(gpu, passer, said):
    """All of the allocation, by its handle or its descriptor."""
    if said.memory == calls.CUDA_IPC:
        at = gpu.open(said.handle)
        whole = gpu.read(at, said.alloc_bytes)
        gpu.close(at)
        refused(errno.EOPNOTSUPP, passer.descriptor, said.lease)
        return whole
    descriptor, size = passer.descriptor(said.lease)
    assert size == said.alloc_bytes and not any(said.handle)
    at, alloc = gpu.map(descriptor, size)
    os.close(descriptor)
    whole = gpu.read(ctypes.c_void_p(at.value), size)
    gpu.unmap(at, alloc, size)
    return whole


def lend(gpu, opened, count):
    passer = calls.Passer.of(opened[0][0])
    for kind in (0, calls.CUDA_IPC, calls.CUDA_VMM) * count:
        for fd, truth in opened:
            said = take_lease(fd, kind)
            assert said.bytes == len(truth)
            assert said.memory == (kind or said.memory) != 0
            whole = read_lent(gpu, passer, said)
            assert whole[:said.bytes] == truth
            assert not any(whole[said.bytes:])
            calls.drop(fd, lease=said.lease)
            refused(errno.ESRCH, calls.drop, fd, lease=said.lease)
            refused(errno.ESRCH, passer.descriptor, said.lease)
    passer.close()


def borrow(gpu, opened):
    """Tells others of a lease, which is theirs as little as its token."""
    fd = opened[0][0]
    said = take_lease(fd, calls.CUDA_VMM)
    child = os.fork()
    if not child:
        with calls.Passer.of(fd) as own:
            refused(errno.ESRCH, own.descriptor, said.lease)
            refused(errno.EINVAL, own.descriptor, said.lease, fd=fd)
            refused(errno.EACCES, own.descriptor, said.lease, token=b"x" * 32)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with calls.Passer.of(fd) as own:
        os.close(own.descriptor(said.lease)[0])


def later(gpu, opened, count):
    fd, truth = opened[0]
    at, handle = gpu.allocate(ROOM)
    size, ring = min(len(truth), ROOM), os.eventfd(0)
    with calls.Passer.of(fd) as passer:
        event = passer.pass_on(ring, calls.PASS_EVENT)[0]
        for _ in range(count):
            gpu.clear(at, ROOM)
            begun = send(fd, handle, [(0, 0, size)], calls.ASYNC, event=event)
            assert os.eventfd_read(ring) == 1
            told = calls.drop(fd, begun.ticket)
            assert (told.result, told.done) == (0, size)
            assert gpu.read(at, size) == truth[:size]
        begun = send(fd, handle, [(0, 0, size)], calls.ASYNC, event=event,
                     device=NOWHERE)
        assert os.eventfd_read(ring) == 1
        told = calls.drop(fd, begun.ticket)
        assert (told.result, told.stage) == (-errno.ENODEV, calls.DEVICE)


def fill_memory(gpu):
    """Until the device has no more than a few megabytes."""
    size, at = 1 << 30, ctypes.c_void_p()
    while size >= 1 << 21:
        if gpu.lib.cudaMalloc(ctypes.byref(at), ctypes.c_size_t(size)):
            gpu.lib.cudaGetLastError()
            size >>= 1


def errors(gpu, opened):
    fd, truth = opened[0]
    handle, rows = gpu.allocate(ROOM)[1], [(0, 0, min(len(truth), ROOM))]
    version = calls.info(fd).version
    refused(errno.ENODEV, send, fd, handle, rows, device=NOWHERE,
            stage=calls.DEVICE)
    refused(errno.EPERM, send, fd, bytes(64), rows, stage=calls.MAP)
    refused(errno.ERANGE, send, fd, handle, [(0, ROOM - 1, 2)],
            stage=calls.AUTH)
    refused(errno.ESTALE, send, fd, handle, rows, version=version ^ 1,
            stage=calls.FETCH)
    send(fd, handle, rows, cookie=1)
    refused(errno.EBUSY, send, fd, handle, rows, cookie=2, stage=calls.MAP)
    calls.drop(fd, cookie=1)
    for nothing in ({"cookie": 1}, {"lease": 1 << 40}):
        refused(errno.ESRCH, calls.drop, fd, **nothing)
    with calls.Passer.of(fd) as passer:
        null = os.open("/dev/null", os.O_RDWR)
        slot = passer.pass_on(null, calls.PASS_DEVICE)[0]
        refused(errno.EPERM, calls.fill, fd, slot, rows, stage=calls.MAP,
                memory=calls.CUDA_VMM, alloc_bytes=2 << 20)
    fill_memory(gpu)
    for kind in (calls.CUDA_IPC, calls.CUDA_VMM):
        refused(errno.ENOMEM, take_lease, fd, kind, stage=calls.DEVICE)


def apart(opened):
    """Without a GPU of its own: the FAKE's processes know each other by pid."""
    fd, truth = opened[0]
    assert os.getpid() < 10, "a pid namespace of its own"
    refused(errno.EXDEV, take_lease, fd, calls.CUDA_IPC, stage=calls.AUTH)
    with calls.Passer.of(fd) as passer:
        said = take_lease(fd)
        assert said.memory == calls.CUDA_VMM
        descriptor, size = passer.descriptor(said.lease)
        assert size == said.alloc_bytes >= said.bytes == len(truth)
        os.close(descriptor)
        calls.drop(fd, lease=said.lease)
        target = calls.Target(passer, len(truth))
        calls.fill(fd, target.slot, [(0, 0, len(truth))])
        assert target.bytes() == truth


def held_event(gpu):
    """The handle of an event that is recorded, and never happens."""
    control = gpu.lib.fake_cu_control_open
    control.restype = ctypes.c_void_p
    gpu.lib.fake_cu_hold_events(ctypes.c_void_p(
        control(os.environ["FAKE_CUDART"].encode())))
    event, handle = ctypes.c_void_p(), Handle()
    gpu.call("cudaEventCreateWithFlags", ctypes.byref(event), INTERPROCESS)
    gpu.call("cudaEventRecord", event, gpu.stream)
    gpu.call("cudaIpcGetEventHandle", ctypes.byref(handle), event)
    return bytes(handle)


def stuck(gpu, opened):
    handle, ready = gpu.allocate(ROOM)[1], held_event(gpu)
    rows = [(0, 0, min(len(opened[0][1]), ROOM))]
    refused(errno.EINVAL, send, opened[0][0], handle, rows, stage=calls.MAP,
            ready=(ctypes.c_uint8 * 64)(*b"x" * 64))
    print("ready", flush=True)
    calls.ioctl(opened[0][0], calls.FILL, calls.segments(calls.new(
        calls.Fill, memory=calls.CUDA_IPC, alloc_bytes=ROOM,
        handle=(ctypes.c_uint8 * 64)(*handle),
        ready=(ctypes.c_uint8 * 64)(*ready)), rows))


def hold(gpu, opened):
    handle = gpu.allocate(ROOM)[1]
    for fd, _ in opened:
        take_lease(fd)
    print("ready", flush=True)
    while True:
        for fd, truth in opened:
            send(fd, handle, [(0, 0, min(len(truth), ROOM))], cookie=7)


def main(how, count, seed, *files):
    opened = [(os.open(file, os.O_RDONLY), open(file, "rb").read())
              for file in files]
    assert calls.info(opened[0][0]).devices >= 1
    if how == "apart":
        apart(opened)
        return
    gpu = Gpu()
    if how == "fill":
        fill(gpu, random.Random(int(seed)), opened, int(count))
    elif how in ("lend", "later"):
        {"lend": lend, "later": later}[how](gpu, opened, int(count))
    else:
        {"borrow": borrow, "errors": errors, "hold": hold,
         "stuck": stuck}[how](gpu, opened)


if __name__ == "__main__":
    main(*sys.argv[1:])
