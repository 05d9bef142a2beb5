#!/usr/bin/env python3
"""`expert-cli train` that is stopped, killed, refused and resumed, from outside. Usage: resume_test.py BIN_DIR SOURCE_DIR.
Standard library only."""
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "unit"))
import cli_test  # noqa: E402  takes the two arguments

BIN, TINY, ENVIRONMENT = cli_test.BIN, cli_test.TINY, cli_test.ENVIRONMENT
TIMINGS = ("seconds", "tokens_per_second", "eval_runtime")


def log_of(out):
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in rows]


def tensors_of(checkpoint):
    return [(checkpoint / name).read_bytes() for name in ("adapter_model.safetensors", "optimizer.safetensors")]


class Resume(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = Path(cls.folder.name)
        tokenizer = cls.path / "tokenizer.json"
        tokenizer.write_text(json.dumps(cli_test.byte_tokenizer()))
        cls.base, cls.rows, cls.valid = cls.path / "base", cls.path / "rows.jsonl", cls.path / "valid.jsonl"
        make = (BIN / "make_random_model", "--out", cls.base, "--tokenizer", tokenizer, "--eos-token-id", "257")
        subprocess.run(make, check=True, capture_output=True)
        text = lambda first, count: "".join(json.dumps({"text": f"row number {i} " + "abcdefgh"[i % 8] * (i % 5)}) + "\n" for i in range(first, first + count))
        cls.rows.write_text(text(0, 30))
        cls.valid.write_text(text(50, 5))
        # The run that nothing stops.
        cls.whole = cls.path / "whole"
        result = cls.train(cls.whole, "--max-steps", 6)
        assert result.returncode == 0, result.stderr

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def command(cls, out, *arguments):
        """Later values of a flag replace earlier ones."""
        common = ("--model", cls.base, "--manifest", TINY, "--data", cls.rows, "--valid", cls.valid, "--out", out, "--threads", 1)
        flags, words = {}, list(map(str, (*common, "--logging-steps", 1, "--eval-steps", 3, "--save-steps", 2, *arguments)))
        for i, word in enumerate(words):
            if word.startswith("--"):
                flags[word] = words[i + 1 : i + 2] if i + 1 < len(words) and not words[i + 1].startswith("--") else []
        return [str(BIN / "expert-cli"), "train", *(part for flag, value in flags.items() for part in (flag, *value))]

    @classmethod
    def train(cls, out, *arguments, **environment):
        command = cls.command(out, *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**ENVIRONMENT, **environment})

    def start(self, out, *arguments, until, **options):
        """A running process, and what it has said up to a line that begins with `until`."""
        process = subprocess.Popen(self.command(out, *arguments), stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **options)
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith(until):
                break
        else:
            self.fail("".join(said))
        return process

    def end(self, process):
        rest = process.stderr.read()
        process.stderr.close()
        return process.wait(timeout=120), rest

    def refused(self, result, number, *parts):
        self.assertEqual(result.returncode, 2, result.stderr)
        for part in (f"EXPERT-E{number}", *parts):
            self.assertIn(part, result.stderr)

    def same_as_whole(self, out):
        self.assertEqual(log_of(out), log_of(self.whole))
        self.assertEqual(tensors_of(out / "checkpoint-6"), tensors_of(self.whole / "checkpoint-6"))
        name = "adapter_model.safetensors"
        self.assertEqual((out / name).read_bytes(), (self.whole / name).read_bytes())
        self.assertEqual([path.name for path in out.iterdir() if path.name.startswith(".")], [])

    def copy_of_whole(self, name, newest):
        """The run as it was after checkpoint `newest`."""
        out = self.path / name
        shutil.copytree(self.whole, out)
        for step in (2, 4, 6):
            if step > newest:
                shutil.rmtree(out / f"checkpoint-{step}")
        return out

    def test_a_killed_run_goes_on(self):
        out = self.path / "killed"
        process = self.start(out, "--max-steps", 6, until="step 3/")
        process.kill()
        self.end(process)
        self.assertTrue((out / "train.lock").exists())
        (out / ".checkpoint-4.1.tmp").mkdir()
        result = self.train(out, "--max-steps", 6, "--resume")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"took over the stale lock of process {process.pid}", result.stderr)
        self.assertIn("removed what a killed run left behind", result.stderr)
        self.assertIn(f"resumed: {out}/checkpoint-2, step 2 of 6", result.stderr)
        self.same_as_whole(out)

    def test_a_signal_saves_and_prints_the_command_that_goes_on(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            out = self.path / f"it's stopped {code}"
            process = self.start(out, "--max-steps", 6, until="step 1/")
            process.send_signal(number)
            ended, said = self.end(process)
            self.assertEqual(ended, code, said)
            self.assertIn("interrupted: ", said)
            line = said[said.index("Go on with:\n") :].splitlines()[1]
            self.assertTrue(line.endswith("--resume"), line)
            result = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.same_as_whole(out)

    def test_a_second_signal_ends_at_once(self):
        out = self.path / "at_once"
        rows = self.path / "many.jsonl"
        rows.write_text("".join(json.dumps({"text": f"{i} " * 100}) + "\n" for i in range(60)))
        process = self.start(out, "--max-steps", 1000, "--data", rows, until="step 1/")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # while the step runs: what comes second decides the exit code
        ended, said = self.end(process)
        self.assertIn(ended, (130, 143))
        self.assertNotIn("interrupted: ", said)

    def test_another_run_is_refused_with_every_item(self):
        out = self.copy_of_whole("other", 4)
        before = sorted(path.name for path in out.iterdir())
        other = self.path / "other.jsonl"
        other.write_text(self.rows.read_text() + '{"text": "one more"}\n')
        changed = ("--data", other, "--seed", 43, "--learning-rate", 0.001)
        self.refused(self.train(out, "--max-steps", 6, "--resume", *changed), 271, "data, seed, data_seed, learning_rate", "seed 42", "seed 43")
        tokenizer = self.path / "tokenizer_base"
        shutil.copytree(self.base, tokenizer)
        (tokenizer / "tokenizer.json").write_text(json.dumps(cli_test.byte_tokenizer(), indent=1))
        self.refused(self.train(out, "--max-steps", 6, "--resume", "--model", tokenizer), 271, ", tokenizer.")
        base = self.path / "other_base"
        make = (BIN / "make_random_model", "--out", base, "--tokenizer", self.path / "tokenizer.json", "--eos-token-id", "257", "--seed", "5")
        subprocess.run(make, check=True, capture_output=True)
        self.refused(self.train(out, "--max-steps", 6, "--resume", "--model", base), 271, ", base.")
        self.refused(self.train(out, "--max-steps", 7, "--resume"), 271, "max_steps 6", "max_steps 7")
        self.refused(self.train(out, "--max-steps", 6), 272, "checkpoint-4", "--resume")
        self.refused(self.train(self.path / "empty", "--max-steps", 6, "--resume"), 270)
        self.assertEqual(sorted(path.name for path in out.iterdir()), before)

    def test_a_renamed_data_file_and_a_moved_run_are_the_same_run(self):
        out = self.copy_of_whole("renamed", 4)
        rows = self.path / "renamed.jsonl"
        shutil.copy(self.rows, rows)
        result = self.train(out, "--max-steps", 6, "--resume", "--data", rows)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.same_as_whole(out)

    def test_a_damaged_checkpoint_is_passed_over(self):
        out = self.copy_of_whole("damaged", 4)
        file = out / "checkpoint-4" / "optimizer.safetensors"
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        result = self.train(out, "--max-steps", 6, "--resume")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("checkpoint-4 is damaged and not used", result.stderr)
        self.assertIn("checkpoint-2, step 2 of 6", result.stderr)
        self.same_as_whole(out)

    def test_a_finished_run_says_so(self):
        out = self.copy_of_whole("finished", 6)
        result = self.train(out, "--max-steps", 6, "--resume", "--threads", 2, EXPERT_ISA="scalar")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("this run is finished", result.stderr)
        lines = [line for line in result.stderr.splitlines() if line.startswith("not bit-identical: ")]
        self.assertEqual(len(lines), 1, result.stderr)
        self.assertIn("threads 1 -> 2", lines[0])
        self.same_as_whole(out)

    def test_two_trainers_do_not_share_a_directory(self):
        out = self.path / "shared"
        process = self.start(out, "--max-steps", 1000, until="step 1/")
        try:
            self.refused(self.train(out, "--max-steps", 6, "--resume"), 273, f"process {process.pid}")
        finally:
            process.kill()
            self.end(process)

    def test_a_full_disk_leaves_the_checkpoints_before(self):
        out = self.path / "full"
        process = self.start(out, "--max-steps", 6, until="saved ", restore_signals=False)  # SIGXFSZ stays ignored
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (50000, 50000))
        ended, said = self.end(process)
        self.assertEqual(ended, 1, said)
        self.assertIn("EXPERT-E203", said)
        self.assertIn("checkpoint-4", said)
        self.assertIn("File too large", said)
        result = self.train(out, "--max-steps", 6, "--resume")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.same_as_whole(out)

    def test_flags_of_evaluation_are_checked_and_shown(self):
        out = self.path / "flags"
        result = self.train(out, "--max-steps", 3, "--early-stopping-patience", 2, "--load-best-model-at-end", "--save-total-limit", 2)
        self.assertEqual(result.returncode, 0, result.stderr)
        for part in ("every 3 steps (flag) and at the end", "early_stopping_patience 2 (flag)", "load_best_model_at_end true (flag)", "which is the result"):
            self.assertIn(part, result.stderr)
        without = ("--model", self.base, "--manifest", TINY, "--data", self.rows, "--out", self.path / "no")
        self.refused(cli_test.run("train", *without, "--early-stopping-patience", 2), 300, "early_stopping_patience")
        self.refused(cli_test.run("train", *without, "--save-strategy", "often"), 104, "save_strategy")


if __name__ == "__main__":
    unittest.main(verbosity=2)
