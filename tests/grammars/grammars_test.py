#!/usr/bin/env python3
"""The experts' grammars: their names are up to date, sentences drawn from them parse, and texts that people write are accepted. Usage:
grammars_test.py BIN_DIR SOURCE_DIR. Standard library only. The figures of a long run: soundness.py and coverage.py beside this file."""
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

BIN, SOURCE = Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
HERE = SOURCE / "tests/grammars"
GRAMMARS = {  # language -> file, sentences, how often each production at least
    "sql-postgres": ("experts/expert-sql/grammar.gbnf", 10_000, 1),
    "sql-sqlite": ("experts/expert-sql/grammar-sqlite.gbnf", 5_000, 20),
    "json": ("experts/expert-json/grammar.gbnf", 5_000, 20),
    "cypher": ("experts/expert-neo4j/grammar.gbnf", 10_000, 20),
    "typescript": ("experts/expert-typescript/grammar.gbnf", 300, 0),
}
ACCEPTED = {
    "experts/expert-sql/grammar.gbnf": [
        "SELECT T1.name, COUNT(*) FROM student AS T1 JOIN pets AS T2 ON T1.id = T2.owner GROUP BY T1.name HAVING COUNT(*) > 1 ORDER BY COUNT(*) DESC LIMIT 3",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 10)\nSELECT n, SUM(n) OVER (PARTITION BY n % 2 ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s\nFROM r;",
        "SELECT position, \"Order\", data->>'a' FROM t WHERE name ILIKE '%o''b%' AND d >= CURRENT_DATE - INTERVAL '1 month' AND tags @> ARRAY['x'] AND email ~* '^a'",
        "SELECT a FROM t LEFT JOIN LATERAL (SELECT 1) AS s ON TRUE WHERE a NOT IN (SELECT b FROM u) OR EXISTS (SELECT 1 FROM v) UNION SELECT b FROM w",
        "SELECT CASE WHEN a > 1 THEN 'x' ELSE CASE b WHEN 2 THEN 'y' END END, EXTRACT(YEAR FROM d), a::numeric(10, 2), COUNT(*) FILTER (WHERE a > 1) FROM t GROUP BY GROUPING SETS ((a, b), (a), ())",
        "INSERT INTO t (a, b) VALUES (1, 'x'), (2, DEFAULT) ON CONFLICT (a) DO UPDATE SET b = excluded.b RETURNING a",
        "UPDATE t SET a = a + 1 FROM u WHERE t.id = u.id", "DELETE FROM t WHERE a IS NULL",
        "CREATE TABLE IF NOT EXISTS t (id SERIAL PRIMARY KEY, name VARCHAR(20) NOT NULL, u INTEGER REFERENCES u (id) ON DELETE CASCADE, UNIQUE (name, u))",
    ],
    "experts/expert-sql/grammar-sqlite.gbnf": [
        "SELECT name, count(*) AS n FROM t NATURAL JOIN u WHERE a GLOB 'x*' AND b IS NOT NULL GROUP BY name ORDER BY n DESC LIMIT 3, 4",
        "INSERT OR REPLACE INTO t (a) VALUES (1)", "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL)",
    ],
    "experts/expert-sql/grammar-mysql.gbnf": [
        "SELECT `Order`.id, GROUP_CONCAT(DISTINCT name ORDER BY name SEPARATOR ', ') FROM `Order` WHERE d > NOW() - INTERVAL 1 DAY GROUP BY id WITH ROLLUP LIMIT 2, 3",
        "INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = a + 1",
    ],
    "experts/expert-json/grammar.gbnf": [
        '{"a": [1, -2.5e3, true, null, "\\u00e9\\ud83d\\ude00"], "": {}}', '[\n  {"a":1},\n  []\n]', '"x"', "1.7976931348623157e299",
    ],
    "experts/expert-neo4j/grammar.gbnf": [
        "MATCH (p:Person {name: 'Tom'})-[r:ACTED_IN|DIRECTED*1..3]->(m:Movie)\nWHERE m.released > 1990 AND NOT (p)-[:WROTE]->(m)\nRETURN p.name AS name, count(DISTINCT m) AS movies\nORDER BY movies DESC\nLIMIT 5",
        "MATCH (a)<--(b) WITH a, collect(b.x) AS xs UNWIND xs AS x RETURN [y IN xs WHERE y > x | y + 1], CASE WHEN x IS NULL THEN 0 ELSE x END",
        "MERGE (a:A {id: $id}) ON CREATE SET a.new = true ON MATCH SET a += {seen: 1} RETURN a", "MATCH (n) DETACH DELETE n",
        "MATCH (n) WHERE EXISTS { (n)-[:R]->(:B) } AND n.t STARTS WITH 'x' RETURN n.`odd name` UNION ALL RETURN 1",
    ],
    "experts/expert-typescript/grammar.gbnf": [
        "export async function f<T extends object = {}>(x: readonly T[], ...rest: string[]): Promise<T[]> {\n  // first\n  for (const y of x) {\n    if (!y) continue;\n    await g(y);\n  }\n  return [...x];\n}",
        "class A<T> extends B implements C {\n  private readonly x: Map<string, T> = new Map();\n  constructor(public a: number) { super(); }\n  get size() { return this.x.size; }\n}",
        "const f = (a: number, b = 2) => `${a}-${b ? 'x' : \"y\"}`.replace(/[a-z]+/g, '') as string;",
        "interface P { a?: number; [key: string]: unknown; f(x: string): void }\ntype Q = { readonly [K in keyof P]?: P[K] extends string ? 1 : never } | null;",
        "function g(n: number) {\n  let i = 0\n  while (true) {\n    switch (n) {\n      case 1:\n        return i\n      default:\n        break\n    }\n    try { i++ } catch (e) { throw new Error('x') } finally { n-- }\n  }\n}",
        "function f(this: Window, ...args: any[]): (this: T) => void {\n  let i: number, t = arguments[0]! | 1;\n  for (i = 0; i < t; i++) g!(i);\n  return h.bind(this) as (...a: any[]) => void;\n}",
        "function g(x: A) {\n  switch (x.kind) {\n    case 'a': {\n      typeof x.y === 'string' && x.f();\n      break;\n    }\n  }\n  return { [Symbol.iterator]() { return css`a${x}`; }, zero: '\\0-\\0', b: new (x.c as B)(1) };\n}",
    ],
}
REFUSED = {
    "experts/expert-sql/grammar.gbnf": ["SELECT select FROM t", "SELECT a FROM t -- x", "SELECT a\n\nFROM t", "SELECT a = b = c", "SELECT a b c", "SELECT 1; SELECT 2", "SELECT"],
    "experts/expert-sql/grammar-sqlite.gbnf": ["SELECT a::int FROM t", "SELECT a FROM t WHERE b = ANY (SELECT 1)"],
    "experts/expert-sql/grammar-mysql.gbnf": ["SELECT order FROM t", "SELECT a::int FROM t"],
    "experts/expert-json/grammar.gbnf": ["[1,]", "{a: 1}", "01", "\"\\ud800\"", "1e400", "nul", ""],
    "experts/expert-neo4j/grammar.gbnf": ["MATCH (order) RETURN 1", "MATCH (n)", "MATCH (n) RETURN n // x", "CREATE (n) MATCH (m) RETURN m", "MATCH (n) WHERE n.x == 1 RETURN n"],
    "experts/expert-typescript/grammar.gbnf": ["break;", "const x;", "function f() { await g(); }", "let class = 1;", "return 1;", "function f() { continue }", "const s = '\\01';", "const a = b!== = c;", "const f = (a, this: T) => 1;", "if (a) { break; }"],
}


