"""Seeded texts for the grammar bench: 60 SELECT statements, 60 JSON objects and 40 instances of a schema, each with its
token ids. Usage: make_texts.py TOKENIZER_JSON OUT_DIR. Writes select.jsonl, json.jsonl, schema.jsonl (rows {text, ids}),
and vocabulary.bin: uint32 count, then per id a uint16 length and the bytes (none for added tokens)."""
import json
import random
import struct
import sys
from pathlib import Path

from tokenizers import Tokenizer

TABLES = {"customers": ["id", "name", "city", "email", "created_at"], "orders": ["id", "customer_id", "total", "status"],
          "products": ["sku", "title", "unit_price", "category_id"], "employees": ["emp_no", "first_name", "salary", "dept"]}
WORDS = ["north", "Berlin", "pending", "O''Hara", "2024-05-01", "A%", "größte", "shipped", "%wood%", "x"]


class Select:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def statement(self, depth=0):
        r = self.r
        table, columns = r.choice(list(TABLES.items()))
        self.columns, alias = columns, table[0]
        text = "SELECT " + ("DISTINCT " if r.random() < .1 else "")
        text += "*" if r.random() < .1 else ", ".join(self.item(depth) for _ in range(r.randint(1, 4)))
        text += f" FROM {table}" + (f" AS {alias}" if r.random() < .3 else "")
        if r.random() < .4:
            other = r.choice(list(TABLES))
            text += f"{r.choice(['', ' LEFT', ' INNER'])} JOIN {other} {other[0]}2 ON {alias}.{r.choice(columns)} = {other[0]}2.{TABLES[other][0]}"
        if r.random() < .7:
            text += " WHERE " + self.condition(depth)
        if r.random() < .3:
            text += " GROUP BY " + r.choice(columns) + (f" HAVING count(*) > {r.randint(1, 99)}" if r.random() < .5 else "")
        if r.random() < .4:
            text += " ORDER BY " + r.choice(columns) + r.choice([" DESC", " ASC", ""])
        if r.random() < .3:
            text += f" LIMIT {r.randint(1, 500)}"
        return text + (";" if depth == 0 and r.random() < .5 else "")

    def item(self, depth):
        return self.expression(depth) + (f" AS {self.r.choice(['total', 'n', 'avg_price', 'label'])}" if self.r.random() < .4 else "")

    def expression(self, depth):
        r, k = self.r, self.r.random()
        if k < .5:
            return r.choice(self.columns)
        if k < .7:
            return f"{r.choice(['sum', 'max', 'COALESCE', 'lower', 'avg'])}({r.choice(self.columns)})"
        if k < .8:
            return f"{r.choice(self.columns)} {r.choice('+-*')} {r.randint(1, 1000)}"
        if k < .9:
            return "'" + r.choice(WORDS) + "'"
        if depth < 2:
            return f"CASE WHEN {self.condition(depth + 1)} THEN {r.choice(self.columns)} ELSE {r.randint(0, 9)}.{r.randint(0, 99)} END"
        return str(r.randint(0, 9999))

    def condition(self, depth):
        r, k = self.r, self.r.random()
        column = r.choice(self.columns)
        if k < .15:
            return self.condition(depth + 1) + r.choice([" AND ", " OR "]) + self.condition(depth + 1)
        if k < .25 and depth < 2:
            columns = self.columns
            text = f"{column} IN ({self.statement(depth + 1)})"
            self.columns = columns
            return text
        if k < .4:
            return f"{column} LIKE '{r.choice(WORDS)}'"
        if k < .5:
            return f"{column} BETWEEN {r.randint(0, 9)} AND {r.randint(10, 99)}"
        if k < .6:
            return column + r.choice([" IS NULL", " IS NOT NULL"])
        return f"{column} {r.choice(['=', '<', '>=', '<>'])} {self.expression(depth + 1)}"


def value(r, depth=0):
    k = r.random()
    if depth < 3 and k < .3:
        return {r.choice(["id", "name", "tags", "first_name", "price", "größe", "nested", "ok"]) + str(i) * (i > 0): value(r, depth + 1)
                for i in range(r.randint(0, 5))}
    if depth < 3 and k < .5:
        return [value(r, depth + 1) for _ in range(r.randint(0, 5))]
    return r.choice([r.randint(-10**6, 10**6), round(r.random() * 1000, 3), True, False, None, "", "plain words in a row",
                     'with "quotes" and \\ signs', "日本語 and é", "https://example.com/a?b=c", "line\nbreak"])


def instance(r):
    return {"name": r.choice(["expert-sql", "expert-json", "größe"]), "version": f"{r.randint(0, 9)}.{r.randint(0, 20)}.0",
            "kind": r.choice(["lora", "dora", "none"]), "rank": r.randint(1, 256), "dropout": round(r.random(), 2),
            "targets": [r.choice(["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"]) for _ in range(r.randint(1, 5))],
            "rope": {"type": r.choice(["default", "yarn"]), "factor": float(r.randint(1, 8))}, "enabled": r.random() < .5,
            "notes": r.choice(["", "trained on\ttables", "short", "uses \"quotes\" and 日本語", "a longer line of plain words without any point"])}


def main():
    tokenizer, out = Tokenizer.from_file(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    r = random.Random(7)
    objects = []
    while len(objects) < 60:
        v = value(r)
        if isinstance(v, dict) and 40 < len(json.dumps(v)) < 600:
            objects.append(json.dumps(v, ensure_ascii=False, indent=r.choice([None, None, 2])))
    texts = {"select": [Select(s).statement() for s in range(60)], "json": objects,
             "schema": [json.dumps(instance(r), ensure_ascii=False, separators=(",", ":")) for _ in range(40)]}
    for name, rows in texts.items():
        with open(out / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for text in rows:
                file.write(json.dumps({"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids}) + "\n")
    byte_of = byte_alphabet()
    data = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    rows = [b""] * 151936
    for token, i in data["model"]["vocab"].items():
        rows[i] = bytes(byte_of[c] for c in token)
    with open(out / "vocabulary.bin", "wb") as file:
        file.write(struct.pack("<I", len(rows)))
        for row in rows:
            file.write(struct.pack("<H", len(row)) + row)


def byte_alphabet():
    """GPT-2's: printable bytes stand for themselves, the others for characters from U+0100 on."""
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


if __name__ == "__main__":
    main()
