// json/json.hpp against nlohmann_json as oracle, and where it is stricter on purpose.
#include "expert/json/json.hpp"

#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "catch.hpp"
#include "error_of.hpp"
#include "temp_dir.hpp"

namespace json_test {
using namespace expert;

namespace {

constexpr std::int64_t cap = 64 << 20;
Json parse(std::string_view text) { return parse_json(text, "test.json", cap); }
Error refused(std::string_view text) {
  INFO(text);
  return error_of([&] { parse(text); });
}

bool same(const Json& ours, const nlohmann::json& theirs) {
  if (theirs.is_null()) return ours.is_null();
  if (theirs.is_boolean()) return ours.is_bool() && ours.as_bool() == theirs.get<bool>();
  if (theirs.is_string()) return ours.is_string() && ours.as_string() == theirs.get<std::string>();
  if (theirs.is_number_unsigned() && theirs.get<std::uint64_t>() > std::uint64_t{INT64_MAX})
    return ours.is_number() && ours.as_double() == theirs.get<double>();
  if (theirs.is_number_integer()) return ours.is_integer() && ours.as_int() == theirs.get<std::int64_t>();
  if (theirs.is_number()) return ours.is_number() && ours.as_double() == theirs.get<double>();
  if (theirs.is_array()) {
    if (!ours.is_array() || ours.items().size() != theirs.size()) return false;
    for (std::size_t i = 0; i < theirs.size(); ++i)
      if (!same(ours.items()[i], theirs[i])) return false;
    return true;
  }
  if (!ours.is_object() || ours.members().size() != theirs.size()) return false;
  for (const auto& [key, value] : ours.members())
    if (!theirs.contains(key) || !same(value, theirs[key]) || ours.find(key) != &value) return false;
  return true;
}

// The oracle accepts nothing that we refuse, but for the rules that we have and it has not.
void compare_with_oracle(const std::string& text) {
  const auto theirs = nlohmann::json::parse(text, nullptr, false);
  try {
    const Json ours = parse(text);
    if (theirs.is_discarded() || !same(ours, theirs)) {
      FAIL("accepted, and the oracle refuses it or reads something else: " << text);
    }
    for (const int indent : {-1, 0, 3}) {
      const std::string dumped = ours.dump(indent);
      if (!same(ours, nlohmann::json::parse(dumped)) || parse(dumped).dump(indent) != dumped)
        FAIL("does not survive writing: " << text);
    }
  } catch (const Error& error) {
    const bool stricter = error.error_code() == json_too_deep || error.error_code() == json_duplicate_key ||
                          error.error_code() == json_number_range || text.starts_with("\xef\xbb\xbf");
    if (!theirs.is_discarded() && !stricter) FAIL("the oracle accepts this: " << text << "\n" << error.what());
  }
}

const std::array<std::string, 10> corpus{
    R"({"hidden_size": 64, "rope_theta": 1000000.0, "rms_norm_eps": 1e-06, "tie": true, "head_dim": null})",
    R"([0, -0, -0.0, 1, -1, 12.5, 1E3, 1e+3, 1e-3, 0.1, 123456789012345678, 9223372036854775807, -9223372036854775808])",
    R"([9223372036854775808, 18446744073709551615, 18446744073709551616, 1.7976931348623157e308, 5e-324, 2.5e-1])",
    "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\", \"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\\u0000\", "
    "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"]",
    R"({"a": {"b": {"c": [[], {}, [[]], {"d": []}]}}, "": 0, "a/b": 1, "m~n": 2})",
    " \t\r\n[ \n1\t,\r2 ] \n",
    R"({"model":{"type":"BPE","vocab":{"!":0,"\"":1,"#":2},"merges":[["a","b"],["ab","c"]]}})",
    R"({"k0":0,"k1":1,"k2":2,"k3":3,"k4":4,"k5":5,"k6":6,"k7":7,"k8":8,"k9":9,"ka":10,"kb":11,"kc":12,"kd":13,"ke":14})",
    "\"plain\"",
    "[true, false, null, \"\x7f\xc2\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf\"]"};

}  // namespace

