"""Writes a fixture set for parity_tests: what transformers, PEFT and bitsandbytes compute, for any shape and seed.

    python make_set.py OUT [--seed 7 --hidden-size 96 ...] [--omit NAME ...]     writes the set
    python make_set.py --compare SET OTHER                                       names, shapes, dtypes and metadata of two sets

Needs torch, transformers and peft. The defaults are the shape of tests/parity/data. `--omit` leaves out a folder or a ref_ file
(without the extension) and whatever only it is for. Without bitsandbytes the tables of ref_quant are those of the definition
that ops/quantize.hpp states, and the metadata says so.
"""

import argparse
import copy
import importlib.util
import json
import math
import pathlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

SIX = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
OPTIMIZER = ("AdamW lr 1e-3, betas 0.9 0.999, eps 1e-8, decoupled weight decay 0.01 on every adapter tensor, no clipping, "
             "constant lr")
# name: r, alpha, use_dora, use_rslora, targets, optimizer steps after which tensors are kept
ADAPTERS = {
    "lora_r4": (4, 8, False, False, SIX, (1, 10)),
    "dora_r4": (4, 8, True, False, SIX, (1, 10)),
    "lora_r12": (12, 24, False, False, SIX, (10,)),
    "dora_r12": (12, 24, True, False, SIX, (10,)),
    "lora_r4_rslora_all7": (4, 8, False, True, [*SIX, "gate_proj"], (1,)),
    "nf4dq_dora_r12": (12, 24, True, False, SIX, (10,)),
}


def largest_difference(a, b):
    return f"{(a - b).abs().max().item():.3g}"


class Set:
    """One fixture set: the model, the batch, and where the files go."""

    def __init__(self, args):
        from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

        self.args, self.out, self.omit = args, pathlib.Path(args.out), set(args.omit)
        self.generator = torch.Generator().manual_seed(args.seed)
        self.config = Qwen3Config(
            vocab_size=args.vocab_size, hidden_size=args.hidden_size, intermediate_size=args.intermediate_size,
            num_hidden_layers=args.num_hidden_layers, num_attention_heads=args.num_attention_heads,
            num_key_value_heads=args.num_key_value_heads, head_dim=args.head_dim,
            tie_word_embeddings=args.tie_word_embeddings, rms_norm_eps=args.rms_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": args.rope_theta},
            max_position_embeddings=args.max_position_embeddings, max_window_layers=args.num_hidden_layers, bos_token_id=1,
            eos_token_id=2, pad_token_id=0, attn_implementation="eager")
        self.model = Qwen3ForCausalLM(self.config).eval()
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                if p.dim() == 1:
                    p.copy_(1 + 0.15 * self.normal(*p.shape))
                else:
                    is_table = "embed_tokens" in name or "lm_head" in name
                    p.copy_(self.normal(*p.shape) * (0.25 if is_table else 1.2 / math.sqrt(p.shape[1])))
        self.model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=0, do_sample=True,
                                                        temperature=0.1, top_k=50, top_p=0.9)
        self.input_ids = self.integers(args.vocab_size, 2, 20)
        self.labels = self.input_ids.clone()
        self.labels[0, :5] = -100
        self.labels[1, -4:] = -100

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.generator)

    def integers(self, below, *shape):
        return torch.randint(3, below, shape, generator=self.generator)

    def wants(self, name):
        return name not in self.omit

    def save(self, name, tensors, **metadata):
        if not self.wants(name):
            return
        tensors = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
        save_file(tensors, self.out / f"{name}.safetensors", metadata={"format": "pt", **metadata})

    def batch(self):
        return {"input_ids": self.input_ids, "labels": self.labels}


def write_model(s):
    s.model.save_pretrained(s.out / "model")
    if s.wants("model_bf16"):
        copy.deepcopy(s.model).bfloat16().save_pretrained(s.out / "model_bf16")
    if s.wants("model_bnb_nf4") and importlib.util.find_spec("bitsandbytes"):
        from transformers import AutoModelForCausalLM, BitsAndBytesConfig

        nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
        saved = AutoModelForCausalLM.from_pretrained(s.out / "model_bf16", quantization_config=nf4, dtype=torch.bfloat16)
        saved.save_pretrained(s.out / "model_bnb_nf4")


