# SPDX-License-Identifier: Apache-2.0
"""Checkpoints on web servers: nginx, Python's own, and one that misbehaves."""
import errno
import os
import shutil

import pytest

import checkpoints as ck
import mounts
from test_remote import read_at_last
from web import Nginx, Odd, Quiet, Server

MIB = 1 << 20


@pytest.fixture
def web(folder):
    """web(Quiet or Odd) -> Server over `folder`, web(Nginx, …) -> Nginx."""
    made = []

    def make(kind, **options):
        made.append(Nginx(folder / f"nginx{len(made)}", folder, **options)
                    if kind is Nginx else Server(folder, kind))
        return made[-1]
    yield make
    for one in made:
        one.close()


def of(mount, url, name="m", options=()):
    return mount(*options, args=("--model", f"{name}={url}"))


def shard(model):
    return next(f for f in model.files() if f.endswith(".safetensors"))


@pytest.mark.parametrize("kind", [Nginx, Quiet, Odd])
def test_a_checkpoint_on_a_web_server_is_served_byte_for_byte(mount, web,
                                                              model, kind):
    server = web(kind)
    m = of(mount, f"{server.url}/model/")
    mounts.assert_model_equals(m, "m", model)
    path = m.path / "m" / shard(model)
    assert mounts.xattr(path, "trust") == "origin"
    assert mounts.xattr(path, "source") == (
        f"{server.url}/model/{shard(model)}")
    st, want = path.stat(), (model.path / shard(model)).stat()
    assert int(st.st_mtime) in (int(want.st_mtime), 0)
    assert st.st_mode & 0o777 == 0o444


def test_without_a_page_the_index_tells_the_files(mount, web, model):
    server = web(Nginx, more="")
    m = of(mount, f"{server.url}/model")
    names = set(os.listdir(m.path / "m"))
    assert {"config.json", "model.safetensors.index.json", "0"} <= names
    for file in model.files():
        if "/" not in file and file.endswith((".safetensors", ".json")):
            assert (m.path / "m" / file).read_bytes() == (
                model.path / file).read_bytes()


def test_ranges_are_fetched_once_and_pinned(mount, web, model):
    server = web(Odd)
    m = of(mount, f"{server.url}/model/")
    server.http.pins.clear()
    mounts.assert_model_equals(m, "m", model)
    pins = list(server.http.pins)
    assert pins and all(pins), "every range names the version"


def test_a_server_without_ranges_is_read_in_order(mount, web, folder, seed):
    model = ck.hf_single(folder / "one", [ck.of_bytes("w", 20 * MIB)], seed)
    m = of(mount, f"{web(Quiet).url}/one/")
    path = m.path / "m" / "model.safetensors"
    want = (model.path / "model.safetensors").read_bytes()
    with open(path, "rb") as file:
        for at in (17 * MIB, 0, 5 * MIB + 3):
            file.seek(at)
            assert file.read(12345) == want[at:at + 12345], at
    assert path.read_bytes() == want


def test_names_that_need_escapes_are_found(mount, web, folder, model):
    for name in ("a b.txt", "100% & more.txt", "ü#x.txt", "q?.txt"):
        (model.path / name).write_text(name)
    (model.path / "sub" / "deep").mkdir(parents=True)
    (model.path / "sub" / "deep" / "note.md").write_text("deep")
    for kind in (Nginx, Quiet):
        m = of(mount, f"{web(kind).url}/model/")
        for name in ("a b.txt", "100% & more.txt", "ü#x.txt", "q?.txt",
                     "sub/deep/note.md"):
            assert (m.path / "m" / name).read_bytes() == (
                model.path / name).read_bytes(), (kind, name)


def test_a_layout_over_a_web_server_equals_the_local_one(mount, web, folder,
                                                         model):
    server = web(Nginx)
    m = of(mount, f"{server.url}/model/", options=("prefetch=0",))
    local = mount(m=model)
    for name in model.ranks["0"]:
        a = (m.path / "m" / "0" / name).read_bytes()
        assert a == (local.path / "m" / "0" / name).read_bytes()


def test_another_version_is_never_mixed_in(mount, web, folder, seed, model):
    server = web(Odd)
    m = of(mount, f"{server.url}/model/", options=("prefetch=0",))
    path = m.path / "m" / shard(model)
    first = (model.path / shard(model)).read_bytes()
    with open(path, "rb", buffering=0) as file:
        assert file.read(4096) == first[:4096]
        other = ck.hf_sharded(folder / "other", ck.layers(12, 2_000_002),
                              seed + 1)
        for name in other.files():
            os.replace(other.path / name, model.path / name)
        with pytest.raises(OSError) as error:
            os.pread(file.fileno(), 4 * MIB, 2 * MIB)
        assert error.value.errno == errno.ESTALE
    mounts.wait_until(lambda: not stale(path), "the new one is there")
    assert path.read_bytes() == (model.path / shard(model)).read_bytes()


