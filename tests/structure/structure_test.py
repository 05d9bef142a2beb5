"""Applies every rule of rules.py to this tree, and to small trees in which it must find exactly what was planted."""
import tempfile
import unittest
from pathlib import Path

import header_chains
import pages
import rules

ROOT = Path(__file__).resolve().parents[2]
HEADER = "// In -> out.\n#pragma once\n"


class ThisTree(unittest.TestCase):
    def check(self, rule):
        found = rule(ROOT)
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_includes_point_down(self):
        self.check(rules.include_arrows)

    def test_the_umbrella_includes_every_stage(self):
        self.check(rules.umbrella_is_complete)

    def test_the_umbrella_needs_no_library(self):
        self.check(rules.umbrella_needs_no_library)

    def test_headers_have_their_form(self):
        self.check(rules.header_form)

    def test_every_error_number_has_one_declaration_a_row_and_a_test(self):
        self.check(rules.error_numbers)

    def test_committed_text_names_no_registry_and_no_machine(self):
        self.check(rules.committed_text)

    def test_code_blocks_are_cut_from_built_files(self):
        self.check(rules.snippets)

    def test_links_lead_somewhere(self):
        self.check(rules.links)

    def test_the_readme_promises_no_command_that_is_not_there(self):
        self.check(rules.commands_exist)

    def test_the_flow_page_names_every_header(self):
        self.check(rules.flow_names_every_header)

    def test_generated_pages_are_current(self):
        for name, make in pages.PAGES.items():
            with self.subTest(name):
                page = (ROOT / name).read_text(encoding="utf-8")
                self.assertEqual(page, make(ROOT), "run tests/structure/pages.py ROOT --write")


