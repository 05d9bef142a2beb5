// tokenizer.json -> what of it the tokenizer needs, checked: everything that this library does not do is refused.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/join.hpp"
#include "expert/core/sort.hpp"
#include "expert/core/text_index.hpp"
#include "expert/json/json.hpp"
#include "expert/text/added_tokens.hpp"
#include "expert/text/normalize.hpp"
#include "expert/text/pre_tokenize.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode tokenizer_field{240, "a field of tokenizer.json is missing or of the wrong kind"};
inline constexpr ErrorCode tokenizer_unsupported{241, "tokenizer.json asks for something that is not supported"};
inline constexpr ErrorCode tokenizer_vocabulary{242, "the vocabulary of tokenizer.json is not valid"};
inline constexpr ErrorCode tokenizer_byte_missing{243, "the vocabulary of tokenizer.json lacks the token of a byte"};
inline constexpr ErrorCode tokenizer_merge{244, "a merge of tokenizer.json is not valid"};
inline constexpr ErrorCode tokenizer_added_token{245, "an added token of tokenizer.json is not valid"};

// Byte-level BPE as tokenizer.json describes it. Tokens are spelled in GPT-2's byte alphabet, as in the file.
struct TokenizerFile {
  struct Merge {
    std::int32_t left, right, result;
  };
  std::vector<std::string> tokens;  // by id
  std::size_t vocabulary = 0;       // so many of them are the model's; added tokens that are not among those follow
  std::vector<Merge> merges;        // by rank
  std::vector<AddedToken> added_tokens;
  PreTokenizer pre_tokenizer;
  bool normalize_nfc = false;
  bool ignore_merges = false;
};

// GPT-2's byte alphabet: printable Latin-1 bytes stand for themselves, the other 68 for U+0100 and up, in order.
constexpr std::array<std::uint16_t, 256> byte_alphabet() {
  std::array<std::uint16_t, 256> code{};
  std::uint16_t next = 256;
  for (unsigned b = 0; b < 256; ++b) {
    const bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
    code[b] = printable ? static_cast<std::uint16_t>(b) : next++;
  }
  return code;
}

// A token's spelling -> its bytes. A spelling with any other character stands for its own UTF-8 bytes: that is how the
// ByteLevel decoder treats added tokens. `exact` is false then.
struct TokenBytes {
  std::string bytes;
  bool exact = true;
};
inline TokenBytes bytes_of_token(std::string_view spelling) {
  static constexpr auto code_to_byte = [] {
    std::array<std::int16_t, 324> inverse{};
    for (auto& x : inverse) x = -1;
    const auto alphabet = byte_alphabet();
    for (std::size_t b = 0; b < 256; ++b) inverse[alphabet[b]] = static_cast<std::int16_t>(b);
    return inverse;
  }();
  TokenBytes token;
  for (std::size_t i = 0; i < spelling.size();) {
    const CodePoint c = decode_utf8(spelling.data() + i);
    if (c.code >= code_to_byte.size() || code_to_byte[c.code] < 0) return {std::string(spelling), false};
    token.bytes += static_cast<char>(code_to_byte[c.code]);
    i += c.length;
  }
  return token;
}

namespace detail {

class TokenizerReader {
 public:
  TokenizerReader(const Json& root, const std::string& file) : root_(root), file_(file) {}

  TokenizerFile read() {
    known_keys(root_, "",
               {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
                "decoder", "model"});
    if (const Json* version = root_.find("version"))
      if (!version->is_string() || version->as_string() != "1.0") unsupported("/version", "\"1.0\"", *version);
    for (const std::string_view off : {"truncation", "padding"})
      if (const Json* value = root_.find(off); value && !value->is_null())
        unsupported("/" + std::string(off), "null", *value, "Set it to null: rows are cut and padded elsewhere");
    read_model();
    read_normalizer();
    read_pre_tokenizer();
    read_byte_level("decoder", true);
    read_byte_level("post_processor", false);
    read_added_tokens();
    return std::move(result_);
  }

 private:
  using Keys = std::initializer_list<std::string_view>;

  [[noreturn]] void fail(ErrorCode code, std::string where, std::string expected, std::string got,
                         std::string fix = "") const {
    throw Error(code, {.file = file_,
                       .where = where.empty() ? "the top level" : std::move(where),
                       .expected = std::move(expected),
                       .got = std::move(got),
                       .fix = std::move(fix)});
  }
  [[noreturn]] void unsupported(std::string where, std::string expected, const Json& got, std::string fix = "") const {
    fail(tokenizer_unsupported, std::move(where), std::move(expected), got.described(), std::move(fix));
  }

