# SPDX-License-Identifier: Apache-2.0
"""libweightfs for Python: no compiled extension, ctypes over the library.

    weightfs.serve(model.state_dict(), model="llama", rank=0, layout="tp1")

serves the weights of this process.

    weightfs.load_file("/weights/llama@tp2", rank=0)    a dict of torch tensors
    weightfs.load_into(model.state_dict(), "/weights/llama")
    weightfs.open("/weights/llama/0/lm_head.weight")    one tensor, as a file

read those of a mount, or of files, without a copy.  torch and numpy are
imported when they are needed, and need not be there for what does without
them.
"""
from .load import load_file, load_into
from .open import Tensor, open  # pylint: disable=redefined-builtin
from .serve import Model, Seed, serve

__all__ = ["Model", "Seed", "Tensor", "load_file", "load_into", "open",
           "serve"]
