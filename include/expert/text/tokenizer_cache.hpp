// tokenizer.json and a directory of caches -> Tokenizer, whose tables are made once for all runs.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/image.hpp"
#include "expert/core/limits.hpp"
#include "expert/io/cache_file.hpp"
#include "expert/io/made_once.hpp"
#include "expert/io/mapped_file.hpp"
#include "expert/json/read_file.hpp"
#include "expert/text/tokenizer.hpp"

namespace expert {
inline namespace v0 {

namespace detail {

// A tokenizer to and from an image, which is read in a twentieth of the time of its file.
struct TokenizerImage {
  static void save(const Tokenizer& from, ImageWriter& out) {
    std::vector<std::uint8_t> splits, special(from.special_.begin(), from.special_.end());
    for (const PreTokenizer::Split split : from.pre_tokenizer_.splits)
      splits.push_back(static_cast<std::uint8_t>(split));
    out.add(splits);
    out.add(std::uint64_t{from.pre_tokenizer_.add_prefix_space} | std::uint64_t{from.pre_tokenizer_.use_regex} << 1 |
            std::uint64_t{from.normalize_} << 2);
    out.add(std::uint64_t{from.added_tokens_.size()});
    for (const AddedToken& token : from.added_tokens_) {
      out.add(std::string_view(token.content));
      out.add(static_cast<std::uint64_t>(token.id));
      out.add(std::uint64_t{token.single_word} | std::uint64_t{token.lstrip} << 1 | std::uint64_t{token.rstrip} << 2 |
              std::uint64_t{token.normalized} << 3 | std::uint64_t{token.special} << 4);
    }
    out.add(special);
    out.add(from.begin_);
    out.add(from.bytes_);
    from.spellings_.save(out);
    from.bpe_.save(out);
  }
  // The image is not copied: it lies in `file`, or where it stays. Nothing where it cannot be that of a tokenizer.
  static std::optional<Tokenizer> load(ImageReader in, MappedFile file) {
    Tokenizer to;
    to.image_ = std::move(file);
    const auto splits = in.list<std::uint8_t>();
    if (splits.size() > PreTokenizer::max_splits) return std::nullopt;
    for (const std::uint8_t split : splits) {
      if (split >= PreTokenizer::kinds_of_splits) return std::nullopt;
      to.pre_tokenizer_.splits.push_back(static_cast<PreTokenizer::Split>(split));
    }
    const std::uint64_t flags = in.number(), added = in.number();
    to.pre_tokenizer_.add_prefix_space = flags & 1;
    to.pre_tokenizer_.use_regex = flags >> 1 & 1;
    to.normalize_ = flags >> 2 & 1;
    for (std::uint64_t i = 0; i < added; ++i) {
      AddedToken token;
      token.content = in.text();
      const std::uint64_t id = in.number(), is = in.number();
      if (token.content.empty() || id >> 31 != 0) return std::nullopt;  // also where the image has ended
      token.id = static_cast<std::int32_t>(id);
      token.single_word = is & 1;
      token.lstrip = is >> 1 & 1;
      token.rstrip = is >> 2 & 1;
      token.normalized = is >> 3 & 1;
      token.special = is >> 4 & 1;
      to.added_tokens_.push_back(std::move(token));
    }
    const auto special = in.list<std::uint8_t>();
    to.special_.assign(special.begin(), special.end());
    const auto begin = in.list<std::size_t>();
    const auto bytes = in.list<char>();
    to.begin_ = {begin.data(), begin.size()};
    to.bytes_ = {bytes.data(), bytes.size()};
    if (begin.size() != special.size() + 1 || begin[0] != 0 || begin.back() != bytes.size() ||
        !std::is_sorted(begin.begin(), begin.end()))
      return std::nullopt;
    if (!to.spellings_.load(in, to.size()) || !to.bpe_.load(in, to.size()) || !in.is_whole()) return std::nullopt;
    for (const AddedToken& token : to.added_tokens_)
      if (token.id >= to.size()) return std::nullopt;
    to.find_added_tokens();
    return to;
  }
};

}  // namespace detail

struct CachedTokenizer {
  Tokenizer tokenizer;
  std::string note;      // what became of the cache, as a line for the user; empty where the tokenizer came from it
  std::string key = {};  // of the file's bytes; empty without a cache
};

// As Tokenizer::load with the default limits. The key is of the file's bytes, so a changed file is another key.
// `directory` empty: nothing is kept.
inline CachedTokenizer cached_tokenizer(const std::string& path, const std::string& directory) {
  if (directory.empty()) return {Tokenizer::load(path), {}};
  const std::string json = read_file(path, default_limits.tokenizer_bytes);
  const std::string key = content_key("tokenizer 1", {std::as_bytes(std::span(json))});
  CachedTokenizer result = made_once<CachedTokenizer>(
      read_tokenizers, directory, key, "tokenizer: read",
      [](const ImageReader& image, MappedFile&& file) { return detail::TokenizerImage::load(image, std::move(file)); },
      [&] { return Tokenizer::parse(json, path); }, detail::TokenizerImage::save);
  result.key = key;
  return result;
}

}  // namespace v0
}  // namespace expert
