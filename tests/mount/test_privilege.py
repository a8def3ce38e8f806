# SPDX-License-Identifier: Apache-2.0
"""Without privilege all of it works, by ordinary reads, and says why."""
import json
import shutil
import subprocess
from pathlib import Path

import pytest

import checkpoints as ck
from mounts import (DEADLINE, PROGRAM, assert_same, environment, is_mounted)

# Inside a namespace: mounts, compares everything with its sources, prints
# the status, unmounts.  argv: the program, its words …, "--", mount point,
# source directory, a JSON of [file, source, offset, size].
INSIDE = r"""
import json, os, select, subprocess, sys, time
cut = sys.argv.index("--")
command, (point, table) = sys.argv[1:cut], sys.argv[cut + 1:]
daemon = subprocess.Popen([*command, point])
deadline = time.monotonic() + 60
with open("/proc/self/mountinfo") as info:
    poller = select.poll()
    poller.register(info, select.POLLPRI | select.POLLERR)
    while not os.path.ismount(point):
        if daemon.poll() is not None:
            sys.exit("ended with %d" % daemon.returncode)
        if time.monotonic() > deadline:
            daemon.kill()
            sys.exit("not mounted")
        poller.poll(200)
try:
    for file, source, offset, size in json.load(open(table)):
        with open(source, "rb") as f:
            f.seek(offset)
            want = f.read(size)
        if open(os.path.join(point, file), "rb").read() != want:
            sys.exit("other bytes: " + file)
    print(open(point + "/.weightfs/status.json").read())
finally:
    daemon.terminate()
    rc = daemon.wait(60)
sys.exit(rc)
"""


def table_of(model, name, path):
    rows = [(f"{name}/{rank}/{tensor}", str(p.file), p.offset, p.size)
            for rank, tensor, p in model.tensors()]
    rows += [(f"{name}/{f}", str(model.path / f), 0,
              (model.path / f).stat().st_size) for f in model.files()]
    path.write_text(json.dumps(rows))
    return path


def status_inside(folder, plain, wrap, *words):
    """The whole run under `wrap`; (status, log)."""
    point = folder / "mnt"
    point.mkdir()
    point.chmod(0o777)
    table = table_of(plain, "p", folder / "table.json")
    script = folder / "inside.py"
    script.write_text(INSIDE)
    done = subprocess.run(
        [*wrap, "/usr/bin/python3", script, program_for_all(folder),
         "mount", "-f", *words, "--model", f"p={plain.path}", "--", point,
         table], text=True, capture_output=True, timeout=3 * DEADLINE,
        check=False, env=environment(folder))
    assert done.returncode == 0, done.stderr
    assert not is_mounted(point)
    return json.loads(done.stdout), done.stderr


def program_for_all(folder):
    """The program where any user may run it."""
    copy = folder / "weightfs"
    if not copy.exists():
        shutil.copy(PROGRAM, copy)
        copy.chmod(0o755)
    return copy


def expect_cached(status, log):
    assert status["passthrough"]["in_use"] is False
    why = status["passthrough"]["why"]
    assert why, "no reason given"
    assert status["opens"]["passthrough"] == 0
    assert status["reads"]["count"] > 0
    assert status["reads"]["errors"] == 0
    lines = [x for x in log.splitlines() if "passthrough" in x]
    assert len(lines) == 1, log
    return why


@pytest.fixture
def sandbox(folder, plain):
    """A checkpoint that anyone may read."""
    for file in plain.files():
        (plain.path / file).chmod(0o644)
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o755)


def works(*command):
    return subprocess.run(command, capture_output=True,
                          check=False).returncode == 0


def test_root_of_a_user_namespace_reads_everything(sandbox, plain, root):
    wrap = ["unshare", "--user", "--map-root-user", "--mount"]
    if not works(*wrap, "true"):
        pytest.skip("no user namespaces here")
    status, log = status_inside(sandbox, plain, wrap)
    why = expect_cached(status, log)
    assert "CAP_SYS_ADMIN" in why or "privilege" in why, why


