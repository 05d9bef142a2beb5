#!/usr/bin/env python3
"""tokenizer.json, a number of random strings -> how many of them `expert-cli tokenize` and PyPI tokenizers encode or
decode differently; exit status 1 if any.

    python3 tools/compare_tokenizers.py --tokenizer tokenizer.json --cli build/release/bin/expert-cli [--count 100000]
        [--seed 1]

The strings: code points of all planes, unassigned ones too, words of code, emoji with joiners, marks in any order, Hangul,
long words (to 100 kB), runs of white space, look-alikes of the file's own added tokens, and mixtures of these.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import tokenizers

MARKS = [*range(0x300, 0x370), *range(0x483, 0x488), *range(0x591, 0x5BE), *range(0x610, 0x61B), *range(0x64B, 0x660)]
MARKS += [0x93C, 0x94D, 0x9BC, 0x9BE, 0x9D7, 0xB3E, 0xDCF, 0xF71, 0xF72, 0xF73, 0xF74, 0xF80, 0x1133E, 0x114B0, 0x110BA]
MARKS += [0x1AB0, 0x1AC1, 0x1DC0, 0x1DF6, 0x1DF9, 0x20D0, 0x302A, 0x3099, 0x309A, 0xFE20, 0x1D165, 0x1D16D, 0x1E130, 0x10F46]
BASES = list("aAeEiIoOuUnNcCsSyY<>=qQ") + ["\u00e9", "\u1e63", "\u1ea5", "\u0415", "\u03b1", "\u304b", "\u0928", "\u09c7", "\u0b47"]
BASES += ["\u1100", "\uac00", "\uac01", "\U00011099", "\U00011935", "\ufb1d", "\u2126", "\u212b", "\u0958", "\uf900", "\u0344", " "]
SPACES = [" "] * 12 + list("\n\n\n\r\t\v\f\x1c\x1d\x85\xa0\u1680\u2000\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff\u180e")
PICTURES = "\U0001f468 \U0001f469 \U0001f467 \U0001f3fd \U0001f3ff \u2764 \ufe0f \U0001f1e9 \U0001f1ea \U0001f9d1 \U0001f33e 1\ufe0f\u20e3"
CODE = """SELECT select FROM WHERE t1.id = 't''2' AND "Name" LIKE '%ab_' ; {"k": [1, 2.50, null]} => () -> x != y && !z || 0x1F
    return self._x[i]++; // it's we'll I'VE don'T you're 'S 's'T '\u017f '\u017ft 'LL 'lL 'd'M <div class="a-b"> \\n \\t #include <a/b.h>
