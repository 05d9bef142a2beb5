"""Our step against PyTorch + PEFT's on the same base, batch and threads, in turns: a Markdown table of medians.

Usage: compare.py STEP_BENCH [--python PYTHON_WITH_PEFT] [--rounds 3] [--cases dora:1x512,lora:1x512] [--quant int4] [--attention sdpa] [--dropout 0] [--alone]
       [--isa avx2] [--dtype float32]
A round is one step of the peer, then one of ours (each after steps that do not count). First losses must agree to 2e-2 when the base is the same
(--quant bf16); with a quantised base the difference is printed.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Our names -> what holds torch's own kernels, oneDNN and MKL to the same instructions.
LIMITS = {
    "avx512-bf16": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
    "avx512": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}


def ours(step_bench, adapter, quant, batch, seq, threads, *more):
    command = [step_bench, "--json", "--random-base", "--adapter", adapter, "--quant", quant, "--batch", batch, "--seq", seq, "--threads", threads, "--steps", 1, *more]
    return json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)


class Peer:
    def __init__(self, command, limits):
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | limits)
        self.versions = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the peer ended with {self.process.wait()}: -9 is too little memory")
        return json.loads(line)

    def step(self):
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return self.answer()

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def compare(options, case, folder):
    adapter, shape = case.split(":")
    batch, seq = shape.split("x")
    tokens = folder / f"{case.replace(':', '-')}.json"
    ours(options.step_bench, adapter, options.quant, batch, seq, options.threads, "--write-batch", tokens)
    base = Path(tempfile.gettempdir()) / "expert-random-qwen3-0.6b-1"
    command = [options.python, HERE / "peft_steps.py", base, tokens, "--adapter", adapter, "--threads", options.threads, "--attention", options.attention,
               "--dropout", options.dropout, "--dtype", options.dtype]
    isa = ["--isa", options.isa] if options.isa else []
    theirs, mine = [], []
    for _ in range(options.rounds):
        if not theirs or options.alone:
            peer = Peer(command, LIMITS.get(options.isa, {}))
            first = peer.step()
        theirs.append(peer.step())
        if options.alone:
            peer.end()
        mine.append(ours(options.step_bench, adapter, options.quant, batch, seq, options.threads, "--dropout", options.dropout, "--cache", folder / "cache", *isa))
        print(case, f"peer {theirs[-1]['tokens_per_s']:.1f}, ours {mine[-1]['tokens_per_s']:.1f} tokens/s", file=sys.stderr, flush=True)
    peer.end()
    difference = abs(mine[0]["loss"] - first["loss"])
    if options.quant == "bf16" and difference > 2e-2:
        sys.exit(f"{case}: first losses {mine[0]['loss']} and {first['loss']} differ by more than 2e-2")
    rate = [statistics.median(r["tokens_per_s"] for r in rows) for rows in (theirs, mine)]
    peak = [max(r["rss_peak_bytes"] for r in rows) for rows in (theirs, mine)]
    return peer.versions, (f"| {adapter} r=12, {shape}, {options.quant} | {rate[0]:.1f} | {rate[1]:.1f} | {rate[1] / rate[0]:.2f} | {peak[0] / 1e9:.2f} | {peak[1] / 1e9:.2f} | "
                      f"{peak[1] / peak[0]:.2f} | {first['loss']:.4f} / {mine[0]['loss']:.4f} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("step_bench")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="end the peer before our step, where both do not fit into memory")
    parser.add_argument("--cases", default="dora:1x512,lora:1x512")
    parser.add_argument("--quant", default="int4")
    parser.add_argument("--attention", default="sdpa")
    parser.add_argument("--isa", choices=sorted(LIMITS), help="hold both sides to this instruction set; default: what the processor has")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="of the peer's base: where bf16 is not in hardware, float32 may be faster")
    parser.add_argument("--dropout", type=float, default=0, help="of the adapter, on both sides; first losses agree, later ones do not")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [compare(options, case, Path(folder)) for case in options.cases.split(",")]
    print(f"torch {rows[0][0]['torch']}, transformers {rows[0][0]['transformers']}, peft {rows[0][0]['peft']} ({rows[0][0]['capability']}), base {options.dtype}, attention {options.attention}, our instructions {options.isa or 'the best'}, {options.threads} threads, medians of {options.rounds} rounds in turns\n")
    print("| work | peer tokens/s | ours | ratio | peer peak GB | ours | ratio | first losses |\n|---|---|---|---|---|---|---|---|")
    for _, row in rows:
        print(row)


if __name__ == "__main__":
    main()
