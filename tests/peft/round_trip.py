"""Adapters and models go from this library to PEFT and transformers and back, and the logits stay. Writes record.json and adapter/.

    python tests/peft/round_trip.py build/release/bin/make_adapter

in an environment with torch, transformers and peft. Exits with 1 where logits differ by more than the tolerance.
"""

import argparse
import hashlib
import importlib.metadata
import json
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE.parent / "parity" / "data" / "model"
TOLERANCE = 5e-5  # of f32 logits, as in the parity tests
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]


def base(path=MODEL):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


@torch.no_grad()
def difference(model, ours):
    """Largest |ours - theirs| over all tokens of the rows that our program used."""
    return (model(ours["input_ids"]).logits - ours["logits"]).abs().max().item()


def made_by_peft(kind, out):
    torch.manual_seed(5)
    model = get_peft_model(base(), LoraConfig(r=12, lora_alpha=24, use_dora=kind == "dora", target_modules=TARGETS,
                                              task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.copy_(0.05 * torch.randn_like(p))
            elif "lora_magnitude_vector" in name:
                p.mul_(1 + 0.1 * torch.randn_like(p))
    model.save_pretrained(out)
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("make_adapter", help="the program that CMake builds from make_adapter.cpp")
    args = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)

        def ours(*arguments):
            subprocess.run([args.make_adapter, *map(str, arguments)], check=True)

        for kind in ("dora", "lora"):
            ours("train", kind, work / kind)
            logits = load_file(work / kind / "logits.safetensors")
            trained = PeftModel.from_pretrained(base(), work / kind / "adapter").eval()
            moved = difference(base(), logits)
            if moved < 0.1:
                sys.exit(f"the {kind} adapter changes no logit by more than {moved}: the comparison would prove nothing")
            found[f"{kind}: our adapter in PEFT"] = difference(trained, logits)
            found[f"{kind}: our merged model in transformers"] = difference(base(work / kind / "merged"), logits)
            theirs = made_by_peft(kind, work / f"peft_{kind}")
            ours("run", kind, work / f"peft_{kind}", work / f"peft_{kind}.safetensors")
            found[f"{kind}: PEFT's adapter in this library"] = difference(theirs, load_file(work / f"peft_{kind}.safetensors"))
        (HERE / "adapter").mkdir(exist_ok=True)
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(work / "dora" / "adapter" / file, HERE / "adapter" / file)
    adapter = (HERE / "adapter" / "adapter_model.safetensors").read_bytes()
    record = {
        "command": "python tests/peft/round_trip.py build/release/bin/make_adapter",
        "versions": {"python": platform.python_version(),
                     **{p: importlib.metadata.version(p) for p in ("torch", "transformers", "peft", "safetensors")}},
        "adapter": {"made_by": "make_adapter train dora", "seed": 20, "steps": 8, "r": 12, "instruction_set": "scalar",
                    "bytes": len(adapter), "sha256": hashlib.sha256(adapter).hexdigest()},
        "tolerance": TOLERANCE,
        "max_abs_logit_difference": {k: float(f"{v:.3g}") for k, v in found.items()},
    }
    text = json.dumps(record, indent=2) + "\n"
    (HERE / "record.json").write_text(text)
    print(text)
    return 0 if max(found.values()) <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
