# SPDX-License-Identifier: Apache-2.0
"""Mounts over `weightfs seed`: both ends of ours, as they will be used."""
import shutil
import signal
import threading

import mounts
import pytest
import seeds as real
from small_llama import Llama
from test_remote import models, read_all, read_cold, seeds_of


def test_every_byte_of_a_real_seed(mount, seeder, model):
    # localhost may have two addresses, and the seed listens on one of them.
    seed = seeder(llama=model.path)
    m = mount(args=("--seed", seed.url))
    read_all(m, model)
    assert any(row["state"] == "ready" for row in seeds_of(m))


def test_real_seeds_share_the_work_and_one_is_killed(mount, seeder, model):
    both = [seeder(llama=model.path) for _ in range(2)]
    args = [a for s in both
            for a in ("--seed", f"http://127.0.0.1:{s.address[1]}")]
    m = mount("rescan=0.1", args=args)

    def shared():
        read_cold(m, model)
        return all(row["bytes"] for row in seeds_of(m))
    mounts.wait_until(shared, "both give bytes")
    # The second, since the first is the authority of what comes after.
    loading = threading.Thread(target=read_cold, args=(m, model), daemon=True)
    loading.start()
    both[1].process.send_signal(signal.SIGKILL)
    both[1].expect_rc = -signal.SIGKILL
    loading.join(mounts.DEADLINE)
    assert not loading.is_alive()
    read_cold(m, model)
    # What was learnt outlives the authority, too.
    assert all(row["wrong"] == 0 for row in seeds_of(m))


def test_the_authority_is_killed_once_its_roots_are_known(mount, seeder,
                                                          model):
    both = [seeder(llama=model.path) for _ in range(2)]
    args = [a for s in both
            for a in ("--seed", f"http://127.0.0.1:{s.address[1]}")]
    m = mount("passthrough=off", "rescan=0.1", args=args)
    mounts.wait_until(lambda: read_cold(m, model) or seeds_of(m)[1]["bytes"],
                      "roots are known")
    both[0].process.send_signal(signal.SIGKILL)
    both[0].expect_rc = -signal.SIGKILL
    read_cold(m, model)
    assert models(m) == ["llama"]


def test_a_layout_of_a_remote_model_is_that_of_the_local_one(mount, seeder,
                                                             folder):
    llama = Llama(folder / "llama")
    llama.write()
    seed = seeder(llama=llama.path)
    here = mount(llama=llama.path)
    there = mount(args=("--seed", f"http://127.0.0.1:{seed.address[1]}"))
    for file in sorted((here.path / "llama@tp2").rglob("*")):
        if file.is_file():
            name = file.relative_to(here.path)
            mounts.assert_same((there.path / name).read_bytes(),
                               file.read_bytes(), name)


@pytest.fixture
def tls(folder, seeder, model):
    ca = real.authority(folder)
    cert, key = real.certificate(folder, "server")
    (folder / "token").write_text("a-secret\n")

    def make(*args):
        return seeder("--tls-cert", cert, "--tls-key", key, *args,
                      llama=model.path)
    make.ca = ca
    return make


def test_over_tls_with_a_token(mount, tls, folder, model):
    seed = tls("--token-file", folder / "token")
    m = mount(f"seed_ca={tls.ca}", f"seed_token={folder}/token",
              args=("--seed", seed.url))
    read_all(m, model)


def test_a_seed_of_another_authority_is_not_believed(mount, tls, folder):
    seed = tls()
    other = real.authority(folder, "other")
    m = mount(f"seed_ca={other}", args=("--seed", seed.url))
    assert models(m) == [] and "certificate" in m.log()


def test_a_certificate_of_ours_is_shown(mount, tls, folder, model):
    seed = tls("--tls-client-ca", tls.ca)
    cert, key = real.certificate(folder, "client")
    m = mount(f"seed_ca={tls.ca}", f"seed_cert={cert}", f"seed_key={key}",
              args=("--seed", seed.url))
    read_all(m, model)


def test_news_of_a_seed_need_no_poll(mount, folder, model, plain):
    shelf = folder / "shelf"
    shelf.mkdir()
    shutil.copytree(model.path, shelf / "first")
    seed = real.Seed(folder, "seed", ("--models", shelf, "--rescan", "0.1"))
    try:
        seed.wait_ready()
        # Nobody would ask again for an hour, and then eight.
        m = mount("rescan=3600", "switch_after=0", args=(
            "--seed", f"http://127.0.0.1:{seed.address[1]}"))
        mounts.wait_until(lambda: seeds_of(m)[0]["events"], "it is listened to")
        shutil.copytree(plain.path, folder / "coming")
        (folder / "coming").rename(shelf / "second")
        mounts.wait_until(lambda: models(m) == ["first", "second"],
                          "the new model is there")
        read_all(m, plain, "second")
        (shelf / "second").rename(folder / "gone")
        mounts.wait_until(lambda: models(m) == ["first"], "and it goes")
        seed.process.send_signal(signal.SIGKILL)
        seed.expect_rc = -signal.SIGKILL
        mounts.wait_until(lambda: seeds_of(m)[0]["state"] == "down"
                          and not seeds_of(m)[0]["events"],
                          "its end is noticed")
    finally:
        wrong = seed.close()
    assert not wrong, "; ".join(wrong)
