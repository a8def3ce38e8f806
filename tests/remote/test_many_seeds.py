# SPDX-License-Identifier: Apache-2.0
"""As many seeds as a fleet has: each address of each is one of its own."""
import mounts
from test_remote import read_all, seeds_of

MANY = 70


def test_a_model_comes_of_many_seeds(mount, seeder, model):
    # One process with many addresses: to the mount these are seeds.
    seed = seeder("--connections=1024", "--connections-per-client=1024",
                  "--insecure", address="0.0.0.0:0", llama=model.path)
    args = [a for i in range(MANY) for a in
            ("--seed", f"http://127.0.0.{2 + i}:{seed.address[1]}")]
    m = mount(args=args)
    mounts.wait_until(lambda: all(row["state"] == "ready"
                                  for row in seeds_of(m)), "all are ready")
    read_all(m, model)
    rows = seeds_of(m)
    assert len(rows) == MANY
    assert all(row["wrong"] == 0 for row in rows)
    ups = [name for name in m.stats() if name.startswith("weightfs_remote_up")]
    assert len(ups) == MANY
