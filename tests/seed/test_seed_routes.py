# SPDX-License-Identifier: Apache-2.0
"""Every route of a seed, asked with curl and by hand."""
import json
import os
import struct

import checkpoints as ck
import mounts
import pytest
import seeds

CHUNK = 1 << 20


def chunks_of(data):
    return [data[i:i + CHUNK] for i in range(0, len(data), CHUNK)]


def root_of(data):
    return seeds.xxh3_of(b"".join(map(seeds.xxh3_of, chunks_of(data)))).hex()


@pytest.fixture
def big(seed, plain):
    """(id, bytes) of a shard file of several chunks."""
    name, row = max(seed.files().items(), key=lambda f: f[1]["size"])
    assert row["size"] > 2 * CHUNK
    return row["region"], (plain.path / name).read_bytes()


def test_health_is_ok(seed):
    assert seed.curl(f"{seed.url}/healthz") == b"ok\n"


def test_the_list_names_the_models_and_who_sends_it(seed, plain):
    got = json.loads(seed.curl(f"{seed.url}/v1/models"))
    assert got["protocol"] == 1
    assert got["software"].startswith("weightfs ")
    assert len(bytes.fromhex(got["node"])) == 16
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        assert got["host"]["boot_id"] == f.read().strip()
    assert got["chunk_bytes"] == CHUNK
    (model,) = got["models"]
    assert len(bytes.fromhex(model.pop("version"))) == 8
    assert model == {
        "name": "m", "format": "hf", "manifest": "/v1/models/m/manifest",
        "bytes": sum((plain.path / f).stat().st_size for f in plain.files())}


def test_the_list_need_not_be_sent_twice(seed):
    first = seed.ask("/v1/models")
    tag = first.headers["etag"]
    again = seed.ask("/v1/models", headers={"If-None-Match": f'"x", W/{tag}'})
    assert (again.status, again.body) == (304, b"")
    assert seed.ask("/v1/models",
                    headers={"If-None-Match": '"other"'}).status == 200


def test_the_manifest_lists_the_files_as_they_are(seed, plain):
    got = json.loads(seed.curl(f"{seed.url}/v1/models/m/manifest"))
    assert got["model"] == "m" and got["format"] == "hf"
    assert got["version"] == seed.models()["m"]["version"]
    assert [f["path"] for f in got["files"] if not f.get("directory")] == [
        f.encode().decode() for f in plain.files()]
    for row in got["files"]:
        st = (plain.path / row["path"]).stat()
        assert row["mode"] == st.st_mode & 0o7777
        assert row["mtime"] == [st.st_mtime_ns // 10**9,
                                st.st_mtime_ns % 10**9]
        if row.get("directory"):
            assert (plain.path / row["path"]).is_dir()
            continue
        assert row["size"] == st.st_size and row["held"] == 1.0
        assert len(bytes.fromhex(row["region"])) == 16
    ids = [f["region"] for f in got["files"] if "region" in f]
    assert len(set(ids)) == len(ids)
    assert got["ranks"] == [{"name": "0", "tensors": len(plain.ranks["0"]),
                             "bytes": plain.tensor_bytes}]
    assert "tensors" not in got


def test_a_directory_comes_before_what_lies_in_it(seed):
    seen = set()
    for row in seed.manifest()["files"]:
        parent = row["path"].rpartition("/")[0]
        assert not parent or parent in seen
        if row.get("directory"):
            seen.add(row["path"])
    assert seen == {"1_Pooling"}


def test_the_manifest_lists_tensors_when_asked(seed, plain):
    files = {f["region"]: p for p, f in seed.files().items()}
    tensors = seed.manifest(query="?tensors=1")["tensors"]
    assert {t["name"] for t in tensors} == set(plain.ranks["0"])
    for t in tensors:
        place = plain.ranks["0"][t["name"]]
        assert plain.path / files[t["region"]] == place.file
        assert (t["offset"], t["size"]) == (place.offset, place.size)
        assert (t["dtype"], tuple(t["shape"])) == (place.dtype, place.shape)
        assert t["rank"] == "0"


def test_roots_are_known_after_waiting(seed, plain):
    assert all(f["sha256"] is None for f in seed.files().values())
    got = mounts.wait_until(
        lambda: (m := seed.manifest(query="?wait=30")) and all(
            f["xxh3"] for f in m["files"] if "region" in f) and m,
        "all roots are known")
    for row in got["files"]:
        if "region" in row:
            data = (plain.path / row["path"]).read_bytes()
            assert row["xxh3"] == root_of(data), row["path"]
    assert got["tree_sha256"] is None


