// What is shown of an answer while it grows: whole characters, nothing that a stop sequence takes away, rows in order.
#include "cli/settled_text.hpp"

#include <stdlib.h>

#include "catch.hpp"
#include "cli/answer_stream.hpp"

namespace settled_text_test {
using namespace cli;

namespace {

// All pieces of a text that comes byte by byte, joined with "|", and its rest.
std::string pieces(const std::string& bytes, const std::vector<std::string>& stops, const std::string& final_text) {
  SettledText settled(stops);
  std::string all;
  for (std::size_t n = 1; n <= bytes.size(); ++n)
    if (const std::string piece = settled.grow(std::string_view(bytes).substr(0, n)); !piece.empty())
      all += piece + "|";
  return all + settled.finish(final_text);
}

std::string streamed(bool json, const std::vector<std::pair<std::size_t, std::string>>& events) {
  char* memory = nullptr;
  std::size_t size = 0;
  std::FILE* file = ::open_memstream(&memory, &size);
  AnswerStream stream(file, json, {1, 3, 4});
  for (const auto& [row, text] : events) text == "END" ? stream.ended(row) : stream.grew(row, text);
  std::fclose(file);
  std::string written(memory, size);
  std::free(memory);
  return written;
}

}  // namespace

TEST_CASE("a character is shown when all of its bytes are there", "[stream]") {
  CHECK(pieces("a\xc3\xa9z", {}, "a\xc3\xa9z") == "a|\xc3\xa9|z|");
  CHECK(pieces("\xf0\x9f\x8c\x8d!", {}, "\xf0\x9f\x8c\x8d!") == "\xf0\x9f\x8c\x8d|!|");
  // Bytes that are no text become U+FFFD, the last ones when the answer ends.
  const std::string fffd = "\xef\xbf\xbd";
  CHECK(pieces("\xff", {}, fffd) == fffd + "|");
  CHECK(pieces("\xe4\xbd", {}, fffd) == fffd);
  CHECK(pieces("\xe4\xbd\xe4\xbd\xa0", {}, fffd + "\xe4\xbd\xa0") == fffd + "|\xe4\xbd\xa0|");
  CHECK(pieces("\x80\x80\x80\x80", {}, fffd + fffd + fffd + fffd).find("|") != std::string::npos);
}

TEST_CASE("what may begin a stop sequence is held back until it is none", "[stream]") {
  CHECK(pieces("ab\n\nc", {"\n\n\n"}, "ab\n\nc") == "a|b|\n\nc|");
  CHECK(pieces("ab\n\n", {"\n\n\n"}, "ab") == "a|b|");
  CHECK(pieces("aab", {"aac", "ab!"}, "aab") == "a|ab");
  CHECK(pieces("x;y", {";"}, "x;y") == "x|;|y|");  // a whole stop sequence that did not end the answer is text
  CHECK(pieces("\xc3\xa9\xc3", {"\xc3\xa9\xc3\xa9"}, "\xc3\xa9\xef\xbf\xbd") == "\xc3\xa9\xef\xbf\xbd");
  CHECK(pieces("abc", {""}, "abc") == "a|b|c|");
}

TEST_CASE("whatever its bytes are, the pieces of a text are the text", "[stream]") {
  const std::string alphabet = "ab;\n\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x8c\x8d\xff";
  std::uint32_t state = 1;
  const auto draw = [&](std::size_t n) { return (state = state * 1664525u + 1013904223u) / 65536u % n; };
  for (int i = 0; i < 2000; ++i) {
    std::string bytes;
    for (std::size_t n = draw(12); n > 0; --n) bytes += alphabet[draw(alphabet.size())];
    const std::string text = utf8_lossy(bytes);
    std::string shown = pieces(bytes, {"a;b", "\n\xc3\xa9\n", ";;"}, text);
    std::erase(shown, '|');
    REQUIRE(shown == text);
  }
}

TEST_CASE("rows that are decoded together are shown one after another", "[stream]") {
  const std::vector<std::pair<std::size_t, std::string>> events = {
      {0, "a"}, {1, "x"}, {0, "b"}, {1, "END"}, {2, "p"}, {0, "c"}, {2, "q"}, {0, "END"}, {2, "r"}, {2, "END"}};
  CHECK(streamed(false, events) == "abc\nx\npqr\n");
  CHECK(streamed(true, {{0, "a\n"}, {1, "x"}, {0, "END"}, {1, "END"}}) ==
        "{\"row\":1,\"text\":\"a\\n\"}\n{\"row\":3,\"text\":\"x\"}\n");
}

}  // namespace settled_text_test
