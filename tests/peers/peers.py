# SPDX-License-Identifier: Apache-2.0
"""Real inference engines load from a mount, and say what they say from disk.

usage: peers.py WORKDIR

vLLM loads a plain checkpoint and a two-rank sharded_state dump, transformers
the plain checkpoint; each from disk and through weightfs, in processes of
their own.  Exit status 1 if any answer differs or a load fails.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import llama

PROGRAM = os.environ.get("WEIGHTFS", "build/weightfs")
HERE = os.path.dirname(os.path.abspath(__file__))
LOADS = (("transformers", "plain"), ("auto", "plain"),
         ("sharded_state", "sharded"))


def answer(how, path):
    """What an engine says, or None and its last words on stderr."""
    begin = time.monotonic()
    done = subprocess.run([sys.executable, os.path.join(HERE, "engine.py"),
                           how, path], text=True, stdout=subprocess.PIPE,
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


def main():
    work = os.path.abspath(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    disk, mounted = os.path.join(work, "models"), os.path.join(work, "mnt")
    shutil.rmtree(disk, ignore_errors=True)
    llama.write_plain(os.path.join(disk, "plain"))
    llama.write_sharded(os.path.join(disk, "sharded"))
    os.makedirs(mounted, exist_ok=True)
    subprocess.run([PROGRAM, "mount", "--models", disk, mounted], check=True)
    try:
        wrong = compare(disk, mounted)
        wrong += counts(mounted)
    finally:
        if subprocess.run([PROGRAM, "umount", mounted]).returncode:
            subprocess.run(["umount", "-l", mounted], check=False)
    print("peers: %s" % ("%d wrong" % wrong if wrong else "all the same"))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
