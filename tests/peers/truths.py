# SPDX-License-Identifier: Apache-2.0
"""Are the truths in tests/truth still what real vLLM makes?

usage: truths.py [--write] [FAMILY...]

Makes the tiny checkpoint of each family, loads it with the engine as every
rank of every layout of its truth, and compares the files.  With --write the
truth is replaced, and FAMILY may be a new one of families.py or quantised.py.
Exit status 1 if anything differs.
"""
import argparse
import json
import re
import struct
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "plan"), str(HERE.parent / "mount")]
import families  # noqa: E402
import quantised  # noqa: E402
import truth  # noqa: E402

families.FAMILIES.update(quantised.FAMILIES)
LAYOUTS = ("tp1", "tp2", "tp4", "pp2", "pp2tp2")
# The engine then turns these weights into others before it saves them.
CHANGED = ("kv_lora_rank", "quantization_config")


def layouts(spec, names):
    changed = any(spec["config"].get(key) for key in CHANGED)
    return [("load-" if changed else "") + name for name in names or LAYOUTS]


def sizes(layout):
    return [int((re.search(kind + r"(\d+)", layout) or (0, 1))[1])
            for kind in ("tp", "pp")]


def describe(path):
    raw = path.read_bytes()
    return {"name": path.name, "size": len(raw),
            "header": 8 + struct.unpack("<Q", raw[:8])[0],
            "sha256": truth.digest(path), "tensors": truth.tensors_of(path)}


def saved(folder, name, out, load_format):
    import sharded
    out.mkdir()
    sharded.save(folder, *sizes(name), out, load_format)
    return {"files": [describe(p) for p in sorted(out.glob("*.safetensors"))]}


def mended(spec):
    """config.json beside what was saved: which modules are quantised is told,
    since the engine would guess it from the names that tensors have there."""
    config = spec["config"]
    quantised = config.get("quantization_config", {})
    whole = {name.rpartition(".")[0] for name in spec["tensors"]}
    packed = {name.removesuffix(".qweight") for name in spec["tensors"]
              if name.endswith(".qweight")}
    told = {"gptq": {"modules_in_block_to_quantize": sorted(packed)},
            "awq": {"modules_to_not_convert": sorted(whole - packed)}}.get(
                quantised.get("quant_method"))
    if not told:
        return config
    return {**config, "quantization_config": {**quantised, **told}}


def engine(spec, names):
    """What the engine makes: {layout: {"files": […]}}; and it must be what its
    own sharded_state loader takes."""
    with tempfile.TemporaryDirectory(prefix="weightfs-truth-") as folder:
        folder, made = Path(folder), {}
        model = truth.make(spec, folder / "model")
        for name in names:
            out = folder / name
            made[name] = saved(model, name, out, "safetensors")
            (out / "config.json").write_text(json.dumps(mended(spec)))
            again = saved(out, name, folder / (name + " again"),
                          "sharded_state")
            if again != made[name]:
                raise ValueError(f"{name}: loads as another")
    return made


def differences(was, now):
    for layout in was:
        old, new = ({f["name"]: f for f in t[layout]["files"]}
                    for t in (was, now))
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                yield f"{layout}: {name}"
            if name in old and name in new:
                rows = [{r[0]: r[1:] for r in f[name]["tensors"]}
                        for f in (old, new)]
                for tensor in sorted(rows[0].keys() | rows[1].keys()):
                    if rows[0].get(tensor) != rows[1].get(tensor):
                        yield f"{layout}: {name}: {tensor}"


def text(family):
    """JSON with a tensor a line."""
    rows = []

    def row(found):
        rows.append(json.dumps(json.loads(found[0]), separators=(",", ":")))
        return rows[-1]

    out = json.dumps(family, indent=1, sort_keys=False)
    out = re.sub(r"\{\s*\"dtype\": [^{}]*?\}", row, out)
    return re.sub(r"\[\s*\"[^\"\[\]]+\",\s*\"[A-Z0-9_]+\",\s*\[[\d,\s]*\],\s*"
                  r"\"[0-9a-f]{64}\"\s*\]", row, out) + "\n"


def look(family, write):
    """What differs, after the truth was written if it is to be."""
    path = truth.FOLDER / f"{family}.json"
    if write and family in families.FAMILIES:
        was, (spec, names) = None, families.spec(family)
        names = layouts(spec, names)
    else:
        was = truth.read(family)
        spec, names = was["spec"], list(was["truth"])
    now = engine(spec, names)
    if write:
        path.write_text(text({"engine": "vllm " + families.VERSION,
                              "spec": spec, "truth": now}))
        return []
    return list(differences(was["truth"], now))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("families", nargs="*", metavar="FAMILY")
    args = parser.parse_args()
    wrong = 0
    for family in args.families or truth.families():
        try:
            found = look(family, args.write)
        except Exception as e:  # the engine's own, whatever it is
            found = [f"{type(e).__name__}: {e}"]
        for line in found:
            print(f"  {family}: {line}")
        wrong += len(found) > 0
        print(f"  {family:20}", "WRONG" if found else
              "written" if args.write else "the same", flush=True)
    print("truths:", f"{wrong} families are wrong" if wrong else "all the same")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
