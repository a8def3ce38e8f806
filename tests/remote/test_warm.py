# SPDX-License-Identifier: Apache-2.0
"""weightfs warm: files are here before anybody reads them."""
import mounts


def warm(folder, *paths):
    return mounts.run("warm", *paths, folder=folder)


def test_a_warmed_model_is_read_without_its_seed(mount, processes, folder,
                                                 model):
    seed = processes(llama=model.path)
    m = mount(args=("--seed", seed.url))
    if not m.status()["passthrough"]["in_use"]:
        return  # nothing is kept that could be read
    done = warm(folder, m.path / "llama", m.path / "llama" / "0")
    assert done.returncode == 0, done.stderr
    assert "llama/config.json" in done.stderr
    seed.kill()
    mounts.assert_model_equals(m, "llama", model)


def test_a_local_model_is_warmed_too(mount, folder, plain):
    m = mount(p=plain)
    done = warm(folder, m.path)
    assert done.returncode == 0, done.stderr
    for name in plain.files():
        if (plain.path / name).stat().st_size:
            assert f"p/{name}" in done.stderr
            assert mounts.xattr(m.path / "p" / name, "resident") == "100"


def test_what_is_not_of_a_mount_is_refused_by_name(folder, plain):
    done = warm(folder, plain.path / "config.json")
    assert done.returncode == 1
    assert str(plain.path / "config.json") in done.stderr
    assert "no file of a weightfs mount" in done.stderr
    done = warm(folder, folder / "nowhere")
    assert done.returncode == 1 and "nowhere" in done.stderr


def test_what_has_no_room_is_said(mount, processes, folder, model):
    seed = processes(llama=model.path)
    m = mount("arena_size=2M", args=("--seed", seed.url))
    if not m.status()["passthrough"]["in_use"]:
        return
    done = warm(folder, m.path / "llama")
    assert done.returncode == 1
    assert "no room" in done.stderr and "arena_size" in done.stderr


def test_a_seed_that_is_gone_is_a_failure_by_name(mount, processes, folder,
                                                  model):
    seed = processes(llama=model.path)
    m = mount("seed_deadline=1", args=("--seed", seed.url))
    if not m.status()["passthrough"]["in_use"]:
        return
    seed.kill()
    done = warm(folder, m.path / "llama")
    assert done.returncode == 1
    assert "could not be brought here" in done.stderr