class BrokenTrees(unittest.TestCase):
    def found(self, rule, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return rule(Path(folder))

    def includes(self, where, line):
        return len(self.found(rules.include_arrows, {
            "include/expert/core/error.hpp": HEADER, "include/expert/json/json.hpp": HEADER,
            "include/expert/io/file.hpp": HEADER, "include/expert/cpu/gemm.hpp": HEADER,
            "include/expert/loss.hpp": HEADER, "include/expert/backward.hpp": HEADER,
            f"include/expert/{where}": HEADER + line + "\n"}))

    def test_arrows(self):
        for where, line, violations in [
                ("ops/rope.hpp", '#include "expert/core/error.hpp"', 0),
                ("core/error.hpp", '#include "expert/ops/rope.hpp"', 1),  # up, and not there
                ("ops/rope.hpp", '#include "expert/cpu/gemm.hpp"', 1),
                ("text/bpe.hpp", '#include "expert/json/json.hpp"', 0),
                ("json/json.hpp", '#include "expert/io/file.hpp"', 1),
                ("cpu/gemm.hpp", '#include "expert/io/file.hpp"', 1),
                ("backward.hpp", '#include "expert/loss.hpp"', 0),
                ("loss.hpp", '#include "expert/backward.hpp"', 1),
                ("cpu/gemm.hpp", '#include "expert/loss.hpp"', 1),
                ("ops/rope.hpp", '#include "error.hpp"', 1),
                ("core/error.hpp", "#include <unistd.h>", 1),
                ("core/arena.hpp", "#include <unistd.h>", 0),
                ("io/gzip.hpp", "#include <zlib.h>", 0),
                ("io/file.hpp", "#include <zlib.h>", 1),
                ("io/file.hpp", "#include <sys/mman.h>", 0),
                ("json/json.hpp", "#include <nlohmann/json.hpp>", 1),
                ("text/bpe.hpp", "#include <regex>", 1),
                ("misc/thing.hpp", "", 1),
                ("surprise.hpp", "", 1)]:
            with self.subTest(where=where, line=line):
                self.assertEqual(self.includes(where, line), violations)

    def test_chains_of_headers(self):
        text = '#include "a.hpp"\n#ifdef X\n#include "b.hpp"\n#endif\n#include <c.hpp>\n'
        self.assertEqual(header_chains.always_included(text), {"a.hpp"})
        tree = {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}, "e": set(), "f": {"d", "e", "<z>"}}
        reached = header_chains.closure(tree)
        self.assertEqual(reached["f"], {"a", "b", "c", "d", "e"})
        lists = header_chains.chains(tree)
        self.assertEqual(sorted(header for chain in lists for header in chain), sorted(tree))
        self.assertEqual(len(lists), 3)  # b, c and e include one another in no way
        for chain in lists:
            for earlier, later in zip(chain, chain[1:]):
                self.assertIn(earlier, reached[later])

    def test_umbrella(self):
        tree = {"include/expert/expert.hpp": '#include "expert/loss.hpp"\n', "include/expert/loss.hpp": HEADER}
        self.assertEqual(self.found(rules.umbrella_is_complete, tree), [])
        tree["include/expert/tokens.hpp"] = HEADER
        self.assertEqual(len(self.found(rules.umbrella_is_complete, tree)), 1)
        self.assertEqual(self.found(rules.umbrella_needs_no_library, tree), [])
        tree["include/expert/loss.hpp"] = HEADER + '#include "expert/io/gzip.hpp"\n'
        self.assertEqual(len(self.found(rules.umbrella_needs_no_library, tree)), 1)

    def test_form(self):
        self.assertEqual(self.found(rules.header_form, {"include/expert/a.hpp": HEADER}), [])
        self.assertEqual(len(self.found(rules.header_form, {"include/expert/a.hpp": "int a;\n"})), 2)
        self.assertEqual(len(self.found(rules.header_form, {"include/expert/a.hpp": HEADER + "\n" * 600})), 1)

    def test_error_numbers(self):
        code = "inline constexpr ErrorCode no_file{201, \"a\"};"
        tree = {"include/expert/a.hpp": code, "docs/errors.md": "| E201 | a | b |\n", "tests/a.cpp": "code() == 201"}
        self.assertEqual(self.found(rules.error_numbers, tree), [])
        self.assertEqual(len(self.found(rules.error_numbers, {**tree, "tools/b.cpp": code})), 1)
        self.assertEqual(len(self.found(rules.error_numbers, {**tree, "docs/errors.md": ""})), 1)
        self.assertEqual(len(self.found(rules.error_numbers, {**tree, "tests/a.cpp": "code() == 2012"})), 1)
        self.assertEqual(len(self.found(rules.error_numbers, {**tree, "docs/errors.md": "| E201 |\n| E202 |\n"})), 1)
        rule = {"include/expert/a.hpp": 'static_assert(x, "EXPERT-E012: no.");', "docs/errors.md": "| E012 |\n"}
        self.assertEqual(len(self.found(rules.error_numbers, rule)), 1)
        self.assertEqual(self.found(rules.error_numbers, {**rule, "tests/fail.cpp": "// expect: EXPERT-E012"}), [])

    def test_committed_text(self):
        self.assertEqual(self.found(rules.committed_text, {"a.md": "https://example.com/x"}), [])
        self.assertEqual(len(self.found(rules.committed_text, {"a.md": "https://" + "pypi" + ".org"})), 1)
        self.assertEqual(len(self.found(rules.committed_text, {"a.md": "see /" + "work/x"})), 1)
        self.assertEqual(len(self.found(rules.committed_text, {"a.cpp": "// TO" + "DO: x"})), 1)

    def test_snippets(self):
        page = "<!-- from a.cpp -->\n```cpp\nint a;\nint b;\n```\n"
        self.assertEqual(self.found(rules.snippets, {"README.md": page, "a.cpp": "x\n  int a;\n  int b;\ny"}), [])
        self.assertEqual(len(self.found(rules.snippets, {"README.md": page, "a.cpp": "int b;\nint a;\n"})), 1)
        self.assertEqual(len(self.found(rules.snippets, {"README.md": "```cpp\nint a;\n```\n"})), 1)

    def test_links(self):
        self.assertEqual(self.found(rules.links, {"README.md": "[a](b.md) [c](https://example.com)", "b.md": ""}), [])
        self.assertEqual(len(self.found(rules.links, {"README.md": "[a](c.md#part)"})), 1)

    def test_commands(self):
        tree = {"tools/cli.cpp": 'app.add_subcommand("check", ""); add_option("--model", x)'}
        page = "    build/release/bin/expert-cli check --model DIR\n"
        self.assertEqual(self.found(rules.commands_exist, {**tree, "README.md": page}), [])
        page += "    expert-cli plan\n    expert-cli check --mode DIR\n"
        self.assertEqual(len(self.found(rules.commands_exist, {**tree, "README.md": page})), 2)

    def test_flow(self):
        tree = {"include/expert/core/a.hpp": HEADER, "docs/flow.md": "`core/a.hpp`"}
        self.assertEqual(self.found(rules.flow_names_every_header, tree), [])
        self.assertEqual(len(self.found(rules.flow_names_every_header, {**tree, "docs/flow.md": "`core/b.hpp`"})), 2)


if __name__ == "__main__":
    unittest.main()
