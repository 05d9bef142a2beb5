"""(clang, include folder, source folder, baseline.json) -> how many templates clang instantiates for four small programs, compared with the
baseline: more than 10 % above it fails. --write replaces the baseline.

The numbers are the same in every run of one clang; another version counts differently, so a version without a baseline is only printed.
"""
import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAMS = {
    "include only": "",
    "one expert": "#include \"experts/expert-sql/expert.hpp\"\nstatic_assert(expert::TrainingPlan<expert::SqlExpert<>>::max_tokens > 0);\n",
    "four experts": "".join(f"#include \"experts/expert-{name}/expert.hpp\"\n" for name in ("sql", "json", "typescript", "neo4j"))
    + "".join(f"static_assert(expert::TrainingPlan<expert::{name}Expert<>>::max_tokens > 0);\n" for name in ("Sql", "Json", "TypeScript", "Neo4j")),
    "manifest check": "#include \"experts/expert-sql/expert.hpp\"\nauto check(const expert::Manifest& m) { return expert::check_manifest<expert::SqlExpert<>>(m); }\n",
}
ALLOWED = 1.10

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("compiler")
parser.add_argument("include")
parser.add_argument("source")
parser.add_argument("baseline", type=Path)
parser.add_argument("--write", action="store_true")
arguments = parser.parse_args()


def instantiations(text):
    with tempfile.TemporaryDirectory() as folder:
        unit = Path(folder) / "unit.cpp"
        unit.write_text("#include <expert/expert.hpp>\n" + text)
        command = [arguments.compiler, "-std=c++20", "-c", f"-I{arguments.include}", f"-I{arguments.source}", "-ftime-trace", "-ftime-trace-granularity=0"]
        subprocess.run([*command, "-o", f"{folder}/unit.o", str(unit)], check=True, capture_output=True, text=True)
        events = json.loads((Path(folder) / "unit.json").read_text())["traceEvents"]
        return sum(event["name"] in ("InstantiateClass", "InstantiateFunction") for event in events)


version = subprocess.run([arguments.compiler, "--version"], check=True, capture_output=True, text=True).stdout
version = "clang " + re.search(r"clang version (\d+)", version).group(1)
baselines = json.loads(arguments.baseline.read_text()) if arguments.baseline.exists() else {}
counts = {name: instantiations(text) for name, text in PROGRAMS.items()}
if arguments.write:
    arguments.baseline.write_text(json.dumps(baselines | {version: counts}, indent=2) + "\n")
failed = False
for name, count in counts.items():
    before = baselines.get(version, {}).get(name)
    worse = before is not None and count > ALLOWED * before
    failed |= worse
    print(f"{name}: {count} instantiations" + (f", baseline {before}" if before is not None else f", no baseline for {version}") + (": MORE THAN 10 % ABOVE" if worse else ""))
sys.exit(failed)