def write_forward(s):
    from transformers.models.qwen3 import modeling_qwen3

    seen, hooks = {}, []

    def keep(name, value):
        seen[name] = value.detach()

    def output_of(module, name):
        hooks.append(module.register_forward_hook(
            lambda _, __, out: keep(name, out[0] if isinstance(out, tuple) else out)))

    def input_of(module, name):
        hooks.append(module.register_forward_pre_hook(lambda _, inputs: keep(name, inputs[0])))

    for i, layer in enumerate(s.model.model.layers):
        p, attention, mlp = f"layers.{i}.", layer.self_attn, layer.mlp
        for name in ("q_proj", "q_norm", "k_proj", "k_norm", "v_proj", "o_proj"):
            output_of(getattr(attention, name), p + name)
        for name in ("gate_proj", "up_proj", "down_proj"):
            output_of(getattr(mlp, name), p + name)
        for name in ("input_layernorm", "post_attention_layernorm"):
            output_of(getattr(layer, name), p + name)
        input_of(attention.o_proj, p + "attn_context")
        input_of(mlp.down_proj, p + "swiglu")
        output_of(layer, p + "block_out")
    output_of(s.model.model.norm, "final_norm")

    rotate, calls = modeling_qwen3.apply_rotary_pos_emb, []

    def rotate_and_keep(*args, **kwargs):
        q, k = rotate(*args, **kwargs)
        keep(f"layers.{len(calls)}.q_rope", q)
        keep(f"layers.{len(calls)}.k_rope", k)
        calls.append(1)
        return q, k

    modeling_qwen3.apply_rotary_pos_emb = rotate_and_keep
    s.model.zero_grad()
    out = s.model(**s.batch(), output_hidden_states=True, output_attentions=True, use_cache=False)
    modeling_qwen3.apply_rotary_pos_emb = rotate
    for hook in hooks:
        hook.remove()
    out.loss.backward()
    tensors = {**s.batch(), **seen, "logits": out.logits, "loss": out.loss}
    tensors |= {f"hidden_states.{i}": h for i, h in enumerate(out.hidden_states)}
    tensors |= {f"layers.{i}.attn_probs": a for i, a in enumerate(out.attentions)}
    s.save("ref_forward", tensors, loss=f"{out.loss.item():.9g}",
           note="labels are shifted inside: position t predicts labels[t+1]; mean over labels != -100")
    s.save("ref_full_grads", {f"grad.{k}": p.grad for k, p in s.model.named_parameters()},
           note="d loss / d weight of ref_forward; the tied embedding holds the sum of both uses")
    s.model.zero_grad()


@torch.no_grad()
def write_misc_forward(s):
    mask = torch.ones_like(s.input_ids)
    mask[1, :6] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    tensors = {"input_ids": s.input_ids, "attention_mask_left": mask, "position_ids_left": positions,
               "logits_left_padded": s.model(s.input_ids, attention_mask=mask, position_ids=positions).logits}
    if s.wants("model_bf16"):
        bf16 = copy.deepcopy(s.model).bfloat16()
        tensors["logits_bf16_weights_bf16_compute"] = bf16(s.input_ids).logits
        # .float() of the whole module would keep a RoPE table that bfloat16() rounded.
        f32 = copy.deepcopy(s.model)
        for p in f32.parameters():
            p.copy_(p.bfloat16().float())
        tensors["logits_bf16_weights_f32_compute"] = f32(s.input_ids).logits
    s.save("ref_misc_forward", tensors,
           note="rows of logits_left_padded at masked positions are meaningless; bf16 compute is only for sizing tolerances")


def peft_model(s, name, base):
    """A PEFT model on a copy of `base` with random B and magnitudes: A alone would leave the output as it was."""
    from peft import LoraConfig, get_peft_model

    r, alpha, dora, rslora, targets, _ = ADAPTERS[name]
    seed = sum(map(ord, name.removeprefix("nf4dq_")))  # nf4dq_dora_r12 starts as dora_r12
    torch.manual_seed(s.args.seed * 1000 + seed)
    model = get_peft_model(copy.deepcopy(base), LoraConfig(
        r=r, lora_alpha=alpha, lora_dropout=0.0, use_dora=dora, use_rslora=rslora, target_modules=targets,
        task_type="CAUSAL_LM"))
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "lora_B" in key:
                p.copy_(0.05 * torch.randn_like(p))
            elif "lora_magnitude_vector" in key:
                p.mul_(1 + 0.1 * torch.randn_like(p))
    model.peft_config["default"].base_model_name_or_path = "model"
    return model.eval()


