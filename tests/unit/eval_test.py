#!/usr/bin/env python3
"""expert-cli eval and check sql_exec from outside. Usage: eval_test.py BIN_DIR SOURCE_DIR. Standard library only."""
import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

BIN, SOURCE = Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
TINY = SOURCE / "experts/expert-sql/tiny/manifest.json"
ENVIRONMENT = dict(os.environ, LC_ALL="C")
METRICS = ("parse_valid", "executes", "exact", "execution_match")
SKIPPED = 77

CONTEXT = "CREATE TABLE users (id INTEGER, name TEXT, age REAL); CREATE TABLE pets (owner INTEGER, kind TEXT)"
DBS = [
    "INSERT INTO \"users\" VALUES (1, 'ann', 30), (2, 'bob', 41), (3, 'ann', 30);\nINSERT INTO pets VALUES (1, 'cat'), (3, 'dog')",
    "INSERT INTO users VALUES (7, 'eve', 41), (8, 'ann', 19); INSERT INTO pets VALUES (7, 'cow')",
]
BOMB = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
HOSTILE = {
    "endless recursion": BOMB,
    "recursion that keeps its rows": BOMB.replace("count(*)", "*"),
    "growing text": "WITH RECURSIVE c(x) AS (SELECT 'a' UNION ALL SELECT x || x FROM c) SELECT max(length(x)) FROM c",
    "a cross join": "SELECT count(*) FROM " + ", ".join(f"users u{i}" for i in range(40)),
    "a large result": "SELECT * FROM " + ", ".join(f"users u{i}" for i in range(12)),
    "zeroblob": "SELECT zeroblob(1000000000)",
    "randomblob": "SELECT hex(randomblob(1000000000))",
    "printf": "SELECT printf('%.*c', 1000000000, 'x')",
    "a blob to hex and back": "SELECT replace(replace(quote(name), 'a', name || name), 'n', name) FROM users, missing",
    "ATTACH": "ATTACH '/tmp/expert_eval_test.db' AS x",
    "PRAGMA": "PRAGMA journal_mode = WAL",
    "a pragma as a table": "SELECT * FROM pragma_database_list",
    "the catalogue": "SELECT sql FROM sqlite_master",
    "load_extension": "SELECT load_extension('/lib/x86_64-linux-gnu/libc.so.6')",
    "readfile": "SELECT readfile('/etc/passwd')",
    "DROP": "DROP TABLE users",
    "DELETE": "DELETE FROM users",
    "INSERT that returns": "INSERT INTO users VALUES (9, 'x', 1) RETURNING id",
    "VACUUM INTO": "VACUUM INTO '/tmp/expert_eval_test.db'",
    "EXPLAIN": "EXPLAIN SELECT 1",
    "a transaction": "BEGIN",
    "two statements": "SELECT name FROM users; SELECT name FROM users",
    "a NUL byte": "SELECT name FROM users\0 WHERE 1 = 0",
    "parentheses": "SELECT " + "(" * 100_000 + "1" + ")" * 100_000,
    "open parentheses": "SELECT " + "(" * 100_000,
    "nested subqueries": "SELECT (" * 20_000 + "1" + ")" * 20_000,
    "a long chain": "SELECT 1" + " + 1" * 200_000,
    "a long NOT chain": "SELECT " + "NOT " * 200_000 + "1",
    "many UNIONs": "SELECT 1" + " UNION SELECT 1" * 50_000,
    "a megabyte": "SELECT '" + "x" * (1 << 20) + "'",
    "a LIKE pattern with much to try": "SELECT 1 FROM users WHERE name LIKE '" + "%a" * 5_000 + "'",
    "a parameter": "SELECT ?",
    "two double quotes": 'SELECT name FROM users WHERE name = "ann"',
    "lone surrogates and noise": "\ufffe\u0001\u007f SELECT",
}


