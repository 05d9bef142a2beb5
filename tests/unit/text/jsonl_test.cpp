// io/lines.hpp, io/gzip.hpp, data/jsonl.hpp, data/shapes.hpp: what is accepted, and how each bad line is reported.
#include "expert/data/jsonl.hpp"

#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/core/random.hpp"
#include "expert/data/shapes.hpp"
#include "expert/io/gzip.hpp"

namespace jsonl_test {
using namespace expert;

namespace {

bool says(const Error& e, std::string_view part) {
  return std::string_view(e.what()).find(part) != std::string_view::npos;
}

struct Read {
  std::vector<JsonRow> rows;
  std::int64_t blank = 0;
  std::optional<Error> error;
};

Read read_all(ByteSource& source, const Limits& limits = default_limits) {
  Read result;
  try {
    JsonlReader reader(source, "rows.jsonl", limits);
    for (JsonRow row; reader.next(row);) result.rows.push_back(row);
    result.blank = reader.blank_lines();
  } catch (const Error& e) {
    result.error = e;
  }
  return result;
}
Read read_text(std::string text, const Limits& limits = default_limits) {
  MemorySource source(std::move(text));
  return read_all(source, limits);
}
Read read_gzip(std::string bytes, const Limits& limits = default_limits) {
  GzipSource source(std::make_unique<MemorySource>(std::move(bytes)), "rows.jsonl.gz");
  return read_all(source, limits);
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, static_cast<uLong>(text.size())) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

struct TemporaryFile {
  std::filesystem::path path;
  TemporaryFile(const std::string& name, const std::string& bytes)
      : path(std::filesystem::temp_directory_path() / ("expert_jsonl_test_" + name)) {
    std::ofstream(path, std::ios::binary) << bytes;
  }
  ~TemporaryFile() { std::filesystem::remove(path); }
};

}  // namespace

TEST_CASE("rows come with their line numbers, and blank lines are counted", "[jsonl]") {
  const Read read = read_text("{\"a\": 1}\n\n  \t\r\n{\"a\": 2}\n{\"a\": 3}");
  REQUIRE(!read.error);
  REQUIRE(read.rows.size() == 3);
  CHECK(read.blank == 2);
  CHECK(read.rows[0].line == 1);
  CHECK(read.rows[1].line == 4);
  CHECK(read.rows[2].line == 5);
  CHECK(read.rows[2].value.find("a")->as_int() == 3);
}

TEST_CASE("a byte order mark at the start and CR LF line ends are accepted", "[jsonl]") {
  const Read read = read_text("\xEF\xBB\xBF{\"a\": 1}\r\n{\"a\": 2}\r\n");
  REQUIRE(!read.error);
  CHECK(read.rows.size() == 2);
  const Read later = read_text("{\"a\": 1}\n\xEF\xBB\xBF{\"a\": 2}\n");
  REQUIRE(later.error);
  CHECK(later.error->code() == 252);
}

TEST_CASE("an empty file has no rows", "[jsonl]") { CHECK(read_text("").rows.empty()); }

TEST_CASE("E252: a line that is not JSON is reported with its line and column", "[jsonl]") {
  const Read read = read_text("{\"a\": 1}\n{\"a\": }\n");
  REQUIRE(read.error);
  CHECK(read.rows.size() == 1);
  CHECK(read.error->code() == 252);
  CHECK(says(*read.error, "rows.jsonl, line 2, column 7 (offset 6)"));
}

TEST_CASE("E252: bytes that are not UTF-8 are reported with their line", "[jsonl]") {
  for (const std::string bad : {"\x80", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82"}) {
    const Read read = read_text("{\"a\": \"ok\"}\n\n{\"a\": \"" + bad + "\"}\n");
    REQUIRE(read.error);
    CHECK(read.error->code() == 252);
    CHECK(says(*read.error, "line 3"));
  }
}

TEST_CASE("E253: a line of valid JSON that is no object is refused", "[jsonl]") {
  for (const std::string text : {"[1]", "3", "\"x\"", "null", "true"}) {
    const Read read = read_text(text + "\n");
    REQUIRE(read.error);
    CHECK(read.error->code() == 253);
    CHECK(says(*read.error, "line 1"));
  }
}

TEST_CASE("E250: a line above the cap is refused, one at the cap is not", "[jsonl]") {
  Limits limits;
  limits.jsonl_line_bytes = 100;
  const std::string fits = "{\"a\": \"" + std::string(100 - 9, 'x') + "\"}";
  REQUIRE(fits.size() == 100);
  CHECK(!read_text(fits + "\n" + fits, limits).error);
  const Read read = read_text(fits + "\n" + fits + " \n", limits);
  REQUIRE(read.error);
  CHECK(read.error->code() == 250);
  CHECK(says(*read.error, "line 2"));
  CHECK(says(*read.error, "100"));
}

TEST_CASE("the cap of 8 MiB stops a line that never ends", "[jsonl]") {
  struct Endless final : ByteSource {
    std::int64_t given = 0;
    std::size_t read(char* out, std::size_t capacity) override {
      std::fill_n(out, capacity, ' ');
      given += static_cast<std::int64_t>(capacity);
      REQUIRE(given < (std::int64_t{9} << 20));
      return capacity;
    }
  } endless;
  const Read read = read_all(endless);
  REQUIRE(read.error);
  CHECK(read.error->code() == 250);
}

TEST_CASE("gzip and plain files give the same rows, whatever their names", "[jsonl][gzip]") {
  std::string text;
  for (int i = 0; i < 5000; ++i)
    text += "{\"n\": " + std::to_string(i) + ", \"s\": \"\\u00e9 " + std::string(50, 'y') + "\"}\n";
  const TemporaryFile plain("plain.jsonl", text), zipped("rows.jsonl.gz", gzip(text)),
      renamed("renamed.jsonl", gzip(text));
  const Read expected = read_all(*open_plain_or_gzip(plain.path));
  REQUIRE(expected.rows.size() == 5000);
  for (const auto& path : {zipped.path, renamed.path}) {
    const Read read = read_all(*open_plain_or_gzip(path));
    REQUIRE(!read.error);
    REQUIRE(read.rows.size() == 5000);
    CHECK(read.rows[4999].value.dump() == expected.rows[4999].value.dump());
  }
}

TEST_CASE("gzip members that follow each other are one stream", "[jsonl][gzip]") {
  const Read read = read_gzip(gzip("{\"a\": 1}\n{\"a\"") + gzip(": 2}\n") + gzip("") + gzip("{\"a\": 3}"));
  REQUIRE(!read.error);
  CHECK(read.rows.size() == 3);
}

TEST_CASE("E251: gzip cut at any byte is an error, never a shorter file", "[jsonl][gzip]") {
  const std::string whole = gzip("{\"a\": 1}\n{\"a\": 2}\n");
  REQUIRE(!read_gzip(whole).error);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const Read read = read_gzip(whole.substr(0, n));
    REQUIRE(read.error);
    CHECK(read.error->code() == 251);
  }
}

TEST_CASE("E251: gzip with any one byte changed is an error or the same text", "[jsonl][gzip]") {
  const std::string text = "{\"a\": 1}\n{\"a\": 2}\n", whole = gzip(text);
  std::int64_t refused = 0;
  for (std::size_t n = 0; n < whole.size(); ++n) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = whole;
      changed[n] = static_cast<char>(changed[n] ^ (1 << bit));
      const Read read = read_gzip(changed);
      if (!read.error) {  // text flag, time stamp and operating system mean nothing
        CHECK(read.rows.size() == 2);
        CHECK((n >= 3 && n < 10));
      } else {
        CHECK((read.error->code() >= 250 && read.error->code() <= 253));
        ++refused;
      }
    }
  }
  CHECK(refused > 150);
}

