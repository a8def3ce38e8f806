# SPDX-License-Identifier: Apache-2.0
"""Models under a root or a key of the operator's: a seed may lie as
consistently as it likes."""
import os
import re
import shutil
import subprocess
import threading

import pytest

import mounts
from test_remote import read_cold

MANIFEST = "weightfs.digests.json"
SIGNATURE = MANIFEST + ".sig"
MIB = 1 << 20


def digest(path, *args):
    """Writes the digest manifest; "sha256:…" of the tree."""
    done = mounts.run("digest", "--digest-cache", path.parent / "cache",
                      *args, path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def pinned(seed, root, name="llama"):
    return ("--model", f"{name}={seed.url}/v1/models/llama#{root}")


def names(mount):
    return sorted(set(os.listdir(mount.path)) - {".weightfs"})


def seeds_of(mount):
    return mount.status()["seeds"]


def shards(model):
    return sorted(f for f in model.files() if f.endswith(".safetensors"))


def forge(model, folder):
    """A copy with one weight changed, under the manifest of the original."""
    copy = folder / "forged"
    shutil.copytree(model.path, copy)
    path = copy / shards(model)[1]
    data = bytearray(path.read_bytes())
    data[3 * MIB + 17] ^= 1
    path.write_bytes(data)
    return copy


@pytest.fixture
def keys(folder):
    private, public = folder / "key.pem", folder / "key.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out",
                    private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out",
                    public], check=True, capture_output=True)
    return private, public


@pytest.fixture
def real_seed(folder):
    """real_seed(path) -> the URL of a `weightfs seed` of that checkpoint."""
    started = []

    def start(path):
        log = folder / f"seed{len(started)}.log"
        with open(log, "wb") as out:
            started.append(subprocess.Popen(
                [mounts.PROGRAM, "seed", "-f", "--listen", "127.0.0.1:0",
                 "--digest-cache", folder / "cache", "--model",
                 f"llama={path}"], stdin=-3, stdout=out, stderr=out,
                env=mounts.environment(folder),
                preexec_fn=mounts.die_with_parent))

        def url():
            assert started[-1].poll() is None, log.read_text()
            return re.search(r"seeding on '(.*?)'", log.read_text())
        return mounts.wait_until(url, "the seed listens")[1]
    yield start
    for process in started:
        process.terminate()
    assert [p.wait(mounts.DEADLINE) for p in started] == [0] * len(started)


def test_a_real_seed_proves_its_bytes(mount, real_seed, model, keys):
    private, public = keys
    root = digest(model.path, "--key", private)
    url = real_seed(model.path)
    m = mount("trust=signed", f"trust_key={public}", args=(
        "--model", f"llama={url}/v1/models/llama#{root}", "--seed", url))
    mounts.assert_model_equals(m, "llama", model)
    assert mounts.xattr(m.path / "llama", "trust") == "signed"
    assert seeds_of(m)[0]["wrong"] == 0


def test_a_model_of_the_root_is_served_as_an_origins(mount, seeds, model):
    root = digest(model.path)
    m = mount("trust=origin", args=pinned(seeds(llama=model.path), root))
    mounts.assert_model_equals(m, "llama", model)
    for path in ("llama", "llama/config.json", f"llama/{shards(model)[0]}",
                 f"llama/{MANIFEST}"):
        assert mounts.xattr(m.path / path, "trust") == "origin"
    assert (m.path / "llama" / MANIFEST).read_bytes() == (
        model.path / MANIFEST).read_bytes()


def test_without_a_root_a_seeds_word_is_not_enough_for_trust_origin(
        mount, seeds, model, plain):
    digest(model.path)
    seed = seeds(llama=model.path)
    m = mount("trust=origin", p=plain, args=("--seed", seed.url))
    mounts.wait_until(lambda: "trust class is 'seed'" in m.log(),
                      "the log says why")
    assert names(m) == ["p"]