# A device that others may open, in a mount namespace of one's own.
OPEN_FUSE = ["unshare", "--mount", "sh", "-c",
             '{ [ -e "$0/fuse" ] || mknod -m 666 "$0/fuse" c 10 229; } && '
             'mount --bind "$0/fuse" /dev/fuse && exec "$@"']
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def test_an_unprivileged_user_reads_everything(sandbox, plain, root):
    if not shutil.which("fusermount3"):
        pytest.skip("needs fusermount3")
    wrap = [*OPEN_FUSE, sandbox, *NOBODY]
    if not works(*wrap, "sh", "-c", ": <>/dev/fuse"):
        pytest.skip("other users cannot be given /dev/fuse here")
    status, log = status_inside(sandbox, plain, wrap)
    why = expect_cached(status, log)
    assert "CAP_SYS_ADMIN" in why or "privilege" in why, why


def test_root_without_the_capability_is_told_what_it_lacks(sandbox, plain, root):
    """
    Only fusermount3 keeps CAP_SYS_ADMIN: the daemon is uid 0 without it, as
    in many containers.
    """
    drop = ["/usr/bin/setpriv", "--bounding-set=-sys_admin",
            "--inh-caps=-sys_admin"]
    point = sandbox / "mnt"
    point.mkdir()
    done = subprocess.run(
        [*drop, PROGRAM, "mount", "-f", "--model", f"p={plain.path}", point],
        text=True, capture_output=True, timeout=DEADLINE, check=False,
        env=environment(sandbox))
    # Nobody at all may mount here: a clear refusal, and nothing left.
    assert done.returncode == 1
    assert str(point) in done.stderr
    assert "permitted" in done.stderr or "CAP_SYS_ADMIN" in done.stderr, (
        done.stderr)
    assert not is_mounted(point)


def test_passthrough_on_refuses_to_start_without_it(sandbox, plain, root):
    wrap = ["unshare", "--user", "--map-root-user", "--mount"]
    if not works(*wrap, "true"):
        pytest.skip("no user namespaces here")
    point = sandbox / "mnt"
    point.mkdir()
    done = subprocess.run(
        [*wrap, PROGRAM, "mount", "-f", "-o", "passthrough=on", "--model",
         f"p={plain.path}", point], text=True, capture_output=True,
        timeout=DEADLINE, check=False, env=environment(sandbox))
    assert done.returncode == 1
    assert "passthrough" in done.stderr
    assert not is_mounted(point)


def test_a_source_that_may_not_be_read_is_named(sandbox, folder, plain, root,
                                                seed):
    """The daemon of an ordinary user reads what that user may."""
    if not shutil.which("fusermount3"):
        pytest.skip("needs fusermount3")
    secret = ck.hf_single(folder / "secret", ck.layers(2, 100), seed)
    (secret.path / "model.safetensors").chmod(0o600)
    wrap = [*OPEN_FUSE, sandbox, *NOBODY]
    if not works(*wrap, "sh", "-c", ": <>/dev/fuse"):
        pytest.skip("other users cannot be given /dev/fuse here")
    _, log = status_inside(sandbox, plain, wrap, "--model",
                           f"s={secret.path}")
    assert [x for x in log.splitlines()
            if "model.safetensors" in x and "denied" in x], log


def test_an_unprivileged_mount_is_for_its_user_alone(sandbox, plain, root):
    """Without user_allow_other in fuse.conf, allow_other is refused."""
    if not shutil.which("fusermount3"):
        pytest.skip("needs fusermount3")
    conf = Path("/etc/fuse.conf")
    if conf.exists() and any(
            line.strip() == "user_allow_other"
            for line in conf.read_text().splitlines()):
        pytest.skip("fuse.conf lets users ask for allow_other")
    wrap = [*OPEN_FUSE, sandbox, *NOBODY]
    if not works(*wrap, "sh", "-c", ": <>/dev/fuse"):
        pytest.skip("other users cannot be given /dev/fuse here")
    point = sandbox / "mnt"
    point.mkdir()
    point.chmod(0o777)
    done = subprocess.run(
        [*map(str, wrap), str(program_for_all(sandbox)), "mount", "-f", "-o",
         "allow_other", "--model", f"p={plain.path}", str(point)], text=True,
        capture_output=True, timeout=DEADLINE, check=False,
        env=environment(sandbox))
    assert done.returncode == 1
    assert "allow_other" in done.stderr


def test_a_memlock_and_file_limit_of_little_is_no_kill(mount, plain):
    """Few descriptors: said, and served as far as they go."""
    m = mount(p=plain, wrap=["prlimit", "--nofile=256:256",
                             "--memlock=65536:65536"])
    for rank, name, place in plain.tensors():
        assert_same((m.path / "p" / rank / name).read_bytes(), place.read(),
                    name)
