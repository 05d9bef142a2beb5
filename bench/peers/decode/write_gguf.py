"""A Qwen3 checkpoint (config.json, model.safetensors in bf16) as GGUF without a vocabulary, for llama_tokens.py.

Usage: write_gguf.py MODEL_DIRECTORY OUT_DIRECTORY
Writes bf16.gguf, and from it q4_0.gguf and q8_0.gguf by llama.cpp's own quantiser. Needs gguf, safetensors, torch and llama-cpp-python.
"""
import ctypes
import json
import sys
from pathlib import Path

import gguf
import llama_cpp
import torch
from safetensors import safe_open

NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down"}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def name_of(key):
    parts = key.split(".")
    stem = TOP.get(".".join(parts[:-1]))
    return f"{stem}.weight" if stem else f"blk.{parts[2]}.{NAMES['.'.join(parts[3:-1])]}.weight"


def write(model, out):
    config = json.loads((model / "config.json").read_text())
    writer = gguf.GGUFWriter(out, "qwen3")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_freq_base({**config.get("rope_parameters", {}), **config}["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    with safe_open(model / "model.safetensors", "pt") as tensors:
        for key in tensors.keys():
            if key == "lm_head.weight" and config.get("tie_word_embeddings"):
                continue
            tensor = tensors.get_tensor(key)
            if tensor.dim() == 1:
                writer.add_tensor(name_of(key), tensor.float().numpy())
                continue
            rows, columns = tensor.shape
            raw = tensor.to(torch.bfloat16).view(torch.uint8).reshape(rows, 2 * columns).numpy()
            writer.add_tensor(name_of(key), raw, raw_shape=raw.shape, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    model, out = map(Path, sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    write(model, out / "bf16.gguf")
    for name, kind in (("q4_0", llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0), ("q8_0", llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0)):
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype = kind
        if llama_cpp.llama_model_quantize(str(out / "bf16.gguf").encode(), str(out / f"{name}.gguf").encode(), ctypes.byref(parameters)) != 0:
            sys.exit(f"{name}: llama.cpp cannot quantise it")


if __name__ == "__main__":
    main()
