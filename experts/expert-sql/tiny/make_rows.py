#!/usr/bin/env python3
"""A seed -> schema, question and PostgreSQL rows: the expert's training rows, held-out rows in four groups, and the
base's text. Nothing but the standard library and the words below; the same seed gives the same bytes.

    make_rows.py train --out train.jsonl.gz            {"question", "context", "answer"}
    make_rows.py test --out test.jsonl                 the same with group, two database fillings, wordings, composition
    make_rows.py base --out base.jsonl.gz              texts of schemas, statements and sentences, never question -> SQL
    make_rows.py native --out native.jsonl             the test rows as the prompt that serves the base best
    make_rows.py overlap                               what the training rows share with the test rows

Groups of the test, none of whose table names or column sets occur in the training rows:
    schemas       seen wordings and seen compositions on tables that only the base has read about
    wordings      at least one wording that no training row has
    compositions  a combination of clauses that no training row has
    nouns         table names that no text contains, the base's included
"""
import argparse
import gzip
import json
import re
import sqlite3
import sys

TRAIN_SEED, TEST_SEED, BASE_SEED = 1, 2, 3


class TooSmall(Exception):
    """There is less to choose from than is wanted."""


class Random:
    """splitmix64: the same numbers under every version of Python."""

    def __init__(self, seed):
        self.state = seed * 0xD1342543DE82EF95 + 1 & 0xFFFFFFFFFFFFFFFF

    def next(self):
        self.state = self.state + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        z = (z ^ z >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        return z ^ z >> 31

    def below(self, n):
        return self.next() % n

    def between(self, low, high):
        return low + self.below(high - low + 1)

    def chance(self, share):
        return self.next() < share * 2**64

    def choice(self, items):
        if not items:
            raise TooSmall
        return items[self.below(len(items))]

    def sample(self, items, n):
        rest = list(items)
        if len(rest) < n:
            raise TooSmall
        return [rest.pop(self.below(len(rest))) for _ in range(n)]

    def weighted(self, pairs):
        at = self.below(sum(weight for _, weight in pairs))
        for item, weight in pairs:
            if at < weight:
                return item
            at -= weight
        raise AssertionError


# ---- words -------------------------------------------------------------------------------------------------------------
# In the expert's training rows; in the base's text only; in no text.
TRAIN_NOUNS = (
    "pilot student book river hotel bridge doctor garden camera ticket singer farm engine museum planet recipe lawyer "
    "lamp harbor novel tractor painter island phone coach vaccine mountain server carpet journal clinic stadium wallet "
    "rocket teacher bakery"
).split()
HELD_OUT_NOUNS = (
    "driver house movie forest castle nurse market printer runner ship album tower violin orchard satellite writer "
    "airport dentist"
).split()
UNSEEN_NOUNS = "glacier monkey tunnel basket lantern falcon quarry kettle".split()
PLURALS = {"bakery": "bakeries", "library": "libraries", "quarry": "quarries", "coach": "coaches"}

TEXT_COLUMNS = (
    "name city country color status title language brand owner style region category material genre district "
    "department nickname shape flavor level theme climate"
).split()
NUMBER_COLUMNS = (
    "age price weight height score salary capacity distance rating budget speed length width depth population "
    "temperature revenue duration quantity power volume area floors pages wins losses visitors goals members seats"
).split()
DATE_COLUMNS = "founded opened created updated released signed".split()
SYNONYMS = {
    "city": "town",
    "country": "nation",
    "price": "cost",
    "salary": "pay",
    "score": "points",
    "weight": "mass",
    "color": "paint",
    "owner": "holder",
    "capacity": "room",
    "status": "state",
    "brand": "maker",
    "revenue": "income",
    "speed": "pace",
    "category": "kind",
    "duration": "time",
    "quantity": "amount",
    "district": "quarter",
    "nickname": "alias",
    "temperature": "heat",
    "members": "people",
}
VALUES = (
    "Oslo Lima Cairo Delhi Paris Quito Tokyo Milan Dover Seoul red blue green black white amber silver golden active "
    "closed pending broken north south east west modern classic rural urban steel wood glass cotton stone Anna Boris "
    "Clara David Elena Felix Greta Hugo Irene Jonas Karla Lukas Marta Nils Olga Peter Rosa Simon Tanja Viktor"
).split()
SYLLABLES = "ba ce di fo gu ha ke li mo nu pa re si to vu wa xe yo za bri clo dra fle gro pla ste tri".split()


def plural(noun):
    return PLURALS.get(noun, noun + "s")


CONSONANTS = "b c d f g h j k l m n p r s t v w z br ch cl dr gl gr pl sh st th tr nd nt rk ck".split()


def made_up(random):
    """A word that is none: two or three syllables, or letters of which only the alternation is regular."""
    if random.chance(0.5):
        return "".join(random.choice(SYLLABLES) for _ in range(random.between(2, 3)))
    word = "".join(random.choice(CONSONANTS) + random.choice("aeiouy") for _ in range(random.between(1, 3)))
    word += random.choice(["n", "r", "l", "t", "ck", "ster", "m", "nk", "d"])
    return word + "o" if word in ("for", "not", "set", "then", "limit", "check") else word  # SQL's own words


def some_nouns(random, known, share):
    """The known nouns, or in a share of the rows two made-up ones, so that a strange word is copied piece by piece."""
    if not random.chance(share):
        return known
    first, second = made_up(random), made_up(random)
    return [first, second if second != first else second + "n"]


# ---- schemas -----------------------------------------------------------------------------------------------------------
class Table:
    def __init__(self, noun, columns, parent=None):
        self.noun, self.columns, self.parent = noun, columns, parent  # columns: {name: TEXT | INT | DATE}

    def of_type(self, *types):
        return [name for name, kind in self.columns.items() if kind in types]

    def ddl(self):
        parts = ["id INT PRIMARY KEY"] + [f"{name} {kind}" for name, kind in self.columns.items()]
        if self.parent:
            parts.append(f"{self.parent}_id INT REFERENCES {self.parent}(id)")
        return f"CREATE TABLE {self.noun} ({', '.join(parts)})"

    def column_set(self):
        return " ".join(sorted(self.columns))


def draw_table(random, noun, parent=None):
    size = random.weighted([(3, 3), (4, 4), (5, 3), (6, 2), (7, 1), (8, 1), (9, 1)])
    texts = random.between(1, min(size - 1, 4))
    dates = 1 if size - texts > 1 and random.chance(0.25) else 0
    first = "name" if random.chance(0.6) else random.choice(TEXT_COLUMNS)
    columns = {first: "TEXT"}
    for name in random.sample([c for c in TEXT_COLUMNS if c != first], texts - 1):
        columns[name] = "TEXT"
    for name in random.sample(NUMBER_COLUMNS, size - texts - dates):
        columns[name] = "INT"
    for name in random.sample(DATE_COLUMNS, dates):
        columns[name] = "DATE"
    order = list(columns)
    rest = random.sample(order[1:], len(order) - 1)
    return Table(noun, {name: columns[name] for name in [first] + rest}, parent)


def draw_schema(random, nouns):
    """One table, or two of which the first refers to the second."""
    if random.chance(0.4):
        return [draw_table(random, random.choice(nouns))]
    child, parent = random.sample(nouns, 2)
    return [draw_table(random, child, parent), draw_table(random, parent)]


def context_of(schema, random):
    tables = schema if random.chance(0.5) else schema[::-1]
    return "; ".join(table.ddl() for table in tables)


# ---- wordings ----------------------------------------------------------------------------------------------------------
# The last of each is held out: no training row of the expert has it, the rows of the group `wordings` do.
WORDINGS = {
    "lead": ["Show", "List", "Find", "Give", "Display"],
    "proj": [
        "{lead} the {cols} of all {ts}{cond}{tail}.",
        "{lead} the {cols} of the {ts}{cond}{tail}.",
        "What are the {cols} of {ts}{cond}{tail}?",
        "{lead} {cols} for the {ts}{cond}{tail}.",
        "I need the {cols} of every {t}{cond}{tail}.",
    ],
    "star": [
        "{lead} all {ts}{cond}{tail}.",
        "{lead} everything about the {ts}{cond}{tail}.",
        "{lead} the {ts}{cond}{tail}.",
        "{lead} all data of the {ts}{cond}{tail}.",
    ],
    "count": [
        "How many {ts} are there{cond}?",
        "Count the {ts}{cond}.",
        "What is the number of {ts}{cond}?",
        "{lead} the number of {ts}{cond}.",
        "Tell me how many {ts} exist{cond}.",
    ],
    "distinct": [
        "{lead} the different {cols} values of the {ts}{cond}.",
        "What are the distinct {cols} values of {ts}{cond}?",
        "{lead} the unique {cols} values of all {ts}{cond}.",
        "{lead} the {cols} values of {ts}{cond} without duplicates.",
    ],
    "cdistinct": [
        "How many different {cols} values are there{among}?",
        "Count the distinct {cols} values{among}.",
        "What is the number of unique {cols} values{among}?",
        "Tell me how many different {cols} values exist{among}.",
    ],
    "agg": [
        "What is the {agg} of {ts}{cond}?",
        "{lead} the {agg} of all {ts}{cond}.",
        "{lead} the {agg} of the {ts}{cond}.",
        "Compute the {agg} of the {ts}{cond}.",
        "I need the {agg} of all {ts}{cond}.",
    ],
    "AVG": ["average {m}", "mean {m}", "typical {m}"],
    "SUM": ["total {m}", "sum of the {m}", "overall {m}"],
    "MAX": ["highest {m}", "maximum {m}", "largest {m}", "greatest {m}"],
    "MIN": ["lowest {m}", "minimum {m}", "smallest {m}", "least {m}"],
    "group": [
        "How many {ts}{cond} are there for each {key}{having}?",
        "Count the {ts}{cond} per {key}{having}.",
        "{lead} the number of {ts}{cond} for each {key}{having}.",
        "Tell me how many {ts}{cond} exist per {key}{having}.",
    ],
    "groupagg": [
        "What is the {agg} of {ts}{cond} for each {key}{having}?",
        "{lead} the {agg} of the {ts}{cond} per {key}{having}.",
        "{lead} each {key} with the {agg} of its {ts}{cond}{having}.",
        "Compute the {agg} of the {ts}{cond} by {key}{having}.",
    ],
    "having": [
        ", only where there are {P} {ts}",
        ", keeping those with {P} {ts}",
        ", if it has {P} {ts}",
        ", provided there are {P} {ts}",
    ],
    "havagg": [", only where it is {P}", ", keeping those with {P}", ", if it is {P}", ", provided it is {P}"],
    "join": [
        "{lead} the {a} of the {ts} and the {b} of their {p}{cond}{tail}.",
        "For each {t}, {low} its {a} and the {b} of its {p}{cond}{tail}.",
        "What are the {a} of the {ts} and the {b} of their {p}{cond}{tail}?",
        "I need the {a} of each {t} and the {b} of its {p}{cond}{tail}.",
    ],
    "joingroup": [
        "{lead} the {b} of each {p} and its number of {ts}{cond}.",
        "How many {ts} does each {p} {b} have{cond}?",
        "Count the {ts} for each {b} of the {ps}{cond}.",
        "For every {b} of a {p}, tell me how many {ts} exist{cond}.",
    ],
    "joingroupagg": [
        "{lead} the {b} of each {p} and the {agg} of its {ts}{cond}.",
        "What is the {agg} of the {ts} for each {b} of the {ps}{cond}?",
        "{lead} the {agg} of the {ts} per {p} {b}{cond}.",
        "For every {b} of a {p}, compute the {agg} of its {ts}{cond}.",
    ],
    "some": [" that have a {t}", " that have at least one {t}", " with some {t}", " that own a {t}"],
    "no": [" that have no {t}", " without any {t}", " that do not have a {t}", " that lack a {t}"],
    "whose": [" whose {t} has {m} {P}", " whose {t} has a {m} that is {P}", " with a {t} that has {m} {P}", " that have a {t} with {m} {P}"],
    "union": [
        "{lead} the {cols} values of the {ts} and the {ps} together.",
        "{lead} every {cols} of a {t} or a {p}.",
        "What are the {cols} values of {ts} or {ps}?",
        "Combine the {cols} values of the {ts} and the {ps}.",
    ],
    "except": [
        "{lead} the {cols} values of the {ts} that no {p} has.",
        "What are the {cols} values of {ts} but not of {ps}?",
        "{lead} every {cols} of a {t} that is not one of a {p}.",
        "{lead} the {cols} values of the {ts} except those of the {ps}.",
    ],
    "intersect": [
        "{lead} the {cols} values that both {ts} and {ps} have.",
        "What are the {cols} values of {ts} and also of {ps}?",
        "{lead} every {cols} that a {t} and a {p} share.",
        "{lead} the {cols} values common to {ts} and {ps}.",
    ],
    # How a condition hangs on: the first form, and the form after "and" or "or".
    "with": [
        (" whose {m} is {P}", " whose {m} is {P}"),
        (" with {m} {P}", " {m} {P}"),
        (" where the {m} is {P}", " the {m} is {P}"),
        (" that have {m} {P}", " {m} {P}"),
        (" for which the {m} is {P}", " the {m} is {P}"),
    ],
    ">": ["above {v}", "more than {v}", "greater than {v}", "higher than {v}", "over {v}"],
    "<": ["below {v}", "less than {v}", "smaller than {v}", "lower than {v}", "under {v}"],
    ">=": ["at least {v}", "{v} or more", "not less than {v}", "no less than {v}"],
    "<=": ["at most {v}", "{v} or less", "not more than {v}", "no more than {v}"],
    "=": ["{v}", "exactly {v}", "equal to {v}"],
    "<>": ["not {v}", "other than {v}", "different from {v}"],
    "after": ["after {v}", "later than {v}", "past {v}"],
    "before": ["before {v}", "earlier than {v}", "prior to {v}"],
    "between": ["between {v} and {w}", "from {v} to {w}", "in the range {v} to {w}"],
    "in": ["one of {v}", "any of {v}", "among {v}"],
    "avg>": ["above the average", "above average", "higher than the mean", "over the average"],
    "avg<": ["below the average", "below average", "lower than the mean", "under the average"],
    "order": [", ordered by {m}{dir}", ", sorted by {m}{dir}", " in order of {m}{dir}", ", arranged by {m}{dir}"],
    "ASC": ["", " ascending", " from lowest to highest", " from low to high"],
    "DESC": [" descending", " from highest to lowest", " in descending order", " from high to low"],
    "limit": [
        ", only the {n} with the {sup} {m}",
        ", the first {n} by {sup} {m}",
        ", keeping the {n} with the {sup} {m}",
        ", limited to the {n} with the {sup} {m}",
    ],
    "top": ["highest", "largest", "biggest", "greatest"],
    "bottom": ["lowest", "smallest", "minimum", "least"],
}

# ---- compositions ------------------------------------------------------------------------------------------------------
# (select, where, rest), its weight, and whether it is held out from the expert's training.
CONDITIONS = [("", 6), ("cmp", 6), ("and", 3), ("or", 2), ("between", 2), ("in", 1), ("avg", 2)]
SET_OPERATIONS = ("union", "except", "intersect")
COMPOSITIONS = {}


def compose():
    def add(select, where, rest, weight):
        COMPOSITIONS["+".join(part for part in (select, where, rest) if part)] = (select, where, rest, weight)

    for where, w in CONDITIONS:
        for rest, r in (("", 4), ("order", 2), ("limit", 2)):
            add("proj", where, rest, 4 * w * r)
            add("proj2", where, rest, 2 * w * r)
        add("star", where, "", 2 * w)
        add("distinct", where, "", 3 * w)
        add("count", where, "", 7 * w)
        add("agg", where, "", 12 * w)
    for where, w in (("", 5), ("cmp", 4), ("and", 2), ("between", 1)):
        add("cdistinct", where, "", 3 * w)
        add("agg2", where, "", 6 * w)
        add("group", where, "", 6 * w)
        add("groupagg", where, "", 8 * w)
        add("group", where, "having", 2 * w)
        add("groupagg", where, "havagg", 2 * w)
    for where, w in (("", 5), ("cmp", 3), ("other", 4), ("other+cmp", 2)):
        for rest, r in (("", 2), ("order", 1), ("limit", 1)):
            add("join", where, rest, 3 * w * r)
        add("joingroup", where, "", 3 * w)
        add("joingroupagg", where, "", 3 * w)
        if "other" in where:
            add("proj", where, "", 10 * w)
            add("proj", where, "order", 4 * w)
            add("count", where, "", 8 * w)
            add("agg", where, "", 8 * w)
    for select in ("proj", "proj2", "count"):
        for where in ("some", "no"):
            add(select, where, "", 14)
    for where, w in (("some+cmp", 8), ("no+cmp", 6)):
        add("proj", where, "", w)
        add("count", where, "", w)
    for operation in SET_OPERATIONS:
        add(operation, "", "", 14)


compose()
HELD_OUT_COMPOSITIONS = {
    "proj+or+order",
    "proj+avg+limit",
    "proj2+and+order",
    "proj2+between+limit",
    "proj2+cmp+order",
    "distinct+and",
    "distinct+avg",
    "star+or",
    "count+between",
    "count+avg",
    "agg+or",
    "agg+in",
    "agg2+and",
    "cdistinct+and",
    "group+between",
    "groupagg+and",
    "group+cmp+having",
    "join+cmp+order",
    "join+other+limit",
    "joingroup+cmp",
    "joingroupagg+other",
    "count+other+cmp",
    "proj2+no",
    "count+no+cmp",
}
assert HELD_OUT_COMPOSITIONS <= set(COMPOSITIONS), HELD_OUT_COMPOSITIONS - set(COMPOSITIONS)


class Query:
    """One question with its statement. What is asked comes from `structure`, how it is said from `words`: the same
    structure with other words is a paraphrase. `wordings` are the choices made, "slot#index". `held_out` is "none" or
    "all" wordings allowed, or the name of the slot that takes the one held out."""

    def __init__(self, schema, composition, structure, words, held_out="none"):
        self.schema, self.composition, self.held_out = schema, composition, held_out
        self.structure = structure
        self.random, self.words = Random(structure), Random(words)
        self.values = []  # (table, column, low, high) of the literals, for the fillings
        self.wordings, self.chosen = [], {}
        self.question = self.answer = None
        self.build()

    def say(self, slot, **parts):
        options = WORDINGS[slot]
        last = len(options) - 1
        if slot not in self.chosen:
            if self.held_out == slot:
                self.chosen[slot] = last
            else:
                self.chosen[slot] = self.words.below(last + (self.held_out == "all"))
        index = self.chosen[slot]
        if f"{slot}#{index}" not in self.wordings:
            self.wordings.append(f"{slot}#{index}")
        text = options[index]
        if isinstance(text, tuple):
            return text
        if "{lead}" in text:
            parts["lead"] = self.say("lead")
        if "{low}" in text:
            parts["low"] = self.say("lead").lower()
        return text.format(**parts)

    def mention(self, column):
        return SYNONYMS[column] if column in SYNONYMS and self.words.chance(0.25) else column

    def value_for(self, kind):
        """A literal for SQL and its words."""
        random = self.random
        if kind == "INT":
            value = random.between(2, 20) if random.chance(0.4) else random.between(2, 99) * random.choice([1, 10, 100])
            return str(value), str(value)
        if kind == "DATE":
            value = f"{random.between(1990, 2024)}-{random.between(1, 12):02d}-{random.between(1, 28):02d}"
            return f"'{value}'", value
        value = random.choice(VALUES) if random.chance(0.7) else made_up(random).capitalize()
        return f"'{value}'", value

    def compared(self):
        """The next comparison is worded anew."""
        for slot in ("=", "<>", ">", "<", ">=", "<=", "after", "before"):
            self.chosen.pop(slot, None)

    # -- clauses; `prefix` is "table." where two tables are read
    def condition(self, table, columns, prefix, kind=None):
        """SQL and the words of one comparison: (sql, mention, comparison)."""
        random = self.random
        column = random.choice(columns)
        columns.remove(column)
        of = table.columns[column]
        m = self.mention(column)
        name = prefix + column
        if kind == "avg":
            operator = random.choice([">", "<"])
            sql = f"{name} {operator} (SELECT AVG({column}) FROM {table.noun})"
            return sql, m, self.say("avg" + operator)
        if kind == "between":
            low, high = sorted(int(self.value_for("INT")[0]) for _ in range(2))
            if low == high:
                high += 5
            self.values.append((table.noun, column, low, high))
            return f"{name} BETWEEN {low} AND {high}", m, self.say("between", v=low, w=high)
        if kind == "in":
            pairs = [self.value_for(of) for _ in range(random.between(2, 3))]
            for sql, words in pairs:
                self.values.append((table.noun, column, words, words))
            listed = ", ".join(words for _, words in pairs[:-1]) + " and " + pairs[-1][1]
            return f"{name} IN ({', '.join(sql for sql, _ in pairs)})", m, self.say("in", v=listed)
        literal, words = self.value_for(of)
        if of == "INT":
            operator = random.weighted([(">", 5), ("<", 5), (">=", 3), ("<=", 3), ("=", 3), ("<>", 1)])
            self.values.append((table.noun, column, int(words), int(words)))
            return f"{name} {operator} {literal}", m, self.say(operator, v=words)
        self.values.append((table.noun, column, words, words))
        if of == "DATE":
            operator, slot = random.choice([(">", "after"), ("<", "before")])
            return f"{name} {operator} {literal}", m, self.say(slot, v=words)
        operator = "<>" if random.chance(0.15) else "="
        return f"{name} {operator} {literal}", m, self.say(operator, v=words)

    def where(self, kind, table, used, prefix=""):
        """(sql, words) of the WHERE clause over `table` without the keyword; columns in `used` are left alone."""
        free = lambda *types: [c for c in table.of_type(*types) if c not in used]  # noqa: E731
        if not kind:
            return "", ""
        if kind in ("and", "or"):
            columns = free("TEXT", "INT", "DATE")
            first, second = self.say("with")
            sql1, m1, p1 = self.condition(table, columns, prefix)
            self.compared()
            sql2, m2, p2 = self.condition(table, columns, prefix)
            words = first.format(m=m1, P=p1) + f" {kind}" + second.format(m=m2, P=p2)
            return f"{sql1} {kind.upper()} {sql2}", words
        types = {"cmp": ("TEXT", "INT", "DATE"), "in": ("TEXT",)}.get(kind, ("INT",))
        sql, m, p = self.condition(table, free(*types), prefix, None if kind == "cmp" else kind)
        return sql, self.say("with")[0].format(m=m, P=p)

    def order(self, rest, table, columns, prefix=""):
        """(sql, words) of ORDER BY and LIMIT."""
        random = self.random
        if rest == "order":
            column = random.choice(columns)
            direction = random.choice(["ASC", "DESC"])
            sql = f" ORDER BY {prefix}{column}" + (" DESC" if direction == "DESC" else "")
            return sql, self.say("order", m=self.mention(column), dir=self.say(direction))
        if rest == "limit":
            column = random.choice([c for c in columns if table.columns[c] == "INT"])
            n = random.between(1, 9)
            top = random.chance(0.5)
            sql = f" ORDER BY {prefix}{column}" + (" DESC" if top else "") + f" LIMIT {n}"
            sup = self.say("top" if top else "bottom")
            return sql, self.say("limit", n=n, sup=sup, m=self.mention(column))
        return "", ""

    def aggregate(self, column, prefix=""):
        function = self.random.choice(["AVG", "SUM", "MAX", "MIN"])
        return f"{function}({prefix}{column})", self.say(function, m=self.mention(column))

    def build(self):
        """Raises TooSmall where the schema has too few columns or tables for the composition."""
        select, where, rest, _ = COMPOSITIONS[self.composition]
        random = self.random
        table = self.schema[0]
        parts = where.split("+")
        related = "some" in parts or "no" in parts
        two = select.startswith("join") or select in SET_OPERATIONS or "other" in parts or related
        if two and len(self.schema) < 2:
            raise TooSmall
        if select in SET_OPERATIONS:
            return self.set_operation(select)
        if select.startswith("join") or "other" in parts:
            return self.joined(select, where, rest)
        if not two:
            table = random.choice(self.schema)
        if related:
            return self.related(select, where)
        names = {"t": table.noun, "ts": plural(table.noun)}
        tail = f" FROM {table.noun}"

        def clause(used):
            sql, words = self.where(where, table, used)
            return (f" WHERE {sql}" if sql else ""), words

        columns = table.of_type("TEXT", "INT", "DATE")
        numbers = table.of_type("INT")
        if select in ("proj", "proj2"):
            chosen = random.sample(columns, 1 if select == "proj" else 2)
            listed = " and ".join(self.mention(c) for c in chosen)
            w, cond = clause(chosen)
            o, last = self.order(rest, table, columns)
            self.answer = f"SELECT {', '.join(chosen)}{tail}{w}{o}"
            self.question = self.say("proj", cols=listed, cond=cond, tail=last, **names)
        elif select == "star":
            w, cond = clause([])
            self.answer = f"SELECT *{tail}{w}"
            self.question = self.say("star", cond=cond, tail="", **names)
        elif select == "distinct":
            column = random.choice(columns)
            w, cond = clause([column])
            self.answer = f"SELECT DISTINCT {column}{tail}{w}"
            self.question = self.say("distinct", cols=self.mention(column), cond=cond, **names)
        elif select == "cdistinct":
            column = random.choice(columns)
            w, cond = clause([column])
            self.answer = f"SELECT COUNT(DISTINCT {column}){tail}{w}"
            among = f" among the {names['ts']}{cond}"
            self.question = self.say("cdistinct", cols=self.mention(column), among=among)
        elif select == "count":
            w, cond = clause([])
            self.answer = f"SELECT COUNT(*){tail}{w}"
            self.question = self.say("count", cond=cond, **names)
        elif select == "agg":
            column = random.choice(numbers)
            w, cond = clause([column])
            sql, words = self.aggregate(column)
            self.answer = f"SELECT {sql}{tail}{w}"
            self.question = self.say("agg", agg=words, cond=cond, **names)
        elif select == "agg2":
            same = random.chance(0.5)
            chosen = [random.choice(numbers)] * 2 if same else random.sample(numbers, 2)
            parts = [self.aggregate(c) for c in chosen]
            if parts[0][0] == parts[1][0]:
                raise TooSmall
            w, cond = clause(chosen)
            self.answer = f"SELECT {parts[0][0]}, {parts[1][0]}{tail}{w}"
            self.question = self.say("agg", agg=f"{parts[0][1]} and the {parts[1][1]}", cond=cond, **names)
        elif select == "group":
            key = random.choice(table.of_type("TEXT"))
            w, cond = clause([key])
            h = having = ""
            if rest:
                operator = random.choice([">", ">=", "<"])
                n = random.between(1, 5)
                h = f" HAVING COUNT(*) {operator} {n}"
                having = self.say("having", P=self.say(operator, v=n), **names)
            self.answer = f"SELECT {key}, COUNT(*){tail}{w} GROUP BY {key}{h}"
            self.question = self.say("group", key=self.mention(key), cond=cond, having=having, **names)
        else:
            key = random.choice(table.of_type("TEXT"))
            column = random.choice(numbers)
            w, cond = clause([key, column])
            sql, words = self.aggregate(column)
            h = having = ""
            if rest:
                operator = random.choice([">", "<"])
                n = int(self.value_for("INT")[0])
                self.values.append((table.noun, column, n, n))
                h = f" HAVING {sql} {operator} {n}"
                having = self.say("havagg", P=self.say(operator, v=n))
            self.answer = f"SELECT {key}, {sql}{tail}{w} GROUP BY {key}{h}"
            self.question = self.say("groupagg", agg=words, key=self.mention(key), cond=cond, having=having, **names)

    def joined(self, select, where, rest):
        child, parent = self.schema
        random = self.random
        c, p = child.noun, parent.noun
        names = {"t": c, "ts": plural(c), "p": p, "ps": plural(p)}
        tail = f" FROM {c} JOIN {p} ON {c}.{p}_id = {p}.id"
        columns = child.of_type("TEXT", "INT", "DATE")
        a = random.choice(child.of_type("INT") if "agg" in select else columns)
        b = random.choice(parent.of_type("TEXT") if "group" in select else parent.of_type("TEXT", "INT", "DATE"))
        sqls, words = [], ""
        if "other" in where:
            free = [x for x in parent.of_type("TEXT", "INT", "DATE") if x != b or select in ("proj", "count", "agg")]
            sql, m, comparison = self.condition(parent, free, p + ".")
            sqls.append(sql)
            words = self.say("whose", t=p, m=m, P=comparison)
        if "cmp" in where:
            self.compared()
            sql, more = self.where("cmp", child, [a] if select != "count" else [], c + ".")
            sqls.append(sql)
            words += (" and" if words else "") + more
        w = f" WHERE {' AND '.join(sqls)}" if sqls else ""
        o, last = self.order(rest, child, columns, c + ".")
        if select == "proj":
            self.answer = f"SELECT {c}.{a}{tail}{w}{o}"
            self.question = self.say("proj", cols=self.mention(a), cond=words, tail=last, **names)
        elif select == "count":
            self.answer = f"SELECT COUNT(*){tail}{w}"
            self.question = self.say("count", cond=words, **names)
        elif select == "agg":
            sql, spoken = self.aggregate(a, c + ".")
            self.answer = f"SELECT {sql}{tail}{w}"
            self.question = self.say("agg", agg=spoken, cond=words, **names)
        elif select == "join":
            self.answer = f"SELECT {c}.{a}, {p}.{b}{tail}{w}{o}"
            self.question = self.say("join", a=self.mention(a), b=self.mention(b), cond=words, tail=last, **names)
        elif select == "joingroup":
            self.answer = f"SELECT {p}.{b}, COUNT(*){tail}{w} GROUP BY {p}.{b}"
            self.question = self.say("joingroup", b=self.mention(b), cond=words, **names)
        else:
            sql, spoken = self.aggregate(a, c + ".")
            self.answer = f"SELECT {p}.{b}, {sql}{tail}{w} GROUP BY {p}.{b}"
            self.question = self.say("joingroupagg", b=self.mention(b), agg=spoken, cond=words, **names)

    def related(self, select, where):
        """Rows of the parent that have, or do not have, a row of the child."""
        child, parent = self.schema
        some = "some" in where
        inner = f"SELECT {parent.noun}_id FROM {child.noun}"
        words = self.say("some" if some else "no", t=child.noun)
        if "cmp" in where:
            sql, more = self.where("cmp", child, [])
            inner += f" WHERE {sql}"
            words += more
        w = f" WHERE id {'IN' if some else 'NOT IN'} ({inner})"
        names = {"t": parent.noun, "ts": plural(parent.noun)}
        if select == "count":
            self.answer = f"SELECT COUNT(*) FROM {parent.noun}{w}"
            self.question = self.say("count", cond=words, **names)
            return
        chosen = self.random.sample(parent.of_type("TEXT", "INT", "DATE"), 1 if select == "proj" else 2)
        self.answer = f"SELECT {', '.join(chosen)} FROM {parent.noun}{w}"
        listed = " and ".join(self.mention(c) for c in chosen)
        self.question = self.say("proj", cols=listed, cond=words, tail="", **names)

    def set_operation(self, operation):
        child, parent = self.schema
        if self.random.chance(0.5):
            child, parent = parent, child
        column = self.random.choice([c for c in child.columns if c in parent.columns])
        self.answer = f"SELECT {column} FROM {child.noun} {operation.upper()} SELECT {column} FROM {parent.noun}"
        names = {"t": child.noun, "ts": plural(child.noun), "p": parent.noun, "ps": plural(parent.noun)}
        self.question = self.say(operation, cols=self.mention(column), **names)


def draw_query(random, nouns, compositions, held_out="none", schema_of=draw_schema):
    """A schema and a question on it; drawn again while the schema is too small for the composition."""
    weights = [(name, COMPOSITIONS[name][3]) for name in compositions]
    composition = random.weighted(weights)
    while True:
        try:
            return Query(schema_of(random, nouns), composition, random.next(), random.next(), held_out)
        except TooSmall:
            continue


# ---- rows --------------------------------------------------------------------------------------------------------------
SEEN_COMPOSITIONS = [name for name in COMPOSITIONS if name not in HELD_OUT_COMPOSITIONS]


def held_out_columns(column_set):
    """One column set in eight never occurs in the training rows: by a sum over its letters, which no seed moves."""
    total = 0
    for character in column_set:
        total = total * 131 + ord(character) & 0xFFFFFFFF
    return (total ^ total >> 13) % 8 == 0


def schema_where(held_out):
    def draw(random, nouns):
        while True:
            schema = draw_schema(random, nouns)
            if all(held_out_columns(table.column_set()) == held_out for table in schema):
                return schema

    return draw


def train_rows(count):
    random = Random(TRAIN_SEED)
    for _ in range(count):
        nouns = some_nouns(random, TRAIN_NOUNS, 0.15)
        query = draw_query(random, nouns, SEEN_COMPOSITIONS, "none", schema_where(False))
        yield {"question": query.question, "context": context_of(query.schema, random), "answer": query.answer}, query


def fillings(random, query):
    """Two scripts of INSERTs on which the answer is not empty; None where 40 tries found none."""
    found = []
    for _ in range(40):
        script = filling(random, query)
        rows = execute(query, script)
        if rows and any(value is not None and value != 0 for row in rows for value in row):
            found.append(script)
            if len(found) == 2:
                return found
    return None


def filling(random, query):
    statements = []
    sizes = {table.noun: random.between(7, 12) for table in query.schema}
    for table in reversed(query.schema):  # the parent first
        near = {}
        for noun, column, low, high in query.values:
            if noun == table.noun:
                near.setdefault(column, []).extend([low, high])
        pools = {}
        for name, kind in table.columns.items():
            if kind == "TEXT":
                pools[name] = near.get(name, []) * 2 + random.sample(VALUES, 4)
            elif kind == "DATE":
                pools[name] = near.get(name, []) + [f"{random.between(1985, 2026)}-0{random.between(1, 9)}-1{random.below(10)}" for _ in range(6)]
            else:
                values = [random.between(1, 120) for _ in range(7)]
                for value in near.get(name, []):
                    values += [value, value + 1, value - 1, value + random.between(2, 40), max(0, value - random.between(2, 40)), value * 2]
                pools[name] = values
        rows = []
        for i in range(sizes[table.noun]):
            row = [str(i + 1)]
            for name, kind in table.columns.items():
                value = random.choice(pools[name])
                row.append(str(value) if kind == "INT" else f"'{value}'")
            if table.parent:
                row.append(str(random.between(1, max(2, sizes[table.parent] * 2 // 3))))
            rows.append(f"({', '.join(row)})")
        statements.append(f"INSERT INTO {table.noun} VALUES {', '.join(rows)}")
    return ";\n".join(statements)


def execute(query, script):
    database = sqlite3.connect(":memory:")
    try:
        for table in query.schema:
            database.execute(table.ddl())
        database.executescript(script)
        return database.execute(query.answer).fetchall()
    finally:
        database.close()


GROUPS = [("schemas", 30), ("wordings", 30), ("compositions", 25), ("nouns", 15)]


def test_rows(count):
    """`count` rows; which group comes is drawn too, so any first part of the file has the same mixture."""
    random = Random(TEST_SEED)
    seen = set()
    made = 0
    while made < count:
        group = random.weighted(GROUPS)
        nouns = UNSEEN_NOUNS if group == "nouns" else HELD_OUT_NOUNS
        compositions = sorted(HELD_OUT_COMPOSITIONS) if group == "compositions" else SEEN_COMPOSITIONS
        query = draw_query(random, nouns, compositions, "none", schema_where(True))
        if group == "wordings":
            slot = random.choice(sorted({name.split("#")[0] for name in query.wordings}))
            while not any(is_held_out(name) for name in query.wordings):
                query = Query(query.schema, query.composition, query.structure, random.next(), slot)
        context = context_of(query.schema, random)
        scripts = fillings(random, query)
        if scripts is None or (query.question, context) in seen:
            continue
        seen.add((query.question, context))
        yield {
            "id": f"test-{made:04d}",
            "group": group,
            "question": query.question,
            "context": context,
            "answer": query.answer,
            "composition": query.composition,
            "wordings": query.wordings,
            "dbs": scripts,
        }, query
        made += 1


def is_held_out(wording):
    slot, index = wording.split("#")
    return int(index) == len(WORDINGS[slot]) - 1


def base_rows(count):
    """Texts in three forms, in none of which a statement follows its question."""
    random = Random(BASE_SEED)
    everything = list(COMPOSITIONS)
    for _ in range(count):
        nouns = some_nouns(random, TRAIN_NOUNS + HELD_OUT_NOUNS, 0.2)
        form = random.weighted([("describe", 65), ("statements", 10), ("reword", 25)])
        query = draw_query(random, nouns, everything, "all")
        context = context_of(query.schema, random) + ";\n"
        if form == "describe":
            given, said = f"{query.answer};\n", f"{random.choice(['-- ', '-- ', ''])}{query.question}\n"
        elif form == "statements":
            answers = [query.answer]
            while len(answers) < 3:
                composition = random.weighted([(name, COMPOSITIONS[name][3]) for name in everything])
                try:
                    answers.append(Query(query.schema, composition, random.next(), random.next(), "all").answer)
                except TooSmall:
                    continue
            given, said = "", ";\n".join(answers) + ";\n"
        else:
            twin = Query(query.schema, query.composition, query.structure, random.next(), "all")
            given, said = f"{query.question}\n", f"{twin.question}\n"
        # What is drawn at random, the schema and half of what follows it, mostly bears no loss: there is little to learn.
        what_bears_loss = random.weighted([("text", 10), ("both", 30), ("said", 60)])
        if what_bears_loss == "text":
            yield {"text": context + given + said}
        elif what_bears_loss == "both":
            yield {"prompt": context, "completion": given + said}
        else:
            yield {"prompt": context + given, "completion": said}


# ---- what the base is asked --------------------------------------------------------------------------------------------
def native(row):
    """The best prompt that was found for the base: the form that it has read most, with the first word of a statement."""
    text = f"{row['context']};\n-- {row['question']}\nSELECT"
    return {"prompt": text, **row}


# ---- overlap -----------------------------------------------------------------------------------------------------------
def overlap(train, test):
    """What training and test rows share, by group: every count must be 0."""

    def tables(row):
        return re.findall(r"CREATE TABLE (\w+)", row["context"])

    def column_sets(row):
        for columns in re.findall(r"CREATE TABLE \w+ \((.*?)\)(?:;|$)", row["context"]):
            yield " ".join(sorted(re.findall(r"(\w+) (?:TEXT|INT|DATE)(?=,|$)", columns)))

    train = [(row, query) for row, query in train]
    seen_tables = {name for row, _ in train for name in tables(row)}
    seen_columns = {key for row, _ in train for key in column_sets(row)}
    seen_wordings = {name for _, query in train for name in query.wordings}
    seen_compositions = {query.composition for _, query in train}
    seen_questions = {row["question"] for row, _ in train}
    base_words = {word for row, _ in zip(base_rows(20000), range(20000)) for text in row.values() for word in re.findall(r"\w+", text)}
    report = {}
    for row, query in test:
        counts = report.setdefault(row["group"], {"rows": 0, "table names": 0, "column sets": 0, "questions": 0})
        counts["rows"] += 1
        counts["table names"] += any(name in seen_tables for name in tables(row))
        counts["column sets"] += any(key in seen_columns for key in column_sets(row))
        counts["questions"] += row["question"] in seen_questions
        if row["group"] == "wordings":
            counts["rows whose wordings are all seen"] = counts.get("rows whose wordings are all seen", 0) + all(
                name in seen_wordings for name in query.wordings
            )
        if row["group"] == "compositions":
            counts["compositions"] = counts.get("compositions", 0) + (query.composition in seen_compositions)
        if row["group"] == "nouns":
            counts["nouns in the base's text"] = counts.get("nouns in the base's text", 0) + any(
                word in base_words for name in tables(row) for word in (name, plural(name))
            )
    return report


def write(path, rows):
    opener = (lambda: gzip.GzipFile(path, "wb", mtime=0)) if path.endswith(".gz") else (lambda: open(path, "wb"))
    count = 0
    with opener() as out:
        for row in rows:
            out.write(json.dumps(row).encode() + b"\n")
            count += 1
    print(f"{path}: {count} rows", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["train", "test", "base", "native", "overlap"])
    parser.add_argument("--out")
    parser.add_argument("--rows", type=int, help="default: train 12000, test 800, base 60000")
    args = parser.parse_args()
    count = args.rows or {"train": 12000, "base": 60000}.get(args.kind, 800)
    if args.kind == "overlap":
        report = overlap(train_rows(12000), test_rows(count))
        print(json.dumps(report, indent=1))
        shared = sum(n for counts in report.values() for name, n in counts.items() if name != "rows")
        sys.exit(1 if shared else 0)
    if not args.out:
        parser.error("--out FILE is needed")
    rows = {
        "train": lambda: (row for row, _ in train_rows(count)),
        "test": lambda: (row for row, _ in test_rows(count)),
        "base": lambda: base_rows(count),
        "native": lambda: (native(row) for row, _ in test_rows(count)),
    }[args.kind]()
    write(args.out, rows)


if __name__ == "__main__":
    main()