TEST_CASE("valid texts read as the oracle reads them, and write to what reads the same", "[json]") {
  for (const std::string& text : corpus) {
    INFO(text);
    CHECK(same(parse(text), nlohmann::json::parse(text)));
    compare_with_oracle(text);
  }
}

TEST_CASE("on 60,000 random mutations both readers accept the same texts with the same values", "[json]") {
  std::mt19937 random(7);
  const std::string alphabet =
      "{}[]\",:\\ue0123456789.-+EtrfalsnN/* \n\x01\x7f\x80\xc3\xa9\xed\xa0\xef\xbb\xbf\xf0\xf4";
  const auto below = [&](std::size_t n) { return random() % n; };
  int accepted = 0;
  for (int round = 0; round < 60000; ++round) {
    std::string text = corpus[below(corpus.size())];
    for (std::size_t edits = 1 + below(3); edits > 0 && !text.empty(); --edits) {
      const std::size_t at = below(text.size());
      switch (below(5)) {
        case 0:
          text[at] = alphabet[below(alphabet.size())];
          break;
        case 1:
          text.insert(at, 1, alphabet[below(alphabet.size())]);
          break;
        case 2:
          text.erase(at, 1 + below(3));
          break;
        case 3:
          text.insert(below(text.size()), text.substr(at, below(12)));
          break;
        default:
          text.resize(at);
          break;
      }
    }
    compare_with_oracle(text);
    accepted += nlohmann::json::accept(text);
  }
  CHECK(accepted > 1000);  // else the comparison says little
}

TEST_CASE("every truncation of a valid text is refused", "[json]") {
  for (const std::string& text : corpus) {
    if (text.front() != '{') continue;
    for (std::size_t n = 0; n < text.size(); ++n) CHECK(refused(text.substr(0, n)).error_code() == json_syntax);
  }
}

TEST_CASE("what is wrong is named by line, column and offset", "[json]") {
  const Error error = refused("{\n  \"\xc3\xa9\": 1,\n  \"\xc3\xa9\xc3\xa9\" 2}");
  CHECK(error.error_code() == json_syntax);
  CHECK(error.detail().file == "test.json");
  CHECK(error.detail().where == "line 3, column 8 (offset 22)");
  CHECK(error.detail().expected == "\":\"");
  CHECK(error.detail().got == "\"2\"");
}

TEST_CASE("texts that are not JSON are E210", "[json]") {
  const char* texts[] = {"",
                         " ",
                         "{",
                         "}",
                         "[",
                         "]",
                         "[1,]",
                         "[,1]",
                         "{,}",
                         "{\"a\":}",
                         "{\"a\"}",
                         "{a:1}",
                         "{'a':1}",
                         "{\"a\":1,}",
                         "[1 2]",
                         "[1}",
                         "{\"a\":1]",
                         "nul",
                         "True",
                         "None",
                         "NaN",
                         "Infinity",
                         "-Infinity",
                         "-",
                         "+1",
                         "01",
                         "-01",
                         "1.",
                         ".5",
                         "1e",
                         "1e+",
                         "0x10",
                         "1_000",
                         "\"a",
                         "\"\\\"",
                         "\"\\x41\"",
                         "\"\\u12\"",
                         "\"\\u12g4\"",
                         "\"\\u-123\"",
                         "\"\\u 123\"",
                         "\"a\nb\"",
                         "\"\t\"",
                         "// c\n1",
                         "/* c */1",
                         "1 // c",
                         "1 2",
                         "[1][2]",
                         "{\"a\":1}x",
                         "nulll",
                         "truefalse",
                         "[1,\v2]",
                         "\"\\",
                         "\"\\ud83d\\u",
                         "#",
                         "undefined",
                         "1,"};
  for (const char* text : texts) CHECK(refused(text).error_code() == json_syntax);
  CHECK(refused(std::string_view("1\0", 2)).error_code() == json_syntax);
  CHECK(refused(std::string_view("\"\0\"", 3)).error_code() == json_syntax);
}

