"""The rules of the tree, each a function (root folder) -> list of violations. structure_test.py applies them to this
tree and to small broken trees, so that a rule that cannot fail is noticed."""
import re
import subprocess
from pathlib import Path

# The one table of include arrows: a folder of include/expert/ -> the folders that it may include besides itself.
BELOW_PLAN = {"policy", "core"}
BELOW_OPS = {"plan"} | BELOW_PLAN
BELOW_MIDDLE = {"ops"} | BELOW_OPS
ARROWS = {
    "core": set(),
    "policy": {"core"},
    "plan": BELOW_PLAN,
    "ops": BELOW_OPS,
    "cpu": BELOW_MIDDLE,
    "cuda": BELOW_MIDDLE,
    "json": BELOW_MIDDLE,
    "io": {"json"} | BELOW_MIDDLE,
    "text": {"json", "io"} | BELOW_MIDDLE,
    "grammar": {"json", "text", "cpu", "io"} | BELOW_MIDDLE,  # JSON Schema, UTF-8, the instruction set of the mask kernels, caches
    "data": {"json", "io"} | BELOW_MIDDLE,
}
# The stages in the order of the flow: a stage may include the stages before it, and every folder.
STAGES = ["fwd", "manifest", "registry", "weights", "tokens", "forward", "loss", "backward", "optimizer", "adapter_file", "trainer",
          "checkpoint", "training_run", "package", "generate", "kv_cache_file", "expert"]
STD_ONLY = {"core", "policy", "plan"}
# What a public header may include in angle brackets besides the standard library: nothing that a consumer must install.
SYSTEM_HEADERS = re.compile(r"(sys|linux|asm)/\w+\.h|(unistd|dirent|fcntl|immintrin|cpuid|sched|pthread|signal|termios|time)\.h")
SYSTEM_HEADERS_IN_CORE = {
    "expert/core/arena.hpp": {"sys/mman.h", "unistd.h"},  # guard pages have no standard call
    "expert/core/threads.hpp": {"pthread.h", "time.h", "unistd.h"},  # <thread> and <chrono> cost too much to include
}
# Headers with a target of their own, for the library that they need; expert.hpp never reaches them.
OWN_TARGET = {"expert/io/gzip.hpp": {"zlib.h"}}

MAX_HEADER_LINES = 600
GENERATED_HEADERS = {"include/expert/text/unicode_tables.hpp"}  # written by a tool; length is the data's

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
ERROR_CODE = re.compile(r"\bErrorCode\s+(\w+)\s*\{\s*(\d+)\s*,")
COMPILE_TIME_ERROR = re.compile(r"EXPERT-E(\d{3})\b")
ERROR_ROW = re.compile(r"^\|\s*E(\d{3})\s*\|", re.MULTILINE)


def read(path):
    return path.read_text(encoding="utf-8", errors="replace")


def headers(root):
    """Public headers, and the .inc fragments that headers include once per instruction set."""
    return sorted(path for path in (root / "include").rglob("*") if path.suffix in {".hpp", ".inc"})


