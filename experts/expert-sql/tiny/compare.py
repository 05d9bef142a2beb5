#!/usr/bin/env python3
"""What `expert-cli eval --json` found about several models -> one table, and answers side by side.

    compare.py base=base.eval.json expert=expert.eval.json [--answers base.jsonl expert.jsonl --show 5] [--loss base=5.1 ...]
"""
import argparse
import json

METRICS = [
    ("parse_valid", "PostgreSQL parses it"),
    ("executes", "SQLite executes it"),
    ("exact", "the reference answer"),
    ("execution_match", "the reference's result"),
]


def cell(figures):
    if not figures["n"]:
        return "not measured"
    low, high = 100 * figures["low"], 100 * figures["high"]
    return f"{100 * figures['share']:5.1f} % ({low:.1f} to {high:.1f})"


def table(evaluations, losses, group=None):
    def of(evaluation):
        return evaluation["groups"].get(group) if group else evaluation

    present = {name: of(e) for name, e in evaluations.items() if of(e)}
    width = max(24, *(len(name) + 2 for name in present))
    rows = next(iter(present.values()))["n"]
    title = f"{group or 'all rows'}, n = {rows}"
    print(f"\n{title:<26}" + "".join(f"{name:<{width}}" for name in present))
    if losses and not group:
        print(f"{'  loss of the answer':<26}" + "".join(f"{losses.get(name, '-'):<{width}}" for name in present))
    for key, words in METRICS:
        print(f"{'  ' + words:<26}" + "".join(f"{cell(figures[key]):<{width}}" for figures in present.values()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluations", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--loss", nargs="*", default=[], metavar="NAME=LOSS")
    parser.add_argument("--answers", nargs="*", default=[], metavar="NAME=FILE", help="what `expert-cli eval --output` wrote")
    parser.add_argument("--show", type=int, default=5)
    args = parser.parse_args()

    pairs = [item.split("=", 1) for item in args.evaluations]
    evaluations = {name: json.load(open(path, encoding="utf-8")) for name, path in pairs}
    losses = dict(item.split("=", 1) for item in args.loss)
    table(evaluations, losses)
    groups = sorted({group for e in evaluations.values() for group in e.get("groups", {})})
    for group in groups:
        table(evaluations, losses, group)

    answers = {}
    for item in args.answers:
        name, path = item.split("=", 1)
        answers[name] = [json.loads(line) for line in open(path, encoding="utf-8")]
    count = min((len(rows) for rows in answers.values()), default=0)
    for k in range(min(args.show, count)):
        i = k * count // args.show
        first = next(iter(answers.values()))[i]
        print(f"\n  question   {first['question']}\n  reference  {first['answer']}")
        for name, rows in answers.items():
            match = rows[i].get("eval", {}).get("execution_match")
            verdict = {True: "right", False: "wrong"}.get(match, "not measured")
            text = rows[i]["output"].strip().replace("\n", " ")
            print(f"  {name:<10} {text[:220] or '(nothing)'}   [{verdict}]")


if __name__ == "__main__":
    main()
