#!/usr/bin/env python3
"""Random sentences of a grammar, judged by the strict parser of its language: every one must parse, and every production must
have been drawn. Usage: soundness.py BIN_DIR LANGUAGE GRAMMAR COUNT [--seed N] [--least N] [--counters] [--show N]
Exit code 1 where a sentence does not parse or a production was drawn less often than --least. Standard library only."""
import argparse
import collections
import json
import subprocess
import sys
from pathlib import Path

# What no context-free grammar can rule out. Counted and shown, not excused in silence. What generation rules out besides the
# grammar is not drawn.
BEYOND_GRAMMAR = {"sql-sqlite": ("duplicate column name", "duplicate WITH table name"), "typescript": ("TS1117", "TS1118", "TS1119")}


def run(command, stdin=None):
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed: {done.stderr.decode()}")
    return done.stdout.decode().split("\n")[:-1], done.stderr.decode()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin", type=Path)
    parser.add_argument("language")
    parser.add_argument("grammar")
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=int, default=20)
    parser.add_argument("--counters", action="store_true")
    parser.add_argument("--show", type=int, default=10)
    flags = parser.parse_args()

    rows, counters = run([str(flags.bin / "gbnf_tool"), "draw", flags.grammar, str(flags.count), str(flags.seed), str(flags.least)]
                         + ["names-once"] * (flags.language == "json"))
    verdicts, _ = run([str(flags.bin / "strict_parse"), flags.language], "\n".join(rows).encode() + b"\n")
    if len(rows) != flags.count or len(verdicts) != flags.count:
        sys.exit(f"{len(rows)} sentences, {len(verdicts)} verdicts, expected {flags.count}")
    beyond, refused, shown = collections.Counter(), 0, 0
    for row, verdict in zip(map(json.loads, rows), map(json.loads, verdicts)):
        if verdict["valid"]:
            continue
        known = [m for m in BEYOND_GRAMMAR.get(flags.language, ()) if m in verdict["message"]]
        if known:
            beyond[known[0]] += 1
            continue
        refused += 1
        if shown < flags.show:
            shown += 1
            print(f"refused: {row['text']!r}\n    {verdict['message']} (offset {verdict['offset']})")
    rules = json.loads(counters)
    seldom = [rule for rule in rules if rule["least"] < flags.least]
    if flags.counters:
        for rule in rules:
            print(f"{rule['rule']:30} {rule['alternatives']:4} alternatives, each drawn at least {rule['least']} times")
    sizes = sorted(len(json.loads(row)["text"]) for row in rows)
    print(f"{flags.grammar}: {flags.count - refused - sum(beyond.values())} of {flags.count} sentences parse, {refused} do not"
          + "".join(f", {n} {message}" for message, n in beyond.items())
          + f"; {sum(rule['alternatives'] for rule in rules)} alternatives in {len(rules)} rules, the rarest drawn "
          f"{min(rule['least'] for rule in rules)} times; median length {sizes[len(sizes) // 2]}, longest {sizes[-1]}")
    for rule in seldom:
        print(f"drawn less than {flags.least} times: {rule['rule']} ({rule['least']})")
    return 1 if refused or seldom else 0


if __name__ == "__main__":
    sys.exit(main())
