"""(compiler, include folder) -> lines after the preprocessor, the standard headers and the CPU seconds of
`#include <expert/expert.hpp>`.

Lines and headers are checked: they are the same in every run. The time (budget: 1.5 s on an idle machine) is only
printed; -n N takes the best of N runs instead of 3.
"""
import argparse
import re
import resource
import subprocess
import sys

MAX_LINES = 90_000
# Each costs 0.1 to 0.4 s. <functional> and the unordered containers are not here: libstdc++'s <algorithm> includes them.
HEAVY = {"atomic", "chrono", "condition_variable", "filesystem", "format", "fstream", "future", "iomanip", "iostream", "map",
         "mutex", "ranges", "regex", "set", "sstream", "thread", "variant"}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("compiler")
parser.add_argument("include")
parser.add_argument("-n", type=int, default=3)
arguments = parser.parse_args()
SOURCE = "#include <expert/expert.hpp>\n"
COMMAND = [arguments.compiler, "-std=c++20", f"-I{arguments.include}", "-x", "c++", "-"]


def run(*options):
    return subprocess.run([*COMMAND, *options], input=SOURCE, capture_output=True, text=True, check=True).stdout


lines = sum(1 for line in run("-E", "-P").splitlines() if line.strip())
markers = re.findall(r'^# \d+ "([^"]+)" 1\b', run("-E"), re.MULTILINE)  # one for each file that is entered
reached = {path.rsplit("/", 1)[-1] for path in markers if "/c++/" in path}
seconds = []
for _ in range(arguments.n):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    run("-O2", "-c", "-o", "/dev/null")
    seconds.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
print(f"#include <expert/expert.hpp>: {lines} preprocessed lines (at most {MAX_LINES}), "
      f"{min(seconds):.2f} s of CPU time to compile alone, best of {arguments.n} (budget 1.5 s)")
for header in sorted(reached & HEAVY):
    print(f"<{header}> is reached from expert.hpp: it costs too much to compile")
sys.exit(lines > MAX_LINES or bool(reached & HEAVY))
