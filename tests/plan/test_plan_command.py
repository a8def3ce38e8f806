# SPDX-License-Identifier: Apache-2.0
"""weightfs plan: list, check, show, diff."""
import json
import struct

import checkpoints as ck
import pytest
from small_llama import Llama, write_dump, write_file


def json_of(done, status=0):
    assert done.returncode == status
    return json.loads(done.stdout)


# list

def test_list_names_the_plans(weightfs):
    done = weightfs("plan", "list")
    assert done.returncode == 0
    heads, *rows = done.stdout.splitlines()
    assert heads.split() == ["PLAN", "ENGINE", "ARCHITECTURES",
                             "QUANTISATION", "FILE"]
    assert any("LlamaForCausalLM" in row and "built-in" in row
               for row in rows)
    plans = json_of(weightfs("plan", "list", "--json"))
    assert len(plans) == len(rows)
    assert {"name", "engine", "architectures", "quantisations",
            "file"} == set(plans[0])


def test_a_plan_with_a_mistake_is_told_by_file_line_and_column(folder,
                                                                weightfs):
    plans = folder / "plans"
    plans.mkdir()
    (plans / "mine.plan").write_text("# mine\n\n)(\n")
    for args in (["list"], ["check", folder]):
        done = weightfs("plan", *args, "--plans", plans)
        assert done.returncode == 1
        assert "mine.plan:3:1" in done.stderr


def test_a_directory_of_plans_must_exist(folder, weightfs):
    done = weightfs("plan", "list", "--plans", folder / "none")
    assert done.returncode == 1
    assert str(folder / "none") in done.stderr


# check

def test_check_tells_each_layout_and_its_plan(llama, weightfs):
    done = weightfs("plan", "check", llama.path, "@tp1", "tp2", "@tp4")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[:4]] == [
        "LAYOUT", "tp1", "tp2", "tp4"]
    rows = json_of(weightfs("plan", "check", "--json", llama.path,
                            "tp2"))["layouts"]
    want = [t for r in range(2) for t in llama.rank(2, r).values()]
    assert rows[0]["layout"] == "tp2" and rows[0]["ranks"] == 2
    assert rows[0]["tensors"] == len(want)
    assert rows[0]["bytes"] == sum(len(data) for _, _, data in want)


def test_check_tries_the_usual_layouts(llama, weightfs):
    done = weightfs("plan", "check", llama.path, "--json")
    rows = json_of(done)["layouts"]
    assert [row["layout"] for row in rows] == ["tp1", "tp2", "tp4", "tp8"]
    refused = [row["layout"] for row in rows if "refused" in row]
    assert refused == ["tp8"], "four heads"


def test_check_tells_why_a_layout_is_refused(llama, weightfs):
    done = weightfs("plan", "check", llama.path, "@tp2", "@tp3")
    assert done.returncode == 1
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("tp3")]
    assert "refused" in line and "3" in line
    rows = json_of(weightfs("plan", "check", f"{llama.path}@tp3", "--json"),
                   1)["layouts"]
    assert "3" in rows[0]["refused"] and "plan" not in rows[0]


def test_check_fails_when_nothing_fits(folder, seed, weightfs):
    odd = Llama(folder / "odd", seed, config={
        "architectures": ["NeverHeardOfForCausalLM"],
        "model_type": "never_heard_of"}).write()
    done = weightfs("plan", "check", odd.path)
    assert done.returncode == 1
    assert done.stdout.count("NeverHeardOfForCausalLM") >= 4


def test_check_names_a_tensor_that_no_rule_covers(folder, seed, weightfs):
    odd = Llama(folder / "odd", seed).write(
        lambda specs: specs + [ck.Spec("model.surprise.weight", "BF16", (8,))])
    done = weightfs("plan", "check", odd.path, "tp1")
    assert done.returncode == 1
    assert "model.surprise.weight" in done.stdout


@pytest.mark.parametrize("config", [None, "{", "[]"])
def test_check_needs_a_config(llama, weightfs, config):
    path = llama.path / "config.json"
    path.unlink() if config is None else path.write_text(config)
    done = weightfs("plan", "check", llama.path, "tp1")
    assert done.returncode == 1
    assert "config.json" in done.stdout


def test_check_of_what_is_no_layout_or_no_model_fails(llama, folder,
                                                      weightfs):
    done = weightfs("plan", "check", llama.path, "@tpx")
    assert done.returncode == 1 and "is no layout" in done.stderr
    done = weightfs("plan", "check", folder / "none")
    assert done.returncode == 1 and "none" in done.stderr


