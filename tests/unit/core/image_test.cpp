// Lists to bytes and back, and bytes that are no such lists.
#include "expert/core/image.hpp"

#include <random>
#include <string>
#include <vector>

#include "catch.hpp"

namespace image_test {
using namespace expert;

TEST_CASE("an image gives back what was added, aligned, and knows its end", "[cache]") {
  ImageWriter out;
  out.add(std::string_view("abc"));
  out.add(std::vector<std::int32_t>{1, -2, 3});
  out.add(std::uint64_t{7});
  out.add(std::vector<std::uint64_t>{});
  REQUIRE(out.bytes().size() % 8 == 0);
  std::vector<std::uint64_t> words(out.bytes().size() / 8);
  std::memcpy(words.data(), out.bytes().data(), out.bytes().size());
  const auto bytes = std::as_bytes(std::span(words));

  ImageReader in(bytes);
  CHECK(in.text() == "abc");
  const auto numbers = in.list<std::int32_t>();
  CHECK(reinterpret_cast<std::uintptr_t>(numbers.data()) % 8 == 0);
  CHECK(std::vector<std::int32_t>(numbers.begin(), numbers.end()) == std::vector<std::int32_t>{1, -2, 3});
  CHECK(in.number() == 7);
  CHECK_FALSE(in.is_whole());
  CHECK(in.copy<std::uint64_t>().empty());
  CHECK(in.is_whole());
  CHECK(in.text().empty());
  CHECK_FALSE(in.is_whole());

  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    ImageReader shorter(bytes.first(cut));
    shorter.text(), shorter.list<std::int32_t>(), shorter.number(), shorter.list<std::uint64_t>();
    CHECK_FALSE(shorter.is_whole());
  }
}

TEST_CASE("an image of any bytes is read within its bounds", "[cache]") {
  std::mt19937_64 random(1);
  std::int64_t whole = 0;
  for (int i = 0; i < 20000; ++i) {
    std::vector<std::uint64_t> words(random() % 6);
    for (std::uint64_t& word : words) word = random() % 4 == 0 ? random() : random() % 5;
    const auto bytes = std::as_bytes(std::span(words));
    ImageReader in(bytes);
    std::size_t read = 0;
    read += in.list<std::int32_t>().size_bytes();
    read += in.text().size();
    read += in.list<std::uint64_t>().size_bytes();
    REQUIRE(read <= bytes.size());
    whole += in.is_whole();
  }
  CHECK(whole > 0);
}

}  // namespace image_test
