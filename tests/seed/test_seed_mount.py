# SPDX-License-Identifier: Apache-2.0
"""A mount that seeds what it has."""
import os

import mounts
import pytest
import seeds
import wire

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/fuse"),
                                reason="needs /dev/fuse")


@pytest.fixture
def serving(folder, plain):
    """(mount, seed): one process, seen from both sides."""
    mount = mounts.Mount(folder, "mnt", [
        "mount", "-f", "-o", "serve=127.0.0.1:0,digest_cache="
        f"{folder}/digests,layout=m@tp2", "--model", f"m={plain.path}",
        folder / "mnt"])
    try:
        mount.wait_ready()
        seed = seeds.Seed.of(mount)
        yield mount, seed
    finally:
        wrong = mount.close()
    assert not wrong, "; ".join(wrong)


def test_it_offers_what_it_mounts_from_the_files(serving, plain):
    mount, seed = serving
    assert sorted(seed.models()) == ["m"]
    assert seed.ask("/v1/models/m@tp2/manifest").status == 404
    for name, row in seed.files().items():
        want = (plain.path / name).read_bytes()
        got = seed.ask(f"/v1/regions/{row['region']}").body
        mounts.assert_same(got, want, name)
        mounts.assert_same((mount.path / "m" / name).read_bytes(), want, name)
    row = max(seed.files().values(), key=lambda f: f["size"])
    with wire.Stream(seed.address) as s:
        assert s.read(row["region"], 0, wire.CHUNK)[1] == wire.OK


def test_it_ends_with_clients_connected(serving):
    mount, seed = serving
    row = max(seed.files().values(), key=lambda f: f["size"])
    idle, busy = wire.Stream(seed.address), wire.Stream(seed.address)
    busy.send(wire.request(row["region"], 0, wire.CHUNK) * 100)
    assert mount.terminate() == 0
    assert seeds.is_cut_off(idle.sock) and seeds.is_cut_off(busy.sock)


def test_it_does_not_mount_where_it_cannot_serve(folder, plain):
    mount = mounts.Mount(folder, "no", [
        "mount", "-f", "-o", f"serve=0.0.0.0:0,digest_cache={folder}/d",
        "--model", f"m={plain.path}", folder / "no"])
    assert mount.wait_end() == 1
    mount.expect_rc = 1
    assert "token_file" in mount.log()
    assert not mounts.is_mounted(mount.path)
    assert "can be reached from other machines" in mount.log()
    assert not mount.close()