def test_another_root_is_refused_naming_both(mount, seeds, model, plain):
    root = digest(model.path)
    other = root[:-1] + ("0" if root[-1] != "0" else "1")
    seed = seeds(llama=model.path)
    m = mount(p=plain, args=pinned(seed, other))
    assert names(m) == ["p"]
    assert f"its digest manifest is {root}, not {other}" in m.log()


def test_a_seed_without_a_digest_manifest_is_told(mount, seeds, model, plain):
    root = digest(model.path)
    (model.path / MANIFEST).unlink()
    m = mount(p=plain, args=pinned(seeds(llama=model.path), root))
    assert names(m) == ["p"]
    assert f"there is no '{MANIFEST}'" in m.log()


def test_wrong_bytes_under_a_right_xxh3_are_caught(mount, seeds, model):
    """The digests on the wire are those of the wrong bytes."""
    root = digest(model.path)
    liar, honest = seeds(llama=model.path), seeds(llama=model.path)
    liar.faults.wrong = lambda path, off: True
    m = mount(args=(*pinned(liar, root), "--seed", honest.url))

    def wrong():
        return {row["url"]: row["wrong"] > 0 for row in seeds_of(m)}
    # Whoever is late is not asked: it may be its turn another time.
    mounts.wait_until(lambda: read_cold(m, model) or wrong()[liar.url],
                      "the lie is found out")
    assert wrong() == {liar.url: True, honest.url: False}
    assert f"seed '{liar.url}' sent wrong bytes: model 'llama', file" in (
        m.log())


def test_a_lie_that_nobody_contradicts_is_not_served(mount, seeds, model):
    """Alone, and what is asked of it is right until the model is there."""
    root = digest(model.path)
    liar = seeds(llama=model.path)
    m = mount("passthrough=off", "seed_deadline=1", "readahead=0",
              args=pinned(liar, root))
    liar.faults.wrong = lambda path, off: True
    path = m.path / "llama" / shards(model)[0]
    with open(path, "rb", buffering=0) as f, pytest.raises(OSError):
        os.pread(f.fileno(), 4096, 2 * MIB)
    assert seeds_of(m)[0]['wrong']


def test_a_forged_file_under_the_true_manifest_is_never_served(
        mount, seeds, model, folder):
    """Its lists of digests are those of the forged bytes."""
    root = digest(model.path)
    liar = seeds(llama=forge(model, folder))
    honest = seeds(llama=model.path)
    m = mount(args=(*pinned(liar, root), "--seed", honest.url))
    mounts.wait_until(lambda: "llama" in names(m), "the model is there")
    # Whether the liar is found out, or never asked for that file since the
    # honest one's digests were there first, is a matter of who is faster.
    mounts.assert_model_equals(m, "llama", model)


def test_a_forger_alone_has_no_model(mount, seeds, model, folder, plain):
    root = digest(model.path)
    liar = seeds(llama=forge(model, folder))
    m = mount("seed_deadline=1", p=plain, args=pinned(liar, root))
    mounts.wait_until(lambda: "digests of another root" in m.log()
                      and "model 'llama': " in m.log(), "the log says why")
    assert names(m) == ["p"]


def test_what_the_manifest_does_not_speak_of_is_left_out(mount, seeds, model):
    root = digest(model.path)
    (model.path / "run_me.py").write_text("print('gotcha')")
    (model.path / SIGNATURE).write_bytes(bytes(64))
    m = mount(args=pinned(seeds(llama=model.path), root))
    have = set(os.listdir(m.path / "llama"))
    assert have >= {"config.json", MANIFEST, *shards(model)}
    assert not have & {"run_me.py", SIGNATURE}


def test_a_model_that_lacks_a_file_is_refused_naming_it(mount, seeds, model,
                                                        plain):
    root = digest(model.path)
    (model.path / "config.json").unlink()
    m = mount(p=plain, args=pinned(seeds(llama=model.path), root))
    assert names(m) == ["p"]
    assert "'config.json' is not there" in m.log()


