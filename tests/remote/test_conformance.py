# SPDX-License-Identifier: Apache-2.0
"""The same cases over every source: same names, same bytes, same errors.

A new source is a class below and a row of SOURCES. Where there are RDMA devices
(the guest of tests/rdma) it is a seed's memory alone.
"""
import contextlib
import errno
import os
import random
import re
import shutil
import signal
import ssl
import tempfile
from pathlib import Path

import pytest

import checkpoints as ck
import mounts
import seeds as real
from bad_disk import BadDisk
from conftest import _mount
from mounts import assert_same
from test_remote import seeds_of
from web import Odd, Server

MIB = 1 << 20
SHARD = 2_000_002  # bytes of a tensor: chunks end within


class Source:
    """Where the checkpoint `at` is offered; `place` is what --model says.

    `lost` and `back`: it answers no more, and again (None: that cannot be).
    """
    trust = "origin"
    tls = False
    reads_disk = True  # when it is asked, not before
    args, env = (), None
    lost = back = None

    def __init__(self, folder, at):
        self.folder, self.at = folder, at
        self.start()

    def authority(self):
        ca = real.authority(self.folder)
        self.args = ("-o", f"seed_ca={ca}")
        return real.certificate(self.folder, "server")

    def uploaded(self):
        """The files are others now."""

    def spoil(self, name, off):
        """The file cannot be read at `off`, if the disk does not see to it."""

    def assert_says(self, name, mount):
        """Why the file cannot be had is said where the bytes come from."""
        assert f"cannot give file '{name}' of model '" in mount.log()

    def assert_used(self, mount):
        """The bytes that the mount has came as this source gives them."""

    def close(self):
        pass


class File(Source):
    def assert_says(self, name, mount):
        pass  # that is the mount itself

    def start(self):
        self.place, self.shown = str(self.at), f"file:{self.at}"


class SeedBase(Source):
    trust = "seed"
    same_host = False
    name, listen, more = "seed", "127.0.0.1:0", ()

    def start(self):
        args = ["--rescan=0.1", "--model", f"m={self.at}", *self.more]
        if not self.same_host:
            args += ["--same-host=off"]
        if self.tls:
            cert, key = self.authority()
            args += ["--tls-cert", cert, "--tls-key", key]
        self.seed = real.Seed(self.folder, self.name, args,
                              self.listen).wait_ready()
        self.url = self.seed.log().split("seeding on '")[1].split("'")[0]
        self.place = f"{self.url}/v1/models/m"
        self.shown = self.url

    def assert_says(self, name, mount):
        super().assert_says(name, mount)
        assert f"cannot read '{name}' of '{self.at}'" in self.seed.log()

    def assert_used(self, mount):
        (row,) = seeds_of(mount)
        assert bool(row["lent_files"]) == self.same_host
        assert bool(row["bytes"]) != self.same_host

    def close(self):
        assert not self.seed.close()


class SameHost(SeedBase):
    """Its files are lent over a Unix socket; what is lent stays."""
    same_host = True


class Seed(SeedBase):
    def lost(self):
        mounts.freeze(self.seed.pid)

    def back(self):
        os.kill(self.seed.pid, signal.SIGCONT)


class SeedTls(Seed):
    tls = True


class Rdma(SeedBase):
    """READs need no process of the seed's, so it is lost when it is killed."""
    more = ("--rdma-memory", "64M")

    def start(self):
        super().start()
        self.listen = f"127.0.0.1:{self.seed.address[1]}"
        mounts.wait_until(lambda: "of registered memory" in self.seed.log(),
                          "the files are registered")

    def assert_used(self, mount):
        (row,) = seeds_of(mount)
        assert row["rdma"]["bytes"] > 0 and row["rdma"]["wrong"] == 0, row

    def lost(self):
        self.seed.process.kill()
        self.seed.process.wait()

    def back(self):
        self.name += "-again"
        self.start()


class Origin(Source):
    def start(self):
        context = None
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.authority())
        self.server = Server(self.at.parent, Odd, context)
        self.place = f"{self.server.url}/{self.at.name}/"
        self.shown = self.place

    def lost(self):
        self.server.http.odd = lambda handler, path: 500

    def back(self):
        self.server.http.odd = lambda handler, path: None

    def close(self):
        self.server.close()


class OriginTls(Origin):
    tls = True


