# SPDX-License-Identifier: Apache-2.0
"""weightfs digest: what it writes, what it signs, what it finds changed."""
import hashlib
import json
import os
import pty
import re
import subprocess
import time
import urllib.request

import pytest

from mounts import PROGRAM, die_with_parent, environment, run, wait_until

MANIFEST = "weightfs.digests.json"
SIGNATURE = MANIFEST + ".sig"
CHUNK = 1 << 20


def root_of(data):
    digests = b"".join(hashlib.sha256(data[at:at + CHUNK]).digest()
                       for at in range(0, len(data), CHUNK))
    return hashlib.sha256(digests).hexdigest()


def expected(top):
    """(files, tree root) as transport/PROTOCOL.md defines them."""
    files = []
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        if path.is_file() and name not in (MANIFEST, SIGNATURE):
            data = path.read_bytes()
            files.append({"path": name, "size": len(data),
                          "sha256": root_of(data)})
    files.sort(key=lambda f: f["path"].encode())
    lines = "".join(f"{f['sha256']}  {f['size']}  {f['path']}\n"
                    for f in files)
    return files, hashlib.sha256(lines.encode()).hexdigest()


@pytest.fixture(autouse=True)
def cache(folder, monkeypatch):
    monkeypatch.setenv("WEIGHTFS_TEST_CACHE", str(folder / "cache"))
    return folder / "cache"


def digest(*args):
    return run("digest", "--digest-cache", os.environ["WEIGHTFS_TEST_CACHE"],
               *args)


def good(*args):
    done = digest(*args)
    assert done.returncode == 0, done.stderr
    return done


def bad(*args):
    done = digest(*args)
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    return done.stderr


@pytest.fixture
def keys(folder):
    private, public = folder / "key.pem", folder / "key.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out",
                    private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out",
                    public], check=True, capture_output=True)
    return private, public


def test_the_manifest_is_what_the_protocol_says(plain):
    (plain.path / "empty").touch()
    (plain.path / "sub").mkdir()
    (plain.path / "sub.txt").write_text("before sub/ in byte order")
    (plain.path / "sub" / 'ä "quoted"').write_bytes(os.urandom(CHUNK + 1))
    files, root = expected(plain.path)
    done = good(plain.path)
    assert done.stdout == f"sha256:{root}\n"
    assert json.loads((plain.path / MANIFEST).read_text()) == {
        "version": 1, "chunk_bytes": CHUNK, "tree_sha256": root,
        "files": files}
    assert (plain.path / MANIFEST).stat().st_mode & 0o777 == 0o644
    assert not (plain.path / SIGNATURE).exists()
    for f in files:
        assert f"read {f['path']} (" in done.stderr
    assert good(plain.path).stdout == done.stdout, "it is not about itself"
    assert good("--check", plain.path).stdout == done.stdout
    assert not [p for p in plain.path.iterdir() if p.name[0] == "."]


def test_every_kind_of_change_is_found_and_named(plain):
    good(plain.path)
    shard = next(plain.path.glob("*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert f"'{shard.name}' has other bytes" in bad("--check", plain.path)
    data[len(data) // 2] ^= 1
    shard.write_bytes(data + b"x")
    (plain.path / "config.json").unlink()
    (plain.path / "zzz").write_text("new")
    said = bad("-c", plain.path)
    assert (f"'{shard.name}' has {len(data) + 1} bytes instead of "
            f"{len(data)}") in said
    assert "'config.json' is missing" in said
    assert "'zzz' is not in the manifest" in said
    assert "3 files differ" in said


def test_the_manifest_may_lie_elsewhere(plain, folder):
    files, root = expected(plain.path)
    out = folder / "out.json"
    assert good("-o", out, plain.path).stdout == f"sha256:{root}\n"
    assert not (plain.path / MANIFEST).exists()
    assert json.loads(out.read_text())["files"] == files
    good("--check", "-o", out, plain.path)
    assert "'weightfs digest' writes it" in bad("--check", plain.path)


def test_a_signature_is_one_that_others_can_check(plain, folder, keys):
    private, public = keys
    good("--key", private, plain.path)
    good("--check", "--key", public, plain.path)
    subprocess.run(["openssl", "pkeyutl", "-verify", "-rawin", "-pubin",
                    "-inkey", public, "-sigfile", plain.path / SIGNATURE,
                    "-in", plain.path / MANIFEST], check=True,
                   capture_output=True)


def test_what_was_not_signed_by_the_key_is_refused(plain, folder, keys):
    private, public = keys
    good("--key", private, plain.path)
    other = folder / "other.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out",
                    other], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", other, "-pubout", "-out",
                    folder / "other.pub"], check=True, capture_output=True)
    said = bad("--check", "--key", folder / "other.pub", plain.path)
    assert "not one of the key" in said and SIGNATURE in said
    # A manifest that tells of other files, all consistent.
    (plain.path / "config.json").write_text("{}")
    signature = (plain.path / SIGNATURE).read_bytes()
    good(plain.path)
    assert not (plain.path / SIGNATURE).exists(), "it was another's"
    good("--check", plain.path)
    assert SIGNATURE in bad("--check", "--key", public, plain.path)
    (plain.path / SIGNATURE).write_bytes(signature)
    assert "not one of the key" in bad("--check", "--key", public,
                                       plain.path)