def test_check_tells_what_each_rule_covers(llama, weightfs):
    (row,) = json_of(weightfs("plan", "check", "--json", llama.path,
                              "tp2"))["layouts"]
    assert sum(r["tensors"] for r in row["rules"]) == len(llama.rank(2, 0))
    norm = [r for r in row["rules"] if r["rule"] == "model.norm.weight"]
    assert [r["tensors"] for r in norm if r["tensors"]] == [1]
    done = weightfs("plan", "check", llama.path, "tp2")
    lines = [line.split() for line in done.stdout.splitlines()]
    where = f"{norm[0]['file']}:{norm[0]['line']}"
    assert ["1", "model.norm.weight", where] in lines


# show

def test_show_lists_every_tensor(llama, weightfs):
    rows = json_of(weightfs("plan", "show", f"{llama.path}@tp2",
                            "--json"))["tensors"]
    got = {(r["rank"], r["name"]): (r["dtype"], r["shape"], r["bytes"])
           for r in rows}
    want = {(str(rank), name): (dtype, shape, len(data)) for rank in range(2)
            for name, (dtype, shape, data) in llama.rank(2, rank).items()}
    assert got == want
    done = weightfs("plan", "show", f"{llama.path}@tp2")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1 + len(want)


def test_show_tells_which_bytes_a_tensor_is_made_of(llama, weightfs):
    name = "model.layers.1.self_attn.qkv_proj.weight"
    shown = json_of(weightfs("plan", "show", "--json", f"{llama.path}@tp2",
                             name))["tensors"]
    assert [row["rank"] for row in shown] == ["0", "1"]
    for row in shown:
        for part in "qkv":
            assert f"model.layers.1.self_attn.{part}_proj.weight" in row["is"]
        data = b""
        for piece in row["pieces"]:
            assert "loops" not in piece and piece["at"] == len(data)
            assert piece["step"] == piece["run"]
            file = (llama.path / piece["file"]).read_bytes()
            for i in range(piece["count"]):
                at = piece["offset"] + i * piece["stride"]
                data += file[at:at + piece["run"]]
        assert data == llama.rank(2, int(row["rank"]))[name][2]
    done = weightfs("plan", "show", f"{llama.path}@tp2", f"1/{name}")
    assert done.returncode == 0
    assert done.stdout.startswith(f"1/{name}  BF16 ")


def test_show_tells_where_in_its_file_a_tensor_lies(llama, folder, weightfs):
    out, spec = folder / "out", f"{llama.path}@tp2"
    assert weightfs("export", spec, out).returncode == 0
    for row in json_of(weightfs("plan", "show", spec, "--json"))["tensors"]:
        data = (out / row["file"]).read_bytes()
        (header,) = struct.unpack_from("<Q", data)
        at = json.loads(data[8:8 + header])[row["name"]]["data_offsets"]
        assert row["offset"] == 8 + header + at[0]


def test_show_takes_patterns(llama, weightfs):
    rows = json_of(weightfs("plan", "show", "--json", f"{llama.path}@tp4",
                            "3/*.mlp.*"))["tensors"]
    assert {row["rank"] for row in rows} == {"3"}
    assert len(rows) == 2 * llama.layers


def test_show_of_a_tensor_that_is_not_there_fails(llama, weightfs):
    done = weightfs("plan", "show", f"{llama.path}@tp2", "model.none")
    assert done.returncode == 1
    assert "no tensor 'model.none'" in done.stderr
    assert weightfs("plan", "show", f"{llama.path}@tp2", "model.none",
                    "--json").returncode == 1


# diff

def test_diff_of_equals_finds_nothing(llama, folder, weightfs):
    dump = write_dump(folder / "dump", llama, 2)
    done = weightfs("plan", "diff", f"{llama.path}@tp2", dump)
    assert done.returncode == 0
    assert done.stdout.startswith(f"equal {2 * len(llama.rank(2, 0))}, ")
    assert len(done.stdout.splitlines()) == 1