def run(*arguments):
    command = [str(BIN / "expert-cli"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=ENVIRONMENT)


class Eval(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = Path(self.folder.name)

    def judged(self, rows, *arguments):
        """The rows' verdicts and the totals."""
        file, out = self.path / "rows.jsonl", self.path / "judged.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        result = run("eval", "--manifest", TINY, "--input", file, "--output", out, "--json", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.said = result.stderr
        return [json.loads(line)["eval"] for line in out.read_text().splitlines()], json.loads(result.stdout)

    def verdict(self, output, answer="SELECT name FROM users", **keys):
        row = dict(question="q", context=CONTEXT, answer=answer, dbs=DBS, output=output, **keys)
        return self.judged([row])[0][0]

    def test_the_right_answer_has_every_mark(self):
        verdict = self.verdict("SELECT name FROM users")
        self.assertEqual({metric: True for metric in METRICS}, verdict)

    def test_exact_is_equal_after_the_parsers_round_trip(self):
        for output in ("select  NAME from Users;", "SELECT (name) FROM users -- all of them", "SELECT name\nFROM users"):
            self.assertTrue(self.verdict(output)["exact"], output)
        for output in ('SELECT "Name" FROM users', "SELECT u.name FROM users u", "SELECT DISTINCT name FROM users", "SELECT name FROM", ""):
            self.assertFalse(self.verdict(output)["exact"], output)

    def test_execution_match_compares_results_not_texts(self):
        for output, answer, same in (
            ("SELECT u.name FROM users u", "SELECT name FROM users", True),
            ("SELECT name FROM users ORDER BY name DESC", "SELECT name FROM users", True),  # the reference has no order
            ("SELECT name FROM users ORDER BY name DESC", "SELECT name FROM users ORDER BY name", False),
            ("SELECT DISTINCT name FROM users", "SELECT name FROM users", False),  # how often counts
            ("SELECT age, name FROM users", "SELECT name, age FROM users", False),  # the order of columns too
            ("SELECT name, name FROM users", "SELECT name FROM users", False),
            ("SELECT 2", "SELECT 2.0", True),  # numbers by value
            ("SELECT '2'", "SELECT 2", False),
            ("SELECT count(*) FROM users", "SELECT sum(1) FROM users", True),
            ("SELECT name FROM users WHERE id < 3", "SELECT name FROM users WHERE age < 35", False),  # one database alone tells
            ("SELECT name AS n FROM users", "SELECT name FROM users", True),  # names of columns do not count
        ):
            verdict = self.verdict(output, answer)
            self.assertEqual(verdict["execution_match"], same, (output, answer, verdict))
            self.assertTrue(verdict["executes"])

    def test_an_answer_is_one_query(self):
        for output in ("", "   ", ";", "-- nothing", "/* nothing */", "SELECT 1; SELECT 1", "nonsense", "SELECT FROM WHERE"):
            verdict = self.verdict(output)
            self.assertEqual([verdict[metric] for metric in METRICS], [False] * 4, output)
        for output in ("SELECT name FROM users;", "SELECT name FROM users ; -- end", "WITH u AS (SELECT name FROM users) SELECT * FROM u"):
            verdict = self.verdict(output)
            self.assertTrue(verdict["parse_valid"] and verdict["executes"], verdict)

    def test_names_that_are_not_there_parse_and_do_not_run(self):
        verdict = self.verdict("SELECT missing FROM users")
        self.assertEqual((verdict["parse_valid"], verdict["executes"], verdict["execution_match"]), (True, False, False))
        self.assertIn("no such column", verdict["message"])

    def test_nothing_hostile_runs_and_the_rows_beside_it_are_judged(self):
        good = dict(context=CONTEXT, answer="SELECT name FROM users", dbs=DBS, output="SELECT name FROM users")
        rows = [good]
        for output in HOSTILE.values():
            rows += [dict(good, output=output), good]
        verdicts, totals = self.judged(rows)
        for name, verdict in zip(HOSTILE, verdicts[1::2]):
            self.assertFalse(verdict["executes"], (name, verdict))
            self.assertFalse(verdict["execution_match"], name)
            self.assertFalse(verdict["exact"], name)
        for verdict in verdicts[0::2]:
            self.assertEqual(verdict, {metric: True for metric in METRICS})
        self.assertEqual(totals["executes"]["count"], len(HOSTILE) + 1)
        self.assertFalse(Path("/tmp/expert_eval_test.db").exists())

    def test_hostile_references_and_databases_cost_their_row_only(self):
        good = dict(context=CONTEXT, answer="SELECT name FROM users", dbs=DBS, output="SELECT name FROM users")
        fill = BOMB.replace("count(*)", "x, x, x")
        cases = [
            dict(good, answer=BOMB),
            dict(good, dbs=[f"INSERT INTO users {fill}"] * 2),
            dict(good, dbs=["ATTACH '/tmp/expert_eval_test.db' AS x"]),
            dict(good, dbs=["SELECT 1"]),
            dict(good, context="CREATE TABLE users ("),
            dict(good, answer="SELECT " + "(" * 100_000),
        ]
        verdicts, totals = self.judged([row for case in cases for row in (case, good)])
        for verdict in verdicts[1::2]:
            self.assertEqual(verdict, {metric: True for metric in METRICS})
        self.assertTrue(all(verdict["execution_match"] is None for verdict in verdicts[0::2]))
        gaps = totals["not_measured"]
        self.assertEqual((gaps["reference_fails"], gaps["database_fails"], gaps["reference_not_parsed"]), (1, 4, 1))
        self.assertEqual(totals["execution_match"]["n"], len(cases))

    def test_what_is_not_measured_is_counted_and_said(self):
        rows = [
            dict(output="SELECT 1", answer="SELECT 1"),  # no databases
            dict(output="SELECT name FROM users", context=CONTEXT, dbs=DBS),  # no answer
            dict(output="SELECT name FROM users", answer="SELECT name FROM users WHERE id = 1", context=CONTEXT, dbs=DBS),  # empty on one
            dict(output="SELECT 1", answer="SELECT FROM WHERE", context=CONTEXT, dbs=DBS),
            dict(output="SELECT 1"),
            dict(output="SELECT 1", answer="SELECT 1", dbs=[]),
            dict(output="SELECT a FROM t", answer="SELECT a FROM t", dbs=["CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('x')"]),
        ]
        verdicts, totals = self.judged(rows)
        self.assertEqual([totals[metric]["n"] for metric in METRICS], [7, 4, 4, 1])
        self.assertEqual(totals["execution_match"]["count"], 1)
        expected = dict(without_answer=2, reference_not_parsed=1, without_databases=3, database_fails=0, reference_fails=0, reference_empty=1)
        self.assertEqual(totals["not_measured"], expected)
        self.assertIsNone(verdicts[0]["executes"])
        self.assertIsNone(verdicts[1]["exact"])
        self.assertTrue(verdicts[2]["executes"])
        self.assertIsNone(verdicts[2]["execution_match"])
        self.assertIn("not measured: 3 rows, no `dbs`", self.said)
        _, nothing = self.judged(rows[4:5])
        self.assertEqual(nothing["exact"], dict(n=0, count=0, share=None, low=None, high=None))

    def test_groups_limit_and_intervals(self):
        rows = [dict(output="SELECT 1" if i < 9 else "no", answer="SELECT 1", source="a" if i % 2 else "b") for i in range(10)]
        rows.append(dict(output="SELECT 1", answer="SELECT 1"))
        _, totals = self.judged(rows, "--group", "source", "--limit", 10)
        self.assertEqual(totals["n"], 10)
        share = totals["parse_valid"]
        self.assertEqual((share["n"], share["count"], share["share"]), (10, 9, 0.9))
        self.assertAlmostEqual(share["low"], 0.5958, 4)
        self.assertAlmostEqual(share["high"], 0.9821, 4)
        self.assertEqual({name: (g["n"], g["exact"]["count"]) for name, g in totals["groups"].items()}, {"a": (5, 4), "b": (5, 5)})
        self.assertIn("source a: 5 rows", self.said)
        _, totals = self.judged(rows, "--group", "source")
        self.assertEqual(totals["groups"]["(none)"]["n"], 1)

    def test_a_prefix_stands_before_every_answer(self):
        row = dict(question="q", context=CONTEXT, answer="SELECT name FROM users", dbs=DBS, output=" name FROM users")
        self.assertFalse(self.judged([row])[0][0]["parse_valid"])
        self.assertEqual(self.judged([row], "--prefix", "SELECT")[0][0], {metric: True for metric in METRICS})
        self.assertEqual(json.loads((self.path / "judged.jsonl").read_text())["output"], "SELECT name FROM users")

    def test_rows_as_they_come(self):
        file = self.path / "rows.jsonl.gz"
        file.write_bytes(gzip.compress(b'{"output": "SELECT 1", "answer": "SELECT 1"}\n'))
        result = run("eval", "--manifest", TINY, "--input", file, "--json")
        self.assertEqual(json.loads(result.stdout)["exact"]["count"], 1)
        for row, where in (({}, "/output"), ({"output": 1}, "/output"), ({"output": "", "dbs": "x"}, "/dbs"), ({"output": "", "dbs": [1]}, "/dbs/0"), ({"output": "", "answer": 1}, "/answer")):
            file = self.path / "bad.jsonl"
            file.write_text(json.dumps(row))
            result = run("eval", "--manifest", TINY, "--input", file)
            self.assertEqual(result.returncode, 2)
            self.assertIn("EXPERT-E255", result.stderr)
            self.assertIn(f"line 1, {where}", result.stderr)
        file.write_text("\n")
        self.assertIn("EXPERT-E256", run("eval", "--manifest", TINY, "--input", file).stderr)

    def manifest(self, language, **evaluation):
        manifest = json.loads(TINY.read_text())
        manifest["training"]["decoding"]["grammar_type"] = language
        manifest["evaluation"] = evaluation
        file = self.path / "manifest.json"
        file.write_text(json.dumps(manifest, indent=2) + "\n")
        return file

    def test_the_suite_text_judges_every_language(self):
        rows = self.path / "rows.jsonl"
        cases = {
            "json": [('{"a": [1, 2.0]}', '{"a": [1.0, 2]}', True), ('{"b": 1, "a": null}', '{"a": null, "b": 1}', True), ("[1, 2]", "[2, 1]", False),
                     ('{"a": 1}', '{"a": true}', False), ("[1]", "[1, 2]", False), ("{a: 1}", "{}", None)],
            "cypher": [(" MATCH (n) RETURN n\n", "MATCH (n) RETURN n", True), ("MATCH (m) RETURN m", "MATCH (n) RETURN n", False), ("MATCH (n", "MATCH (n) RETURN n", None)],
            "sql-sqlite": [("SELECT 1", "SELECT 1 ", True), ("SELECT FROM", "SELECT 1", None)],
            "typescript": [("let a = 1;", "let a = 1;", True), ("let = ;", "let a = 1;", None)],
        }
        for language, judged in cases.items():
            rows.write_text("".join(json.dumps(dict(output=output, answer=answer)) + "\n" for output, answer, _ in judged))
            out = self.path / "out.jsonl"
            result = run("eval", "--manifest", self.manifest(language), "--input", rows, "--output", out, "--json")
            if "EXPERT-E361" in result.stderr:
                continue  # no TypeScript compiler on this machine
            self.assertEqual(result.returncode, 0, result.stderr)
            verdicts = [json.loads(line)["eval"] for line in out.read_text().splitlines()]
            for (output, answer, exact), verdict in zip(judged, verdicts):
                self.assertEqual((verdict["parse_valid"], verdict["exact"]), (exact is not None, bool(exact)), (language, output, answer))
                self.assertNotIn("executes", verdict)
            self.assertEqual(json.loads(result.stdout)["suite"], "text")
        rows.write_text('{"output": "1", "answer": "{"}\n{"output": "1"}\n')
        result = run("eval", "--manifest", self.manifest("json"), "--input", rows, "--json")
        gaps = json.loads(result.stdout)["not_measured"]
        self.assertEqual((gaps["reference_not_parsed"], gaps["without_answer"]), (1, 1))

    def test_suite_and_metrics_are_the_manifests(self):
        """E416: a suite that does not fit; E417: a metric that it does not have."""
        rows = self.path / "rows.jsonl"
        rows.write_text('{"output": "SELECT 1", "answer": "SELECT 1"}\n')
        for language, evaluation, number, said in (
            ("json", dict(suite="sql"), 416, "grammar_type"),
            ("sql-sqlite", dict(suite="sql"), 416, "sql-postgres"),
            ("json", dict(suite="bleu"), 416, "/evaluation/suite"),
            ("json", dict(metrics=["executes"]), 417, "parse_valid, exact"),
            ("sql-postgres", dict(metrics=["exact", "rouge"]), 417, "rouge"),
        ):
            result = run("eval", "--manifest", self.manifest(language, **evaluation), "--input", rows)
            self.assertEqual(result.returncode, 2)
            self.assertIn(f"EXPERT-E{number}", result.stderr)
            self.assertIn(said, result.stderr)
        result = run("eval", "--manifest", self.manifest("sql-postgres", suite="text", metrics=["exact"]), "--input", rows, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        found = json.loads(result.stdout)
        self.assertEqual(found["exact"]["count"], 1)
        self.assertNotIn("parse_valid", found)

    def test_write_puts_the_figures_into_the_manifest_and_nothing_else_changes(self):
        rows = self.path / "rows.jsonl"
        rows.write_text('{"output": "SELECT 1", "answer": "SELECT 1"}\n{"output": "no", "answer": "SELECT 1"}\n')
        file = self.path / "manifest.json"
        before = TINY.read_text()
        file.write_text(before)
        for _ in range(2):  # added, then replaced
            self.assertEqual(run("eval", "--manifest", file, "--input", rows, "--write").returncode, 0)
            after = file.read_text()
            quality = json.loads(after)["quality_metrics"]
            at = after.index(',\n  "quality_metrics"')
            self.assertEqual(after[:at], before.rstrip()[:-1].rstrip())
            self.assertEqual((quality["n"], quality["data_sha256"]), (2, hashlib.sha256(rows.read_bytes()).hexdigest()))
            self.assertEqual(quality["exact"]["share"], 0.5)
            self.assertNotIn("executes", quality)  # not measured
            self.assertNotIn("commit", quality)  # no work tree
            self.assertEqual(run("validate", file).returncode, 0)
        for hand_written in ({}, {"accuracy": 0.9}, dict(quality, exact=0.9), dict(quality, n=0), 0.9, dict(quality, exact=dict(share=0.9, low=0.95, high=1))):
            manifest = dict(json.loads(before), quality_metrics=hand_written)
            file.write_text(json.dumps(manifest))
            result = run("validate", file)
            self.assertEqual(result.returncode, 2, hand_written)
            self.assertIn("EXPERT-E418", result.stderr)


class CheckSqlExec(unittest.TestCase):
    def check(self, text):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "query.sql"
            file.write_text(text, errors="surrogatepass")
            return run("check", "sql_exec", file, "--json")

    def test_a_query_that_runs_is_accepted(self):
        for text in ("SELECT 1", "SELECT 1;\n", "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100) SELECT sum(x) FROM c",
                     f"{CONTEXT};\n{DBS[0]};\nSELECT name, count(*) FROM users JOIN pets ON owner = id GROUP BY name;"):
            result = self.check(text)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("reads it as one SELECT", json.loads(result.stdout)["summary"])
        self.assertIn("does not read it", json.loads(self.check("SELECT 'a' GLOB '*'").stdout)["summary"])

    def test_whatever_else_is_refused_with_the_reason(self):
        for name, text in HOSTILE.items():
            result = self.check(text if "users" not in text else f"{CONTEXT};\n{DBS[0]};\n{text}")
            self.assertEqual(result.returncode, 2, name)
            self.assertRegex(result.stderr, "EXPERT-E(406|202)", name)
        for text, reason in (("SELECT 1; SELECT 2", "several statements"), ("ATTACH 'x' AS y", "ATTACH"), ("PRAGMA user_version", "PRAGMA"), (BOMB, "10^7 steps"),
                             ("", "no statement"), ("SELECT * FROM users", "no such table"), ("SELECT 1; DROP TABLE x", "no such table")):
            self.assertIn(reason, json.loads(self.check(text).stdout)["errors"][0]["got"], text)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as empty:
        (Path(empty) / "query.sql").write_text("SELECT 1")
        if "EXPERT-E405" in run("check", "sql_exec", Path(empty) / "query.sql").stderr:
            print("built without libpg_query and SQLite: nothing to test")
            sys.exit(1 if "EXPERT_ALL_PARSERS" in os.environ else SKIPPED)
    unittest.main(verbosity=2)