TEST_CASE("a byte order mark, broken UTF-8 and lone surrogates are E211", "[json]") {
  const char* texts[] = {"\xef\xbb\xbf{}",
                         "\"\x80\"",
                         "\"\xc3\"",
                         "\"\xc0\xaf\"",
                         "\"\xe0\x80\xaf\"",
                         "\"\xed\xa0\x80\"",
                         "\"\xf4\x90\x80\x80\"",
                         "\"\xff\"",
                         "\"\xf0\x80\x80\x80\"",
                         "\"\xe2\x82\"",
                         "\"\\ud800\"",
                         "\"\\udc00\"",
                         "\"\\ud800x\"",
                         "\"\\ud800\\u0041\"",
                         "\"\\ud800\\ud800\"",
                         "{\"\xc3(\": 1}",
                         "\"\xf8\x88\x80\x80\x80\""};
  for (const char* text : texts) CHECK(refused(text).error_code() == json_encoding);
  CHECK(contains(refused("\xef\xbb\xbf{}").what(), "byte order mark"));
}

TEST_CASE("64 levels are read and the 65th is E212, in arrays and objects, at any length", "[json]") {
  const auto nested = [](std::size_t n, bool object) {
    std::string text;
    for (std::size_t i = 0; i < n; ++i) text += object ? "{\"a\":" : "[";
    text += "1";
    for (std::size_t i = 0; i < n; ++i) text += object ? "}" : "]";
    return text;
  };
  for (const bool object : {false, true}) {
    CHECK(parse(nested(64, object)).dump() == nested(64, object));
    CHECK(refused(nested(65, object)).error_code() == json_too_deep);
    CHECK(refused(nested(1000000, object)).error_code() == json_too_deep);
  }
  CHECK(refused(nested(64, false).replace(64, 1, "[]")).error_code() == json_too_deep);
  Limits limits;
  limits.json_depth = 1;
  CHECK(error_of([&] { parse_json("[[]]", "f", 9, limits); }).error_code() == json_too_deep);
}

TEST_CASE("a key that stands twice is E213 and the second is named, in small and in large objects", "[json]") {
  const Error small = refused(R"({"a": 1, "b": 2, "\u0061": 3})");
  CHECK(small.error_code() == json_duplicate_key);
  CHECK(contains(small.what(), "column 28 (offset 27)"));
  CHECK(contains(small.what(), "\"a\""));
  for (const int n : {11, 12, 13, 14, 1000}) {
    Json object = Json::object();
    for (int i = 0; i < n; ++i) object.set("a long common prefix " + std::to_string(i), i);
    std::string text = object.dump();
    CHECK(parse(text).members().size() == static_cast<std::size_t>(n));
    text.insert(text.size() - 1, ",\"a long common prefix 7\":0");
    const Error error = refused(text);
    CHECK(error.error_code() == json_duplicate_key);
    CHECK(contains(error.what(), "prefix 7"));
    CHECK(contains(error.what(), "(offset " + std::to_string(text.size() - 2) + ")"));
  }
  CHECK(parse(R"({"a": {"a": 1}})").find("a")->find("a")->as_int() == 1);
}

TEST_CASE("numbers that a double cannot hold are E214", "[json]") {
  for (const char* text : {"1e400", "-1e400", "1e-400", "[1e99999999999999999999]"})
    CHECK(refused(text).error_code() == json_number_range);
  CHECK(refused(std::string(400, '9')).error_code() == json_number_range);
  CHECK(parse("0e99999").as_double() == 0);
}

