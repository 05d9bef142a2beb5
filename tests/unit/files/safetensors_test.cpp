// io/safetensors.hpp and the files under it: what is read, what is refused, and that HF's writer writes the same bytes.
// Malformed headers are listed in malformed_test.cpp.
#include "expert/io/safetensors.hpp"

#include <sys/stat.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <random>

#include "catch.hpp"
#include "error_of.hpp"
#include "temp_dir.hpp"

namespace safetensors_test {
using namespace expert;

namespace {

std::string file_bytes(const std::string& header, const std::string& data) {
  std::string text(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(text.data(), &length, 8);
  return text + header + data;
}

template <class T>
TensorData tensor(std::string name, std::vector<std::int64_t> shape, const std::vector<T>& values) {
  return {std::move(name), dtype_of<T>, std::move(shape), std::as_bytes(std::span(values))};
}

std::string slurp(const std::filesystem::path& path) { return read_file(path, 1 << 30); }

}  // namespace

TEST_CASE("what was written is read back: names, shapes, dtypes, values, metadata", "[safetensors]") {
  const TempDir dir;
  const std::vector<float> a{1.5f, -2, 0, 1e-30f, std::numeric_limits<float>::infinity(), 7};
  const std::vector<bf16> b{bf16(1.0f), bf16(-0.5f)};
  const std::vector<std::int64_t> c{-1};
  const std::vector<double> d{0.1};
  const std::vector<std::uint8_t> e{1, 2, 255};
  write_safetensors(dir / "m.safetensors",
                    {tensor("b", {2, 1}, b), tensor("a", {2, 3}, a), tensor("scalar", {}, c), tensor("d", {1}, d),
                     tensor("bytes", {3}, e), tensor<float>("none", {0, 5}, {})},
                    {{"format", "pt"}, {"note", "\xe2\x82\xac"}});
  const SafetensorsFile file(dir / "m.safetensors");
  REQUIRE(file.tensors().size() == 6);
  CHECK(*file.metadata("format") == "pt");
  CHECK(*file.metadata("note") == "\xe2\x82\xac");
  const TensorView* view = file.find("a");
  REQUIRE(view != nullptr);
  CHECK(view->dtype == DType::F32);
  CHECK(view->shape == std::vector<std::int64_t>{2, 3});
  CHECK(view->elements() == 6);
  CHECK(view->to_f32() == a);
  CHECK(std::equal(a.begin(), a.end(), view->as<float>().begin()));
  CHECK(file.find("b")->to_f32() == std::vector<float>{1, -0.5f});
  CHECK(file.find("scalar")->as<std::int64_t>()[0] == -1);
  CHECK(file.find("scalar")->shape.empty());
  CHECK(file.find("d")->to_f32() == std::vector<float>{0.1f});
  CHECK(file.find("bytes")->as<std::uint8_t>()[2] == 255);
  CHECK(file.find("none")->elements() == 0);
  CHECK(file.find("none")->to_f32().empty());
  CHECK(file.find("nothing") == nullptr);
}

TEST_CASE("the file is the one that safetensors.save_file writes, byte for byte", "[safetensors]") {
  const TempDir dir;
  for (const char* name :
       {"dora_r4/adapter_model.safetensors", "model_bf16/model.safetensors", "ref_ops.safetensors"}) {
    INFO(name);
    const std::filesystem::path golden = std::filesystem::path(EXPERT_SOURCE_DIR) / "tests/parity/data" / name;
    const SafetensorsFile file(golden);
    std::vector<TensorData> tensors;
    for (const TensorView& t : file.tensors())
      tensors.insert(tensors.begin(), {t.name, t.dtype, t.shape, {t.data, static_cast<std::size_t>(t.bytes)}});
    write_safetensors(dir / "copy.safetensors", tensors, file.metadata());
    CHECK(slurp(dir / "copy.safetensors") == slurp(golden));
  }
}

TEST_CASE("F16 values convert exactly", "[safetensors]") {
  const TempDir dir;
  const std::vector<f16> h{f16::from_bits(0x3c00), f16::from_bits(0xc000), f16::from_bits(0x0001),
                           f16::from_bits(0x7bff), f16::from_bits(0x7c00)};
  write_safetensors(dir / "h", {tensor("h", {5}, h)});
  CHECK(SafetensorsFile(dir / "h").find("h")->to_f32() ==
        std::vector<float>{1, -2, 0x1p-24f, 65504, std::numeric_limits<float>::infinity()});
}

TEST_CASE("a header of any length leaves every tensor aligned and readable", "[safetensors]") {
  const TempDir dir;
  const std::vector<float> values{1, 2, 3};
  const std::vector<double> wide{4, 5};
  std::string data(reinterpret_cast<const char*>(values.data()), 12);
  data += 'x';
  data.append(reinterpret_cast<const char*>(wide.data()), 16);
  for (std::size_t pad = 0; pad < 9; ++pad) {
    const std::string header = R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},)"
                               R"("x":{"dtype":"U8","shape":[1],"data_offsets":[12,13]},)"
                               R"("w":{"dtype":"F64","shape":[2],"data_offsets":[13,29]}})" +
                               std::string(pad, ' ');
    SafetensorsFile opened(dir.write("odd", file_bytes(header, data)));
    const SafetensorsFile file = std::move(opened);
    CHECK(file.find("a")->to_f32() == values);
    CHECK(std::equal(wide.begin(), wide.end(), file.find("w")->as<double>().begin()));
    for (const TensorView& t : file.tensors())
      CHECK(reinterpret_cast<std::uintptr_t>(t.data) % static_cast<std::size_t>(bytes_of(t.dtype)) == 0);
  }
}

