# SPDX-License-Identifier: Apache-2.0
"""The files of .weightfs and the sub-commands that read a mount."""
import json
import os
import re

import checkpoints as ck
from mounts import PATIENT, is_mounted, run, wait_until

SHAPE = {
    "version": str, "pid": int, "mountpoint": str, "uptime_s": (int, float),
    "passthrough": {"in_use": bool, "why": str},
    "arena": {"in_use": bool, "why": str, "bytes": int, "used": int,
              "huge": bool, "resident_bytes": int, "resident_files": int,
              "pinned_files": int},
    "models": list, "open_files": int,
    "opens": {"passthrough": int, "cached": int, "waited": int,
              "refused": int},
    "reads": {"count": int, "bytes": int, "errors": int},
    "hydration": {"files": int, "bytes": int, "failed": int,
                  "evicted_files": int, "evicted_bytes": int,
                  "no_room": int, "copy_bytes_per_s": (int, float)},
    "errors": {"source": int, "stale": int},
}
MODEL = {
    "name": str, "path": str, "format": str, "trust": str,
    "ranks": int, "tensors": int,
    "files": int, "file_bytes": int, "tensor_bytes": int,
    "resident_bytes": int, "opens": int, "state": str,
}


def assert_shape(value, shape, where=""):
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        assert shape.keys() <= value.keys(), (
            where, shape.keys() - value.keys())
        for key, inner in shape.items():
            assert_shape(value[key], inner, f"{where}.{key}")
    else:
        assert isinstance(value, shape), f"{where}: {value!r}"


def test_status_json_has_every_member(mount, plain):
    m = mount(p=plain)
    status = m.status()
    assert_shape(status, SHAPE)
    (row,) = status["models"]
    assert_shape(row, MODEL)
    assert status["pid"] == m.pid
    assert status["mountpoint"] == str(m.path)
    assert row["name"] == "p" and row["path"] == str(plain.path)
    assert row["format"] == "hf" and row["state"] == "serving"
    assert row["tensors"] == len(plain.ranks["0"])
    assert row["files"] == len(plain.files())
    assert row["tensor_bytes"] == plain.tensor_bytes
    assert row["file_bytes"] == sum(
        (plain.path / f).stat().st_size for f in plain.files())


def test_open_files_are_counted(mount, plain):
    m = mount(p=plain)
    assert m.status()["open_files"] == 0
    files = [open(m.path / "p" / f, "rb") for f in plain.files()]
    assert m.status()["open_files"] == len(files)
    assert m.model("p")["opens"] == len(files)
    for f in files:
        f.close()
    wait_until(lambda: m.status()["open_files"] == 0, "all are released")


def test_a_control_file_is_one_state_however_it_is_read(mount, plain):
    """Read in small pieces, and again through the same descriptor."""
    m = mount(p=plain)
    fd = os.open(m.path / ".weightfs" / "status.json", os.O_RDONLY)
    try:
        text = b""
        while piece := os.read(fd, 7):
            text += piece
        json.loads(text)
        assert os.pread(fd, len(text), 0) == text
    finally:
        os.close(fd)


def test_stats_are_in_the_text_format_of_prometheus(mount, plain):
    m = mount(p=plain)
    for name in plain.ranks["0"]:
        (m.path / "p" / "0" / name).read_bytes()
    text = m.control("stats")
    assert text.endswith("\n")
    typed, seen = set(), set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert kind in ("counter", "gauge")
            assert name not in typed, "one TYPE a metric"
            typed.add(name)
        elif line.startswith("# HELP "):
            assert len(line.split(" ", 3)) == 4
        else:
            match = re.fullmatch(
                r'(weightfs_[a-z0-9_]+)(\{([a-z_]+="(\\.|[^"\\])*",?)*\})? '
                r"[-+0-9.e]+", line)
            assert match, line
            assert match[1] in typed, f"{match[1]} has no TYPE"
            sample = line.rsplit(" ", 1)[0]
            assert sample not in seen, "a sample appears once"
            seen.add(sample)
    assert seen


def test_stats_escape_the_names_of_models(mount, plain):
    m = mount(args=["--model", f'we"ird\\na\nme={plain.path}'])
    for line in m.control("stats").splitlines():
        assert line.startswith(("weightfs_", "# ")), line
    assert m.status()["models"][0]["name"] == 'we"ird\\na\nme'


def test_version_is_that_of_the_program(mount, plain):
    m = mount(p=plain)
    version = m.control("version").split()
    assert run("version").stdout.split()[:2] == version[:2]
    assert m.status()["version"] in version


def test_the_status_command_shows_the_mount(mount, plain):
    m = mount(p=plain)
    done = run("status", m.path)
    assert done.returncode == 0, done.stderr
    assert "p" in done.stdout and str(m.path) in done.stdout
    as_json = json.loads(run("status", "--json", m.path).stdout)
    text = json.dumps(as_json)
    assert '"name": "p"' in text and str(m.path) in text


def test_the_du_command_tells_resident_from_all(mount, plain, passthrough):
    m = passthrough(mount("prefetch=0", PATIENT, p=plain))
    name, place = next(iter(plain.ranks["0"].items()))
    (m.path / "p" / "0" / name).read_bytes()
    wait_until(lambda: m.model("p")["resident_bytes"] == place.size,
               "it is resident")
    for path in (m.path, m.path / "p", m.path / "p" / "0"):
        done = run("du", "--json", path)
        assert done.returncode == 0, done.stderr
        assert str(place.size) in done.stdout, done.stdout
        assert run("du", path).returncode == 0


def test_commands_on_no_mount_say_so(folder):
    for command in ("status", "umount", "du", "evict"):
        done = run(command, folder)
        assert done.returncode == 1, command
        assert str(folder) in done.stderr, (command, done.stderr)


def test_control_files_answer_while_everything_is_read(mount, folder, seed):
    import threading
    model = ck.hf_sharded(folder / "m", ck.layers(20, 1_000_000), seed)
    m = mount("passthrough=off", m=model)
    stop = threading.Event()

    def reader():
        while not stop.is_set():
            for name in model.ranks["0"]:
                with open(m.path / "m" / "0" / name, "rb") as f:
                    os.posix_fadvise(f.fileno(), 0, 0,
                                     os.POSIX_FADV_DONTNEED)
                    f.read()

    threads = [threading.Thread(target=reader) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        for _ in range(50):
            assert_shape(m.status(), SHAPE)
            m.stats()
            m.events()
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert is_mounted(m.path)


def test_stats_are_utf8_whatever_a_model_is_called(mount, folder, seed):
    top = os.fsencode(folder / "models")
    ck.hf_single(folder / "models" / "one", ck.layers(2, 100), seed)
    os.rename(top + b"/one", top + b"/m\xff")
    m = mount(models=folder / "models")
    m.stats()
