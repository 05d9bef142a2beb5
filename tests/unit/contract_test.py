#!/usr/bin/env python3
"""expert-cli ls, plan, validate, bench, scaffold, env, version. Usage: contract_test.py BIN_DIR SOURCE_DIR."""
import json
import tempfile
import unittest
from pathlib import Path

from cli_test import SOURCE, run

EXPERTS = SOURCE / "experts"
MANIFESTS = [EXPERTS / f"expert-{name}" / folder / "manifest.json" for name in ("sql", "json", "typescript", "neo4j") for folder in ("", "tiny")]


def answer(*arguments):
    result = run(*arguments, "--json")
    return result.returncode, json.loads(result.stdout), result.stderr


class Contract(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = Path(self.folder.name)

    def patched(self, changes):
        manifest = json.loads(MANIFESTS[0].read_text())
        for pointer, value in changes.items():
            at = manifest
            *path, last = pointer.strip("/").split("/")
            for key in path:
                at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
            at[last] = value
        file = self.path / "manifest.json"
        file.write_text(json.dumps(manifest))
        return file

    def test_ls_knows_the_four_experts_on_both_bases(self):
        code, result, _ = answer("ls")
        self.assertEqual(code, 0)
        known = {(row["base_model"], row["grammar"]) for row in result["experts"]}
        for grammar in ("sql-postgres", "json", "typescript", "cypher"):
            for base in ("Qwen3-0.6B", "ExpertTiny"):
                self.assertIn((base, grammar), known)
        rows = {row["type"]: row for row in result["experts"]}
        self.assertEqual(len(rows), len(result["experts"]))
        mission = [row for row in result["experts"] if row["base_model"] == "Qwen3-0.6B"]
        self.assertEqual({row["trainable_parameters"] for row in mission}, {6451200})
        self.assertTrue(any(row["compiled"] for row in mission))

    def test_every_manifest_of_the_repository_is_valid(self):
        for manifest in MANIFESTS:
            code, result, errors = answer("validate", manifest)
            self.assertEqual((code, result["problems"]), (0, []), errors)
            self.assertTrue(any(note.startswith("/perf/vram_mb_overhead: planned") for note in result["notes"]))

    def test_validate_reports_everything_at_once_sorted(self):
        file = self.patched({"/base_models/0/adapters/0/r": 16, "/training/config/batch_size": 31, "/perf/vram_mb_overhead": 1})
        code, result, errors = answer("validate", file)
        self.assertEqual(code, 2)
        problems = {row["pointer"]: row for row in result["problems"]}
        self.assertEqual(set(problems), {"/base_models/0/adapters/0/r", "/training/config/batch_size", "/perf/vram_mb_overhead"})
        self.assertEqual((problems["/base_models/0/adapters/0/r"]["manifest"], problems["/base_models/0/adapters/0/r"]["compiled"]), ("16", "12"))
        self.assertIn("DoRA<16, 24>", result["compile"])
        for pointer in problems:
            self.assertIn(pointer, errors)

    def test_validate_reports_what_is_wrong_alone(self):
        file = self.patched({"/training/config/learning_rte": 1, "/training/config/epochs": -1, "/name": "../x"})
        code, result, _ = answer("validate", file)
        self.assertEqual(code, 2)
        self.assertEqual([row["pointer"] for row in result["problems"]], ["/name", "/training/config/epochs", "/training/config/learning_rte"])
        self.assertIn("/training/config/learning_rate", result["problems"][2]["message"])

    def test_what_is_wrong_alone_hides_no_mismatch(self):
        code, result, _ = answer("validate", self.patched({"/training/config/epochs": -1, "/base_models/0/adapters/0/r": 16}))
        self.assertEqual((code, [row["pointer"] for row in result["problems"]]), (2, ["/base_models/0/adapters/0/r", "/training/config/epochs"]))
        self.assertEqual(run("validate", self.patched({"/base_models": "Qwen"})).returncode, 2)

    def test_validate_compares_recorded_files(self):
        (self.path / "adapter.safetensors").write_bytes(b"abc")
        digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        at = "/base_models/0/adapters/0/"
        good = {at + "path": "adapter.safetensors", at + "size_bytes": 3, at + "sha256": digest}
        self.assertEqual(answer("validate", self.patched(good))[0], 0)
        for pointer, value in ((at + "path", "none.safetensors"), (at + "size_bytes", 4), (at + "sha256", "0" * 64)):
            code, result, _ = answer("validate", self.patched(good | {pointer: value}))
            self.assertEqual((code, [row["pointer"] for row in result["problems"]]), (2, [pointer]))

    def test_validate_compares_the_base(self):
        tiny = EXPERTS / "expert-sql/tiny/manifest.json"
        self.assertEqual(answer("validate", tiny, "--model", EXPERTS / "tiny-base")[0], 0)
        code, result, _ = answer("validate", MANIFESTS[0], "--model", EXPERTS / "tiny-base")
        self.assertEqual(code, 2)
        self.assertTrue(any("/hidden_size" in row["pointer"] for row in result["problems"]))

    def test_plan_adds_up_and_fits(self):
        for manifest in MANIFESTS:
            code, result, _ = answer("plan", manifest)
            self.assertEqual(code, 0)
            for part in (result, result["generation"]):
                total = sum(-(-buffer["bytes"] // 64) * 64 for buffer in part["buffers"])
                self.assertEqual(total, part["total_bytes"])
            self.assertEqual(result["device"], "cpu")
            self.assertTrue(result["fits"])
            self.assertLessEqual(result["total_bytes"], result["budget_bytes"])
            self.assertGreater(result["flop_per_token"], 0)
            self.assertLessEqual(result["generation"]["adapter_overhead_bytes"], 18e6)

    def test_plan_of_the_mission_runs_its_batch_in_parts(self):
        plan = answer("plan", MANIFESTS[0])[1]
        self.assertEqual((plan["batch_size"], plan["max_seq_length"]), (32, 2048))
        self.assertGreater(plan["bytes_of_whole_batch"], 24 << 30)
        self.assertEqual(32 % plan["rows_at_once"], 0)

    def test_plan_says_what_was_measured(self):
        for manifest in MANIFESTS:
            plan = answer("plan", manifest)[1]
            # Eight rows of 2048 tokens take more than the machine had; one row was run.
            self.assertEqual(plan["measured"], manifest.parent.name == "tiny")
            self.assertTrue(plan["measurements"])  # a changed plan takes its rows away: measure again
            for row in plan["measurements"]:
                self.assertLessEqual(row["peak_bytes"], 1.03 * row["planned_bytes"])
                self.assertGreater(row["peak_bytes"], 0.9 * row["planned_bytes"])

    def test_bench_keeps_what_it_measured_and_validate_compares_it(self):
        manifest = self.path / "manifest.json"
        manifest.write_bytes((EXPERTS / "expert-sql/tiny/manifest.json").read_bytes())
        record = self.path / "measured.json"
        notes = answer("validate", manifest)[1]["notes"]
        self.assertTrue(any("/perf/latency_ms_overhead: not measured here" in note for note in notes))
        for _ in range(2):  # the second replaces the first
            code, result, _ = answer("bench", "--manifest", manifest, "--model", EXPERTS / "tiny-base",
                                     "--new-tokens", "5", "--prompt-tokens", "8", "--write")
            self.assertEqual(code, 0)
        rows = json.loads(record.read_text())
        self.assertEqual(len(rows), 1)
        self.assertEqual(rows[0], result["measured"])
        self.assertEqual(rows[0]["expert"], result["measured"]["expert"])
        self.assertGreater(rows[0]["base_ms_per_token"], 0)
        rows[0]["latency_ms_overhead"] = 2.5
        record.write_text(json.dumps(rows))
        code, result, _ = answer("validate", manifest)
        self.assertEqual(code, 0)
        self.assertTrue(any("measured 2.50, declared 3.0" in note for note in result["notes"]))
        rows[0]["latency_ms_overhead"] = 99
        record.write_text(json.dumps(rows))
        code, result, _ = answer("validate", manifest)
        self.assertEqual((code, [p["pointer"] for p in result["problems"]]), (2, ["/perf/latency_ms_overhead"]))
        rows[0]["device"] = "another"
        record.write_text(json.dumps(rows))
        self.assertEqual(answer("validate", manifest)[0], 0)
        for broken in ('{"a": 1}', "[3]", '[{"device": "x"}]', '[{"device": "x", "expert": "y", "date": "z", "latency_ms_overhead": "1"}]'):
            record.write_text(broken)
            code, result, stderr = answer("validate", manifest)
            self.assertEqual(code, 2)
            self.assertIn("EXPERT-E407", stderr)

    def test_readmes_show_declared_planned_and_measured_side_by_side(self):
        for manifest in MANIFESTS:
            if manifest.parent.name == "tiny":
                continue
            perf = json.loads(manifest.read_text())["perf"]
            planned = answer("plan", manifest)[1]["generation"]["adapter_overhead_bytes"]
            readme = (manifest.parent / "README.md").read_text()
            self.assertIn(f"| `vram_mb_overhead`, MB | {perf['vram_mb_overhead']} | {planned / 1e6:.2f} | ", readme)
            self.assertIn(f"| `latency_ms_overhead`, ms per token | {perf['latency_ms_overhead']} | | ", readme)

    def test_scaffold_prints_the_type(self):
        result = run("scaffold", MANIFESTS[0])
        self.assertEqual(result.returncode, 0, result.stderr)
        for part in ("#pragma once", "using ExpertSql = Expert<Qwen3_0_6B, RopeNtkByParts<8192, 32768, 8>, DoRA<12, 24>", "Grammar<SqlPostgres>", "KvPersistence"):
            self.assertIn(part, result.stdout)

    def test_migrate_rewrites_an_old_manifest_and_says_what_it_changed(self):
        old = json.loads(MANIFESTS[0].read_text())
        del old["schema_version"]
        old["mood"] = "good"
        old["base_models"][0]["name"] = "F:\\models\\Qwen3-0.6B"
        old["base_models"][0]["rope_scaling"] = "yarn-128k"
        old["training"]["config"] |= {"use_unsloth": True, "torch_compile_mode": "max", "fp16": True}
        old["training"]["decoding"]["validation_cmd"] = "rm -rf x"
        file, new = self.path / "old.json", self.path / "new.json"
        text = json.dumps(old)
        file.write_text(text)
        code, result, _ = answer("migrate", file, "--output", new)
        self.assertEqual((code, result["problems"]), (0, []))
        self.assertEqual(file.read_text(), text)
        changed = {row["pointer"] for row in result["changes"]}
        self.assertEqual(changed, {"/schema_version", "/mood", "/base_models/0/name", "/base_models/0/rope_scaling", "/training/config/use_unsloth",
                                   "/training/config/torch_compile_mode", "/training/config/fp16", "/training/decoding/validation_cmd"})
        manifest = json.loads(new.read_text())
        self.assertEqual((manifest["_mood"], manifest["base_models"][0]["name"]), ("good", "Qwen3-0.6B"))
        self.assertEqual(answer("validate", new)[0], 0)

    def test_migrate_changes_nothing_that_is_sound(self):
        for manifest in MANIFESTS:
            code, result, _ = answer("migrate", manifest)
            self.assertEqual((code, result["changes"], result["manifest"]), (0, [], json.loads(manifest.read_text())))

    def test_migrate_leaves_what_people_must_decide(self):
        code, result, _ = answer("migrate", self.patched({"/training/config/method": "dpo"}))
        self.assertEqual((code, [row["pointer"] for row in result["problems"]]), (2, ["/training/config/method"]))

    def test_inspect(self):
        base = EXPERTS / "tiny-base"
        code, result, _ = answer("inspect", base)
        self.assertEqual((code, result["model"]["vocab_size"], result["tokenizer"]["size"]), (0, 2048, 2048))
        code, result, _ = answer("inspect", base / "model.safetensors")
        self.assertEqual((code, result["elements"]), (0, 3672832))
        record = SOURCE / "tests/peft/adapter"
        code, result, _ = answer("inspect", record)
        config = json.loads((record / "adapter_config.json").read_text())
        self.assertEqual((code, result["adapter"]["r"], sorted(result["adapter"]["target_modules"])), (0, config["r"], sorted(config["target_modules"])))
        self.assertEqual(run("inspect", self.path).returncode, 2)
        self.assertEqual(run("inspect", self.path / "none.safetensors").returncode, 2)

    def test_what_is_no_manifest_is_refused(self):
        for command in ("validate", "plan", "scaffold", "migrate"):
            self.assertEqual(run(command, self.path / "none.json").returncode, 2)
            broken = self.path / "broken.json"
            broken.write_text("{")
            self.assertIn("EXPERT-E21", run(command, broken).stderr)

    def test_env_and_version(self):
        code, result, _ = answer("env")
        self.assertEqual(code, 0)
        self.assertIn(result["machine"]["isa"], result["machine"]["usable_isas"])
        self.assertIn("scalar", result["machine"]["usable_isas"])
        self.assertRegex(run("version").stdout, r"^expert-cli \d+\.\d+\.\d+ \(")


if __name__ == "__main__":
    unittest.main(verbosity=2)