def f(*args, **kw):\r\n\tpass\r\n\r\n  end  of   line   \n\n\n  MATCH (n:Person)-[:KNOWS]->(m) RETURN n.name, 12345678901 1,000.00""".split(" ")


class Strings:
    def __init__(self, seed, added):
        self.r, self.added = random.Random(seed), added

    def point(self):
        r, plane = self.r, self.r.random()
        top = 0x80 if plane < 0.1 else 0x3000 if plane < 0.5 else 0x10000 if plane < 0.75 else 0x20000 if plane < 0.9 else 0x110000
        while True:
            c = r.randrange(top)
            if not 0xD800 <= c < 0xE000:
                return chr(c)

    def unicode(self, n):
        return "".join(self.point() for _ in range(n))

    def code(self, n):
        return "".join(self.r.choice(CODE) + self.r.choice([" ", " ", "", "\n", "  "]) for _ in range(n // 3 + 1))

    def emoji(self, n):
        return "".join(self.r.choice(PICTURES.split()) + self.r.choice(["", "\u200d", "\u200d", "\ufe0f", " "]) for _ in range(n))

    def marks(self, n):
        mark = lambda: chr(self.r.choice(MARKS))
        return "".join(self.r.choice(BASES) + "".join(mark() for _ in range(self.r.choice([0, 1, 1, 2, 3, 5, 9, 40]))) for _ in range(n // 3 + 1))

    def hangul(self, n):
        ranges = [(0xAC00, 0xD7A4), (0x1100, 0x1113), (0x1161, 0x1176), (0x11A6, 0x11C4), (0x1100, 0x1200), (0xA960, 0xA97F), (0xD7B0, 0xD800)]
        return "".join(chr(self.r.randrange(*self.r.choice(ranges))) for _ in range(n))

    def word(self, n):
        n = min(100_000, int(2 ** self.r.uniform(3, 9 if self.r.random() < 0.98 else 16.6)))
        kinds = ["abcdefghijklmnopqrstuvwxyz", "ab", "a", "0123456789", "=-_", "\u4e00\u4e8c\u4e09\u56db\u8bed\u8a00", "\u0436\u0434\u0435\u0451", "/+aZ9", " ", "e\u0301"]
        letters = self.r.choice(kinds)
        return "".join(self.r.choice(letters) for _ in range(n))

    def spaces(self, n):
        return "".join(self.r.choice(SPACES) if self.r.random() < 0.85 else self.r.choice("aZ1.'") for _ in range(n))

    def special(self, n):
        text = ""
        for _ in range(n // 4 + 1):
            token = self.r.choice(self.added or ["<|x|>"])
            cut = self.r.randrange(len(token) + 1)
            text += self.r.choice([token, token, token[:cut], token[cut:], token.upper(), token[:cut] + " " + token[cut:]])
            text += self.r.choice(["", "", " ", "\n", "<", "a", "\u0301"])
        return text

    def mixed(self, n):
        return "".join(self.any_kind()(self.r.randrange(1, 8)) for _ in range(self.r.randrange(2, 7)))

    def any_kind(self):
        return self.r.choice([self.unicode, self.code, self.emoji, self.marks, self.hangul, self.spaces, self.special])

    def next(self):
        kind = self.r.choice([self.unicode, self.code, self.emoji, self.marks, self.hangul, self.word, self.spaces, self.special, self.mixed, self.mixed])
        return kind(self.r.choice([1, 2, 3, 5, 8, 20, 60]))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--tokenizer", required=True)
    arguments.add_argument("--cli", required=True)
    arguments.add_argument("--count", type=int, default=100_000)
    arguments.add_argument("--seed", type=int, default=1)
    a = arguments.parse_args()
    oracle = tokenizers.Tokenizer.from_file(a.tokenizer)
    added = [t.content for t in oracle.get_added_tokens_decoder().values()]
    strings = Strings(a.seed, added)
    wrong = size = 0
    with tempfile.TemporaryDirectory() as folder:
        rows, out = pathlib.Path(folder, "rows.jsonl"), pathlib.Path(folder, "out.jsonl")
        with rows.open("w") as file:
            for _ in range(a.count):
                file.write(json.dumps({"text": strings.next()}) + "\n")
        subprocess.run([a.cli, "tokenize", "--tokenizer", a.tokenizer, "--input", rows, "--output", out], check=True)
        with rows.open(newline="\n") as texts, out.open(newline="\n") as answers:
            for text, answer in zip(texts, answers, strict=True):
                text, answer = json.loads(text)["text"], json.loads(answer)
                size += len(text.encode())
                ids = oracle.encode(text, add_special_tokens=False).ids
                decoded = oracle.decode(ids, skip_special_tokens=False)
                if answer["ids"] != ids or answer["decoded"] != decoded:
                    wrong += 1
                    if wrong <= 10:
                        print("differs:", ascii(text[:200]), "\n  expected", ids[:20], "\n  got     ", answer["ids"][:20])
    versions = f"tokenizers {tokenizers.__version__}, Python {sys.version.split()[0]}"
    print(f"{a.count} strings, {size} bytes, seed {a.seed}: {wrong} differ ({versions})")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
