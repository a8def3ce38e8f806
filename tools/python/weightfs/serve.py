# SPDX-License-Identifier: Apache-2.0
"""Serves the tensors of this process: see <weightfs/seed.h>.

    with weightfs.serve(model.state_dict(), model="llama", rank=0,
                        layout="tp1", config=config_text) as served:
        print(served.url)               # weightfs mount --seed URL …
        with served.update():
            ...                         # change tensors in place
"""
import contextlib
import ctypes
import json
import os
import sys
import weakref
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, \
    c_uint, c_uint32, c_uint64, c_void_p

from ._lib import check, function, sized, text

DTYPES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16",
    "uint16": "U16", "int32": "I32", "uint32": "U32", "int64": "I64",
    "uint64": "U64", "float16": "F16", "bfloat16": "BF16", "float32": "F32",
    "float64": "F64", "complex64": "C64", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ",
}
# What a checkpoint's folder has that is no small file beside the weights.
WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".pt", ".pth",
           ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".npz")
HOST, CUDA, OTHER = 0, 1, 2
RDMA = {"auto": 0, "off": 1, "on": 2}


class _Options(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("listen", c_char_p),
                ("token_file", c_char_p), ("tls_cert", c_char_p),
                ("tls_key", c_char_p), ("tls_client_ca", c_char_p),
                ("rate", c_uint64), ("threads", c_uint),
                ("connections", c_uint), ("nice", c_int),
                ("insecure", c_int), ("rdma", c_int), ("digests", c_int)]


class _ModelOptions(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("name", c_char_p), ("engine", c_char_p),
                ("engine_version", c_char_p), ("layout", c_char_p),
                ("state", c_char_p), ("declared", c_char_p),
                ("one_name", c_int)]


class _Tensor(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("name", c_char_p), ("dtype", c_char_p),
                ("shape", POINTER(c_uint64)), ("strides", POINTER(c_int64)),
                ("ndim", c_uint), ("data", c_void_p), ("rank", c_uint32),
                ("device", c_int)]


def _dtype(name, dtype):
    try:
        return DTYPES[dtype].encode()
    except KeyError:
        raise TypeError(f"tensor '{name}' has dtype {dtype}, which "
                        "safetensors does not know") from None


def _of_torch(name, tensor):
    if str(tensor.layout) != "torch.strided":
        raise TypeError(f"tensor '{name}' is {tensor.layout}: only what has "
                        "strides can be served")
    if tensor.device.type == "meta":
        raise TypeError(f"tensor '{name}' is on the device 'meta': it has no "
                        "bytes")
    return (str(tensor.dtype).rpartition(".")[2], tuple(tensor.shape),
            tuple(tensor.stride()), tensor.data_ptr(),
            {"cpu": HOST, "cuda": CUDA}.get(tensor.device.type, OTHER))


def _is_on_gpu(tensor):
    return hasattr(tensor, "data_ptr") and tensor.device.type == "cuda"


