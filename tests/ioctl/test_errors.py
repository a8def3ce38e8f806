# SPDX-License-Identifier: Apache-2.0
"""Every errno of weightfs_ioctl(2) that needs no GPU, each with its stage in
the struct that came back.
"""
import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import calls
from mounts import run, tensor_path, wait_until

U64 = (1 << 64) - 1
HERE = Path(__file__).parent
ALL = [(calls.Info, calls.INFO), (calls.Fill, calls.FILL),
       (calls.Lend, calls.LEND), (calls.Drop, calls.DROP)]


@contextlib.contextmanager
def fails(code, stage=None):
    with pytest.raises(OSError) as e:
        yield
    assert e.value.errno == code, e.value
    if stage is not None:
        assert e.value.stage == stage


class Setting:
    """A file of a mount that is open, and memory for it."""

    def __init__(self, m, name="0/odd"):
        self.path = m.path / "m" / name
        self.fd = os.open(self.path, os.O_RDONLY)
        self.passer = calls.Passer.of(self.fd)
        self.target = calls.Target(self.passer, 20_000)
        self.slot = self.target.slot

    def fill(self, rows=((0, 0, 10),), **fields):
        return calls.fill(self.fd, fields.pop("slot", self.slot), rows,
                          **fields)


@pytest.fixture
def here(mount, model):
    setting = Setting(mount(m=model))
    yield setting
    setting.passer.close()
    os.close(setting.fd)


def test_a_head_that_is_none(here):
    for kind, number in ALL:
        for field, value in (("size", 1), ("size", 0), ("abi", 2),
                             ("flags", 1 << 31)):
            call = calls.new(kind)
            setattr(call.head, field, value)
            with fails(errno.EINVAL, calls.AUTH):
                calls.ioctl(here.fd, number, call)


def test_segments_that_make_no_sense(here):
    for rows in ([], [(0, 0, 0)], [(0, 0, 1, 1, 1, 0)],
                 [(0, 0, 8, 8, 7, 2)], [(0, 0, 1, 0, 0, 2)]):
        with fails(errno.EINVAL, calls.AUTH):
            here.fill(rows)


def test_more_segments_than_there_are(here):
    call = calls.segments(calls.new(calls.Fill, slot=here.slot), [(0, 0, 1)])
    for count in (65, U64 >> 32):
        call.count = count
        with fails(errno.EINVAL, calls.AUTH):
            calls.ioctl(here.fd, calls.FILL, call)


OUTSIDE = [
    (12_345, 0, 1), (0, 20_000, 1), (12_340, 0, 6), (0, 19_995, 6),
    (U64, 0, 1), (0, U64, 1), (1, 0, U64), (0, 1, U64), (U64, U64, U64),
    (0, 0, 1, U64, 1, 2), (0, 0, 1, 1, U64, 2), (0, 0, 1, 1, 1, U64),
    (0, 0, 1, 1 << 63, 1, 3), (0, 0, 1, 1, 1 << 63, 3),
    (0, 0, 2, 12_343, 2, 3), (0, 0, 100, 0, 100, 201)]


def test_segments_outside_of_the_file_or_of_the_memory(here):
    for row in OUTSIDE:
        with fails(errno.ERANGE, calls.AUTH):
            here.fill([row])
    assert not any(here.target.bytes()), "nothing was written"


def test_other_fields_that_make_no_sense(here):
    for fields in ({"memory": 4}, {"done": 11}, {"event": 5}):
        with fails(errno.EINVAL, calls.AUTH):
            here.fill(**fields)
    for fields in ({}, {"lease": 1, "slot": here.slot}):
        with fails(errno.EINVAL, calls.AUTH):
            calls.drop(here.fd, **fields)


def test_what_is_no_call(here, mount):
    for number in (0, 5, calls.FILL + 1, calls.INFO ^ 1 << 16, 0x5401,
                   3 << 30 | 8 << 16 | 0xB7 << 8 | 2):
        with fails(errno.ENOTTY):
            calls.ioctl(here.fd, number, calls.new(calls.Fill))
    top = mount[0].path
    for path in (top, top / "m", top / "m" / "0", top / ".weightfs/version"):
        fd = os.open(path, os.O_RDONLY)
        for kind, number in ALL:
            with fails(errno.ENOTTY):
                calls.ioctl(fd, number, calls.new(kind))
        os.close(fd)