def trained(model):
    """Adapter parameters under the fixture's names: without PEFT's prefix and the adapter's name."""
    return {k.removeprefix("base_model.model.").replace(".default", ""): p
            for k, p in model.named_parameters() if p.requires_grad}


def adamw(model):
    return torch.optim.AdamW(trained(model).values(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)


def global_norm(model):
    return torch.cat([p.grad.flatten() for p in trained(model).values()]).double().norm().item()


def write_adapter(s, name, base):
    if not s.wants(name):
        return
    kept = ADAPTERS[name][5]
    model = peft_model(s, name, base)
    model.save_pretrained(s.out / name)
    (s.out / name / "README.md").unlink(missing_ok=True)
    tensors, metadata = dict(s.batch()), {"optimizer": OPTIMIZER, "losses": "loss before step 1..10"}
    initial = copy.deepcopy(model)
    optimizer, losses, norms = adamw(model), [], []
    for step in range(1, 11):
        out = model(**s.batch())
        optimizer.zero_grad()
        out.loss.backward()
        if step == 1:
            tensors |= {"logits": out.logits, "loss": out.loss}
            tensors |= {f"grad.{k}": p.grad.clone() for k, p in trained(model).items()}
        losses.append(out.loss.item())
        norms.append(global_norm(model))
        optimizer.step()
        if step in kept:
            tensors |= {f"step{step}.{k}": p.detach().clone() for k, p in trained(model).items()}
    tensors |= {"losses": torch.tensor(losses, dtype=torch.float64), "grad_norms": torch.tensor(norms, dtype=torch.float64)}
    if name == "dora_r12":
        with torch.no_grad():
            tensors["logits_after_10"] = model(s.input_ids).logits
        tensors |= trainer_run(s, copy.deepcopy(initial))
        metadata["trainer"] = ("2 micro-batches of 1 row, loss_micro/2 each (mean of means), clip global L2 norm to 0.5, cosine "
                               "with 3 warm-up steps of 10 total, AdamW as above")
        with torch.no_grad():
            merged = initial.merge_and_unload()
            tensors["logits_merged"] = merged(s.input_ids).logits
        metadata["max_abs_merged_vs_unmerged"] = largest_difference(tensors["logits_merged"], tensors["logits"])
        tensors |= {f"merged.{k}": p for k, p in merged.named_parameters()
                    if "layers.0." in k and any(t in k for t in SIX)}
    s.save(f"ref_{name}", tensors, **metadata)


def trainer_run(s, model):
    """10 steps as transformers' Trainer takes them with gradient_accumulation_steps 2, max_grad_norm 0.5 and a cosine."""
    from transformers import get_cosine_schedule_with_warmup

    optimizer = adamw(model)
    schedule = get_cosine_schedule_with_warmup(optimizer, 3, 10)
    losses, norms, rates = [], [], []
    for _ in range(10):
        optimizer.zero_grad()
        loss = 0.0
        for row in range(2):
            micro = model(input_ids=s.input_ids[row:row + 1], labels=s.labels[row:row + 1]).loss / 2
            micro.backward()
            loss += micro.item()
        losses.append(loss)
        norms.append(torch.nn.utils.clip_grad_norm_(trained(model).values(), 0.5).item())
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    tensors = {f"trainer_{k}": torch.tensor(v, dtype=torch.float64)
               for k, v in (("losses", losses), ("grad_norms", norms), ("lrs", rates))}
    return tensors | {f"trainer10.{k}": p for k, p in trained(model).items()}


def write_packed(s):
    lengths = [9, 13]
    ids = s.integers(s.args.vocab_size, 1, sum(lengths))
    starts = torch.tensor([0, *torch.tensor(lengths).cumsum(0)], dtype=torch.int32)
    segments = torch.cat([torch.full((n,), i) for i, n in enumerate(lengths)])[None]
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    labels = ids.clone()
    labels[0, starts[:-1].long()] = -100
    seen = (segments[0][:, None] == segments[0][None]) & torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()
    mask = torch.zeros(1, 1, *seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
    packed_inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, "use_cache": False}
    with torch.no_grad():
        packed = s.model(**packed_inputs).logits
        naive = s.model(ids).logits
        unpacked = torch.cat([s.model(d).logits for d in ids.split(lengths, dim=1)], dim=1)
        by_positions = s.model(ids, position_ids=positions, use_cache=False).logits
        with_cache = s.model(ids, position_ids=positions).logits
    tensors = {"input_ids": ids, "labels": labels, "position_ids": positions, "segment_ids": segments, "cu_seqlens": starts,
               "logits_packed": packed, "logits_naive_contaminated": naive, "logits_unpacked_concat": unpacked}
    if s.wants("dora_r12"):
        model = peft_model(s, "dora_r12", s.model)
        out = model(**packed_inputs, labels=labels)
        out.loss.backward()
        tensors |= {"dora_r12.logits_packed": out.logits, "dora_r12.loss": out.loss}
        tensors |= {f"dora_r12.grad.{k}": p.grad for k, p in trained(model).items()}
    s.save("ref_packed", tensors, lengths=str(lengths),
           max_abs_packed_minus_unpacked=largest_difference(packed, unpacked),
           max_abs_positions_only_minus_unpacked=largest_difference(by_positions, unpacked),
           max_abs_positions_only_default_cache_minus_unpacked=largest_difference(with_cache, unpacked),
           max_abs_naive_minus_unpacked=largest_difference(naive, unpacked))


@torch.no_grad()
def write_decode(s):
    from transformers import GenerationConfig
    from transformers.generation import logits_process as warpers

    prompt = s.input_ids[:1, :8]
    model = copy.deepcopy(s.model)
    model.generation_config = GenerationConfig(pad_token_id=0)  # no end token: all 24 are decoded
    out = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=24,
                         output_logits=True, return_dict_in_generate=True)
    steps = torch.stack(out.logits, dim=1).float()
    x, history = steps[0, :6].clone(), out.sequences.expand(6, -1)

    def chain(temperature):
        y = warpers.TemperatureLogitsWarper(temperature)(None, x)
        return warpers.TopPLogitsWarper(0.9)(None, warpers.TopKLogitsWarper(50)(None, y)).softmax(-1)

    s.save("ref_decode", {
        "prompt": prompt, "greedy_tokens": out.sequences, "step_logits": steps, "warp.input": x,
        "warp.temperature_0.1": warpers.TemperatureLogitsWarper(0.1)(None, x),
        "warp.temperature_2": warpers.TemperatureLogitsWarper(2.0)(None, x),
        "warp.top_k_50": warpers.TopKLogitsWarper(50)(None, x), "warp.top_p_0.9": warpers.TopPLogitsWarper(0.9)(None, x),
        "warp.min_p_0.05": warpers.MinPLogitsWarper(0.05)(None, x),
        "warp.rep_penalty_1.1": warpers.RepetitionPenaltyLogitsProcessor(1.1)(history, x.clone()),
        "warp.seed_manifest_probs_t0.1_k50_p0.9": chain(0.1), "warp.probs_t1.5_k50_p0.9": chain(1.5),
    }, note="order of warpers: temperature, top_k, top_p; removed entries are -inf")


