// Grammars narrowed to schemas (grammar/name_binder.hpp), for the figures of the READMEs.
//
//   bound_texts accept GRAMMAR FIELD < ROWS          rows {FIELD, answer} -> JSON lines {accepted, compile_ms}
//   bound_texts draw GRAMMAR SCHEMA_FILE N SEED      -> N JSON lines {text}
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

#include "expert/grammar/gbnf.hpp"
#include "expert/grammar/name_binder.hpp"
#include "expert/json/read_file.hpp"
#include "grammar_reference.hpp"

using namespace expert;

namespace {

void accept(NameBinder& binder, const std::string& field) {
  using Clock = std::chrono::steady_clock;
  std::string last;
  std::unique_ptr<detail::RuleAcceptor> accepts;
  for (std::string line; std::getline(std::cin, line);) {
    const Json row = parse_json(line, "standard input", std::int64_t{1} << 23);
    Json out = Json::object();
    if (const std::string schema = row.find(field)->as_string(); !accepts || schema != last) {
      const auto begin = Clock::now();
      const GrammarSyntax bound = binder.bind(schema, field);
      accepts = std::make_unique<detail::RuleAcceptor>(bound, bound.root, default_limits);
      out.set("compile_ms", std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
      last = schema;
    }
    out.set("accepted", (*accepts)(row.find("answer")->as_string()));
    std::cout << out.dump() << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string command = argc > 1 ? argv[1] : "";
  if (!(command == "accept" && argc == 4) && !(command == "draw" && argc == 6))
    return std::fputs("usage: bound_texts accept GRAMMAR FIELD | bound_texts draw GRAMMAR SCHEMA_FILE N SEED\n",
                      stderr),
           2;
  NameBinder binder(parse_gbnf(read_file(argv[2], default_limits.grammar_bytes), argv[2]));
  if (command == "accept") {
    accept(binder, argv[3]);
    return 0;
  }
  const GrammarSyntax bound = binder.bind(read_file(argv[3], default_limits.grammar_bytes), argv[3]);
  reference_grammar::Sentences sentences(bound, static_cast<unsigned>(std::stoul(argv[5])));
  for (long i = std::stol(argv[4]); i > 0; --i)
    std::cout << Json::object().set("text", sentences.draw(150)).dump() << '\n';
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
