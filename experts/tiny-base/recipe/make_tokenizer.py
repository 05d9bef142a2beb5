#!/usr/bin/env python3
"""Rows of text -> tokenizer.json: byte-level BPE with Qwen3's pre-tokenisation (digits single) and its special tokens.

    make_tokenizer.py --rows base.jsonl.gz --out tokenizer.json

Nothing but the standard library; the same rows give the same bytes. Merges are learnt inside words and inside runs of
punctuation, never across the two, so that a column has the same tokens after a blank, a bracket or a point.
"""
import argparse
import collections
import gzip
import json
import re

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The same on ASCII, with a sign and the word after it apart.
WORDS = re.compile(r" ?[A-Za-z]+|_id\b|[0-9]| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
NOT_SPECIAL = ["<think>", "</think>"]  # Qwen3 decodes these two
CHAT = "system\nDialect: postgres\nSchema:\n user\n assistant\n\n\n"


def byte_names():
    """GPT-2's printable name of each byte: the characters in which byte-level BPE writes its vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    names = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in names:
            names[byte] = chr(256 + len(names) - len(printable))
    return names


def learn(counts, merges_wanted, names):
    """The merges of BPE: again and again the pair that occurs most often; among equals the first in the alphabet."""
    words = [([names[b] for b in word.encode()], count) for word, count in sorted(counts.items())]
    merges = []
    while len(merges) < merges_wanted:
        pairs = collections.Counter()
        for symbols, count in words:
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for symbols, _ in words:
            i = 0
            while i + 1 < len(symbols):
                if (symbols[i], symbols[i + 1]) == best:
                    symbols[i : i + 2] = [best[0] + best[1]]
                i += 1
    return merges


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", required=True, help="JSON lines, plain or gzip: every string of a row is text")
    parser.add_argument("--out", required=True, help="tokenizer.json")
    parser.add_argument("--vocab-size", type=int, default=2048)
    parser.add_argument("--max-rows", type=int, default=20000)
    args = parser.parse_args()

    counts = collections.Counter()
    with (gzip.open if args.rows.endswith(".gz") else open)(args.rows, "rt", encoding="utf-8") as rows:
        for _, line in zip(range(args.max_rows), rows):
            for text in json.loads(line).values():
                counts.update(WORDS.findall(text))
    for word in WORDS.findall(CHAT):
        counts[word] += args.max_rows // 10
    for word in list(counts):  # a word also stands after brackets, quotes and line ends
        if word[0] == " " and word[1:].isalpha():
            counts[word[1:]] += counts[word] // 8
    # A word that occurs seldom is not part of the language but a made-up value.
    counts = {word: count for word, count in counts.items() if count >= args.max_rows // 800}

    names = byte_names()
    vocab = sorted(names.values())
    merges = learn(counts, args.vocab_size - len(vocab) - len(SPECIAL) - len(NOT_SPECIAL), names)
    vocab += [a + b for a, b in merges]
    vocab += [f"<|unused_{i}|>" for i in range(args.vocab_size - len(SPECIAL) - len(NOT_SPECIAL) - len(vocab))]
    first = len(vocab)
    added = [
        {
            "id": first + i,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": token in SPECIAL,
        }
        for i, token in enumerate(SPECIAL + NOT_SPECIAL)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": QWEN_SPLIT}, "behavior": "Isolated", "invert": False}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(vocab)},
            "merges": [list(pair) for pair in merges],
        },
    }
    with open(args.out, "w", encoding="utf-8") as out:
        json.dump(tokenizer, out, ensure_ascii=False, indent=None, separators=(",", ":"))
        out.write("\n")
    print(f"{args.out}: {len(counts)} words, {len(merges)} merges, {args.vocab_size} ids")


if __name__ == "__main__":
    main()
