#!/usr/bin/env python3
"""Writes the rules for names into GBNF files: a name is any word but the reserved ones, which GBNF cannot say by itself.

A file says what it wants in a comment, in the words of the line below it, and the rules follow up to the next empty line:

    # names column: all any as        the rule `column`, for words that are none of these, in upper or lower case
    # names Column: all any as        the same where case counts

Usage: make_gbnf_names.py [--check] FILE...   rewrites the files; --check only says which are not up to date."""
import re
import sys
from pathlib import Path

DIRECTIVE = re.compile(r"^# names(?P<exact>-exact)? (?P<rule>[\w-]+)(?: first (?P<first>\[.*?\]) then (?P<then>\[.*?\]))?:(?P<words>(?:.*\n)(?:#   .*\n)*)(?P<rules>(?:[^\n]+\n)*)", re.MULTILINE)


def split_class(text):
    """[a-zA-Z_] -> the ASCII characters in it, and what else it has as GBNF text."""
    inner = text[1:-1]
    ascii_part, other, i = set(), "", 0
    while i < len(inner):
        if inner[i] == "\\":
            size = {"u": 6, "x": 4}.get(inner[i + 1], 2)
            escape = inner[i:i + size]
            if inner[i + size:i + size + 1] == "-":
                escape = inner[i:i + 2 * size + 1]
            other, i = other + escape, i + len(escape)
        elif inner[i + 1:i + 2] == "-" and i + 2 < len(inner):
            ascii_part |= {chr(c) for c in range(ord(inner[i]), ord(inner[i + 2]) + 1)}
            i += 3
        else:
            ascii_part.add(inner[i])
            i += 1
    return ascii_part, other


def spell_class(characters, other):
    """The characters as ranges."""
    out, codes = "", sorted(ord(c) for c in characters)
    while codes:
        n = 1
        while n < len(codes) and codes[n] == codes[0] + n:
            n += 1
        first, last = chr(codes[0]), chr(codes[n - 1])
        out += first if n == 1 else first + last if n == 2 else f"{first}-{last}"
        codes = codes[n:]
    return f"[{out}{other}]"


def rules_for(rule, words, first, then, exact):
    """The automaton of all words but these: a state is the set of endings that would complete a reserved word."""
    tail = f"{rule}-end"
    numbers, lines = {}, []
    start = frozenset(words)
    todo = [start]
    numbers[start] = rule
    for state in todo:
        own, other = split_class(first if state is start else then)
        branches, taken = [], set()
        for letter in sorted({word[0] for word in state if word}):
            both = {letter} if exact else {letter.lower(), letter.upper()}
            target = frozenset(word[1:] for word in state if word[:1] == letter)
            if target not in numbers:
                numbers[target] = f"{rule}-{len(numbers)}"
                todo.append(target)
            branches.append(f"{spell_class(both, '')} {numbers[target]}")
            taken |= both
        branches.insert(0, f"{spell_class(own - taken, other)} {tail}")
        body = " | ".join(branches)
        if state is not start and "" not in state:
            body = f"({body})?"
        lines.append(f"{numbers[state]} ::= {body}\n")
    return "".join(lines) + f"{tail} ::= {then}*\n"


def expand(match):
    words = re.sub(r"#", " ", match["words"]).split()
    words = words if match["exact"] else [word.lower() for word in words]
    first, then = match["first"] or "[a-zA-Z_]", match["then"] or "[a-zA-Z0-9_]"
    head = match[0][:len(match[0]) - len(match["rules"])]
    return head + rules_for(match["rule"], words, first, then, bool(match["exact"]))


def main(arguments):
    check = "--check" in arguments
    stale = []
    for name in arguments:
        if name == "--check":
            continue
        text = Path(name).read_text(encoding="utf-8")
        wanted = DIRECTIVE.sub(expand, text)
        if wanted != text:
            stale.append(name)
            if not check:
                Path(name).write_text(wanted, encoding="utf-8")
    if check and stale:
        print("Not up to date, run tools/make_gbnf_names.py:", *stale)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
