# SPDX-License-Identifier: Apache-2.0
"""Nothing can be written, however it is tried."""
import ctypes
import errno
import mmap
import os
import subprocess

import pytest

from mounts import RawMap, assert_same, libc

RDONLY = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTSUP)


def refused(call, *args):
    with pytest.raises(OSError) as e:
        call(*args)
    assert e.value.errno in RDONLY, e.value
    return e.value.errno


def open_close(path, flags, mode=0o644):
    os.close(os.open(path, flags, mode))


def attempts(top, file, directory):
    """Every way to change something, as thunks."""
    return {
        "open for writing": lambda: open_close(file, os.O_WRONLY),
        "open for both": lambda: open_close(file, os.O_RDWR),
        "open with truncation": lambda: open_close(
            file, os.O_RDONLY | os.O_TRUNC),
        "open for appending": lambda: open_close(
            file, os.O_WRONLY | os.O_APPEND),
        "create a file": lambda: open_close(
            directory / "new", os.O_WRONLY | os.O_CREAT),
        "create without opening for writing": lambda: open_close(
            directory / "new", os.O_RDONLY | os.O_CREAT),
        "create an unnamed file": lambda: open_close(
            directory, os.O_RDWR | os.O_TMPFILE),
        "truncate": lambda: os.truncate(file, 0),
        "unlink": lambda: os.unlink(file),
        "rmdir": lambda: os.rmdir(directory),
        "mkdir": lambda: os.mkdir(directory / "new"),
        "mknod": lambda: os.mkfifo(directory / "new"),
        "symlink": lambda: os.symlink("x", directory / "new"),
        "link": lambda: os.link(file, directory / "new"),
        "rename": lambda: os.rename(file, directory / "new"),
        "rename over": lambda: os.rename(directory, top / "new"),
        "chmod": lambda: os.chmod(file, 0o777),
        "chown": lambda: os.chown(file, 0, 0),
        "utime": lambda: os.utime(file, (1, 1)),
        "setxattr": lambda: os.setxattr(file, "user.weightfs.dtype", b"F32"),
        "set another attribute": lambda: os.setxattr(file, "user.x", b"1"),
        "removexattr": lambda: os.removexattr(file, "user.weightfs.dtype"),
    }


@pytest.mark.parametrize("kind", ["tensor", "file", "control"])
@pytest.mark.parametrize("remounted", [False, True],
                         ids=["ro", "remounted rw"])
def test_every_change_is_refused(mount, plain, remounted, kind):
    m = mount(p=plain)
    if remounted:
        # libmount asks the helper's options; the system call does not.
        subprocess.run(["mount", "-i", "-o", "remount,rw", m.path],
                       check=False, capture_output=True)
    name, place = next(iter(plain.ranks["0"].items()))
    file = {"tensor": m.path / "p" / "0" / name,
            "file": m.path / "p" / "model-00001-of-00003.safetensors",
            "control": m.path / ".weightfs" / "version"}[kind]
    before = file.read_bytes()
    for what, attempt in attempts(m.path, file, file.parent).items():
        try:
            refused(attempt)
        except pytest.fail.Exception:
            pytest.fail(f"not refused: {what}")
        except AssertionError as e:
            raise AssertionError(f"{what}: {e}") from e
    assert_same(file.read_bytes(), before, "after all attempts")
    if kind == "tensor":
        assert_same(before, place.read(), name)


def test_a_write_open_cannot_be_smuggled(mount, plain):
    m = mount(p=plain)
    paths = [m.path / "p" / "0" / next(iter(plain.ranks["0"])),
             m.path / "p" / "model-00001-of-00003.safetensors"]
    for remount in (False, True):
        if remount:
            subprocess.run(["mount", "-i", "-o", "remount,rw", m.path],
                           check=False, capture_output=True)
        for path in paths:
            before = path.read_bytes()
            fd = os.open(path, os.O_RDONLY)
            try:
                again = f"/proc/self/fd/{fd}"
                for flags in (os.O_RDWR, os.O_WRONLY,
                              os.O_RDONLY | os.O_TRUNC):
                    refused(open_close, again, flags)
                with pytest.raises(OSError) as e:
                    os.pwrite(fd, b"x", 0)
                assert e.value.errno == errno.EBADF
                with pytest.raises(OSError):
                    os.ftruncate(fd, 0)
                with pytest.raises(OSError):
                    mmap.mmap(fd, 4096, mmap.MAP_SHARED,
                              mmap.PROT_READ | mmap.PROT_WRITE)
                with pytest.raises(OSError):
                    os.posix_fallocate(fd, 0, 10)
            finally:
                os.close(fd)
            with RawMap(path) as at:
                assert libc.mprotect(at.address, at.size, mmap.PROT_READ
                                     | mmap.PROT_WRITE) == -1
                assert ctypes.get_errno() == errno.EACCES
            assert_same(path.read_bytes(), before, str(path))


def test_a_private_map_may_be_written_and_changes_nothing(mount, plain):
    m = mount(p=plain)
    name, place = next(iter(plain.ranks["0"].items()))
    path = m.path / "p" / "0" / name
    fd = os.open(path, os.O_RDONLY)
    with mmap.mmap(fd, 0, mmap.MAP_PRIVATE,
                   mmap.PROT_READ | mmap.PROT_WRITE) as at:
        at[:4] = b"\xff\xfe\xfd\xfc"
    os.close(fd)
    assert_same(path.read_bytes(), place.read(), name)


def test_locks_and_leases_do_no_harm(mount, plain):
    import fcntl
    m = mount(p=plain)
    path = m.path / "p" / "0" / next(iter(plain.ranks["0"]))
    fd = os.open(path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    fcntl.flock(fd, fcntl.LOCK_UN)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert os.lseek(fd, 0, os.SEEK_END) == os.fstat(fd).st_size
    os.close(fd)
