// model.safetensors -> TensorViews into mapped memory; tensors -> model.safetensors.
//
// The format (huggingface/safetensors): u64 little-endian header length N, N bytes of JSON {name: {dtype, shape,
// data_offsets: [begin, end)}} with an optional "__metadata__" of strings, then the data without holes. The reader is
// as strict as the Rust one (no overlap, hole, trailing byte or duplicate name) and caps header and rank besides.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "expert/core/dtype.hpp"
#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/limits.hpp"
#include "expert/core/sort.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/io/mapped_file.hpp"
#include "expert/json/json.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode safetensors_short{220, "a safetensors file is shorter than its header says"};
inline constexpr ErrorCode safetensors_header{221, "the header of a safetensors file is not valid"};
inline constexpr ErrorCode safetensors_header_size{222, "the header of a safetensors file is too long"};
inline constexpr ErrorCode safetensors_metadata{223, "the metadata of a safetensors file is not valid"};
inline constexpr ErrorCode safetensors_entry{224, "the description of a tensor is not valid"};
inline constexpr ErrorCode safetensors_dtype{225, "a tensor has an unknown dtype"};
inline constexpr ErrorCode safetensors_shape{226, "the shape of a tensor is not valid"};
inline constexpr ErrorCode safetensors_offsets{227, "the offsets of a tensor do not fit its dtype and shape"};
inline constexpr ErrorCode safetensors_layout{228, "the data of a safetensors file has holes, overlaps or a rest"};
inline constexpr ErrorCode tensor_type{229, "a tensor is asked for as another type"};

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian numbers, used in place");

// "[2, 3]", for messages.
inline std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

// One tensor of an open file: valid as long as the file is. `data` is aligned for its dtype.
struct TensorView {
  std::string name;
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;
  const std::byte* data = nullptr;
  std::int64_t bytes = 0;

  std::int64_t elements() const { return bytes / bytes_of(dtype); }

  // The elements in place. Throws E229 where T is not the C++ type of `dtype`.
  template <class T>
    requires(std::is_same_v<T, float> || dtype_of<T> != DType::F32)
  std::span<const T> as() const {
    if (dtype != dtype_of<T>) wrong_type(std::string(name_of(dtype_of<T>)));
    return {reinterpret_cast<const T*>(data), static_cast<std::size_t>(elements())};
  }

  // A copy as float from F32, BF16, F16 (exact) or F64 (rounded). Throws E229 on other dtypes.
  std::vector<float> to_f32() const {
    std::vector<float> out(static_cast<std::size_t>(elements()));
    switch (dtype) {
      case DType::F32:
        copy_to<float>(out);
        break;
      case DType::BF16:
        copy_to<bf16>(out);
        break;
      case DType::F16:
        copy_to<f16>(out);
        break;
      case DType::F64:
        copy_to<double>(out);
        break;
      default:
        wrong_type("one of F32, BF16, F16, F64");
    }
    return out;
  }

 private:
  template <class T>
  void copy_to(std::vector<float>& out) const {
    const auto* from = reinterpret_cast<const T*>(data);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(from[i]);
  }
  [[noreturn]] void wrong_type(std::string expected) const {
    throw Error(tensor_type, {.file = {},
                              .where = "tensor " + expert::quoted(name),
                              .expected = std::move(expected),
                              .got = std::string(name_of(dtype)),
                              .fix = {}});
  }
};

// The free texts of a file's "__metadata__".
struct SafetensorsText {
  std::string key, value;
};
using SafetensorsMetadata = std::vector<SafetensorsText>;

