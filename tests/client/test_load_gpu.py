# SPDX-License-Identifier: Apache-2.0
"""weightfs.load_file and load_into with tensors on a GPU, over the FAKE
libcudart: of torch's there are stand-ins, whose memory is the fake's.
"""
import os
from pathlib import Path

import pytest

import checkpoints as ck
import mounts

FAKE = mounts.BUILD / "fake_cudart/libcudart.so.13"
READER = Path(__file__).parents[1] / "ioctl"

GPU = """
import ctypes, os, types
path, fake, where, tools = sys.argv[1:5]
os.environ["FAKE_CUDART"] = where
cudart = ctypes.CDLL(fake)
sys.path.insert(0, tools)
import gpu_reader
gpu = gpu_reader.Gpu()

class OnGpu:
    def __init__(self, shape, dtype, device):
        self.host = real_empty(shape, dtype=dtype)
        self.device, self.dtype, self.shape = device, dtype, self.host.shape
        size = self.host.numel() * self.host.element_size()
        self.at = gpu.allocate(size)[0] if size else None
    def data_ptr(self):
        return self.at.value if self.at else 0
    def is_contiguous(self):
        return True
    def cpu(self):
        size = self.host.numel() * self.host.element_size()
        if size:
            ctypes.memmove(self.host.data_ptr(),
                           gpu.read(self.at, size), size)
        return self.host

waited = []
real_empty = torch.empty
made_by = OnGpu
torch.empty = lambda shape, dtype, device=None: (
    made_by(shape, dtype, device) if device else real_empty(shape, dtype=dtype))
torch.version.cuda = "FAKE"
torch.cuda.synchronize = waited.append
torch.cuda.current_device = lambda: 0
"""


@pytest.fixture
def on_gpu(run, folder):
    """on_gpu(code, path): what it prints, where there are GPUs."""
    where = folder / "gpus"
    where.mkdir()
    return lambda code, path: run(GPU + code, path, FAKE, where, READER)


@pytest.fixture
def model(folder, seed):
    specs = ck.layers(5, 3_000_002) + ck.layers(4, 4096, prefix="small")
    specs.append(ck.Spec("none", "F32", (0,)))
    return ck.hf_sharded(folder / "model", specs, seed)


def test_a_checkpoint_is_loaded_to_a_gpu(mount, model, on_gpu):
    m = mount(m=model)
    assert on_gpu("""
for part in "", "/0":
    want = digests(weightfs.load_file(path + part))
    for device in "cuda:0", "cuda:1", "cuda":
        got = weightfs.load_file(path + part, device=device)
        assert digests({n: t.cpu() for n, t in got.items()}) == want
        assert {str(t.device) for t in got.values()} == {device}
        for tensor in got.values():
            tensor.at and gpu.call("cudaFree", tensor.at)
print(waited)
""", m.path / "m") == str(["cuda:0", "cuda:1", "cuda:0"] * 2)


def test_tensors_that_are_on_gpus_and_here_are_filled(mount, model, on_gpu):
    m = mount(m=model)
    assert on_gpu("""
want = weightfs.load_file(path)
places = ["cpu", "cuda:0", "cuda:1"]
mine = {n: torch.zeros_like(t) if i % 3 == 0 else
        OnGpu(t.shape, t.dtype, torch.device(places[i % 3]))
        for i, (n, t) in enumerate(want.items())}
weightfs.load_into(mine, path)
got = {n: t.cpu() for n, t in mine.items()}
print(digests(got) == digests(want))
""", m.path / "m") == "True"


def test_an_error_of_the_gpu_is_an_oserror_with_the_tensors_name(
        model, on_gpu):
    said = on_gpu("""
names = list(weightfs.load_file(path))
class Nowhere(OnGpu):
    def data_ptr(self):
        return 4096 if self.at else 0
made_by = Nowhere
try:
    weightfs.load_file(path, device="cuda:0")
except OSError as error:
    print(any("tensor '%s'" % n in error.strerror for n in names),
          "CUDA error 700" in error.strerror)
try:
    weightfs.load_file(path, device="cuda:7")
except OSError as error:
    print(type(error).__name__)
""", model.path)
    assert said.split("\n") == ["True True", "OSError"]


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"),
                    reason="there is a GPU here")
def test_without_a_gpu_one_line_says_so_and_the_host_is_loaded(model, run):
    # By the real libcudart where that is installed.
    said = run("""
from weightfs._set import Set
with Set(sys.argv[1]) as found:
    room = torch.empty(sum(info.size for info in found.infos),
                       dtype=torch.uint8)
    to = [room.data_ptr()] * len(found.infos)
    try:
        found.load(to=to, device="cuda:0")
    except OSError as error:
        print(error.strerror)
    found.load(to=to, device="cpu")
""", model.path)
    assert "finds no device" in said or said.startswith("no CUDA: ")
    assert "\n" not in said
