#!/usr/bin/env python3
"""Cypher texts, judged by two outside parsers and by ours. Usage: cypher_oracles.py BIN_DIR ROWS [--show N]; ROWS: JSON lines {text}.
Needs PyPI antlr4-cypher and kuzu, so no test runs it. What the outside parsers are known not to have is put aside and counted:
antlr4-cypher 0.1.2 has no =~ (its lexer), no UNION, and no reading clause between two WITHs; kuzu has a dialect of its own."""
import argparse
import collections
import json
import re
import subprocess
import sys
from pathlib import Path

from antlr4 import CommonTokenStream, InputStream
from antlr4.error.ErrorListener import ErrorListener
from antlr4_cypher import CypherLexer, CypherParser


WORDS = {True: "accepts", False: "refuses", None: "dies"}


class FirstError(ErrorListener):
    def __init__(self):
        self.message = None

    def syntaxError(self, recognizer, symbol, line, column, message, error):
        self.message = self.message or f"{line}:{column} {message}"


def antlr(text):
    errors = FirstError()
    lexer = CypherLexer(InputStream(text))
    parser = CypherParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(errors)
    parser.script()
    return errors.message


LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`", re.DOTALL)
CLAUSE = re.compile(r"\b(OPTIONAL|MATCH|UNWIND|CALL|CREATE|MERGE|SET|REMOVE|DELETE|DETACH|RETURN|WITH|UNION)\b")


def outside_brackets(text):
    """The text with everything inside of brackets blanked, same length."""
    depth, out = 0, []
    for c in text:
        depth -= c in ")]}"
        out.append(c if depth == 0 else " ")
        depth += c in "([{"
    return "".join(out)


def pieces(text):
    """What antlr4-cypher reads one by one: the branches of a UNION, and of a branch the parts up to each WITH; =~ as CONTAINS."""
    hidden = LITERAL.sub(lambda m: "`" + "x" * (len(m[0]) - 2) + "`", text)
    flat = outside_brackets(hidden).replace("`", "x")
    starts = [m for m in CLAUSE.finditer(flat)
              if not (m[1] == "WITH" and re.search(r"(STARTS|ENDS)\s+$", flat[:m.start()]))
              and not re.search(r"\b(ON\s+(MATCH|CREATE)\s+|ON\s+|OPTIONAL\s+|DETACH\s+)$", flat[:m.start()])]
    out, begin = [], 0
    for k, clause in enumerate(starts):
        end = starts[k + 1].start() if k + 1 < len(starts) else len(text)
        if clause[1] == "UNION":
            out.append(text[begin:clause.start()])
            begin = end
        elif clause[1] == "WITH":
            out.append(text[begin:end] + " RETURN 1")
            begin = end
    out.append(text[begin:])
    marked = [LITERAL.sub(lambda m: m[0].replace("=~", "= "), piece).replace("=~", "CONTAINS") for piece in out]
    return marked


class Kuzu:
    """In a process of its own, since some texts kill it."""
    PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
import kuzu
connection = kuzu.Connection(kuzu.Database(":memory:"))
for line in sys.stdin:
    prepared = connection.prepare(json.loads(line))
    print(json.dumps(None if prepared.is_success() else prepared.get_error_message()), flush=True)
"""

    def __init__(self):
        self.child = subprocess.Popen([sys.executable, "-c", self.PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True, encoding="utf-8")

    def accepts(self, text):
        """None where the text killed it."""
        self.child.stdin.write(json.dumps(text) + "\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        if not answer:
            self.child.wait()
            self.__init__()
            return None
        message = json.loads(answer)
        return message is None or not message.startswith("Parser exception")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("bin", type=Path)
    arguments.add_argument("rows", type=Path)
    arguments.add_argument("--show", type=int, default=20)
    flags = arguments.parse_args()
    lines = flags.rows.read_text(encoding="utf-8").split("\n")[:-1]
    ours = subprocess.run([str(flags.bin / "strict_parse"), "cypher"], input="\n".join(lines).encode() + b"\n",
                          capture_output=True, check=True).stdout.decode().split("\n")[:-1]
    kuzu = Kuzu()
    count, shown = collections.Counter(), 0
    for line, verdict in zip(lines, map(json.loads, ours)):
        text = json.loads(line)["text"]
        first = next((m for m in map(antlr, pieces(text)) if m), None)
        by_kuzu = kuzu.accepts(text)
        count[verdict["valid"], first is None, by_kuzu] += 1
        if verdict["valid"] and first is not None and shown < flags.show:
            shown += 1
            print(f"{text!r}\n    antlr4-cypher: {first}; kuzu {WORDS[by_kuzu]}")
    for (our, by_antlr, by_kuzu), n in sorted(count.items(), key=str, reverse=True):
        print(f"{n:7} ours {'+' if our else '-'}  antlr4-cypher {'+' if by_antlr else '-'}  kuzu {WORDS[by_kuzu]}")


if __name__ == "__main__":
    main()
