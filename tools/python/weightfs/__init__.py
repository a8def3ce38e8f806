# SPDX-License-Identifier: Apache-2.0
"""libweightfs for Python: no compiled extension, ctypes over the library.

    weightfs.serve(model.state_dict(), model="llama", rank=0, layout="tp1")

serves the weights of this process.  torch and numpy are imported when they are
needed, and need not be there for what does without them.
"""
from .serve import Model, Seed, serve

__all__ = ["Model", "Seed", "serve"]
