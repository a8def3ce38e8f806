# SPDX-License-Identifier: Apache-2.0
"""INFO and FILL on a real mount: the right bytes, in the right place, and
nothing else changed."""
import os

import pytest

import calls
from mounts import assert_same, tensor_path, xattr


def open_all(m, model):
    """{path: (descriptor, truth)} of every tensor and file."""
    rows = {tensor_path(m, "m", rank, name): place.read()
            for rank, name, place in model.tensors()}
    rows |= {m.path / "m" / name: (model.path / name).read_bytes()
             for name in model.files()}
    return {path: (os.open(path, os.O_RDONLY), truth)
            for path, truth in rows.items()}


def close_all(opened):
    for fd, _ in opened.values():
        os.close(fd)


@pytest.mark.parametrize("options", [(), ("passthrough=off",)])
@pytest.mark.parametrize("seal", [True, False])
def test_every_file_of_a_model_fills_memory(mount, model, options, seal):
    m = mount(*options, m=model)
    opened = open_all(m, model)
    for path, (fd, truth) in opened.items():
        if not truth:
            continue
        with calls.Passer.of(fd) as passer:
            target = calls.Target(passer, len(truth) + 7, seal)
            done = calls.fill(fd, target.slot, [(0, 3, len(truth))])
            assert done.done == len(truth)
            assert_same(target.bytes(), b"\0" * 3 + truth + b"\0" * 4,
                        str(path))
            calls.drop(fd, target.slot)
            target.close()
    close_all(opened)


def test_info_says_what_the_attributes_say(mount, model):
    m = mount(m=model)
    for rank, name, place in model.tensors():
        path = tensor_path(m, "m", rank, name)
        fd = os.open(path, os.O_RDONLY)
        said = calls.info(fd)
        os.close(fd)
        assert said.bytes == place.size
        assert said.dtype.decode() == place.dtype
        assert said.dims == len(place.shape)
        assert tuple(said.shape)[:said.dims] == place.shape[:8]
        assert said.trust.decode() == xattr(path, "trust")
        assert said.digest.decode() in (xattr(path, "digest"), "")
        assert f"{said.version:016x}" == xattr(m.path / "m", "version")
        assert said.can == calls.CAN_FILL and said.devices == 0


def test_info_names_the_best_path(mount, plain):
    off = mount("passthrough=off", p=plain)
    fd = os.open(off.path / "p" / "config.json", os.O_RDONLY)
    assert calls.info(fd).best == calls.FILLED
    os.close(fd)
    on = mount(p=plain)
    fd = os.open(on.path / "p" / "config.json", os.O_RDONLY)
    assert calls.info(fd).best == (
        calls.MAPPED if on.status()["passthrough"]["in_use"]
        else calls.FILLED)
    os.close(fd)
