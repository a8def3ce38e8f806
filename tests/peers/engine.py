# SPDX-License-Identifier: Apache-2.0
"""One engine, one load, in a process of its own.

usage: engine.py auto|sharded_state|weightfs|transformers DIR RANKS [stay]

Loads DIR, vLLM on that many ranks, continues fixed prompts greedily, and prints
"RESULT " and, as JSON, what it said: token ids, and with vLLM the log
probabilities, exactly.  With transformers also a digest of every weight as it
was loaded.

stay: one rank of vLLM that keeps its weights as it loaded them, which on a CPU
it would pack otherwise, and says the same again for each line that it is sent,
till there are no more; where the line names a checkpoint, with its weights.
"""
import functools
import hashlib
import json
import os
import sys

PROMPTS = [[1, 5, 17, 101, 333, 7, 900, 42], list(range(20, 60)), [102, 3, 3]]
TOKENS = 24


def keep_weights():
    """Only what a CPU is faster with: others leave them as they are, too."""
    # In this process, where it can be told.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm.model_executor.layers import utils
    packs = utils.dispatch_cpu_unquantized_gemm

    @functools.wraps(packs)
    def kept(layer, remove_weight):
        packs(layer, remove_weight=False)
    utils.dispatch_cpu_unquantized_gemm = kept


def vllm(load_format, path, ranks):
    """A function that says it, and one that changes the weights."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    # Its own choice of cores wants a NUMA node for each rank.
    cores = sorted(os.sched_getaffinity(0))
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "|".join(
        str(cores[i % len(cores)]) for i in range(ranks)))
    from vllm import LLM, SamplingParams

    llm = LLM(model=path, load_format=load_format, tensor_parallel_size=ranks,
              skip_tokenizer_init=True, enforce_eager=True, dtype="bfloat16",
              max_model_len=128, max_num_seqs=4, max_num_batched_tokens=256)
    params = SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True,
                            detokenize=False, logprobs=0)

    def say():
        # One by one: which of them make a batch would be a matter of time, and
        # what is said in other company differs in the last bits.
        outputs = [llm.generate([{"prompt_token_ids": p}], params,
                                use_tqdm=False)[0] for p in PROMPTS]
        return [[list(o.outputs[0].token_ids),
                 [p[t].logprob for t, p in zip(o.outputs[0].token_ids,
                                               o.outputs[0].logprobs)]]
                for o in outputs]

    def reload(other):
        llm.collective_rpc("reload_weights", kwargs={"weights_path": other})
    return say, reload


def transformers(path):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
    digests = {
        name: hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy())
        .hexdigest() for name, tensor in sorted(model.state_dict().items())}
    said = [model.generate(torch.tensor([p]), max_new_tokens=TOKENS,
                           do_sample=False, eos_token_id=None)[0].tolist()
            for p in PROMPTS]
    return [said, digests]


def main():
    how, path, ranks, *stay = sys.argv[1:]
    os.environ["HF_HUB_OFFLINE"] = "1"
    if stay:
        keep_weights()
    say, reload = ((functools.partial(transformers, path), None)
                   if how == "transformers" else vllm(how, path, int(ranks)))
    print("RESULT " + json.dumps(say()), flush=True)
    if stay:
        for line in sys.stdin:
            if line.strip():
                reload(line.strip())
            print("RESULT " + json.dumps(say()), flush=True)


if __name__ == "__main__":
    main()