class Bucket(Source):
    reads_disk = False

    def start(self):
        from s3 import S3, environment, error  # takes a second
        self.error, self.server = error, S3()
        self.env = environment(self.folder, self.server)
        self.place = self.shown = "s3://conformance/models/m"
        self.uploaded()

    def uploaded(self):
        self.server.upload(self.at, "conformance", "models/m/")

    def spoil(self, name, off):
        def odd(environ):
            span = re.fullmatch(r"bytes=\d+-(\d+)",
                                environ.get("HTTP_RANGE", ""))
            hit = environ["PATH_INFO"].endswith(f"/{name}") and span
            return (self.error(500, "InternalError")
                    if hit and int(span[1]) >= off else None)
        self.server.odd = odd

    def lost(self):
        self.server.odd = lambda environ: self.error(500, "InternalError")

    def back(self):
        self.server.odd = lambda environ: None

    def close(self):
        self.server.close()


SOURCES = ([Rdma] if "GUEST" in os.environ else
           [File, SameHost, Seed, SeedTls, Origin, OriginTls, Bucket])


def checkpoint(folder):
    model = ck.hf_sharded(folder / "model", ck.layers(4, SHARD), 1)
    (model.path / "sub").mkdir()
    (model.path / "sub" / "note ü%.md").write_text("a note")
    (model.path / "empty.txt").touch()
    return model


class World:
    """A checkpoint, a source of it, and a mount that uses that."""

    def __init__(self, source, folder, mount, model):
        self.folder, self.make = folder, mount
        self.model, self.source = model, source
        self.mount = self.mounted("prefetch=0")
        self.top = self.mount.path / "m"
        self.shard = next(name for name in self.model.files()
                          if name.endswith(".safetensors"))

    def mounted(self, *options):
        made = self.make(*options, env=self.source.env,
                         args=(*self.source.args, "--model",
                               f"m={self.source.place}"))
        # It waits a few seconds for its sources, and goes on without them.
        mounts.wait_until((made.path / "m").exists, "the model is there")
        return made


def close_all(made):
    return [wrong for _ in list(made) for wrong in made.pop().close()]