// An open file, everything about its layout checked. Throws E200, E201, E210 ... E215 (header text), E220 ... E228.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path, const Limits& limits = default_limits) : file_(path) {
    const std::span<const std::byte> bytes = file_.bytes();
    std::uint64_t header_bytes = 0;
    if (bytes.size() < sizeof header_bytes) fail(safetensors_short, {}, "at least 8 bytes", joined({bytes.size()}));
    std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
    if (std::cmp_greater(header_bytes, limits.safetensors_header_bytes))
      fail(safetensors_header_size, "offset 0",
           joined({"at most ", limits.safetensors_header_bytes, " bytes (Limits::safetensors_header_bytes)"}),
           joined({header_bytes}));
    if (header_bytes > bytes.size() - 8)
      fail(safetensors_short, "offset 0", joined({"a header of ", header_bytes, " bytes"}),
           joined({bytes.size() - 8, " bytes after its length"}));
    const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8,
                                  static_cast<std::size_t>(header_bytes));
    if (!header.starts_with('{'))
      fail(safetensors_header, "offset 8", "a JSON object", header.empty() ? "nothing" : expert::quoted(header, 16));
    const Json json = parse_json(header, file_.name() + " (header)", limits.safetensors_header_bytes, limits);
    read_entries(json, bytes.subspan(8 + header.size()), limits);
    check_layout(bytes.size() - 8 - header.size());
  }

  const std::vector<TensorView>& tensors() const noexcept { return tensors_; }  // in the order of their data
  const TensorView* find(std::string_view name) const {
    std::size_t begin = 0;
    for (std::size_t end = by_name_.size(); begin < end;) {
      const std::size_t middle = begin + (end - begin) / 2;
      if (name.compare(tensors_[by_name_[middle]].name) > 0)
        begin = middle + 1;
      else
        end = middle;
    }
    if (begin == by_name_.size()) return nullptr;
    const TensorView& tensor = tensors_[by_name_[begin]];
    return name.compare(tensor.name) == 0 ? &tensor : nullptr;
  }
  const SafetensorsMetadata& metadata() const noexcept { return metadata_; }
  const std::string* metadata(std::string_view key) const {  // null where there is none
    for (const SafetensorsText& text : metadata_)
      if (key.compare(text.key) == 0) return &text.value;
    return nullptr;
  }
  // The numbers of all, or of one of `tensors()`, are not read for now (MappedFile::release).
  void release() const noexcept { file_.release(file_.bytes()); }
  void release(const TensorView& tensor) const noexcept {
    file_.release({tensor.data, static_cast<std::size_t>(tensor.bytes)});
  }
  const std::string& name() const noexcept { return file_.name(); }
  std::string_view header() const noexcept {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, file_.bytes().data(), sizeof bytes);
    return {reinterpret_cast<const char*>(file_.bytes().data()) + sizeof bytes, static_cast<std::size_t>(bytes)};
  }

 private:
  // Everything that one entry alone can say; check_layout compares them with each other.
  void read_entries(const Json& header, std::span<const std::byte> data, const Limits& limits) {
    for (const auto& [name, entry] : header.members()) {
      if (name == "__metadata__") {
        if (!entry.is_object()) fail(safetensors_metadata, "/__metadata__", "an object", entry.described());
        for (const auto& [key, value] : entry.members()) {
          if (!value.is_string())
            fail(safetensors_metadata, "/__metadata__, key " + expert::quoted(key), "a string", value.described());
          metadata_.push_back({key, value.as_string()});
        }
        continue;
      }
      if (name.empty() || name.find('\0') != name.npos)
        fail(safetensors_entry, "tensor " + expert::quoted(name), "a name without NUL bytes", "");
      tensors_.push_back(read_entry(name, entry, data, limits));
    }
    // Data order, as HF sorts them to check: a tensor without elements comes before the one that begins where it does.
    sort_list(tensors_, [](const TensorView& a, const TensorView& b) {
      if (a.data != b.data) return a.data < b.data;
      return a.bytes != b.bytes ? a.bytes < b.bytes : a.name.compare(b.name) < 0;
    });
    by_name_ = sorted_order(tensors_.size(), tensors_.data(), [](const void* tensors, std::size_t a, std::size_t b) {
      const auto* views = static_cast<const TensorView*>(tensors);
      return views[a].name.compare(views[b].name) < 0;
    });
  }

  // Kinds, dtype, shape, offsets, in this order: each check may rely on those before it. Sizes must be written as
  // integers (2.0 is refused), as the Rust reader demands. No memory is taken that the header itself does not account
  // for.
  TensorView read_entry(const std::string& name, const Json& entry, std::span<const std::byte> data,
                        const Limits& limits) const {
    const std::string where = "tensor " + expert::quoted(name, 200);
    if (!entry.is_object()) fail(safetensors_entry, where, "an object", entry.described());
    for (const auto& [key, value] : entry.members())
      if (key != "dtype" && key != "shape" && key != "data_offsets")
        fail(safetensors_entry, where, "dtype, shape, data_offsets", "the key " + expert::quoted(key));
    const Json *dtype = entry.find("dtype"), *shape = entry.find("shape"), *offsets = entry.find("data_offsets");
    const auto require = [&](const Json* value, const char* missing) {
      if (!value) fail(safetensors_entry, where, "dtype, shape, data_offsets", missing);
    };
    require(dtype, "no dtype"), require(shape, "no shape"), require(offsets, "no data_offsets");
    const auto is_size = [](const Json& json) { return json.is_int64() && json.as_int() >= 0; };

    TensorView tensor;
    tensor.name = name;
    if (!dtype->is_string()) fail(safetensors_dtype, where, "a string", dtype->described());
    bool known = false;
    for (int t = 0; t <= static_cast<int>(DType::F8_E5M2) && !known; ++t) {
      tensor.dtype = static_cast<DType>(t);
      known = name_of(tensor.dtype) == dtype->as_string();
    }
    if (!known) fail(safetensors_dtype, where, "a dtype of the format such as F32, BF16, F16", dtype->described());

    if (!shape->is_array()) fail(safetensors_shape, where, "a list of sizes", shape->described());
    if (std::cmp_greater(shape->items().size(), limits.safetensors_rank))
      fail(safetensors_shape, where,
           joined({"at most ", limits.safetensors_rank, " dimensions (Limits::safetensors_rank)"}),
           joined({shape->items().size()}));
    std::int64_t most = bytes_of(tensor.dtype);  // the bytes of the dimensions that are not 0: must not overflow either
    bool empty = false;
    for (const Json& size : shape->items()) {
      if (!is_size(size)) fail(safetensors_shape, where, "sizes of at least 0", size.described());
      tensor.shape.push_back(size.as_int());
      empty |= size.as_int() == 0;
      if (size.as_int() != 0 && __builtin_mul_overflow(most, size.as_int(), &most))
        fail(safetensors_shape, where, "fewer than 2^63 bytes", shape->dump());
    }
    tensor.bytes = empty ? 0 : most;

    if (!offsets->is_array() || offsets->items().size() != 2 || !is_size(offsets->items()[0]) ||
        !is_size(offsets->items()[1]))
      fail(
          safetensors_offsets, where, "two offsets [begin, end]",
          offsets->is_array() ? offsets->items().size() > 8 ? "a longer list" : offsets->dump() : offsets->described());
    const std::int64_t begin = offsets->items()[0].as_int(), end = offsets->items()[1].as_int();
    if (begin > end || end - begin != tensor.bytes)
      fail(safetensors_offsets, where,
           joined({tensor.bytes, " bytes for ", name_of(tensor.dtype), " ", shape_text(tensor.shape)}),
           joined({"offsets ", offsets->dump()}));
    if (std::cmp_greater(end, data.size()))
      fail(safetensors_short, where, joined({"data up to byte ", end}), joined({data.size(), " bytes of data"}));
    tensor.data = data.data() + begin;
    return tensor;
  }

  // No hole, no overlap, no rest; then tensors whose data is not aligned for their type are moved to where it is.
  void check_layout(std::size_t data_bytes) {
    const std::byte* const data = file_.bytes().data() + (file_.bytes().size() - data_bytes);
    const std::byte* expected = data;
    for (const TensorView& tensor : tensors_) {
      if (tensor.data != expected)
        fail(safetensors_layout, "tensor " + expert::quoted(tensor.name, 200),
             joined({"data that begins at byte ", expected - data, ", where the one before ends"}),
             joined({tensor.data - data}));
      expected += tensor.bytes;
    }
    if (expected != data + data_bytes)
      fail(safetensors_layout, "after the last tensor", "the end of the file",
           joined({data + data_bytes - expected, " more bytes"}));
    for (TensorView& tensor : tensors_) {
      if (reinterpret_cast<std::uintptr_t>(tensor.data) % static_cast<std::size_t>(bytes_of(tensor.dtype)) == 0)
        continue;
      const auto size = static_cast<std::size_t>(tensor.bytes);
      std::vector<std::uint64_t> copy(size / 8 + 1);
      std::memcpy(copy.data(), tensor.data, size);
      tensor.data = reinterpret_cast<const std::byte*>(copy.data());
      aligned_.push_back(std::move(copy));
    }
  }

  [[noreturn]] void fail(ErrorCode code, std::string where, std::string expected, std::string got) const {
    throw Error(code, {.file = file_.name(),
                       .where = std::move(where),
                       .expected = std::move(expected),
                       .got = std::move(got),
                       .fix = code == safetensors_short ? "Copy or download the file again" : ""});
  }

  MappedFile file_;
  std::vector<TensorView> tensors_;
  std::vector<std::size_t> by_name_;
  SafetensorsMetadata metadata_;
  std::vector<std::vector<std::uint64_t>> aligned_;  // the header need not be a multiple of 8 bytes long
};

