# SPDX-License-Identifier: Apache-2.0
"""weightfs warm: files are here before anybody reads them."""
import subprocess

import checkpoints as ck
import mounts


def warm(folder, *paths):
    return mounts.run("warm", *paths, folder=folder)


def open_in_arena(path):
    """Open, and not by READs as for as long as somebody else has it so."""
    opened = []

    def is_passed_through():
        while opened:
            opened.pop().close()
        opened.append(open(path, "rb"))
        return mounts.xattr(path, "served") == "passthrough"
    mounts.wait_until(is_passed_through, "passthrough")
    return opened[0]


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


def test_room_that_others_have_for_a_while_is_waited_for(mount, processes,
                                                         folder, model, seed):
    other = ck.hf_sharded(folder / "other", ck.layers(15, 2_000_002),
                          seed + 1)
    one = processes(llama=model.path, other=other.path)
    m = mount("arena_size=30M", args=("--seed", one.url))
    if not m.status()["passthrough"]["in_use"]:
        return
    assert warm(folder, m.path / "other" / "0").returncode == 0
    held = [open_in_arena(p) for p in (m.path / "other" / "0").iterdir()]
    warming = subprocess.Popen(
        [mounts.PROGRAM, "warm", m.path / "llama" / "0"], text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    mounts.wait_until(lambda: m.status()["hydration"]["no_room"],
                      "a refusal")
    for file in held:
        file.close()
    said = warming.communicate()[1]
    assert warming.returncode == 0, said
    for path in (m.path / "llama" / "0").iterdir():
        assert mounts.xattr(path, "resident") == "100"


def test_what_made_room_for_others_is_said(mount, processes, folder, model):
    seed = processes(llama=model.path)
    m = mount("arena_size=12M", args=("--seed", seed.url))
    if not m.status()["passthrough"]["in_use"]:
        return
    done = warm(folder, m.path / "llama" / "0")
    assert done.returncode == 1
    assert "had to go again" in done.stderr
