# SPDX-License-Identifier: Apache-2.0
"""Mounting: points, options, helpers, and the death of a daemon."""
import errno
import json
import os
import select
import stat
import subprocess
import threading

import pytest

import checkpoints as ck
from mounts import (DEADLINE, PATIENT, PROGRAM, RawMap, assert_model_equals,
                    assert_same, environment, is_mounted, mountinfo, run,
                    wait_until)


def daemon_pid(point):
    return json.loads((point / ".weightfs" / "status.json").read_text())["pid"]


@pytest.fixture
def behind(folder):
    """Mounts without -f by any command; unmounts, and waits for the end."""
    started = []

    def start(*command, point=None, check=True):
        point = point or folder / f"behind{len(started)}"
        point.mkdir(exist_ok=True)
        done = subprocess.run([str(c) for c in command] + (
            [] if str(point) in map(str, command) else [str(point)]),
            text=True, capture_output=True, timeout=DEADLINE, check=False,
            env=environment(folder), stdin=subprocess.DEVNULL)
        if is_mounted(point):
            started.append((point, os.pidfd_open(daemon_pid(point))))
        if check:
            assert done.returncode == 0, done.stderr
            assert is_mounted(point), "not mounted when the parent returned"
        return point, done
    yield start
    for point, fd in started:
        if is_mounted(point):
            subprocess.run(["umount", "-l", point], check=False)
        assert select.select([fd], [], [], DEADLINE)[0], "it does not end"
        os.close(fd)


def test_the_parent_returns_when_the_mount_answers(behind, plain):
    point, done = behind(PROGRAM, "mount", "--model", f"p={plain.path}")
    name, place = next(iter(plain.ranks["0"].items()))
    assert_same((point / "p" / "0" / name).read_bytes(), place.read(), name)
    assert done.stderr == ""
    pid = daemon_pid(point)
    # A daemon: in a session of its own, on no terminal, holding nothing.
    assert os.getsid(pid) != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    done = run("umount", point)
    assert done.returncode == 0, done.stderr
    assert not is_mounted(point)


def test_a_daemon_closes_what_it_inherits(folder, plain, behind):
    """`x=$(weightfs mount …)` must return: no pipe stays open."""
    read, write = os.pipe()
    point = folder / "pipe"
    point.mkdir()
    done = subprocess.run(
        [PROGRAM, "mount", "--model", f"p={plain.path}", point],
        stdout=write, stderr=write, pass_fds=(), timeout=DEADLINE,
        stdin=subprocess.DEVNULL, check=False, env=environment(folder))
    os.close(write)
    pidfd = os.pidfd_open(daemon_pid(point))
    try:
        assert done.returncode == 0
        assert os.read(read, 4096) == b"", "end of file: nobody holds it"
    finally:
        os.close(read)
        subprocess.run(["umount", point], check=True)
        assert select.select([pidfd], [], [], DEADLINE)[0]
        os.close(pidfd)


def test_an_fstab_line_works(behind, folder, plain):
    """As mount(8) calls the helper: source, point, -o words."""
    models = folder / "models"
    os.makedirs(models)
    os.rename(plain.path, models / "p")
    helper = folder / "mount.weightfs"
    helper.symlink_to(os.path.abspath(PROGRAM))
    point = folder / "fstab"
    point, _ = behind(helper, models, point, "-o",
                      "rw,noauto,nofail,x-systemd.automount,_netdev,"
                      "nosuid,nodev,noatime,arena_size=64M,switch_after=5",
                      point=point)
    assert os.listdir(point / "p" / "0")
    (row,) = [r for r in mountinfo() if r[0] == str(point)]
    assert row[1] in ("fuse.weightfs", "fuse")
    assert row[2] == str(models)
    assert "ro" in row[3].split(",")
    arena = json.loads((point / ".weightfs" / "status.json").read_text())
    assert not arena["arena"]["in_use"] or arena["arena"]["bytes"] == 64 << 20
    subprocess.run(["umount", point], check=True)


