// io/spooled_list.hpp: what was appended is read back, from memory and from a file that nobody else sees.
#include "expert/io/spooled_list.hpp"

#include <sys/resource.h>

#include <csignal>
#include <cstdint>
#include <numeric>

#include "catch.hpp"
#include "error_of.hpp"
#include "temp_dir.hpp"

namespace spooled_list_test {
using namespace expert;

namespace {

std::vector<std::int32_t> counted(std::int32_t first, std::size_t n) {
  std::vector<std::int32_t> values(n);
  std::iota(values.begin(), values.end(), first);
  return values;
}

}  // namespace

TEST_CASE("a list in a file holds what one in memory holds, whatever the pieces", "[spooled]") {
  const TempDir directory;
  SpooledList<std::int32_t> memory, file(directory.path().string());
  CHECK(std::filesystem::is_empty(directory.path()));
  std::int32_t first = 0;
  for (const std::size_t n :
       {std::size_t{1}, std::size_t{0}, std::size_t{3}, std::size_t{200'000}, std::size_t{65'535}, std::size_t{1}}) {
    const auto piece = counted(first, n);
    memory.append(piece), file.append(piece);
    first += static_cast<std::int32_t>(n);
  }
  memory.finish(), file.finish();
  REQUIRE(file.size() == 265'540);
  CHECK(file == memory);
  CHECK((file[0] == 0 && file[265'539] == 265'539));
  const SpooledList<std::int32_t> copy = file;
  SpooledList<std::int32_t> moved = std::move(file);
  CHECK((copy == memory && moved == memory));
  moved = SpooledList<std::int32_t>();
  CHECK((moved.size() == 0 && copy == memory));
}

TEST_CASE("an empty list in a file is empty", "[spooled]") {
  const TempDir directory;
  SpooledList<std::uint8_t> list(directory.path().string());
  list.finish();
  const SpooledList<std::uint8_t> copy = list;
  CHECK((list.size() == 0 && list.begin() == list.end() && copy == list));
}

TEST_CASE("E203: no such directory, and a file that may not grow", "[spooled]") {
  const TempDir directory;
  const std::string missing = (directory / "missing").string();
  const Error none = error_of([&] { SpooledList<std::int32_t> list(missing); });
  CHECK((none.code() == 203 && none.detail().file == missing));
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
  const rlimit small{.rlim_cur = 1 << 20, .rlim_max = old.rlim_max};
  std::signal(SIGXFSZ, SIG_IGN);
  SpooledList<std::int32_t> list(directory.path().string());
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const Error full = error_of([&] {
    for (int i = 0; i < 8; ++i) list.append(counted(0, 100'000));
    list.finish();
  });
  REQUIRE(setrlimit(RLIMIT_FSIZE, &old) == 0);
  CHECK((full.code() == 203 && full.detail().file == directory.path().string()));
}

}  // namespace spooled_list_test
