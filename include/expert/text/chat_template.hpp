// Messages -> one text in the model's chat format -> token ids, with a mask of what bears loss.
//
// A renderer turns messages into parts: markup, which the template writes, and content, which people wrote. Only in
// markup do special tokens count, so no content can end its turn or open another one.
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
#include "expert/text/tokenizer.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode chat_role{247, "a message has a role that the chat template does not know"};
inline constexpr ErrorCode chat_marker{248, "a message contains a turn marker that it could be mistaken for"};

struct Message {
  std::string role;  // system, user, assistant, tool
  std::string content;
  bool bears_loss = false;  // an answer to be learned
};

struct ChatPart {
  std::string text;
  bool is_markup = false;
  bool bears_loss = false;
  bool ends_answer = false;  // the answer ends behind this part: the tokenizer's end token, if there is one, goes here
};

namespace detail {

[[noreturn]] inline void unknown_role(std::size_t i, const std::string& role, std::string expected) {
  throw Error(chat_role, {.file = {},
                          .where = "message " + std::to_string(i),
                          .expected = std::move(expected),
                          .got = expert::quoted(role),
                          .fix = {}});
}
inline std::string strip_newlines(std::string_view text, bool left, bool right) {
  while (left && !text.empty() && text.front() == '\n') text.remove_prefix(1);
  while (right && !text.empty() && text.back() == '\n') text.remove_suffix(1);
  return std::string(text);
}

}  // namespace detail

// Qwen3's template as transformers renders it with enable_thinking=False, tools not given.
//   <|im_start|>role\ncontent<|im_end|>\n           every turn; roles system, user, assistant
//   <|im_start|>assistant\n<think>\n\n</think>\n\n  before an answer to be written
// An answer behind the last question keeps its reasoning (the text before "</think>") in a think block, which is there
// but empty where the answer is the last message; earlier answers lose theirs. Messages of role tool become a user's
// turn with <tool_response> blocks. An answer to be learned bears loss up to and including its <|im_end|>.
struct Qwen3Renderer {
  static constexpr std::array<std::string_view, 2> markers{"<|im_start|>", "<|im_end|>"};
  static constexpr std::string_view end_of_answer = "<|im_end|>";

  // Throws E247.
  static std::vector<ChatPart> render(std::span<const Message> messages, bool add_generation_prompt) {
    std::vector<ChatPart> parts;
    const auto markup = [&](std::string text, bool loss = false) {
      parts.push_back({std::move(text), true, loss, false});
    };
    const auto content = [&](std::string text, bool loss = false) {
      if (!text.empty()) parts.push_back({std::move(text), false, loss, false});
    };
    const std::size_t n = messages.size(), query = last_query(messages);
    for (std::size_t i = 0; i < n; ++i) {
      const auto& [role, text, loss] = messages[i];
      if (role == "system" || role == "user") {
        markup("<|im_start|>" + role + "\n");
        content(text);
        markup("<|im_end|>\n");
      } else if (role == "assistant") {
        auto [reasoning, answer] = split_reasoning(text);
        const bool think = i > query && (i + 1 == n || !reasoning.empty());
        markup("<|im_start|>assistant\n");
        if (think) {
          // Loss begins where generation would begin: behind the empty block that the generation prompt ends with.
          const bool learned = loss && !reasoning.empty();
          markup("<think>\n", learned);
          content(detail::strip_newlines(reasoning, true, true), learned);
          markup("\n</think>\n\n", learned);
          answer = detail::strip_newlines(answer, true, false);
        }
        content(std::move(answer), loss);
        markup("<|im_end|>", loss);
        markup("\n");
      } else if (role == "tool") {
        if (i == 0 || messages[i - 1].role != "tool") markup("<|im_start|>user");
        markup("\n<tool_response>\n");
        content(text);
        markup("\n</tool_response>");
        if (i + 1 == n || messages[i + 1].role != "tool") markup("<|im_end|>\n");
      } else {
        detail::unknown_role(i, role, "system, user, assistant or tool");
      }
    }
    if (add_generation_prompt) markup("<|im_start|>assistant\n<think>\n\n</think>\n\n");
    return parts;
  }

 private:
  // Index of the last message of a user that is no tool's answer; the last message where there is none.
  static std::size_t last_query(std::span<const Message> messages) {
    for (std::size_t i = messages.size(); i-- > 0;)
      if (messages[i].role == "user" &&
          !(messages[i].content.starts_with("<tool_response>") && messages[i].content.ends_with("</tool_response>")))
        return i;
    return messages.empty() ? 0 : messages.size() - 1;
  }
  static std::pair<std::string, std::string> split_reasoning(std::string_view text) {
    constexpr std::string_view open = "<think>", close = "</think>";
    const std::size_t first = text.find(close);
    if (first == std::string_view::npos) return {"", std::string(text)};
    std::string_view reasoning = text.substr(0, first);
    while (!reasoning.empty() && reasoning.back() == '\n') reasoning.remove_suffix(1);
    if (const std::size_t at = reasoning.rfind(open); at != std::string_view::npos)
      reasoning.remove_prefix(at + open.size());
    return {detail::strip_newlines(reasoning, true, false),
            detail::strip_newlines(text.substr(text.rfind(close) + close.size()), true, false)};
  }
};

