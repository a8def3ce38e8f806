# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in buckets: moto's, with every signature checked."""
import errno
import os
from datetime import timedelta

import pytest

import checkpoints as ck
import mounts
from s3 import KEY, REGION, S3, SECRET, FakeInstance, environment, error
from test_prefer import (brings_all, copy, kill, ready, spoil,  # noqa: F401
                         url_of)
from test_proof import digest
from test_remote import models, read_all, read_at_last, read_cold

MIB = 1 << 20


@pytest.fixture(scope="module")
def server():
    made = S3()
    yield made
    made.close()


@pytest.fixture
def s3(server):
    server.keys = {KEY: (SECRET, None)}
    server.public = False
    server.odd = lambda environ: None
    server.seen.clear()
    return server


@pytest.fixture
def bucket(s3, model, request):
    """The model lies in it, under models/m."""
    name = "b-" + request.node.name.split("[")[0].replace("_", "-")[:50]
    s3.upload(model.path, name, "models/m/")
    s3.seen.clear()
    return name


@pytest.fixture
def instance():
    made = FakeInstance()
    yield made
    made.close()


def of(mount, bucket, env, *options, prefix="models/m"):
    return mount(*options, env=env,
                 args=("--model", f"m=s3://{bucket}/{prefix}"))


def shard(model):
    return next(f for f in model.files() if f.endswith(".safetensors"))


def test_a_checkpoint_in_a_bucket_is_served_byte_for_byte(
        mount, s3, bucket, model, folder):
    m = of(mount, bucket, environment(folder, s3))
    mounts.assert_model_equals(m, "m", model)
    path = m.path / "m" / shard(model)
    assert mounts.xattr(path, "trust") == "origin"
    assert mounts.xattr(path, "source") == (
        f"s3://{bucket}/models/m/{shard(model)}")
    assert {key for *_, key in s3.seen} == {KEY}, "all are signed"
    assert SECRET not in m.log()