TEST_CASE("tensors without elements may share an offset at the border of another", "[safetensors]") {
  const TempDir dir;
  const std::string header = R"({"z":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},)"
                             R"("y":{"dtype":"F32","shape":[2,0],"data_offsets":[4,4]},)"
                             R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},)"
                             R"("x":{"dtype":"I64","shape":[0],"data_offsets":[8,8]},)"
                             R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  const SafetensorsFile file(dir.write("f", file_bytes(header, std::string(8, '\0'))));
  CHECK(file.tensors().size() == 5);
  CHECK(file.tensors().front().name == "a");
  CHECK(SafetensorsFile(dir.write("g", file_bytes("{}", ""))).tensors().empty());
}

TEST_CASE("asking for another type is E229 and names both", "[safetensors]") {
  const TempDir dir;
  const std::vector<std::int64_t> values{1};
  write_safetensors(dir / "f", {tensor("steps", {1}, values)});
  const SafetensorsFile file(dir / "f");
  const Error error = error_of([&] { file.find("steps")->as<float>(); });
  CHECK(error.error_code() == tensor_type);
  CHECK(contains(error.what(), "\"steps\""));
  CHECK(contains(error.what(), "Expected F32, got I64"));
  CHECK(error_of([&] { file.find("steps")->to_f32(); }).error_code() == tensor_type);
}

TEST_CASE("every truncation of a file is refused", "[safetensors]") {
  const TempDir dir;
  const std::vector<float> a{1, 2};
  write_safetensors(dir / "f", {tensor("a", {2}, a)}, {{"format", "pt"}});
  const std::string whole = slurp(dir / "f");
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const auto path = dir.write("cut", whole.substr(0, n));
    const Error error = error_of([&] { SafetensorsFile{path}; });
    CHECK(error.error_code() == safetensors_short);
    CHECK(contains(error.what(), "cut"));
  }
  const auto longer = dir.write("longer", whole + '\0');
  CHECK(error_of([&] { SafetensorsFile{longer}; }).error_code() == safetensors_layout);
}

