# SPDX-License-Identifier: Apache-2.0
"""A model of seeds, through a mount: every byte, and nothing but right ones."""
import errno
import os
import shutil
import threading

import pytest

import mounts

MIB = 1 << 20


def seeds_of(mount):
    return mount.status()["seeds"]


def models(mount):
    return sorted(set(os.listdir(mount.path)) - {".weightfs"})


def read_all(mount, model, name="llama"):
    mounts.assert_model_equals(mount, name, model)


def read_at_last(mount, model, name="llama"):
    """The same, where reads fail at a deadline that a slow machine misses."""
    def all_read():
        try:
            read_all(mount, model, name)
        except OSError as problem:
            assert problem.errno in (errno.EIO, errno.EHOSTUNREACH)
            return False
        return True
    mounts.wait_until(all_read, "all of it can be read")


def read_cold(mount, model, name="llama"):
    """The same, from the seeds: nothing of it is left in memory."""
    for file in model.files():
        fd = os.open(mount.path / name / file, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    mount.evict()
    read_all(mount, model, name)


def shard(model):
    return next(f for f in model.files() if f.endswith(".safetensors"))


def test_a_seeds_model_is_served_byte_for_byte(mount, seeds, model):
    seed = seeds(llama=model.path)
    m = mount(args=("--seed", seed.url))
    assert models(m) == ["llama"]
    read_all(m, model)
    for name in model.files():
        st, want = os.stat(m.path / "llama" / name), os.stat(model.path / name)
        assert (st.st_size, st.st_mtime_ns) == (want.st_size, want.st_mtime_ns)
        assert st.st_mode & 0o777 == 0o444
    path = m.path / "llama" / shard(model)
    assert mounts.xattr(path, "trust") == "seed"
    assert mounts.xattr(path, "source") == (
        f"{seed.url}/v1/models/llama/{shard(model)}")
    (row,) = seeds_of(m)
    assert row["state"] == "ready" and row["url"] == seed.url
    assert row["bytes"] >= model.tensor_bytes and row["wrong"] == 0


def test_a_name_can_be_given_to_a_seeds_model(mount, seeds, model):
    seed = seeds(llama=model.path, other=model.path)
    m = mount(args=("--model", f"mine={seed.url}/v1/models/llama"))
    assert models(m) == ["mine"]
    read_all(m, model, "mine")


def test_a_model_of_the_models_directory_keeps_its_name(mount, seeds, folder,
                                                        model, plain):
    (folder / "shelf").mkdir()
    shutil.copytree(plain.path, folder / "shelf" / "llama")
    seed = seeds(llama=model.path, other=model.path)
    m = mount(f"models={folder}/shelf", args=("--seed", seed.url))
    assert models(m) == ["llama", "other"]
    read_all(m, plain)
    read_all(m, model, "other")


def test_two_seeds_share_the_work_once_their_roots_are_known(mount, seeds,
                                                             model):
    both = [seeds(llama=model.path) for _ in range(2)]
    m = mount(args=("--seed", both[0].url, "--seed", both[1].url))
    other = lambda: seeds_of(m)[1]["bytes"]  # noqa: E731

    def read_again():
        read_cold(m, model)
        return other()
    mounts.wait_until(read_again, "the second seed gives bytes")
    assert all(row["wrong"] == 0 for row in seeds_of(m))


def test_bytes_come_from_the_authority_alone_while_roots_are_unknown(
        mount, seeds, model):
    first, second = seeds(llama=model.path), seeds(llama=model.path)
    for seed in (first, second):
        seed.faults.roots = False
    m = mount(args=("--seed", first.url, "--seed", second.url))
    read_all(m, model)
    # Whoever answered first is the authority.
    assert bool(first.requests) != bool(second.requests)


def test_wrong_bytes_are_never_served(mount, seeds, model):
    # A liar that came first would be the authority: against that only a
    # root from elsewhere helps (test_proof).
    liar, honest = seeds(), seeds(llama=model.path)
    m = mount("passthrough=off", "rescan=0.1",
              args=("--seed", honest.url, "--seed", liar.url))
    liar.offer("llama", model.path)
    mounts.wait_until(lambda: read_cold(m, model) or seeds_of(m)[1]["bytes"],
                      "both are asked")
    liar.faults.wrong = lambda path, off: True
    mounts.wait_until(lambda: read_cold(m, model) or seeds_of(m)[1]["wrong"],
                      "a lie is found out")
    assert f"seed '{liar.url}' sent wrong bytes: model 'llama', file" in (
        m.log())


def test_rotten_bytes_are_asked_for_again(mount, seeds, model):
    seed = seeds(llama=model.path)
    m = mount("passthrough=off", args=("--seed", seed.url))
    seed.faults.rotten = lambda path, off: off == MIB
    done = []
    reader = threading.Thread(
        target=lambda: done.append((m.path / "llama" / shard(model))
                                   .read_bytes()), daemon=True)
    reader.start()
    mounts.wait_until(lambda: seeds_of(m)[0]["state"] == "quarantined",
                      "it is in quarantine")
    assert not done
    seed.faults.rotten = lambda path, off: False
    reader.join(mounts.DEADLINE)
    assert done == [(model.path / shard(model)).read_bytes()]


@pytest.mark.parametrize("fault", ["truncate", "busy", "io"])
def test_a_seed_that_fails_now_and_then_serves_all_the_same(mount, seeds,
                                                            model, fault):
    seed = seeds(llama=model.path)
    m = mount("passthrough=off", args=("--seed", seed.url))
    left = [3]

    def now(path, off):
        left[0] -= 1
        return left[0] >= 0
    if fault == "truncate":
        seed.faults.truncate = now
    else:
        status = {"busy": 6, "io": 3}[fault]
        seed.faults.answer = lambda path, off: now(path, off) and status or 0
    read_all(m, model)
    assert left[0] < 0


def test_a_seed_whose_bytes_drip_is_not_given_up(mount, seeds, model):
    seed = seeds(llama=model.path)
    m = mount(args=("--seed", seed.url))
    left = [2]

    def drip(path, off):
        left[0] -= 1
        return 6 if left[0] >= 0 else 0
    seed.faults.drip = drip
    read_all(m, model)
    (row,) = seeds_of(m)
    assert left[0] < 0
    assert row["errors"] == row["wrong"] == 0


def test_a_read_without_a_seed_fails_at_its_deadline_and_then_works_again(
        mount, processes, model):
    seed = processes(llama=model.path)
    m = mount("passthrough=off", "seed_deadline=1", "readahead=0",
              args=("--seed", seed.url))
    path = m.path / "llama" / shard(model)
    with open(path, "rb", buffering=0) as f:
        seed.stop()
        with pytest.raises(OSError) as e:
            f.read(4096)
            os.pread(f.fileno(), 4096, 5 * MIB)
        assert e.value.errno == errno.EIO
        # What is asked of nobody answers.
        assert os.listdir(m.path / "llama")
        assert os.stat(path).st_size
        seed.go_on()
        want = (model.path / shard(model)).read_bytes()

        def readable():
            try:
                return os.pread(f.fileno(), 4096, 5 * MIB)
            except OSError:
                return None
        got = mounts.wait_until(readable, "it can be read again")
        assert got == want[5 * MIB:5 * MIB + 4096]


def test_all_seeds_lost_for_a_while_lose_no_read(mount, processes, model):
    seed = processes(llama=model.path)
    m = mount("passthrough=off", args=("--seed", seed.url))
    seed.kill()
    mounts.wait_until(lambda: seeds_of(m)[0]["state"] == "down", "it is down")
    assert "llama" in models(m)  # a model stays
    done = []
    reader = threading.Thread(target=lambda: done.append(
        (m.path / "llama" / shard(model)).read_bytes()), daemon=True)
    reader.start()
    processes(port=seed.port, llama=model.path)
    reader.join(mounts.DEADLINE)
    assert done == [(model.path / shard(model)).read_bytes()]
    read_all(m, model)


def test_a_seed_that_is_killed_or_frozen_is_done_without(mount, processes,
                                                         seeds, model):
    good = seeds(llama=model.path)
    killed, frozen = processes(llama=model.path), processes(llama=model.path)
    args = [a for s in (good, killed, frozen) for a in ("--seed", s.url)]
    m = mount("passthrough=off", args=args)

    def all_asked():
        read_cold(m, model)
        return all(row["bytes"] for row in seeds_of(m))
    mounts.wait_until(all_asked, "all seeds give bytes")
    frozen.stop()
    killed.kill()
    read_cold(m, model)
    m2 = mount("passthrough=off", args=args, patient=False)
    read_all(m2, model)
    frozen.go_on()


def test_a_mount_waits_for_a_seed_that_is_down_and_says_so(mount, processes,
                                                          seeds, model):
    gone = processes(llama=model.path)
    gone.kill()
    m = mount(args=("--seed", gone.url))
    assert models(m) == []
    assert f"seed '{gone.url}' cannot be reached" in m.log()
    processes(port=gone.port, llama=model.path)
    mounts.wait_until(lambda: "llama" in models(m), "it appears")
    read_all(m, model)


def test_models_appear_change_and_vanish(mount, seeds, model, plain, folder):
    seed = seeds(llama=model.path)
    m = mount("rescan=0.1", "switch_after=0", args=("--seed", seed.url))
    seed.offer("second", plain.path)
    mounts.wait_until(lambda: "second" in models(m), "it appears")
    read_all(m, plain, "second")
    seed.offer("second", model.path)
    size = os.stat(model.path / shard(model)).st_size
    mounts.wait_until(lambda: os.stat(m.path / "second" / shard(model)).st_size
                      == size, "the new version has the name")
    read_all(m, model, "second")
    seed.withdraw("second")
    mounts.wait_until(lambda: models(m) == ["llama"], "it vanishes")


def test_a_token_and_a_protocol_are_asked_for(mount, seeds, model, folder):
    seed = seeds(llama=model.path)
    seed.token = "secret"
    m = mount(args=("--seed", seed.url))
    mounts.wait_until(lambda: "no or a wrong token" in m.log(), "it is told")
    (folder / "token").write_text("secret\n")
    m = mount(f"seed_token={folder}/token", args=("--seed", seed.url))
    read_all(m, model)
    new = seeds(llama=model.path)
    new.faults.protocol = 2
    m = mount(args=("--seed", new.url))
    mounts.wait_until(
        lambda: "does not speak protocol 1: this seed speaks protocol 2"
        in m.log(), "it is told")


@pytest.mark.parametrize("change", [
    lambda f: f.update(path="../x"), lambda f: f.update(path="/etc/passwd"),
    lambda f: f.update(path="a//b"), lambda f: f.update(path="nowhere/x"),
    lambda f: f.update(size=-1), lambda f: f.update(size=1 << 63),
    lambda f: f.update(region="zz"), lambda f: f.update(mtime=[0]),
])
def test_a_manifest_that_lies_is_refused(mount, seeds, model, change):
    seed = seeds(llama=model.path)

    def lie(manifest):
        row = next(dict(f) for f in manifest["files"] if "region" in f)
        change(row)
        return manifest | {"files": [row]}
    seed.faults.manifest = lie
    m = mount(args=("--seed", seed.url))
    mounts.wait_until(lambda: f"seed '{seed.url}', model 'llama': " in m.log(),
                      "the log says why")
    assert models(m) == []


def test_a_mount_ends_while_reads_wait(mount, processes, model):
    seed = processes(llama=model.path)
    m = mount("passthrough=off", args=("--seed", seed.url))
    seed.stop()
    failed = threading.Event()

    def read():
        try:
            (m.path / "llama" / shard(model)).read_bytes()
        except OSError:
            failed.set()
    threading.Thread(target=read, daemon=True).start()
    mounts.wait_until(lambda: seeds_of(m)[0]["requests"], "it is asked")
    assert m.terminate() == 0
    assert failed.wait(mounts.DEADLINE)


def test_without_known_roots_nobody_stands_in_for_the_authority(
        mount, seeds, model):
    first, second = seeds(llama=model.path), seeds(llama=model.path)
    for seed in (first, second):
        seed.faults.roots = False
    m = mount("passthrough=off", "seed_deadline=1",
              args=("--seed", first.url, "--seed", second.url))
    path = m.path / "llama" / shard(model)
    authority, other = first, second  # or the other way round
    if not mounts.xattr(path, "source").startswith(first.url):
        authority, other = second, first
    authority.close()
    with pytest.raises(OSError) as e:
        path.read_bytes()
    assert e.value.errno == errno.EIO
    assert not other.requests and models(m) == ["llama"]


def test_the_other_seed_offers_what_the_first_takes_back(mount, seeds, model):
    first, second = seeds(llama=model.path), seeds(llama=model.path)
    m = mount("rescan=0.1", "switch_after=0",
              args=("--seed", first.url, "--seed", second.url))
    first.withdraw("llama")
    mounts.wait_until(lambda: read_cold(m, model) or seeds_of(m)[1]["bytes"],
                      "the second gives bytes")


def test_local_models_are_read_while_all_seeds_hang(mount, processes, model,
                                                    plain):
    seed = processes(llama=model.path)
    m = mount("passthrough=off", here=plain, args=("--seed", seed.url))
    seed.stop()

    def read(at):
        try:
            fd = os.open(m.path / "llama" / shard(model), os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            os.pread(fd, 4096, at * 100_000)
            os.close(fd)
        except OSError:
            pass
    for at in range(20):
        threading.Thread(target=read, args=(at,), daemon=True).start()
    mounts.wait_until(lambda: seeds_of(m)[0]["requests"], "reads wait")
    read_all(m, plain, "here")
    seed.go_on()