def test_the_tree_is_known_when_all_sha256_are(seed, plain):
    for row in seed.files().values():
        path = f"/v1/regions/{row['region']}/digests?algorithm=sha256&wait=30"
        mounts.wait_until(lambda p=path: seed.ask(p).status == 200,
                          "the digests are known")
    lines = ""
    for name in plain.files():
        data = (plain.path / name).read_bytes()
        root = seeds.sha256_of(b"".join(map(seeds.sha256_of,
                                            chunks_of(data)))).hex()
        assert seed.files()[name]["sha256"] == root
        lines += f"{root}  {len(data)}  {name}\n"
    assert seed.manifest()["tree_sha256"] == seeds.sha256_of(
        lines.encode()).hex()


@pytest.mark.parametrize("algorithm, number, size, digest", [
    ("xxh3", 1, 16, seeds.xxh3_of),
    ("sha256", 2, 32, seeds.sha256_of),
])
def test_digests_are_those_of_the_chunks(seed, big, algorithm, number, size,
                                         digest):
    region, data = big
    path = f"/v1/regions/{region}/digests?algorithm={algorithm}&wait=30"
    got = mounts.wait_until(lambda: (a := seed.ask(path)).status == 200 and a,
                            "the digests are known").body
    assert got[:32] == struct.pack("<8sIIQQ", b"WFSDIG01", number, size,
                                   CHUNK, len(data))
    assert got[32:] == b"".join(map(digest, chunks_of(data)))


def test_digests_that_are_not_there_yet_are_promised(seed, big):
    got = seed.ask(f"/v1/regions/{big[0]}/digests?wait=0")
    assert got.status in (200, 202)
    if got.status == 202:
        assert got.body == b"" and int(got.headers["retry-after"]) >= 1


def test_digests_survive_a_restart(seeder, plain):
    first = seeder(m=plain)
    mounts.wait_until(
        lambda: all(f["xxh3"] for f in first.manifest(query="?wait=30")
                    ["files"] if "region" in f), "all roots are known")
    files = first.files()
    assert first.terminate() == 0
    assert seeder(m=plain).files() == files  # at once, and with the same ids


def test_a_region_is_the_file(seed, plain, folder):
    for name, row in seed.files().items():
        out = folder / "out"
        seed.curl("-o", str(out), f"{seed.url}/v1/regions/{row['region']}")
        mounts.assert_same(out.read_bytes(), (plain.path / name).read_bytes(),
                           name)


@pytest.mark.parametrize("text, first, last", [
    ("bytes=0-0", 0, 0),
    ("bytes=1-1048576", 1, 1048576),
    ("bytes=1048576-2097151", 1048576, 2097151),
    ("bytes=5-", 5, -1),
    ("bytes=-7", -7, -1),
    ("bytes=100-99999999999999999999999", 100, -1),
    ("bytes=-99999999999", 0, -1),
])
def test_a_range_is_cut_out(seed, big, text, first, last):
    region, data = big
    first, last = first % len(data), last % len(data)
    got = seed.ask(f"/v1/regions/{region}", headers={"Range": text})
    assert got.status == 206
    assert got.headers["content-range"] == f"bytes {first}-{last}/{len(data)}"
    assert got.etag == region
    mounts.assert_same(got.body, data[first:last + 1], text)


@pytest.mark.parametrize("text, status", [
    ("bytes=99999999999-", 416), ("bytes=-0", 416), ("bytes=0-1,5-6", 416),
    ("bytes=5-4", 400), ("bytes=", 400), ("bytes=a-b", 400),
    ("bytes=1-2x", 400), ("lines=1-2", 200), ("nonsense", 200),
])
def test_a_range_that_is_none_is_told_so(seed, big, text, status):
    region, data = big
    got = seed.ask(f"/v1/regions/{region}", headers={"Range": text})
    assert got.status == status
    if status == 200:
        mounts.assert_same(got.body, data, text)
    elif status == 416:
        assert got.headers["content-range"] == f"bytes */{len(data)}"
        assert got.error


def test_an_empty_file_has_no_ranges(seed):
    region = seed.files()["empty.txt"]["region"]
    assert seed.ask(f"/v1/regions/{region}").body == b""
    assert seed.ask(f"/v1/regions/{region}",
                    headers={"Range": "bytes=0-"}).status == 416


def test_conditions_are_kept(seed, big):
    region, data = big

    def ask(**headers):
        return seed.ask(f"/v1/regions/{region}", headers={
            "Range": "bytes=0-9",
            **{k.replace("_", "-"): v for k, v in headers.items()}})
    assert ask(If_Match=f'"{region}"').status == 206
    assert ask(If_Match=f'"a", "{region}"').status == 206
    assert ask(If_Match="*").status == 206
    assert ask(If_Match='"other"').status == 412
    assert ask(If_Match=f'W/"{region}"').status == 412
    assert ask(If_Range=f'"{region}"').body == data[:10]
    assert len(ask(If_Range='"other"').body) == len(data)
    assert ask(If_None_Match=f'"{region}"').status == 304


