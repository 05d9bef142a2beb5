#include <algorithm>
#include <cmath>
#include <limits>
#include "catch.hpp"
#include "expert/core/dtype.hpp"
#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/limits.hpp"
#include "expert/core/random.hpp"
#include "expert/core/rows.hpp"
#include "expert/core/sort.hpp"

namespace core_test {
using namespace expert;

TEST_CASE("bf16 rounds to nearest even and keeps NaN", "[dtype]") {
  CHECK(bf16(1.0f).bits == 0x3f80);
  CHECK(bf16(1.00390625f).bits == 0x3f80);  // tie, even below
  CHECK(bf16(1.01171875f).bits == 0x3f82);  // tie, even above
  CHECK(std::isnan(float(bf16(std::numeric_limits<float>::quiet_NaN()))));
  CHECK(std::isinf(float(bf16(3.4e38f))));
}

TEST_CASE("f16 reads normals, subnormals and infinity", "[dtype]") {
  CHECK(float(f16::from_bits(0x3c00)) == 1.0f);
  CHECK(float(f16::from_bits(0xc000)) == -2.0f);
  CHECK(float(f16::from_bits(0x0001)) == 0x1p-24f);
  CHECK(std::signbit(float(f16::from_bits(0x8000))));
  CHECK(std::isinf(float(f16::from_bits(0x7c00))));
}

TEST_CASE("Philox4x32-10 gives the published known answers", "[random]") {
  CHECK(philox({0, 0, 0, 0}, 0) == std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, ~0ull) ==
        std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
}

TEST_CASE("an error is one sentence with its number, file, place and fix", "[error]") {
  const Error error(ErrorCode{299, "an example is wrong"},
                    {.file = "a.json", .where = "/x", .expected = "1", .got = "2", .fix = "Use 1"});
  CHECK(std::string(error.what()) == "EXPERT-E299: an example is wrong. a.json, /x. Expected 1, got 2. Use 1.");
  CHECK(quoted("a\x01") == "\"a\\x01\"");
}

TEST_CASE("texts and whole numbers of every type are joined as they read", "[join]") {
  const std::string name = "q_proj";
  CHECK(joined({}).empty());
  CHECK(joined({name, " of ", std::string_view("layer 12", 5), " ", 0, "/", 28u}) == "q_proj of layer 0/28");
  CHECK(joined({std::numeric_limits<std::int64_t>::min(), " ", std::numeric_limits<std::int64_t>::max()}) ==
        "-9223372036854775808 9223372036854775807");
  CHECK(joined({std::numeric_limits<std::uint64_t>::max(), " ", std::numeric_limits<int>::min()}) ==
        "18446744073709551615 -2147483648");
  std::string text = "a";
  append(text, {"b", -1});
  CHECK(text == "ab-1");
}

TEST_CASE("lists of every length are sorted, equal items as they stood", "[sort]") {
  for (std::uint32_t n = 0; n < 70; ++n) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> list;  // value, place
    for (std::uint32_t i = 0; i < n; ++i) list.emplace_back(philox({i, n, 0, 0}, 7)[0] % 8, i);
    auto wanted = list;
    std::sort(wanted.begin(), wanted.end());
    sort_list(list, [](const auto& a, const auto& b) { return a.first < b.first; });
    CHECK(list == wanted);
  }
  std::vector<std::string> texts{"b", "", "ab", "a"};
  sort_texts(texts);
  CHECK(texts == std::vector<std::string>{"", "a", "ab", "b"});
}

}  // namespace core_test
