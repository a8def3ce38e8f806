# SPDX-License-Identifier: Apache-2.0
"""libweightfs, found and opened once; its types, and how it fails.

$WEIGHTFS_LIBRARY names it where it is not where the system looks.
"""
import ctypes
import functools
import os

NAME = "libweightfs.so.0"


@functools.lru_cache(maxsize=None)
def lib():
    """The library. While it is called other threads of Python run."""
    named = os.environ.get("WEIGHTFS_LIBRARY")
    wrong = []
    for path in [named] if named else [NAME, "/usr/local/lib/" + NAME]:
        try:
            found = ctypes.CDLL(path)
        except OSError as error:
            wrong.append(str(error))
            continue
        found.weightfs_last_error.restype = ctypes.c_char_p
        return found
    raise ImportError("cannot open libweightfs (%s): `make install` puts it in "
                      "place, or WEIGHTFS_LIBRARY names it" % "; ".join(wrong))


def check(code):
    """The code, or an OSError with the library's sentence."""
    if code < 0:
        raise OSError(-code, lib().weightfs_last_error().decode(
            errors="replace"))
    return code


@functools.lru_cache(maxsize=None)
def function(name, *arguments, result=ctypes.c_int):
    """A function of the library, by its name and the types it takes."""
    found = getattr(lib(), name)
    found.argtypes = arguments
    found.restype = result
    return found


def text(value):
    """A string as C wants it, or None."""
    return None if value is None else os.fsencode(value)


def sized(kind, **members):
    """A struct that says how large it is, with these members."""
    return kind(size=ctypes.sizeof(kind),
                **{k: v for k, v in members.items() if v is not None})
