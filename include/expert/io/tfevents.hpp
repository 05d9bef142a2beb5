// Scalars of a training step -> the bytes of a TensorBoard event file.
//
// The file is TFRecord (tensorflow/core/lib/io/record_writer.h): each record is a little-endian u64 length, its masked
// CRC-32C, the payload, and the payload's masked CRC-32C. A payload is an Event (tensorflow/core/util/event.proto) in
// protobuf's wire format; the few fields that scalars need are written by hand.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

struct TfScalar {
  std::string_view tag;  // "train/loss"
  float value;
};

// CRC-32C (Castagnoli), reflected, as in RFC 3720: crc32c("123456789") = 0xe3069283.
constexpr std::uint32_t crc32c(std::string_view bytes) {
  constexpr auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      t[i] = i;
      for (int bit = 0; bit < 8; ++bit) t[i] = t[i] >> 1 ^ (t[i] & 1 ? 0x82f63b78u : 0u);
    }
    return t;
  }();
  std::uint32_t crc = 0xffffffffu;
  for (const char c : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<unsigned char>(c)) & 0xffu];
  return ~crc;
}

// Rotated and offset, because a CRC over bytes that hold their own CRC would be weak (record_writer.h: MaskedCrc).
constexpr std::uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

namespace detail {

template <class Unsigned>
void append_little_endian(std::string& out, Unsigned value) {
  for (std::size_t i = 0; i < sizeof value; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

// Protobuf's wire format: a key is field number * 8 + wire type; 0 varint, 1 eight bytes, 2 length and bytes, 5 four
// bytes.
inline void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  out += static_cast<char>(value);
}
inline void append_bytes_field(std::string& out, unsigned field, std::string_view bytes) {
  append_varint(out, field * 8 + 2);
  append_varint(out, bytes.size());
  out += bytes;
}

// Event { wall_time = 1, step = 2 }.
inline std::string event_head(double wall_time, std::int64_t step) {
  std::string event;
  append_varint(event, 1 * 8 + 1);
  append_little_endian(event, std::bit_cast<std::uint64_t>(wall_time));
  if (step != 0) {  // proto3 leaves zeros out
    append_varint(event, 2 * 8 + 0);
    append_varint(event, static_cast<std::uint64_t>(step));
  }
  return event;
}

}  // namespace detail

inline std::string tf_record(std::string_view payload) {
  std::string out, length;
  detail::append_little_endian(length, std::uint64_t{payload.size()});
  out += length;
  detail::append_little_endian(out, masked_crc32c(length));
  out += payload;
  detail::append_little_endian(out, masked_crc32c(payload));
  return out;
}

// The record that every event file begins with. `wall_time` is in seconds since 1970.
inline std::string tf_version_record(double wall_time) {
  std::string event = detail::event_head(wall_time, 0);
  detail::append_bytes_field(event, 3, "brain.Event:2");  // Event.file_version
  return tf_record(event);
}

// A run that was continued: TensorBoard drops what older files say of `step` and later steps.
inline std::string tf_restart_record(double wall_time, std::int64_t step) {
  std::string event = detail::event_head(wall_time, step);
  detail::append_bytes_field(event, 7, std::string_view("\x08\x01", 2));  // Event.session_log { status: START }
  return tf_record(event);
}

inline std::string tf_scalars_record(double wall_time, std::int64_t step, std::span<const TfScalar> scalars) {
  std::string summary;
  for (const TfScalar& scalar : scalars) {
    std::string value;
    detail::append_bytes_field(value, 1, scalar.tag);  // Summary.Value { tag = 1, simple_value = 2 }
    detail::append_varint(value, 2 * 8 + 5);
    detail::append_little_endian(value, std::bit_cast<std::uint32_t>(scalar.value));
    detail::append_bytes_field(summary, 1, value);
  }
  std::string event = detail::event_head(wall_time, step);
  detail::append_bytes_field(event, 5, summary);  // Event.summary
  return tf_record(event);
}

}  // namespace v0
}  // namespace expert
