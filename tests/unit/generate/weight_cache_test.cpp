// The cache of packed weights: the same bits with it as without, another key for what would differ, and nothing that is
// damaged is ever used.
#include "expert/io/weight_cache.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <filesystem>
#include <fstream>

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/io/cache_file.hpp"
#include "expert/policy/assemble.hpp"
#include "expert/weights.hpp"
#include "small_model.hpp"
#include "temp_dir.hpp"

namespace weight_cache_test {
using namespace expert;

namespace {

using tests::SmallModel;
const std::filesystem::path data = std::filesystem::path(EXPERT_SOURCE_DIR) / "tests/parity/data";
template <class Quant>
using Small = Expert<SmallModel, Compute<f32>, Packing<32>, Batch<2>, DoRA<12>, Quant>;

template <class E>
std::string packed_bytes_of(const Weights<E>& weights) {
  std::string bytes;
  for (const auto& layer : weights.view().layers)
    for (const auto& p : layer.projections)
      bytes.append(reinterpret_cast<const char*>(p.packed.codes), static_cast<std::size_t>(p.packed.packed_bytes()));
  return bytes;
}

}  // namespace

TEMPLATE_TEST_CASE("weights from the cache have the bits of weights that are packed", "[cache]", Int4Quant, Int8Quant,
                   Int4Affine<32>) {
  using E = Small<TestType>;
  const TempDir temp;
  const std::string cache = temp / "deep/cache";
  CpuDevice device(2);
  const std::string expected = packed_bytes_of(load_weights<E>(data / "model", device));
  CHECK_FALSE(path_exists(cache));
  const auto first = load_weights<E>(data / "model", device, default_limits, cache);
  CHECK(first.cache_note().find("packed and kept in " + cache) != std::string::npos);
  const auto second = load_weights<E>(data / "model", device, default_limits, cache);
  CHECK(second.cache_note().find("packed before, from " + cache) != std::string::npos);
  CHECK(second.owned_bytes() < first.owned_bytes());
  CHECK(packed_bytes_of(first) == expected);
  CHECK(packed_bytes_of(second) == expected);
  CHECK(cached_files(cache).size() == 1);
}

TEST_CASE("what would be other weights has another file", "[cache]") {
  const TempDir temp;
  const std::string cache = temp / "cache", model = temp / "model";
  CpuDevice device(1);
  std::filesystem::copy(data / "model", model);
  load_weights<Small<Int4Affine<32>>>(model, device, default_limits, cache);
  load_weights<Small<Int4Affine<64>>>(model, device, default_limits, cache);
  load_weights<Small<Int4Quant>>(model, device, default_limits, cache);
  CHECK(cached_files(cache).size() == 3);
  std::filesystem::last_write_time(model + "/model.safetensors",
                                   std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  const auto again = load_weights<Small<Int4Quant>>(model, device, default_limits, cache);
  CHECK(again.cache_note().find("packed and kept") != std::string::npos);
  CHECK(cached_files(cache).size() == 4);
  const auto plain = load_weights<Small<Bf16Weights>>(model, device, default_limits, cache);
  CHECK(plain.cache_note().empty());
  CHECK(cached_files(cache).size() == 4);
}

TEST_CASE("a damaged file is said, removed and made again", "[cache]") {
  using E = Small<Int4Quant>;
  const TempDir temp;
  const std::string cache = temp / "cache";
  CpuDevice device(2);
  ThreadPool pool(2);
  const std::string expected = packed_bytes_of(load_weights<E>(data / "model", device, default_limits, cache));
  const std::string path = cached_files(cache).front();
  const auto size = static_cast<std::int64_t>(std::filesystem::file_size(path));
  const auto flip = [&](std::int64_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const auto byte = static_cast<char>(file.get() ^ 16);
    file.seekp(at);
    file.put(byte);
  };
  const auto check = [&](const char* what) {
    CHECK(error_of([&] { open_cached_file(packed_weights, path, pool); }).code() == 204);
    const auto weights = load_weights<E>(data / "model", device, default_limits, cache);
    CHECK(weights.cache_note().find("EXPERT-E204") != std::string::npos);
    CHECK(weights.cache_note().find(what) != std::string::npos);
    CHECK(packed_bytes_of(weights) == expected);
    CHECK_NOTHROW(open_cached_file(packed_weights, path, pool, size - 64));
  };
  for (const std::int64_t at : {std::int64_t{64}, size / 2, size - 1, std::int64_t{48}, std::int64_t{56}}) {
    flip(at);
    check(at == 48 ? "bytes behind the first 64" : "its checksum");
  }
  flip(3);
  check("packed weights of this version");
  flip(20);
  check("the key in its name");
  for (const std::int64_t cut : {std::int64_t{0}, std::int64_t{10}, std::int64_t{64}, size - 64}) {
    std::filesystem::resize_file(path, static_cast<std::uintmax_t>(cut));
    check("bytes");
  }
  CHECK(error_of([&] { open_cached_file(packed_weights, path, pool, size); }).code() == 204);
}

TEST_CASE("a cache that cannot be written stops nothing", "[cache]") {
  using E = Small<Int4Quant>;
  const TempDir temp;
  CpuDevice device(1);
  std::ofstream(temp / "file") << "x";
  const auto weights = load_weights<E>(data / "model", device, default_limits, temp / "file/cache");
  CHECK(weights.cache_note().find("not kept, EXPERT-E203") != std::string::npos);
  const std::string cache = temp / "cache";
  make_directories(cache);
  const int lock = ::open((cache + "/.lock").c_str(), O_RDWR | O_CREAT, 0666);
  REQUIRE(::flock(lock, LOCK_EX) == 0);
  const auto beside = load_weights<E>(data / "model", device, default_limits, cache);
  CHECK(beside.cache_note().find("another process writes") != std::string::npos);
  ::close(lock);
  CHECK(cached_files(cache).empty());
  load_weights<E>(data / "model", device, default_limits, cache);
  CHECK(cached_files(cache).size() == 1);
  CHECK(names_in(cache).size() == 2);  // and the lock
}

TEST_CASE("the default directory follows the XDG rules", "[cache]") {
  const char *xdg = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  const std::string old_xdg = xdg == nullptr ? "" : xdg, old_home = home == nullptr ? "" : home;
  ::setenv("XDG_CACHE_HOME", "/somewhere", 1);
  CHECK(default_cache_directory() == "/somewhere/expert");
  ::setenv("XDG_CACHE_HOME", "relative", 1);  // to be ignored, says the specification
  ::setenv("HOME", "/me", 1);
  CHECK(default_cache_directory() == "/me/.cache/expert");
  ::unsetenv("HOME");
  CHECK(default_cache_directory().empty());
  xdg == nullptr ? ::unsetenv("XDG_CACHE_HOME") : ::setenv("XDG_CACHE_HOME", old_xdg.c_str(), 1);
  if (home != nullptr) ::setenv("HOME", old_home.c_str(), 1);
}

}  // namespace weight_cache_test
