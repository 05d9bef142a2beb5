#!/usr/bin/env python3
"""What no learning reaches: the answer of the most similar training question, with its names and literals replaced.

    nearest_neighbour.py --train train.jsonl.gz --input test.jsonl --output answers.jsonl

Names of the row's own schema, numbers and dates are masked in both questions; the most similar masked training question
(shared words over all words, as multisets) gives its answer, in which the k-th table, column, number and value that the
training question mentions becomes the k-th one of the new question.
"""
import argparse
import collections
import gzip
import json
import re

TOKEN = re.compile(r"\d{4}-\d\d-\d\d|\d+|\w+")


def schema_names(context):
    tables, columns = [], []
    for table, body in re.findall(r"CREATE TABLE (\w+) \((.*?)\)(?:;|$)", context):
        tables.append(table)
        columns += re.findall(r"(\w+) (?:INT|TEXT|DATE)\b", body)
    return tables, columns


def table_of(word, tables):
    """The table that a word names, in the singular or a regular plural."""
    for table in tables:
        if word in (table, table + "s", table + "es") or (table.endswith("y") and word == table[:-1] + "ies"):
            return table
    return None


def masked(row, is_value):
    """The question's words with names masked, and what stood there, by kind, in order."""
    tables, columns = schema_names(row["context"])
    words, found = [], collections.defaultdict(list)
    for word in TOKEN.findall(row["question"]):
        lower = word.lower()
        if table_of(lower, tables):
            kind, name = "<table>", table_of(lower, tables)
        elif lower in columns:
            kind, name = "<column>", lower
        elif word[0].isdigit():
            kind, name = "<number>", word
        elif is_value(word):
            kind, name = "<value>", word
        else:
            words.append(lower)
            continue
        words.append(kind)
        if name not in found[kind]:
            found[kind].append(name)
    return words, found


def replace(answer, old, new):
    """The answer with the names of one question in the places of those of another, all at once."""
    become = {}
    for kind, names in old.items():
        for name, other in zip(names, new.get(kind, [])):
            become[name] = other
            if kind == "<table>":
                become[name + "_id"] = other + "_id"
    return re.sub(r"\d{4}-\d\d-\d\d|\w+", lambda found: become.get(found.group(), found.group()), answer)


def read(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as rows:
        return [json.loads(line) for line in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()

    templates = {}  # masked question -> (names, answer); the first of equal ones stands for all
    known = collections.Counter()
    for row in read(args.train):
        values = set(re.findall(r"'(\w+)'", row["answer"]))
        words, names = masked(row, values.__contains__)
        known.update(set(words))
        templates.setdefault(" ".join(words), (words, names, row["answer"]))
    postings = collections.defaultdict(list)  # word -> (template, how often it has the word)
    lengths = []
    entries = list(templates.values())
    for index, (words, _, _) in enumerate(entries):
        lengths.append(len(words))
        for word, count in collections.Counter(words).items():
            postings[word].append((index, count))

    with open(args.output, "w", encoding="utf-8") as out:
        for row in read(args.input):
            # A word that training questions do not use as wording is taken for a value.
            words, names = masked(row, lambda word: known[word.lower()] < 3)
            shared = collections.Counter()
            for word, count in collections.Counter(words).items():
                for index, other in postings[word]:
                    shared[index] += min(count, other)
            best = max(shared, key=lambda i: (shared[i] / (lengths[i] + len(words) - shared[i]), -i))
            _, old, answer = entries[best]
            out.write(json.dumps({**row, "output": replace(answer, old, names)}) + "\n")


if __name__ == "__main__":
    main()
