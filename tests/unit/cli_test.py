#!/usr/bin/env python3
"""expert-cli from outside: exit codes, messages, files. Usage: cli_test.py BIN_DIR SOURCE_DIR. Standard library only."""
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

BIN, SOURCE = Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
TINY = SOURCE / "experts/expert-sql/tiny/manifest.json"
ENVIRONMENT = dict(os.environ, LC_ALL="C")
PLAIN = ("{%- for message in messages %}\n{{- '<|' + message.role + '|>\\n' + message.content + '\\n' }}\n{%- endfor %}\n"
         "{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- endif %}")  # the chat template of that name


def run(*arguments, **options):
    command = [str(BIN / "expert-cli"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **{"env": ENVIRONMENT, **options})


def byte_tokenizer():
    """Each byte is a token; Qwen's turn markers are special tokens."""
    vocabulary, extra = {}, 256
    for byte in range(256):
        printable = 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174
        vocabulary[chr(byte if printable else extra)] = byte
        extra += not printable
    special = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    added = [dict(id=256 + i, content=c, **special) for i, c in enumerate(("<|im_start|>", "<|im_end|>"))]
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


class Cli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = Path(cls.folder.name)
        ENVIRONMENT["XDG_CACHE_HOME"] = str(cls.path / "cache-home")
        (cls.path / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
        rows = [{"question": f"How many t{i}?", "context": f"CREATE TABLE t{i} (a TEXT)", "answer": f"SELECT COUNT(*) FROM t{i}"} for i in range(40)]
        cls.rows = cls.path / "rows.jsonl.gz"
        cls.rows.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
        cls.base = cls.path / "base"
        subprocess.run([BIN / "make_random_model", "--out", cls.base, "--tokenizer", cls.path / "tokenizer.json", "--eos-token-id", "257"], check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def write(self, name, text):
        path = self.path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def refused(self, result, number, *parts):
        self.assertEqual(result.returncode, 2, result.stderr)
        for part in (f"EXPERT-E{number}", *parts):
            self.assertIn(part, result.stderr)

    def test_check_accepts_what_the_library_reads(self):
        for kind, file in (
            ("jsonl", self.rows),
            ("tokenizer", self.path / "tokenizer.json"),
            ("config", self.base / "config.json"),
            ("safetensors", self.base / "model.safetensors"),
            ("manifest", TINY),
        ):
            result = run("check", kind, file, "--json")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1)
            self.assertEqual(json.loads(result.stdout)["exit_code"], 0)

    def test_check_refuses_with_the_error_and_2(self):
        self.refused(run("check", "jsonl", self.write("bad.jsonl", '{"text": "a"}\n{"text"\n')), 252, "bad.jsonl, line 2")
        self.refused(run("check", "jsonl", self.write("empty.jsonl", "\n")), 256)
        self.refused(run("check", "jsonl", self.write("cut.jsonl.gz", self.rows.read_bytes()[:-9])), 251)
        self.refused(run("check", "safetensors", self.write("short.safetensors", b"\x10")), 220)
        self.refused(run("check", "config", self.write("config.json", "{}")), 230)
        self.refused(run("check", "tokenizer", self.write("t.json", "[]")), 240)
        self.refused(run("check", "manifest", self.write("manifest.json", '{"nme": "x"}')), 101, "/name")
        self.refused(run("check", "jsonl", self.path / "missing"), 200)
        self.refused(run("check", "pickle", self.rows), 401, "safetensors")
        result = run("check", "jsonl", self.path / "bad.jsonl", "--json")
        self.assertEqual(json.loads(result.stdout)["errors"][0]["code"], "EXPERT-E252")

    def test_a_chat_template_is_known_by_its_text_or_refused(self):
        for name, text in (("plain.jinja", PLAIN + "\n"), ("tokenizer_config.json", json.dumps({"chat_template": PLAIN}))):
            result = run("check", "chat_template", self.write(name, text))
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("ok, the chat template plain", result.stderr)
        self.refused(run("check", "chat_template", self.write("own.jinja", "{{ ''.__class__.__mro__ }}")), 419, "own.jinja", "SHA-256")
        self.refused(run("check", "chat_template", self.write("none.json", "{}")), 420, "/chat_template")
        self.refused(run("check", "chat_template", self.write("deep.json", '{"chat_template": ' + "[" * 100000)), 212)

    def test_the_models_own_chat_template_must_be_the_experts(self):
        model = shutil.copytree(self.base, self.path / "templated")
        asked = ("--model", model, "--manifest", TINY)
        commands = {
            "train": ("train", *asked, "--data", self.rows, "--out", self.path / "templated-run"),
            "generate": ("generate", *asked, "--input", self.rows, "--output", self.path / "templated.jsonl", "--max-new-tokens", 1),
            "chat": ("chat", *asked),
        }
        for name, text in (("tokenizer_config.json", json.dumps({"chat_template": PLAIN})), ("chat_template.jinja", PLAIN)):
            (model / name).write_text(text)
            for command in commands.values():
                result = run(*command, "--json", stdin=subprocess.DEVNULL)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(f"{name}: /chat_template", result.stderr)
                (found,) = json.loads(result.stdout)["mismatches"]
                self.assertEqual((found["manifest"], found["compiled"], found["policy"]), ("plain", "qwen3", "chat_template"))
            (model / name).unlink()
        self.assertFalse((self.path / "templated-run").exists() or (self.path / "templated.jsonl").exists())
        # What cannot be compared is said; a file without a template is no reason to stop.
        for text, said in (({"chat_template": "{{ messages }}"}, True), ({"eos_token": "<|im_end|>"}, False)):
            (model / "tokenizer_config.json").write_text(json.dumps(text))
            result = run(*commands["generate"])
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual("chat template is not compared" in result.stderr, said, result.stderr)
        (model / "tokenizer_config.json").write_text("{")
        self.refused(run(*commands["generate"]), 210, "tokenizer_config.json")

    def test_a_safetensors_file_with_a_number_that_is_not_finite_is_refused(self):
        data = (self.base / "model.safetensors").read_bytes()
        bad = data[:-2] + b"\x80\x7f"  # bf16 infinity
        self.refused(run("check", "safetensors", self.write("infinite.safetensors", bad)), 237)

    def test_unknown_arguments_name_the_nearest_flag(self):
        self.refused(run("tokenize", "--tokeniser", "x"), 400, "--tokenizer")
        self.refused(run("trian"), 400, "train")
        self.refused(run("tokenize", "--tokenizer", "x"), 401, "--input")
        self.assertEqual(run().returncode, 2)
        self.assertEqual(run("--help").returncode, 0)
        self.assertIn("--max-new-tokens", run("generate", "--help").stdout)

    def test_tokenize_writes_ids_and_decoded_text(self):
        rows = self.write("text.jsonl", '{"text": "ab<|im_end|>"}\n{"text": "\\u00e9"}\n')
        out = self.path / "ids.jsonl"
        result = run("tokenize", "--tokenizer", self.path / "tokenizer.json", "--input", rows, "--output", out)
        self.assertEqual(result.returncode, 0, result.stderr)
        written = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual(written, [{"ids": [97, 98, 257], "decoded": "ab<|im_end|>"}, {"ids": [195, 169], "decoded": "\u00e9"}])
        self.refused(run("tokenize", "--tokenizer", self.path / "tokenizer.json", "--input", self.rows, "--output", out), 255, "line 1, /text")

    def train(self, out, *arguments):
        common = ("--model", self.base, "--manifest", TINY, "--data", self.rows, "--out", out)
        return run("train", *common, *arguments)

    def test_train_then_generate(self):
        out = self.path / "adapter"
        # Underscores in a flag are dashes; the manifest's values are changed by path.
        result = self.train(out, "--set", "training.config.max_steps=3", "--set", "training.config.logging_steps=1", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        for line in ("not pinned", "packing: on", "max_steps 3 (flag)", "learning_rate 0.004 (manifest)"):
            self.assertIn(line, result.stderr)
        self.assertEqual(json.loads(result.stdout)["steps"], 3)
        metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual([m["step"] for m in metrics], [1, 2, 3])
        self.assertLess(metrics[2]["loss"], metrics[0]["loss"])
        self.assertEqual(json.loads((out / "adapter_config.json").read_text())["r"], 12)
        self.check_records(out)
        again = self.path / "again"
        self.assertEqual(self.train(again, "--set", "training.config.max_steps=3", "--threads", "1").returncode, 0)
        name = "adapter_model.safetensors"
        self.assertEqual((again / name).read_bytes(), (out / name).read_bytes(), "the thread count changed the result")

        answers = self.path / "answers.jsonl"
        asked = self.write("asked.jsonl", "".join(gzip.decompress(self.rows.read_bytes()).decode().splitlines(keepends=True)[:12]))
        common = ("--model", self.base, "--manifest", TINY, "--input", asked, "--output", answers, "--max_new_tokens", 4)
        for adapter in ("none", out):
            result = run("generate", *common, "--adapter", adapter, "--greedy")
            self.assertEqual(result.returncode, 0, result.stderr)
            rows = [json.loads(line) for line in answers.read_text().splitlines()]
            self.assertEqual(len(rows), 12)
            for row in rows:
                self.assertIn(row["stop_reason"], ("eos", "length", "stop"))
                self.assertLessEqual(row["tokens"], 4)
                self.assertIn("question", row)
                self.assertIsInstance(row["valid"], bool)
                self.assertEqual("invalid" in row, not row["valid"])
                self.assertIsInstance(row["output"], str)
        self.refused(run("generate", *common, "--adapter", self.path / "no"), 200)
        self.refused(run("generate", *common, "--temperature", "-1"), 313, "temperature")
        self.refused(run("generate", *common, "--batch-size", "3"), 314, "1, 2, 4, 8")

        cache = self.path / "prefix.safetensors"
        shared = ("generate", *common, "--adapter", out, "--greedy", "--context", "512", "--kv-cache", cache)
        for said in ("kept in", "read from"):
            result = run(*shared)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(f"shared tokens {said} {cache}", result.stderr)
            self.assertEqual([json.loads(line) for line in answers.read_text().splitlines()], rows)
        self.refused(run(*shared, "--adapter", "none"), 401)  # twice the same flag
        self.refused(run("generate", *common, "--adapter", "none", "--context", "512", "--kv-cache", cache), 315, "adapter")
        other = self.write("other.jsonl", '{"text": "x"}\n')
        self.refused(run("generate", *common[:4], "--input", other, "--output", answers, "--adapter", out, "--context", "512", "--kv-cache", cache), 311, "prefix.safetensors")

    def check_records(self, out):
        """OUT/manifest.json has what training records, and validate refuses it where the files say otherwise."""
        file = out / "manifest.json"
        written = json.loads(file.read_text())
        training, adapter = written["training"], written["base_models"][0]["adapters"][0]
        weights = (out / "adapter_model.safetensors").read_bytes()
        self.assertEqual((adapter["path"], adapter["size_bytes"], adapter["sha256"]), ("adapter_model.safetensors", len(weights), hashlib.sha256(weights).hexdigest()))
        self.assertEqual(training["config"]["max_steps"], 3)  # with the settings of the run
        self.assertEqual((training["trained_on"]["steps"], training["trained_on"]["data_sha256"]), (3, hashlib.sha256(self.rows.read_bytes()).hexdigest()))
        self.assertTrue((out / training["checkpoint"]).is_dir())
        self.assertEqual((out / training["dataset"]["path"]).resolve(), (TINY.parent / json.loads(TINY.read_text())["training"]["dataset"]["path"]).resolve())
        self.assertEqual(run("validate", file, "--model", self.base).returncode, 0, run("validate", file, "--model", self.base).stderr)
        for pointer, value, number in (
            ("training/trained_on/steps", 300, 418),
            ("training/trained_on/data_sha256", "0" * 64, 418),
            ("training/trained_on", "a good corpus", 418),
            ("training/checkpoint", "checkpoint-7", 418),
            ("training/checkpoint", "../base", 418),
            ("training/alternative_checkpoints", ["checkpoint-1"], 418),
            ("training/base_model_version", "0" * 64, 418),
            ("training/base_model_version", "v2", 418),
            ("training/quality_score", 0.95, 418),
            ("base_models/0/adapters/0/sha256", "0" * 64, 120),
        ):
            edited = json.loads(json.dumps(written))
            *path, last = pointer.split("/")
            at = edited
            for key in path:
                at = at[int(key) if isinstance(at, list) else key]
            at[last] = value
            file.write_text(json.dumps(edited))
            self.refused(run("validate", file, "--model", self.base), number, "/" + pointer)
        file.write_text(json.dumps(written))

    def test_generate_and_train_take_the_manifests_test_rows(self):
        manifest = json.loads(TINY.read_text())
        rows = [json.loads(line) for line in gzip.decompress(self.rows.read_bytes()).decode().splitlines()]
        new = dict(rows[0], question="a question that no training row asks")
        self.write("test.jsonl", "".join(json.dumps(row) + "\n" for row in (new, dict(rows[3], answer="SELECT 0"), rows[5])))
        self.write("cases.jsonl", json.dumps(new) + "\n")
        file = self.write("manifest.json", json.dumps(manifest))
        answers = self.path / "answers.jsonl"
        common = ("--model", self.base, "--manifest", file, "--set", "training.config.max_steps=1", "--threads", "1")
        generate = ("generate", "--model", self.base, "--manifest", file, "--output", answers, "--max-new-tokens", 2)
        self.refused(run(*generate), 401, "/training/dataset/test_path")
        manifest["training"]["dataset"]["test_path"] = "test.jsonl"
        file.write_text(json.dumps(manifest))
        result = run(*generate)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("test.jsonl (/training/dataset/test_path, manifest)", result.stderr)
        self.assertEqual(len(answers.read_text().splitlines()), 3)
        manifest["evaluation"] = {"test_cases": "cases.jsonl"}
        file.write_text(json.dumps(manifest))
        self.assertIn("cases.jsonl (/evaluation/test_cases, manifest)", run(*generate).stderr)
        self.assertEqual(len(answers.read_text().splitlines()), 1)

        out = self.path / "with_test_rows"
        result = run("train", *common, "--data", self.rows, "--out", out, "--samples", "0")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("test rows: 2 of 3 rows", result.stderr)
        self.assertIn("the first in line 2", result.stderr)
        record = json.loads((out / "run.json").read_text())["data"]["test"]
        self.assertEqual((record["rows"], record["in_training"]), (3, 2))
        result = run("train", *common, "--data", self.rows, "--out", self.path / "no_test_rows", "--samples", "0", "--set", "training.dataset.test_path=none.jsonl")
        self.assertIn("none.jsonl (test_path) does not exist", result.stderr)

    def test_streaming_keeps_the_tokens_in_a_file_and_goes_on_from_a_checkpoint(self):
        rows = self.write("streamed.jsonl", "".join(json.dumps({"text": "word " * (1 + i % 60)}) + "\n" for i in range(300)))
        common = ("train", "--model", self.base, "--manifest", TINY, "--data", rows, "--set", "training.dataset.streaming=true",
                  "--set", "training.config.save_strategy=steps", "--set", "training.config.save_steps=2")
        adapters = []
        for out, runs in (("streamed_once", (4,)), ("streamed_twice", (2, 4))):
            for steps in runs:
                resume = ("--resume",) if steps != runs[0] else ()
                result = run(*common, "--out", self.path / out, "--set", "training.config.lr_scheduler=constant",
                             "--set", f"training.config.max_steps={steps}", *resume)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertRegex(result.stderr, r"streaming: \d+ tokens in a file")
            self.assertEqual([name for name in os.listdir(self.path / out) if name.startswith(".spool")], [])
            adapters.append((self.path / out / "adapter_model.safetensors").read_bytes())
        self.assertEqual(adapters[0], adapters[1])
        changed = run(*common[:-6], *common[-4:], "--out", self.path / "streamed_twice", "--resume",
                      "--set", "training.config.lr_scheduler=constant", "--set", "training.config.max_steps=6")
        self.refused(changed, 271, "streaming")

    def test_rules_for_rows_act_in_training(self):
        rows = [json.loads(line) for line in gzip.decompress(self.rows.read_bytes()).decode().splitlines()]
        good = dict(question="names?", context="CREATE TABLE users (id INTEGER, name TEXT)", answer="SELECT users.name FROM users")
        data = self.write("rules.jsonl", "".join(json.dumps(dict(good, question=f"names {i}?")) + "\n" for i in range(40)) + json.dumps(dict(good, answer="SELECT x FROM users")) + "\n")

        def train(name, *settings):
            flags = [word for setting in ("training.config.max_steps=1", *settings) for word in ("--set", setting)]
            return run("train", "--model", self.base, "--manifest", TINY, "--data", data, "--out", self.path / name, "--samples", "0", *flags)

        result = train("aliases", "training.dataset.augmentation.table_aliases=true")
        self.assertEqual(result.returncode, 0, result.stderr)
        found = re.search(r"(\d+) rows with table aliases", result.stderr)
        self.assertTrue(found and 8 <= int(found[1]) <= 32, result.stderr)
        self.assertEqual(json.loads((self.path / "aliases/run.json").read_text())["data"]["train"]["with_aliases"], int(found[1]))
        self.assertNotIn("aliases", train("plain").stderr)
        result = train("schema", "training.dataset.validation.validate_schema=true")
        if "EXPERT-E405" not in result.stderr:
            self.assertIn("1 rows left out whose answer does not fit their schema, the first in line 41", result.stderr)
            self.assertEqual(json.loads((self.path / "schema/run.json").read_text())["data"]["train"]["not_by_schema"], 1)
        self.refused(train("json", "training.dataset.validation.validate_json=true"), 259, "/training/dataset/validation/validate_json")

    def test_route_names_the_experts_of_a_request(self):
        def manifest(name, **blocks):
            json_ = dict(json.loads(TINY.read_text()), name=name, **blocks)
            return self.write(f"{name}.json", json.dumps(json_))

        sql = manifest("sql", routing=dict(keywords=["sql", "table"], priority=0.5, router_hint="databases"), constraints=dict(load_order=2))
        other = manifest("json", routing=dict(keywords=["json"], exclude_keywords=["yaml"]), constraints=dict(load_order=1, requires=["sql>=0.1.0"]))
        result = run("route", sql, other, "--text", "the SQL table as JSON", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        found = json.loads(result.stdout)
        self.assertEqual(found["experts"], ["json", "sql"])  # by load_order
        self.assertEqual([(s["expert"], s["score"], s["matches"]) for s in found["scores"]], [("sql", 3, 2), ("json", 1, 1)])
        self.assertIn("expert: none", run("route", sql, other, "--text", "a poem").stderr)
        self.assertEqual(json.loads(run("route", sql, other, "--text", "json or yaml", "--hint", "databases", "--json").stdout)["experts"], ["sql"])
        rows = self.write("requests.jsonl", '{"question": "a table?", "context": "json json"}\n{"text": "a poem"}\n')
        out = self.path / "routed.jsonl"
        result = run("route", sql, other, "--input", rows, "--output", out)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("1 of 2 rows", result.stderr)
        self.assertEqual([json.loads(line)["experts"] for line in out.read_text().splitlines()], [["sql"], []])
        self.refused(run("route", sql), 401)
        self.refused(run("route", other, "--text", "x"), 411, "/constraints/requires")

        result = run("validate", sql, other, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([m["result"]["problems"] for m in json.loads(result.stdout)["manifests"]], [[], []])
        third = manifest("third", constraints=dict(load_order=1, max_chain=1, incompatible_with=["sql"], requires=["json>=9.0.0", "<>"]))
        result = run("validate", sql, other, third, "--json")
        self.assertEqual(result.returncode, 2)
        codes = [e["code"] for e in json.loads(result.stdout)["errors"]]
        self.assertEqual(codes, [f"EXPERT-E{n}" for n in (411, 415, 412, 413, 414)])

    def test_a_grammar_makes_every_finished_answer_valid(self):
        grammar = self.write("two.gbnf", 'root ::= "SELECT " [a-z]{1,2} ";"?\n')
        answers = self.path / "answers.jsonl"
        few = self.write("few.jsonl", "".join(gzip.decompress(self.rows.read_bytes()).decode().splitlines(keepends=True)[:6]))
        common = ("generate", "--model", self.base, "--manifest", TINY, "--input", few, "--output", answers, "--temperature", "2")

        def run_and_read(*more):
            more = more if "--max-new-tokens" in more else (*more, "--max-new-tokens", 12)
            result = run(*common, *more)
            self.assertEqual(result.returncode, 0, result.stderr)
            return result.stderr, [json.loads(line) for line in answers.read_text().splitlines()]

        said, rows = run_and_read("--grammar", grammar, "--validation", "parser")
        self.assertIn(f"grammar: {grammar} (flag); validation: parser (flag)", said)
        for row in rows:
            self.assertRegex(row["output"], r"^SELECT [a-z]{1,2}$")  # the stop sequence ";" is not part of it
            self.assertTrue(row["valid"])
            self.assertIn(row["stop_reason"], ("eos", "stop"))
            self.assertEqual(row.get("stop_sequence"), ";" if row["stop_reason"] == "stop" else None)
        said, rows = run_and_read()
        self.assertIn("grammar: sql-postgres (manifest); validation: parser-strict (manifest)", said)
        self.assertEqual([row["valid"] for row in rows], [True] * 6)  # complete within 12 tokens, which are bytes here
        self.assertTrue(any(row["stop_reason"] == "length" for row in rows))
        schema = self.write("schema.json", '{"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": false}')
        for row in run_and_read("--grammar", schema, "--validation", "none", "--max-new-tokens", 200)[1]:
            self.assertIsNone(row["valid"])
            self.assertIn(json.loads(row["output"]), ({"a": True}, {"a": False}))  # blanks are free, but leave room for the end
        _, rows = run_and_read("--grammar", "none", "--validation", "parser-strict", "--on-invalid", "retry", "--retries", "2")
        self.assertFalse(any(row["valid"] for row in rows))  # an untrained model writes no SQL by chance
        self.refused(run(*common, "--grammar", "none", "--on-invalid", "error"), 317, "line 1")
        self.refused(run(*common, "--greedy", "--on-invalid", "retry"), 401, "greedy")
        self.refused(run(*common, "--grammar", "no-such"), 408, "sql-postgres")
        broken = self.write("broken.gbnf", 'root ::= root "a" | "b"\n')
        self.refused(run(*common, "--grammar", broken), 325, "line 1")

    def test_answers_are_bound_to_the_names_of_a_schema(self):
        grammar = self.write("names.gbnf", 'root ::= "SELECT " column-name " FROM " table-name\ntable-name ::= [a-z]{1,9}\n'
                             'column-name ::= [a-zA-Z0-9]{1,9}\nqualifier ::= table-name\ncolumn-reference ::= column-name\n'
                             'alias-name ::= column-name\noutput-name ::= column-name\n')
        answers = self.path / "answers.jsonl"
        contexts = ("CREATE TABLE tt (ab INT)", "CREATE TABLE uu (cd INT, ef TEXT)", "CREATE TABLE tt (ab INT)")
        few = self.write("bound.jsonl", "".join(json.dumps({"question": "q", "context": context}) + "\n" for context in contexts))
        common = ("generate", "--model", self.base, "--manifest", TINY, "--output", answers, "--temperature", "2", "--max-new-tokens", 40)
        alias = "[a-zA-Z][0-9]{0,2}"

        def run_and_read(*more):
            result = run(*common, "--input", few, "--grammar", grammar, "--validation", "parser", *more)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(", bound to schemas); validation", result.stderr)
            return [json.loads(line)["output"] for line in answers.read_text().splitlines()]

        for text, names in zip(run_and_read("--schema-bound", "--batch-size", 2), (("ab", "tt"), ("cd|ef", "uu"), ("ab", "tt"))):
            self.assertRegex(text, f"^SELECT (?:(?i:{names[0]})|{alias}) FROM (?:(?i:{names[1]})|{alias})$")
        self.assertEqual(run_and_read("--set", "training.decoding.schema_bound=true", "--batch-size", 2), run_and_read("--schema-bound", "--batch-size", 2))
        schema = self.write("db.sql", "CREATE TABLE vv (gh INT);\n")
        for text in run_and_read("--schema", schema):
            self.assertRegex(text, f"^SELECT (?:(?i:gh)|{alias}) FROM (?:(?i:vv)|{alias})$")
        bare = self.write("bare.jsonl", '{"question": "q"}\n')
        self.refused(run(*common, "--input", bare, "--grammar", grammar, "--schema-bound"), 352, "line 1")  # EXPERT-E352
        broken = self.write("broken.sql", "CREATE TABLE t (\n  a INT")
        self.refused(run(*common, "--input", few, "--grammar", grammar, "--schema", broken), 349, "line 2")
        other = self.write("other.gbnf", 'root ::= "x"\n')
        self.refused(run(*common, "--input", few, "--grammar", other, "--schema-bound"), 350, "a rule property")
        self.refused(run(*common, "--input", few, "--grammar", "none", "--schema-bound"), 401, "narrowed")

    def generate_streamed(self, *arguments):
        """What generate wrote to stdout, as bytes, and its rows."""
        answers = self.path / "streamed.jsonl"
        command = [BIN / "expert-cli", "generate", "--model", self.base, "--manifest", TINY, "--output", answers, "--stream", "--validation", "none", *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, timeout=300, env=ENVIRONMENT)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout, [json.loads(line) for line in answers.read_text().splitlines()]

    def test_answers_are_streamed_as_they_are_written(self):
        lines = gzip.decompress(self.rows.read_bytes()).decode().splitlines(keepends=True)[:7]
        few = self.write("streams.jsonl", "\n" + "".join(lines))  # the first row is on line 2
        common = ("--input", few, "--max-new-tokens", 40, "--temperature", "2")
        for more in (("--grammar", "none"), ("--grammar", self.write("abc.gbnf", 'root ::= ("abc" | "ab" | "\u00e9\u4f60"){1,8} ";"?\n'))):
            said, rows = self.generate_streamed(*common, *more)
            self.assertEqual(said.decode(), "".join(row["output"] + "\n" for row in rows))
            said, again = self.generate_streamed(*common, *more, "--json", "--batch-size", 4)
            self.assertEqual(again, rows)
            *pieces, result = [json.loads(line) for line in said.decode().splitlines()]
            texts = {line: "" for line in range(2, 9)}
            for piece in pieces:
                self.assertEqual(sorted(piece), ["row", "text"])
                self.assertTrue(piece["text"])
                texts[piece["row"]] += piece["text"]
            self.assertEqual(list(texts.values()), [row["output"] for row in rows])
            self.assertGreater(len(pieces), len(rows))
            self.assertEqual((result["rows"], result["exit_code"]), (7, 0))
        self.refused(run("generate", "--model", self.base, "--manifest", TINY, "--input", few, "--output", self.path / "x.jsonl", "--stream", "--on-invalid", "retry"), 401, "--stream")

    def chat(self, text, *arguments):
        return run("chat", "--model", self.base, "--manifest", TINY, "--grammar", "none", "--validation", "none", *arguments, input=text)

    def test_chat_answers_line_by_line_as_generate_answers_the_same_messages(self):
        first, second = "How many singers are there in all?", "And how many of them are older than thirty?"
        options = ("--greedy", "--max-new-tokens", 24)
        result = self.chat(f"{first}\n\n{second}\n/help\n/reset\n{first}", *options, "--json", "--system", "Be brief")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("/exit", result.stderr)
        self.assertIn("forgotten", result.stderr)
        *turns, end = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual((len(turns), end["turns"], end["refused"], end["exit_code"]), (3, 3, 0, 0))
        system, user = {"role": "system", "content": "Be brief"}, {"role": "user", "content": first}
        talk = [system, user, {"role": "assistant", "content": turns[0]["output"]}, {"role": "user", "content": second}]
        rows = self.write("talk.jsonl", "".join(json.dumps({"messages": m}) + "\n" for m in ([system, user], talk)))
        answers = self.path / "talk-answers.jsonl"
        asked = run("generate", "--model", self.base, "--manifest", TINY, "--grammar", "none", "--validation", "none", *options, "--input", rows, "--output", answers, "--batch-size", 1)
        self.assertEqual(asked.returncode, 0, asked.stderr)
        expected = [json.loads(line)["output"] for line in answers.read_text().splitlines()]
        self.assertEqual([turn["output"] for turn in turns], [*expected, expected[0]])
        # The keys and values of what a prompt shares with the one before are kept.
        self.assertEqual([turn["turn"] for turn in turns], [1, 2, 3])
        self.assertEqual(turns[0]["kept_tokens"], 0)
        self.assertGreater(turns[1]["kept_tokens"], len(first) + len("Be brief"))
        self.assertEqual(turns[2]["kept_tokens"], turns[2]["prompt_tokens"] - 1 if turns[2]["prompt_tokens"] <= turns[1]["kept_tokens"] else turns[1]["kept_tokens"])
        streamed = subprocess.run([BIN / "expert-cli", "chat", "--model", self.base, "--manifest", TINY, "--grammar", "none", "--validation", "none", *map(str, options), "--system", "Be brief"],
                                  input=first.encode(), capture_output=True, timeout=300, env=ENVIRONMENT)
        self.assertEqual(streamed.stdout.decode(), expected[0] + "\n")

    def test_chat_forgets_the_oldest_turns_and_goes_on_after_a_refused_message(self):
        message = "x" * 40
        result = self.chat("\n".join([message] * 4 + ["y" * 300, "/nonsense", message, "/exit", message]), "--greedy", "--max-new-tokens", 8, "--context", 150, "--json")
        self.refused(result, 318, "turns forgotten, the oldest first: 1", "/nonsense")
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([line.get("turn") for line in lines[:-1]], [1, 2, 3, 4, None, 5])
        self.assertEqual(lines[4]["error"]["code"], "EXPERT-E318")
        self.assertEqual((lines[-1]["turns"], lines[-1]["refused"]), (5, 2))
        self.assertTrue(any(line.get("dropped_turns") for line in lines))
        self.assertTrue(all(line["prompt_tokens"] + 8 <= 150 for line in lines if "turn" in line))
        self.refused(run("chat", "--model", self.base, "--grammar", "none", input=""), 401, "--manifest")
        command = [BIN / "expert-cli", "chat", "--model", self.base, "--manifest", TINY, "--grammar", "none", "--validation", "none", "--max-new-tokens", "2", "--json"]
        result = subprocess.run(command, input=b"\xff\r\ngo on\r\n", capture_output=True, timeout=300, env=ENVIRONMENT)
        self.assertEqual((result.returncode, result.stdout.count(b'"turn":1,'), result.stdout.count(b'"code":"EXPERT-E246"')), (2, 1, 1), result.stdout)

    def test_chat_keeps_to_a_grammar_and_a_schema(self):
        grammar = self.write("chat.gbnf", 'root ::= "SELECT " column-name " FROM " table-name\ntable-name ::= [a-zA-Z0-9]{1,9}\n'
                             'column-name ::= [a-zA-Z0-9]{1,9}\nqualifier ::= table-name\ncolumn-reference ::= column-name\n'
                             'alias-name ::= column-name\noutput-name ::= column-name\n')
        schema = self.write("chat.sql", "CREATE TABLE vv (gh INT);\n")
        common = ("chat", "--model", self.base, "--manifest", TINY, "--grammar", grammar, "--validation", "parser", "--temperature", "2", "--max-new-tokens", 60, "--json")
        result = run(*common, "--schema", schema, input="how many?\nand now?\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(", valid sql-postgres; ", result.stderr)
        alias = "[a-zA-Z][0-9]{0,2}"
        for line in result.stdout.splitlines()[:2]:
            turn = json.loads(line)
            self.assertRegex(turn["output"], f"^SELECT (?:(?i:gh)|{alias}) FROM (?:(?i:vv)|{alias})$")
            self.assertTrue(turn["valid"])
            self.assertGreater(turn["prompt_tokens"], len("Dialect: postgres\nSchema:\nCREATE TABLE vv (gh INT);how many?"))
        self.refused(run(*common, "--schema-bound", input=""), 401, "--schema")
        out = self.path / "talker"
        self.assertEqual(self.train(out, "--set", "training.config.max_steps=1").returncode, 0)
        beside = run("chat", "--model", self.base, "--adapter", out, "--max-new-tokens", 4, input="how many?\n")
        self.assertEqual(beside.returncode, 0, beside.stderr)
        self.assertIn("grammar: sql-postgres (manifest", beside.stderr)

    def test_an_interrupt_ends_the_chat(self):
        command = [BIN / "expert-cli", "chat", "--model", self.base, "--manifest", TINY, "--grammar", "none", "--validation", "none", "--temperature", "2", "--max-new-tokens", "1500", "--set", "training.decoding.stop_sequences=[]"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
            process.stdin.write(b"go on\n" * 200)
            process.stdin.flush()
            for line in process.stderr:
                if line.startswith(b"["):  # what is said of the first answer
                    break
            process.send_signal(signal.SIGINT)
            # Between two answers the signal is not caught; both are 130 in a shell.
            self.assertIn(process.wait(60), (130, -signal.SIGINT))
            process.stderr.close()
            process.stdin.close()

    def test_at_a_terminal_an_interrupt_ends_the_answer_only(self):
        command = [BIN / "expert-cli", "chat", "--model", self.base, "--manifest", TINY, "--grammar", "none", "--validation", "none", "--temperature", "2", "--max-new-tokens", "1900", "--set", "training.decoding.stop_sequences=[]"]
        master, slave = os.openpty()
        with subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
            os.write(master, b"go on\n")
            self.assertTrue(process.stdout.read(1))  # the answer has begun
            process.send_signal(signal.SIGINT)
            os.write(master, b"/exit\n")
            said = process.communicate(timeout=60)[1]
        os.close(master)
        os.close(slave)
        self.assertEqual(process.returncode, 0, said)
        self.assertIn(b"prompt tokens kept; interrupted]", said)
        self.assertIn(b"> ", said)

    def test_grammar_bench_times_the_masks_along_texts(self):
        texts = ("[1, 2, {\"a\": null}]", "[", "\"a long enough text\"")
        rows = self.write("bench.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts))
        common = ("grammar", "bench", "--grammar", "json", "--tokenizer", self.path / "tokenizer.json")
        result = run(*common, "--input", rows, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        measured = json.loads(result.stdout)
        masks = len(texts[0]) + len(texts[2])  # each byte is a token
        self.assertEqual((measured["rows"], measured["refused"], measured["masks"], measured["vocabulary"]), (3, 1, masks, 258))
        for name in ("mask_cold", "mask_warm", "accept_cold", "accept_warm"):
            self.assertEqual(measured[name]["n"], masks)
        for name in ("compile", "compile_and_first_mask", "vocabulary_compile_and_first_mask", "mask_cold", "mask_warm"):
            self.assertLessEqual(measured[name]["median_us"], measured[name]["p99_us"])
            self.assertLessEqual(measured[name]["p99_us"], measured[name]["max_us"])
        self.assertGreaterEqual(measured["vocabulary_us"], 0)
        self.assertIn("mask_warm", run(*common, "--input", rows).stderr)
        self.refused(run(*common, "--input", self.write("no-json.jsonl", '{"text": "["}\n')), 421, "no-json.jsonl")
        self.refused(run(*common[:4], "--input", rows), 401, "--tokenizer")
        self.refused(run(*common, "--input", rows, "--tokeniser", "x"), 400, "--tokenizer")  # of a command below a command

    def test_grammar_accept_judges_texts(self):
        rows = self.write("texts.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in ("SELECT a FROM t", "SELECT FROM", "SELECT 1;")))
        out = self.path / "accepted.jsonl"
        for tokenizer in ((), ("--tokenizer", self.path / "tokenizer.json")):
            result = run("grammar", "accept", "--grammar", "sql-postgres", "--input", rows, "--output", out, *tokenizer)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual([json.loads(line)["accepted"] for line in out.read_text().splitlines()], [True, False, True])
        self.refused(run("grammar", "accept", "--grammar", "json", "--input", self.write("bad.jsonl", '{"x": 1}\n'), "--output", out), 409, "line 1")
        good = run("check", "gbnf", SOURCE / "experts/expert-json/grammar.gbnf")
        self.assertEqual(good.returncode, 0, good.stderr)
        self.assertIn("deterministic", good.stderr)
        self.refused(run("check", "gbnf", self.write("undefined.gbnf", "root ::= nothing\n")), 323, "line 1")

    def test_a_sharded_base_is_the_same_base(self):
        shards = self.path / "shards"
        tool = (BIN / "make_random_model", "--out", shards, "--tokenizer", self.path / "tokenizer.json", "--eos-token-id", "257")
        subprocess.run([*tool, "--shard-bytes", "1000000"], check=True, capture_output=True)
        self.assertGreater(len(list(shards.glob("model-*-of-*.safetensors"))), 3)
        adapters = []
        for model in (self.base, shards):
            out = self.path / f"from_{model.name}"
            one = ("--set", "training.config.max_steps=1")
            result = run("train", "--model", model, "--manifest", TINY, "--data", self.rows, "--out", out, *one)
            self.assertEqual(result.returncode, 0, result.stderr)
            adapters.append((out / "adapter_model.safetensors").read_bytes())
        self.assertEqual(adapters[0], adapters[1])

    def test_a_manifest_that_fits_no_expert_is_refused_with_every_difference(self):
        settings = ("--set", "training.config.max_seq_length=256", "--set", "base_models.0.adapters.0.r=16")
        result = self.train(self.path / "no", *settings)
        self.assertEqual(result.returncode, 2)
        for part in ("/training/config/max_seq_length", "/base_models/0/adapters/0/r", "Packing<256>", "DoRA<16"):
            self.assertIn(part, result.stderr)
        self.assertFalse((self.path / "no").exists())
        other = self.path / "other"
        sizes = ("--num-hidden-layers", "3", "--vocab-size", "300")
        subprocess.run([BIN / "make_random_model", "--out", other, *sizes], check=True, capture_output=True)
        result = run("train", "--model", other, "--manifest", TINY, "--data", self.rows, "--out", self.path / "no")
        self.assertEqual(result.returncode, 2)
        self.assertIn("/num_hidden_layers", result.stderr)
        self.assertIn("/vocab_size", result.stderr)
        self.refused(self.train(self.path / "no", "--set", "nothing"), 112)
        self.refused(self.train(self.path / "no", "--set", f"base_models.0.sha256={'0' * 64}"), 403)

    def test_rows_too_long_for_the_expert_are_reported(self):
        rows = self.write("long.jsonl", json.dumps({"text": "x" * 600}) + "\n" + json.dumps({"text": "short enough"}) + "\n")
        result = run("train", "--model", self.base, "--manifest", TINY, "--data", rows, "--out", self.path / "long", "--set", "training.config.max_steps=1")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("1 rows are longer than 512 tokens and are left out (line 1)", result.stderr)
        rows = self.write("longer.jsonl", json.dumps({"text": "x" * 600}) + "\n")
        self.refused(run("train", "--model", self.base, "--manifest", TINY, "--data", rows, "--out", self.path / "longer"), 257)

    def test_rows_of_text_are_packed_in_every_shape(self):
        turns = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
        shapes = {
            "messages": {"messages": turns},
            "sharegpt": {"conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]},
            "prompt/completion": {"prompt": "2+2=", "completion": "4"},
            "question/answer": {"question": "How many?", "context": "CREATE TABLE t (a TEXT)", "answer": "SELECT COUNT(*) FROM t"},
            "alpaca": {"instruction": "Add.", "input": "2 and 2", "output": "4"},
            "text": {"text": "2+2=4"},
        }
        every = self.write("shapes.jsonl", "".join((json.dumps(row) + "\n") * 5 for row in shapes.values()))
        asked = self.write("asked.jsonl", (json.dumps(shapes["question/answer"]) + "\n") * 20)
        settings = ("--set", "training.config.max_steps=1", "--set", "training.dataset.validation.deduplicate=false")
        common = ("train", "--model", self.base, "--manifest", TINY, *settings, "--set", "training.dataset.validation.min_length=0")
        for rows, said in ((every, ", ".join(f"{name} 5" for name in shapes)), (asked, "question/answer 20")):
            out = self.path / f"packed_{rows.stem}"
            result = run(*common, "--data", rows, "--out", out)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(f"rows ({said})", result.stderr)
            self.assertRegex(result.stderr, r"packing: on \(all rows have text\), [1-9] rows of at most 512 tokens")
            record = json.loads((out / "run.json").read_text())
            self.assertIn('"row_path": "packed"', json.dumps(record))

    def test_comments_and_keyword_case_of_rows_are_what_the_manifest_says(self):
        statements = ("select count(*) from t -- all", "SELECT count(*) FROM t")
        files = [self.write(f"case{i}.jsonl", json.dumps({"question": "How many?", "answer": s}) + "\n") for i, s in enumerate(statements)]
        augmentation = "training.dataset.augmentation"
        losses = []
        for sets in ((), ("--set", f"{augmentation}.case_normalization=upper", "--set", f"{augmentation}.comment_stripping=true")):
            for file in files:
                out = self.path / f"{file.stem}_{len(sets)}"
                common = ("--model", self.base, "--manifest", TINY, "--data", file, "--out", out, "--set", "training.config.max_steps=1")
                result = run("train", *common, *sets)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertNotIn("not built yet: augmentation c", result.stderr)
                losses.append(json.loads((out / "metrics.jsonl").read_text().splitlines()[0])["loss"])
        self.assertNotEqual(losses[0], losses[1])
        self.assertEqual(losses[1:], [losses[1]] * 3)

    def test_the_manifest_names_the_rows_where_no_flag_does(self):
        manifest = json.loads(TINY.read_text())
        dataset = manifest["training"]["dataset"]
        file = self.path / "manifest.json"

        def train(out):
            file.write_text(json.dumps(manifest))
            return run("train", "--model", self.base, "--manifest", file, "--out", self.path / out, "--max-steps", "1", "--samples", "0")

        dataset["path"] = self.rows.name
        result = train("by_path")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"data: {self.rows} (path, manifest)", result.stderr)
        self.assertIn("data: 40 rows", result.stderr)
        dataset["path"] = "none.jsonl"
        self.refused(train("no_file"), 200, "none.jsonl")
        del dataset["path"]
        self.refused(train("no_path"), 401, "--data FILE")

    def test_rows_of_ids_are_trained_one_a_row(self):
        rows = self.write("ids.jsonl", "".join(json.dumps({"input_ids": list(range(i, 2 * i + 3)), "labels": [-100] + list(range(i + 1, 2 * i + 3))}) + "\n" for i in range(20)))
        out = self.path / "from_ids"
        common = ("train", "--model", self.base, "--manifest", TINY, "--set", "training.config.max_steps=1")
        result = run(*common, "--data", rows, "--out", out)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("packing: off, one document a row (20 rows have input_ids and no text, the first in line 1), 20 rows", result.stderr)
        self.assertIn('"row_path": "padded"', json.dumps(json.loads((out / "run.json").read_text())))
        outside = self.write("outside.jsonl", '{"input_ids": [1, 258]}\n')
        self.refused(run(*common, "--data", outside, "--out", self.path / "no"), 255, "line 1, /input_ids/1", "from 0 to 257", "258")
        self.assertIn("input_ids 20 (loss on 9", run("check", "jsonl", rows).stderr)

    def test_the_cache_is_listed_verified_and_cleared(self):
        cache = self.path / "cache"

        def act(action):
            return run("cache", action, "--cache", cache, "--json")

        self.assertEqual(json.loads(act("ls").stdout)["files"], [])
        cache.mkdir()
        packed = cache / ("0" * 32 + ".packed")
        for other in ("notes.txt", "short.packed"):
            (cache / other).write_text("x")
        packed.write_text("not packed weights")
        self.assertEqual([f["path"] for f in json.loads(act("ls").stdout)["files"]], [str(packed)])
        self.refused(act("verify"), 204, packed.name)
        self.refused(run("cache", "ls", env={"PATH": os.environ["PATH"]}), 205)
        self.assertEqual(sorted(os.listdir(cache)), ["notes.txt", "short.packed"])
        packed.write_text("not packed weights")
        self.assertEqual(act("clear").returncode, 0)
        self.assertEqual(sorted(os.listdir(cache)), ["notes.txt", "short.packed"])

    def test_tokenizers_vocabularies_and_own_grammars_are_kept_for_the_next_run(self):
        cache, texts, out = self.path / "kept", self.write("texts.jsonl", '{"text": "SELECT a FROM t"}\n'), self.path / "accepted.jsonl"

        def accept(*more, grammar="sql-postgres"):
            result = run("grammar", "accept", "--grammar", grammar, "--tokenizer", self.path / "tokenizer.json", "--input", texts, "--output", out, *more)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertTrue(json.loads(out.read_text())["accepted"])
            return result.stderr

        first = accept("--cache", cache)
        self.assertIn(f"tokenizer: read and kept in {cache}", first)
        self.assertIn(f"tables of the vocabulary: made and kept in {cache}", first)
        self.assertIn(f"grammar sql-postgres: compiled and kept in {cache}", first)
        own = self.write("own.gbnf", 'root ::= "SELECT a FROM t"')
        for said in (accept("--cache", cache), accept("--cache", "none"), accept("--cache", cache, grammar=own)):
            for kept in ("tokenizer: ", "tables of the vocabulary: ", "grammar "):
                self.assertNotIn(kept, said)
        files = sorted((file for file in cache.iterdir() if file.name != ".lock"), key=lambda file: file.suffix)
        self.assertEqual([file.suffix for file in files], [".grammar", ".tokenizer", ".vocabulary"])
        self.assertEqual(len(json.loads(run("cache", "verify", "--cache", cache, "--json").stdout)["files"]), 3)
        for file in files:
            whole = file.read_bytes()
            file.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
            self.assertIn("again, because EXPERT-E204", accept("--cache", cache))
            self.assertEqual(file.read_bytes(), whole)
        self.assertIn("not kept, EXPERT-E203", accept("--cache", self.path / "tokenizer.json" / "cache"))
        answers, prompts = self.path / "kept-answers.jsonl", self.write("kept.jsonl", '{"question": "How many?", "context": "CREATE TABLE t (a TEXT)"}\n')
        command = ("generate", "--model", self.base, "--manifest", TINY, "--adapter", "none", "--input", prompts, "--output", answers, "--greedy",
                   "--max-new-tokens", "8", "--grammar", "sql-postgres", "--validation", "none", "--cache", cache)
        before = run(*command)
        self.assertEqual(before.returncode, 0, before.stderr)
        once = answers.read_text()
        self.assertIn("tables of the vocabulary: made and kept", before.stderr)
        self.assertNotIn("tables of the vocabulary", run(*command).stderr)
        self.assertEqual(answers.read_text(), once)

    def test_interrupts_finish_the_step_and_save(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            out = self.path / f"stopped{code}"
            settings = ("--set", "training.config.max_steps=100000", "--set", "training.config.logging_steps=1")
            command = [BIN / "expert-cli", "train", "--model", self.base, "--manifest", TINY, "--data", self.rows, "--out", out, *settings]
            process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
            for line in process.stderr:
                if line.startswith("step 2/"):
                    break
            process.send_signal(number)
            process.stderr.read()
            process.stderr.close()
            self.assertEqual(process.wait(timeout=120), code)
            self.assertTrue((out / "adapter_model.safetensors").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
