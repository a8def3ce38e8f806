# SPDX-License-Identifier: Apache-2.0
"""Layouts in a mount are what the engine itself would have saved.

tests/truth holds, for small checkpoints of many families, what vLLM makes of
them: every file and tensor of every rank, by digest.
"""
import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import checkpoints as ck
from mounts import PATIENT, exchange, inode, wait_until, xattr

sys.path.insert(0, str(Path(__file__).parents[1] / "plan"))
import truth  # noqa: E402
from small_llama import Llama  # noqa: E402


def make(family, folder):
    """The family's checkpoint, as its truth file specifies it."""
    return truth.make(truth.read(family)["spec"], folder)


def compare(family, name, where):
    """Whole files and raw tensors of a layout with the engine's own."""
    for file in truth.read(family)["truth"][name]["files"]:
        path = where / file["name"]
        assert truth.tensors_of(path) == file["tensors"], path
        assert truth.digest(path) == file["sha256"], path
        rank = where / truth.rank_of(file["name"])
        got = {path.name: truth.digest(path) for path in rank.iterdir()}
        assert got == {row[0]: row[3] for row in file["tensors"]}, rank


@pytest.mark.parametrize("family", truth.families())
def test_every_layout_is_what_the_engine_saves(mount, folder, family):
    make(family, folder / "models" / family)
    m = mount("part_size=0", models=folder / "models")
    names = [row[1:] for row in truth.layouts() if row[0] == family]
    assert names
    for name, layout in names:
        compare(family, name, m.path / f"{family}@{layout}")


@pytest.fixture
def llama(folder):
    return make("llama", folder / "models" / "llama")


def test_a_layout_appears_when_it_is_looked_up(mount, folder, llama):
    m = mount(models=folder / "models")
    assert sorted(os.listdir(m.path)) == [".weightfs", "llama"]
    names = sorted(os.listdir(m.path / "llama@tp2"))
    assert [n for n in names if not n.endswith(".json")] == [
        "0", "1", "model-rank-0-part-0.safetensors",
        "model-rank-1-part-0.safetensors"]
    assert "config.json" in names
    assert sorted(os.listdir(m.path)) == [".weightfs", "llama"]
    assert xattr(m.path / "llama@tp2", "plan") == "llama"


def test_config_json_of_a_layout_tells_what_names_do_not(mount, folder):
    own = make("llama_gptq", folder / "models" / "gptq") / "config.json"
    make("llama", folder / "models" / "llama")
    m = mount(models=folder / "models")
    path = m.path / "gptq@tp2" / "config.json"
    told = json.loads(path.read_text())
    assert path.stat().st_size == len(path.read_bytes())
    modules = told["quantization_config"].pop("modules_in_block_to_quantize")
    assert "model.layers.0.self_attn.q_proj" in modules
    assert told == json.loads(own.read_text())
    for model in ("llama", "gptq"):
        for layout in ("", "@tp2+hf"):
            assert (m.path / (model + layout) / "config.json").read_bytes() == (
                folder / "models" / model / "config.json").read_bytes()


def test_a_configured_layout_is_listed(mount, folder, llama):
    m = mount("layout=llama@tp2", "layout=llama@tp1pp2",
              models=folder / "models")
    assert sorted(os.listdir(m.path)) == [
        ".weightfs", "llama", "llama@tp1pp2", "llama@tp2"]
    assert sorted(n for n in os.listdir(m.path / "llama@tp1pp2")
                  if n.startswith("pp-")) == ["pp-0-tp-0", "pp-1-tp-0"]


