# SPDX-License-Identifier: Apache-2.0
"""What lies on another node crosses the network once, whoever reads it and as
what: counted by a real seed."""
import threading

import mounts
import pytest
from mounts import assert_same
from small_llama import Llama

TP = 8


@pytest.fixture
def llama(folder, seed):
    """So large that the two chunks with its headers count for little."""
    return Llama(folder / "llama", seed=seed, hidden=1024, inner=2816,
                 layers=3, heads=16, kv_heads=4, vocab=2003).write()


@pytest.fixture
def far(mount, seeder, llama):
    """far(*options) -> a mount of a seed's model, and the seed."""
    def make(*options):
        one = seeder(llama=llama.path)
        return mount(*options, args=("--seed", one.url)), one
    return make


def together(*jobs):
    wrong = []

    def run(job):
        try:
            job()
        except BaseException as e:
            wrong.append(e)
    threads = [threading.Thread(target=run, args=(j,)) for j in jobs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if wrong:
        raise wrong[0]


def whole_files(m, llama):
    for path in sorted(llama.path.glob("*.safetensors")):
        assert_same((m.path / "llama" / path.name).read_bytes(),
                    path.read_bytes(), path.name)


def tensors(m, llama):
    for file in sorted((m.path / "llama" / "0").iterdir()):
        assert_same(file.read_bytes(), llama.tensor(file.name).tobytes(),
                    file.name)


def rank(m, llama, r):
    for name, (_, _, data) in llama.rank(TP, r).items():
        got = (m.path / f"llama@tp{TP}" / str(r) / name).read_bytes()
        assert_same(got, data, (r, name))


def ranks(m, llama):
    return [lambda r=r: rank(m, llama, r) for r in range(TP)]


def moved(one, llama):
    """Times the checkpoint's bytes that the seed sent."""
    size = sum(p.stat().st_size for p in llama.path.iterdir() if p.is_file())
    return one.metrics()["sent_bytes_total"] / size


MODES = ["passthrough=auto", "passthrough=off"]


@pytest.mark.parametrize("mode", MODES)
def test_all_ranks_at_once(far, llama, mode):
    m, one = far(mode)
    together(*ranks(m, llama))
    assert moved(one, llama) <= 1.05, m.status()["chunk_cache"]


@pytest.mark.parametrize("mode", MODES)
def test_files_and_tensors_at_once(far, llama, mode):
    m, one = far(mode)
    together(lambda: whole_files(m, llama), lambda: tensors(m, llama),
             lambda: whole_files(m, llama))
    if m.status()["passthrough"]["in_use"]:
        assert moved(one, llama) <= 1.05, m.status()["chunk_cache"]


def test_files_then_tensors_then_ranks(far, llama):
    m, one = far()
    if not m.status()["passthrough"]["in_use"]:
        pytest.skip("nothing is kept without an arena")
    done = mounts.run("warm", m.path / "llama", folder=m.folder)
    assert done.returncode == 0, done.stderr
    tensors(m, llama)
    together(*ranks(m, llama))
    whole_files(m, llama)
    assert moved(one, llama) <= 1.05, m.status()["chunk_cache"]


def test_tensors_then_files(far, llama):
    m, one = far()
    if not m.status()["passthrough"]["in_use"]:
        pytest.skip("nothing is kept without an arena")
    done = mounts.run("warm", m.path / "llama" / "0", folder=m.folder)
    assert done.returncode == 0, done.stderr
    whole_files(m, llama)
    done = mounts.run("warm", m.path / "llama", folder=m.folder)
    assert done.returncode == 0, done.stderr
    assert moved(one, llama) <= 1.05, m.status()["chunk_cache"]
