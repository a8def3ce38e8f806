# SPDX-License-Identifier: Apache-2.0
"""Quantised layers without a kernel that could use them.

A way of quantising looks for a kernel of this machine's before it makes the
tensors of a layer, and refuses if there is none.  The tensors and how they are
loaded do not depend on it, so what finds a kernel is replaced by what finds
none and does not mind.
"""
import importlib
import sys

ORACLE = "layers.fused_moe.oracle."
# One of each kind that takes the tensors as they are; that of MXFP4 rounds
# shapes up to whole blocks of 32 and no further.
EXPERTS = (("fp8", "fp8", "Fp8MoeBackend", "TRITON"),
           ("int_wna16", "wna16", "WNA16MoEBackend", "MARLIN"),
           ("mxfp4", "mxfp4", "Mxfp4MoeBackend", "EMULATION"))


class NoKernel:
    def __init__(self, *_, **__):
        pass

    def input_quant_key(self):
        return None


def module(name):
    return importlib.import_module("vllm.model_executor." + name)


def replace(where, name, made):
    """A function of the engine, wherever it was imported to already."""
    was = getattr(module(where), name)
    for other in list(sys.modules.values()):
        if getattr(other, "__dict__", {}).get(name) is was:
            setattr(other, name, made)


def pretend():
    for name in ("choose_scaled_mm_linear_kernel", "choose_mp_linear_kernel"):
        replace("kernels.linear", name, lambda *_, **__: NoKernel)
    replace("layers.quantization.utils.marlin_utils",
            "verify_marlin_supported", lambda *_, **__: None)
    for where, name, kind, member in EXPERTS:
        backend = getattr(module(ORACLE + where), kind)[member]
        replace(ORACLE + where, f"select_{name}_moe_backend",
                lambda *_, made=backend, **__: (made, None))
