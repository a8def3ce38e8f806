# SPDX-License-Identifier: Apache-2.0
"""Torch that generates, and another of another size that loads from it."""
import truth


def test_an_engine_of_another_size_says_the_same(generator, mount, folder):
    truth.make(truth.read("llama")["spec"], folder / "llama")
    disk = mount(llama=folder / "llama").path
    first = generator(disk / "llama@tp2", 2, seed={})
    said = first("say")["said"]
    assert len(said) == 1
    live = mount(args=["--seed", first.url]).path
    second = generator(live / "llama@tp4", 4)
    assert second("say")["said"] == said
    # It went on meanwhile, with what it had.
    after = first("say")
    assert after["tokens"] and after["said"] == said
