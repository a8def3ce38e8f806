# SPDX-License-Identifier: Apache-2.0
"""What stat, getxattr, readdir and statfs say."""
import contextlib
import errno
import json
import os
import stat
import subprocess

import pytest

import checkpoints as ck
from mounts import HELPERS, wait_until, xattr

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def walk(top):
    """Every path below, relative, with its lstat."""
    out = {}
    for base, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(base, name)
            out[os.path.relpath(path, top)] = os.lstat(path)
    return out


def test_files_are_read_only_with_the_sources_time(mount, plain):
    os.chmod(plain.path / "config.json", 0o640)
    os.chmod(plain.path / "tokenizer.json", 0o755)
    m = mount(p=plain)
    for name in plain.files():
        have, want = (m.path / "p" / name).stat(), (plain.path / name).stat()
        assert stat.S_ISREG(have.st_mode)
        assert have.st_mode & 0o7777 == want.st_mode & 0o444, name
        assert have.st_mtime_ns == want.st_mtime_ns, name
        assert have.st_size == want.st_size, name
        assert have.st_nlink == 1
    for _, name, place in plain.tensors():
        have, want = (m.path / "p" / "0" / name).stat(), place.file.stat()
        assert have.st_mode & 0o7777 == want.st_mode & 0o444
        assert have.st_mtime_ns == want.st_mtime_ns
        assert have.st_size == place.size
        assert have.st_nlink == 1


def test_owners_are_those_of_the_source(mount, plain, root):
    os.chown(plain.path / "config.json", 65534, 65534)
    m = mount(p=plain)
    st = (m.path / "p" / "config.json").stat()
    assert (st.st_uid, st.st_gid) == (65534, 65534)


def test_directories_are_directories(mount, plain):
    m = mount(p=plain)
    for name in ("", "p", "p/0", "p/1_Pooling", ".weightfs"):
        st = (m.path / name).stat()
        assert stat.S_ISDIR(st.st_mode)
        assert st.st_mode & 0o222 == 0
        subdirs = sum(e.is_dir() for e in os.scandir(m.path / name))
        # 1 is what a file system says that does not count.
        assert st.st_nlink in (1, 2 + subdirs), name


def test_st_blocks_are_always_full(mount, folder, seed):
    model = ck.hf_single(folder / "z", ck.every_dtype()
                         + ck.layers(3, 1_000_003, "U8"), seed)
    with open(model.path / "sparse.bin", "wb") as f:
        f.truncate(10_000_000)
    m = mount(z=model)
    for name, st in walk(m.path / "z").items():
        if stat.S_ISREG(st.st_mode):
            assert st.st_blocks * 512 >= st.st_size, name
            assert st.st_blksize <= 128 * 1024, name


def test_inode_numbers_are_distinct_and_survive_a_remount(mount, plain,
                                                          folder, seed):
    other = ck.sharded_state(folder / "o", ck.layers(8, 100), seed)
    m = mount(p=plain, o=other)
    before = {k: v.st_ino for k, v in walk(m.path).items()}
    assert len(set(before.values())) == len(before)
    assert m.terminate() == 0
    again = mount(o=other, p=plain)
    after = {k: v.st_ino for k, v in walk(again.path).items()}
    assert after == before


def test_a_file_keeps_its_inode_number_while_served_in_turns(mount, plain):
    m = mount("passthrough=off", p=plain)
    on = mount(p=plain)
    for _, name, _ in plain.tensors():
        path = on.path / "p" / "0" / name
        first = path.stat().st_ino
        path.read_bytes()
        with open(path, "rb") as f:
            assert os.fstat(f.fileno()).st_ino == first
        assert (m.path / "p" / "0" / name).stat().st_ino == first


@pytest.mark.parametrize("where", ["", "p", "p/0", "s", "s/1", ".weightfs",
                                   "p/1_Pooling"])
def test_directories_can_be_walked_and_seeked(mount, plain, folder, seed,
                                              where):
    big = ck.sharded_state(folder / "s", ck.layers(900, 16), seed)
    m = mount(p=plain, s=big)
    out = subprocess.run([HELPERS / "dirwalk", m.path / where], check=True,
                         capture_output=True, text=True).stdout.splitlines()
    rows = [line.split(" ", 2) for line in out]
    names = [r[2] for r in rows]
    assert names[:2] == [".", ".."] or {".", ".."} <= set(names)
    assert len(set(names)) == len(names)
    for kind, ino, name in rows:
        if name in (".", ".."):
            assert kind == "d"
            continue
        st = os.lstat(m.path / where / name)
        assert int(ino) == st.st_ino, name
        assert kind == {stat.S_IFDIR: "d", stat.S_IFREG: "f",
                        stat.S_IFLNK: "l"}[stat.S_IFMT(st.st_mode)], name
    here = {r[2]: int(r[1]) for r in rows}
    assert here["."] == os.stat(m.path / where).st_ino