def committed_files(root):
    """What git tracks; without git or its folder (a tarball), all that is neither hidden nor built."""
    try:
        listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=True).stdout
        files = [root / name for name in listed.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        files = []
    if not files:
        skipped = {"build", ".git", ".cache", "__pycache__"}
        files = [path for path in root.rglob("*") if not skipped & set(path.relative_to(root).parts)]
    return [path for path in files if path.is_file()]


def layer(path):
    """include/expert/core/error.hpp -> core; include/expert/loss.hpp -> None (a stage)."""
    parts = path.split("/")
    return parts[1] if len(parts) > 2 else None


def may_include_library(name, own, target):
    if re.fullmatch(r"[a-z_0-9]+", target):
        return target != "regex"  # which recurses on its input
    if own in STD_ONLY:
        return target in SYSTEM_HEADERS_IN_CORE.get(name, ())
    return SYSTEM_HEADERS.fullmatch(target) is not None or target in OWN_TARGET.get(name, ())


def include_arrows(root):
    found = []
    for path in headers(root):
        name = path.relative_to(root / "include").as_posix()
        own = layer(name)
        if own is None and path.stem not in STAGES or own is not None and own not in ARROWS:
            found.append(f"{name}: neither a stage nor in a folder of the table")
            continue
        for bracket, target in INCLUDE.findall(read(path)):
            if bracket == "<":
                if not may_include_library(name, own, target):
                    found.append(f"{name}: includes <{target}>, which is not allowed here")
                continue
            if not target.startswith("expert/") or not (root / "include" / target).is_file():
                found.append(f'{name}: "{target}" is not the full name of a header of this tree')
                continue
            other = layer(target)
            if own is None:
                ok = other is not None or STAGES.index(Path(target).stem) < STAGES.index(path.stem)
            else:
                ok = other == own or other in ARROWS[own]
            if not ok:
                found.append(f"{name}: includes {target}, an arrow that points up or sideways")
    return found


def umbrella_is_complete(root):
    umbrella = root / "include/expert/expert.hpp"
    included = {target for _, target in INCLUDE.findall(read(umbrella))} if umbrella.exists() else set()
    stages = {f"expert/{path.name}" for path in (root / "include/expert").glob("*.hpp")}
    stages -= {"expert/expert.hpp", "expert/fwd.hpp"}  # forward declarations only, no stage
    return [f"expert.hpp does not include {stage}" for stage in sorted(stages - included)]


def umbrella_needs_no_library(root):
    reached, open_headers = set(), ["expert/expert.hpp"]
    while open_headers:
        path = root / "include" / open_headers.pop()
        new = {name for bracket, name in INCLUDE.findall(read(path)) if bracket == '"'} - reached if path.exists() else ()
        reached.update(new)
        open_headers.extend(new)
    return [f"expert.hpp reaches {name}, which needs a library" for name in sorted(reached & set(OWN_TARGET))]


def header_form(root):
    found = []
    for path in headers(root):
        name = path.relative_to(root).as_posix()
        lines = read(path).splitlines()
        if not lines or not lines[0].startswith("// "):
            found.append(f"{name}: the first line does not say what goes in and what comes out")
        if path.suffix == ".hpp" and "#pragma once" not in lines:
            found.append(f"{name}: no #pragma once")
        if len(lines) > MAX_HEADER_LINES and name not in GENERATED_HEADERS:
            found.append(f"{name}: {len(lines)} lines, more than {MAX_HEADER_LINES}")
    return found


def declared_errors(root):
    """number -> list of (name or None for a compile-time sentence, file)."""
    declared = {}
    for folder in ("include", "tools", "experts", "bench"):
        for path in sorted((root / folder).rglob("*.[chi][pn][pc]")):
            text = re.sub(r"//.*", "", read(path))
            for name, number in ERROR_CODE.findall(text):
                declared.setdefault(int(number), []).append((name, path.relative_to(root).as_posix()))
            for number in {int(n) for n in COMPILE_TIME_ERROR.findall(text) if int(n) < 100}:
                declared.setdefault(number, []).append((None, path.relative_to(root).as_posix()))
    return declared


def error_numbers(root):
    found = []
    declared = declared_errors(root)
    page = root / "docs/errors.md"
    rows = [int(number) for number in ERROR_ROW.findall(read(page))] if page.exists() else []
    files = [*(root / "tests").rglob("*.[ch]pp"), *(root / "tests/unit").glob("*.py")]
    tests = "\n".join(read(path) for path in sorted(files))
    for number, places in sorted(declared.items()):
        names = sorted({name for name, _ in places if name})
        if len([name for name, _ in places if name]) > 1:
            found.append(f"E{number:03} is declared twice: {places}")
        if number not in rows:
            found.append(f"E{number:03} ({', '.join(names) or 'compile time'}) has no row in docs/errors.md")
        as_number = [rf"E{number:03}\b", rf"(==|{{)\s*{number}\b", rf"refused\(.*, {number}\b"]  # by name, E221, code() == 221, or {221, ...} in a table
        if not re.search("|".join(as_number + [rf"\b{name}\b" for name in names]), tests):
            found.append(f"E{number:03} ({', '.join(names) or 'compile time'}) appears in no test")
    for number in sorted(set(rows)):
        if number not in declared:
            found.append(f"docs/errors.md has a row for E{number:03}, which no code declares")
        if rows.count(number) > 1:
            found.append(f"docs/errors.md has {rows.count(number)} rows for E{number:03}")
    return found


# Split, so that this file does not contain what it looks for.
FORBIDDEN_TEXT = {
    "a registry host": re.compile("|".join(["pypi" + r"\.org", "pythonhosted" + r"\.org", "npmjs" + r"\.(org|com)",
                                            "crates" + r"\.io", "deb\\.debian" + r"\.org"])),
    "a path of one machine": re.compile("(?<![\\w.}])/(" + "work/" + "|root/|home/\\w+/|tmp/venv" + ")"),
    "a mark of unfinished work": re.compile(r"\b(TO" + "DO|FIX" + r"ME)\b"),
}


def committed_text(root):
    found = []
    for path in committed_files(root):
        data = path.read_bytes()
        if b"\0" in data[:4096]:
            continue
        text = data.decode("utf-8", errors="replace")
        for what, pattern in FORBIDDEN_TEXT.items():
            match = pattern.search(text)
            if match:
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path.relative_to(root)}:{line}: {what}: {match.group(0)}")
    return found


