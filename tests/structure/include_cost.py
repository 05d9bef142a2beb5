"""(compiler, include folder) -> lines after the preprocessor and seconds of `#include <expert/expert.hpp>`.

The line count is checked: it is the same in every run. The time (budget: 1.5 s on two idle cores) is only printed.
"""
import subprocess
import sys
import time

MAX_LINES = 150_000

compiler, include = sys.argv[1:]
SOURCE = "#include <expert/expert.hpp>\n"
COMMAND = [compiler, "-std=c++20", f"-I{include}", "-x", "c++", "-"]


def run(*options):
    return subprocess.run([*COMMAND, *options], input=SOURCE, capture_output=True, text=True, check=True).stdout


text = run("-E", "-P")
lines = sum(1 for line in text.splitlines() if line.strip())
seconds = []
for _ in range(3):
    start = time.perf_counter()
    run("-fsyntax-only")
    seconds.append(time.perf_counter() - start)
print(f"#include <expert/expert.hpp>: {lines} preprocessed lines (at most {MAX_LINES}), "
      f"{min(seconds):.2f} s to compile alone, best of 3 (budget 1.5 s)")
sys.exit(lines > MAX_LINES)
