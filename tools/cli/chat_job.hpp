// A conversation with the expert E: lines of stdin -> answers. Included by the one translation unit of each expert
// only.
#pragma once
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/answering.hpp"
#include "cli/answers.hpp"
#include "cli/jobs.hpp"
#include "cli/signals.hpp"
#include "expert/io/lines.hpp"
#include "expert/text/chat_template.hpp"

namespace cli {

inline constexpr ErrorCode message_refused{318, "a message leaves no room for its answer"};

class StandardInput final : public ByteSource {
 public:
  std::size_t read(char* out, std::size_t capacity) override {
    for (;;) {
      const ssize_t n = ::read(STDIN_FILENO, out, capacity);
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno != EINTR) throw Error(file_unreadable, {.file = "stdin", .got = system_message(errno)});
    }
  }
  static bool is_terminal() { return ::isatty(STDIN_FILENO) == 1; }
};

// The turns so far, and what of them the generator's cache still holds.
template <class E>
class Conversation {
 public:
  Conversation(Answering<E>& with, const ChatJob& job)
      : with_(with), job_(job), generator_(with.generator(context_length(job), 1)) {
    reset();
  }

  void reset() {
    messages_.clear();
    if (!job_.system.empty()) messages_.push_back({"system", job_.system});
    first_turn_ = messages_.size();
  }

  struct Turn {
    Answer answer;
    std::int64_t prompt_tokens = 0;
    std::int64_t kept_tokens = 0;  // of the prompt: their keys and values were there
    std::int64_t dropped = 0;      // turns that no longer fitted the context
  };
  // An error leaves the conversation as it was. Throws E318 where the message alone leaves no room, E246 and E248 for
  // its text, E312.
  Turn ask(std::string message, std::uint64_t seed, const AnswerEvents& events) {
    Turn turn;
    std::vector<Message> messages = messages_;
    messages.push_back({"user", std::move(message)});
    const std::vector<std::int32_t> prompt = fit(messages, turn.dropped);
    turn.prompt_tokens = std::ssize(prompt);
    // Row 0 holds the prompt of the turn before: what this one shares with it stays, and is computed no second time.
    const auto last = prompt.end() - 1;
    cached_.erase(std::mismatch(cached_.begin(), cached_.end(), prompt.begin(), last).first, cached_.end());
    turn.kept_tokens = std::ssize(cached_);
    generator_.adopt_prefix(cached_);
    GenerateOptions options = with_.options;
    options.seed = seed;
    const PromptSchema schema{job_.schema, job_.schema_file};
    turn.answer = answers_to(generator_, with_.text.tokenizer, std::span(&prompt, 1), options, job_.stop_sequences,
                             with_.rules(std::span(&schema, 1)), events)
                      .front();
    cached_ = prompt;
    messages.push_back({"assistant", turn.answer.text});
    messages_ = std::move(messages);
    return turn;
  }

 private:
  static std::int64_t context_length(const ChatJob& job) {
    if (job.context_length > 0) return job.context_length;
    return std::min<std::int64_t>(2048, Answering<E>::longest_context);
  }

  // The prompt of the messages, of which the oldest turns are dropped until an answer of max_new_tokens has room. The
  // newest message may leave less.
  std::vector<std::int32_t> fit(std::vector<Message>& messages, std::int64_t& dropped) const {
    const std::int64_t context = generator_.options().context_length;
    for (;;) {
      std::vector<std::int32_t> prompt =
          encode_chat<RendererOf<typename E::chat_template>>(with_.text.tokenizer, messages, true).ids;
      if (std::ssize(prompt) + with_.options.max_new_tokens <= context) return prompt;
      if (messages.size() == first_turn_ + 1) {
        if (std::ssize(prompt) < context) return prompt;
        throw Error(message_refused, {.where = "a message of " + std::to_string(prompt.size()) + " tokens",
                                      .expected = "fewer than " + std::to_string(context),
                                      .fix = "Shorten it, or open a longer --context"});
      }
      const auto oldest = messages.begin() + static_cast<std::ptrdiff_t>(first_turn_);
      messages.erase(oldest, oldest + 2);
      ++dropped;
    }
  }