def test_dot_and_dotdot_lead_where_they_should(mount, plain):
    m = mount(p=plain)
    for where in ("p", "p/0", "p/1_Pooling", ".weightfs"):
        top = m.path / where
        assert os.path.samefile(f"{top}/.", top)
        assert os.path.samefile(f"{top}/..", top.parent)


def test_a_directory_read_while_models_come_and_go_stays_sane(
        mount, folder, seed):
    top = folder / "models"
    for i in range(20):
        ck.hf_single(top / f"m{i:02}", ck.layers(1, 100), seed + i)
    m = mount("rescan=0.1", "switch_after=0", models=top)
    with os.scandir(m.path) as it:
        first = next(it).name
        ck.hf_single(top / "a-new-one", ck.layers(1, 100), seed)
        wait_until(lambda: (m.path / "a-new-one").exists(), "it is there")
        names = [first] + [e.name for e in it]
    kept = {f"m{i:02}" for i in range(20)}
    assert kept <= set(names)
    assert len(names) == len(set(names))


def test_attributes_of_a_tensor_are_readable_text(mount, plain, passthrough):
    m = mount(p=plain)
    name, place = next(iter(plain.ranks["0"].items()))
    path = m.path / "p" / "0" / name
    assert set(os.listxattr(path)) >= {
        f"user.weightfs.{a}" for a in (
            "dtype", "shape", "split", "source", "trust", "resident",
            "resident_bytes", "served", "name")}
    assert xattr(path, "dtype") == place.dtype
    assert json.loads(xattr(path, "shape")) == list(place.shape)
    assert xattr(path, "name") == name
    assert place.file.name in xattr(path, "source")
    assert xattr(path, "trust") == "origin"
    assert "user.weightfs.digest" not in os.listxattr(path)
    assert xattr(path, "digest") == "pending"
    assert xattr(path, "resident").rstrip("%") == "0"
    assert xattr(path, "resident_bytes") == "0"
    passthrough(m)
    path.read_bytes()
    wait_until(lambda: xattr(path, "resident_bytes") == str(place.size),
               "the tensor is resident")
    assert xattr(path, "resident").rstrip("%") == "100"
    assert xattr(path, "served") == "passthrough"
    digest = wait_until(lambda: xattr(path, "digest") != "pending"
                        and xattr(path, "digest"), "the digest is known")
    assert digest.startswith("xxh3-128:") and len(digest) == 9 + 32
    assert "user.weightfs.digest" in os.listxattr(path)
    for attr in os.listxattr(path):
        os.getxattr(path, attr).decode()


def test_a_local_tensor_is_hashed_when_asked_and_not_copied_for_it(
        mount, plain, passthrough):
    copied, asked = mount(p=plain), mount(p=plain)
    name, _ = next(iter(plain.ranks["0"].items()))
    path = asked.path / "p" / "0" / name
    digest = wait_until(lambda: xattr(path, "digest") != "pending"
                        and xattr(path, "digest"), "the digest is known")
    assert "user.weightfs.digest" in os.listxattr(path)
    assert xattr(path, "resident_bytes") == "0"
    passthrough(copied)
    path = copied.path / "p" / "0" / name
    path.read_bytes()
    wait_until(lambda: "user.weightfs.digest" in os.listxattr(path),
               "that of the copy is known")
    assert xattr(path, "digest") == digest


def test_a_tensor_is_hashed_anew_when_its_file_is_another(mount, plain):
    m = mount("rescan=0.1", "switch_after=0", p=plain)
    name, place = next(iter(plain.ranks["0"].items()))
    path = m.path / "p" / "0" / name

    def digest():
        with contextlib.suppress(OSError):  # it is being replaced
            return xattr(path, "digest")
    first = wait_until(lambda: digest() not in ("pending", None) and digest(),
                       "the digest is known")
    data = bytearray(place.file.read_bytes())
    data[place.offset] ^= 0xff
    other = place.file.with_suffix(".new")
    other.write_bytes(data)
    os.replace(other, place.file)
    wait_until(lambda: digest() not in ("pending", None, first),
               "the digest of the other bytes is known")


