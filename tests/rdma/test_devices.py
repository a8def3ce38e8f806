# SPDX-License-Identifier: Apache-2.0
"""What is said of the devices."""
import json
import subprocess


def conditions(weightfs, name):
    found = json.loads(weightfs("doctor", "--json"))["conditions"]
    return [(c["level"], c["text"]) for c in found if c["name"] in name]


def rows(weightfs):
    return conditions(weightfs, ["rdma"])


def test_doctor_names_each_port_and_reads_from_itself(weightfs):
    first, second, reads = conditions(weightfs, ["rdma", "rdma reads"])
    assert first[0] == second[0] == reads[0] == "ok"
    assert first[1].startswith("'rdma0' at 10.77.0.1, ")
    assert second[1].startswith("'rdma1' at 10.78.0.1, ")
    assert first[1].endswith("registers no memory of GPUs: Operation not "
                             "supported")
    assert "B/s, from this machine to itself" in reads[1]


def test_doctor_says_what_small_packets_cost(weightfs):
    subprocess.run(["ip", "link", "set", "net1", "mtu", "1500"], check=True)
    try:
        assert ("slow", "'rdma1' at 10.78.0.1: packets of 1024 bytes, where "
                "4096 are faster") in rows(weightfs)
    finally:
        subprocess.run(["ip", "link", "set", "net1", "mtu", "4200"],
                       check=True)


def test_doctor_leaves_out_a_device_that_nobody_can_reach(weightfs):
    subprocess.run(["ip", "link", "set", "net1", "down"], check=True)
    try:
        # Its address is down with its interface.
        assert [text.split()[0] for _, text in rows(weightfs)] == ["'rdma0'"]
    finally:
        subprocess.run(["ip", "link", "set", "net1", "up"], check=True)