  Answering<E>& with_;
  const ChatJob& job_;
  Generator<E> generator_;
  std::vector<Message> messages_;     // the system's, if there is one, then a user's and an assistant's in turn
  std::size_t first_turn_ = 0;        // behind the system's
  std::vector<std::int32_t> cached_;  // tokens whose keys and values row 0 holds
};

inline std::string describe(const Answer& answer, const std::optional<SyntaxVerdict>& verdict, const ChatJob& job) {
  std::string text = joined({name_of(answer.stop_reason), ", ", answer.tokens, " tokens"});
  if (!verdict) return text;
  if (verdict->valid) return joined({text, ", valid ", job.language});
  return joined({text, ", not valid ", job.language, " (", job.validation, "): ", utf8_lossy(verdict->message)});
}

// The answer as it grows and what is said of it, or with --json one line for the whole of it.
template <class E>
ExitCode chat_expert(const ChatJob& job, Report& report) {
  Answering<E> with(job, 1, report);
  Conversation<E> conversation(with, job);
  StandardInput input;
  LineReader lines(input, "stdin");
  const bool interactive = StandardInput::is_terminal();
  const auto write = [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  std::int64_t turns = 0, refused_messages = 0;
  const auto end = [&](ExitCode code) {
    report.result().set("turns", turns).set("refused", refused_messages);
    return code;
  };
  std::string_view line;
  for (;;) {
    if (interactive) std::fputs("> ", stderr);
    if (!lines.next(line) || line == "/exit") break;
    if (line.empty()) continue;
    if (line == "/reset") {
      conversation.reset();
      report.say("the conversation is forgotten");
      continue;
    }
    if (line.front() == '/') {
      if (line != "/help") ++refused_messages, report.say("unknown: " + expert::quoted(line, 40));
      report.say(
          "/reset forgets the conversation, /exit or the end of the input ends it; a message that begins with / "
          "needs a blank before it");
      continue;
    }
    const StopRequest stop;  // Ctrl-C ends the answer; another one ends the program
    try {
      AnswerEvents events;
      events.goes_on = [&] { return !stop.requested(); };
      if (!report.wants_json()) events.grew = [&](std::size_t, std::string_view text) { write(text); };
      const auto turn =
          conversation.ask(std::string(line), job.options.seed + static_cast<std::uint64_t>(turns), events);
      const std::optional<SyntaxVerdict> verdict = with.judge(turn.answer.text);
      ++turns;
      if (!report.wants_json()) write("\n");
      if (turn.dropped > 0)
        report.say(joined({"the context is full; turns forgotten, the oldest first: ", turn.dropped}));
      report.say(joined({"[", describe(turn.answer, verdict, job), "; ", turn.kept_tokens, " of ", turn.prompt_tokens,
                         " prompt tokens kept", stop.requested() ? "; interrupted" : "", "]"}));
      if (report.wants_json()) {
        Json object = Json::object();
        object.set("turn", turns)
            .set("output", turn.answer.text)
            .set("stop_reason", name_of(turn.answer.stop_reason))
            .set("valid", verdict ? Json(verdict->valid) : Json())
            .set("tokens", turn.answer.tokens)
            .set("prompt_tokens", turn.prompt_tokens)
            .set("kept_tokens", turn.kept_tokens)
            .set("dropped_turns", turn.dropped);
        write(object.dump() + "\n");
      }
    } catch (const Error& e) {
      ++refused_messages;
      report.say(e.what());
      if (report.wants_json()) write(Json::object().set("error", to_json(e)).dump() + "\n");
    }
    if (stop.requested() && (!interactive || stop.exit_code() == terminated)) return end(stop.exit_code());
  }
  return end(refused_messages > 0 ? refused : ok);
}

}  // namespace cli