def test_attributes_of_files_and_models(mount, plain):
    m = mount(p=plain)
    file = m.path / "p" / "config.json"
    assert set(os.listxattr(file)) >= {
        f"user.weightfs.{a}" for a in ("source", "trust", "resident",
                                       "resident_bytes", "served", "name")}
    assert xattr(file, "name") == "config.json"
    model = m.path / "p"
    assert set(os.listxattr(model)) >= {
        f"user.weightfs.{a}" for a in ("version", "trust", "ranks", "plan",
                                       "format")}
    for attr in os.listxattr(model):
        os.getxattr(model, attr).decode()
    assert xattr(file, "trust") == xattr(model, "trust") == "origin"
    assert m.model("p")["trust"] == "origin"
    assert xattr(model, "ranks") == "1"
    assert xattr(model, "format") == "hf"


def test_attributes_obey_the_calls_rules(mount, plain):
    m = mount(p=plain)
    path = m.path / "p" / "0" / next(iter(plain.ranks["0"]))
    for name, want in (("user.weightfs.none", errno.ENODATA),
                       ("user.other", errno.ENODATA),
                       ("security.selinux", errno.EOPNOTSUPP),
                       ("system.posix_acl_access", errno.EOPNOTSUPP)):
        with pytest.raises(OSError) as e:
            os.getxattr(path, name)
        assert e.value.errno in (want, errno.ENODATA, errno.EOPNOTSUPP), name
    out = subprocess.run(["getfattr", "-d", path], capture_output=True,
                         text=True, check=True).stdout
    assert 'user.weightfs.dtype="BF16"' in out


def test_statfs_tells_of_the_arena(mount, plain):
    m = mount("arena_size=64M", "prefetch=0", p=plain)
    st = os.statvfs(m.path)
    status = m.status()
    assert st.f_namemax == 255
    assert st.f_flag & os.ST_RDONLY
    assert st.f_flag & os.ST_NOSUID
    assert st.f_flag & os.ST_NODEV
    assert st.f_files >= len(plain.files()) + len(plain.ranks["0"])
    if not status["arena"]["in_use"]:
        return
    assert st.f_frsize * st.f_blocks == 64 << 20
    assert st.f_bfree == st.f_bavail == st.f_blocks
    if status["passthrough"]["in_use"]:
        (m.path / "p" / "0" / next(iter(plain.ranks["0"]))).read_bytes()
        wait_until(lambda: os.statvfs(m.path / "p").f_bfree < st.f_bfree,
                   "a tensor lies in the arena")


def as_nobody(*command):
    return subprocess.run([*NOBODY, *map(str, command)], check=False,
                          capture_output=True)


def test_other_users_read_what_the_modes_allow(mount, plain, root):
    os.chmod(plain.path / "tokenizer.json", 0o600)
    m = mount(p=plain)
    name, place = next(iter(plain.ranks["0"].items()))
    got = as_nobody("cat", m.path / "p" / "0" / name)
    assert got.returncode == 0 and got.stdout == place.read()
    assert as_nobody("cat", m.path / "p" / "config.json").returncode == 0
    refused = as_nobody("cat", m.path / "p" / "tokenizer.json")
    assert refused.returncode == 1
    assert b"Permission denied" in refused.stderr


def test_a_tensor_of_a_secret_shard_file_is_secret(mount, plain, root):
    name, place = next(iter(plain.ranks["0"].items()))
    os.chmod(place.file, 0o600)
    m = mount(p=plain)
    assert as_nobody("cat", m.path / "p" / "0" / name).returncode == 1
    assert (m.path / "p" / "0" / name).read_bytes() == place.read()


def test_a_secret_directory_of_a_checkpoint_stays_secret(mount, plain, root):
    os.chmod(plain.path / "1_Pooling", 0o700)
    m = mount(p=plain)
    inside = m.path / "p" / "1_Pooling" / "config.json"
    assert as_nobody("cat", inside).returncode == 1
    inside.read_bytes()


def test_without_allow_other_others_see_nothing(mount, plain, root):
    m = mount("noallow_other", p=plain)
    assert as_nobody("ls", m.path).returncode != 0
    os.listdir(m.path)
