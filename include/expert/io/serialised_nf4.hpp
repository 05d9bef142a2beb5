// A projection that transformers saved in bitsandbytes' NF4 -> its codes and scales where they lie. Beside the tensor
// NAME of (elements + 1) / 2 bytes stand
//   NAME.absmax                                u8 codes of double quantisation, or f32 without it
//   NAME.nested_absmax, NAME.nested_quant_map  f32, with double quantisation
//   NAME.quant_map                             f32 (16): the levels
//   NAME.quant_state.bitsandbytes__nf4         JSON as bytes: shape, block sizes, the offset of the scales
// (bitsandbytes 0.50, functional.QuantState.as_dict).
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/json/json.hpp"
#include "expert/ops/quantize.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode serialised_nf4_wrong{239, "a tensor in bitsandbytes' 4-bit format cannot be used"};

struct SerialisedNf4 {
  const std::uint8_t* codes = nullptr;  // (elements + 1) / 2, the high nibble first
  BlockScales scales;
};

inline constexpr std::array<std::string_view, 5> serialised_nf4_parts = {
    ".absmax", ".nested_absmax", ".nested_quant_map", ".quant_map", ".quant_state.bitsandbytes__nf4"};

// `find(name)` -> the tensor of a checkpoint, or null. Throws E239 where a part is missing or does not fit the shape,
// blocks of `block_size`, or the levels of NF4.
template <class Find>
SerialisedNf4 read_serialised_nf4(Find&& find, const std::string& file, const std::string& name, std::int64_t out,
                                  std::int64_t in, std::int64_t block_size) {
  const auto fail = [&](std::string_view part, std::string expected, std::string got) {
    throw Error(serialised_nf4_wrong,
                {.file = file,
                 .where = "tensor " + expert::quoted(name + std::string(part), 200),
                 .expected = std::move(expected),
                 .got = std::move(got),
                 .fix = "Save the model again with load_in_4bit, bnb_4bit_quant_type \"nf4\" and blocks of 64, or use "
                        "the checkpoint that is not quantised"});
  };
  const auto part = [&](std::string_view suffix, DType dtype, std::int64_t elements) -> const TensorView& {
    const TensorView* t = find(name + std::string(suffix));
    if (t == nullptr) fail(suffix, "this tensor", "none");
    if (t->dtype != dtype || (elements >= 0 && t->elements() != elements))
      fail(suffix, elements < 0 ? std::string(name_of(dtype)) : joined({elements, " of ", name_of(dtype)}),
           joined({t->elements(), " of ", name_of(t->dtype)}));
    return *t;
  };
  const auto bytes_of_part = [](const TensorView& t) { return reinterpret_cast<const std::uint8_t*>(t.data); };
  const auto has_levels = [&](std::string_view suffix, std::span<const float> levels) {
    const std::vector<float> found = part(suffix, DType::F32, std::ssize(levels)).to_f32();
    if (!std::equal(levels.begin(), levels.end(), found.begin())) fail(suffix, "bitsandbytes' levels", "others");
  };
  const std::int64_t elements = out * in, blocks = (elements + block_size - 1) / block_size;
  SerialisedNf4 nf4;
  nf4.codes = bytes_of_part(part("", DType::U8, (elements + 1) / 2));
  has_levels(".quant_map", nf4_code.values);

  constexpr std::string_view state_name = serialised_nf4_parts.back();
  const TensorView& text = part(state_name, DType::U8, -1);
  const Json state = parse_json({reinterpret_cast<const char*>(text.data), static_cast<std::size_t>(text.bytes)},
                                file + ", tensor " + name + std::string(state_name), std::int64_t{1} << 16);
  const auto require = [&](const char* key, const Json& expected) {
    const Json* value = state.find(key);
    if (value == nullptr || value->dump() != expected.dump())
      fail(state_name, joined({"\"", key, "\": ", expected.dump()}), value == nullptr ? "none" : value->dump());
  };
  require("quant_type", Json("nf4"));
  require("blocksize", Json(block_size));
  require("shape", Json::array().push(Json(out)).push(Json(in)));
  const Json* offset = state.find("nested_offset");
  if (offset == nullptr) {
    nf4.scales.absmax = part(".absmax", DType::F32, blocks).template as<float>().data();
    return nf4;
  }
  require("nested_blocksize", Json(nested_block_size));
  has_levels(".nested_quant_map", dynamic_code);
  if (!offset->is_number() || !std::isfinite(static_cast<float>(offset->as_double())))
    fail(state_name, "a finite \"nested_offset\"", offset->dump());
  nf4.scales.offset = static_cast<float>(offset->as_double());
  nf4.scales.absmax_codes = bytes_of_part(part(".absmax", DType::U8, blocks));
  const TensorView& nested = part(".nested_absmax", DType::F32, (blocks + nested_block_size - 1) / nested_block_size);
  nf4.scales.nested_absmax = nested.template as<float>().data();
  return nf4;
}

}  // namespace v0
}  // namespace expert