def test_listings_of_many_pages_and_odd_names_are_read(
        mount, s3, bucket, model, folder, monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    names = ["a b.txt", "100% & more.txt", "ü#x.txt", "q?+.txt", "<&>'\".md",
             "sub/deep/note.md"]
    for name in names:
        s3.client.put_object(Bucket=bucket, Key=f"models/m/{name}",
                             Body=name.encode())
    s3.client.put_object(Bucket=bucket, Key="models/m/sub/", Body=b"")
    s3.client.put_object(Bucket=bucket, Key="models/mm/other", Body=b"no")
    s3.seen.clear()
    m = of(mount, bucket, environment(folder, s3))
    assert sum("continuation-token" in q for _, _, q, _ in s3.seen) >= 3
    for name in names:
        assert (m.path / "m" / name).read_bytes() == name.encode()
    mounts.assert_model_equals(m, "m", model)


@pytest.mark.parametrize("name", ["../x", "a//b", "./y", "n" * 256])
def test_keys_that_are_no_paths_are_refused(mount, s3, bucket, folder, name):
    s3.client.put_object(Bucket=bucket, Key=f"models/m/{name}", Body=b"x")
    try:
        m = of(mount, bucket, environment(folder, s3))
        assert "no path below it" in m.log()
        assert not (m.path / "m").exists()
    finally:
        s3.client.delete_object(Bucket=bucket, Key=f"models/m/{name}")


def test_another_version_is_never_mixed_in(mount, s3, bucket, model, folder,
                                           seed):
    m = of(mount, bucket, environment(folder, s3), "prefetch=0")
    path = m.path / "m" / shard(model)
    other = ck.hf_sharded(folder / "other", ck.layers(12, 2_000_002), seed + 1)
    with open(path, "rb", buffering=0) as file:
        file.read(4096)
        s3.upload(other.path, bucket, "models/m/")
        with pytest.raises(OSError) as found:
            os.pread(file.fileno(), 4 * MIB, 2 * MIB)
        assert found.value.errno == errno.ESTALE
    mounts.wait_until(lambda: whole(path) == (
        other.path / shard(model)).read_bytes(), "the new one is there")


def whole(path):
    try:
        return path.read_bytes()
    except OSError as problem:
        assert problem.errno in (errno.ESTALE, errno.ENOENT)
        return None


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("how", ["credentials", "config", "options"])
def test_keys_are_found_in_profiles(mount, s3, bucket, model, folder, how):
    token = "t" * 900  # longer than a line of other ini files may be
    s3.keys["PROFILED"] = ("other/secret", token)
    keys = (f"aws_access_key_id = PROFILED\naws_secret_access_key="
            f"other/secret\naws_session_token = {token}\n")
    default = "[default]\naws_access_key_id=x\naws_secret_access_key=y\n"
    where = folder / ".aws"
    env = environment(folder, keys=False, AWS_REGION="", AWS_PROFILE="one")
    options = []
    write(where / "config", f"[profile one]\nregion = {REGION}\n"
          f"endpoint_url = {s3.url}\n" + (keys if how == "config" else ""))
    if how == "credentials":
        write(where / "credentials", f"{default}[one]\n{keys}")
    elif how == "options":
        write(folder / "elsewhere", f"{default}[two]\n{keys}")
        env.update(AWS_PROFILE="", AWS_ACCESS_KEY_ID="no",
                   AWS_SECRET_ACCESS_KEY="no")
        options = ["s3_profile=two", f"s3_credentials={folder}/elsewhere",
                   f"s3_region={REGION}", f"s3_endpoint={s3.url}/"]
    m = of(mount, bucket, env, *options)
    mounts.assert_model_equals(m, "m", model)
    assert {key for *_, key in s3.seen} == {"PROFILED"}
    assert token not in m.log() and "other/secret" not in m.log()


@pytest.mark.parametrize("how", ["instance", "container"])
def test_keys_of_an_endpoint_are_renewed_before_they_expire(
        mount, s3, bucket, model, folder, instance, how):
    count = [0]

    def keys():
        count[0] += 1
        s3.keys[f"ROLE{count[0]}"] = (f"s{count[0]}", f"t{count[0]}")
        return f"ROLE{count[0]}", f"s{count[0]}", f"t{count[0]}"
    instance.keys, instance.life = keys, timedelta(minutes=2)
    env = environment(folder, s3, keys=False, AWS_EC2_METADATA_DISABLED="",
                      AWS_REGION="",
                      AWS_EC2_METADATA_SERVICE_ENDPOINT=instance.url)
    env["AWS_DEFAULT_REGION"] = REGION
    if how == "container":
        env.update(AWS_CONTAINER_CREDENTIALS_FULL_URI=instance.url
                   + "/container",
                   AWS_CONTAINER_AUTHORIZATION_TOKEN="let me in")
    m = of(mount, bucket, env, "prefetch=0")
    chunks = [(m.path / "m" / name, at) for name in model.files()
              for at in range(0, (model.path / name).stat().st_size, MIB)]

    def read():
        """A chunk that was not read yet, while there are any."""
        path, at = chunks.pop(0) if len(chunks) > 1 else chunks[0]
        with open(path, "rb", buffering=0) as file:
            os.pread(file.fileno(), 1, at)
        return count[0] > 1
    mounts.wait_until(read, "asked again", every=0.2)
    mounts.assert_model_equals(m, "m", model)
    assert not instance.wrong
    assert {key for *_, key in s3.seen} <= {*s3.keys} - {KEY}


def test_a_public_bucket_needs_no_keys(mount, s3, bucket, model, folder):
    s3.public = True
    m = of(mount, bucket, environment(folder, s3, keys=False))
    mounts.assert_model_equals(m, "m", model)
    assert {key for *_, key in s3.seen} == {None}


def denied(environ):
    return error(403, "AccessDenied")


@pytest.mark.parametrize("what, want", [
    ("no keys", ["AccessDenied", "there are no credentials"]),
    ("not allowed", ["AccessDenied", "s3:ListBucket", "the environment"]),
    ("unknown key", ["InvalidAccessKeyId", "does not know the access key"]),
    ("wrong secret", ["SignatureDoesNotMatch", "the secret key is not"]),
    ("expired", ["ExpiredToken", "they have expired"]),
    ("clock", ["RequestTimeTooSkewed", "clock"]),
    ("region", [f"is in region '{REGION}', not in 'us-east-2'",
                "AWS_REGION"]),
    ("redirected", ["is in region 'ap-south-1'", "AWS_REGION"]),
    ("no bucket", ["NoSuchBucket", "no such bucket"]),
    ("no keys below", ["has no keys that begin with 'models/none/'"]),
    ("no profile", ["there is no profile 'nobody'"]),
    ("no xml", ["the listing is wrong"]),
])
def test_what_is_wrong_is_said_with_the_remedy(mount, s3, bucket, folder, what,
                                               want):
    env = environment(folder, s3, keys=what != "no keys")
    prefix, options = "models/m", []
    answers = {
        "not allowed": denied,
        "expired": lambda e: error(400, "ExpiredToken"),
        "clock": lambda e: error(403, "RequestTimeTooSkewed"),
        "redirected": lambda e: (307, b"", [
            ("Location", "http://127.0.0.1:1/"),
            ("x-amz-bucket-region", "ap-south-1")]),
        "no xml": lambda e: (200, b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", []),
    }
    s3.odd = answers.get(what, s3.odd)
    if what == "unknown key":
        env["AWS_ACCESS_KEY_ID"] = "AKIDNOBODY"
    elif what == "wrong secret":
        env["AWS_SECRET_ACCESS_KEY"] = "not/the/secret"
    elif what == "region":
        env["AWS_REGION"] = "us-east-2"
    elif what == "no bucket":
        bucket = "nowhere"
    elif what == "no keys below":
        prefix = "models/none"
    elif what == "no profile":
        options = ["s3_profile=nobody"]
        m = mount(*options, env=env, ready=False, args=(
            "--model", f"m=s3://{bucket}/{prefix}"))
        assert m.wait_end() != 0
        m.expect_rc = m.process.returncode
    if what != "no profile":
        m = of(mount, bucket, env, *options, prefix=prefix)
        assert not (m.path / "m").exists()
        assert f"s3://{bucket}/{prefix}/" in m.log()
    for text in want:
        assert text in m.log()
    for secret in (SECRET, "not/the/secret"):
        assert secret not in m.log()


def test_a_read_that_is_refused_is_logged_with_key_and_remedy(
        mount, s3, bucket, model, folder):
    m = of(mount, bucket, environment(folder, s3), "seed_deadline=1",
           "prefetch=0")
    s3.odd = denied
    with open(m.path / "m" / shard(model), "rb", buffering=0) as file:
        with pytest.raises(OSError) as found:
            os.pread(file.fileno(), 4096, 3 * MIB)
        assert found.value.errno == errno.EIO
    assert f"s3://{bucket}/models/m/{shard(model)}" in m.log()
    assert "s3:GetObject" in m.log()
    s3.odd = lambda environ: None
    read_at_last(m, model, "m")


@pytest.mark.parametrize("text", ["s3://", "s3://ab/x", "s3://bucket/../x",
                                  "s3://buc ket/x", "s3://bucket//x"])
def test_what_is_no_bucket_is_refused(mount, folder, text):
    m = mount(args=("--model", f"m={text}"), ready=False)
    assert m.wait_end() != 0
    m.expect_rc = m.process.returncode
    assert "is not s3://BUCKET/PREFIX" in m.log()


def test_a_digest_of_the_operators_holds_against_a_bucket(
        mount, s3, bucket, model, folder):
    root = digest(model.path)
    s3.upload(model.path, bucket, "models/m/")
    env = environment(folder, s3)
    m = of(mount, bucket, env, prefix=f"models/m#{root}")
    mounts.assert_model_equals(m, "m", model)
    wrong = of(mount, bucket, env, prefix=f"models/m#sha256:{'0' * 64}")
    assert not (wrong.path / "m").exists()
    assert f"is {root}, not sha256:0000" in wrong.log()


def vouched(mount, s3, bucket, folder, seed):
    """A mount that believes the bucket, and takes bytes of the seed."""
    return mount("rescan=0.1", "trust=origin", env=environment(folder, s3),
                 args=("--model", f"llama=s3://{bucket}/models/m",
                       "--seed", url_of(seed)))


def test_a_bucket_vouches_for_seeds_whose_word_is_not_enough(
        mount, seeder, s3, bucket, model, folder):
    root = digest(model.path)
    s3.upload(model.path, bucket, "models/m/")
    seed = seeder(llama=model.path)
    m = vouched(mount, s3, bucket, folder, seed)
    assert models(m) == ["llama"]
    ready(m, "origin")
    brings_all(m, model, "seed")
    path = m.path / "llama"
    assert mounts.xattr(path / shard(model), "trust") == "origin"
    assert mounts.xattr(path, "digest") == root
    kill(seed)
    read_cold(m, model)


def test_a_seed_with_another_version_than_the_buckets_brings_nothing(
        mount, seeder, s3, bucket, model, folder, copy):  # noqa: F811
    digest(model.path)
    s3.upload(model.path, bucket, "models/m/")
    spoil(copy / shard(model), (copy / shard(model)).stat().st_size - 1)
    digest(copy)
    m = vouched(mount, s3, bucket, folder, seeder(llama=copy))
    mounts.wait_until(lambda: models(m) == ["llama"], "the bucket serves it")
    read_all(m, model)
    mounts.wait_until(lambda: "its digest manifest is sha256:" in m.log(),
                      "it is said what the seed has")
    assert mounts.xattr(m.path / "llama" / shard(model), "source") == (
        f"s3://{bucket}/models/m/{shard(model)}")