TEST_CASE("E251: bytes after the end of a gzip stream and a name without the content are refused", "[jsonl][gzip]") {
  const Read trailing = read_gzip(gzip("{\"a\": 1}\n") + "rest");
  REQUIRE(trailing.error);
  CHECK(trailing.error->code() == 251);
  for (const std::string text : {"", "\x1f", "{\"a\": 1}\n"}) {
    const TemporaryFile file("not.jsonl.gz", text);
    const Read read = read_all(*open_plain_or_gzip(file.path));
    REQUIRE(read.error);
    CHECK(read.error->code() == 251);
  }
}

TEST_CASE("a gzip bomb is stopped by the cap on a line, without being inflated whole", "[jsonl][gzip]") {
  const std::string bomb = gzip(std::string(std::size_t{64} << 20, ' '));
  REQUIRE(bomb.size() < 100'000);
  const Read read = read_gzip(bomb);
  REQUIRE(read.error);
  CHECK(read.error->code() == 250);
}

TEST_CASE("E251: a gzip bomb of empty lines is refused soon after it passes the ratio of text", "[jsonl][gzip]") {
  const std::string bomb = gzip(std::string(std::size_t{128} << 20, '\n'));
  const Read read = read_gzip(bomb);
  REQUIRE(read.error);
  CHECK(read.error->code() == 251);
  CHECK(says(*read.error, "expands more than 200 times"));
}

TEST_CASE("a missing file and a directory are errors of the file, not of a line", "[jsonl]") {
  CHECK(error_of([] { open_plain_or_gzip("/nonexistent/rows.jsonl"); }).code() == 200);
  CHECK(error_of([] { open_plain_or_gzip(std::filesystem::temp_directory_path()); }).code() == 201);
}

TEST_CASE("random damage to a file is an error with a line, or a row, and never anything else", "[jsonl]") {
  const std::string text =
      "{\"question\": \"How many?\", \"answer\": \"SELECT \\u0041 FROM t\", \"n\": [1, 2.5e3, true]}\n";
  std::string base;
  for (int i = 0; i < 20; ++i) base += text;
  const RandomStream random(7, Purpose::augment);
  std::uint64_t at = 0;
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string damaged = base;
    for (int k = 0; k < 3; ++k) {
      const std::size_t where = random.below(at++, static_cast<std::uint32_t>(damaged.size()));
      damaged[where] = static_cast<char>(random.bits(at++) & 0xff);
    }
    const Read read = read_text(damaged);
    if (!read.error) continue;
    ++refused;
    CHECK((read.error->code() == 252 || read.error->code() == 253));
    CHECK(says(*read.error, "line "));
  }
  CHECK(refused > 500);
}

