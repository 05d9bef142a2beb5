// Policies of slot `chat_template`: how system, user and assistant messages become one text (text/chat_template.hpp
// does it).
#pragma once
#include <string_view>

#include "expert/policy/policy.hpp"
#include "expert/policy/slots.hpp"

namespace expert {
inline namespace v0 {

// Qwen3's template with thinking off: <|im_start|>role\n...<|im_end|>\n, an empty think block before the answer.
struct Qwen3Chat {
  using slot = slots::chat_template;
  static constexpr std::string_view prompt_template = "qwen3";
  static constexpr bool thinking = false;
  static constexpr auto describe() { return std::array{Field{"/base_models/0/prompt_template", prompt_template}}; }
};

// <|system|>...<|user|>...<|assistant|>.
struct PlainChat {
  using slot = slots::chat_template;
  static constexpr std::string_view prompt_template = "plain";
  static constexpr auto describe() { return std::array{Field{"/base_models/0/prompt_template", prompt_template}}; }
};

}  // namespace v0
}  // namespace expert