def _of_array(name, array):
    inner = array.__array_interface__
    width = array.dtype.itemsize
    if array.dtype.byteorder == ">":
        raise TypeError(f"tensor '{name}' is big-endian")
    if any(step % width for step in array.strides):
        raise TypeError(f"tensor '{name}' has strides that are no multiples "
                        "of its elements")
    return (array.dtype.name, array.shape,
            tuple(step // width for step in array.strides),
            inner["data"][0], HOST)


def describe(name, tensor, rank):
    """A tensor of torch, or an array, as the library wants it."""
    if hasattr(tensor, "data_ptr"):
        dtype, shape, strides, data, device = _of_torch(name, tensor)
    elif hasattr(tensor, "__array_interface__"):
        dtype, shape, strides, data, device = _of_array(name, tensor)
    else:
        raise TypeError(f"'{name}' is neither a tensor nor an array")
    n = len(shape)
    return sized(_Tensor, name=text(name), dtype=_dtype(name, dtype),
                 shape=(c_uint64 * n)(*shape), strides=(c_int64 * n)(*strides),
                 ndim=n, data=data or None, rank=rank, device=device)


def _small_files(config, files, directory):
    """{name: bytes} of what lies beside the weights."""
    found = {}
    if directory is not None:
        for entry in os.scandir(directory):
            if entry.is_file() and not entry.name.endswith(WEIGHTS):
                with open(entry.path, "rb") as file:
                    found[entry.name] = file.read()
    given = dict(files or {})
    if config is not None:
        given["config.json"] = config
    for name, content in given.items():
        if isinstance(content, dict):
            content = json.dumps(content)
        found[name] = content.encode() if isinstance(content, str) else content
    return found


class Model:
    """A model that is served. Holds its tensors till it is closed."""

    def __init__(self, seed, handle, name):
        self.seed, self.name = seed, name
        self._tensors = []
        self._gpus = set()
        self._handle = handle
        self._owns_seed = False
        # Also when Python ends: before the memory of the tensors goes.
        self._end = weakref.finalize(
            self, function("weightfs_seed_model_free", c_void_p, result=None),
            handle)

    def add(self, named_tensors, rank=0):
        """More tensors, of that rank: a mapping, or pairs of name, tensor."""
        pairs = named_tensors.items() if hasattr(
            named_tensors, "items") else named_tensors
        call = function("weightfs_seed_add_tensor", c_void_p,
                        POINTER(_Tensor))
        for name, tensor in pairs:
            check(call(self._use(), byref(describe(name, tensor, rank))))
            self._tensors.append(tensor)
            if _is_on_gpu(tensor):
                self._gpus.add(tensor.device)

    def add_file(self, name, content):
        """A small file beside the weights."""
        check(function("weightfs_seed_add_file", c_void_p, c_char_p, c_char_p,
                       c_size_t)(self._use(), text(name), content,
                                 len(content)))

    def publish(self):
        """From now on it is served, and nothing can be added."""
        self._settle()
        check(function("weightfs_seed_publish", c_void_p)(self._use()))

    @contextlib.contextmanager
    def update(self, declared=None):
        """Around changes of the tensors in place: then it is a new version,
        declared as that, unless it is closed meanwhile."""
        check(function("weightfs_seed_update_begin", c_void_p)(self._use()))
        try:
            yield self
        finally:
            if not self.closed:
                self._settle()
                if declared is not None:
                    self._declare(declared)
                check(function("weightfs_seed_update_end",
                               c_void_p)(self._use()))

    def _declare(self, declared):
        check(function("weightfs_seed_update_declare", c_void_p, c_char_p)(
            self._use(), text(declared)))

    def _settle(self):
        """What GPUs were told to write is written."""
        for device in self._gpus:
            sys.modules["torch"].cuda.synchronize(device)

    @property
    def closed(self):
        """Is it served no more?"""
        return not self._end.alive

    @property
    def url(self):
        """Where it is served."""
        return self.seed.url

    @property
    def epoch(self):
        """Grows by two with each update."""
        return function("weightfs_seed_epoch", c_void_p,
                        result=c_uint64)(self._use())

    @property
    def regions(self):
        """How many spans of memory hold all of it."""
        return function("weightfs_seed_regions", c_void_p,
                        result=c_size_t)(self._use())

    def close(self):
        """Takes it off: nothing touches the tensors afterwards."""
        self._take_off()
        if self._owns_seed:
            self.seed.close()

    def _take_off(self):
        self._end()
        self._tensors.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _use(self):
        if self.closed:
            raise ValueError(f"model '{self.name}' was closed")
        return self._handle


class Seed:
    """Listens; several models may be served by one."""

    def __init__(self, listen=None, *, token_file=None, tls_cert=None,
                 tls_key=None, tls_client_ca=None, rate=0, threads=0,
                 connections=0, nice=0, insecure=False, rdma="auto",
                 digests=False):
        if rdma not in RDMA:
            raise ValueError(f"rdma={rdma!r} is none of {', '.join(RDMA)}")
        options = sized(
            _Options, listen=text(listen), token_file=text(token_file),
            tls_cert=text(tls_cert), tls_key=text(tls_key),
            tls_client_ca=text(tls_client_ca), rate=rate, threads=threads,
            connections=connections, nice=nice, insecure=insecure,
            rdma=RDMA[rdma], digests=digests)
        handle = c_void_p()
        check(function("weightfs_seed_new", POINTER(_Options),
                       POINTER(c_void_p))(byref(options), byref(handle)))
        self._handle = handle
        self._models = weakref.WeakSet()
        self.url = function("weightfs_seed_url", c_void_p,
                            result=c_char_p)(handle).decode()
        self._end = weakref.finalize(
            self, function("weightfs_seed_free", c_void_p, result=None),
            handle)

    def model(self, name, *, engine=None, engine_version=None, layout=None,
              state=None, declared=None, one_name=False):
        """A model to which tensors can be added."""
        if not self._end.alive:
            raise ValueError(f"the seed '{self.url}' was closed")
        options = sized(
            _ModelOptions, name=text(name), engine=text(engine),
            engine_version=text(engine_version), layout=text(layout),
            state=text(state), declared=text(declared), one_name=one_name)
        handle = c_void_p()
        check(function("weightfs_seed_model_new", c_void_p,
                       POINTER(_ModelOptions), POINTER(c_void_p))(
                           self._handle, byref(options), byref(handle)))
        made = Model(self, handle, name)
        self._models.add(made)
        return made

    @property
    def models(self):
        """Those that are served by it, or about to be."""
        return [model for model in self._models if not model.closed]

    def close(self):
        """Cuts off everybody, and takes off its models."""
        for model in self.models:
            model._take_off()
        self._end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def serve(named_tensors, *, model, rank=0, layout=None, config=None,
          files=None, directory=None, engine=None, engine_version=None,
          state=None, declared=None, one_name=False, seed=None, **options):
    """Serves tensors of torch (or arrays) as rank `rank` of model `model`.

    named_tensors  a mapping, or pairs of name and tensor; they must stay
                   where they are until it is closed, and change only within
                   `update()`
    layout         how the engine cuts the model: "tp4", "tp4pp2"
    config, files  config.json, and other small files by name: text, bytes, or
                   what becomes JSON
    directory      a checkpoint whose small files are taken
    state          "loaded" or "processed", see <weightfs/seed.h>
    declared       which version of the weights it is: processes that say the
                   same have the same; an update has its own word, or none
    one_name       of tied tensors only the least name, as sharded_state saves
    seed           a Seed to add it to; otherwise it has one of its own, made
                   with the other options (listen, token_file, rate, …);
                   rdma: whether nodes read the tensors where they lie, "auto"
                   (where this machine can), "on" or "off"
    """
    if seed is not None and options:
        raise TypeError("options of a seed that is there already: "
                        + ", ".join(options))
    small = _small_files(config, files, directory)
    own = seed is None
    seed = Seed(**options) if own else seed
    served = None
    try:
        served = seed.model(model, engine=engine,
                            engine_version=engine_version, layout=layout,
                            state=state, declared=declared, one_name=one_name)
        served._owns_seed = own
        for name, content in small.items():
            served.add_file(name, content)
        served.add(named_tensors, rank)
        served.publish()
    except BaseException:
        if served is not None:
            served.close()
        elif own:
            seed.close()
        raise
    return served
