// gbnf_tool draw FILE N SEED LEAST [names-once]   -> N JSON lines {text}; then, on standard error, a JSON line with the
// count of productions. names-once: sentences are drawn again where JSON's objects repeat a name, as generation does
// gbnf_tool accept FILE < ROWS   -> JSON lines {accepted, reach}: rows {text}; reach: characters that a sentence may
// begin with
#include <cmath>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>

#include "expert/grammar/json_names.hpp"
#include "expert/json/json.hpp"
#include "grammars/gbnf.hpp"

namespace {

using expert::Json;

void draw(const gbnf::Grammar& grammar, long n, unsigned long seed, long least, bool names_once) {
  gbnf::Drawer drawer(grammar, seed);
  std::string sentence;
  for (long i = 0; i < n;) {
    if (i < n / 10 || !drawer.rare_sentence(least, sentence)) sentence = drawer.sentence();
    if (names_once && !expert::JsonNames().add(sentence)) continue;
    ++i;
    Json row = Json::object();
    row.set("text", sentence);
    std::cout << row.dump() << '\n';
  }
  Json rules = Json::array();
  for (const auto& [rule, alternatives, least] : drawer.productions()) {
    Json one = Json::object();
    one.set("rule", rule).set("alternatives", alternatives).set("least", least);
    rules.push(std::move(one));
  }
  std::cerr << rules.dump() << '\n';
}

void accept(const gbnf::Grammar& grammar) {
  const gbnf::Recogniser recogniser(grammar);
  for (std::string line; std::getline(std::cin, line);) {
    const std::string text =
        expert::parse_json(line, "standard input", std::int64_t{1} << 23).find("text")->as_string();
    const std::size_t reach = recogniser.reach(text), size = gbnf::decode(text).size();
    Json out = Json::object();
    out.set("accepted", reach > size).set("reach", static_cast<std::int64_t>(std::min(reach, size)));
    std::cout << out.dump() << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string command = argc > 2 ? argv[1] : "";
  const bool names_once = argc == 7 && std::string(argv[6]) == "names-once";
  if (command != "accept" && (command != "draw" || argc != (names_once ? 7 : 6))) {
    std::fputs("usage: gbnf_tool draw FILE N SEED LEAST [names-once] | gbnf_tool accept FILE\n", stderr);
    return 2;
  }
  std::ios::sync_with_stdio(false);
  const gbnf::Grammar grammar = gbnf::Reader(argv[2]).take_grammar();
  if (command == "draw")
    draw(grammar, std::stol(argv[3]), std::stoul(argv[4]), std::stol(argv[5]), names_once);
  else
    accept(grammar);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
