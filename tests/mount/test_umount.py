# SPDX-License-Identifier: Apache-2.0
"""How a mount ends: by signals, by umount, and who keeps it from that."""
import os
import signal
import subprocess
import sys

from mounts import (DEADLINE, RawMap, assert_model_equals, is_mounted, run,
                    wait_until)


def test_sigterm_unmounts_cleanly(mount, plain):
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        m = mount(p=plain)
        (m.path / "p" / "0" / next(iter(plain.ranks["0"]))).read_bytes()
        signal.pidfd_send_signal(m.pidfd, sig)
        assert m.wait_end() == 0, sig
        assert not is_mounted(m.path)


def test_sigterm_with_open_files_unmounts_all_the_same(mount, plain):
    m = mount(p=plain)
    name, place = next(iter(plain.ranks["0"].items()))
    path = m.path / "p" / "0" / name
    with open(path, "rb") as held, RawMap(path) as at:
        held.read(1)
        assert m.terminate() == 0
        assert not is_mounted(m.path)
        assert at.size == place.size


def test_umount_with_open_files_says_who_holds_them(mount, plain):
    m = mount(p=plain)
    path = m.path / "p" / "0" / next(iter(plain.ranks["0"]))
    held = subprocess.Popen(["sleep", "1000"], stdin=open(path, "rb"),
                            start_new_session=True)
    try:
        done = run("umount", m.path)
        assert done.returncode == 1
        assert str(held.pid) in done.stderr, done.stderr
        assert "sleep" in done.stderr
        assert is_mounted(m.path)
        assert_model_equals(m, "p", plain)
    finally:
        held.kill()
        held.wait()
    done = run("umount", m.path)
    assert done.returncode == 0, done.stderr
    assert m.wait_end() == 0


def test_umount_says_who_only_maps_a_file(mount, plain):
    """A map holds a mount as an open file does."""
    m = mount(p=plain)
    path = m.path / "p" / "0" / next(iter(plain.ranks["0"]))
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import mounts; "
            "m = mounts.RawMap(sys.argv[2]); print('mapped', flush=True); "
            "sys.stdin.read()")
    held = subprocess.Popen(
        [sys.executable, "-c", code, os.path.dirname(__file__), path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert held.stdout.readline() == "mapped\n"
        done = run("umount", m.path)
        assert done.returncode == 1
        assert str(held.pid) in done.stderr, done.stderr
    finally:
        held.stdin.close()
        held.stdout.close()
        held.wait(DEADLINE)
    assert run("umount", m.path).returncode == 0
    assert m.wait_end() == 0


def test_umount_of_what_is_no_mount_says_so(folder):
    done = run("umount", folder)
    assert done.returncode == 1
    assert str(folder) in done.stderr


def test_the_systems_umount_ends_the_daemon(mount, plain):
    m = mount(p=plain)
    subprocess.run(["umount", m.path], check=True)
    assert m.wait_end() == 0


def test_a_lazy_umount_ends_the_daemon_when_the_last_file_goes(mount, plain):
    m = mount(p=plain)
    held = open(m.path / "p" / "config.json", "rb")
    subprocess.run(["umount", "-l", m.path], check=True)
    assert m.process.poll() is None
    assert held.read() == (plain.path / "config.json").read_bytes()
    held.close()
    assert m.wait_end() == 0


def test_an_unmount_right_after_the_mount_is_clean(mount, plain):
    m = mount(p=plain, ready=False)
    wait_until(lambda: is_mounted(m.path), "mounted", every=0.001)
    assert m.terminate() == 0
