#!/usr/bin/env python3
"""Sources whose compilation shows that every public header stands alone, fewer than there are headers. Usage: header_chains.py
INCLUDE_FOLDER OUT_FOLDER

A source may include several headers if each includes, itself or by others, all that come before it: then nothing has been read before
a header's text that it does not ask for. So the sources are chains of "is included by", as few as cover all headers."""
import re
import sys
from pathlib import Path

DIRECTIVE = re.compile(r'^\s*#\s*(if|endif|include\s*"([^"]+)")', re.MULTILINE)


def always_included(text):
    """The headers that a text includes on no condition."""
    depth, found = 0, set()
    for directive in DIRECTIVE.finditer(text):
        depth += {"if": 1, "endif": -1}.get(directive[1], 0)
        if directive[2] and depth == 0:
            found.add(directive[2])
    return found


def closure(includes):
    """{header: those that it includes} -> {header: those that it and they include}."""
    reached = {}

    def reach(header):
        if header not in reached:
            reached[header] = set()  # also where headers include each other
            for included in includes[header] & includes.keys():
                reached[header] |= {included} | reach(included)
        return reached[header]

    for header in includes:
        reach(header)
    return reached


def chains(includes):
    """{header: those that it includes} -> lists of all headers, each of which includes those before it (Dilworth: the fewest lists
    are found by the largest matching of headers with a next one)."""
    reached = closure(includes)
    bigger = {header: sorted((other for other in reached if header in reached[other]), key=lambda h: (len(reached[h]), h)) for header in reached}
    before, behind = {}, {}

    def match(header, tried):
        for other in bigger[header]:
            if other not in tried:
                tried.add(other)
                if other not in before or match(before[other], tried):
                    before[other], behind[header] = header, other
                    return True
        return False

    for header in sorted(reached):
        match(header, set())
    lists = []
    for header in sorted(reached.keys() - before.keys()):
        lists.append([header])
        while lists[-1][-1] in behind:
            lists[-1].append(behind[lists[-1][-1]])
    return lists


def main():
    include, out = map(Path, sys.argv[1:])
    includes = {path.relative_to(include).as_posix(): always_included(path.read_text(encoding="utf-8")) for path in include.rglob("*.hpp")}
    wanted = {f"{chain[-1].replace('/', '_')}.cpp": "".join(f'#include "{header}"\n' for header in chain) for chain in chains(includes)}
    out.mkdir(parents=True, exist_ok=True)
    for path in out.glob("*.cpp"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        if not (out / name).exists() or (out / name).read_text(encoding="utf-8") != text:
            (out / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
