// tokenizer_config.json or chat_template.jinja -> which of the compiled chat templates it is.
//
// A template from a file is a program, and it is never run: a text that is known, by its SHA-256, names a renderer of
// chat_template.hpp whose output was compared with it; every other text is refused.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "expert/core/error.hpp"
#include "expert/core/limits.hpp"
#include "expert/io/sha256.hpp"
#include "expert/json/json.hpp"
#include "expert/text/chat_template.hpp"
#include "expert/text/unicode.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode chat_template_unknown{419, "a chat template is none of those that are compiled"};
inline constexpr ErrorCode chat_template_missing{420, "a file holds no chat template"};

struct KnownChatTemplate {
  std::string_view prompt_template;  // of the policy
  std::string_view sha256;           // of the text with \n for every newline, without the one at its end
};
inline constexpr std::array known_chat_templates{
    // Qwen3's hybrid models, thinking off: the form of April 2025, and the one that takes content in parts.
    KnownChatTemplate{"qwen3", "87a2728cb8dc9fe424d624542f6060ec05a1d285ebbec578bb078900e33396b5"},
    KnownChatTemplate{"qwen3", "a55ee1b1660128b7098723e0abcd92caa0788061051c62d51cbe87d9cf1974d8"},
    // PlainRenderer's form, for models of this library:
    // {%- for message in messages %}
    // {{- '<|' + message.role + '|>\n' + message.content + '\n' }}
    // {%- endfor %}
    // {%- if add_generation_prompt %}{{- '<|assistant|>\n' }}{%- endif %}
    KnownChatTemplate{"plain", "89b903addd152cb23284361feedd33004160db4b162bf664e4744e40517a819c"},
};

namespace detail {

[[noreturn]] inline void no_chat_template(const std::string& file, std::string where, std::string got) {
  throw Error(chat_template_missing, {.file = file,
                                      .where = std::move(where),
                                      .expected = "the text of a Jinja template",
                                      .got = std::move(got),
                                      .fix = "Name a tokenizer_config.json with \"chat_template\", or a .jinja file"});
}

// A text, or, where a model has several, the one named default of [{"name", "template"}...].
inline std::string template_of_config(const Json& config, const std::string& file) {
  const Json* member = config.is_object() ? config.find("chat_template") : nullptr;
  if (member == nullptr) no_chat_template(file, "/chat_template", "no such field");
  if (member->is_string()) return member->as_string();
  if (!member->is_array()) no_chat_template(file, "/chat_template", member->described());
  for (const Json& entry : member->items()) {
    const Json* name = entry.is_object() ? entry.find("name") : nullptr;
    const Json* text = entry.is_object() ? entry.find("template") : nullptr;
    if (name != nullptr && name->is_string() && name->as_string() == "default" && text != nullptr && text->is_string())
      return text->as_string();
  }
  no_chat_template(file, "/chat_template", "a list without one that is named default");
}

}  // namespace detail

// The template of a file: *.json has it under "chat_template", any other is the template. Throws E420, E200 to E202 and
// what parse_json throws.
inline std::string read_chat_template(const std::string& file, const Limits& limits = default_limits) {
  if (file.ends_with(".json")) return detail::template_of_config(read_json(file, limits.config_bytes, limits), file);
  std::string text = read_file(file, limits.config_bytes);
  if (const std::size_t at = utf8_error(text); at != std::string::npos)
    detail::no_chat_template(file, "offset " + std::to_string(at), "bytes that are not UTF-8");
  if (text.empty()) detail::no_chat_template(file, {}, "an empty file");
  return text;
}

// The prompt_template of the policy that renders as this template does. `file` is only named in messages. Throws E419.
inline std::string_view known_chat_template(std::string_view text, const std::string& file) {
  std::string normal;  // Jinja takes \r\n and \r as \n, and drops one newline at the end
  normal.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    normal += text[i] == '\r' ? '\n' : text[i];
    if (text.substr(i, 2) == "\r\n") ++i;
  }
  if (normal.ends_with('\n')) normal.pop_back();
  const std::string hash = sha256(normal);
  for (const KnownChatTemplate& known : known_chat_templates)
    if (known.sha256 == hash) return known.prompt_template;
  throw Error(
      chat_template_unknown,
      {.file = file,
       .expected = "the template of Qwen3 (qwen3) or the plain form (plain)",
       .got = "a text of " + std::to_string(normal.size()) + " bytes with SHA-256 " + hash,
       .fix = "Use the base model's own file, or compile a chat_template policy whose renderer writes this form"});
}

}  // namespace v0
}  // namespace expert
