#!/usr/bin/env python3
"""The share of reference answers that a grammar accepts. Usage: coverage.py BIN_DIR GRAMMAR LANGUAGE ROWS... [--field answer] [--show N]
ROWS: JSON lines, plain or gzip. An answer that the strict parser of LANGUAGE refuses is counted apart, since no sound grammar
can accept it; give "-" as LANGUAGE to leave that out. Standard library only."""
import argparse
import gzip
import json
import subprocess
import sys
from pathlib import Path


def rows_of(path, field):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)[field] for line in lines]


def judged(command, texts):
    rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    done = subprocess.run(command, input=rows.encode(), capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed: {done.stderr.decode()}")
    return [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin", type=Path)
    parser.add_argument("grammar")
    parser.add_argument("language")
    parser.add_argument("rows", type=Path, nargs="+")
    parser.add_argument("--field", default="answer")
    parser.add_argument("--show", type=int, default=5)
    flags = parser.parse_args()
    texts = [text for path in flags.rows for text in rows_of(path, flags.field)]
    accepted = judged([str(flags.bin / "gbnf_tool"), "accept", flags.grammar], texts)
    strict = judged([str(flags.bin / "strict_parse"), flags.language], texts) if flags.language != "-" else [{"valid": True}] * len(texts)
    good = [(text, verdict) for text, verdict, parse in zip(texts, accepted, strict) if parse["valid"]]
    refused = [(text, verdict["reach"]) for text, verdict in good if not verdict["accepted"]]
    for text, reach in refused[:flags.show]:
        print(f"refused: {text[max(0, reach - 80):reach]!r} <here> {text[reach:reach + 40]!r}")
    by_grammar = sum(verdict["accepted"] for verdict in accepted)
    print(f"{flags.grammar}: {by_grammar} of {len(texts)} answers ({100 * by_grammar / len(texts):.2f} %); "
          f"{len(texts) - len(good)} are refused by the strict parser, of the others {100 * (1 - len(refused) / len(good)):.2f} % are accepted")


if __name__ == "__main__":
    main()
