"""torch and transformers -> optimizer.safetensors: schedules, AdamW steps and clipping that optimizer_test compares with.

Run in an environment with torch, transformers and safetensors; writes beside this file.
"""
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import (get_constant_schedule, get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup,
                          get_linear_schedule_with_warmup)

LEARNING_RATE = 5e-5
TOTAL, WARMUP = (40, 40, 40, 7, 1), (0, 4, 13, 7, 0)

tensors = {"total_steps": torch.tensor(TOTAL), "warmup_steps": torch.tensor(WARMUP)}
for name in ("constant", "constant_with_warmup", "linear", "cosine"):
    for case, (total, warmup) in enumerate(zip(TOTAL, WARMUP)):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LEARNING_RATE)
        scheduler = {"constant": lambda: get_constant_schedule(optimizer),
                     "constant_with_warmup": lambda: get_constant_schedule_with_warmup(optimizer, warmup),
                     "linear": lambda: get_linear_schedule_with_warmup(optimizer, warmup, total),
                     "cosine": lambda: get_cosine_schedule_with_warmup(optimizer, warmup, total)}[name]()
        rates = []
        for _ in range(total):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        tensors[f"schedule.{name}.{case}"] = torch.tensor(rates, dtype=torch.float64)

# Eight AdamW steps on 100 numbers: gradients over twelve decades, zeros among them, clipped to norm 1, decay 0.1.
torch.manual_seed(3)
parameter = torch.nn.Parameter(torch.randn(100))
optimizer = torch.optim.AdamW([parameter], lr=1e-2, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1, foreach=False)
tensors["adamw.initial"] = parameter.detach().clone()
for step in range(8):
    gradient = torch.randn(100) * 10.0 ** torch.randint(-10, 2, (100,))
    gradient[step] = 0
    parameter.grad = gradient.clone()
    norm = torch.nn.utils.clip_grad_norm_([parameter], 1.0)
    optimizer.step()
    tensors[f"adamw.gradient.{step}"] = gradient
    tensors[f"adamw.norm.{step}"] = norm.detach().clone()
    tensors[f"adamw.parameter.{step}"] = parameter.detach().clone()
state = optimizer.state[parameter]
tensors["adamw.exp_avg"], tensors["adamw.exp_avg_sq"] = state["exp_avg"], state["exp_avg_sq"]

save_file({k: v.contiguous() for k, v in tensors.items()}, Path(__file__).with_name("optimizer.safetensors"),
          {"torch": torch.__version__, "transformers": transformers.__version__})
