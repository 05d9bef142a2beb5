"""The generated SQL rows: the same bytes from the same seed, nothing shared with training, answers that hold."""
import collections
import gzip
import json
import re
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop())
TINY = ROOT / "experts/expert-sql/tiny"
sys.path.insert(0, str(TINY))
import make_rows  # noqa: E402


class SqlRows(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def make(self, kind, name, *flags):
        path = self.folder / name
        command = [sys.executable, str(TINY / "make_rows.py"), kind, "--out", str(path), *flags]
        subprocess.run(command, check=True, capture_output=True)
        return path

    def test_training_and_test_rows_share_nothing(self):
        report = make_rows.overlap(make_rows.train_rows(12000), make_rows.test_rows(800))
        self.assertEqual(set(report), {"schemas", "wordings", "compositions", "nouns"})
        for group, counts in report.items():
            self.assertGreater(counts.pop("rows"), 100, group)
            self.assertEqual(set(counts.values()), {0}, (group, counts))

    def test_overlap_is_seen_where_there_is_some(self):
        train = list(make_rows.train_rows(50))
        test = [({**row, "group": "schemas"}, query) for row, query in train]
        counts = make_rows.overlap(train, test)["schemas"]
        self.assertEqual((counts["table names"], counts["column sets"], counts["questions"]), (50, 50, 50))

    def test_the_same_seed_gives_the_same_bytes_and_a_shorter_file_is_its_beginning(self):
        for kind in ("train", "test", "base"):
            first = self.make(kind, "a.gz", "--rows", "60").read_bytes()
            (self.folder / "a.gz").unlink()
            self.assertEqual(first, self.make(kind, "a.gz", "--rows", "60").read_bytes())
            long = gzip.decompress(first)
            short = gzip.decompress(self.make(kind, "b.gz", "--rows", "20").read_bytes())
            self.assertTrue(long.startswith(short), kind)

    def test_every_reference_holds_on_both_fillings(self):
        for row, _ in make_rows.test_rows(300):
            self.assertEqual(len(row["dbs"]), 2)
            for script in row["dbs"]:
                database = sqlite3.connect(":memory:")
                for statement in row["context"].split("; "):
                    database.execute(statement)
                database.executescript(script)
                self.assertTrue(database.execute(row["answer"]).fetchall(), row["id"])
                database.close()

    def test_the_base_never_reads_a_statement_after_its_question(self):
        forms = collections.Counter()
        for row in [row for row, _ in zip(make_rows.base_rows(4000), range(4000))]:
            text = row.get("text") or row["prompt"] + row["completion"]
            lines = [line for line in text.split("\n") if line and not line.startswith("CREATE TABLE")]
            is_sql = [line.startswith("SELECT ") for line in lines]
            forms["statement, question" if True in is_sql and False in is_sql else is_sql[0]] += 1
            # Once a sentence has come, no statement follows.
            self.assertEqual(is_sql, sorted(is_sql, reverse=True), text)
            self.assertNotIn("<|im_start|>", text)
        self.assertEqual(len(forms), 3)

    def test_the_nearest_neighbour_answers_with_the_names_of_the_new_schema(self):
        train = self.make("train", "train.jsonl", "--rows", "300")
        test = self.make("test", "test.jsonl", "--rows", "40")
        out = self.folder / "answers.jsonl"
        command = [sys.executable, str(TINY / "nearest_neighbour.py"), "--train", str(train), "--input", str(test)]
        subprocess.run([*command, "--output", str(out)], check=True)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual(len(rows), 40)
        trained = set(make_rows.TRAIN_NOUNS)
        foreign = [row for row in rows if set(re.findall(r"\w+", row["output"])) & trained]
        self.assertLess(len(foreign), 4)
        self.assertTrue(any(row["output"] == row["answer"] for row in rows))


if __name__ == "__main__":
    unittest.main()
