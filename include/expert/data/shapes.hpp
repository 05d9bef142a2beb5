// A row of a dataset, in any of seven shapes -> its text in segments (or its token ids), each saying whether it bears
// loss.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/data/input_ids.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/data/row_fields.hpp"
#include "expert/json/json.hpp"

namespace expert {
inline namespace v0 {

// In the order in which they are looked for; `text` comes late, because some sets carry a rendered copy beside the
// parts, and ids last: where there is text, it is tokenised here.
//   messages          {"messages": [{"role", "content"}...]}                      TRL, OpenAI
//   sharegpt          {"conversations": [{"from": human|gpt|system, "value"}...], "system" optional}   ShareGPT
//   prompt_completion {"prompt", "completion"}: two strings (no template) or two lists of messages, as in TRL
//   question_answer   {"question", "answer", "context" optional}                   sql-create-context
//   alpaca            {"instruction", "output", "input" and "system" optional}     Alpaca
//   text              {"text"}
//   input_ids         {"input_ids", "labels", "attention_mask" and "completion_mask" optional}   tokenised sets
enum class RowShape : std::uint8_t { messages, sharegpt, prompt_completion, question_answer, alpaca, text, input_ids };
inline constexpr std::array<std::string_view, 7> row_shape_names{
    "messages", "sharegpt", "prompt/completion", "question/answer", "alpaca", "text", "input_ids"};
constexpr std::string_view name_of(RowShape shape) { return row_shape_names[static_cast<std::size_t>(shape)]; }

// One stretch of text. With a role it is a message and goes through the chat template; without one it is text as it is.
struct Segment {
  std::string role;  // "system", "user", "assistant", "tool", or empty
  std::string content;
  bool bears_loss = false;
  friend bool operator==(const Segment&, const Segment&) = default;
};

// The text of one row. `segments` either all have a role or none has; rows of ids have none, and `tokens` instead.
struct Example {
  RowShape shape = RowShape::text;
  std::vector<Segment> segments;
  IdRow tokens = {};
  std::string context = {};  // of question/answer rows, without the prefix: the schema that the answer is for
  bool is_chat() const { return !segments.empty() && !segments.front().role.empty(); }
};

namespace detail {

inline std::string role_of(std::string_view name, bool sharegpt) {
  if (sharegpt) {
    if (name == "human" || name == "user") return "user";
    if (name == "gpt" || name == "assistant" || name == "chatgpt" || name == "model") return "assistant";
    if (name == "system") return "system";
    return "";
  }
  for (const std::string_view known : {"system", "user", "assistant", "tool"})
    if (name == known) return std::string(name);
  return "";
}

// A list of messages. Every turn of the assistant bears loss where `loss` says so.
inline void append_messages(const RowFields& fields, const Json& list, const std::string& pointer, bool sharegpt,
                            bool loss, std::vector<Segment>& out) {
  const std::string role_key = sharegpt ? "from" : "role", text_key = sharegpt ? "value" : "content";
  if (!list.is_array() || list.items().empty())
    fields.fail(pointer, "a list of messages", list.is_array() ? "an empty list" : list.described());
  for (std::size_t i = 0; i < list.items().size(); ++i) {
    const Json& message = list.items()[i];
    const std::string at = pointer + "/" + std::to_string(i);
    const Json* role = message.is_object() ? message.find(role_key) : nullptr;
    const Json* text = message.is_object() ? message.find(text_key) : nullptr;
    if (role == nullptr || text == nullptr)
      fields.fail(at, "an object with " + role_key + " and " + text_key, message.described());
    const std::string& name = fields.string(*role, at + "/" + role_key);
    const std::string known = role_of(name, sharegpt);
    if (known.empty())
      fields.fail(at + "/" + role_key, sharegpt ? "human, gpt or system" : "system, user, assistant or tool",
                  expert::quoted(name));
    out.push_back({known, fields.string(*text, at + "/" + text_key), loss && known == "assistant"});
  }
}

}  // namespace detail

// Throws E254 where no shape fits and E255 where a field of the shape is of no use. `text` bears loss everywhere, ids
// where their masks say so, all other shapes on what the assistant says. Without needs_completion the segments end
// where the answer would begin.
inline Example read_example(const JsonRow& row, const std::string& file, const RowOptions& options = {}) {
  const detail::RowFields fields(row, file, options);
  const bool complete = options.needs_completion;
  const auto pair = [&](std::string_view a, std::string_view b) {
    return fields.has(a) && (!complete || fields.has(b));
  };
  Example example;
  auto& segments = example.segments;
  const auto say = [&](std::string role, std::string content) {
    if (!content.empty()) segments.push_back({std::move(role), std::move(content), false});
  };
  const auto answer = [&](std::string_view name) {
    if (complete) segments.push_back({"assistant", fields.required(name), true});
  };

  if (fields.maps("text")) {
    segments.push_back({"", fields.required("text"), complete});
  } else if (const Json* messages = fields.find("messages")) {
    example.shape = RowShape::messages;
    detail::append_messages(fields, *messages, "/messages", false, complete, segments);
  } else if (const Json* conversations = fields.find("conversations")) {
    example.shape = RowShape::sharegpt;
    say("system", fields.optional("system"));
    detail::append_messages(fields, *conversations, "/conversations", true, complete, segments);
  } else if (pair("prompt", "completion")) {
    example.shape = RowShape::prompt_completion;
    if (fields.find("prompt")->is_array()) {
      detail::append_messages(fields, *fields.find("prompt"), "/prompt", false, false, segments);
      if (complete) detail::append_messages(fields, *fields.find("completion"), "/completion", false, true, segments);
    } else {
      segments.push_back({"", fields.required("prompt"), false});
      if (complete) segments.push_back({"", fields.required("completion"), true});
    }
  } else if (pair("question", "answer")) {
    example.shape = RowShape::question_answer;
    example.context = normalize_sql(fields.optional("context"), options.sql);
    if (!example.context.empty()) say("system", options.context_prefix + example.context);
    say("user", fields.required("question"));
    answer("answer");
    if (complete) segments.back().content = normalize_sql(std::move(segments.back().content), options.sql);
  } else if (pair("instruction", "output")) {
    example.shape = RowShape::alpaca;
    say("system", fields.optional("system"));
    const std::string input = fields.optional("input");
    say("user", fields.required("instruction") + (input.empty() ? "" : "\n\n" + input));
    answer("output");
  } else if (fields.has("text")) {
    segments.push_back({"", fields.required("text"), complete});
  } else if (complete && fields.has("input_ids")) {
    example.shape = RowShape::input_ids;
    example.tokens = detail::read_input_ids(fields, options.vocab_size);
  } else {
    fields.no_shape();
  }

  if (example.is_chat()) {
    if (!complete)
      while (!segments.empty() && segments.back().role == "assistant") segments.pop_back();
    bool any_loss = false;
    for (const Segment& s : segments) any_loss |= s.bears_loss;
    if (segments.empty() || (complete && !any_loss))
      fields.fail(std::string(name_of(example.shape)), complete ? "a turn of the assistant" : "a turn of the user",
                  "none");
  }
  return example;
}

}  // namespace v0
}  // namespace expert
