"""Training steps of PyTorch + PEFT on a batch that step_bench wrote: one for each line on stdin, a JSON line each.

Usage: peft_steps.py MODEL BATCH.json --adapter lora|dora|none [--threads N] [--attention sdpa|eager] [--dtype bfloat16|float32]
Needs torch, transformers and peft. The adapter is f32 as PEFT makes it, AdamW, no checkpointing.
"""
import argparse
import json
import resource
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("batch")
parser.add_argument("--adapter", choices=("lora", "dora"), default="dora")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--dropout", type=float, default=0)
parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="of the base")
parser.add_argument("--attention", choices=("sdpa", "eager"), default="sdpa")
arguments = parser.parse_args()

import peft
import torch
import transformers

torch.set_num_threads(arguments.threads)
torch.manual_seed(0)
model = transformers.AutoModelForCausalLM.from_pretrained(arguments.model, dtype=getattr(torch, arguments.dtype), attn_implementation=arguments.attention)
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
config = peft.LoraConfig(r=12, lora_alpha=24, lora_dropout=arguments.dropout, target_modules=targets, use_dora=arguments.adapter == "dora", task_type="CAUSAL_LM")
model = peft.get_peft_model(model, config)
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.0)
with open(arguments.batch) as file:
    batch = json.load(file)
input_ids, labels = torch.tensor(batch["input_ids"]), torch.tensor(batch["labels"])
print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__, "capability": torch.backends.cpu.get_cpu_capability()}), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    logits = model(input_ids=input_ids, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=-100)
    del logits
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"step_s": seconds, "tokens_per_s": input_ids.numel() / seconds, "loss": loss.item(), "rss_peak_bytes": peak}), flush=True)
