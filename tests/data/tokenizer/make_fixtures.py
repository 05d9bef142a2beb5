#!/usr/bin/env python3
"""Makes the files beside it: four small tokenizers, trained on text that is generated here, and what PyPI tokenizers
0.23.3 and transformers 5.23.0 do with them.

    python3 tests/data/tokenizer/make_fixtures.py CHAT_TEMPLATE

CHAT_TEMPLATE is the chat_template of Qwen3's tokenizer_config.json, as text.
  qwen.json    Qwen's pattern, NFC, special tokens behind the vocabulary
  gpt2.json    ByteLevel's own pattern, merges as "a b", special tokens inside the vocabulary
  digits.json  Digits, a space before every piece, added tokens with each option
  runs.json    Digits in runs, Qwen's pattern and ByteLevel's, ignore_merges
  cases.jsonl.gz  {tokenizer, text, ids, decoded, as_text, skipped}; the last three only where they differ from text or ids;
                  without text: ids in any order and what they decode to
  chat.jsonl.gz   {messages, add_generation_prompt, text, ids}
"""
import gzip
import io
import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "tools"))
from compare_tokenizers import Strings  # noqa: E402

QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORDS = """the a of and to in is that it for was on with as be by at which or from this have not are but had his they were
one all we when your can said there use an each she do how their if will up other about out many then them these so some
her would make like him into time has look two more write go see number no way could people my than first water been call
who oil its now find long down day did get come made may part select from where table column order group join left inner
count sum average customer product price city country name date year employee salary department invoice shipment schema
query question answer return function const let number string""".split()
r = random.Random(7)
ByteLevel, Digits, Split, Sequence = (getattr(pre_tokenizers, n) for n in ("ByteLevel", "Digits", "Split", "Sequence"))


def sentence():
    w = [r.choice(WORDS) for _ in range(r.randrange(4, 14))]
    s, k = " ".join(w), r.random()
    if k < 0.2:
        s = f"SELECT {w[0]}, COUNT(*) FROM {w[1]} WHERE {w[2]} > {r.randrange(10000)} GROUP BY {w[0]} LIMIT {r.randrange(1, 100)};"
    elif k < 0.35:
        s = f"CREATE TABLE {w[0]} (\n  id INTEGER PRIMARY KEY,\n  {w[1]} TEXT NOT NULL,\n  {w[2]} NUMERIC(10, 2)\n);"
    elif k < 0.45:
        s = f"const {w[0]} = ({w[1]}) => {{ return {w[1]}.map((x) => x * {r.randrange(100)}); }};"
    elif k < 0.55:
        s = f'{{"{w[0]}": {r.randrange(1000)}, "{w[1]}": [true, null, "{w[2]}"]}}'
    elif k < 0.65:
        s = f"It's {w[0]}; they'll {w[1]}, we've {w[2]} and I'm {w[3]}. Don't {w[0]}!"
    elif k < 0.72:
        s = f"Caf\u00e9 na\u00efve \u00fcber gr\u00f6\u00dfe \u0434\u043e\u043c \u0440\u0435\u043a\u0430 \u4f60\u597d \u4e16\u754c \ud55c\uad6d\uc5b4 \u00e9t\u00e9 {w[0]}"
    return s[0].upper() + s[1:] + ("." if k >= 0.72 else "")


CORPUS = ["\n".join(sentence() for _ in range(6)) + "\n\n" for _ in range(3000)]


