# SPDX-License-Identifier: Apache-2.0
"""Machines of one test: a network namespace for each, and a wire to a hub.

Names are private to the run, so that two may go side by side; what is in a
namespace (links, rules, queues) goes with it.
"""
import os
import secrets
import shutil
import subprocess

PORT = 7420


class NoNetwork(Exception):
    """Namespaces cannot be made here; why."""


def ip(*args):
    done = subprocess.run(["ip", *map(str, args)], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(map(str, args))}: {done.stderr.strip()}")


class Space:
    """A network namespace."""

    def __init__(self, name):
        self.name = name
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")

    @property
    def wrap(self):
        """Goes before a command that is to run in it.  Not `ip netns exec`,
        which has a mount namespace of its own: mounts would not be seen."""
        return ("nsenter", f"--net=/run/netns/{self.name}", "--")

    def run(self, *command, text=None):
        subprocess.run([*self.wrap, *command], input=text, text=True,
                       check=True, stdout=subprocess.DEVNULL)

    def filter(self, verdict):
        """drop: packets vanish; reject: connections are reset."""
        rules = "".join(
            f"add rule inet cut {chain} meta l4proto tcp {verdict}\n"
            for chain in ("input", "output"))
        self.run("nft", "-f", "-", text=(
            "add table inet cut\n"
            "add chain inet cut input "
            "{ type filter hook input priority 0; }\n"
            "add chain inet cut output "
            "{ type filter hook output priority 0; }\n" + rules))

    def unfilter(self):
        self.run("nft", "flush", "ruleset")

    def delete(self):
        ip("netns", "del", self.name)


class Node(Space):
    """A machine on a wire of its own to the hub."""

    def __init__(self, name, hub, number):
        super().__init__(name)
        self.hub, self.wire = hub, f"wire{number}"
        self.near = f"10.77.{number}.1"
        self.address = f"10.77.{number}.2"
        self.linked = False
        self.link()

    @property
    def listen(self):
        return f"{self.address}:{PORT}"

    @property
    def url(self):
        return f"http://{self.listen}"

    def link(self):
        if self.linked:
            return
        ip("-n", self.hub.name, "link", "add", self.wire, "type", "veth",
           "peer", "name", "eth0", "netns", self.name)
        for space, device, address in ((self.hub, self.wire, self.near),
                                       (self, "eth0", self.address)):
            ip("-n", space.name, "address", "add", f"{address}/24", "dev",
               device)
            ip("-n", space.name, "link", "set", device, "up")
        self.linked = True

    def unlink(self):
        """The wire is gone, with the addresses of both ends."""
        if self.linked:
            ip("-n", self.hub.name, "link", "del", self.wire)
        self.linked = False

    def slow(self, rate):
        """Both directions carry `rate` (of tc) at most."""
        if not self.linked:
            return
        for space, device in ((self, "eth0"), (self.hub, self.wire)):
            tc(space, "replace", device, "tbf", "rate", rate, "burst",
                  "32kb", "latency", "200ms")

    def unslow(self):
        if not self.linked:
            return
        for space, device in ((self, "eth0"), (self.hub, self.wire)):
            tc(space, "del", device)


def tc(space, verb, device, *kind):
    done = subprocess.run(["tc", "-n", space.name, "qdisc", verb, "dev",
                           device, "root", *kind], capture_output=True,
                          text=True, check=False)
    if done.returncode and verb != "del":  # it went with its link
        raise OSError(f"tc qdisc {verb}: {done.stderr.strip()}")


class Lab:
    """A hub and `count` nodes; `close` takes all of it down."""

    def __init__(self, count):
        for program in ("ip", "tc", "nft", "nsenter"):
            if not shutil.which(program):
                raise NoNetwork(f"there is no '{program}' here")
        self.token = f"wfs-{os.getpid():x}-{secrets.token_hex(2)}"
        self.spaces = []
        try:
            self.hub = Space(f"{self.token}-hub")
            self.spaces.append(self.hub)
            self.nodes = []
            for i in range(count):
                node = Node(f"{self.token}-{i}", self.hub, i + 1)
                self.spaces.append(node)
                self.nodes.append(node)
            if count:
                self.nodes[0].slow("100mbit")
                self.nodes[0].unslow()
                self.nodes[0].filter("accept")
                self.nodes[0].unfilter()
        except (OSError, subprocess.CalledProcessError) as e:
            self.close()
            raise NoNetwork(f"namespaces cannot be made here: {e}") from e

    def close(self):
        while self.spaces:
            try:
                self.spaces.pop().delete()
            except OSError as e:
                print(e)
