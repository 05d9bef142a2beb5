#!/usr/bin/env python3
"""SQL rows -> tokenizer.json: byte-level BPE with Qwen's pre-tokenisation (digits single), special tokens first.

Needs PyPI `tokenizers`. Deterministic: the same rows give the same file.
"""
import argparse
import gzip
import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
NOT_SPECIAL = ["<think>", "</think>"]  # Qwen3 decodes these two


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", required=True, help="train.jsonl.gz")
    parser.add_argument("--out", required=True, help="tokenizer.json")
    parser.add_argument("--vocab-size", type=int, default=2048)
    parser.add_argument("--max-rows", type=int, default=20000)
    args = parser.parse_args()

    texts = []
    with gzip.open(args.rows, "rt", encoding="utf-8") as rows:
        for line in rows:
            row = json.loads(line)
            if row["pg_ok"]:
                texts.append(f"{row['context']};\n-- {row['question']}\n{row['answer']};")
            if len(texts) == args.max_rows:
                break

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=args.vocab_size - len(SPECIAL) - len(NOT_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in NOT_SPECIAL])
    assert tokenizer.get_vocab_size() == args.vocab_size, tokenizer.get_vocab_size()
    tokenizer.save(args.out)
    tokens = sum(len(e.ids) for e in tokenizer.encode_batch(texts[:1000]))
    print(f"{len(texts)} texts, {args.vocab_size} tokens, {sum(map(len, texts[:1000])) / tokens:.2f} characters per token")


if __name__ == "__main__":
    main()
