"""A prompt and new tokens of llama.cpp, through llama-cpp-python: one measurement for each line on stdin, a JSON line each.

Usage: llama_tokens.py MODEL.gguf [--prompt 512] [--new 64] [--threads N]
Tokens are random ids: what is timed is the model, not the sampler.
"""
import argparse
import ctypes
import json
import random
import sys
import time

import llama_cpp

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--prompt", type=int, default=512)
parser.add_argument("--new", type=int, default=64)
parser.add_argument("--threads", type=int, default=2)
arguments = parser.parse_args()

quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
llama_cpp.llama_backend_init()
model = llama_cpp.llama_model_load_from_file(arguments.model.encode(), llama_cpp.llama_model_default_params())
if not model:
    sys.exit(f"{arguments.model}: llama.cpp cannot load it")
parameters = llama_cpp.llama_context_default_params()
parameters.n_ctx = arguments.prompt + arguments.new + 8
parameters.n_batch = parameters.n_ubatch = arguments.prompt
parameters.n_threads = parameters.n_threads_batch = arguments.threads
context = llama_cpp.llama_init_from_model(model, parameters)


def decode(ids):
    tokens = (llama_cpp.llama_token * len(ids))(*ids)
    if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, len(ids))) != 0:
        sys.exit("llama_decode failed")
    llama_cpp.llama_get_logits(context)  # waits


ids = random.Random(1)
print(json.dumps({"llama_cpp_python": llama_cpp.__version__}), flush=True)
for _ in sys.stdin:
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    prompt = [ids.randrange(151_643) for _ in range(arguments.prompt)]
    start = time.perf_counter()
    decode(prompt)
    first = time.perf_counter()
    for _ in range(arguments.new):
        decode([ids.randrange(151_643)])
    end = time.perf_counter()
    print(json.dumps({"prefill_tokens_per_s": arguments.prompt / (first - start), "decode_tokens_per_s": arguments.new / (end - first)}), flush=True)
