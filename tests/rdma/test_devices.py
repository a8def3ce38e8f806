# SPDX-License-Identifier: Apache-2.0
"""What is said of the devices."""
import json
import subprocess


def rows(weightfs):
    conditions = json.loads(weightfs("doctor", "--json"))["conditions"]
    return [(c["level"], c["text"]) for c in conditions if c["name"] == "rdma"]


def test_doctor_names_each_port_with_its_address(weightfs):
    found = rows(weightfs)
    assert [level for level, _ in found] == ["ok", "ok"]
    assert found[0][1].startswith("'rdma0' at 10.77.0.1, ")
    assert found[1][1].startswith("'rdma1' at 10.78.0.1, ")


def test_doctor_leaves_out_a_device_that_nobody_can_reach(weightfs):
    subprocess.run(["ip", "link", "set", "net1", "down"], check=True)
    try:
        # Its address is down with its interface.
        assert [text.split()[0] for _, text in rows(weightfs)] == ["'rdma0'"]
    finally:
        subprocess.run(["ip", "link", "set", "net1", "up"], check=True)