TEST_CASE("integers stay exact in int64, become doubles beyond, and 12.0 counts as an integer", "[json]") {
  CHECK(parse("9223372036854775807").as_int() == std::numeric_limits<std::int64_t>::max());
  CHECK(parse("-9223372036854775808").as_int() == std::numeric_limits<std::int64_t>::min());
  CHECK(parse("12.0").is_integer());
  CHECK(parse("1.2e1").as_int() == 12);
  CHECK(parse("-0").as_int() == 0);
  CHECK(std::signbit(parse("-0.0").as_double()));
  CHECK_FALSE(parse("12.5").is_integer());
  CHECK(parse("9007199254740992.0").is_integer());
  CHECK_FALSE(parse("9007199254740994.0").is_integer());
  const Json two_to_63 = parse("9223372036854775808");
  CHECK(two_to_63.is_number());
  CHECK_FALSE(two_to_63.is_integer());
  CHECK(two_to_63.as_double() == 0x1p63);
  CHECK(error_of([&] { two_to_63.as_int(); }).error_code() == json_wrong_kind);
}

TEST_CASE("texts over the byte limit or with too many values are E215", "[json]") {
  CHECK(parse_json("[1]", "f", 3).is_array());
  CHECK(error_of([] { parse_json("[1] ", "f", 3); }).error_code() == json_too_large);
  std::string many = "[0";
  for (std::int64_t i = 0; i < json_max_values; ++i) many += ",0";
  CHECK(refused(many + "]").error_code() == json_too_large);
}

TEST_CASE("asking a value for another kind is E216 with its offset", "[json]") {
  const Json json = parse(R"({"a": "text", "b": [1]})");
  const Error error = error_of([&] { json.find("a")->as_int(); });
  CHECK(error.error_code() == json_wrong_kind);
  CHECK(contains(error.what(), "offset 6"));
  CHECK(contains(error.what(), "the string \"text\""));
  CHECK(error_of([&] { json.find("b")->as_string(); }).error_code() == json_wrong_kind);
  CHECK(error_of([&] { json.items(); }).error_code() == json_wrong_kind);
  CHECK(error_of([&] { json.as_bool(); }).error_code() == json_wrong_kind);
  CHECK(error_of([&] { json.find("b")->members(); }).error_code() == json_wrong_kind);
  CHECK(error_of([&] { parse("[]").set("a", 1); }).error_code() == json_wrong_kind);
  CHECK(error_of([&] { parse("{}").push(1); }).error_code() == json_wrong_kind);
  CHECK(json.find("c") == nullptr);
  CHECK(json.find("b")->find("a") == nullptr);
}

TEST_CASE("what JSON cannot hold is refused on writing as E217", "[json]") {
  CHECK(error_of([] { Json(std::nan("")).dump(); }).error_code() == json_not_writable);
  CHECK(error_of([] { Json(-INFINITY).dump(); }).error_code() == json_not_writable);
  CHECK(error_of([] { Json("\xff").dump(); }).error_code() == json_not_writable);
  CHECK(error_of([] { Json::object().set("\xc3", 1).dump(); }).error_code() == json_not_writable);
}

TEST_CASE("written text is deterministic: members in order, shortest doubles, fixed layout", "[json]") {
  Json json = Json::object();
  json.set("z", 1).set("a", Json::array().push(1.0).push(0.1).push(1e-6).push(1e300).push(nullptr).push(true));
  json.set("e", Json::object()).set("n", Json::array()).set("s", "\x01\"\\\n\x7f");
  CHECK(json.dump() ==
        "{\"z\":1,\"a\":[1.0,0.1,1e-06,1e+300,null,true],\"e\":{},\"n\":[],\"s\":\"\\u0001\\\"\\\\\\n\x7f\"}");
  CHECK(parse("{\"a\":[1,{\"b\":2}],\"c\":{}}").dump(2) ==
        "{\n  \"a\": [\n    1,\n    {\n      \"b\": 2\n    }\n  ],\n  \"c\": {}\n}");
  CHECK(json.dump(2) == nlohmann::ordered_json::parse(json.dump()).dump(2));
  std::mt19937_64 random(3);
  for (int i = 0; i < 20000; ++i) {
    const auto x = std::bit_cast<double>(random());
    if (std::isfinite(x)) CHECK(parse(Json(x).dump()).as_double() == x);
  }
}