def test_diff_finds_every_kind_of_difference(llama, folder, weightfs):
    at = "model.layers.1."

    def change(rank, tensors):
        if rank == 0:
            return
        dtype, shape, data = tensors[at + "mlp.down_proj.weight"]
        tensors[at + "mlp.down_proj.weight"] = (
            dtype, shape, data[:-1] + bytes([data[-1] ^ 1]))
        dtype, shape, data = tensors[at + "self_attn.o_proj.weight"]
        tensors[at + "self_attn.o_proj.weight"] = (dtype, shape[::-1], data)
        dtype, shape, data = tensors["model.norm.weight"]
        tensors["model.norm.weight"] = ("F16", shape, data)
        del tensors[at + "input_layernorm.weight"]
        tensors["model.surprise"] = ("F32", [2], b"01234567")
    dump = write_dump(folder / "dump", llama, 2, change)
    done = weightfs("plan", "diff", f"{llama.path}@tp2", dump)
    assert done.returncode == 1
    last = len(llama.rank(2, 1)[at + "mlp.down_proj.weight"][2]) - 1
    assert sorted(done.stdout.splitlines()[:-1]) == sorted([
        f"bytes   1/{at}mlp.down_proj.weight: from byte {last} of {last + 1}",
        f"shape   1/{at}self_attn.o_proj.weight: [128, 64], in the dump "
        "[64, 128]",
        "dtype   1/model.norm.weight: BF16, in the dump F16",
        f"extra   1/{at}input_layernorm.weight: BF16 [128]",
        "missing 1/model.surprise: F32 [2]"])
    got = json_of(weightfs("plan", "diff", "--json", f"{llama.path}@tp2",
                           dump), 1)
    assert {k: got[k] for k in ("differing", "dtype", "shape", "bytes",
                                "missing", "extra")} == {
        "differing": 3, "dtype": 1, "shape": 1, "bytes": 1, "missing": 1,
        "extra": 1}
    assert got["equal"] == 2 * len(llama.rank(2, 0)) - 4
    assert sorted(row["what"] for row in got["differences"]) == [
        "bytes", "dtype", "extra", "missing", "shape"]


def test_diff_with_another_number_of_ranks_says_which(llama, folder,
                                                      weightfs):
    dump = write_dump(folder / "dump", llama, 4)
    got = json_of(weightfs("plan", "diff", "--json", f"{llama.path}@tp2",
                           dump), 1)
    assert got["missing"] == len(llama.rank(4, 2)) * 2
    assert {row["rank"] for row in got["differences"]
            if row["what"] == "missing"} == {"2", "3"}


def test_diff_reads_a_dump_in_several_parts(llama, folder, weightfs):
    dump = folder / "dump"
    dump.mkdir()
    tensors = sorted(llama.rank(1, 0).items())
    for part, some in enumerate((tensors[:5], tensors[5:])):
        write_file(dump / f"model-rank-0-part-{part}.safetensors", dict(some))
    assert weightfs("plan", "diff", f"{llama.path}@tp1",
                    dump).returncode == 0


def test_an_export_does_not_differ(llama, folder, weightfs):
    out, spec = folder / "out", f"{llama.path}@tp4"
    assert weightfs("export", spec, out).returncode == 0
    assert weightfs("plan", "diff", spec, out).returncode == 0


def test_diff_with_what_is_no_dump_fails(llama, folder, weightfs):
    spec, empty = f"{llama.path}@tp2", folder / "empty"
    empty.mkdir()
    for dump in (folder / "none", empty):
        done = weightfs("plan", "diff", spec, dump)
        assert done.returncode == 1 and str(dump) in done.stderr


# the command line

def test_plan_alone_tells_its_commands(weightfs):
    done = weightfs("plan")
    assert done.returncode == 2
    for word in "list", "check", "show", "diff":
        assert f"\n  {word} " in done.stderr
    done = weightfs("plan", "--help")
    assert done.returncode == 0 and "diff" in done.stdout


@pytest.mark.parametrize("args, words", [
    (["frobnicate"], "plan frobnicate"),
    (["check"], "MODEL is missing"),
    (["show"], "MODEL@tpN is missing"),
    (["diff", "x@tp2"], "DUMPDIR is missing"),
    (["show", "a", "b", "c"], "too many"),
    (["show", "--part-size=much", "a"], "is no size"),
    (["list", "--frobnicate"], "unrecognized option"),
])
def test_a_mistake_on_the_command_line_is_told(weightfs, args, words):
    done = weightfs("plan", *args)
    assert done.returncode == 2
    assert words in done.stderr


def test_every_command_has_help(weightfs):
    for word in "list", "check", "show", "diff":
        done = weightfs("plan", word, "--help")
        assert done.returncode == 0
        assert done.stdout.startswith(f"Usage: weightfs plan {word} ")