TEST_CASE("random damage to the header never crashes, and what is still accepted is consistent", "[safetensors]") {
  const TempDir dir;
  const std::vector<float> a{1, 2}, b{3};
  write_safetensors(dir / "f", {tensor("a", {2}, a), tensor("b", {1, 1}, b)}, {{"format", "pt"}});
  const std::string whole = slurp(dir / "f");
  std::mt19937 random(11);
  const std::string alphabet = "{}[]\",:0123456789-aFU \x80";
  int accepted = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string text = whole;
    for (std::size_t edits = 1 + random() % 2; edits > 0; --edits)
      text[random() % (text.size() - 12)] = alphabet[random() % alphabet.size()];
    const auto path = dir.write("damaged", text);
    try {
      const SafetensorsFile file(path);
      std::int64_t bytes = 0;
      for (const TensorView& t : file.tensors()) bytes += t.bytes;
      CHECK(bytes == 12);
      ++accepted;
    } catch (const Error& error) {
      if (error.code() < 210 || error.code() > 228) FAIL(error.what());
    }
  }
  CHECK(accepted > 0);  // a changed letter in a name is still a file
}

TEST_CASE("directories, pipes, missing and empty files are refused, not waited for", "[safetensors]") {
  const TempDir dir;
  CHECK(error_of([&] { SafetensorsFile{dir.path()}; }).error_code() == file_not_regular);
  CHECK(error_of([&] { SafetensorsFile{dir / "missing"}; }).error_code() == file_unreadable);
  REQUIRE(mkfifo((dir / "pipe").c_str(), 0600) == 0);
  CHECK(error_of([&] { SafetensorsFile{dir / "pipe"}; }).error_code() == file_not_regular);
  const auto empty = dir.write("empty", "");
  CHECK(MappedFile(empty).bytes().empty());
  CHECK(error_of([&] { SafetensorsFile{empty}; }).error_code() == safetensors_short);
}

TEST_CASE("a mapped file moves and keeps its bytes", "[safetensors]") {
  const TempDir dir;
  MappedFile a(dir.write("a", "first")), b(dir.write("b", "second"));
  a = std::move(b);
  CHECK(a.bytes().size() == 6);
  CHECK(static_cast<char>(a.bytes()[0]) == 's');
  CHECK(contains(a.name(), "/b"));
}

TEST_CASE("the writer refuses names twice, reserved or empty, and bytes that do not fit the shape", "[safetensors]") {
  const TempDir dir;
  const std::vector<float> a{1, 2};
  const auto refused = [&](std::vector<TensorData> tensors) {
    const Error error = error_of([&] { write_safetensors(dir / "f", tensors); });
    CHECK(std::filesystem::is_empty(dir.path()));
    return error.error_code();
  };
  CHECK(refused({tensor("a", {2}, a), tensor("a", {2}, a)}) == safetensors_entry);
  CHECK(refused({tensor("__metadata__", {2}, a)}) == safetensors_entry);
  CHECK(refused({tensor("", {2}, a)}) == safetensors_entry);
  CHECK(refused({tensor("a", {3}, a)}) == safetensors_offsets);
  CHECK(refused({tensor("a", {-2}, a)}) == safetensors_shape);
  CHECK(refused({tensor("a", {std::int64_t{1} << 40, std::int64_t{1} << 40}, a)}) == safetensors_shape);
}

TEST_CASE("a file that cannot be written is E203 and leaves the old one", "[safetensors]") {
  const TempDir dir;
  const auto old = dir.write("f", "old");
  {
    AtomicFile file(old);
    file.write("new");
    CHECK(slurp(old) == "old");
  }
  CHECK(slurp(old) == "old");
  write_file(old, "new");
  CHECK(slurp(old) == "new");
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
  const Error missing = error_of([&] { write_file(dir / "no/such/folder", "x"); });
  CHECK(missing.error_code() == file_unwritable);
  CHECK(contains(missing.what(), "No such file"));
  std::filesystem::create_directory(dir / "folder");
  CHECK(error_of([&] { write_file(dir / "folder", "x"); }).error_code() == file_unwritable);
  CHECK(error_of([&] { write_file(std::string("a\0b", 3), "x"); }).error_code() == file_unwritable);
  CHECK(error_of([&] { write_file(dir / "", "x"); }).error_code() == file_unwritable);
}

}  // namespace safetensors_test
