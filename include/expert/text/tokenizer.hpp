// Text -> token ids and back: byte-level BPE from a Hugging Face tokenizer.json, with the ids of PyPI tokenizers.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/image_list.hpp"
#include "expert/core/limits.hpp"
#include "expert/io/mapped_file.hpp"
#include "expert/json/json.hpp"
#include "expert/text/added_tokens.hpp"
#include "expert/text/bpe.hpp"
#include "expert/text/normalize.hpp"
#include "expert/text/pre_tokenize.hpp"
#include "expert/text/tokenizer_file.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode text_not_utf8{246, "a text is not valid UTF-8"};
inline constexpr ErrorCode text_too_long{249, "a text is too long to be encoded at once"};

// What text that looks like a special token becomes.
enum class SpecialTokens : std::uint8_t {
  parse,    // that token: as `tokenizer.encode(text)`
  as_text,  // ordinary text, for what users wrote: as `tokenizer.encode_special_tokens = True`. Added tokens that the
            // file does not call special ("<think>") are part of the language and are still recognised.
};

namespace detail {
struct TokenizerImage;  // text/tokenizer_cache.hpp
}

// Immutable after loading: every member is const and safe to call from many threads.
class Tokenizer {
 public:
  static constexpr std::size_t max_text_bytes = std::size_t{1} << 30;  // positions within a piece take 32 bits

  // Throws E20x, E21x for the file and E240 to E245 for what stands in it.
  static Tokenizer load(const std::string& path, const Limits& limits = default_limits) {
    return Tokenizer(read_tokenizer_file(read_json(path, limits.tokenizer_bytes, limits), path));
  }
  static Tokenizer parse(std::string_view json, const std::string& file, const Limits& limits = default_limits) {
    return Tokenizer(read_tokenizer_file(parse_json(json, file, limits.tokenizer_bytes, limits), file));
  }

  Tokenizer(Tokenizer&&) noexcept = default;
  Tokenizer& operator=(Tokenizer&&) noexcept = default;
  Tokenizer(const Tokenizer&) = delete;  // its tables are large
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Throws E246 where the text is not UTF-8, E249 above max_text_bytes.
  std::vector<std::int32_t> encode(std::string_view text, SpecialTokens mode) const {
    std::vector<std::int32_t> ids;
    append(text, [mode](std::size_t, std::size_t) { return mode == SpecialTokens::parse; }, ids);
    return ids;
  }

  // Appends the ids of `text`. A special token at bytes [begin, end) counts where special(begin, end) is true. Those
  // that are looked for in normalised text, which has other offsets, are asked for with the whole text.
  template <class Special>
  void append(std::string_view text, Special&& special, std::vector<std::int32_t>& ids) const {
    if (text.size() > max_text_bytes)
      throw Error(text_too_long, {.file = {},
                                  .where = {},
                                  .expected = "at most " + std::to_string(max_text_bytes) + " bytes",
                                  .got = std::to_string(text.size()),
                                  .fix = "Split the text"});
    if (const std::size_t at = utf8_error(text); at != std::string_view::npos)
      throw Error(text_not_utf8, {.file = {},
                                  .where = "offset " + std::to_string(at),
                                  .expected = {},
                                  .got = expert::quoted(text.substr(at, 4)),
                                  .fix = "Convert the text to UTF-8"});
    Work work{ids, {}, {}};
    const auto counts = [&](const AddedToken& token, std::size_t begin, std::size_t end) {
      return !token.special || special(begin, end);
    };
    const bool whole = special(std::size_t{0}, text.size());
    if (raw_tokens_.empty()) return append_normalized(text, whole, work);
    raw_tokens_.split(
        text, counts,
        [&](std::size_t begin, std::size_t end) { append_normalized(text.substr(begin, end - begin), whole, work); },
        [&](const AddedToken& token) { ids.push_back(token.id); });
  }