@pytest.fixture(scope="module", params=SOURCES, ids=lambda kind: kind.__name__)
def world(request):
    folder = Path(tempfile.mkdtemp(prefix="weightfs-mount-"))
    folder.chmod(0o755)
    made = _mount.Mounter(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        model = checkpoint(folder)
        source = request.param(folder, model.path)
        stack.callback(source.close)
        stack.callback(close_all, made)
        one = World(source, folder, made, model)
        yield one
        wrong = close_all(made)
        assert not wrong + mounts.sanitizer_reports(folder), one.mount.log()


def test_the_listing_is_the_same(world):
    files = {str(path.relative_to(world.top)): path.stat().st_size
             for path in world.top.rglob("*")
             if path.is_file() and path.relative_to(world.top).parts[0] != "0"}
    assert files == {name: (world.model.path / name).stat().st_size
                     for name in world.model.files()}


def test_all_bytes_are_the_same(world):
    mounts.assert_model_equals(world.mount, "m", world.model)
    world.source.assert_used(world.mount)


def test_odd_offsets_and_lengths_are_the_same(world, seed):
    chance = random.Random(seed)
    want = (world.model.path / world.shard).read_bytes()
    # A mount that has nothing in memory yet.
    top = world.mounted("prefetch=0").path / "m"
    with open(top / world.shard, "rb", buffering=0) as file:
        for _ in range(30):
            at = chance.choice([0, MIB, 2 * MIB, len(want)])
            at = max(0, at + chance.randrange(-70000, 70000))
            n = chance.choice([1, 511, 4097, 131073, MIB + 1])
            assert os.pread(file.fileno(), n, at) == want[at:at + n], (at, n)


def test_beyond_the_end_there_is_nothing(world):
    size = (world.model.path / world.shard).stat().st_size
    with open(world.top / world.shard, "rb", buffering=0) as file:
        for at, n in ((size, 0), (size + 1, 0), (size + (1 << 40), 0),
                      (size - 3, 3)):
            assert len(os.pread(file.fileno(), 10, at)) == n


@pytest.mark.parametrize("name, flags, want", [
    ("nothing", os.O_RDONLY, errno.ENOENT),
    ("sub/nothing", os.O_RDONLY, errno.ENOENT),
    ("config.json/x", os.O_RDONLY, errno.ENOTDIR),
    ("config.json", os.O_RDWR, errno.EROFS),
    ("new", os.O_WRONLY | os.O_CREAT, errno.EROFS),
])
def test_what_cannot_be_opened_fails_alike(world, name, flags, want):
    with pytest.raises(OSError) as found:
        os.close(os.open(world.top / name, flags))
    assert found.value.errno == want


def test_attributes_tell_source_and_trust(world):
    path = world.top / world.shard
    assert mounts.xattr(path, "trust") == world.source.trust
    assert mounts.xattr(path, "source").startswith(
        world.source.shown.rstrip("/"))


def test_a_source_that_is_lost_is_eio_and_good_again_when_back(world):
    if not world.source.lost:
        pytest.skip("files of this machine are not lost but changed")
    m = world.mounted("prefetch=0", "seed_deadline=2")
    want = (world.model.path / world.shard).read_bytes()
    world.source.lost()
    try:
        with open(m.path / "m" / world.shard, "rb", buffering=0) as file:
            with pytest.raises(OSError) as found:
                os.pread(file.fileno(), 4096, MIB + MIB // 2)
        assert found.value.errno == errno.EIO
    finally:
        world.source.back()
    mounts.wait_until(lambda: read(m.path / "m" / world.shard) == want,
                      "it is back")


def read(path):
    try:
        return path.read_bytes()
    except OSError as problem:
        assert problem.errno in (errno.EIO, errno.ESTALE, errno.ENOENT)
        return None


def test_a_rewritten_file_is_the_old_one_whole_or_stale(world, seed):
    m = world.mounted("prefetch=0", "switch_after=0.1", "rescan=0.1")
    path = m.path / "m" / world.shard
    first = (world.model.path / world.shard).read_bytes()
    other = ck.hf_sharded(world.folder / "other", ck.layers(4, SHARD), seed)
    second = (other.path / world.shard).read_bytes()
    with open(path, "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 4096, 0) == first[:4096]
        for name in other.files():
            os.replace(other.path / name, world.model.path / name)
        world.source.uploaded()
        for at in range(0, len(first), MIB // 2):
            try:
                got = os.pread(file.fileno(), 4096, at)
            except OSError as problem:
                assert problem.errno == errno.ESTALE
                break
            assert got == first[at:at + 4096]
    # Whoever opens all the time keeps the old one.
    mounts.wait_until(lambda: read(path) == second, "the new one is there",
                      every=1)


@pytest.fixture(params=[kind for kind in SOURCES if not kind.tls],
                ids=lambda kind: kind.__name__)
def damaged(request, folder, mount):
    """A world whose checkpoint lies on a disk that has lost its end."""
    with contextlib.ExitStack() as stack:
        model = checkpoint(folder)
        disk = BadDisk(folder, model.path)
        stack.callback(disk.close)
        kind = request.param
        source = kind(folder, disk.path if kind.reads_disk else model.path)
        stack.callback(source.close)
        stack.callback(close_all, mount)
        one = World(source, folder, mount, model)
        one.bad, one.off = disk.file.name, disk.off
        yield one


def test_a_file_that_cannot_be_read_is_eio_and_the_others_are_fine(damaged):
    damaged.source.spoil(damaged.bad, damaged.off)
    m = damaged.mounted("prefetch=0", "seed_deadline=0.3")
    with open(m.path / "m" / damaged.bad, "rb", buffering=0) as file:
        with pytest.raises(OSError) as found:
            os.pread(file.fileno(), 4096, damaged.off)
    assert found.value.errno == errno.EIO
    # What is read by the mount itself is said, with the file and why.
    lost = [name for _, name, place in damaged.model.tensors()
            if place.file.name == damaged.bad
            and place.offset <= damaged.off < place.offset + place.size]
    with pytest.raises(OSError) as found:
        (m.path / "m" / "0" / lost[0]).read_bytes()
    assert found.value.errno == errno.EIO
    said = re.compile(f"cannot read '{damaged.bad}' of '.*': Input/output")
    assert len(said.findall(m.log())) == 1
    damaged.source.assert_says(damaged.bad, m)
    for name in damaged.model.files():
        if name != damaged.bad:
            # As soon as the source is so quick that the deadline is kept.
            got = mounts.wait_until(
                lambda name=name: (b := read(m.path / "m" / name)) is not None
                and [b], f"'{name}' can be read")
            assert_same(got[0], (damaged.model.path / name).read_bytes(), name)
