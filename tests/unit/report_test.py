#!/usr/bin/env python3
"""What a training leaves behind, and the report of it. Usage: report_test.py BIN_DIR SOURCE_DIR. Standard library only."""
import csv
import html.parser
import json
import shutil
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

import cli_test
from cli_test import BIN, ENVIRONMENT, TINY, run


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def tf_records(data):
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12])[0] == masked(data[:8])
        payload, data = data[12 : 12 + length], data[12 + length :]
        assert struct.unpack("<I", data[:4])[0] == masked(payload)
        data = data[4:]
        yield payload


class Page(html.parser.HTMLParser):
    """Tags must nest; every attribute is kept."""

    VOID = {"meta", "br", "wbr", "line", "path", "circle"}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        self.text += data


class Reports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = path = Path(cls.folder.name)
        (path / "tokenizer.json").write_text(json.dumps(cli_test.byte_tokenizer()))
        rows = [{"question": f"How <many> t{i}?", "context": f"CREATE TABLE t{i} (a TEXT)", "answer": f"SELECT COUNT(*) FROM t{i}", "group": f"g{i % 2}"} for i in range(60)]
        cls.rows = cls.write("rows.jsonl", rows[:40])
        cls.valid = cls.write("valid.jsonl", rows[40:])
        cls.base = path / "base"
        tool = [BIN / "make_random_model", "--out", cls.base, "--tokenizer", path / "tokenizer.json", "--eos-token-id", "257"]
        subprocess.run(tool, check=True, capture_output=True)
        cls.out = path / "out"
        cls.few = ["--logging-steps", "1", "--eval-steps", "3", "--save-strategy", "steps", "--save-steps", "3"]
        cls.few += ["--model", cls.base, "--data", cls.rows, "--valid", cls.valid]
        cls.arguments = [*cls.few, "--max-steps", "6"]
        cls.trained = cls.train_program(*cls.arguments, "--out", cls.out, "--samples", "3")
        assert cls.trained.returncode == 0, cls.trained.stderr

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def write(cls, name, rows):
        path = cls.path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    @staticmethod
    def train_program(*arguments):
        command = [str(BIN / "expert-sql-tiny-train"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)

    def copy(self):
        return Path(shutil.copytree(self.out, tempfile.mkdtemp(dir=self.path) + "/run"))

    def page(self, out=None):
        return Page(((out or self.out) / "report.html").read_text(encoding="utf-8"))

    def metrics(self):
        return [json.loads(line) for line in (self.out / "metrics.jsonl").read_text().splitlines()]

    def test_progress_is_plain_lines_outside_a_terminal(self):
        text = self.trained.stderr
        self.assertNotIn("\r", text)
        for part in ("step 1/6  loss ", "step 6/6  loss ", "tokens/s", "fill 0.", "memory ", "eta ", "evaluation at step 3: loss ",
                     "saved ", "packing: on (all rows have text)"):
            self.assertIn(part, text)

    def test_the_log_is_the_same_in_jsonl_and_csv(self):
        rows = self.metrics()
        self.assertEqual([row["step"] for row in rows], [1, 2, 3, 3, 4, 5, 6, 6])
        self.assertEqual(sum("eval_loss" in row for row in rows), 2)
        with open(self.out / "metrics.csv", newline="") as file:
            table = list(csv.DictReader(file))
        self.assertEqual(len(table), len(rows))
        for cells, row in zip(table, rows):
            self.assertEqual({key: float(cell) for key, cell in cells.items() if cell}, {key: float(value) for key, value in row.items()})

    def test_the_event_file_is_framed_and_has_every_scalar(self):
        files = list(self.out.glob("events.out.tfevents.*"))
        self.assertEqual(len(files), 1)
        payloads = list(tf_records(files[0].read_bytes()))
        self.assertIn(b"brain.Event:2", payloads[0])
        self.assertEqual(len(payloads), 2 + len(self.metrics()))  # version, session log, one for each row
        for tag in (b"train/loss", b"train/grad_norm", b"train/learning_rate", b"train/tokens_per_second"):
            self.assertEqual(sum(tag in payload for payload in payloads), 6)
        self.assertEqual(sum(b"eval/loss" in payload for payload in payloads), 2)

    def test_run_json_says_what_was_run(self):
        record = json.loads((self.out / "run.json").read_text())
        self.assertEqual(record["status"], "finished")
        self.assertEqual(record["expert"]["name"], "expert-sql-tiny")
        self.assertIn("ExpertTiny", record["expert"]["type"])
        self.assertRegex(record["build"]["git"], "^([0-9a-f]{40}(-dirty)?|unknown)$")
        for key in ("compiler", "flags", "version"):
            self.assertTrue(record["build"][key])
        self.assertGreaterEqual(record["machine"]["cores"], 1)
        self.assertTrue(record["machine"]["isa"])
        self.assertIn("--max-steps 6", record["command_line"])
        values = {row["pointer"]: row for row in record["configuration"]}
        self.assertEqual(values["/training/config/max_steps"], {"pointer": "/training/config/max_steps", "value": 6, "origin": "flag"})
        self.assertEqual(values["/base_models/0/adapters/0/r"]["origin"], "manifest")
        self.assertIn("DoRA<12", values["/base_models/0/adapters/0/r"]["policy"])
        self.assertEqual(values["/training/config/save_total_limit"]["origin"], "default")
        self.assertFalse(any("_comment" in pointer for pointer in values))
        data = record["data"]["train"]
        self.assertEqual((data["rows"], data["row_path"], data["shapes"]), (40, "packed", {"question/answer": 40}))
        self.assertEqual(record["data"]["evaluation"]["rows"], 20)
        self.assertRegex(data["sha256"], "^[0-9a-f]{64}$")
        buffers = record["memory"]["buffers"]
        self.assertLessEqual(sum(buffer["bytes"] for buffer in buffers), record["memory"]["planned_bytes"])
        self.assertGreater(record["memory"]["rss_peak_bytes"], 0)
        self.assertEqual(record["results"]["global_step"], 6)

    def test_the_report_fetches_nothing_and_shows_every_section(self):
        page = self.page()
        self.assertNotIn("script", page.tags)
        self.assertNotIn("link", page.tags)
        for name, value in page.attributes:
            if name in ("src", "href", "xlink:href", "data", "action", "poster"):
                self.assertTrue(value.startswith("#"), (name, value))
        for part in ("expert-sql-tiny", "Training", "Samples", "Data", "Memory", "Configuration", "Machine and build", "Use it",
                     "/training/config/learning_rate", "first moment of the optimizer (f32)", "all rows have text", "How <many> t4",
                     f"--adapter {self.out}"):
            self.assertIn(part, page.text)
        self.assertEqual(page.tags.count("article"), 3)

    def test_samples_are_answers_of_base_and_expert(self):
        samples = json.loads((self.out / "samples.json").read_text())["rows"]
        self.assertEqual(len(samples), 3)
        for sample in samples:
            self.assertEqual([answer["system"] for answer in sample["answers"]], ["base", "expert"])
            self.assertTrue(sample["reference"].startswith("SELECT COUNT(*)"))
            self.assertTrue(sample["question"].startswith("How <many>"))

    def test_the_train_program_is_expert_cli_train(self):
        other = self.path / "by_cli"
        result = run("train", *self.arguments, "--manifest", TINY, "--out", other, "--samples", "0")
        self.assertEqual(result.returncode, 0, result.stderr)
        name = "adapter_model.safetensors"
        self.assertEqual((other / name).read_bytes(), (self.out / name).read_bytes())
        self.assertFalse((other / "samples.json").exists())
        self.assertNotIn("Samples", self.page(other).text)

    def test_the_train_program_refuses_a_manifest_of_another_type_and_an_unknown_flag(self):
        out = self.path / "no"
        result = self.train_program(*self.arguments, "--out", out, "--set", "base_models.0.adapters.0.r=16")
        self.assertEqual(result.returncode, 2)
        self.assertIn("/base_models/0/adapters/0/r", result.stderr)
        result = self.train_program(*self.arguments, "--out", out, "--max-step", "3")
        self.assertEqual(result.returncode, 2)
        self.assertIn("EXPERT-E400", result.stderr)
        self.assertIn("--max-steps", result.stderr)
        self.assertFalse(out.exists())

    def test_a_resumed_run_logs_each_step_once(self):
        out = self.path / "resumed"
        constant = [*self.few, "--out", out, "--lr-scheduler", "constant", "--warmup-ratio", "0", "--samples", "0"]
        first = self.train_program(*constant, "--max-steps", "4")
        self.assertEqual(first.returncode, 0, first.stderr)
        more = self.train_program(*constant, "--max-steps", "6", "--resume")
        self.assertEqual(more.returncode, 0, more.stderr)
        steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines() if '"loss"' in line]
        self.assertEqual(steps, [1, 2, 3, 4, 5, 6])
        self.assertEqual(len(list(out.glob("events.out.tfevents.*"))), 2)
        self.assertEqual(json.loads((out / "run.json").read_text())["training"]["resumed_from_step"], 4)

    def test_report_adds_evaluations_and_answers(self):
        out = self.copy()
        share = {"n": 20, "count": 15, "share": 0.75, "low": 0.53, "high": 0.89}
        eval_file = self.path / "eval.json"
        eval_file.write_text(json.dumps({"n": 20, "execution_match": share, "groups": {"g0": {"n": 10, "execution_match": share}}, "exit_code": 0}))
        rows = [json.loads(line) for line in self.valid.read_text().splitlines()]
        base = self.write("base_answers.jsonl", [dict(row, output="<b>no</b>") for row in rows])
        good = self.write("good_answers.jsonl", [dict(row, output=row["answer"], eval={"parse_valid": True, "execution_match": True}) for row in rows])
        extras = ["--eval", f"expert={eval_file}", "--answers", f"base={base}", "--answers", f"expert={good}", "--samples", "4"]
        result = run("report", out, *extras, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout)["report"], f"{out}/report.html")
        page = self.page(out)
        for part in ("Evaluation", "execution match", "75.0", "<b>no</b>", "right result"):
            self.assertIn(part, page.text)
        self.assertEqual(page.tags.count("article"), 4)
        self.assertNotIn("b", page.tags)
        self.assertEqual(run("report", out).returncode, 0)
        self.assertNotIn("Evaluation", self.page(out).text)

    def test_rows_of_one_id_may_be_asked_in_another_form(self):
        out = self.copy()
        rows = [dict(json.loads(line), id=i) for i, line in enumerate(self.valid.read_text().splitlines())]
        own = self.write("own.jsonl", [dict(row, prompt="CREATE raw", output="x") for row in rows])
        chat = self.write("chat.jsonl", [dict(row, output="y") for row in rows])
        result = run("report", out, "--answers", f"base={own}", "--answers", f"expert={chat}", "--samples", "2")
        self.assertEqual(result.returncode, 0, result.stderr)
        page = self.page(out).text
        self.assertNotIn("CREATE raw", page)
        self.assertGreaterEqual(min(page.count("base"), page.count("expert")), 2)

    def test_report_refuses_what_it_cannot_show(self):
        rows = [json.loads(line) for line in self.valid.read_text().splitlines()]
        base = self.write("one.jsonl", [dict(row, output="x") for row in rows])
        other = self.write("other.jsonl", [dict(row, output="x") for row in reversed(rows)])
        for arguments, code in [
            ((self.path / "nothing",), 200),
            ((self.out, "--eval", "no file"), 401),
            ((self.out, "--eval", "a=" + str(self.path / "none.json")), 200),
            ((self.out, "--answers", f"a={base}", "--answers", f"b={other}"), 401),
        ]:
            result = run("report", *arguments)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(f"EXPERT-E{code}", result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