def test_the_helper_takes_models_from_options(behind, folder, plain):
    helper = folder / "mount.fuse.weightfs"
    helper.symlink_to(os.path.abspath(PROGRAM))
    point = folder / "none"
    behind(helper, "none", point, "-s", "-o",
           f"model=mine={plain.path},unheard_of=1", point=point)
    assert "mine" in os.listdir(point)
    subprocess.run(["umount", point], check=True)


def test_mount8_itself_finds_the_helper(behind, folder, plain, root):
    """With a private /sbin, so that nothing is installed here."""
    if os.path.exists("/sbin/mount.weightfs"):
        pytest.skip("a mount.weightfs is installed")
    point = folder / "mount8"
    point.mkdir()
    script = ('set -e; mkdir "$1/bin"; '
              'ln -s "$2" "$1/bin/mount.weightfs"; '
              'mount --bind "$1/bin" "$(readlink -f /sbin)"; '
              'mount -t weightfs -o "model=p=$3" none "$4"; '
              'cat "$4/p/config.json"; umount "$4"')
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", folder,
         os.path.abspath(PROGRAM), plain.path, point], text=True,
        capture_output=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (plain.path / "config.json").read_text()


def test_a_config_file_takes_the_same_keys(mount, folder, plain):
    config = folder / "weightfs.ini"
    config.write_text(f"[mount]\nmodel = p={plain.path}\narena_size = 32M\n"
                      "passthrough = off\n")
    m = mount(args=["--config", str(config)])
    assert_model_equals(m, "p", plain)
    assert m.status()["passthrough"]["in_use"] is False


def test_the_command_line_wins_over_the_config_file(mount, folder, plain):
    config = folder / "weightfs.ini"
    config.write_text(f"[mount]\nmodel = p={plain.path}\narena_size = 32M\n")
    m = mount("arena_size=48M", args=["--config", str(config)])
    arena = m.status()["arena"]
    assert not arena["in_use"] or arena["bytes"] == 48 << 20


@pytest.mark.parametrize("option", [
    "arena_size=lots", "nonsense", "nonsense=1", "passthrough=perhaps",
    "open_wait=soon", "open_wait=", "log_level=loud", "hydrators=-1",
    "prefetch=1Q", "model=x"])
def test_a_wrong_option_is_a_usage_error(folder, plain, option):
    (folder / "mnt").mkdir()
    done = run("mount", "-f", "-o", option, "--model", f"p={plain.path}",
               folder / "mnt", folder=folder)
    assert done.returncode == 2, done.stderr
    assert option.split("=")[0] in done.stderr


def mount_at(folder, plain, point, *options):
    return run("mount", "-f", *options, "--model", f"p={plain.path}", point,
               folder=folder)


def test_a_mount_point_that_is_not_there_is_refused(folder, plain):
    done = mount_at(folder, plain, folder / "nowhere")
    assert done.returncode == 1
    assert f"'{folder / 'nowhere'}'" in done.stderr


def test_a_mount_point_that_is_a_file_is_refused(folder, plain):
    (folder / "file").write_text("")
    done = mount_at(folder, plain, folder / "file")
    assert done.returncode == 1
    assert "directory" in done.stderr and str(folder / "file") in done.stderr


def test_a_mount_point_that_is_not_empty_is_refused(folder, plain, mount):
    (folder / "full").mkdir()
    (folder / "full" / "something").write_text("")
    done = mount_at(folder, plain, folder / "full")
    assert done.returncode == 1
    assert str(folder / "full") in done.stderr and "empty" in done.stderr
    m = mount("nonempty", p=plain, point=folder / "full")
    assert_model_equals(m, "p", plain)


def test_a_second_mount_on_a_live_one_is_refused(folder, plain, mount):
    m = mount(p=plain)
    done = mount_at(folder, plain, m.path)
    assert done.returncode == 1
    assert str(m.path) in done.stderr
    assert_model_equals(m, "p", plain)


def test_a_mount_point_through_a_link_is_the_real_one(folder, plain, mount):
    (folder / "real").mkdir()
    (folder / "link").symlink_to(folder / "real")
    m = mount(p=plain, point=folder / "link", ready=False)
    wait_until(lambda: is_mounted(folder / "real"), "mounted")
    m.path = folder / "real"
    assert_model_equals(m, "p", plain)


