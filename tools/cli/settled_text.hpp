// The bytes of an answer as they come -> its text as far as no later byte changes it: whole characters, and nothing
// that may turn out to be the beginning of a stop sequence.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/text/unicode.hpp"

namespace cli {

using namespace expert;

// Bytes at the end that are the beginning of a character: 0 to 3. Where more would be ill-formed, they are none.
inline std::size_t unfinished_character(std::string_view bytes) {
  for (std::size_t n = 1; n <= std::min<std::size_t>(3, bytes.size()); ++n) {
    const auto byte = static_cast<unsigned char>(bytes[bytes.size() - n]);
    if ((byte & 0xc0) == 0x80) continue;
    const std::size_t length = byte < 0xc2 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : byte < 0xf5 ? 4 : 1;
    return n < length ? n : 0;
  }
  return 0;
}

// The longest end of the text that a stop sequence begins with, without being all of it.
inline std::size_t begun_stop(std::string_view text, const std::vector<std::string>& stop_sequences) {
  std::size_t longest = 0;
  for (const std::string& stop : stop_sequences)
    for (std::size_t n = std::min(text.size(), stop.empty() ? 0 : stop.size() - 1); n > longest; --n)
      if (text.ends_with(std::string_view(stop).substr(0, n))) longest = n;
  return longest;
}

class SettledText {
 public:
  explicit SettledText(std::vector<std::string> stop_sequences) : stop_sequences_(std::move(stop_sequences)) {}

  // All bytes so far, which end before a stop sequence that ended them -> what has settled since the last call.
  std::string grow(std::string_view bytes) {
    std::string text = utf8_lossy(bytes.substr(0, bytes.size() - unfinished_character(bytes)));
    text.resize(std::max(shown_, text.size() - begun_stop(text, stop_sequences_)));
    return finish(text);
  }
  // The finished text -> the rest of it.
  std::string finish(const std::string& text) { return text.substr(std::exchange(shown_, text.size())); }

 private:
  std::vector<std::string> stop_sequences_;
  std::size_t shown_ = 0;  // bytes of the text
};

}  // namespace cli
