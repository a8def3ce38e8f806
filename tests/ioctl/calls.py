# SPDX-License-Identifier: Apache-2.0
"""The calls of weightfs_ioctl(2), written down from its manual.

By libc's own ioctl: Python's holds the interpreter's lock while it waits, for
structs of this size.
"""
import array
import ctypes
import errno
import fcntl
import mmap
import os
import socket
import struct

libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]

u8, u32, u64, s32 = (ctypes.c_uint8, ctypes.c_uint32, ctypes.c_uint64,
                     ctypes.c_int32)
ABI = 1
AUTH, DEVICE, MAP, FETCH, COPY, SYNC, VERIFY = range(1, 8)
HOST, CUDA_IPC, CUDA_VMM, CUDA_POOL = range(4)
READ, MAPPED, FILLED, LENT = range(4)
CAN_FILL, CAN_FILL_DEVICE, CAN_LEND, FILLS_BY_RING = 1, 2, 4, 8
ASYNC, BY_RING = 1, 2
PASS_MEMORY, PASS_EVENT, PASS_DEVICE, PASS_LEASE = 1, 2, 3, 4
SEGMENTS = 64
F_ADD_SEALS = 1033


class Head(ctypes.Structure):
    _fields_ = [("size", u32), ("abi", u32), ("flags", u32), ("status", s32),
                ("stage", u32), ("cuda_err", u32), ("wc_status", u32),
                ("vendor_err", u32)]


class Device(ctypes.Structure):
    _fields_ = [("uuid", u8 * 16), ("pci_domain", u32), ("pci_bus", u8),
                ("pci_device", u8), ("pci_function", u8), ("by", u8)]


class Info(ctypes.Structure):
    _fields_ = [("head", Head), ("bytes", u64), ("version", u64),
                ("resident", u64), ("can", u32), ("best", u32),
                ("devices", u32), ("dims", u32), ("shape", u64 * 8),
                ("dtype", ctypes.c_char * 16), ("trust", ctypes.c_char * 16),
                ("digest", ctypes.c_char * 80), ("token", u8 * 32),
                ("socket", ctypes.c_char * 112)]


class Segment(ctypes.Structure):
    _fields_ = [("file_off", u64), ("dst_off", u64), ("len", u64),
                ("file_stride", u64), ("dst_stride", u64), ("count", u64)]


class Fill(ctypes.Structure):
    _fields_ = [("head", Head), ("device", Device), ("memory", u32),
                ("count", u32), ("slot", u64), ("event", u64),
                ("alloc_bytes", u64), ("cookie", u64), ("handle", u8 * 64),
                ("ready", u8 * 64), ("timeout_ns", u64), ("version", u64),
                ("done", u64), ("ticket", u64), ("from_memory", u64),
                ("ns", u64), ("segment", Segment * SEGMENTS)]


class Lend(ctypes.Structure):
    _fields_ = [("head", Head), ("device", Device), ("memory", u32),
                ("reserved", u32), ("timeout_ns", u64), ("version", u64),
                ("lease", u64), ("offset", u64), ("bytes", u64),
                ("alloc_bytes", u64), ("handle", u8 * 64)]


class Drop(ctypes.Structure):
    _fields_ = [("head", Head), ("slot", u64), ("lease", u64),
                ("cookie", u64), ("done", u64), ("result", s32),
                ("stage", u32), ("from_memory", u64), ("ns", u64)]


# Nobody was there to fill the head.
NOT_OURS = (errno.ENOTTY, errno.EBADF, errno.ENOTCONN, errno.ECONNABORTED)


def command(nr, struct_type):
    return 3 << 30 | ctypes.sizeof(struct_type) << 16 | 0xB7 << 8 | nr


INFO, FILL, LEND, DROP = (command(i + 1, t)
                          for i, t in enumerate((Info, Fill, Lend, Drop)))


class Failed(OSError):
    """A call that returned -1, with what its head says."""

    def __init__(self, number, call):
        super().__init__(number, os.strerror(number))
        self.call = call
        self.stage = call.head.stage


def new(kind, flags=0, **fields):
    call = kind(**fields)
    call.head = Head(size=ctypes.sizeof(kind), abi=ABI, flags=flags)
    return call


def ioctl(fd, number, call):
    """The call itself; Failed, if its head says the same as errno."""
    if libc.ioctl(fd, number, ctypes.addressof(call)) == 0:
        assert call.head.status == 0 and call.head.stage == 0
        return call
    code = ctypes.get_errno()
    if code not in NOT_OURS:
        assert call.head.status == -code, (call.head.status, code)
        assert call.head.stage != 0
    raise Failed(code, call)


def info(fd):
    return ioctl(fd, INFO, new(Info))


def segments(fill, rows):
    """rows: (file_off, dst_off, len[, file_stride, dst_stride, count])."""
    for i, row in enumerate(rows):
        fill.segment[i] = Segment(*(row if len(row) == 6 else
                                    (*row, 0, 0, 1)))
    fill.count = len(rows)
    return fill


def fill(fd, slot, rows, flags=0, **fields):
    return ioctl(fd, FILL, segments(new(Fill, flags, slot=slot, **fields),
                                    rows))


def drop(fd, slot=0, **fields):
    return ioctl(fd, DROP, new(Drop, slot=slot, **fields))


def memory(size, seal=True, allocate=True, flags=0):
    """A memfd of that size."""
    fd = os.memfd_create("target", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
                         | flags)
    os.ftruncate(fd, size)
    if allocate and size:
        os.posix_fallocate(fd, 0, size)
    if seal:
        fcntl.fcntl(fd, F_ADD_SEALS, 2)  # F_SEAL_SHRINK
    return fd


class Passer:
    """A connection over which descriptors are passed."""

    def __init__(self, path, token):
        self.token = bytes(token)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path)

    @classmethod
    def of(cls, fd):
        """As INFO on an open file says."""
        said = info(fd)
        return cls(said.socket.decode(), said.token)

    def pass_on(self, fd, what=PASS_MEMORY, size=0, token=None, abi=ABI):
        """(slot, bytes, mapped)"""
        slot, size, mapped, came = self._ask(fd, what, size,
                                             token or self.token, abi)
        assert not came
        return slot, size, mapped

    def descriptor(self, lease, token=None, fd=None):
        """Of lent memory, which the caller closes, and its bytes."""
        slot, size, _, came = self._ask(fd, PASS_LEASE, lease,
                                        token or self.token, ABI)
        assert not slot and len(came) == 1
        return came[0], size

    def _ask(self, fd, what, number, token, abi):
        text = struct.pack("=IIQ32s", abi, what, number, token)
        fds = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                      array.array("i", [fd]))]
        self.socket.sendmsg([text], fds)
        answer, came, _, _ = socket.recv_fds(self.socket, 4096, 4)
        if not answer:
            raise ConnectionResetError("hung up")
        abi, status, slot, size, mapped, _ = struct.unpack("=IiQQII", answer)
        assert abi == ABI
        if status:
            assert not came
            raise OSError(-status, os.strerror(-status))
        return slot, size, mapped, came

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Target:
    """Memory that was passed, and its slot."""

    def __init__(self, passer, size, seal=True):
        self.fd = memory(size, seal)
        self.size = size
        self.slot, got, self.mapped = passer.pass_on(self.fd)
        assert got == size and self.mapped == int(seal)

    def bytes(self, off=0, size=None):
        return os.pread(self.fd, self.size if size is None else size, off)

    def view(self):
        return mmap.mmap(self.fd, self.size)

    def close(self):
        os.close(self.fd)