def test_a_bad_key_is_told_before_anything_is_read(plain, folder, keys):
    before = sorted(p.name for p in plain.path.iterdir())
    for key, why in ((keys[1], "no private Ed25519 key"),
                     (folder / "none", "No such file")):
        said = bad("--key", key, plain.path)
        assert why in said and str(key) in said
        assert "read config.json" not in said
    assert sorted(p.name for p in plain.path.iterdir()) == before


def test_a_name_that_could_forge_a_line_is_refused(plain):
    (plain.path / "a\nb").write_text("x")
    said = bad(plain.path)
    assert said.count("\n") == 1 and r"'a\x0ab'" in said
    assert not (plain.path / MANIFEST).exists()


def test_a_terminal_gets_a_bar_instead_of_lines(plain, folder):
    (plain.path / "large").write_bytes(bytes(64 << 20))
    leader, follower = pty.openpty()
    with subprocess.Popen([PROGRAM, "digest", "--digest-cache", folder / "cache",
                           plain.path], stdout=-1,
                          stderr=follower) as process:
        os.close(follower)
        shown = b""
        try:
            while more := os.read(leader, 4096):
                shown += more
        except OSError:
            pass  # the terminal's other end is closed
        os.close(leader)
        out = process.stdout.read()
    assert process.returncode == 0
    assert re.fullmatch(rb"sha256:[0-9a-f]{64}\n", out)
    assert b"reading " in shown and b"\r\x1b[K" in shown
    assert b"read large" not in shown


def test_mistakes_in_the_command_line_are_usage_errors(folder):
    for args in ((), ("a", "b"), ("--what", "a")):
        assert run("digest", *args).returncode == 2
    assert "cannot" in bad(folder / "none")


@pytest.fixture
def offered(folder):
    """offered(path) -> the manifest of that checkpoint as a seed sends it."""
    started = []

    def manifest_of(path, cache="cache"):
        log = folder / f"seed{len(started)}.log"
        with open(log, "wb") as out:
            started.append(subprocess.Popen(
                [PROGRAM, "seed", "-f", "--listen", "127.0.0.1:0",
                 "--digest-cache", folder / cache, "--model", f"m={path}"],
                stdin=-3, stdout=out, stderr=out, env=environment(folder),
                preexec_fn=die_with_parent))

        def url():
            assert started[-1].poll() is None, log.read_text()
            return re.search(r"seeding on '(.*?)'", log.read_text())
        url = wait_until(url, "the seed listens")[1]
        with urllib.request.urlopen(
                f"{url}/v1/models/m/manifest", timeout=60) as answer:
            return json.load(answer), log.read_text()
    yield manifest_of
    for process in started:
        process.terminate()
    assert [p.wait(60) for p in started] == [0] * len(started)


def test_a_seed_has_its_roots_from_the_manifest(plain, offered):
    files, root = expected(plain.path)
    good(plain.path)
    sent, _ = offered(plain.path, "empty")
    assert sent["tree_sha256"] == root
    roots = {f["path"]: f["sha256"] for f in sent["files"]
             if "sha256" in f}
    assert {f["path"]: f["sha256"] for f in files}.items() <= roots.items()
    assert roots[MANIFEST] is None, "nobody asked for it"


def test_a_seed_need_not_read_what_was_digested(plain, offered):
    """Its times were old enough to tell of a change."""
    for path in plain.path.iterdir():
        wait_until(lambda p=path: time.time() - p.stat().st_ctime > 0.1,
                   "the file has aged")
    files, _ = expected(plain.path)
    good(plain.path)
    (plain.path / MANIFEST).unlink()
    sent, _ = offered(plain.path)
    rows = {f["path"]: f for f in sent["files"]}
    for f in files:
        assert rows[f["path"]]["sha256"] == f["sha256"], f["path"]
        assert rows[f["path"]]["xxh3"], f["path"]


def test_a_seed_believes_no_manifest_of_another_size_or_spelling(plain, offered):
    good(plain.path)
    (plain.path / "config.json").write_text("{}")
    sent, _ = offered(plain.path, "empty")
    assert sent["tree_sha256"] is None
    roots = {f["path"]: f.get("sha256") for f in sent["files"]}
    assert roots["config.json"] is None
    assert roots["tokenizer.json"] is not None
    manifest = plain.path / MANIFEST
    manifest.write_text(manifest.read_text() + "\n")
    sent, log = offered(plain.path, "empty")
    assert {f.get("sha256") for f in sent["files"]} == {None}
    assert f"'{MANIFEST}' of '{plain.path}': not a digest manifest" in log
