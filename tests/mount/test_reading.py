# SPDX-License-Identifier: Apache-2.0
"""Every way to read gives the same bytes, however they are served."""
import errno
import mmap
import os
import subprocess
import threading
from pathlib import Path

import pytest

import checkpoints as ck
from mounts import (HELPERS, PATIENT, SCALE, RawMap, assert_same, served,
                    wait_until)

MODES = ["passthrough", "cached"]


def by_read(path):
    with open(path, "rb", buffering=0) as f:
        parts = []
        while part := f.read(1 << 20):
            parts.append(part)
        return b"".join(parts)


def by_small_reads(path):
    with open(path, "rb", buffering=0) as f:
        parts = []
        while part := f.read(65_537):
            parts.append(part)
        return b"".join(parts)


def by_preadv_at_odd_offsets(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        out = bytearray(size)
        at, step = 0, 1
        while at < size:
            first, second = bytearray(step), bytearray(4093)
            got = os.preadv(fd, [first, second], at)
            want = min(size - at, step + 4093)
            assert got == want, "a short read before the end"
            out[at:at + got] = (first + second)[:got]
            at += got
            step = step % 100_000 + 7919
        assert os.pread(fd, 10, size) == b""
        assert os.pread(fd, 10, size + 12345) == b""
        return bytes(out)
    finally:
        os.close(fd)


def by_map(path):
    if os.stat(path).st_size == 0:
        return b""
    with RawMap(path) as at:
        return at.bytes()


def by_private_map(path):
    if os.stat(path).st_size == 0:
        return b""
    with RawMap(path, flags=mmap.MAP_PRIVATE) as at:
        return at.bytes()


def by_populated_map(path):
    if os.stat(path).st_size == 0:
        return b""
    with RawMap(path, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE) as at:
        return at.bytes()


def by_scattered_map(path):
    size = os.stat(path).st_size
    if size == 0:
        return b""
    out = bytearray(size)
    with RawMap(path) as at:
        view = at.view()
        pages = list(range(0, size, 4096))
        for start in pages[::2][::-1] + pages[1::2]:
            out[start:start + 4096] = view[start:start + 4096]
        view.release()
    return bytes(out)


def by_direct(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        size = os.fstat(fd).st_size
        out = bytearray()
        with mmap.mmap(-1, 1 << 20) as block:  # page-aligned
            while len(out) < size:
                got = os.preadv(fd, [block], len(out))
                assert got > 0
                out += block[:got]
        return bytes(out)
    finally:
        os.close(fd)


def by_sendfile(path):
    fd = os.open(path, os.O_RDONLY)
    out = os.memfd_create("sendfile")
    try:
        size, at = os.fstat(fd).st_size, 0
        while at < size:
            got = os.sendfile(out, fd, at, size - at)
            assert got > 0
            at += got
        return os.pread(out, size + 1, 0) if size < 1 << 30 else None
    finally:
        os.close(fd)
        os.close(out)


def by_splice(path):
    fd = os.open(path, os.O_RDONLY)
    taken, given = os.pipe()
    try:
        out, at = bytearray(), 0
        while got := os.splice(fd, given, 60_000, offset_src=at):
            at += got
            out += os.read(taken, 65_536)
        return bytes(out)
    finally:
        for each in (fd, taken, given):
            os.close(each)


def by_io_uring(path):
    done = subprocess.run([HELPERS / "uring", path, "123456"], check=False,
                          capture_output=True)
    if done.returncode == 77:
        pytest.skip(done.stderr.decode())
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def by_copy_file_range(path):
    """EXDEV, as between any two file systems; then what callers do."""
    size = os.stat(path).st_size
    fd = os.open(path, os.O_RDONLY)
    out = os.memfd_create("copy")
    try:
        if size:
            with pytest.raises(OSError) as e:
                os.copy_file_range(fd, out, size, 0)
            assert e.value.errno == errno.EXDEV
        return by_read(path)
    finally:
        os.close(fd)
        os.close(out)


WAYS = [by_read, by_small_reads, by_preadv_at_odd_offsets, by_map,
        by_private_map, by_populated_map, by_scattered_map, by_direct,
        by_sendfile, by_splice, by_io_uring, by_copy_file_range]


def some_model(folder, seed):
    specs = [ck.of_bytes("w.big", 6_000_002 // SCALE * 2),
             ck.Spec("w.odd", "U8", (1_234_567,)), ck.Spec("none", "F32", (0,)),
             ck.Spec("one", "U8", (1,)), ck.Spec("page", "U8", (4096,)),
             ck.of_bytes("w.last", 3_000_000)]
    return ck.hf_sharded(folder / "model", specs, seed, parts=2)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS, ids=lambda w: w.__name__)
def test_all_bytes_are_the_sources(mount, folder, seed, passthrough, way,
                                   mode):
    model = some_model(folder, seed)
    if mode == "passthrough":
        m = passthrough(mount(m=model))
    else:
        m = mount("passthrough=off", m=model)
    for rank, name, place in model.tensors():
        assert_same(way(m.path / "m" / rank / name), place.read(), name)
    for name in model.files():
        assert_same(way(m.path / "m" / name),
                    (model.path / name).read_bytes(), name)
    opens = m.status()["opens"]
    if mode == "cached":
        assert opens["passthrough"] == 0
        assert opens["cached"] > 0
    else:
        assert opens["passthrough"] > 0


def test_passthrough_reads_never_reach_the_daemon(mount, folder, seed,
                                                  passthrough):
    model = some_model(folder, seed)
    m = passthrough(mount(PATIENT, m=model))
    for rank, name, place in model.tensors():
        path = m.path / "m" / rank / name
        assert_same(by_read(path), place.read(), name)
        assert_same(by_map(path), place.read(), name)
        assert served(path) == ("passthrough" if place.size else "cached")
    for name in model.files():
        by_read(m.path / "m" / name)
    opens = m.status()["opens"]
    # What is empty has no bytes to pass through.
    empty = [p for p in (m.path / "m").rglob("*")
             if p.is_file() and p.stat().st_size == 0]
    assert m.status()["reads"]["count"] == 0
    assert opens["cached"] <= 2 * len(empty), opens


def test_passthrough_off_is_what_it_says(mount, plain):
    m = mount("passthrough=off", p=plain)
    name, place = next(iter(plain.ranks["0"].items()))
    path = m.path / "p" / "0" / name
    assert_same(path.read_bytes(), place.read(), name)
    status = m.status()
    assert status["passthrough"]["in_use"] is False
    assert "off" in status["passthrough"]["why"]
    assert served(path) == "cached"
    assert status["reads"]["count"] > 0
    assert status["hydration"]["files"] == 0


def test_a_second_read_comes_from_the_page_cache(mount, plain):
    m = mount("passthrough=off", p=plain)
    path = m.path / "p" / "0" / next(iter(plain.ranks["0"]))
    path.read_bytes()
    before = m.status()["reads"]["count"]
    path.read_bytes()
    assert m.status()["reads"]["count"] == before


@pytest.mark.parametrize("mode", MODES)
def test_sixteen_readers_at_once_each_get_the_right_bytes(
        mount, folder, seed, mode):
    model = ck.hf_sharded(folder / "m", ck.layers(48, 1_500_000 // SCALE * 2),
                          seed)
    m = mount(*([] if mode == "passthrough" else ["passthrough=off"]),
              m=model)
    wrong = []

    def reader(number):
        items = list(model.ranks["0"].items())
        for i in range(len(items)):
            name, place = items[(i * 5 + number * 3) % len(items)]
            way = (by_read, by_map, by_preadv_at_odd_offsets)[number % 3]
            if way(m.path / "m" / "0" / name) != place.read():
                wrong.append(name)

    threads = [threading.Thread(target=reader, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert m.status()["reads"]["errors"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_signals_every_ten_milliseconds_break_nothing(mount, folder, seed,
                                                      mode):
    model = ck.hf_sharded(folder / "m", ck.layers(40, 4_000_000 // SCALE * 2),
                          seed)
    m = mount(*([] if mode == "passthrough" else ["passthrough=off"]),
              m=model)
    items = list(model.ranks["0"].items())
    with open(folder / "out", "wb") as out:
        done = subprocess.run(
            [HELPERS / "alarmed", "10000",
             *(m.path / "m" / "0" / name for name, _ in items)],
            stdout=out, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert_same((folder / "out").read_bytes(),
                b"".join(p.read() for _, p in items), "all tensors")
    # Faster than any open can be: all are interrupted.
    m.evict()
    subprocess.run([HELPERS / "alarmed", "100",
                    *(m.path / "m" / "0" / name for name, _ in items)],
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                   check=True)


def test_opens_during_hydration_get_the_right_bytes(mount, folder, seed):
    model = ck.hf_single(folder / "m", [ck.of_bytes("w", 64_000_000 // SCALE)],
                         seed)
    place = model.ranks["0"]["w"]
    for wait in ("0", "0.001", "30"):
        m = mount(f"open_wait={wait}", m=model)
        path = m.path / "m" / "0" / "w"
        want = place.read()
        wrong = []

        def reader(way):
            if way(path) != want:
                wrong.append(way.__name__)

        threads = [threading.Thread(target=reader, args=(WAYS[i % 7],))
                   for i in range(14)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not wrong
        status = m.status()
        assert status["hydration"]["files"] <= 1, status
        assert m.terminate() == 0


def test_one_hydration_however_many_open_it(mount, folder, seed, passthrough):
    model = ck.hf_single(folder / "m", ck.layers(4, 20_000_000 // SCALE), seed)
    m = passthrough(mount(PATIENT, "prefetch=0", m=model))
    name, place = next(iter(model.ranks["0"].items()))
    threads = [threading.Thread(
        target=by_read, args=(m.path / "m" / "0" / name,)) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    status = m.status()
    assert status["hydration"]["files"] == 1
    assert status["hydration"]["bytes"] == place.size
    assert status["arena"]["resident_bytes"] == place.size


def test_prefetch_brings_what_lies_ahead(mount, folder, seed, passthrough):
    model = ck.hf_sharded(folder / "m", ck.layers(12, 1_000_000), seed)
    m = passthrough(mount("prefetch=64M", m=model))
    # The same step twice is a stride.
    for name in list(model.ranks["0"])[:3]:
        by_read(m.path / "m" / "0" / name)
    wait_until(lambda: m.status()["hydration"]["files"] > 3,
               "more is hydrated than was opened")


def test_no_prefetch_means_none(mount, folder, seed, passthrough):
    model = ck.hf_sharded(folder / "m", ck.layers(12, 1_000_000), seed)
    m = passthrough(mount(PATIENT, "prefetch=0", m=model))
    for name in list(model.ranks["0"])[:3]:
        by_read(m.path / "m" / "0" / name)
    assert m.status()["hydration"]["files"] == 3


@pytest.mark.parametrize("mode", MODES)
def test_offsets_beyond_4_gib_lead_to_their_bytes(mount, folder, mode):
    """A sparse source; its few bytes of data lie where 32 bits end."""
    gib = 1 << 30
    path = folder / "m"
    path.mkdir()
    specs = [ck.Spec("huge", "U8", (5 * gib,)), ck.Spec("z", "U8", (4096,))]
    head = ck.header(specs)
    last = len(head) + 5 * gib
    with open(path / "model.safetensors", "wb") as f:
        f.write(head)
        f.seek(len(head) + 4 * gib + 123)
        f.write(b"deep")
        f.seek(last - 4)
        f.write(b"tail" + b"Z" * 4096)
    m = mount("arena_size=64M", *(
        [] if mode == "passthrough" else ["passthrough=off"]), m=path)
    rank = m.path / "m" / "0"
    assert (rank / "huge").stat().st_size == 5 * gib
    assert (rank / "huge").stat().st_blocks * 512 >= 5 * gib
    with open(rank / "huge", "rb", buffering=0) as f:
        assert os.pread(f.fileno(), 4, 4 * gib + 123) == b"deep"
        assert os.pread(f.fileno(), 10, 5 * gib - 4) == b"tail"
        assert os.pread(f.fileno(), 4, 2 * gib) == bytes(4)
    assert (rank / "z").read_bytes() == b"Z" * 4096
    with open(m.path / "m" / "model.safetensors", "rb", buffering=0) as f:
        assert os.pread(f.fileno(), 8192, last) == b"Z" * 4096


def test_the_kernel_reads_ahead_as_it_is_told(mount, plain):
    m = mount("passthrough=off", "readahead=2M", p=plain)
    device = os.stat(m.path).st_dev
    at = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}")
    assert (at / "read_ahead_kb").read_text() == "2048\n"