// ---- shapes

namespace {
Example example_of(const std::string& json, RowOptions options = {}) {
  return read_example({3, parse_json(json, "rows.jsonl", 1 << 20)}, "rows.jsonl", options);
}
Error shape_error(const std::string& json, RowOptions options = {}) {
  return error_of([&] { example_of(json, options); });
}
using Segments = std::vector<Segment>;
}  // namespace

TEST_CASE("each shape is recognised, and only what the assistant says bears loss", "[shapes]") {
  CHECK(example_of(R"({"text": "abc"})").segments == Segments{{"", "abc", true}});
  CHECK(example_of(R"({"prompt": "a ", "completion": "b"})").segments == Segments{{"", "a ", false}, {"", "b", true}});
  CHECK(example_of(
            R"({"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]})")
            .segments == Segments{{"user", "a", false}, {"assistant", "b", true}});
  CHECK(example_of(R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},)"
                   R"({"role": "assistant", "content": "1"}, {"role": "user", "content": "v"},)"
                   R"({"role": "assistant", "content": "2"}]})")
            .segments == Segments{{"system", "s", false},
                                  {"user", "u", false},
                                  {"assistant", "1", true},
                                  {"user", "v", false},
                                  {"assistant", "2", true}});
  CHECK(example_of(
            R"({"conversations": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}], "system": "s"})")
            .segments == Segments{{"system", "s", false}, {"user", "u", false}, {"assistant", "a", true}});
  CHECK(example_of(R"({"instruction": "i", "input": "x", "output": "o"})").segments ==
        Segments{{"user", "i\n\nx", false}, {"assistant", "o", true}});
  CHECK(example_of(R"({"instruction": "i", "input": "", "output": "o", "text": "rendered"})").segments ==
        Segments{{"user", "i", false}, {"assistant", "o", true}});
  const RowOptions postgres{.field_mapping = {}, .context_prefix = "Dialect: postgres\nSchema:\n"};
  const Example sql = example_of(
      R"x({"id": "7", "question": "q", "context": "CREATE TABLE t (a TEXT)", "answer": "SELECT 1"})x", postgres);
  CHECK(sql.shape == RowShape::question_answer);
  CHECK(sql.segments == Segments{{"system", "Dialect: postgres\nSchema:\nCREATE TABLE t (a TEXT)", false},
                                 {"user", "q", false},
                                 {"assistant", "SELECT 1", true}});
  CHECK(example_of(R"({"question": "q", "context": null, "answer": "a"})").segments.size() == 2);
}

