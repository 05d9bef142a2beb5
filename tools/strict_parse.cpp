// strict_parse LANGUAGE: JSON lines {text} on standard input -> JSON lines {valid, message, offset}. For the tests of
// the grammars, which judge many thousand sentences, and for scripts.
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>

#include "expert/json/json.hpp"
#include "strict_parser.hpp"

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fputs("usage: strict_parse LANGUAGE < ROWS > VERDICTS\n", stderr);
    return 2;
  }
  cli::StrictParser parse(argv[1]);
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    const expert::Json row = expert::parse_json(line, "standard input", expert::default_limits.jsonl_line_bytes);
    const expert::Json* text = row.find("text");
    if (text == nullptr || !text->is_string()) throw std::runtime_error("a row has no text");
    const expert::SyntaxVerdict verdict = parse(text->as_string());
    expert::Json out = expert::Json::object();
    out.set("valid", verdict.valid)
        .set("message", verdict.message)
        .set("offset", static_cast<std::int64_t>(verdict.offset));
    std::cout << out.dump() << '\n' << std::flush;
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
