// data/sql_text.hpp: comments and keywords, and what is neither although it looks so.
#include "expert/data/sql_text.hpp"

#include "catch.hpp"
#include "expert/data/shapes.hpp"

namespace sql_text_test {
using namespace expert;

namespace {

std::string lower(std::string_view text) { return with_keyword_case(text, KeywordCase::lower); }
std::string upper(std::string_view text) { return with_keyword_case(text, KeywordCase::upper); }

}  // namespace

TEST_CASE("comments go, with the blanks and lines that held nothing else", "[sql_text]") {
  for (const auto& [text, stripped] : {
           std::pair<const char*, const char*>{"SELECT 1 -- one", "SELECT 1"},
           {"SELECT 1 -- one\nFROM t", "SELECT 1\nFROM t"},
           {"-- all of it\nSELECT 1", "SELECT 1"},
           {"SELECT a,\n  -- the second\n  b", "SELECT a,\n  b"},
           {"SELECT/* one */1", "SELECT 1"},
           {"SELECT /* one */ 1", "SELECT 1"},
           {"SELECT 1 /* one */;", "SELECT 1 ;"},
           {"SELECT 1 /* one */\nFROM t", "SELECT 1\nFROM t"},
           {"/* a /* nested */ comment */SELECT 1", "SELECT 1"},
           {"SELECT 1 - -1", "SELECT 1 - -1"},
           {"SELECT 1--1\n+2", "SELECT 1\n+2"},
           {"SELECT 4 /2", "SELECT 4 /2"},
           {"  SELECT 1  ", "  SELECT 1  "},  // nothing to strip, nothing changed
           {"-- only a comment", "-- only a comment"},
           {"SELECT 1 /* never closed", "SELECT 1 /* never closed"},
           {"SELECT 1 /* closed */ /* never closed -- x", "SELECT 1 /* never closed -- x"},
           {"", ""},
       }) {
    CAPTURE(text);
    CHECK(strip_sql_comments(text) == stripped);
  }
}

TEST_CASE("what stands in a literal or a quoted name is neither a comment nor a keyword", "[sql_text]") {
  for (const char* text : {
           "SELECT '-- no comment'",
           "SELECT 'it''s -- no comment'",
           "SELECT '/* none */'",
           "SELECT \"from -- where\"",
           "SELECT \"a\"\"--\"",
           "SELECT E'\\'-- none'",
           "SELECT $$ -- none /* none */ $$",
           "SELECT $body$ it's -- none $$ $body$",
           "SELECT 'never closed -- select",
           "SELECT $a$ never closed -- select",
       }) {
    CAPTURE(text);
    CHECK(strip_sql_comments(text) == text);
    const std::string rest = std::string(text).substr(7);
    CHECK(lower(text) == "select " + rest);
    CHECK(upper(lower(text)) == text);
  }
  // A backslash is a letter in an ordinary literal, and E may end a name.
  CHECK(strip_sql_comments("SELECT '\\' -- one") == "SELECT '\\'");
  CHECK(strip_sql_comments("SELECT name'\\' -- one") == "SELECT name'\\'");
  CHECK(strip_sql_comments("SELECT a$b$ -- one") == "SELECT a$b$");
  CHECK(strip_sql_comments("SELECT $1 -- one") == "SELECT $1");
}

TEST_CASE("keywords change their case, names and types do not", "[sql_text]") {
  CHECK(lower("SELECT Name FROM Users WHERE Id IN (1, 2)") == "select Name from Users where Id in (1, 2)");
  CHECK(upper("select Name from Users where Id in (1, 2)") == "SELECT Name FROM Users WHERE Id IN (1, 2)");
  CHECK(upper("create table t (a INTEGER, primary key (a))") == "CREATE TABLE t (a INTEGER, PRIMARY KEY (a))");
  CHECK(upper("selected fromage _in in2") == "selected fromage _in in2");
  CHECK(upper("sel\xc3\xa9 \xc3\xa9in in") == "sel\xc3\xa9 \xc3\xa9in IN");
  CHECK(upper("select 1 -- from here") == "SELECT 1 -- from here");
  const std::string mixed = "SeLeCt 1 fRoM t";
  CHECK(with_keyword_case(mixed, KeywordCase::preserve) == mixed);
}

TEST_CASE("a text of many openings takes time in proportion to its length", "[sql_text]") {
  for (const char* opening : {"/*", "$a$ ", "$$", "'", "\"", "/**/", "--\n", "E'\\", "$ "}) {
    std::string text;
    while (text.size() < (std::size_t{4} << 20)) text += opening;
    CHECK(strip_sql_comments(text).size() <= text.size());
    CHECK(upper(text).size() == text.size());
  }
}

TEST_CASE("context and answer of a row are rewritten as the options say, the question is not", "[sql_text][shapes]") {
  const JsonRow row{1, parse_json(R"({"question": "select -- which?", "context": "create table t (a) -- one",
                                      "answer": "select a /* it */ from t"})",
                                  "rows.jsonl", 1000)};
  RowOptions options;
  options.sql = {.comment_stripping = true, .case_normalization = KeywordCase::upper};
  const auto segments = read_example(row, "rows.jsonl", options).segments;
  REQUIRE(segments.size() == 3);
  CHECK(segments[0].content == "Schema:\nCREATE TABLE t (a)");
  CHECK(segments[1].content == "select -- which?");
  CHECK(segments[2].content == "SELECT a FROM t");
  CHECK(read_example(row, "rows.jsonl").segments[2].content == "select a /* it */ from t");
}

}  // namespace sql_text_test
