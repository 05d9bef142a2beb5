#!/usr/bin/env python3
"""Unicode data -> include/expert/text/unicode_tables.hpp.

    python3 tools/make_unicode_tables.py OUT.hpp [--check]

Needs unicodedata2 == 16.0.0 from PyPI, and perl 5.36 or newer for the Age property. With --check the data is first
compared, for every code point, with what PyPI tokenizers 0.23.3 does (it is the definition of the right ids).

That program mixes three versions of Unicode, and so do the tables: the regular expressions use 16.0, its Digits splitter
17.0, its normalisation 9.0. Canonical decompositions and combining classes never change once a code point is assigned,
so 9.0 is "16.0, restricted to the code points whose Age is at most 9.0".
"""
import subprocess
import sys

import unicodedata2 as ucd

assert ucd.unidata_version == "16.0.0", ucd.unidata_version
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
WHITE_SPACE = [*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
NUMBERS_NEW_IN_17 = [*range(0x11DE0, 0x11DEA), *range(0x16FF4, 0x16FF7)]
# \w is Alphabetic, M, Nd, Pc and the joiners. Alphabetic = L, Nl, Other_Alphabetic; the last is M but for these symbols.
ALPHABETIC_SYMBOLS = [*range(0x24B6, 0x24EA), *range(0x1F130, 0x1F14A), *range(0x1F150, 0x1F16A), *range(0x1F170, 0x1F18A)]
LETTER, NUMBER, SPACE, NUMERIC, WORD = 1, 2, 4, 8, 16
STARTER = 255  # normalisation byte of a code point of combining class 0 that NFC may change or join to what precedes


def classes():
    table = bytearray(0x110000)
    for c in POINTS:
        category = ucd.category(chr(c))
        if category[0] == "L":
            table[c] |= LETTER
        if category[0] == "N":
            table[c] |= NUMBER | NUMERIC
        if category[0] in "LM" or category in ("Nd", "Nl", "Pc"):
            table[c] |= WORD
    for points, bit in ((WHITE_SPACE, SPACE), (NUMBERS_NEW_IN_17, NUMERIC), (ALPHABETIC_SYMBOLS + [0x200C, 0x200D], WORD)):
        for c in points:
            table[c] |= bit
    return table


def normalisation():
    perl = 'for (0..0x10ffff) { next if $_ >= 0xd800 && $_ < 0xe000; print "$_\\n" if chr($_) =~ /\\p{Present_In: 9.0}/ }'
    known = {int(line) for line in subprocess.run(["perl", "-e", perl], capture_output=True, check=True).stdout.split()}
    table, decompositions, pairs = bytearray(0x110000), {}, {}
    for c in sorted(known):
        if 0xAC00 <= c < 0xD7A4:
            continue  # Hangul syllables are computed
        ch = chr(c)
        table[c] = ucd.combining(ch)
        full = ucd.normalize("NFD", ch)
        if full != ch:
            decompositions[c] = [ord(x) for x in full]
            parts = [int(x, 16) for x in ucd.decomposition(ch).split()]
            if ucd.normalize("NFC", ch) == ch:
                pairs[parts[0], parts[1]] = c
    seconds = {second for _, second in pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    for c in sorted(known):
        if table[c] == 0 and (c in seconds or ucd.normalize("NFC", chr(c)) != chr(c)):
            table[c] = STARTER
    return table, decompositions, pairs


def check(table, decompositions, pairs, combining):
    import tokenizers
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

    assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
    for pattern, bit in ((r"\p{L}", LETTER), (r"\p{N}", NUMBER), (r"\s", SPACE)):
        replace = normalizers.Replace(Regex(pattern), "--")
        wrong = [hex(c) for c in POINTS if (replace.normalize_str(chr(c)) == "--") != bool(table[c] & bit)]
        assert not wrong, (pattern, wrong[:20])
    digits = pre_tokenizers.Digits(individual_digits=True)
    wrong = [hex(c) for c in POINTS if (len(digits.pre_tokenize_str("a" + chr(c))) == 2) != bool(table[c] & NUMERIC)]
    assert not wrong, ("Digits", wrong[:20])
    tokenizer = Tokenizer(models.BPE(unk_token="?", vocab={"?": 0}, merges=[]))
    tokenizer.add_tokens([AddedToken("<>", single_word=True, normalized=False)])
    wrong = [hex(c) for c in POINTS if (1 in tokenizer.encode(chr(c) + "<>").ids) == bool(table[c] & WORD)]
    assert not wrong, ("word", wrong[:20])
    nfd, nfc = normalizers.NFD(), normalizers.NFC()
    for c in POINTS:
        if not 0xAC00 <= c < 0xD7A4:
            want = "".join(map(chr, decompositions.get(c, [c])))
            assert nfd.normalize_str(chr(c)) == want, hex(c)
        if c in decompositions:
            continue
        if combining[c] in (0, STARTER):  # never reordered
            assert nfd.normalize_str("a\u0345" + chr(c))[:2] == "a\u0345", hex(c)
        else:  # 0x334 has class 1, 0x345 class 240
            assert (nfd.normalize_str("a" + chr(c) + "\u0334")[1] == "\u0334") == (combining[c] > 1 or c == 0x334), hex(c)
            assert (nfd.normalize_str("a\u0345" + chr(c))[-1] == "\u0345") == (combining[c] < 240 or c == 0x345), hex(c)
    for (first, second), c in pairs.items():
        assert nfc.normalize_str(chr(first) + chr(second)) == chr(c), hex(c)
    print("every code point agrees with tokenizers", tokenizers.__version__)


def two_level(table, bits):
    """Smallest (shift, index, blocks) by bytes; blocks hold `bits` per code point."""
    best = None
    for shift in range(4, 10):
        size, seen, index = 1 << shift, {}, []
        for start in range(0, 0x110000, size):
            index.append(seen.setdefault(bytes(table[start : start + size]), len(seen)))
        while index and index[-1] == index[-2]:
            index.pop()  # the rest is as the last
        cost = len(index) * (1 if len(seen) <= 256 else 2) + len(seen) * size * bits // 8
        if best is None or cost < best[0]:
            best = (cost, shift, index, list(seen))
    return best[1:]


def array(out, kind, name, values):
    """As a string literal, which compilers read several times faster than a list of numbers. Its terminating zero
    is one more element than `values`; `NAME_size` is their number."""
    prefix = {"unsigned char": "", "char16_t": "u", "char32_t": "U"}[kind]
    out += [f"inline constexpr std::size_t {name}_size = {len(values)};", f"inline constexpr {kind} {name}[] ="]
    line = f'    {prefix}"'
    for value in values:
        text = "\\%o" % value if value < 0o1000 else "\\x%x" % value  # ends where the next one begins
        if len(line) + len(text) > 118:
            out.append(line + '"')
            line = f'    {prefix}"'
        line += text
    out += [line + '";']


def main():
    table = classes()
    combining, decompositions, pairs = normalisation()
    if "--check" in sys.argv:
        check(table, decompositions, pairs, combining)
    out = [
        "// Code point -> classes and normalisation data. Generated by tools/make_unicode_tables.py; do not edit.",
        "// Regular-expression classes: Unicode 16.0. `numeric`: 17.0. Normalisation: 9.0. The script says why.",
        "#pragma once",
        "#include <cstddef>",
        "",
        '#include "expert/core/config.hpp"',
        "",
        "// clang-format off",
        "namespace expert {",
        "inline namespace v0 {",
        "namespace unicode_tables {",
        "",
    ]
    combinations = sorted(set(table))
    assert len(combinations) <= 16
    shift, index, blocks = two_level(table, 4)
    kind = "unsigned char" if len(blocks) <= 256 else "char16_t"
    out.append(f"inline constexpr int class_shift = {shift};  // block size 2^{shift}; two code points per byte, low half first")
    array(out, "unsigned char", "class_combinations", combinations)
    array(out, kind, "class_index", index)
    code = {bits: i for i, bits in enumerate(combinations)}
    packed = [code[b[i]] | code[b[i + 1]] << 4 for b in blocks for i in range(0, len(b), 2)]
    array(out, "unsigned char", "class_blocks", packed)
    shift, index, blocks = two_level(combining, 8)
    kind = "unsigned char" if len(blocks) <= 256 else "char16_t"
    out.append("")
    out.append(f"inline constexpr int combining_shift = {shift};  // combining class; 255: class 0, but NFC may touch it")
    array(out, kind, "combining_index", index)
    array(out, "unsigned char", "combining_blocks", [v for b in blocks for v in b])
    out += ["", "// Full canonical decompositions: keys ascending; parts of key i are pool[begin[i]] .. pool[begin[i + 1]]."]
    keys = sorted(decompositions)
    array(out, "char32_t", "decomposition_keys", keys)
    begin, pool = [0], []
    for key in keys:
        pool += decompositions[key]
        begin.append(len(pool))
    array(out, "char16_t", "decomposition_begin", begin)
    array(out, "char32_t", "decomposition_pool", pool)
    out += ["", "// Primary composites: (first, second), ascending, and what the two become."]
    array(out, "char32_t", "pair_first", [a for a, _ in sorted(pairs)])
    array(out, "char32_t", "pair_second", [b for _, b in sorted(pairs)])
    array(out, "char32_t", "pair_values", [pairs[p] for p in sorted(pairs)])
    out += ["", "}  // namespace unicode_tables", "}  // namespace v0", "}  // namespace expert", ""]
    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write("\n".join(out))


main()