// The plain form: every message is `<|role|>\n`, its content and `\n`; a generation prompt is `<|assistant|>\n`.
// Roles: system, user, assistant. The form has no mark for the end of an answer, since content may have several lines:
// encode_chat puts the tokenizer's end token there, between the content and the newline.
struct PlainRenderer {
  static constexpr std::array<std::string_view, 3> markers{"<|system|>", "<|user|>", "<|assistant|>"};
  static constexpr std::string_view end_of_answer = "";

  // Throws E247.
  static std::vector<ChatPart> render(std::span<const Message> messages, bool add_generation_prompt) {
    std::vector<ChatPart> parts;
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const auto& [role, text, loss] = messages[i];
      if (role != "system" && role != "user" && role != "assistant")
        detail::unknown_role(i, role, "system, user or assistant");
      parts.push_back({"<|" + role + "|>\n", true, false, false});
      parts.push_back({text, false, loss && role == "assistant", role == "assistant"});
      parts.push_back({"\n", true, false, false});
    }
    if (add_generation_prompt) parts.push_back({"<|assistant|>\n", true, false, false});
    return parts;
  }
};

template <class P>
concept BringsRenderer = requires { typename P::renderer; };
template <class P>
concept NamesRenderer =
    P::prompt_template == std::string_view("qwen3") || P::prompt_template == std::string_view("plain");

// The renderer of a chat_template policy: its own `renderer`, or that of its `prompt_template`.
template <class P>
  requires BringsRenderer<P> || NamesRenderer<P>
constexpr auto renderer_of() {
  if constexpr (BringsRenderer<P>)
    return typename P::renderer{};
  else if constexpr (P::prompt_template == std::string_view("qwen3"))
    return Qwen3Renderer{};
  else
    return PlainRenderer{};
}
template <class P>
using RendererOf = decltype(renderer_of<P>());

// The whole text, as transformers' apply_chat_template(tokenize=False) gives it.
inline std::string text_of(std::span<const ChatPart> parts) {
  std::string text;
  for (const ChatPart& part : parts) text += part.text;
  return text;
}

struct ChatIds {
  std::vector<std::int32_t> ids;
  std::vector<bool> bears_loss;  // one per id
};

// Parts -> ids. Where loss begins or ends the text is cut, so that an answer has the ids that generation gives it after
// the same prompt; elsewhere neighbours are encoded as one text, as transformers encodes it. `end_token` follows every
// part that ends an answer and bears that part's loss.
//
// A marker that the tokenizer does not have as a special token is plain text; content that contains it would have the
// ids of a real turn, so it is refused with E248. Throws E246 and E249 as Tokenizer::encode.
inline ChatIds encode_parts(const Tokenizer& tokenizer, std::span<const ChatPart> parts,
                            std::span<const std::string_view> markers,
                            std::optional<std::int32_t> end_token = std::nullopt) {
  for (const std::string_view marker : markers) {
    if (tokenizer.special_token(marker)) continue;
    for (const ChatPart& part : parts)
      if (const std::size_t at = part.is_markup ? std::string::npos : part.text.find(marker); at != std::string::npos)
        throw Error(chat_marker, {.file = {},
                                  .where = "offset " + std::to_string(at) + " of " + expert::quoted(part.text),
                                  .expected = "content without " + expert::quoted(marker),
                                  .got = {},
                                  .fix = "Remove it, or use a tokenizer that has it as a special token"});
  }
  ChatIds out;
  std::string text;
  std::vector<std::pair<std::size_t, std::size_t>> markup;  // byte ranges of `text`, ascending
  for (std::size_t i = 0; i < parts.size();) {
    text.clear();
    markup.clear();
    const bool loss = parts[i].bears_loss;
    bool end = false;
    for (; i < parts.size() && parts[i].bears_loss == loss && !end; ++i) {
      if (parts[i].is_markup && !markup.empty() && markup.back().second == text.size())
        markup.back().second += parts[i].text.size();
      else if (parts[i].is_markup)
        markup.emplace_back(text.size(), text.size() + parts[i].text.size());
      text += parts[i].text;
      end = parts[i].ends_answer && end_token;
    }
    const auto in_markup = [&](std::size_t from, std::size_t to) {
      const auto next = std::upper_bound(markup.begin(), markup.end(), std::pair(from, std::string::npos));
      return next != markup.begin() && to <= (next - 1)->second;
    };
    tokenizer.append(text, in_markup, out.ids);
    if (end) out.ids.push_back(*end_token);
    out.bears_loss.resize(out.ids.size(), loss);
  }
  return out;
}

// Messages -> ids in the format of `Renderer`.
template <class Renderer>
ChatIds encode_chat(const Tokenizer& tokenizer, std::span<const Message> messages, bool add_generation_prompt,
                    std::optional<std::int32_t> end_token = std::nullopt) {
  return encode_parts(tokenizer, Renderer::render(messages, add_generation_prompt), Renderer::markers, end_token);
}

}  // namespace v0
}  // namespace expert
