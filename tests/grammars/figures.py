#!/usr/bin/env python3
"""How sound a grammar is and how much of real answers it accepts, measured and written into the README of its expert, between two
markers. Usage: figures.py BIN_DIR DATA_DIR TOKENIZER [EXPERT...] [--share F]; DATA_DIR has EXPERT/*.jsonl.gz with a field "answer",
TOKENIZER is a tokenizer.json, --share draws less than the full counts. Standard library only."""
import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
EXPERTS = {  # name -> language of the strict parser, directory of the answers, sentences to draw, texts from random logits
    "sql": ("sql-postgres", "sql", 100_000, 1_000),
    "json": ("json", "json", 100_000, 1_000),
    "typescript": ("typescript", "typescript", 10_000, 1_000),
    "neo4j": ("cypher", "cypher", 10_000, 1_000),
}
BEGIN, END = "<!-- figures.py: begin -->", "<!-- figures.py: end -->"


def last_line(script, *arguments):
    done = subprocess.run([sys.executable, "-B", HERE / script, *map(str, arguments)], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if ".gbnf: " in line]
    if not lines:
        sys.exit(f"{script} failed: {done.stderr}")
    return lines[-1].split(".gbnf: ", 1)[1]


def random_logits(binaries, language, grammar, tokenizer, count):
    drawn = subprocess.run([binaries / "random_texts", grammar, tokenizer, str(count), "256", "1"], capture_output=True, check=False)
    if drawn.returncode != 0:
        sys.exit(f"random_texts failed, or fewer than half of its texts end by themselves: {drawn.stderr.decode()}")
    rows = [json.loads(line) for line in drawn.stdout.decode().splitlines()]
    rounds = [json.loads(line) for line in drawn.stderr.decode().splitlines()]
    texts = "".join(json.dumps({"text": row["text"]}) + "\n" for row in rows)
    judged = subprocess.run([binaries / "strict_parse", language], input=texts.encode(), capture_output=True, check=True)
    verdicts = [json.loads(line) for line in judged.stdout.decode().splitlines()]
    valid = sum(verdict["valid"] for verdict in verdicts)
    last, alone = rounds[-1], [r for r in rounds if r["way"] == 0][-1]
    raised = f"the end token raised by {last['end']:g}"
    if last["way"]:
        raised += f" (by itself: {alone['finished']} end) and the next token of the shortest end by {last['way']:g}"
    return (f"{raised}: {last['finished']} of {last['of']} texts of at most 256 tokens end by themselves, {last['of'] - last['finished']} by the shortest end; "
            f"{valid} parse")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("experts", nargs="*", default=list(EXPERTS))
    parser.add_argument("--share", type=float, default=1)
    flags = parser.parse_args()
    for name in flags.experts:
        language, folder, sentences, texts = EXPERTS[name]
        grammar = SOURCE / f"experts/expert-{name}/grammar.gbnf"
        answers = sorted((flags.data / folder).glob("*.jsonl.gz"))
        lines = [
            f"{BEGIN}\n| `grammar.gbnf`, {datetime.date.today().isoformat()} | |\n|---|---|",
            f"| drawn from the grammar | {last_line('soundness.py', flags.bin, language, grammar, int(flags.share * sentences))} |",
            f"| answers of {', '.join(path.name for path in answers)} | {last_line('coverage.py', flags.bin, grammar, language, *answers)} |",
            f"| random logits | {random_logits(flags.bin, language, grammar, flags.tokenizer, int(flags.share * texts))} |",
            END,
        ]
        readme = SOURCE / f"experts/expert-{name}/README.md"
        text = readme.read_text()
        head, _, rest = text.partition(BEGIN)
        readme.write_text(head + "\n".join(lines) + rest.partition(END)[2])
        print("\n".join(lines[1:-1]), flush=True)


if __name__ == "__main__":
    main()
