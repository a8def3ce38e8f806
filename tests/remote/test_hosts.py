# SPDX-License-Identifier: Apache-2.0
"""A host's name may lead elsewhere later: its addresses are followed.

The mount has an /etc/hosts of its own, in a mount namespace of its own, from
which only what is mounted in the test's folder comes out.
"""
import os
import re
import subprocess

import mounts
import pytest
from fake_seed import FakeSeed
from test_remote import models, read_all, read_cold, seeds_of

NAME = "seeds.weightfs.test"
ENTER = """mount --make-private / && { mount --make-private /etc/hosts 2>/dev/null
: ; } && mount --bind "$0" /etc/hosts && exec "$@" """


class Hosts:
    """/etc/hosts of the mount, and where it can be mounted to be seen."""

    def __init__(self, folder):
        self.file, self.shared = folder / "hosts", folder / "shared"
        self.shared.mkdir()
        for args in (["--bind", self.shared, self.shared],
                     ["--make-shared", self.shared]):
            subprocess.run(["mount", *args], check=True)
        self.point = self.shared / "m"
        self.point.mkdir()
        self.wrap = ["unshare", "-m", "--propagation", "unchanged", "sh",
                     "-c", ENTER, str(self.file)]

    def set(self, *addresses):
        """In place, for the file itself is mounted."""
        self.file.write_text("".join(f"{a} {NAME}\n" for a in addresses))

    def close(self):
        subprocess.run(["umount", "-l", self.shared], check=False)


@pytest.fixture
def hosts(folder):
    if os.geteuid():
        pytest.skip("needs root")
    made = Hosts(folder)
    yield made
    made.close()


@pytest.fixture
def at():
    """at(ADDRESS, NAME=path, …) -> FakeSeed there; all on the same port."""
    made = []

    def make(address, **what):
        port = made[0].port if made else mounts.free_port()
        made.append(FakeSeed(port=port, host=address, **what))
        return made[-1]
    yield make
    for one in made:
        one.close()


def addresses(m):
    """{address: row of the status} of the seeds."""
    rows = {}
    for row in seeds_of(m):
        found = re.search(r"\(([0-9.]+)\)", row["url"])
        if found:
            rows[found[1]] = row
    return rows


def test_addresses_come_and_go(hosts, mount, at, model):
    first, second = (at(f"127.0.0.{n}", llama=model.path) for n in (2, 3))
    hosts.set("127.0.0.2")
    m = mount("passthrough=off", "rescan=0.1", point=hosts.point,
              wrap=hosts.wrap, args=("--seed", f"http://{NAME}:{first.port}"))
    assert models(m) == ["llama"] and set(addresses(m)) == {"127.0.0.2"}
    read_all(m, model)

    # Another one appears, and is used.
    hosts.set("127.0.0.2", "127.0.0.3")
    mounts.wait_until(lambda: read_cold(m, model)
                      or addresses(m).get("127.0.0.3", {}).get("bytes"),
                      "the second gives bytes")

    # One that is no longer meant is used as long as it answers …
    hosts.set("127.0.0.3")
    before = len(first.requests)
    mounts.wait_until(lambda: read_cold(m, model)
                      or len(first.requests) > before, "the first is asked")
    # … and then let go, for good.
    first.close()
    mounts.wait_until(lambda: set(addresses(m)) == {"127.0.0.3"},
                      "the first is let go")
    read_cold(m, model)
    assert f"'{NAME}' does not lead there" in m.log()

    # Nobody is left; then the name leads to a third one.
    second.close()
    third = at("127.0.0.4", llama=model.path)
    hosts.set("127.0.0.4")
    mounts.wait_until(lambda: set(addresses(m)) == {"127.0.0.4"},
                      "the name is followed")
    read_cold(m, model)
    assert third.requests

    # An address that comes back is a seed again.
    at("127.0.0.2", llama=model.path)
    hosts.set("127.0.0.2", "127.0.0.4")
    mounts.wait_until(lambda: read_cold(m, model) or addresses(m)
                      .get("127.0.0.2", {}).get("state") == "ready",
                      "the first is back")


def test_a_name_that_leads_nowhere_is_waited_for(hosts, mount, at, model):
    seed = at("127.0.0.2", llama=model.path)
    hosts.set()
    m = mount("passthrough=off", "rescan=0.1", point=hosts.point,
              wrap=hosts.wrap, args=("--seed", f"http://{NAME}:{seed.port}"))
    assert models(m) == []
    assert m.log().count(f"cannot look up host '{NAME}'") == 1
    hosts.set("127.0.0.2")
    mounts.wait_until(lambda: models(m) == ["llama"], "it is there")
    # What is known stays, when nobody knows the name any more.
    hosts.set()
    mounts.wait_until(lambda: m.log().count(f"cannot look up host '{NAME}'")
                      == 2, "it is gone")
    read_all(m, model)