// What is written: the bytes stay the caller's. A tensor may lie in pieces: as many as `bytes` at each `step` bytes.
struct TensorData {
  std::string name;
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::size_t pieces = 1, step = 0;
};

// The file that safetensors.save_file writes, byte for byte: wider dtypes first, then by name; the header padded with
// spaces to a multiple of 8. It appears when it is complete. Throws E203; E224 on a name that is empty, reserved or
// there twice; E227 where bytes and shape disagree.
inline void write_safetensors(const std::string& path, std::vector<TensorData> tensors,
                              const SafetensorsMetadata& metadata = {}) {
  const auto fail = [&](ErrorCode code, const TensorData& tensor, std::string expected, std::string got) {
    throw Error(code, {.file = path,
                       .where = "tensor " + expert::quoted(tensor.name, 200),
                       .expected = std::move(expected),
                       .got = std::move(got),
                       .fix = {}});
  };
  sort_list(tensors, [](const TensorData& a, const TensorData& b) {
    if (bytes_of(a.dtype) != bytes_of(b.dtype)) return bytes_of(a.dtype) > bytes_of(b.dtype);
    return a.dtype != b.dtype ? a.dtype > b.dtype : a.name.compare(b.name) < 0;
  });
  Json header = Json::object();
  if (!metadata.empty()) {
    Json texts = Json::object();
    for (const auto& [key, value] : metadata) texts.set(key, value);
    header.set("__metadata__", std::move(texts));
  }
  std::int64_t begin = 0;
  for (const TensorData& tensor : tensors) {
    if (tensor.name.empty() || tensor.name == "__metadata__" || header.find(tensor.name))
      fail(safetensors_entry, tensor, "names that differ and are not reserved", "");
    std::int64_t bytes = bytes_of(tensor.dtype);
    Json shape = Json::array();
    for (const std::int64_t size : tensor.shape) {
      if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes))
        fail(safetensors_shape, tensor, "sizes of at least 0 that fit in memory", shape_text(tensor.shape));
      shape.push(size);
    }
    const std::size_t given = tensor.pieces * tensor.bytes.size();
    if (std::cmp_not_equal(bytes, given))
      fail(safetensors_offsets, tensor, joined({bytes, " bytes for ", shape_text(tensor.shape)}), joined({given}));
    header.set(tensor.name, Json::object()
                                .set("dtype", name_of(tensor.dtype))
                                .set("shape", std::move(shape))
                                .set("data_offsets", Json::array().push(begin).push(begin + bytes)));
    begin += bytes;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(text);
  for (const TensorData& tensor : tensors)
    for (std::size_t i = 0; i < tensor.pieces; ++i)
      file.write(std::span(tensor.bytes.data() + i * tensor.step, tensor.bytes.size()));
  file.commit();
}

}  // namespace v0
}  // namespace expert