def run(command, text=""):
    return subprocess.run([str(part) for part in command], input=text.encode(), capture_output=True, check=False)


def accepted(grammar, texts):
    done = run([BIN / "gbnf_tool", "accept", grammar], "".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line)["accepted"] for line in done.stdout.decode().split("\n")[:-1]]


def missing(probe):
    """The presets of check.sh, which installs every parser, ask that none be missing."""
    message = f"not tested: {probe.stderr.decode().strip()}"
    assert "EXPERT_ALL_PARSERS" not in os.environ, message
    print(message)


class Grammars(unittest.TestCase):
    def test_generated_rules_are_up_to_date(self):
        names = run([sys.executable, "-B", SOURCE / "tools/make_gbnf_names.py", "--check", *(SOURCE / file for file in ACCEPTED)])
        self.assertEqual((names.returncode, names.stdout), (0, b""))
        typescript = run([sys.executable, "-B", SOURCE / "tools/make_typescript_grammar.py", "--check",
                          SOURCE / "experts/expert-typescript/grammar.gbnf"])
        self.assertEqual((typescript.returncode, typescript.stdout), (0, b""))

    def test_drawn_sentences_parse(self):
        for language, (file, count, least) in GRAMMARS.items():
            with self.subTest(language):
                probe = run([BIN / "strict_parse", language])
                if b"EXPERT-E361" in probe.stderr or b"EXPERT-E405" in probe.stderr:
                    missing(probe)
                    continue
                done = run([sys.executable, "-B", HERE / "soundness.py", BIN, language, SOURCE / file, count, "--least", least])
                self.assertEqual(done.returncode, 0, done.stdout.decode() + done.stderr.decode())
                print(done.stdout.decode().split("\n")[-2])

    def test_what_random_logits_write_parses_and_half_of_it_ends_by_itself(self):
        tokenizer = SOURCE / "experts/tiny-base/tokenizer.json"
        for language in ("sql-postgres", "json", "cypher"):  # of TypeScript the real vocabulary's texts are judged, by figures.py
            with self.subTest(language):
                probe = run([BIN / "strict_parse", language])
                if probe.returncode != 0:
                    missing(probe)
                    continue
                drawn = run([BIN / "random_texts", SOURCE / GRAMMARS[language][0], tokenizer, 60, 256, 1])
                self.assertEqual(drawn.returncode, 0, drawn.stderr.decode())
                rows = [json.loads(line) for line in drawn.stdout.decode().split("\n")[:-1]]
                self.assertEqual(len(rows), 60)
                self.assertGreaterEqual(sum(row["finished"] for row in rows), 30)
                judged = run([BIN / "strict_parse", language], "".join(json.dumps({"text": row["text"]}) + "\n" for row in rows))
                for row, verdict in zip(rows, map(json.loads, judged.stdout.decode().split("\n")[:-1]), strict=True):
                    self.assertTrue(verdict["valid"], row["text"])

    def test_half_of_the_texts_must_end_by_themselves(self):
        with tempfile.TemporaryDirectory() as folder:
            endless = Path(folder, "a.gbnf")
            endless.write_text('root ::= ("q~"){20}\n')  # 40 tokens, so no place is left for the end token
            drawn = run([BIN / "random_texts", endless, SOURCE / "experts/tiny-base/tokenizer.json", 5, 40, 1])
            self.assertEqual((drawn.stderr.decode().count('"finished":0,'), drawn.stdout.decode().count('"closed":true')), (10, 5))
            self.assertEqual(drawn.returncode, 1)

    def test_what_is_drawn_from_the_dialect_without_a_parser_is_accepted_again(self):
        file = SOURCE / "experts/expert-sql/grammar-mysql.gbnf"
        drawn = run([BIN / "gbnf_tool", "draw", file, 300, 1, 0]).stdout.decode().split("\n")[:-1]
        self.assertEqual(len(drawn), 300)
        self.assertTrue(all(accepted(file, [json.loads(line)["text"] for line in drawn])))

    def test_texts_that_people_write(self):
        for file, texts in ACCEPTED.items():
            for text, ok in zip(texts, accepted(SOURCE / file, texts)):
                self.assertTrue(ok, f"{file} refuses {text!r}")
        for file, texts in REFUSED.items():
            for text, ok in zip(texts, accepted(SOURCE / file, texts)):
                self.assertFalse(ok, f"{file} accepts {text!r}")

    def test_an_unsound_grammar_and_a_production_that_is_never_drawn_are_noticed(self):
        with tempfile.TemporaryDirectory() as folder:
            unsound, unreachable = Path(folder, "a.gbnf"), Path(folder, "b.gbnf")
            unsound.write_text('root ::= "[" ("1" | "1,") "]"\n')
            unreachable.write_text('root ::= "[" "1"? "]"\nother ::= "1" | "2"\n')
            for file, sign in ((unsound, "refused: '[1,]'"), (unreachable, "drawn less than 20 times: other (0)")):
                done = run([sys.executable, "-B", HERE / "soundness.py", BIN, "json", file, 500])
                self.assertEqual(done.returncode, 1)
                self.assertIn(sign, done.stdout.decode())

    def test_the_recogniser_agrees_with_the_definition_of_small_grammars(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "g.gbnf")
            for grammar, good, bad in (
                    ('root ::= "a" root "b" | ""\n', ["", "ab", "aabb"], ["a", "abb", "ba"]),
                    ('root ::= x{2,3} # comment\nx ::= [^a-c\\]] | "\\u00e9"\n', ["zz", "\u00e9zz", "\u4e2d-"], ["z", "zzzz", "za", "]]"]),
                    ('root ::= (a | b)+ "."?\na ::= "x" |\n  "y"\nb ::= "z"\n', ["x", "xyz.", "zz"], ["", ".", "x.."]),
                    ('root ::= root "+" root | [0-9]\n', ["1", "1+2+3"], ["1+", "+"])):
                file.write_text(grammar, encoding="utf-8")
                self.assertEqual(accepted(file, good + bad), [True] * len(good) + [False] * len(bad), grammar)


if __name__ == "__main__":
    unittest.main(verbosity=2)