  void known_keys(const Json& object, const std::string& where, Keys keys) const {
    if (!object.is_object()) fail(tokenizer_field, where, "an object", object.described());
    for (const auto& [key, value] : object.members())
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        std::string list;
        for (const std::string_view k : keys) list += (list.empty() ? "one of " : ", ") + std::string(k);
        fail(tokenizer_unsupported, where, list, "the key " + expert::quoted(key), "Remove the key");
      }
  }
  const Json& field(const Json& object, const std::string& where, std::string_view key) const {
    if (!object.is_object()) fail(tokenizer_field, where, "an object", object.described());
    const Json* value = object.find(key);
    if (!value) fail(tokenizer_field, where + "/" + std::string(key), "this field", "nothing");
    return *value;
  }
  const std::string& string(const Json& object, const std::string& where, std::string_view key) const {
    const Json& value = field(object, where, key);
    if (!value.is_string()) fail(tokenizer_field, where + "/" + std::string(key), "a string", value.described());
    return value.as_string();
  }
  bool boolean(const Json& object, const std::string& where, std::string_view key) const {
    const Json& value = field(object, where, key);
    if (!value.is_bool()) fail(tokenizer_field, where + "/" + std::string(key), "true or false", value.described());
    return value.as_bool();
  }
  bool boolean_or(const Json& object, const std::string& where, std::string_view key, bool absent) const {
    const Json* value = object.find(key);
    return value && !value->is_null() ? boolean(object, where, key) : absent;
  }
  // The value of "type" of a component that is there and not null, else "".
  std::string type_of(const std::string& where) const {
    const Json* value = root_.at_pointer(where);
    return value && !value->is_null() ? string(*value, where, "type") : std::string();
  }

