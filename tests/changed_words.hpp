// An image as caches keep it -> the same with one to three of its words of 32 bits changed at random: by one, to
// nothing, to all bits, in one bit, or to a number below `below`.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <random>
#include <string_view>
#include <vector>

inline std::vector<std::uint64_t> changed_words(std::string_view image, std::mt19937_64& random, std::uint32_t below) {
  std::vector<std::uint64_t> bytes(image.size() / 8);
  std::memcpy(bytes.data(), image.data(), bytes.size() * 8);
  for (std::uint64_t changes = 1 + random() % 3; changes > 0; --changes) {
    std::byte* at = reinterpret_cast<std::byte*>(bytes.data()) + random() % (2 * bytes.size()) * 4;
    std::uint32_t word;
    std::memcpy(&word, at, sizeof word);
    const std::uint32_t choices[] = {
        word + 1, word - 1, 0, ~0u, word ^ 1u << random() % 32, static_cast<std::uint32_t>(random() % below)};
    word = choices[random() % std::size(choices)];
    std::memcpy(at, &word, sizeof word);
  }
  return bytes;
}
