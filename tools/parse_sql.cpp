// Rows with `output` (and `answer`) -> how many outputs PostgreSQL's own parser accepts, and how many equal the answer.
// Reads what `expert-cli generate` writes; libpg_query is the parser of PostgreSQL 15.
#include <pg_query.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <string>

#include "expert/data/jsonl.hpp"
#include "expert/io/gzip.hpp"

namespace {

using namespace expert;

// The statement as the parser prints it (one spelling for letter case, spaces and redundant parentheses), where the
// text is exactly one SELECT.
std::optional<std::string> canonical(const std::string& sql) {
  PgQueryParseResult tree = pg_query_parse(sql.c_str());
  std::string json = tree.parse_tree != nullptr && tree.error == nullptr ? tree.parse_tree : "";
  pg_query_free_parse_result(tree);
  if (json.empty()) return {};
  const Json parsed = parse_json(json, "parse tree", std::int64_t{64} << 20, Limits{.json_depth = 4096});
  const Json* statements = parsed.find("stmts");
  if (statements == nullptr || statements->items().size() != 1) return {};
  if (statements->items()[0].at_pointer("/stmt/SelectStmt") == nullptr) return {};
  PgQueryProtobufParseResult protobuf = pg_query_parse_protobuf(sql.c_str());
  PgQueryDeparseResult text = pg_query_deparse_protobuf(protobuf.parse_tree);
  std::string printed = text.query != nullptr ? text.query : sql;
  pg_query_free_deparse_result(text);
  pg_query_free_protobuf_parse_result(protobuf);
  return printed;
}

struct Count {
  int n = 0, parsed = 0, exact = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: parse_sql ROWS\n");
    return 2;
  }
  try {
    std::map<std::string, Count> counts;
    JsonlReader reader(open_plain_or_gzip(argv[1]), argv[1]);
    for (JsonRow row; reader.next(row);) {
      const Json *output = row.value.find("output"), *answer = row.value.find("answer"),
                 *source = row.value.find("source");
      if (output == nullptr || !output->is_string()) {
        std::fprintf(stderr, "%s, line %lld: no output\n", argv[1], static_cast<long long>(row.line));
        return 2;
      }
      const auto got = canonical(output->as_string());
      const auto expected = answer != nullptr && answer->is_string() ? canonical(answer->as_string()) : std::nullopt;
      for (const std::string& group :
           {std::string("all"), source != nullptr ? source->as_string() : std::string("?")}) {
        Count& count = counts[group];
        ++count.n;
        count.parsed += got.has_value();
        count.exact += got.has_value() && got == expected;
      }
    }
    for (const auto& [group, c] : counts)
      std::printf("%-10s n %5d   parsed %5d (%5.1f%%)   exact %5d (%5.1f%%)\n", group.c_str(), c.n, c.parsed,
                  100.0 * c.parsed / c.n, c.exact, 100.0 * c.exact / c.n);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