FENCE = re.compile(r"(?:<!-- from (\S+) -->\n)?```(cpp|cmake)\n(.*?)```", re.DOTALL)


def dedented(text):
    return "\n".join(line.strip() for line in text.strip().splitlines())


def snippets(root):
    """Every C++ and CMake block of README.md and docs/ names the built file that it is cut from and stands in it."""
    found = []
    for page in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        for source, _, code in FENCE.findall(read(page)) if page.exists() else []:
            name = page.relative_to(root)
            if not source:
                found.append(f"{name}: a code block without its source: {code.splitlines()[0]}")
            elif not (root / source).is_file() or dedented(code) not in dedented(read(root / source)):
                found.append(f"{name}: a code block is not in {source}: {code.splitlines()[0]}")
    return found


LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def links(root):
    found = []
    for page in [*root.glob("*.md"), *sorted((root / "docs").rglob("*.md"))]:
        for target in LINK.findall(read(page)):
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
                found.append(f"{page.relative_to(root)}: link to {target}, which does not exist")
    return found


def flow_names_every_header(root):
    page = root / "docs/flow.md"
    text = read(page) if page.exists() else ""
    names = {path.relative_to(root / "include/expert").as_posix() for path in headers(root)}
    missing = [f"docs/flow.md does not name {name}" for name in sorted(names) if f"`{name}`" not in text]
    named = set(re.findall(r"`([\w/]+\.(?:hpp|inc))`", text))
    return missing + [f"docs/flow.md names {name}, which does not exist" for name in sorted(named - names)]


def commands_exist(root):
    """README.md and docs/ promise no command or flag of expert-cli that it lacks."""
    source = "\n".join(read(path) for path in sorted((root / "tools").rglob("*.[ch]pp")))
    verbs = set(re.findall(r'add_subcommand\("([\w-]+)"', source))
    flags = set(re.findall(r'"(--[\w-]+)', source)) | {"--help", "--json"}
    found = []
    for page in [root / "README.md", root / "docs/flow.md"]:
        for line in read(page).splitlines() if page.exists() else []:
            for verb, rest in re.findall(r"^\s*(?:\S*/)?expert-cli ([a-z]+)(.*)", line):
                if verb not in verbs:
                    found.append(f"{page.relative_to(root)}: expert-cli has no command {verb}")
                found += [f"{page.relative_to(root)}: expert-cli has no flag {flag}"
                          for flag in re.findall(r"(--[\w-]+)", rest) if flag not in flags]
    return found