def test_parts_are_cut_at_tensor_boundaries(mount, folder, llama):
    size = 200 << 10
    m = mount(f"part_size={size}", models=folder / "models")
    where = m.path / "llama@tp2"
    parts = sorted(n for n in os.listdir(where) if n.startswith("model-rank-0"))
    assert len(parts) > 1
    assert parts == [f"model-rank-0-part-{i}.safetensors"
                     for i in range(len(parts))]
    got = {}
    from safetensors import safe_open
    for part in parts:
        with safe_open(where / part, framework="numpy") as f:
            names = list(f.keys())
        data = (where / part).read_bytes()
        head = 8 + int.from_bytes(data[:8], "little")
        fields = json.loads(data[8:head])
        assert len(data) - head <= size or len(names) == 1
        for name in names:
            begin, end = fields[name]["data_offsets"]
            got[name] = data[head + begin:head + end]
    assert sorted(got) == sorted(os.listdir(where / "0"))
    for name, data in got.items():
        assert (where / "0" / name).read_bytes() == data, name


@pytest.mark.parametrize("spec, words", [
    ("tp3", ("3 ranks", "heads")),
    ("tp4096", ("4096",)),
    ("tp1pp9", ("9",)),
])
def test_a_layout_that_cannot_be_is_refused_with_the_reason(
        mount, folder, llama, spec, words):
    m = mount(models=folder / "models")
    with pytest.raises(OSError) as e:
        os.listdir(m.path / f"llama@{spec}")
    assert e.value.errno == errno.EINVAL
    event = m.wait_event("layout", "llama")
    assert all(word in event["text"] for word in words), event
    assert len(os.listdir(m.path)) == 2
    assert len(m.status()["models"]) == 1


@pytest.mark.parametrize("name", [
    "llama@", "llama@tp", "llama@tp0", "llama@tp02", "llama@pp2", "llama@tp2x",
    "nobody@tp2", "llama@tp2@tp2", "@tp2"])
def test_a_name_that_is_no_layout_is_not_there(mount, folder, llama, name):
    m = mount(models=folder / "models")
    with pytest.raises(FileNotFoundError):
        os.stat(m.path / name)


def test_a_family_without_a_plan_is_refused_by_name(mount, folder, seed):
    top = folder / "models"
    model = ck.hf_single(top / "odd", ck.layers(2, 4096), seed)
    (model.path / "config.json").write_text(
        json.dumps({"architectures": ["NobodyKnowsForCausalLM"]}))
    m = mount(models=top)
    with pytest.raises(OSError) as e:
        os.stat(m.path / "odd@tp2")
    assert e.value.errno == errno.EINVAL
    assert "NobodyKnowsForCausalLM" in m.wait_event("layout", "odd")["text"]
    assert (m.path / "odd" / "0").is_dir()


def test_inode_numbers_of_a_layout_are_the_same_after_a_remount(
        mount, folder, llama):
    def numbers():
        m = mount(models=folder / "models")
        found = {}
        for where, dirs, files in os.walk(m.path / "llama@tp2"):
            for name in [".", *dirs, *files]:
                st = os.stat(os.path.join(where, name))
                key = os.path.relpath(os.path.join(where, name), m.path)
                found[key] = (st.st_ino, st.st_size, st.st_mtime_ns)
        m.terminate()
        return found
    first = numbers()
    assert len(first) > 90
    assert first == numbers()


def test_a_layout_goes_with_the_version_it_is_made_of(mount, folder, llama):
    m = mount("rescan=0.1", "switch_after=0", "layout=llama@tp2",
              "part_size=0", models=folder / "models")
    path = m.path / "llama@tp2" / "0" / "model.norm.weight"
    before = os.stat(path).st_ino
    exchange(make("llama", folder / "fresh"), llama)
    wait_until(lambda: inode(path) not in (None, before),
               "the layout of the new version")
    compare("llama", "tp2", m.path / "llama@tp2")


def test_tensors_of_a_layout_are_passed_through(mount, folder, llama):
    m = mount(PATIENT, models=folder / "models")
    name = "model.layers.0.self_attn.qkv_proj.weight"
    path = m.path / "llama@tp2" / "1" / name
    want = path.read_bytes()
    with open(path, "rb") as f:
        assert f.read() == want
    assert xattr(path, "served") == "passthrough"
    assert "q_proj" in xattr(path, "source")
    assert "k_proj" in xattr(path, "source")
    assert m.status()["reads"]["count"] == 0