def test_slots_that_are_gone_or_never_were(here):
    event = os.eventfd(0)
    slot, _, _ = here.passer.pass_on(event, calls.PASS_EVENT)
    for wrong in (0, 1, here.slot ^ 1):
        with fails(errno.ESRCH, calls.AUTH):
            here.fill(slot=wrong)
        with fails(errno.ESRCH, calls.AUTH):
            here.fill(flags=calls.ASYNC, event=wrong or 1)
    with fails(errno.EOPNOTSUPP, calls.AUTH):
        here.fill(slot=slot)
    with fails(errno.EOPNOTSUPP, calls.AUTH):
        here.fill(flags=calls.ASYNC, event=here.slot)
    calls.drop(here.fd, slot)
    for gone in (slot, slot):
        with fails(errno.ESRCH, calls.AUTH):
            calls.drop(here.fd, gone)
    os.close(event)


def test_slots_end_with_the_connection(here):
    here.passer.close()
    def gone():
        try:
            here.fill()
        except OSError as e:
            assert e.errno == errno.ESRCH and e.stage == calls.AUTH
            return True
    wait_until(gone, "the slot goes with its connection")


def test_devices_are_answered_that_there_are_none(here):
    with fails(errno.ENXIO, calls.DEVICE):
        here.fill(memory=calls.CUDA_IPC, slot=0, alloc_bytes=100)
    with fails(errno.ERANGE, calls.AUTH):
        here.fill(memory=calls.CUDA_IPC, slot=0, alloc_bytes=9)
    with fails(errno.EINVAL, calls.AUTH):
        here.fill(memory=calls.CUDA_IPC, alloc_bytes=100)
    null = os.open("/dev/null", os.O_RDWR)
    slot, _, _ = here.passer.pass_on(null, calls.PASS_DEVICE)
    os.close(null)
    for kind in (calls.CUDA_VMM, calls.CUDA_POOL):
        with fails(errno.ENXIO, calls.DEVICE):
            here.fill(memory=kind, slot=slot, alloc_bytes=100)
    with fails(errno.EOPNOTSUPP, calls.AUTH):
        here.fill(memory=calls.CUDA_POOL, alloc_bytes=100)
    for kind in (0, calls.CUDA_IPC, calls.CUDA_VMM):
        with fails(errno.ENXIO, calls.DEVICE):
            calls.ioctl(here.fd, calls.LEND,
                        calls.new(calls.Lend, memory=kind))
    with fails(errno.EINVAL, calls.AUTH):
        calls.ioctl(here.fd, calls.LEND, calls.new(calls.Lend,
                                                memory=calls.CUDA_POOL))
    with fails(errno.ESRCH):
        here.passer.descriptor(1)
    for fields in ({"lease": 1}, {"cookie": 1}):
        with fails(errno.ENXIO, calls.DEVICE):
            calls.drop(here.fd, **fields)


def test_another_version(here):
    version = calls.info(here.fd).version
    assert here.fill(version=version).done == 10
    with fails(errno.ESTALE, calls.FETCH):
        here.fill(version=version ^ 1)


def test_a_file_that_was_rewritten(mount, model):
    at = Setting(mount(m=model), "model-00001-of-00003.safetensors")
    at.fill()
    with open(model.path / at.path.name, "r+b") as f:
        f.truncate(100)
    for number, call in ((calls.INFO, calls.new(calls.Info)),
                         (calls.FILL, calls.segments(
                             calls.new(calls.Fill, slot=at.slot),
                             [(0, 0, 10)]))):
        with fails(errno.ESTALE, calls.FETCH):
            calls.ioctl(at.fd, number, call)
    calls.drop(at.fd, at.slot)
    os.close(at.fd)


def test_memory_that_cannot_be_passed(here):
    def refused(code, fd, **kw):
        with fails(code):
            here.passer.pass_on(fd, **kw)
        os.close(fd)
    ro = calls.memory(4096)
    refused(errno.EPERM, os.open(f"/proc/self/fd/{ro}", os.O_RDONLY))
    os.close(ro)
    read_only = calls.memory(4096)
    seal(read_only, 8)  # F_SEAL_WRITE
    refused(errno.EPERM, read_only)
    refused(errno.EINVAL, calls.memory(0))
    refused(errno.ERANGE, calls.memory(4096), size=4097)
    refused(errno.EFAULT, calls.memory(1 << 20, allocate=False))
    refused(errno.EINVAL, calls.memory(4096), what=9)
    refused(errno.EINVAL, calls.memory(4096), abi=2)
    refused(errno.EACCES, calls.memory(4096), token=b"x" * 32)
    refused(errno.EOPNOTSUPP, os.open("/dev/zero", os.O_RDWR))
    refused(errno.EOPNOTSUPP, calls.memory(4096), what=calls.PASS_EVENT)
    with tempfile.TemporaryFile(dir="/var/tmp") as disk:
        disk.write(b"x" * 4096)
        disk.flush()
        if not on_memory(disk.fileno()):
            refused(errno.EOPNOTSUPP, os.dup(disk.fileno()))
    with fails(errno.EINVAL):
        here.passer.pass_on(None)


