# SPDX-License-Identifier: Apache-2.0
"""Real inference engines load from a mount, and say what they say from disk.

usage: peers.py WORKDIR [layouts]

vLLM loads a plain checkpoint and a two-rank sharded_state dump, transformers
the plain checkpoint; each from disk and through weightfs, in processes of
their own.  Then vLLM loads layouts that nobody saved as sharded_state from the
mount, and must say what it says of the checkpoint, with sharded_state and with
our own plugin; `layouts`: only that.  Exit
status 1 if any answer differs or a load fails.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import llama

PROGRAM = os.environ.get("WEIGHTFS", "build/weightfs")
BUILD = os.environ.get("WEIGHTFS_BUILD", "build/release")
HERE = os.path.dirname(os.path.abspath(__file__))
for part in "mount", "plan", "soak":
    sys.path.insert(0, os.path.join(HERE, "..", part))
import truth  # noqa: E402
LOADS = (("transformers", "plain"), ("auto", "plain"),
         ("sharded_state", "sharded"))
RANKS = 2
LAYOUTS = (("llama", 2), ("qwen3_moe", 2), ("deepseek_v2", 1))


def answer(how, path, ranks=RANKS):
    """What an engine says, or None and its last words on stderr."""
    begin = time.monotonic()
    done = subprocess.run([sys.executable, os.path.join(HERE, "engine.py"),
                           how, path, str(ranks)], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    print("  %-14s %-40s %4.0f s" % (how, path, time.monotonic() - begin),
          flush=True)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line[7:])
    sys.stderr.write(done.stdout[-2000:] + done.stderr[-6000:])
    return None


def compare(disk, mounted):
    """How many loads were wrong."""
    wrong, said = 0, {}
    for how, model in LOADS:
        a = answer(how, os.path.join(disk, model))
        b = answer(how, os.path.join(mounted, model))
        said[how] = a
        good = a is not None and a == b
        print("  %-14s %s" % (how, "the same from the mount as from disk"
                              if good else "WRONG"), flush=True)
        wrong += not good
    # Else the dump would be no dump, however well it was served.
    if said["auto"] != said["sharded_state"]:
        print("  the two forms of the checkpoint say different things")
        wrong += 1
    return wrong


def compare_layouts(disk, mounted):
    """How many layouts were loaded wrongly."""
    wrong = 0
    for family, ranks in LAYOUTS:
        layout = f"{family}@tp{ranks}"
        a = answer("auto", os.path.join(disk, family), ranks)
        b = answer("sharded_state", os.path.join(mounted, layout), ranks)
        c = answer("weightfs", os.path.join(mounted, family), ranks)
        good = a is not None and a == b == c
        print("  %-14s %s" % (layout, "says what the checkpoint says"
                              if good else "WRONG"), flush=True)
        wrong += not good
    return wrong


def install_plugin(work):
    """Our package, where only the engines of this run see it."""
    place = os.path.join(work, "plugin")
    with tempfile.TemporaryDirectory() as copy:  # where pip may leave things
        source = shutil.copytree(os.path.join(HERE, "../../tools/python"),
                                 os.path.join(copy, "python"))
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "-q",
                        "--no-deps", "--no-build-isolation", "--target", place,
                        source], check=True)
    os.environ["PYTHONPATH"] = place
    os.environ["WEIGHTFS_LIBRARY"] = os.path.abspath(
        os.path.join(BUILD, "libweightfs.so.0"))


def counts(mounted):
    with open(os.path.join(mounted, ".weightfs/status.json"),
              encoding="utf-8") as file:
        status = json.load(file)
    print("  opens: %(passthrough)d passthrough, %(cached)d cached"
          % status["opens"], "· reads answered by the daemon: %d"
          % status["reads"]["count"])
    return sum(status["errors"].values()) + status["reads"]["errors"]


def leave(number, _):
    raise SystemExit(128 + number)


def prepare(work):
    """An empty folder for checkpoints; signals unwind what was begun."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    install_plugin(work)
    disk = os.path.join(work, "models")
    shutil.rmtree(disk, ignore_errors=True)
    return disk


def unmount(point):
    if subprocess.run([PROGRAM, "umount", point]).returncode:
        subprocess.run(["umount", "-l", point], check=False)


def main():
    work = os.path.abspath(sys.argv[1])
    disk, mounted = prepare(work), os.path.join(work, "mnt")
    llama.write_plain(os.path.join(disk, "plain"))
    llama.write_sharded(os.path.join(disk, "sharded"))
    for family, _ in LAYOUTS:
        truth.make(truth.read(family)["spec"], Path(disk, family))
    os.makedirs(mounted, exist_ok=True)
    subprocess.run([PROGRAM, "mount", "--models", disk, mounted], check=True)
    try:
        wrong = 0 if sys.argv[2:] == ["layouts"] else compare(disk, mounted)
        wrong += compare_layouts(disk, mounted)
        wrong += counts(mounted)
    finally:
        unmount(mounted)
    print("peers: %s" % ("%d wrong" % wrong if wrong else "all the same"))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