  // The tokens' bytes joined, ill-formed UTF-8 as U+FFFD. Ids that are no token are left out, as tokenizers does;
  // skip_special leaves out special tokens too.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special = false) const {
    std::string bytes;
    for (const std::int32_t id : ids)
      if (!skip_special || !is_special(id)) bytes += token_bytes(id);
    return utf8_lossy(bytes);
  }

  // What the token stands for in a text, which need not be valid UTF-8; empty where the id is no token.
  std::string_view token_bytes(std::int32_t id) const {
    if (id < 0 || id >= size()) return {};
    const auto i = static_cast<std::size_t>(id);
    return {bytes_.data() + begin_[i], begin_[i + 1] - begin_[i]};
  }
  // By the spelling of the file: ordinary tokens in GPT-2's byte alphabet ("Ġthe"), added tokens as their content.
  std::optional<std::int32_t> id_of(std::string_view token) const {
    const std::int32_t id = spellings_.find(token);
    return id >= 0 ? std::optional(id) : std::nullopt;
  }
  bool is_special(std::int32_t id) const { return id >= 0 && id < size() && special_[static_cast<std::size_t>(id)]; }
  // The special token with just this content that is found in text as it came, or nothing.
  std::optional<std::int32_t> special_token(std::string_view content) const {
    for (const AddedToken& token : added_tokens_)
      if (token.special && !token.normalized && token.content == content) return token.id;
    return std::nullopt;
  }
  std::span<const AddedToken> added_tokens() const { return added_tokens_; }
  std::int64_t size() const { return static_cast<std::int64_t>(special_.size()); }  // largest id + 1

 private:
  friend struct detail::TokenizerImage;

  struct Work {
    std::vector<std::int32_t>& ids;
    std::string scratch;
    BpeScratch bpe;
  };

  explicit Tokenizer(TokenizerFile file)
      : pre_tokenizer_(std::move(file.pre_tokenizer)),
        normalize_(file.normalize_nfc),
        added_tokens_(std::move(file.added_tokens)) {
    const std::size_t n = file.tokens.size();
    std::vector<bool> exact(n);
    std::vector<char> bytes;
    std::vector<std::size_t> begin(1);
    std::array<std::int32_t, 256> byte_ids{};
    for (std::size_t i = 0; i < n; ++i) {
      const TokenBytes token = bytes_of_token(file.tokens[i]);
      exact[i] = token.exact && i < file.vocabulary;
      if (exact[i] && token.bytes.size() == 1)
        byte_ids[static_cast<unsigned char>(token.bytes[0])] = static_cast<std::int32_t>(i);
      bytes.insert(bytes.end(), token.bytes.begin(), token.bytes.end());
      begin.push_back(bytes.size());
      spellings_.insert(file.tokens[i], static_cast<std::int32_t>(i));
    }
    bytes_ = ImageList(std::move(bytes));
    begin_ = ImageList(std::move(begin));
    special_.resize(n);
    for (const AddedToken& token : added_tokens_) special_[static_cast<std::size_t>(token.id)] = token.special;
    find_added_tokens();
    bpe_.reset(byte_ids, file.merges.size());
    for (const auto& m : file.merges) bpe_.add_merge(m.left, m.right, m.result);
    fill_words(exact, file.ignore_merges);
  }

  Tokenizer() = default;
  void find_added_tokens() {
    std::vector<AddedToken> raw, normalized;
    for (const AddedToken& token : added_tokens_) (token.normalized ? normalized : raw).push_back(token);
    raw_tokens_ = AddedTokenMatcher(std::move(raw));
    normalized_tokens_ = AddedTokenMatcher(std::move(normalized));
  }

  // A piece that is a token needs no merging where merging would give that token, or where the file says so.
  void fill_words(const std::vector<bool>& exact, bool ignore_merges) {
    bpe_.reset_words();
    BpeScratch scratch;
    std::vector<std::int32_t> ids;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const auto id = static_cast<std::int32_t>(i);
      const std::string_view bytes = token_bytes(id);
      if (!exact[i] || bytes.size() < 2) continue;
      ids.clear();
      if (!ignore_merges) bpe_.merge(bytes, scratch, ids);
      if (ignore_merges || (ids.size() == 1 && ids[0] == id)) bpe_.add_word(bytes, id);
    }
  }

  void append_normalized(std::string_view text, bool special, Work& work) const {
    std::string normal;
    if (normalize_ && find_nfc_candidate(text) != std::string_view::npos) {
      normal = normalize_nfc(text);
      text = normal;
    }
    if (normalized_tokens_.empty()) return append_plain(text, work);
    normalized_tokens_.split(
        text, [special](const AddedToken& token, std::size_t, std::size_t) { return special || !token.special; },
        [&](std::size_t begin, std::size_t end) { append_plain(text.substr(begin, end - begin), work); },
        [&](const AddedToken& token) { work.ids.push_back(token.id); });
  }
  void append_plain(std::string_view text, Work& work) const {
    pre_tokenizer_.run(text, work.scratch, [&](std::string_view piece) { bpe_.encode(piece, work.bpe, work.ids); });
  }

  PreTokenizer pre_tokenizer_;
  bool normalize_ = false;
  std::vector<AddedToken> added_tokens_;
  AddedTokenMatcher raw_tokens_, normalized_tokens_;
  MappedFile image_;              // in which the tables lie, where they do
  ImageList<char> bytes_;         // of all tokens, one after the other
  ImageList<std::size_t> begin_;  // (size + 1): where each token's bytes start
  std::vector<bool> special_;     // (size)
  TextIndex spellings_;
  Bpe bpe_;
};

}  // namespace v0
}  // namespace expert