@pytest.mark.parametrize("odd", ["with space", "com,ma", "back\\slash",
                                 "quo'te", "ünicode", "new\nline"])
def test_odd_names_of_mount_points_and_models_work(folder, plain, mount, odd):
    (folder / odd).mkdir()
    os.rename(plain.path, folder / f"model {odd}")
    m = mount(point=folder / odd, args=[
        "--model", f"{odd}={folder / f'model {odd}'}"])
    assert (m.path / odd / "config.json").read_bytes()
    assert m.status()["mountpoint"] == str(folder / odd)
    done = run("umount", folder / odd)
    assert done.returncode == 0, done.stderr
    assert m.wait_end() == 0


def test_a_dead_mount_is_recovered(mount, plain, folder):
    m = mount(p=plain)
    m.kill()
    with pytest.raises(OSError) as e:
        os.listdir(m.path)
    assert e.value.errno == errno.ENOTCONN
    again = mount(p=plain, point=m.path, ready=False)
    wait_until(lambda: os.access(m.path / "p", os.R_OK), "it answers")
    assert_model_equals(again, "p", plain)
    assert [r[0] for r in mountinfo()].count(str(m.path)) == 1
    assert again.terminate() == 0
    assert not is_mounted(m.path)


def test_a_killed_daemon_gives_errors_and_no_hang(mount, folder, seed):
    model = ck.hf_single(folder / "m", ck.layers(6, 3_000_000), seed)
    m = mount("passthrough=off", m=model)
    names = list(model.ranks["0"])
    held = open(m.path / "m" / "0" / names[0], "rb", buffering=0)
    held.read(10)
    seen = []
    stop = threading.Event()

    def reader():
        while not stop.is_set():
            try:
                for name in names:
                    (m.path / "m" / "0" / name).read_bytes()
            except OSError as e:
                seen.append(e.errno)
                return

    threads = [threading.Thread(target=reader) for _ in range(4)]
    for t in threads:
        t.start()
    m.kill()
    for t in threads:
        t.join(DEADLINE)
        assert not t.is_alive(), "a reader hangs"
    stop.set()
    assert set(seen) <= {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO}
    assert len(seen) == 4
    with pytest.raises(OSError):
        os.stat(m.path / "m" / "config.json")
    held.close()


def test_maps_by_passthrough_outlive_the_daemon(mount, folder, seed,
                                                passthrough):
    model = ck.hf_single(folder / "m", ck.layers(2, 3_000_000), seed)
    m = passthrough(mount(PATIENT, m=model))
    name, place = next(iter(model.ranks["0"].items()))
    with RawMap(m.path / "m" / "0" / name) as tensor, \
            RawMap(m.path / "m" / "model.safetensors") as file:
        m.kill()
        assert_same(tensor.bytes(), place.read(), name)
        assert_same(file.bytes(), place.file.read_bytes(), "the file")


def test_two_mounts_side_by_side_know_nothing_of_each_other(mount, plain):
    one, two = mount(p=plain), mount(q=plain)
    assert_model_equals(one, "p", plain)
    assert_model_equals(two, "q", plain)
    assert one.terminate() == 0
    assert_model_equals(two, "q", plain)


def test_the_daemon_opens_nothing_of_its_own_mount(mount, plain):
    m = mount("rescan=0.1", p=plain)
    for name in plain.ranks["0"]:
        (m.path / "p" / "0" / name).read_bytes()
    for fd in os.listdir(f"/proc/{m.pid}/fd"):
        try:
            where = os.readlink(f"/proc/{m.pid}/fd/{fd}")
        except FileNotFoundError:
            continue
        assert not where.startswith(f"{m.path}/"), where


def test_a_mount_point_can_be_used_again_and_again(mount, plain):
    point = None
    for _ in range(5):
        m = mount(p=plain, point=point)
        point = m.path
        assert stat.S_ISDIR((m.path / "p").stat().st_mode)
        assert m.terminate() == 0
