# SPDX-License-Identifier: Apache-2.0
"""weightfs export: what it writes, what it refuses, how it goes on."""
import fcntl
import os
import random
import resource
import shutil
import signal
import subprocess

import mounts
import pytest
from small_llama import Llama, assert_same_tensors, read_rank

WORK = ".weightfs-export"
MIB = 1 << 20


def files_of(folder):
    """{path: bytes} of every file below."""
    return {str(p.relative_to(folder)): p.read_bytes()
            for p in sorted(folder.rglob("*")) if p.is_file()}


def inodes_of(folder):
    return {str(p.relative_to(folder)): (p.stat().st_ino, p.stat().st_mtime_ns)
            for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_exported(llama, out, tp):
    """All that should be there, and nothing else."""
    for rank in range(tp):
        assert_same_tensors(read_rank(out, rank), llama.rank(tp, rank),
                            f"rank {rank}")
    rest = {name: data for name, data in files_of(out).items()
            if not name.endswith(".safetensors")}
    assert rest == llama.side_files()
    weights = [p.name for p in out.glob("*.safetensors")]
    assert all(int(name.split("-")[2]) < tp for name in weights), weights
    assert not (out / WORK).exists()


def assert_refused(done, *words):
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert str(word) in done.stderr


@pytest.fixture
def large(folder, seed):
    """Of its parts the first is small, some later ones are not."""
    scale = mounts.SCALE
    return Llama(folder / "large", seed, hidden=1024, inner=16384 // scale,
                 layers=2, heads=8, kv_heads=2, vocab=2048).write()


def start(folder, *args, **kw):
    return subprocess.Popen(
        [str(mounts.PROGRAM), "export", *map(str, args)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=mounts.environment(folder), **kw)


def break_off(folder, limit, *args):
    """An export that is killed when it writes a file beyond `limit`."""
    def limits():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        # Python ignores it, and so would the child.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    done = start(folder, *args, preexec_fn=limits)
    _, errors = done.communicate(timeout=mounts.DEADLINE)
    assert done.returncode == -signal.SIGXFSZ, errors


def test_an_export_is_what_the_engine_would_have_saved(llama, folder,
                                                       weightfs):
    for tp in 1, 2, 4:
        out = folder / f"out{tp}"
        done = weightfs("export", f"{llama.path}@tp{tp}", out)
        assert done.returncode == 0
        assert_exported(llama, out, tp)
        assert f"wrote model-rank-{tp - 1}-part-0.safetensors" in done.stdout
        assert f"llama@tp{tp}" in done.stdout.splitlines()[-1]


def test_parts_are_cut_where_they_are_told_to(llama, folder, weightfs):
    out = folder / "out"
    assert weightfs("export", "--part-size=64K", f"{llama.path}@tp2",
                    out).returncode == 0
    assert len(list(out.glob("model-rank-0-part-*.safetensors"))) > 3
    assert_exported(llama, out, 2)


def test_a_raw_export_has_a_file_for_each_tensor(llama, folder, weightfs):
    out = folder / "out"
    assert weightfs("export", "--raw", f"{llama.path}@tp2",
                    out).returncode == 0
    want = llama.side_files()
    for rank in range(2):
        want |= {f"{rank}/{name}": data for name, (_, _, data)
                 in llama.rank(2, rank).items()}
    got = files_of(out)
    assert sorted(got) == sorted(want)
    for name, data in want.items():
        mounts.assert_same(got[name], data, name)


def test_a_second_export_writes_nothing(llama, folder, weightfs):
    out = folder / "out"
    weightfs("export", f"{llama.path}@tp2", out)
    before = inodes_of(out)
    done = weightfs("export", f"{llama.path}@tp2", out)
    assert done.returncode == 0
    assert "wrote" not in done.stdout and "kept" in done.stdout
    assert inodes_of(out) == before
    assert not (out / WORK).exists()


def test_files_can_be_written_and_read_as_their_sources(llama, folder,
                                                        weightfs):
    (llama.path / "tokenizer.json").chmod(0o400)
    out = folder / "out"
    assert weightfs("export", f"{llama.path}@tp2", out, umask=0o022,
                    ).returncode == 0
    mode = (out / "tokenizer.json").stat().st_mode & 0o777
    assert mode == 0o600
    mode = (out / "model-rank-0-part-0.safetensors").stat().st_mode & 0o777
    assert mode == 0o644


def test_an_export_that_broke_off_goes_on(large, folder, weightfs):
    out, spec = folder / "out", f"{large.path}@tp2"
    args = ["--part-size=4M", spec, out]
    break_off(folder, 6 * MIB, *args)
    finished = inodes_of(out)
    finished = {n: i for n, i in finished.items() if not n.startswith(WORK)}
    assert any(n.endswith(".safetensors") for n in finished)
    (part,) = (out / WORK).glob("*.part")
    assert part.stat().st_size == 6 * MIB
    inode = part.stat().st_ino

    done = weightfs("export", *args)
    assert done.returncode == 0
    assert_exported(large, out, 2)
    after = inodes_of(out)
    for name, was in finished.items():
        assert f"kept {name}" in done.stdout
        assert after[name] == was, f"{name} was written again"
    assert inode in [i for i, _ in after.values()], "the part was not used"


def test_a_part_that_is_damaged_is_mended(large, folder, weightfs):
    out, args = folder / "out", ["--part-size=4M", f"{large.path}@tp2"]
    break_off(folder, 6 * MIB, *args, out)
    (part,) = (out / WORK).glob("*.part")
    with open(part, "r+b") as f:
        f.seek(5 * MIB)
        f.write(b"not this")
    assert weightfs("export", *args, out).returncode == 0
    assert_exported(large, out, 2)


def test_a_part_of_another_layout_is_not_continued(large, folder, weightfs):
    out, spec = folder / "out", f"{large.path}@tp2"
    break_off(folder, 6 * MIB, "--part-size=4M", spec, out)
    done = weightfs("export", "--part-size=0", "--force", spec, out)
    assert done.returncode == 0
    assert_exported(large, out, 2)


def test_a_finished_file_that_was_touched_is_compared(large, folder, weightfs):
    out, args = folder / "out", ["--part-size=4M", f"{large.path}@tp2"]
    break_off(folder, 6 * MIB, *args, out)
    file = out / "model-rank-0-part-0.safetensors"
    os.utime(file)
    assert weightfs("export", *args, out).returncode == 0
    assert_exported(large, out, 2)


def test_an_export_survives_kills_at_any_moment(large, folder, seed,
                                                weightfs):
    chance = random.Random(seed)
    out = folder / "out"
    args = ["--part-size=4M", f"{large.path}@tp4", out]
    total = sum(p.stat().st_size for p in large.path.rglob("*"))
    killed = 0
    for _ in range(6):
        until = chance.randrange(1, total)

        def is_there():
            if child.poll() is not None:
                return True
            try:
                return sum(p.stat().st_size
                           for p in out.rglob("*")) >= until
            except FileNotFoundError:  # renamed meanwhile
                return False
        child = start(folder, *args)
        mounts.wait_until(is_there, f"{until} bytes", every=0.001)
        child.kill()
        child.communicate()
        killed += child.returncode == -signal.SIGKILL
        if killed and child.returncode == 0:
            break
        for file in out.glob("*.safetensors"):
            read_rank(out, int(file.name.split("-")[2]))  # all are whole
    assert killed, "every export was through before it was killed"
    assert weightfs("export", *args).returncode == 0
    assert_exported(large, out, 4)


def test_a_checkpoint_replaced_between_two_runs_is_not_mixed(large, folder,
                                                             weightfs):
    out, args = folder / "out", ["--part-size=4M", f"{large.path}@tp2"]
    break_off(folder, 6 * MIB, *args, out)
    shutil.rmtree(large.path)
    large.seed += 1000
    large.write()
    assert_refused(weightfs("export", *args, out), "something else", "--force")
    assert weightfs("export", "--force", *args, out).returncode == 0
    assert_exported(large, out, 2)


def test_what_is_in_the_way_is_kept_unless_forced(llama, folder, weightfs):
    out = folder / "out"
    out.mkdir()
    mine = out / "config.json"
    mine.write_text("mine")
    spec = f"{llama.path}@tp2"
    assert_refused(weightfs("export", spec, out), mine, "something else",
                   "--force")
    assert files_of(out) == {"config.json": b"mine"}
    assert weightfs("export", "--force", spec, out).returncode == 0
    assert_exported(llama, out, 2)


def test_a_file_of_equal_size_is_compared(llama, folder, weightfs):
    out, spec = folder / "out", f"{llama.path}@tp2"
    weightfs("export", spec, out)
    part = out / "model-rank-1-part-0.safetensors"
    with open(part, "r+b") as f:
        f.seek(-1, os.SEEK_END)
        last = f.read(1)
        f.seek(-1, os.SEEK_END)
        f.write(bytes([last[0] ^ 1]))
    assert_refused(weightfs("export", spec, out), part, "something else")
    assert weightfs("export", "--force", spec, out).returncode == 0
    assert_exported(llama, out, 2)


def test_parts_of_another_layout_do_not_stay(llama, folder, weightfs):
    out = folder / "out"
    weightfs("export", f"{llama.path}@tp4", out)
    shutil.copytree(out, folder / "was")
    for rank in 0, 1:
        os.unlink(out / f"model-rank-{rank}-part-0.safetensors")
    assert_refused(weightfs("export", f"{llama.path}@tp2", out),
                   "another layout", "--force")
    assert weightfs("export", "--force", f"{llama.path}@tp2",
                    out).returncode == 0
    assert_exported(llama, out, 2)


def test_a_link_in_the_way_is_replaced_not_followed(llama, folder, weightfs):
    out, victim = folder / "out", folder / "victim"
    out.mkdir()
    victim.write_text("untouched")
    (out / "config.json").symlink_to(victim)
    spec = f"{llama.path}@tp2"
    assert_refused(weightfs("export", spec, out), "something else")
    assert weightfs("export", "--force", spec, out).returncode == 0
    assert victim.read_text() == "untouched"
    assert_exported(llama, out, 2)


def test_a_full_disk_is_told_before_anything_is_written(large, small_disk,
                                                        weightfs):
    disk, spec = small_disk("size=4M"), f"{large.path}@tp2"
    out = disk / "out"
    assert_refused(weightfs("export", spec, out), "no room", "4.0 MiB", out)
    assert files_of(disk) == {}
    small_disk("size=1G")
    assert weightfs("export", spec, out).returncode == 0
    assert_exported(large, out, 2)


def test_a_disk_that_fills_up_keeps_what_is_finished(llama, small_disk,
                                                     weightfs):
    disk, spec = small_disk("size=64M,nr_inodes=9"), f"{llama.path}@tp4"
    out = disk / "out"
    assert_refused(weightfs("export", spec, out), "make room",
                   "No space left")
    kept = {n: i for n, i in inodes_of(out).items() if not n.startswith(WORK)}
    assert kept
    small_disk("size=64M,nr_inodes=100")
    assert weightfs("export", spec, out).returncode == 0
    assert_exported(llama, out, 4)
    after = inodes_of(out)
    assert {n: after[n] for n in kept} == kept


def test_two_exports_do_not_meet(llama, folder, weightfs):
    out = folder / "out"
    out.mkdir()
    fd = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert_refused(weightfs("export", f"{llama.path}@tp2", out),
                   "another export", out)
    os.close(fd)
    assert weightfs("export", f"{llama.path}@tp2", out).returncode == 0


@pytest.mark.parametrize("at", ["inside", "inside/deeper", ""])
def test_a_checkpoint_is_not_written_into(llama, weightfs, at):
    before = files_of(llama.path)
    assert_refused(weightfs("export", f"{llama.path}@tp2", llama.path / at),
                   "lies in the checkpoint")
    assert files_of(llama.path) == before


def test_a_target_without_a_parent_is_refused(llama, folder, weightfs):
    assert_refused(weightfs("export", f"{llama.path}@tp2",
                            folder / "no" / "where"), "cannot make", "where")


def test_a_number_that_does_not_divide_is_refused(llama, folder, weightfs):
    out = folder / "out"
    assert_refused(weightfs("export", f"{llama.path}@tp3", out), "3")
    assert not out.exists()


def test_an_unknown_architecture_is_refused(folder, seed, weightfs):
    odd = Llama(folder / "odd", seed, config={
        "architectures": ["NeverHeardOfForCausalLM"],
        "model_type": "never_heard_of"}).write()
    out = folder / "out"
    assert_refused(weightfs("export", f"{odd.path}@tp2", out),
                   "NeverHeardOfForCausalLM")
    assert not out.exists()


@pytest.mark.parametrize("spec", ["tp0", "tp", "tp02", "tp2pp", "tp2+x",
                                  "2", ""])
def test_what_is_no_layout_is_refused(llama, folder, weightfs, spec):
    assert_refused(weightfs("export", f"{llama.path}@{spec}", folder / "out"),
                   "is no layout")


def test_a_model_without_a_layout_is_refused(llama, folder, weightfs):
    assert_refused(weightfs("export", llama.path, folder / "out"),
                   "names no layout", f"{llama.path}@tp4")


def test_a_path_that_holds_an_at_is_a_path(folder, seed, weightfs):
    odd = Llama(folder / "odd@tp2", seed).write()
    out = folder / "out"
    assert_refused(weightfs("export", odd.path, out), "names no layout")
    assert weightfs("export", f"{odd.path}@tp4", out).returncode == 0
    assert_exported(odd, out, 4)


def test_a_missing_argument_is_a_mistake(llama, weightfs):
    for args in ([], [f"{llama.path}@tp2"]):
        done = weightfs("export", *args)
        assert done.returncode == 2
        assert "is missing" in done.stderr


def test_a_terminal_gets_a_bar_and_no_lines(llama, folder):
    leader, follower = os.openpty()
    child = subprocess.Popen(
        [str(mounts.PROGRAM), "export", f"{llama.path}@tp2",
         str(folder / "out")], stdout=follower, stderr=follower,
        env=mounts.environment(folder))
    os.close(follower)
    shown = b""
    while True:
        try:
            got = os.read(leader, 65536)
        except OSError:  # what a terminal says at its end
            break
        if not got:
            break
        shown += got
    os.close(leader)
    assert child.wait(mounts.DEADLINE) == 0
    assert b"\r\033[Kwriting" in shown and b"%" in shown
    assert b"wrote" not in shown
    assert b"files" in shown.splitlines()[-1]