def test_a_part_is_whole_when_it_is_first_opened(mount, folder, llama):
    m = mount(PATIENT, models=folder / "models")
    subprocess.run(["ls", "-lR", m.path / "llama@tp2"], check=True,
                   capture_output=True)
    assert m.status()["hydration"]["files"] == 0
    path = m.path / "llama@tp2" / "model-rank-1-part-0.safetensors"
    with open(path, "rb") as f:
        assert xattr(path, "served") == "passthrough"
        assert len(f.read()) == path.stat().st_size
    status = m.status()
    assert status["hydration"]["files"] == 1
    assert status["reads"]["count"] == 0


def test_a_part_of_more_than_a_gib_is_not_made_for_its_head(mount, folder):
    vocab = 2_200_000
    model = Llama(folder / "m", config={"vocab_size": vocab}).write()
    for shard in model.path.glob("model*"):
        shard.unlink()
    specs = [ck.Spec(name, "BF16", shape)
             for name, shape in replace(model, vocab=vocab).shapes()]
    head = ck.header(specs)
    file = model.path / "model.safetensors"
    file.write_bytes(head)
    os.truncate(file, len(head) + sum(spec.nbytes for spec in specs))
    m = mount("part_size=0", m=model.path)
    [part] = (m.path / "m@tp1").glob("model-rank-*")
    assert part.stat().st_size > 1 << 30
    with open(part, "rb", buffering=0) as f:
        assert len(f.read(16)) == 16
    assert m.status()["hydration"]["files"] == 0


def test_two_layouts_and_the_checkpoint_are_read_at_once(mount, folder, llama):
    m = mount(models=folder / "models")
    readers = [subprocess.Popen(["sha256sum", "-b"] + [
        os.path.join(where, name)
        for where, _, names in os.walk(m.path / model) for name in names],
        stdout=subprocess.PIPE)
        for model in ("llama@tp2", "llama@tp4", "llama@tp2", "llama")]
    sums = [r.communicate()[0] for r in readers]
    assert all(r.returncode == 0 for r in readers)
    assert sums[0] == sums[2]


def test_layouts_that_nobody_uses_make_room(mount, folder, llama):
    m = mount("rescan=0.1", "layout=llama@tp2", models=folder / "models")
    names = [f"llama@tp{tp}{pp}{hf}" for tp in (1, 2, 4)
             for pp in ("", "pp2", "pp3", "pp4") for hf in ("", "+hf")]
    for name in names:
        assert "config.json" in os.listdir(m.path / name)
    # 16 of them, the listed one and the model itself.
    wait_until(lambda: len(m.status()["models"]) <= 18, "the oldest are gone")
    assert "llama@tp2" in os.listdir(m.path)
    for name in names:  # and each is there again when it is asked for
        assert "config.json" in os.listdir(m.path / name)


def own_plan(folder, name="mine"):
    """A directory with the built-in plan of Llama under another name."""
    folder.mkdir(exist_ok=True)
    text = (truth.ROOT / "core/plan/builtin/llama.plan").read_text()
    (folder / f"{name}.plan").write_text(
        text.replace("plan llama\n", f"plan {name}\n"))
    return folder


def plan_of(m):
    return xattr(m.path / "llama@tp2", "plan")


def test_a_users_plans_win_over_the_built_in_ones(mount, folder, llama):
    plans = own_plan(folder / "own")
    m = mount(f"plans={plans}", models=folder / "models")
    assert plan_of(m) == "mine"


def test_plans_beside_the_config_file_are_used(mount, folder, llama):
    config = folder / "weightfs.ini"
    config.write_text(f"[mount]\nmodels = {folder / 'models'}\n"
                      "layout = llama@tp2\nengine = vllm-0.32\n")
    own_plan(folder / "plans")
    m = mount(args=["--config", str(config)])
    assert "llama@tp2" in os.listdir(m.path)
    assert plan_of(m) == "mine"
    # What is said wins over what lies there.
    m = mount(f"plans={own_plan(folder / 'own', 'said')}",
              args=["--config", str(config)])
    assert plan_of(m) == "said"


