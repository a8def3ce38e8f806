# SPDX-License-Identifier: Apache-2.0
"""Under a sanitizer everything takes five to twenty times as long, and the
hundreds of cases of these files differ in their data, not in the code that
they run: every n-th of them is left, the release build runs them all.

The thread sanitizer runs none of those that are threadless: what they run has
one thread (plans, exports, command lines), or the threads that other files
have at work for longer (a mount that a demo or a user without rights makes,
one of a model that is refused).  The other sanitizers run them."""
import os

SAN = os.environ.get("WEIGHTFS_SAN") or os.environ.get("SAN", "")
THREADLESS = 0
EVERY = {  # n by file: of address and undefined, of thread
    "test_layout_truth.py": (20, THREADLESS),
    "test_learn.py": (10, THREADLESS),
    "test_export.py": (3, THREADLESS),
    "test_random_models.py": (3, THREADLESS),
    "test_inverse.py": (12, THREADLESS),
    "test_mend.py": (1, THREADLESS),
    "test_tied.py": (1, THREADLESS),
    "test_plan_command.py": (1, THREADLESS),
    "test_user_plans.py": (1, THREADLESS),
    "test_hf_layouts.py": (6, THREADLESS),
    "test_refused_layouts.py": (4, THREADLESS),
    "test_badinput.py": (1, THREADLESS),
    "test_checkpoints.py": (1, THREADLESS),
    "test_demo.py": (1, THREADLESS),
    "test_mountpoints.py": (1, THREADLESS),
    "test_privilege.py": (1, THREADLESS),
    "test_readonly.py": (1, THREADLESS),
    "test_trust.py": (1, THREADLESS),
    "test_install.py": (1, THREADLESS),
    "test_layouts.py": (6, 12),
    "test_conformance.py": (2, 5),
    "test_remote_loaders.py": (2, 5),
    "test_loaders.py": (2, 4),
    "test_s3.py": (1, 3),  # signatures; its bytes are those of an origin
}


def pytest_collection_modifyitems(config, items):
    if not SAN:
        return
    kept, left_out, seen = [], [], {}
    for item in items:
        n = EVERY.get(item.path.name, (1, 1))["thread" in SAN]
        at = seen[item.path] = seen.get(item.path, -1) + 1
        (left_out if n == THREADLESS or at % n else kept).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
