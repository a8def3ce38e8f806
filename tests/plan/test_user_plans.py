# SPDX-License-Identifier: Apache-2.0
"""Plans of the user's own, and engines other than the default."""
import json

import pytest

from mounts import ROOT

BUILTIN = ROOT / "core/plan/builtin"


@pytest.fixture
def plans(folder):
    """plans(name, text changes …) -> a directory with a plan for Llama."""
    def make(name, *changes):
        path = folder / "plans"
        path.mkdir(exist_ok=True)
        text = (BUILTIN / "llama.plan").read_text()
        for old, new in (("plan llama\n", f"plan {name}\n"), *changes):
            assert text.count(old) == 1
            text = text.replace(old, new)
        (path / f"{name}.plan").write_text(text)
        return path
    return make


@pytest.fixture
def chosen(weightfs, llama):
    """chosen(option, …) -> name of the plan for the model's tp2."""
    def run(*options):
        done = weightfs("plan", "check", "--json", *options, llama.path, "tp2")
        (row,) = json.loads(done.stdout)["layouts"]
        return row.get("plan") or row["refused"]
    return run


def test_a_users_plan_wins_over_the_built_in_one(chosen, plans):
    assert chosen() == "llama"
    assert chosen(f"--plans={plans('mine')}") == "mine"


def test_a_users_plan_for_something_else_leaves_the_built_in_one(
        chosen, plans):
    where = plans("mine", ("LlamaForCausalLM ", "OtherForCausalLM "))
    assert chosen(f"--plans={where}") == "llama"


def test_two_plans_of_the_users_that_fit_equally_are_refused(chosen, plans):
    plans("mine")
    where = plans("yours")
    said = chosen(f"--plans={where}")
    assert f"{where}/mine.plan" in said and f"{where}/yours.plan" in said


@pytest.mark.parametrize("engine, plan", [
    ("vllm", "llama"),
    ("vllm-0.32", "llama"),
    ("vllm-0.32.4", "llama"),
    ("other", "mine"),
    ("other-2", "mine"),
    ("other-2.1", "mine"),
])
def test_an_engine_is_named_with_or_without_its_version(chosen, plans, engine,
                                                        plan):
    where = plans("mine", ("engine vllm >=0.32 <0.33",
                           "engine other >=2 <3"))
    assert chosen(f"--plans={where}", f"--engine={engine}") == plan


@pytest.mark.parametrize("engine, words", [
    ("vllm-0.1", ("vllm", "0.1", "LlamaForCausalLM")),
    ("other-3", ("other", "LlamaForCausalLM")),
    ("nothing", ("nothing", "of any version")),
])
def test_an_engine_without_a_plan_is_named(chosen, engine, words):
    said = chosen(f"--engine={engine}")
    assert "no plan" in said and all(word in said for word in words)


@pytest.mark.parametrize("engine", ["", "-0.32", "vllm-", "vllm-x"])
def test_what_is_no_engine_is_refused(weightfs, llama, engine):
    done = weightfs("plan", "check", f"--engine={engine}", llama.path)
    assert done.returncode == 2
    assert f"--engine: '{engine}' is no engine" in done.stderr