def test_long_options_say_it_too(mount, folder, llama):
    plans = own_plan(folder / "own")
    m = mount(models=folder / "models",
              args=["--plans", str(plans), "--layout", "llama@tp4",
                    "--engine", "vllm-0.32", "--part-size", "0"])
    assert "llama@tp4" in os.listdir(m.path)
    assert plan_of(m) == "mine"
    m = mount("engine=vllm-0.1", models=folder / "models")
    with pytest.raises(OSError) as e:
        os.stat(m.path / "llama@tp2")
    assert e.value.errno == errno.EINVAL
    assert "vllm 0.1" in m.wait_event("layout", "llama")["text"]


def test_a_plan_with_a_mistake_keeps_the_mount_from_starting(
        mount, folder, llama):
    plans = own_plan(folder / "own")
    (plans / "broken.plan").write_text("plan x\nengine\n")
    m = mount(f"plans={plans}", models=folder / "models", ready=False)
    m.expect_rc = 1
    assert m.wait_end() == 1
    assert f"{plans}/broken.plan:3:1: " in m.log()


def test_attributes_tell_how_a_tensor_was_cut(mount, folder, llama):
    m = mount(models=folder / "models")
    at = "model.layers.0."

    def split(name, layout="tp2", rank="1"):
        return xattr(m.path / f"llama@{layout}" / rank / name, "split")
    assert split(at + "mlp.down_proj.weight") == "dim=1 range=176:352 of=352"
    assert split(at + "mlp.gate_up_proj.weight") == (
        f"{at}mlp.gate_proj.weight dim=0 range=176:352 of=352; "
        f"{at}mlp.up_proj.weight dim=0 range=176:352 of=352")
    assert split(at + "input_layernorm.weight") == "none"
    assert split(at + "self_attn.attn._k_scale") == "constant"
    assert split("lm_head.weight") == (
        "lm_head.weight dim=0 range=512:1003 of=1003; constant")
    assert split("lm_head.weight", "tp2+hf") == "dim=0 range=512:1003 of=1003"
    # Of two heads of keys each of four ranks has one.
    assert split(at + "self_attn.k_proj.weight", "tp4+hf", "2") == (
        "dim=0 range=32:64 of=64")
    source = xattr(m.path / "llama@tp2/1" / (at + "mlp.down_proj.weight"),
                   "source")
    assert source.startswith(f"slice({at}mlp.down_proj.weight, 1, 176..352)")
    assert "mlp.fragment:" in source
    file = m.path / "llama@tp2" / "model-rank-0-part-0.safetensors"
    assert xattr(file, "source") == f"plan:llama of file:{llama}"


def test_attributes_of_a_stack_of_many_experts_fit(mount, folder):
    spec = truth.read("qwen3_moe")["spec"]
    experts = spec["config"]["num_local_experts"]
    layers = spec["config"]["num_hidden_layers"]
    spec["config"]["num_hidden_layers"] = 1
    names = list(spec["tensors"])
    for name in names:
        if any(f".layers.{i}." in name for i in range(1, layers)):
            del spec["tensors"][name]
        elif ".experts.0." in name:
            for i in range(experts, 900):
                spec["tensors"][name.replace(".experts.0.", f".experts.{i}.")
                                ] = spec["tensors"][name]
    spec["config"]["num_local_experts"] = 900
    spec["tensors"]["model.layers.0.mlp.gate.weight"]["shape"][0] = 900
    truth.make(spec, folder / "models" / "m")
    m = mount(models=folder / "models")
    path = (m.path / "m@tp2" / "0"
            / "model.layers.0.mlp.experts.routed_experts.w13_weight")
    for attribute in "split", "source":
        value = xattr(path, attribute)
        assert "experts.0.gate_proj.weight" in value
        assert len(value) == 65536 and value.endswith(" ...")