def train(name, pre_tokenizer, nfc, size, special, added=(), spaced_merges=False, ignore_merges=False, post=True):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if nfc:
        t.normalizer = normalizers.NFC()
    t.pre_tokenizer, t.decoder = pre_tokenizer, decoders.ByteLevel()
    if post:
        t.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = ByteLevel.alphabet()
    t.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    t.add_tokens(list(added))
    file = json.loads(t.to_str())
    if spaced_merges:
        file["model"]["merges"] = [" ".join(m) for m in file["model"]["merges"]]
    path = HERE / (name + ".json")
    path.write_text(json.dumps(file, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    return Tokenizer.from_file(str(path))


def token(content, normalized=False, **options):
    return AddedToken(content, normalized=normalized, **options)


def opened(name):
    return io.TextIOWrapper(gzip.GzipFile("", "wb", 9, open(HERE / name, "wb"), mtime=0), "utf-8", newline="\n")


def put(file, row):
    file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


def tokenizers_of_all_kinds():
    split = Split(Regex(QWEN), "isolated", False)
    yield "qwen", 2000, train(
        "qwen", Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)]), True, 1200, [],
        [token(c, special=True) for c in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
        + [token(c, special=False) for c in ("<think>", "</think>", "<tool_response>", "</tool_response>")],
    )  # fmt: skip
    special = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>"]
    yield "gpt2", 400, train("gpt2", ByteLevel(add_prefix_space=False), False, 700, special, spaced_merges=True)
    added = [
        token("<w>", single_word=True, special=False), token("<l>", lstrip=True, special=True),
        token("<r>", rstrip=True, special=False), token("re\u0301sume\u0301", True, special=False),
        token("<a><b>", special=False), token("<a>", special=True), token("b>c", special=False),
        token("\u00e9l<n>", True, special=True),
    ]  # fmt: skip
    digits = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=True)])
    yield "digits", 800, train("digits", digits, True, 600, ["<s>"], added, post=False)
    runs = Sequence([Digits(individual_digits=False), split, ByteLevel(add_prefix_space=True, use_regex=True)])
    yield "runs", 400, train("runs", runs, False, 500, [], ignore_merges=True)


def write_cases(tokenizers):
    fixed = ["", "a", " ", "\n", "'s 'S '\u017f", "Hello world", "  two  spaces  ", "tab\t\t x", "a\r\nb\r\n\r\n c", CORPUS[0]]
    fixed += ["x" * 300, "\u0301", "e\u0301\u0323 \u0323\u0301e", "\uac00\u11a8 \u1100\u1161\u11a8 \uac00\u11a7", "123 4567"]
    fixed += ["\u00b2\u00bd\u2460\u0968", "\U0001f468\u200d\U0001f469\u200d\U0001f467"]
    with opened("cases.jsonl.gz") as file:
        for name, count, t in tokenizers:
            strings = Strings(11, [x.content for x in t.get_added_tokens_decoder().values()])
            for n in range(count):
                text = fixed[n] if n < len(fixed) else (strings.next() if n % 3 else sentence())[:60]
                ids = t.encode(text, add_special_tokens=False).ids
                t.encode_special_tokens = True
                as_text = t.encode(text, add_special_tokens=False).ids
                t.encode_special_tokens = False
                row = {"tokenizer": name, "text": text, "ids": ids}
                decoded = t.decode(ids, skip_special_tokens=False)
                skipped = t.decode(ids, skip_special_tokens=True)
                row |= {"decoded": decoded} if decoded != text else {}
                row |= {"as_text": as_text} if as_text != ids else {}
                row |= {"skipped": skipped} if skipped != decoded else {}
                put(file, row)
            for _ in range(60):
                size = t.get_vocab_size() + 3
                ids = [r.randrange(size if r.random() < 0.5 else 256) for _ in range(r.randrange(1, 14))]
                put(file, {"tokenizer": name, "ids": ids, "decoded": t.decode(ids, skip_special_tokens=False)})


def content(role):
    c = r.choice([sentence(), sentence(), sentence(), "", " x", "\n\nx", "x\n", "\n", "a\n\n\nb", "  \n ", "Caf\u00e9 e\u0301"])
    if role == "assistant":
        long = "<think>\n" + c + "\n</think>\n\n" + sentence()
        c = r.choice([c, c, c, long, "<think></think>" + c, "pre<think>q</think>\nmid</think>\n\nend", "\n\n" + c])
    if role == "user" and r.random() < 0.1:
        c = "<tool_response>x</tool_response>"
    return c


def write_chats(t, template):
    chat = PreTrainedTokenizerFast(tokenizer_object=t, chat_template=template)
    turns = [["user", "assistant"]] * 4 + [["user"], ["assistant"], ["user", "assistant", "tool", "assistant"], ["tool", "tool"], ["system"]]
    with opened("chat.jsonl.gz") as file:
        for _ in range(160):
            roles = ["system"] if r.random() < 0.6 else []
            for _ in range(r.randrange(1, 5)):
                roles += r.choice(turns)
            messages, prompt = [{"role": role, "content": content(role)} for role in roles], r.random() < 0.5
            text = chat.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt, enable_thinking=False)
            ids = t.encode(text, add_special_tokens=False).ids
            put(file, {"messages": messages, "add_generation_prompt": prompt, "text": text, "ids": ids})


ALL = list(tokenizers_of_all_kinds())
write_cases(ALL)
write_chats(ALL[0][2], pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
