# SPDX-License-Identifier: Apache-2.0
"""The header alone, for C and C++, and the manual that goes with it."""
import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

import calls

ROOT = Path(__file__).parents[2]
USE = """
#include "fs/weightfs_ioctl.h"
extern int use(struct weightfs_info *, struct weightfs_fill *,
	       struct weightfs_lend *, struct weightfs_drop *,
	       struct weightfs_pass *, struct weightfs_passed *);
"""


@pytest.mark.parametrize("compiler, language", [
    ("gcc", "c99"), ("g++", "c++11"), ("clang", "c11"), ("clang++", "c++17")])
def test_it_compiles_by_itself(compiler, language):
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    subprocess.run(
        [compiler, f"-std={language}", "-fsyntax-only", "-Wall", "-Wextra",
         "-Wpedantic", "-Wpadded", "-Werror", "-I.", "-x",
         "c++" if "++" in compiler else "c", "-"],
        input=USE, text=True, check=True, cwd=ROOT)


def test_calls_have_the_sizes_that_the_numbers_say():
    for number, kind in ((calls.INFO, calls.Info), (calls.FILL, calls.Fill),
                         (calls.LEND, calls.Lend), (calls.DROP, calls.Drop)):
        assert number >> 16 & 0x3FFF == ctypes.sizeof(kind) < 8192


def test_the_manual_names_every_word_of_the_header():
    text = (ROOT / "fs/weightfs_ioctl.h").read_text()
    manual = (ROOT / "tools/man/weightfs_ioctl.2").read_text()
    for word in ("INFO", "FILL", "LEND", "DROP"):
        assert f"WEIGHTFS_IOC_{word}" in text and f"IOC_{word}" in manual
    for error in ("EINVAL ERANGE ENOTTY EACCES EPERM ESRCH ENXIO ENODEV "
                  "EOPNOTSUPP EXDEV EFAULT ENOMEM EBUSY ESTALE EHOSTUNREACH "
                  "ETIMEDOUT EBADMSG EIO EINTR").split():
        assert f".B {error}\n" in manual
