// Names of JSON objects as a text grows, against the JSON reader that refuses a name twice.
#include "expert/grammar/json_names.hpp"

#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "expert/core/random.hpp"

namespace json_names_test {
using namespace expert;

TEST_CASE("a name counts in its own object, by what it spells, and a value is no name", "[json_names]") {
  for (const char* text : {R"({"a":1,"b":2})", R"({"a":{"a":{"a":[]}}})", R"([{"a":1},{"a":2}])",
                           R"({"a":"b","b":"a"})", R"({"a":["b","b",{"b":1}],"b":[]})", R"({"a\"":1,"a":2,"a\\":3})",
                           R"({"":1,"\u0000":2})", "\"a\"", "[\"a\",\"a\"]", R"({"x":{"a":1},"a":2})"}) {
    INFO(text);
    CHECK(JsonNames().add(text));
    CHECK(JsonNames().would_be_fresh(text));
  }
  for (const char* text : {R"({"a":1,"a")", R"({"a":1,"\u0061")", R"({"\u0061":1,"a")", R"({"a":{"b":[1,{"b":2}]},"a")",
                           R"([{"a":1,"b":1,"a")", R"({"":1 , "")", R"({"\"":1,"\u0022")", R"({"\/":1,"/")"}) {
    INFO(text);
    CHECK_FALSE(JsonNames().add(text));
    CHECK_FALSE(JsonNames().would_be_fresh(text));
  }
}

TEST_CASE("a text may come in pieces, and goes on behind a name that was there", "[json_names]") {
  const std::string text = R"({"ab":1,"\u0061b":[{"c":"ab"}],"d":2,"d":3})";
  JsonNames names;
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view one(text.data() + i, 1);
    const bool would = names.would_be_fresh(one), is = names.add(one);
    CHECK(would == is);
    if (!is) found.push_back(i);
  }
  CHECK(found == std::vector<std::size_t>{text.find("\":["), text.find("\":3")});
}

// Random objects with few names, so that about half repeat one.
TEST_CASE("random objects are judged as the JSON reader judges them", "[json_names]") {
  int repeated = 0, fresh = 0;
  for (std::uint32_t round = 0; round < 2000; ++round) {
    const RandomStream random(3, Purpose::shuffle, round);
    std::uint64_t drawn = 0;
    const auto below = [&](std::uint32_t n) { return random.below(drawn++, n); };
    std::string text;
    const auto value = [&](const auto& self, int depth) -> void {
      switch (depth > 3 ? 0 : below(4)) {
        case 0:
          text += below(2) == 0 ? "1" : R"("a")";
          return;
        case 1:
          text += '[';
          for (std::uint32_t i = below(3); i > 0; --i) self(self, depth + 1), text += i > 1 ? "," : "";
          text += ']';
          return;
        default:
          text += '{';
          for (std::uint32_t i = below(4); i > 0; --i) {
            constexpr const char* names[] = {"a", "b", "\\u0062", "c\\\"", "", "d", "\\n"};
            text += std::string("\"") + names[below(7)] + "\": ";
            self(self, depth + 1);
            text += i > 1 ? ", " : "";
          }
          text += '}';
      }
    };
    value(value, 0);
    int code = 0;
    try {
      parse_json(text, "text", 1 << 20);
    } catch (const Error& error) {
      code = error.code();
    }
    INFO(text);
    REQUIRE((code == 0 || code == 213));
    CHECK(JsonNames().add(text) == (code == 0));
    ++(code == 0 ? fresh : repeated);
  }
  CHECK(repeated > 300);
  CHECK(fresh > 300);
}

}  // namespace json_names_test
