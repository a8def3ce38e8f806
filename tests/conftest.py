# SPDX-License-Identifier: Apache-2.0
"""Under a sanitizer everything takes five to twenty times as long, and the
hundreds of cases of these files differ in their data, not in the code that
they run: every n-th of them is left, the release build runs them all."""
import os

SAN = os.environ.get("WEIGHTFS_SAN") or os.environ.get("SAN", "")
EVERY = {  # n by file: of address and undefined, of thread
    "test_layout_truth.py": (20, 60),
    "test_learn.py": (10, 40),
    "test_layouts.py": (6, 12),
    "test_hf_layouts.py": (6, 12),
    "test_export.py": (3, 12),
    "test_random_models.py": (3, 10),
    "test_inverse.py": (12, 40),
    "test_conformance.py": (2, 5),
    "test_remote_loaders.py": (2, 5),
    "test_refused_layouts.py": (4, 11),
    "test_loaders.py": (2, 4),
    "test_badinput.py": (1, 6),
    "test_checkpoints.py": (1, 6),
    # Of programs that have one thread there is little to be found.
    "test_plan_command.py": (1, 6),
    "test_user_plans.py": (1, 6),
}


def pytest_collection_modifyitems(config, items):
    if not SAN:
        return
    kept, left_out, seen = [], [], {}
    for item in items:
        n = EVERY.get(item.path.name, (1, 1))["thread" in SAN]
        at = seen[item.path] = seen.get(item.path, -1) + 1
        (left_out if at % n else kept).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
