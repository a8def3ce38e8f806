# SPDX-License-Identifier: Apache-2.0
"""What is served is worth at least what --trust asks for."""
from mounts import assert_model_equals, xattr


def test_local_files_are_worth_an_origin(mount, plain):
    m = mount("trust=origin", p=plain)
    assert_model_equals(m, "p", plain)
    name = next(iter(plain.ranks["0"]))
    for path in ("p", "p/config.json", f"p/0/{name}"):
        assert xattr(m.path / path, "trust") == "origin"


def test_a_checkpoint_that_nobody_signed_is_refused_by_name(
        mount, plain, folder):
    m = mount("trust=signed", models=folder, p=plain)
    assert not (m.path / "p").exists()
    text = m.log()
    assert "is not served: its trust class is 'origin'" in text
    assert "trust=signed" in text
