"""(compiler, include folder) -> lines after the preprocessor, the standard headers and the CPU seconds of
`#include <expert/expert.hpp>`.

Lines and headers are checked: they are the same in every run. The time is only printed, beside that of the standard
headers alone (docs/decisions/0004-include-budget.md); -n N takes the best of N runs instead of one.
"""
import argparse
import re
import resource
import subprocess
import sys

MAX_LINES = 63_000
# Each costs 0.05 to 0.4 s; <memory> and <iterator> bring the streams.
HEAVY = {"atomic", "chrono", "condition_variable", "filesystem", "format", "fstream", "functional", "future", "iomanip", "ios",
         "iostream", "iterator", "map", "memory", "mutex", "ostream", "ranges", "regex", "set", "sstream", "thread",
         "unordered_map", "unordered_set", "variant"}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("compiler")
parser.add_argument("include")
parser.add_argument("-n", type=int, default=1, help="compilations that are timed; the time is printed, not judged")
arguments = parser.parse_args()
SOURCE = "#include <expert/expert.hpp>\n"
STANDARD = "".join(f"#include <{name}>\n" for name in ("algorithm", "array", "bit", "charconv", "cmath", "compare", "concepts", "cstdint", "cstdio",
                   "cstdlib", "cstring", "exception", "initializer_list", "limits", "new", "optional", "span", "string", "string_view",
                   "tuple", "type_traits", "utility", "vector"))
COMMAND = [arguments.compiler, "-std=c++20", f"-I{arguments.include}", "-x", "c++", "-"]


def run(*options, source=SOURCE):
    return subprocess.run([*COMMAND, *options], input=source, capture_output=True, text=True, check=True).stdout


def seconds(source):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    run("-O2", "-c", "-o", "/dev/null", source=source)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


lines = sum(1 for line in run("-E", "-P").splitlines() if line.strip())
markers = re.findall(r'^# \d+ "([^"]+)" 1\b', run("-E"), re.MULTILINE)  # one for each file that is entered
reached = {path.rsplit("/", 1)[-1] for path in markers if "/c++/" in path}
pairs = [(seconds(SOURCE), seconds(STANDARD)) for _ in range(arguments.n)]
print(f"#include <expert/expert.hpp>: {lines} preprocessed lines (at most {MAX_LINES}), "
      f"{min(a for a, _ in pairs):.2f} s of CPU time to compile alone, the standard headers {min(b for _, b in pairs):.2f} s; "
      f"best of {arguments.n}")
for header in sorted(reached & HEAVY):
    print(f"<{header}> is reached from expert.hpp: it costs too much to compile")
sys.exit(lines > MAX_LINES or bool(reached & HEAVY))