TEST_CASE("set replaces or appends and large objects stay searchable through copies", "[json]") {
  Json json;
  for (int i = 0; i < 500; ++i) json.set("key" + std::to_string(i * 7 % 500), i);
  json.set("key3", "new");
  const Json copy = json;
  json.set("key4", "changed after the copy").set("late", 1);
  CHECK(copy.members().size() == 500);
  CHECK(copy.find("key3")->as_string() == "new");
  for (int i = 0; i < 500; ++i) {
    const std::string key = "key" + std::to_string(i * 7 % 500);
    REQUIRE(copy.find(key) != nullptr);
    if (i * 7 % 500 != 3) CHECK(copy.find(key)->as_int() == i);
  }
  CHECK(copy.find("late") == nullptr);
  CHECK(json.find("late")->as_int() == 1);
  CHECK(copy.find("key") == nullptr);
}

TEST_CASE("pointers follow RFC 6901", "[json]") {
  const Json json = parse(R"({"a": [10, {"b": 11}], "": 1, "x/y": 2, "m~n": 3, "~1": 4, "0": 5})");
  CHECK(json.at_pointer("") == &json);
  CHECK(json.at_pointer("/a/1/b")->as_int() == 11);
  CHECK(json.at_pointer("/")->as_int() == 1);
  CHECK(json.at_pointer("/x~1y")->as_int() == 2);
  CHECK(json.at_pointer("/m~0n")->as_int() == 3);
  CHECK(json.at_pointer("/~01")->as_int() == 4);
  CHECK(json.at_pointer("/0")->as_int() == 5);
  for (const char* nowhere :
       {"a", "/a/2", "/a/-", "/a/01", "/a/00", "/a/+1", "/a/", "/a/0/x", "/b", "/~2", "/~", "/a/99999999999999999999"})
    CHECK(json.at_pointer(nowhere) == nullptr);
}

TEST_CASE("values know the byte at which they begin", "[json]") {
  const std::string text = R"( {"a": [ 12, "x"], "b":null})";
  const Json json = parse(text);
  CHECK(json.offset() == 1);
  CHECK(json.at_pointer("/a")->offset() == text.find('['));
  CHECK(json.at_pointer("/a/1")->offset() == text.find("\"x\""));
  CHECK(json.at_pointer("/b")->offset() == text.find("null"));
}

TEST_CASE("files are read once, and only regular files within their limit", "[json]") {
  const TempDir dir;
  const auto file = dir.write("ok.json", "{\"a\": 1}");
  CHECK(read_json(file, 8).find("a")->as_int() == 1);
  CHECK(read_file(dir.write("empty", ""), 0).empty());
  std::filesystem::create_symlink(file, dir / "link.json");
  CHECK(read_json(dir / "link.json", 8).is_object());
  const Error large = error_of([&] { read_json(file, 7); });
  CHECK(large.error_code() == file_too_large);
  CHECK(contains(large.what(), "ok.json"));
  const Error missing = error_of([&] { read_json(dir / "missing.json", 7); });
  CHECK(missing.error_code() == file_unreadable);
  CHECK(contains(missing.what(), "No such file"));
  CHECK(error_of([&] { read_json(std::string("a\0b", 3), 7); }).error_code() == file_unreadable);
  CHECK(error_of([&] { read_json(dir.path(), 7); }).error_code() == file_not_regular);
  REQUIRE(mkfifo((dir / "pipe").c_str(), 0600) == 0);
  CHECK(error_of([&] { read_json(dir / "pipe", 7); }).error_code() == file_not_regular);
  CHECK(error_of([&] { read_json("/dev/zero", 7); }).error_code() == file_not_regular);
}

}  // namespace json_test