def seal(fd, seals):
    fcntl.fcntl(fd, calls.F_ADD_SEALS, seals)


def on_memory(fd):
    return os.fstatvfs(fd).f_fsid == 0 and os.fstat(fd).st_blksize >= 1 << 20


def test_shared_memory_by_name_is_filled(here):
    name = f"/dev/shm/weightfs-test-{os.getpid()}"
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(name)
    os.write(fd, b"\0" * 100)
    slot, size, mapped = here.passer.pass_on(fd)
    assert (size, mapped) == (100, 0)
    here.fill([(0, 50, 50)], slot=slot)
    assert os.pread(fd, 50, 50) == here.path.read_bytes()[:50]
    os.close(fd)


def test_a_message_of_another_form_ends_the_connection(here):
    with calls.Passer.of(here.fd) as other:
        other.socket.send(b"hello")
        with contextlib.suppress(ConnectionResetError):
            assert other.socket.recv(100) == b""
    here.fill()


def test_memory_that_shrinks_or_is_given_back(here):
    for seal in (True, False):
        target = calls.Target(here.passer, 1 << 20, seal)
        here.fill(slot=target.slot)
        # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
        assert calls.libc.fallocate(target.fd, 3, calls.ctypes.c_long(0),
                                    calls.ctypes.c_long(1 << 20)) == 0
        with fails(errno.EFAULT, calls.MAP):
            here.fill(slot=target.slot)
        if not seal:
            os.ftruncate(target.fd, 100)
            with fails(errno.EFAULT, calls.MAP):
                here.fill(slot=target.slot)
            assert os.fstat(target.fd).st_size == 100
        target.close()


def test_a_user_has_so_many_slots_and_connections(here):
    fd = calls.memory(4096)
    slots = [here.passer.pass_on(fd)[0] for _ in range(255)]
    assert len(set(slots)) == 255
    with fails(errno.EBUSY):
        here.passer.pass_on(fd)
    with fails(errno.EBUSY, calls.AUTH):
        here.fill(flags=calls.ASYNC)
    calls.drop(here.fd, slots.pop())
    here.passer.pass_on(fd)
    os.close(fd)
    more = [calls.Passer.of(here.fd) for _ in range(64)]
    with fails(errno.EINVAL):
        more[62].pass_on(None)
    with pytest.raises(ConnectionError):
        more[63].pass_on(None)
    for one in more:
        one.close()
    here.fill()


AS_NOBODY = """
import os, sys
sys.path.insert(0, sys.argv[1])
import calls
fd = os.open(sys.argv[2], os.O_RDONLY)
os.setgid(65534), os.setuid(65534)
for use in (lambda: calls.fill(fd, int(sys.argv[3]), [(0, 0, 1)]),
            lambda: calls.drop(fd, int(sys.argv[3]))):
    try:
        use()
    except calls.Failed as e:
        print(e.errno, e.stage)
with calls.Passer.of(fd) as passer:
    target = calls.Target(passer, 4096)
    print(calls.fill(fd, target.slot, [(0, 0, 9)]).done)
"""


def test_slots_are_of_one_user(mount, model, folder, root):
    at = Setting(mount("allow_other", m=model))
    work = folder / "calls"
    work.mkdir()
    (work / "calls.py").write_text((HERE / "calls.py").read_text())
    done = subprocess.run([sys.executable, "-B", "-c", AS_NOBODY, work,
                           at.path, str(at.slot)], text=True, check=True,
                          capture_output=True)
    refused = f"{errno.EACCES} {calls.AUTH}"
    assert done.stdout.split("\n") == [refused, refused, "9", ""], done.stderr
    at.fill()


def test_a_token_is_of_one_process(here):
    said = calls.info(here.fd)
    child = os.fork()
    if not child:
        code = 1
        try:
            calls.Passer(said.socket.decode(), said.token).pass_on(
                calls.memory(4096))
        except OSError as e:
            code = 0 if e.errno == errno.EACCES else 2
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_a_caller_in_a_namespace_that_cannot_be_seen(mount, model, root):
    m = mount(m=model, wrap=["unshare", "--pid", "--fork", "--kill-child"])
    fd = os.open(tensor_path(m, "m", "0", "odd"), os.O_RDONLY)
    with fails(errno.EXDEV, calls.AUTH):
        calls.info(fd)
    os.close(fd)
    assert run("umount", m.path).returncode == 0
