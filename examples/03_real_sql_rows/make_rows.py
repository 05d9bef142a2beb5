#!/usr/bin/env python3
"""SQL rows -> the inputs of run.sh: text for the base, rows for the expert, questions for both.

base.jsonl.gz    {"text"}: schema, question and SQL in four forms, none of them the expert's prompt, nor any in which the
                 answer follows a question in a chat.
expert.jsonl.gz  {"question", "context", "answer"}: the expert's rows; `train` renders them with its chat template.
valid.jsonl      the first rows of the validation split, for both models under the expert's prompt.
valid_base.jsonl the same rows with a {"prompt"}, which is asked instead: the form closest to what the base has read.
"""
import argparse
import gzip
import json
import random
from pathlib import Path

DESCRIBE = "<|im_start|>user\nDescribe this SQL.\n{answer}<|im_end|>\n<|im_start|>assistant\n{question}<|im_end|>\n"
FORMS = [
    (0.40, "{context};\n{answer};\n-- {question}"),
    (0.25, "-- {question}\n{context};\n{answer};"),
    (0.25, "{context};\n-- {question}\n{answer};"),
    (0.10, DESCRIBE),
]


def read(path):
    with gzip.open(path, "rt", encoding="utf-8") as rows:
        return [json.loads(line) for line in rows]


def write(path, rows):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"{path}: {len(rows)} rows")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sql", required=True, help="folder with train.jsonl.gz and valid.jsonl.gz")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--valid-rows", type=int, default=400)
    parser.add_argument("--base-rows", type=int, help="texts for the base; default: one for each training row")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    choose = random.Random(args.seed)

    train = [row for row in read(f"{args.sql}/train.jsonl.gz") if row["pg_ok"]]
    choose.shuffle(train)
    forms, weights = [form for _, form in FORMS], [weight for weight, _ in FORMS]
    texts = [{"text": choose.choices(forms, weights)[0].format(**row)} for row in train[: args.base_rows]]
    write(args.out / "base.jsonl.gz", texts)
    write(args.out / "expert.jsonl.gz", [{k: row[k] for k in ("question", "context", "answer")} for row in train])

    valid = read(f"{args.sql}/valid.jsonl.gz")[: args.valid_rows]
    kept = ("id", "question", "context", "answer", "source", "dbs")
    write(args.out / "valid.jsonl", [{k: row[k] for k in kept} for row in valid])
    text = "{context};\n-- {question}\n"
    write(args.out / "valid_base.jsonl", [{"prompt": text.format(**r), **{k: r[k] for k in kept}} for r in valid])


if __name__ == "__main__":
    main()
