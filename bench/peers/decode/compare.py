"""Our prefill and decoding beside llama.cpp's on the same base and threads, in turns: a Markdown table of medians.

Usage: compare.py DECODE_BENCH GGUF_DIRECTORY [--python PYTHON_WITH_LLAMA_CPP] [--rounds 3] [--threads 2]
GGUF_DIRECTORY is what write_gguf.py wrote from decode_bench's random base.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PEERS = ["bf16", "q8_0", "q4_0"]
OURS = {
    "bf16, bf16 head": ["--quant", "bf16", "--adapter", "none"],
    "int4, bf16 head": ["--quant", "int4", "--adapter", "none"],
    "int4, int8 head": ["--quant", "int4", "--adapter", "none", "--head", "int8"],
    "int4, int8 head, DoRA": ["--quant", "int4", "--adapter", "dora", "--head", "int8"],
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("decode_bench")
    parser.add_argument("gguf")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    shape = ["--prompt", options.prompt, "--new", options.new, "--threads", options.threads]
    here = Path(__file__).resolve().parent
    rows = {}
    with tempfile.TemporaryDirectory() as cache:
        for turn in range(options.rounds + 1):  # the first does not count
            for name in PEERS:
                command = [options.python, here / "llama_tokens.py", Path(options.gguf) / f"{name}.gguf", *shape]
                done = subprocess.run([str(part) for part in command], input="again\nagain\n", check=True, capture_output=True, text=True)
                versions, *_, measured = map(json.loads, done.stdout.splitlines())
                if turn > 0:
                    rows.setdefault(f"llama.cpp, {name}", []).append(measured)
            for name, flags in OURS.items():
                command = [options.decode_bench, "--json", "--random-base", "--cache", cache, "--repeats", 1, *flags, *shape]
                done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
                if turn > 0:
                    rows.setdefault(f"ours, {name}", []).append(json.loads(done.stdout))
    print(f"llama-cpp-python {versions['llama_cpp_python']}, prompt {options.prompt}, {options.new} new tokens, {options.threads} threads, medians of {options.rounds} rounds in turns\n")
    print("| engine | prefill tokens/s | decode tokens/s | share of the bandwidth |\n|---|---|---|---|")
    for name, measured in rows.items():
        median = {key: statistics.median(row[key] for row in measured) for key in ("prefill_tokens_per_s", "decode_tokens_per_s")}
        share = [row["bandwidth_share"] for row in measured if "bandwidth_share" in row]
        print(f"| {name} | {median['prefill_tokens_per_s']:.0f} | {median['decode_tokens_per_s']:.1f} | {f'{statistics.median(share):.0%}' if share else ''} |")


if __name__ == "__main__":
    main()