def stale(path):
    try:
        with open(path, "rb") as file:
            file.read(1)
            os.pread(file.fileno(), 4 * MIB, 2 * MIB)
        return False
    except OSError as error:
        assert error.errno in (errno.ESTALE, errno.ENOENT)
        return True


def test_a_server_that_ignores_pins_is_found_out(mount, web, folder, seed,
                                                 model):
    server = web(Odd)
    server.http.careless = True
    m = of(mount, f"{server.url}/model/", options=("prefetch=0",))
    file = open(m.path / "m" / shard(model), "rb", buffering=0)
    with file:
        file.read(4096)
        server.http.tag = lambda path: "another"
        with pytest.raises(OSError) as error:
            os.pread(file.fileno(), 4096, 5 * MIB)
        assert error.value.errno == errno.ESTALE


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_server_that_fails_for_a_while_is_asked_again(mount, web, model,
                                                        status):
    server = web(Odd)
    m = of(mount, f"{server.url}/model/")
    left = [3]

    def odd(handler, path):
        if handler.command == "GET" and left[0] > 0:
            left[0] -= 1
            return status
        return None
    server.http.odd = odd
    mounts.assert_model_equals(m, "m", model)
    assert left[0] <= 0


def test_answers_that_are_cut_short_are_asked_for_again(mount, web, model):
    server = web(Odd)
    m = of(mount, f"{server.url}/model/")
    left = [4]

    def spoil(path, first, body):
        if left[0] > 0 and len(body) > 1000:
            left[0] -= 1
            return body[:len(body) // 2]
        return body
    # The handler's connection has to end, or the rest is waited for.
    server.http.spoil = spoil
    Odd.protocol_version = "HTTP/1.0"
    try:
        mounts.assert_model_equals(m, "m", model)
    finally:
        Odd.protocol_version = "HTTP/1.1"
    assert left[0] <= 0


def test_a_server_that_is_gone_is_eio_and_back_again_is_fine(mount, web,
                                                             model):
    server = web(Odd)
    m = of(mount, f"{server.url}/model/",
           options=("seed_deadline=1", "prefetch=0"))
    path = m.path / "m" / shard(model)
    server.http.odd = lambda handler, path: 500
    with open(path, "rb", buffering=0) as file:
        with pytest.raises(OSError) as error:
            os.pread(file.fileno(), 4096, 3 * MIB)
        assert error.value.errno == errno.EIO
    server.http.odd = lambda handler, path: None
    read_at_last(m, model, "m")


@pytest.mark.parametrize("what", ["nothing", "no weights", "forbidden"])
def test_what_is_no_checkpoint_is_refused_by_name(mount, web, folder, model,
                                                  what):
    server = web(Odd)
    if what == "nothing":
        url = f"{server.url}/nowhere/"
    elif what == "no weights":
        (folder / "empty").mkdir()
        url = f"{server.url}/empty/"
    else:
        server.http.odd = lambda handler, path: 403
        url = f"{server.url}/model/"
    m = of(mount, url)
    assert url in m.log()
    assert not (m.path / "m").exists()
    if what == "no weights":
        shutil.copytree(model.path, folder / "empty", dirs_exist_ok=True)
        mounts.wait_until(lambda: (m.path / "m").exists(), "it is there")


def test_a_page_cannot_lead_out_of_the_directory(mount, web, folder, model):
    page = b"""<a href="../secret">x</a> <a href="/etc/passwd">x</a>
        <a href="..%2fsecret">x</a> <a href="http://elsewhere/x">x</a>
        <a href="config.json">x</a> <a href='model.safetensors'>x</a>"""
    one = ck.hf_single(folder / "one", [ck.of_bytes("w", MIB)], 1)
    server = web(Odd)

    def odd(handler, path):
        if path.rstrip("/") != str(one.path):
            return None
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Length", str(len(page)))
        handler.end_headers()
        handler.wfile.write(page)
        return -1
    server.http.odd = odd
    send = Odd.send_error
    Odd.send_error = lambda self, status, *a: (
        None if status == -1 else send(self, status, *a))
    try:
        m = of(mount, f"{server.url}/one/")
    finally:
        Odd.send_error = send
    assert set(os.listdir(m.path / "m")) == {
        "config.json", "model.safetensors", "0"}