def test_head_tells_and_sends_nothing(seed, big):
    region, data = big
    got = seed.ask(f"/v1/regions/{region}", "HEAD")
    assert (got.status, got.body) == (200, b"")
    assert got.headers["content-length"] == str(len(data))
    assert got.headers["accept-ranges"] == "bytes"
    got = seed.ask(f"/v1/regions/{region}", "HEAD",
                   headers={"Range": "bytes=3-12"})
    assert (got.status, got.headers["content-length"]) == (206, "10")


def test_many_requests_use_one_connection(seed, big):
    region, data = big
    conn = seed.connect()
    for i in range(20):
        got = seed.ask(f"/v1/regions/{region}", conn=conn,
                       headers={"Range": f"bytes={i * 1000}-{i * 1000 + 9}"})
        assert got.body == data[i * 1000:i * 1000 + 10]
    conn.close()
    assert seed.metrics()['requests_total{route="region"}'] == 20


@pytest.mark.parametrize("path, status", [
    ("/", 404), ("/v1", 404), ("/v1/models/", 404), ("/v1/models/x", 404),
    ("/v1/models/x/manifest", 404), ("/v1/models//manifest", 404),
    ("/v1/models/m%2Fx/manifest", 404), ("/v1/models/m%00/manifest", 404),
    ("/v1/regions/", 404), ("/v1/regions/00", 404),
    ("/v1/regions/" + "0" * 32, 404), ("/v1/regions/" + "z" * 32, 404),
    ("/v1/regions/" + "0" * 32 + "/digests", 404),
    ("/v1/regions/../../etc/passwd", 404), ("/v1/stream", 400),
    ("/v1/models/" + "a" * 300 + "/manifest", 404),
    ("/v1/models/m/manifest?wait=-1", 400),
    ("/v1/models/m/manifest?wait=31", 400),
    ("/v1/models/m/manifest?wait=x", 400),
])
def test_what_is_not_there_is_told_in_a_sentence(seed, path, status):
    got = seed.ask(path)
    if "%00" in path:  # the name ends there
        assert got.status in (200, 404)
        return
    assert got.status == status
    assert got.headers["content-type"] == "application/json"
    assert got.error and "\n" not in got.error


def test_an_unknown_algorithm_is_refused(seed, big):
    got = seed.ask(f"/v1/regions/{big[0]}/digests?algorithm=md5")
    assert got.status == 400 and "md5" in got.error


def test_only_get_and_head(seed):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        got = seed.ask("/v1/models", method)
        assert got.status == 405
        assert got.headers["allow"] == "GET, HEAD"


def test_another_protocol_is_refused_with_both_versions(seed):
    assert seed.ask("/v1/models",
                    headers={"Weightfs-Protocol": "1"}).status == 200
    got = seed.ask("/v1/models", headers={"Weightfs-Protocol": "2"})
    assert got.status == 426
    assert "version 1" in got.error and "not 2" in got.error
    assert seed.ask("/v1/models",
                    headers={"Weightfs-Protocol": "x"}).status == 400


def test_metrics_are_open_metrics(seed, big):
    region, data = big
    before = seed.metrics()
    seed.ask(f"/v1/regions/{region}")
    got = seed.ask("/metrics")
    assert got.headers["content-type"].startswith(
        "application/openmetrics-text; version=1.0.0")
    assert got.body.endswith(b"# EOF\n")
    typed = [line.split()[2] for line in got.body.decode().splitlines()
             if line.startswith("# TYPE")]
    assert len(set(typed)) == len(typed)
    after = mounts.wait_until(
        lambda: (m := seed.metrics())["sent_bytes_total"] >= len(data) and m,
        "the bytes are counted")
    assert after["sent_bytes_total"] - before["sent_bytes_total"] == len(data)


def test_several_models_and_odd_names(seeder, folder, chance):
    for name in ("a b", "ü", "100%"):
        ck.hf_single(folder / "models" / name, ck.layers(1, 1002), chance)
    seed = seeder("--models", folder / "models")
    models = seed.models()
    assert sorted(models) == ["100%", "a b", "ü"]
    for name, row in models.items():
        got = seed.ask(row["manifest"])
        assert got.status == 200 and got.json()["model"] == name


def test_a_file_whose_name_is_no_text_is_left_out(seeder, plain):
    odd = os.fsencode(plain.path) + b"/\xff.txt"
    with open(odd, "wb") as f:
        f.write(b"x")
    seed = seeder(m=plain)
    assert set(seed.files()) == set(plain.files()) - {os.fsdecode(b"\xff.txt")}


def test_layouts_are_not_offered(seed):
    assert seed.ask("/v1/models/m@tp2/manifest").status == 404