TEST_CASE("field_mapping renames fields, and pins text", "[shapes]") {
  const RowOptions gretel{.field_mapping = {{"question", "sql_prompt"}, {"context", "sql_context"}, {"answer", "sql"}}};
  const Example example = example_of(R"({"sql_prompt": "q", "sql_context": "c", "sql": "a"})", gretel);
  CHECK(example.segments == Segments{{"system", "Schema:\nc", false}, {"user", "q", false}, {"assistant", "a", true}});
  CHECK(example_of(R"({"question": "q", "answer": "a"})", gretel).segments.size() == 2);
  const RowOptions pinned{.field_mapping = {{"text", "text"}}};
  CHECK(example_of(R"({"text": "t", "question": "q", "answer": "a"})", pinned).shape == RowShape::text);
  CHECK(example_of(R"({"question": "q", "answer": "a"})", pinned).shape == RowShape::question_answer);
}

TEST_CASE("rows to be answered need no completion and lose one that is there", "[shapes]") {
  const RowOptions ask{.field_mapping = {}, .needs_completion = false};
  const Segments question{{"user", "q", false}};
  CHECK(example_of(R"({"question": "q"})", ask).segments == question);
  CHECK(example_of(R"({"question": "q", "answer": "a"})", ask).segments == question);
  CHECK(example_of(R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})", ask)
            .segments == question);
  CHECK(example_of(R"({"prompt": "p", "completion": "c"})", ask).segments == Segments{{"", "p", false}});
  CHECK(shape_error(R"({"messages": [{"role": "assistant", "content": "a"}]})", ask).code() == 255);
}

TEST_CASE("E254: a row that fits no shape names the keys it has and the line", "[shapes]") {
  const Error e = shape_error(R"({"sql": "x", "tokens": [1]})");
  CHECK(e.code() == 254);
  CHECK(says(e, "line 3"));
  CHECK(says(e, "\"sql\", \"tokens\""));
  CHECK(says(e, "field_mapping"));
  CHECK(shape_error("{}").code() == 254);
  CHECK(shape_error(R"({"question": "q"})").code() == 254);
}

TEST_CASE("E255: a field of the wrong type, an empty one or an unknown role is named by its pointer", "[shapes]") {
  const auto where = [](const std::string& json) {
    const Error e = shape_error(json);
    CHECK(e.code() == 255);
    return e.detail().where;
  };
  CHECK(where(R"({"text": 3})") == "line 3, /text");
  CHECK(where(R"({"text": ""})") == "line 3, /text");
  CHECK(where(R"({"question": "q", "answer": ["a"]})") == "line 3, /answer");
  CHECK(where(R"({"question": "q", "context": 5, "answer": "a"})") == "line 3, /context");
  CHECK(where(R"({"messages": []})") == "line 3, /messages");
  CHECK(where(R"({"messages": "x"})") == "line 3, /messages");
  CHECK(where(R"({"messages": ["x"]})") == "line 3, /messages/0");
  CHECK(where(R"({"messages": [{"role": "robot", "content": "x"}]})") == "line 3, /messages/0/role");
  CHECK(where(R"({"messages": [{"role": "user", "content": null}]})") == "line 3, /messages/0/content");
  CHECK(where(R"({"messages": [{"role": "user", "content": "x"}]})") == "line 3, messages");
  CHECK(where(R"({"conversations": [{"from": "bot", "value": "x"}]})") == "line 3, /conversations/0/from");
  CHECK(where(R"({"prompt": "p", "completion": [1]})") == "line 3, /completion");
}

}  // namespace jsonl_test
