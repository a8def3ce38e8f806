# SPDX-License-Identifier: Apache-2.0
"""The unmodified loaders of tests/mount, over a mount of what a seed has."""
import pytest

import test_loaders

for _name in ("safetensors_loads_by_mmap", "safetensors_loads_by_pread",
              "numpy_maps_a_tensor", "a_real_model_loads", "torch_loads",
              "cp_a_copies_all_of_it", "tar_on_a_cold_mount_archives_bytes",
              "sha256sum_of_a_cold_mount_is_right"):
    globals()[f"test_{_name}"] = getattr(test_loaders, f"test_{_name}")
model = test_loaders.model


@pytest.fixture
def mount(mount, seeder):
    """mount(*options, NAME=checkpoint): the same, from a seed that holds it
    at the other end of a connection."""
    def make(*options, **models):
        seed = seeder(**{n: getattr(m, "path", m) for n, m in models.items()})
        return mount(*options, args=(
            "--seed", f"http://127.0.0.1:{seed.address[1]}"))
    return make