  void read_model() {
    const Json& model = field(root_, "", "model");
    if (string(model, "/model", "type") != "BPE") unsupported("/model/type", "\"BPE\"", *model.find("type"));
    known_keys(model, "/model",
               {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                "byte_fallback", "ignore_merges", "vocab", "merges"});
    if (const Json* dropout = model.find("dropout"); dropout && !dropout->is_null())
      if (!dropout->is_number() || dropout->as_double() != 0)
        unsupported("/model/dropout", "null", *dropout, "Set it to null: encoding must not depend on chance");
    for (const std::string_view affix : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (const Json* value = model.find(affix); value && !value->is_null())
        if (!value->is_string() || !value->as_string().empty())
          unsupported("/model/" + std::string(affix), "null or \"\"", *value);
    if (boolean_or(model, "/model", "byte_fallback", false))
      unsupported("/model/byte_fallback", "false", *model.find("byte_fallback"), "Only byte-level BPE is supported");
    boolean_or(model, "/model", "fuse_unk", false);
    result_.ignore_merges = boolean_or(model, "/model", "ignore_merges", false);
    read_vocabulary(field(model, "/model", "vocab"));
    read_merges(field(model, "/model", "merges"));
    if (const Json* unk = model.find("unk_token"); unk && !unk->is_null()) {
      if (!unk->is_string()) fail(tokenizer_field, "/model/unk_token", "a string or null", unk->described());
      if (!ids_.contains(unk->as_string()))
        fail(tokenizer_vocabulary, "/model/unk_token", "a token of the vocabulary", unk->described());
    }
  }

  void read_vocabulary(const Json& vocab) {
    if (!vocab.is_object()) fail(tokenizer_field, "/model/vocab", "an object", vocab.described());
    const auto& members = vocab.members();
    const auto n = static_cast<std::int64_t>(members.size());
    result_.tokens.resize(members.size());
    std::vector<bool> used(members.size());
    for (const auto& [token, id] : members) {
      const auto wrong = [&, &token = token, &id = id](std::string expected) {
        fail(tokenizer_vocabulary, "/model/vocab, token " + expert::quoted(token), std::move(expected), id.described(),
             "Number the tokens 0, 1, 2 and so on, without gaps");
      };
      if (!id.is_integer())
        fail(tokenizer_field, "/model/vocab, token " + expert::quoted(token), "an integer", id.described());
      if (id.as_int() < 0 || id.as_int() >= n)
        wrong("an id from 0 to " + std::to_string(n - 1) + ", since there are " + std::to_string(n) + " tokens");
      const auto at = static_cast<std::size_t>(id.as_int());
      if (used[at]) wrong("an id that no other token has");
      if (token.empty()) wrong("a token that is not empty");
      used[at] = true;
      result_.tokens[at] = token;
      ids_.insert(token, static_cast<std::int32_t>(at));
    }
    result_.vocabulary = members.size();
    for (unsigned b = 0; b < 256; ++b) {
      std::string spelling;
      append_utf8(spelling, byte_alphabet()[b]);
      if (!ids_.contains(spelling))
        fail(tokenizer_byte_missing, "/model/vocab",
             "the token " + expert::quoted(spelling) + " for byte " + std::to_string(b), "none",
             "Train the tokenizer with the initial alphabet ByteLevel.alphabet()");
    }
  }

  void read_merges(const Json& merges) {
    if (!merges.is_array()) fail(tokenizer_field, "/model/merges", "an array", merges.described());
    const auto& items = merges.items();
    result_.merges.reserve(items.size());
    const bool pairs = !items.empty() && items.front().is_array();
    std::vector<std::uint64_t> keys;
    keys.reserve(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
      const auto where = [i] { return "/model/merges/" + std::to_string(i); };
      const char* const form = pairs ? "two strings [\"a\", \"b\"]" : "\"a b\", two tokens and one space";
      const Json& item = items[i];
      std::string_view left, right;
      if (pairs) {
        const bool two =
            item.is_array() && item.items().size() == 2 && item.items()[0].is_string() && item.items()[1].is_string();
        if (!two) fail(tokenizer_merge, where(), form, item.described());
        left = item.items()[0].as_string();
        right = item.items()[1].as_string();
      } else {
        if (!item.is_string()) fail(tokenizer_merge, where(), form, item.described());
        const std::string_view text = item.as_string();
        const std::size_t space = text.find(' ');
        if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos)
          fail(tokenizer_merge, where(), form, expert::quoted(text));
        left = text.substr(0, space);
        right = text.substr(space + 1);
      }
      const auto id = [&](std::string_view token, const char* what) {
        const std::int32_t found = ids_.find(token);
        if (found < 0) fail(tokenizer_merge, where(), std::string(what) + " in the vocabulary", expert::quoted(token));
        return found;
      };
      const std::int32_t a = id(left, "a left token"), b = id(right, "a right token");
      const std::string both = std::string(left) + std::string(right);
      result_.merges.push_back({a, b, id(both, "the merged token")});
      keys.push_back(std::uint64_t{static_cast<std::uint32_t>(a)} << 32 | static_cast<std::uint32_t>(b));
    }
    sort_list(keys, [](std::uint64_t a, std::uint64_t b) { return a < b; });
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice == keys.end()) return;
    const auto token = [&](std::uint64_t id) { return expert::quoted(result_.tokens[static_cast<std::size_t>(id)]); };
    fail(tokenizer_merge, "/model/merges", "each pair once",
         token(*twice >> 32) + " and " + token(*twice & 0xffffffffu) + " twice");
  }

  void read_normalizer() {
    const std::string type = type_of("/normalizer");
    if (type.empty()) return;
    if (type != "NFC")
      unsupported("/normalizer/type", "\"NFC\", or null for the whole normalizer", at("/normalizer/type"));
    known_keys(at("/normalizer"), "/normalizer", {"type"});
    result_.normalize_nfc = true;
  }

  const Json& at(const std::string& pointer) const { return *root_.at_pointer(pointer); }

  void read_pre_tokenizer() {
    const std::string where = "/pre_tokenizer";
    const char* const supported = "ByteLevel, or a Sequence of Split and Digits that ends with ByteLevel";
    const std::string type = type_of(where);
    if (type.empty()) fail(tokenizer_unsupported, where, supported, "null");
    if (type != "Sequence") {
      if (type != "ByteLevel") unsupported(where + "/type", supported, at(where + "/type"));
      return read_byte_level_splitter(at(where), where);
    }
    known_keys(at(where), where, {"type", "pretokenizers"});
    const Json& list = field(at(where), where, "pretokenizers");
    if (!list.is_array()) fail(tokenizer_field, where + "/pretokenizers", "an array", list.described());
    const std::size_t n = list.items().size();
    if (n == 0 || n > PreTokenizer::max_splits)
      unsupported(where + "/pretokenizers", std::string("1 to 8 parts: ") + supported, list);
    for (std::size_t i = 0; i < n; ++i) {
      const Json& part = list.items()[i];
      const std::string here = where + "/pretokenizers/" + std::to_string(i), kind = string(part, here, "type");
      if (i + 1 == n) {
        if (kind != "ByteLevel") unsupported(here + "/type", supported, *part.find("type"));
        read_byte_level_splitter(part, here);
      } else if (kind == "Split") {
        read_split(part, here);
      } else if (kind == "Digits") {
        known_keys(part, here, {"type", "individual_digits"});
        const bool individual = boolean(part, here, "individual_digits");
        result_.pre_tokenizer.splits.push_back(individual ? PreTokenizer::Split::digits
                                                          : PreTokenizer::Split::digit_runs);
      } else {
        unsupported(here + "/type", supported, *part.find("type"));
      }
    }
  }
  void read_byte_level_splitter(const Json& part, const std::string& where) {
    known_keys(part, where, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
    boolean_or(part, where, "trim_offsets", true);  // concerns offsets, which are not computed here
    result_.pre_tokenizer.add_prefix_space = boolean(part, where, "add_prefix_space");
    result_.pre_tokenizer.use_regex = boolean_or(part, where, "use_regex", true);
  }
  void read_split(const Json& part, const std::string& where) {
    known_keys(part, where, {"type", "pattern", "behavior", "invert"});
    const Json& pattern = field(part, where, "pattern");
    known_keys(pattern, where + "/pattern", {"Regex"});
    const std::string& regex = string(pattern, where + "/pattern", "Regex");
    if (regex != qwen_pattern && regex != gpt2_pattern)
      fail(tokenizer_unsupported, where + "/pattern/Regex", "the pattern of Qwen2 and Qwen3 or that of GPT-2",
           expert::quoted(regex));
    result_.pre_tokenizer.splits.push_back(regex == qwen_pattern ? PreTokenizer::Split::qwen
                                                                 : PreTokenizer::Split::gpt2);
    if (string(part, where, "behavior") != "Isolated")
      unsupported(where + "/behavior", "\"Isolated\"", *part.find("behavior"));
    if (boolean(part, where, "invert")) unsupported(where + "/invert", "false", *part.find("invert"));
  }

  void read_byte_level(const std::string& key, bool required) {
    const std::string where = "/" + key, type = type_of(where);
    if (type.empty()) {
      if (required)
        fail(tokenizer_unsupported, where, "ByteLevel", "null", "Set the tokenizer's decoder to ByteLevel()");
      return;
    }
    if (type != "ByteLevel")
      unsupported(where + "/type", required ? "\"ByteLevel\"" : "\"ByteLevel\", or null for the whole post_processor",
                  at(where + "/type"));
    known_keys(at(where), where, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
    for (const std::string_view flag : {"add_prefix_space", "trim_offsets", "use_regex"})
      boolean_or(at(where), where, flag, true);  // they change offsets only
  }

  void read_added_tokens() {
    const Json* list = root_.find("added_tokens");
    if (!list || list->is_null()) return;
    if (!list->is_array()) fail(tokenizer_field, "/added_tokens", "an array", list->described());
    TextIndex seen;
    for (std::size_t i = 0; i < list->items().size(); ++i) {
      const std::string where = "/added_tokens/" + std::to_string(i);
      const Json& item = list->items()[i];
      known_keys(item, where, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
      const Json& id = field(item, where, "id");
      AddedToken token{.id = 0,
                       .content = string(item, where, "content"),
                       .single_word = boolean(item, where, "single_word"),
                       .lstrip = boolean(item, where, "lstrip"),
                       .rstrip = boolean(item, where, "rstrip"),
                       .normalized = boolean(item, where, "normalized"),
                       .special = boolean(item, where, "special")};
      if (!id.is_integer()) fail(tokenizer_field, where + "/id", "an integer", id.described());
      if (token.content.empty()) fail(tokenizer_added_token, where + "/content", "text that is not empty", "\"\"");
      // PyPI tokenizers gives an added token its id in the vocabulary, or else the next free one, whatever the file
      // says. A file that says otherwise would be read differently here and there.
      const std::int32_t known = ids_.find(token.content);
      const auto next = static_cast<std::int64_t>(result_.tokens.size());
      const std::int64_t want = known >= 0 ? known : next;
      if (id.as_int() != want)
        fail(tokenizer_added_token, where + "/id",
             std::to_string(want) + (known >= 0 ? ", its id in the vocabulary" : ", the next free id"), id.described(),
             "Number added tokens behind the vocabulary, in order, without gaps");
      token.id = static_cast<std::int32_t>(want);
      if (token.normalized && result_.normalize_nfc) token.content = normalize_nfc(token.content);
      const std::string spelling = joined({token.normalized ? "n" : "r", token.content});
      if (!seen.insert(spelling, static_cast<std::int32_t>(i)))
        fail(tokenizer_added_token, where + "/content", "text that no other added token has",
             expert::quoted(token.content) + " as in /added_tokens/" + std::to_string(seen.find(spelling)));
      if (want == next) {
        result_.tokens.push_back(token.content);
        ids_.insert(string(item, where, "content"), token.id);
      }
      result_.added_tokens.push_back(std::move(token));
    }
  }

  const Json& root_;
  const std::string& file_;
  TokenizerFile result_;
  TextIndex ids_;
};

}  // namespace detail

// Throws E240 to E245 with the JSON pointer. `file` is for messages.
inline TokenizerFile read_tokenizer_file(const Json& root, const std::string& file) {
  return detail::TokenizerReader(root, file).read();
}

}  // namespace v0
}  // namespace expert