@torch.no_grad()
def write_rope(s):
    from transformers import Qwen3Config
    from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

    def yarn(factor, original=8192, **more):
        return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original, **more}

    dynamic, one = {"rope_type": "dynamic", "factor": 4.0}, {"attention_factor": 1.0}
    variants = {
        "default": (None, 40960), "linear_4": ({"rope_type": "linear", "factor": 4.0}, 40960),
        "dynamic_4_short": (dynamic, 40960), "dynamic_4_at65536": (dynamic, 8192),
        "yarn_4_qwen3_card": (yarn(4.0, 32768), 131072), "yarn_4_8192_32768": (yarn(4.0), 32768),
        "ntkbyparts_4_8192_32768": (yarn(4.0, **one), 32768), "ntkbyparts_8_8192_65536": (yarn(8.0, **one), 65536),
        "ntkbyparts_8_8192_manifest_32768": (yarn(8.0, **one), 32768),
        "yarn_4_8192_beta_16_2": (yarn(4.0, beta_fast=16.0, beta_slow=2.0), 32768),
        "llama3_8_8192": ({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                           "original_max_position_embeddings": 8192}, 65536),
    }
    positions = torch.tensor([0, 1, 2, 7, 100, 1000, 8191, 8192, 20000, 32767, 32768, 40959, 65535])
    tensors, metadata, theta = {"positions": positions}, {}, s.args.rope_theta
    for head_dim in sorted({128, s.args.head_dim}, reverse=True):
        for name, (rope, longest) in variants.items():
            config = Qwen3Config(head_dim=head_dim, max_position_embeddings=longest,
                                 rope_parameters={"rope_type": "default", **(rope or {}), "rope_theta": theta})
            embedding = Qwen3RotaryEmbedding(config)
            short = name.endswith("_short")
            rows = positions[positions < longest] if short else positions
            cos, sin = embedding(torch.zeros(1), rows[None])
            key = f"hd{head_dim}.{name}"
            tensors |= {f"{key}.inv_freq": embedding.inv_freq, f"{key}.cos": cos[0, :, :head_dim // 2],
                        f"{key}.sin": sin[0, :, :head_dim // 2]}
            metadata[key] = json.dumps({"rope": rope, "max_position_embeddings": longest,
                                        "attention_scaling": float(embedding.attention_scaling),
                                        "rows": "positions < max" if short else "positions"})
        for length in (32768, 65536, 131072):
            base = theta * (length / 32768) ** 0.25 if length > 32768 else theta
            powers = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
            tensors[f"hd{head_dim}.seed_rust_beta025_{length}.inv_freq"] = (1 / base**powers).float()
    s.save("ref_rope", tensors, **metadata)


def write_ops(s):
    from transformers.models.qwen3.modeling_qwen3 import Qwen3MLP, Qwen3RMSNorm

    tensors, a = {}, s.args

    def leaf(name, value):
        tensors[name] = value
        return value.clone().requires_grad_()

    for dtype, key in ((torch.float32, "rmsnorm.f32"), (torch.bfloat16, "rmsnorm.bf16")):
        norm = Qwen3RMSNorm(a.hidden_size, eps=a.rms_norm_eps).to(dtype)
        x = leaf(f"{key}.x", (2 * s.normal(7, a.hidden_size)).to(dtype))
        with torch.no_grad():
            norm.weight.copy_(1 + 0.2 * s.normal(a.hidden_size))
        gy = s.normal(7, a.hidden_size).to(dtype)
        y = norm(x)
        y.backward(gy)
        tensors |= {f"{key}.w": norm.weight, f"{key}.gy": gy, f"{key}.y": y, f"{key}.gx": x.grad, f"{key}.gw": norm.weight.grad}

    gate, up = leaf("swiglu.gate", 3 * s.normal(7, a.intermediate_size)), leaf("swiglu.up", s.normal(7, a.intermediate_size))
    gy = s.normal(7, a.intermediate_size)
    y = Qwen3MLP(s.config).act_fn(gate) * up
    y.backward(gy)
    tensors |= {"swiglu.gy": gy, "swiglu.y": y, "swiglu.g_gate": gate.grad, "swiglu.g_up": up.grad}

    logits, targets = leaf("ce.logits", 6 * s.normal(11, a.vocab_size)), s.integers(a.vocab_size, 11)
    targets[4] = -100
    loss = torch.nn.functional.cross_entropy(logits, targets)
    loss.backward()
    tensors |= {"ce.targets": targets, "ce.loss": loss, "ce.glogits": logits.grad}

    heads, kv_heads, d = a.num_attention_heads, a.num_key_value_heads, a.head_dim
    q = leaf("attn.q", s.normal(2, heads, 13, d))
    k, v = (leaf(f"attn.{n}", s.normal(2, kv_heads, 13, d)) for n in "kv")
    go = s.normal(2, heads, 13, d)
    o = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    o.backward(go)
    tensors |= {"attn.go": go, "attn.o": o, "attn.gq": q.grad, "attn.gk": k.grad, "attn.gv": v.grad}

    from peft import LoraConfig, get_peft_model

    model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(24, 40, bias=False)),
                           LoraConfig(r=4, lora_alpha=8, use_dora=True, target_modules=["0"]))
    linear = model.base_model.model[0]
    w, A, B = linear.base_layer.weight, linear.lora_A["default"].weight, linear.lora_B["default"].weight
    m = linear.lora_magnitude_vector["default"].weight
    with torch.no_grad():
        w.copy_(s.normal(40, 24))
        A.copy_(0.2 * s.normal(4, 24))
        B.copy_(0.2 * s.normal(40, 4))
        norm = (w + 2 * B @ A).norm(dim=1)
        m.copy_(norm * (1 + 0.1 * s.normal(40)))
    x, gy = leaf("dora.X", s.normal(9, 24)), s.normal(9, 40)
    y = model(x)
    y.backward(gy)
    tensors |= {"dora.W": w, "dora.A": A, "dora.B": B, "dora.m": m, "dora.scale": torch.tensor(2.0), "dora.gY": gy,
                "dora.norm": norm, "dora.Y": y, "dora.gA": A.grad, "dora.gB": B.grad, "dora.gm": m.grad, "dora.gX": x.grad}
    s.save("ref_ops", tensors, note="dora: ||W+sBA|| per output row, treated as a constant in the backward pass")


class Quantiser:
    """bitsandbytes' functions on the CPU where it is installed, else the same codes from their definition."""

    NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
           -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
           0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
    FP4 = [0.0, 0.0052083334885537624, 0.6666666865348816, 1.0, 0.3333333432674408, 0.5, 0.1666666716337204, 0.25]

    def __init__(self):
        try:
            import bitsandbytes
        except ImportError:
            bitsandbytes = None
        self.bitsandbytes = bitsandbytes
        self.version = bitsandbytes.__version__ if bitsandbytes else "not installed: from the definition"
        self.codes = {"nf4": torch.tensor(self.NF4), "fp4": torch.tensor([*self.FP4, *(-x for x in self.FP4)])}
        self.dynamic = self.dynamic_code()

    @staticmethod
    def dynamic_code():
        values = [0.0, 1.0]
        for decade in range(7):
            boundaries = torch.linspace(0.1, 1, 2**decade + 1, dtype=torch.float32)
            means = (boundaries[:-1] + boundaries[1:]) / 2 * 10.0 ** (decade - 6)
            values += means.tolist() + (-means).tolist()
        return torch.tensor(sorted(values))

    @staticmethod
    def in_blocks(w, size):
        flat = w.flatten().float()
        flat = torch.cat([flat, flat.new_zeros(-len(flat) % size)]).view(-1, size)
        absmax = flat.abs().amax(1)
        return flat * torch.where(absmax > 0, 1 / absmax, 0.0)[:, None], absmax

    def four_bit(self, w, kind, size):
        """(packed (bytes, 1), absmax)"""
        if self.bitsandbytes:
            packed, state = self.bitsandbytes.functional.quantize_4bit(w, blocksize=size, quant_type=kind)
            return packed, state.absmax
        scaled, absmax = self.in_blocks(w, size)
        levels, order = self.codes[kind].sort(stable=True)
        rank = torch.searchsorted((levels[:-1] + levels[1:]) / 2, scaled.clamp(-1, 1))
        q = order[rank].flatten()[:w.numel() + w.numel() % 2].to(torch.uint8)
        return (q[0::2] << 4 | q[1::2])[:, None], absmax

    def dynamic8(self, x, size):
        if self.bitsandbytes:
            codes, state = self.bitsandbytes.functional.quantize_blockwise(x, blocksize=size)
            return codes, state.absmax
        scaled, absmax = self.in_blocks(x, size)
        rank = torch.searchsorted((self.dynamic[:-1] + self.dynamic[1:]) / 2, scaled.clamp(-1, 1))
        return rank.flatten()[:x.numel()].to(torch.uint8).view(x.shape), absmax

    def int8_rows(self, w):
        w = w.half()
        if self.bitsandbytes:
            codes, absmax, _ = self.bitsandbytes.functional.int8_vectorwise_quant(w)
            return codes, absmax
        absmax = w.float().abs().amax(1)
        return (w.float() * (127 / absmax)[:, None]).round().to(torch.int8), absmax

    def double(self, absmax):
        """(codes, scale of scales, offset) of the scales of blocks of 64"""
        offset = absmax.mean()
        codes, nested = self.dynamic8(absmax - offset, 256)
        return codes, nested, offset

    def dequantised(self, packed, kind, size, absmax, shape):
        flat = packed.flatten()
        q = torch.stack([flat >> 4, flat & 15], dim=1).flatten()[:math.prod(shape)].long()
        scales = absmax.repeat_interleave(size)[:len(q)]
        return (self.codes[kind][q] * scales).view(shape)

    def nf4_double_dequantised(self, w):
        packed, absmax = self.four_bit(w, "nf4", 64)
        codes, nested, offset = self.double(absmax)
        scales = self.dynamic[codes.long()] * nested.repeat_interleave(256)[:len(codes)] + offset
        return self.dequantised(packed, "nf4", 64, scales, w.shape)


@torch.no_grad()
def write_quant(s, quantiser):
    outlier = 0.05 * s.normal(64, 128)
    outlier[1, 3], outlier[2] = 4.0, 0.0
    steps = 0.02 * s.normal(24, 160)
    steps[5, :64] = 0.0
    weights = {"w_64x128": outlier, "w_24x160": steps, "w_33x70": s.normal(33, 70), "w_1x64": s.normal(1, 64)}
    x = s.normal(5, 128)
    tensors = {**weights, "x_5x128": x, "nf4.code": quantiser.codes["nf4"], "fp4.code": quantiser.codes["fp4"],
               "dyn8.code": quantiser.dynamic, "dq.state2_code": quantiser.dynamic}
    errors = {}
    for name, w in weights.items():
        for kind in ("nf4", "fp4"):
            for size in (64, 128):
                key = f"{name}.{kind}.b{size}"
                packed, absmax = quantiser.four_bit(w, kind, size)
                tensors |= {f"{key}.packed": packed, f"{key}.absmax": absmax}
                values = quantiser.dequantised(packed, kind, size, absmax, w.shape)
                if size == 64:
                    tensors[f"{key}.dequant"] = values
                if quantiser.bitsandbytes:
                    functional = quantiser.bitsandbytes.functional
                    state = functional.QuantState(absmax, shape=w.shape, dtype=w.dtype, blocksize=size, quant_type=kind,
                                                  code=quantiser.codes[kind])
                    errors[key] = float(largest_difference(functional.dequantize_4bit(packed, state), values))
            packed, absmax = quantiser.four_bit(w, kind, 64)
            codes, nested, offset = quantiser.double(absmax)
            scales = quantiser.dynamic[codes.long()] * nested.repeat_interleave(256)[:len(codes)] + offset
            key = f"{name}.{kind}.dq"
            tensors |= {f"{key}.packed": packed, f"{key}.absmax_q": codes, f"{key}.state2_absmax": nested, f"{key}.offset": offset,
                        f"{key}.dequant": quantiser.dequantised(packed, kind, 64, scales, w.shape)}
        codes, absmax = quantiser.int8_rows(w)
        tensors |= {f"{name}.int8.codes": codes, f"{name}.int8.row_absmax": absmax}
        codes, absmax = quantiser.dynamic8(w, 256)
        tensors |= {f"{name}.dyn8.codes": codes, f"{name}.dyn8.absmax": absmax}
    tensors["x@dequant(w_64x128.nf4.b64)^T"] = x @ tensors["w_64x128.nf4.b64.dequant"].T
    s.save("ref_quant", tensors, bitsandbytes=quantiser.version, dq_state2_blocksize="256",
           bitsandbytes_cpu_dequant_max_abs_error=json.dumps(errors),
           note="4-bit packing: element 2i in the high nibble, 2i+1 in the low nibble, row-major flattened; blocks run over "
                "the flattened tensor")


def write_nf4_base(s, quantiser):
    """The base whose projections hold the values that double-quantised NF4 gives back. Returns that model."""
    base = copy.deepcopy(s.model)
    last = s.args.num_hidden_layers - 1
    tensors = {"input_ids": s.input_ids}
    with torch.no_grad():
        for name, module in base.model.named_modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.copy_(quantiser.nf4_double_dequantised(module.weight))
                if name in ("layers.0.self_attn.q_proj", f"layers.{last}.mlp.down_proj"):
                    tensors[f"dequant.model.{name}"] = module.weight.clone()
        tensors["logits"] = base(s.input_ids).logits
    s.save("ref_nf4_dq_base", tensors, **bitsandbytes_distance(s, quantiser, tensors["logits"]))
    return base


def bitsandbytes_distance(s, quantiser, logits):
    """How far bitsandbytes' own 4-bit layers are from `logits`; for the record, no test reads it."""
    if not quantiser.bitsandbytes:
        return {}
    nn, model = quantiser.bitsandbytes.nn, copy.deepcopy(s.model)
    for name, module in list(model.model.named_modules()):
        if isinstance(module, torch.nn.Linear):
            layer = nn.Linear4bit(module.in_features, module.out_features, bias=False, compress_statistics=True,
                                  quant_type="nf4", compute_dtype=torch.float32)
            layer.weight = nn.Params4bit(module.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4",
                                         blocksize=64)
            parent, _, child = name.rpartition(".")
            setattr(model.model.get_submodule(parent), child, layer.to("cpu"))
    found = {}
    for mode in ("train", "eval"):
        model.train(mode == "train")
        try:
            with torch.enable_grad() if mode == "train" else torch.no_grad():
                theirs = model(s.input_ids).logits.detach()
            found[f"max_abs_bitsandbytes_cpu_{mode}_mode_minus_this"] = largest_difference(theirs, logits)
        except Exception as error:  # a path that bitsandbytes lacks on this machine
            found[f"max_abs_bitsandbytes_cpu_{mode}_mode_minus_this"] = type(error).__name__
    return found


def compare(a, b):
    """Prints every difference of names, shapes, dtypes and metadata keys between two sets. Returns how many there are."""
    def described(folder):
        found = {}
        for path in sorted(pathlib.Path(folder).rglob("*.safetensors")):
            file = path.relative_to(folder).as_posix()
            with safe_open(path, "pt") as tensors:
                found |= {f"{file}: metadata {k}": "" for k in tensors.metadata() or {}}
                for key in tensors.keys():
                    part = tensors.get_slice(key)
                    found[f"{file}: {key}"] = f"{part.get_shape()} {part.get_dtype()}"
        for path in sorted(pathlib.Path(folder).rglob("*.json")):
            file = path.relative_to(folder).as_posix()
            found |= {f"{file}: {k}": "" for k in json.loads(path.read_text())}
        return found

    x, y = described(a), described(b)
    differences = [f"{k}: {x.get(k, 'absent')} / {y.get(k, 'absent')}" for k in sorted(x.keys() | y.keys()) if x.get(k) != y.get(k)]
    print("\n".join(differences) or f"{len(x)} names: equal")
    return len(differences)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?")
    parser.add_argument("--compare", nargs=2, metavar=("SET", "OTHER"))
    for name, default in (("seed", 1234), ("hidden-size", 64), ("num-hidden-layers", 2), ("num-attention-heads", 4),
                          ("num-key-value-heads", 2), ("head-dim", 32), ("intermediate-size", 128), ("vocab-size", 512),
                          ("max-position-embeddings", 128)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rms-norm-eps", type=float, default=1e-6)
    parser.add_argument("--rope-theta", type=float, default=1e6)
    parser.add_argument("--tie-word-embeddings", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--omit", nargs="*", default=[])
    args = parser.parse_args()
    if args.compare:
        return 1 if compare(*args.compare) else 0
    if not args.out:
        parser.error("OUT is missing")
    s, quantiser = Set(args), Quantiser()
    s.out.mkdir(parents=True, exist_ok=True)
    for write in (write_model, write_forward, write_misc_forward, write_packed, write_decode, write_rope, write_ops):
        write(s)
    write_quant(s, quantiser)
    nf4_base = write_nf4_base(s, quantiser)
    for name in ADAPTERS:
        write_adapter(s, name, nf4_base if name.startswith("nf4dq") else s.model)
    return 0


if __name__ == "__main__":
    sys.exit(main())
