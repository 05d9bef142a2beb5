// io/sha256.hpp against the vectors of FIPS 180-4 and NIST's CAVP.
#include "expert/io/sha256.hpp"

#include "catch.hpp"
#include "error_of.hpp"
#include "temp_dir.hpp"

namespace sha256_test {
using namespace expert;

TEST_CASE("the vectors of FIPS 180-4 and CAVP come out", "[sha256]") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(
      sha256("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrst"
             "nopqrstu") == "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  CHECK(sha256(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  CHECK(sha256("\xbd") == "68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b");
}

TEST_CASE("the hash does not depend on how the bytes are cut into pieces", "[sha256]") {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 37);
  for (std::size_t n = 0; n <= text.size(); ++n) {
    const std::string part = text.substr(0, n);
    for (const std::size_t piece :
         {std::size_t{1}, std::size_t{7}, std::size_t{63}, std::size_t{64}, std::size_t{65}}) {
      Sha256 hash;
      for (std::size_t at = 0; at < n; at += piece) hash.update(std::string_view(part).substr(at, piece));
      if (hash.hex() != sha256(part)) FAIL("length " << n << " in pieces of " << piece);
    }
  }
}

TEST_CASE("a file hashes as its bytes", "[sha256]") {
  const TempDir dir;
  const std::string bytes(3'000'000, 'x');
  CHECK(sha256_file(dir.write("f", bytes)) == sha256(bytes));
  CHECK(error_of([&] { sha256_file(dir / "missing"); }).error_code() == file_unreadable);
  CHECK(error_of([&] { sha256_file(dir.path()); }).error_code() == file_not_regular);
}

}  // namespace sha256_test