def test_a_read_waits_for_digests_that_the_seed_still_computes(mount, seeds,
                                                               model):
    root = digest(model.path)
    seed = seeds(llama=model.path)
    late = next(f for f in sorted(model.files()) if f.endswith("izer.json"))
    known = threading.Event()
    seed.faults.has_sha256 = lambda path: path != late or known.is_set()
    m = mount(args=pinned(seed, root))
    done = []
    reader = threading.Thread(target=lambda: done.append(
        (m.path / "llama" / late).read_bytes()), daemon=True)
    reader.start()
    (m.path / "llama" / shards(model)[0]).read_bytes()
    assert not done and (late, 0) not in seed.requests
    known.set()
    reader.join(mounts.DEADLINE)
    assert done == [(model.path / late).read_bytes()]


def test_what_a_key_signed_is_signed(mount, seeds, model, keys):
    private, public = keys
    digest(model.path, "--key", private)
    seed = seeds(llama=model.path)
    m = mount("trust=signed", f"trust_key={public}",
              args=("--seed", seed.url))
    mounts.assert_model_equals(m, "llama", model)
    assert mounts.xattr(m.path / "llama", "trust") == "signed"
    assert m.model("llama")["trust"] == "signed"
    assert (m.path / "llama" / SIGNATURE).read_bytes() == (
        model.path / SIGNATURE).read_bytes()


@pytest.mark.parametrize("what", ["unsigned", "another's", "changed"])
def test_what_no_key_signed_is_worth_a_seeds_word(mount, seeds, model, keys,
                                                  folder, what):
    private, public = keys
    why = "is not one of the key"
    if what == "unsigned":
        digest(model.path)
        why = "has no signature"
    elif what == "another's":
        other = folder / "other.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out",
                        other], check=True, capture_output=True)
        digest(model.path, "--key", other)
    else:
        digest(model.path, "--key", private)
        text = (model.path / SIGNATURE).read_bytes()
        (model.path / "config.json").write_text("{} ")
        digest(model.path)
        (model.path / SIGNATURE).write_bytes(text)
    seed = seeds(llama=model.path)
    m = mount(f"trust_key={public}", args=("--seed", seed.url))
    mounts.assert_model_equals(m, "llama", model)
    assert mounts.xattr(m.path / "llama", "trust") == "seed"
    assert why in m.log()
    m = mount("trust=signed", f"trust_key={public}",
              args=("--seed", seed.url))
    mounts.wait_until(lambda: "trust class is 'seed', and trust=signed asks "
                      "for more" in m.log(), "the log says why")
    assert names(m) == []


def test_a_signature_and_a_root_may_both_be_asked_for(mount, seeds, model,
                                                      keys):
    private, public = keys
    root = digest(model.path, "--key", private)
    seed = seeds(llama=model.path)
    m = mount("trust=signed", f"trust_key={public}", args=pinned(seed, root))
    mounts.assert_model_equals(m, "llama", model)


def test_a_key_that_cannot_be_read_is_told_at_once(mount, seeds, model,
                                                   folder):
    m = mount(f"trust_key={folder / 'none'}", ready=False,
              args=("--seed", seeds(llama=model.path).url))
    m.expect_rc = 1
    assert m.wait_end() == 1
    assert f"cannot read the key '{folder / 'none'}'" in m.log()


@pytest.mark.parametrize("root", ["", "sha256:", "sha256:12", "md5:" + "0"
                                  * 64, "sha256:" + "g" * 64])
def test_what_is_no_root_is_a_mistake_in_the_command_line(root, folder):
    done = mounts.run("mount", "--model", f"a=http://localhost#{root}",
                      folder)
    assert done.returncode != 0
    assert "#sha256: and 64 hex digits" in done.stderr
