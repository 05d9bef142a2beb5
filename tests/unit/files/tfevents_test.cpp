// include/expert/io/tfevents.hpp: checksums with published values, records byte for byte. PyPI tensorboard read a file
// of these records once; the bytes here are what it read.
#include "expert/io/tfevents.hpp"

#include <array>
#include <string>
#include <vector>

#include "catch.hpp"

namespace tfevents_test {
using namespace expert;

namespace {

// Reads records back with the checks that TensorBoard makes; the payloads.
std::vector<std::string> records_of(std::string_view file) {
  std::vector<std::string> payloads;
  const auto number = [](std::string_view bytes) {
    std::uint64_t n = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) n = n << 8 | static_cast<unsigned char>(bytes[i]);
    return n;
  };
  while (!file.empty()) {
    REQUIRE(file.size() >= 16);
    const std::uint64_t length = number(file.substr(0, 8));
    REQUIRE(number(file.substr(8, 4)) == masked_crc32c(file.substr(0, 8)));
    REQUIRE(file.size() >= 16 + length);
    payloads.emplace_back(file.substr(12, length));
    REQUIRE(number(file.substr(12 + length, 4)) == masked_crc32c(payloads.back()));
    file.remove_prefix(16 + length);
  }
  return payloads;
}

}  // namespace

TEST_CASE("CRC-32C gives the published check values", "[tfevents]") {
  static_assert(crc32c("123456789") == 0xe3069283u);
  CHECK(crc32c("") == 0u);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);  // RFC 3720, B.4
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43u);
  std::string ascending;
  for (char c = 0; c < 32; ++c) ascending += c;
  CHECK(crc32c(ascending) == 0x46dd794eu);
}

TEST_CASE("a masked checksum is the rotated one plus TensorFlow's constant", "[tfevents]") {
  const std::uint32_t crc = 0xe3069283u;
  CHECK(masked_crc32c("123456789") == ((crc >> 15 | crc << 17) + 0xa282ead8u));
}

TEST_CASE("a file is framed records, the first of which states the version", "[tfevents]") {
  const std::array scalars{TfScalar{"train/loss", 0.5f}, TfScalar{"eval/loss", 2.0f}};
  std::string file = tf_version_record(1.0);
  file += tf_scalars_record(2.0, 300, scalars);
  file += tf_restart_record(3.0, 7);
  const auto payloads = records_of(file);
  REQUIRE(payloads.size() == 3);
  const std::string one("\x09\0\0\0\0\0\0\xf0\x3f", 9), two("\x09\0\0\0\0\0\0\0\x40", 9),
      three("\x09\0\0\0\0\0\0\x08\x40", 9);
  CHECK(payloads[0] == one + "\x1a\x0d" + "brain.Event:2");
  std::string summary("\x0a\x11\x0a\x0atrain/loss\x15\0\0\0\x3f", 19);
  summary += std::string("\x0a\x10\x0a\x09\x65val/loss\x15\0\0\0\x40", 18);
  CHECK(payloads[1] == two + "\x10\xac\x02" + "\x2a\x25" + summary);  // step 300 is the varint ac 02
  CHECK(payloads[2] == three + "\x10\x07" + "\x3a\x02\x08\x01");
}

TEST_CASE("a changed byte of a payload changes its checksum", "[tfevents]") {
  const std::string record = tf_record("payload");
  for (std::size_t i = 12; i < 12 + 7; ++i) {
    std::string changed = record;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    CHECK(masked_crc32c(std::string_view(changed).substr(12, 7)) != masked_crc32c("payload"));
  }
}

}  // namespace tfevents_test
