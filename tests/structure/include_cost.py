"""(compiler, include folder) -> lines after the preprocessor and CPU seconds of `#include <expert/expert.hpp>`.

The line count is checked: it is the same in every run. The time (budget: 1.5 s on an idle machine) is only printed.
"""
import resource
import subprocess
import sys

MAX_LINES = 110_000

compiler, include = sys.argv[1:]
SOURCE = "#include <expert/expert.hpp>\n"
COMMAND = [compiler, "-std=c++20", f"-I{include}", "-x", "c++", "-"]


def run(*options):
    return subprocess.run([*COMMAND, *options], input=SOURCE, capture_output=True, text=True, check=True).stdout


text = run("-E", "-P")
lines = sum(1 for line in text.splitlines() if line.strip())
seconds = []
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run("-fsyntax-only")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
print(f"#include <expert/expert.hpp>: {lines} preprocessed lines (at most {MAX_LINES}), "
      f"{min(seconds):.2f} s of CPU time to compile alone, best of 3 (budget 1.5 s)")
sys.exit(lines > MAX_LINES)
