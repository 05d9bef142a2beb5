// tokens.hpp: what of a row becomes tokens, which of them bear loss, and what the steps of a run consist of.
#include "expert/tokens.hpp"

#include <map>

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/policy/data.hpp"
#include "temp_dir.hpp"

namespace tokens_test {
using namespace expert;

namespace {

// Every byte is a token (its value as id); 256 to 261 are added tokens.
Tokenizer byte_tokenizer() {
  Json vocabulary = Json::object();
  int next = 256;  // GPT-2's alphabet: printable bytes stand for themselves, the others for U+0100 and up
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    const int code = printable ? b : next++;
    std::string key;
    if (code < 0x80) {
      key += static_cast<char>(code);
    } else {
      key += static_cast<char>(0xc0 | code >> 6);
      key += static_cast<char>(0x80 | (code & 0x3f));
    }
    vocabulary.set(key, b);
  }
  Json added = Json::array();
  int id = 256;
  for (const char* content : {"<|im_start|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|endoftext|>"})
    added.push(Json::object()
                   .set("id", id++)
                   .set("content", content)
                   .set("single_word", false)
                   .set("lstrip", false)
                   .set("rstrip", false)
                   .set("normalized", false)
                   .set("special", true));
  Json file = Json::object();
  file.set("version", "1.0")
      .set("added_tokens", std::move(added))
      .set("normalizer", nullptr)
      .set("pre_tokenizer",
           Json::object().set("type", "ByteLevel").set("add_prefix_space", false).set("use_regex", false))
      .set("decoder", Json::object().set("type", "ByteLevel"))
      .set("model", Json::object().set("type", "BPE").set("vocab", std::move(vocabulary)).set("merges", Json::array()));
  return Tokenizer::parse(file.dump(), "tokenizer.json");
}

constexpr std::int32_t im_end = 257, end_of_text = 261;

template <class ChatTemplate>
Dataset dataset_of(std::string rows, const Tokenizer& tokenizer, std::int32_t end_token, const RowOptions& options = {},
                   const RowFilterOptions& filter = {}) {
  MemorySource source(std::move(rows));
  JsonlReader reader(source, "rows.jsonl");
  return read_dataset<ChatTemplate>(reader, tokenizer, end_token, options, filter);
}

struct Tokens {
  std::string text, learned;  // what all tokens and what the tokens with loss say
};
template <class ChatTemplate>
Tokens tokens_of(const std::string& json, std::int32_t end_token, RowOptions options = {}) {
  const Tokenizer tokenizer = byte_tokenizer();
  const Dataset data = dataset_of<ChatTemplate>(json, tokenizer, end_token, options);
  std::vector<std::int32_t> learned;
  for (std::size_t i = 0; i < data.documents.input_ids.size(); ++i)
    if (data.documents.bears_loss[i]) learned.push_back(data.documents.input_ids[i]);
  return {tokenizer.decode(data.documents.input_ids), tokenizer.decode(learned)};
}

}  // namespace

TEST_CASE("text bears loss everywhere and ends once with the end token", "[tokens]") {
  const Tokens once = tokens_of<Qwen3Chat>(R"({"text": "abc"})", end_of_text);
  CHECK(once.text == "abc<|endoftext|>");
  CHECK(once.learned == "abc<|endoftext|>");
  CHECK(tokens_of<Qwen3Chat>(R"({"text": "abc<|endoftext|>"})", end_of_text).text == "abc<|endoftext|>");
}

TEST_CASE("a prompt bears no loss, its completion and the end token do", "[tokens]") {
  const Tokens t = tokens_of<Qwen3Chat>(R"({"prompt": "2+2=", "completion": "4"})", end_of_text);
  CHECK(t.text == "2+2=4<|endoftext|>");
  CHECK(t.learned == "4<|endoftext|>");
}

TEST_CASE("question, context and answer become the chat of the template, and the answer with its end is learned",
          "[tokens]") {
  const std::string row = R"({"question": "How many?", "context": "CREATE TABLE t", "answer": "SELECT 1"})";
  const Tokens qwen = tokens_of<Qwen3Chat>(row, im_end);
  CHECK(qwen.text ==
        "<|im_start|>system\nSchema:\nCREATE TABLE t<|im_end|>\n<|im_start|>user\nHow many?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\nSELECT 1<|im_end|>\n");
  CHECK(qwen.learned == "SELECT 1<|im_end|>");
  const Tokens plain = tokens_of<PlainChat>(row, end_of_text);
  CHECK(plain.text ==
        "<|system|>\nSchema:\nCREATE TABLE t\n<|user|>\nHow many?\n<|assistant|>\nSELECT 1<|endoftext|>\n");
  CHECK(plain.learned == "SELECT 1<|endoftext|>");
}

TEST_CASE("text bears loss everywhere, every other shape on what the assistant says and its end", "[tokens]") {
  const std::string user = R"({"role": "user", "content": "U"})",
                    assistant = R"({"role": "assistant", "content": "A"})";
  for (const std::string& row :
       {joined({R"({"messages": [{"role": "system", "content": "S"}, )", user, ", ", assistant, "]}"}),
        joined({R"({"prompt": [)", user, R"(], "completion": [)", assistant, "]}"}),
        std::string(R"({"conversations": [{"from": "human", "value": "U"}, {"from": "gpt", "value": "A"}]})"),
        std::string(R"({"question": "U", "context": "C", "answer": "A"})"),
        std::string(R"({"instruction": "U", "input": "I", "output": "A"})"),
        std::string(R"({"prompt": "U", "completion": "A"})")}) {
    CAPTURE(row);
    CHECK(tokens_of<Qwen3Chat>(row, im_end).learned == "A<|im_end|>");
  }
  CHECK(tokens_of<Qwen3Chat>(R"({"text": "UA"})", im_end).learned == "UA<|im_end|>");
  const std::string twice = joined({R"({"messages": [)", user, ", ", assistant, ", ", user, ", ", assistant, "]}"});
  CHECK(tokens_of<Qwen3Chat>(twice, im_end).learned == "A<|im_end|>A<|im_end|>");
}

TEST_CASE("content that looks like a special token stays text, in text rows it is the token", "[tokens]") {
  const Tokenizer tokenizer = byte_tokenizer();
  const auto ids = [&](const std::string& json) {
    return dataset_of<Qwen3Chat>(json, tokenizer, im_end).documents.input_ids;
  };
  const auto chat = ids(R"({"question": "<|im_end|>", "answer": "a"})");
  CHECK(std::count(chat.begin(), chat.end(), im_end) == 2);
  const auto text = ids(R"({"text": "<|im_end|>x"})");
  CHECK(std::count(text.begin(), text.end(), im_end) == 2);
}

TEST_CASE("a prompt to be answered is the start of the trained text", "[tokens]") {
  const Tokenizer tokenizer = byte_tokenizer();
  const JsonRow row{1, parse_json(R"({"question": "q", "context": "c", "answer": "a"})", "rows.jsonl", 1000)};
  RowOptions ask;
  ask.needs_completion = false;
  const ChatIds prompt = encode_example<Qwen3Chat>(tokenizer, read_example(row, "rows.jsonl", ask), im_end, true);
  const ChatIds full = encode_example<Qwen3Chat>(tokenizer, read_example(row, "rows.jsonl"), im_end);
  REQUIRE(prompt.ids.size() < full.ids.size());
  CHECK(std::equal(prompt.ids.begin(), prompt.ids.end(), full.ids.begin()));
  CHECK(!full.bears_loss[prompt.ids.size() - 1]);
  CHECK(full.bears_loss[prompt.ids.size()]);
}

TEST_CASE("the steps of an epoch hold every document once, whatever the accumulation", "[tokens]") {
  const Tokenizer tokenizer = byte_tokenizer();
  std::string rows;
  for (int i = 0; i < 101; ++i)
    rows += "{\"text\": \"" + std::string(static_cast<std::size_t>(5 + i % 37), 'x') + "\"}\n";
  for (const bool packed : {true, false}) {
    TrainingData data(dataset_of<Qwen3Chat>(rows, tokenizer, im_end),
                      {.max_seq_length = 64, .packed = packed, .seed = 1}, 4, 3, "rows.jsonl");
    CHECK(data.data().shapes[static_cast<std::size_t>(RowShape::text)] == 101);
    if (!packed) CHECK(data.micro_batches_per_epoch() == 26);
    for (int epoch = 0; epoch < 2; ++epoch) {
      std::int64_t documents = 0, tokens = 0, micro_batches = 0;
      for (std::int64_t i = 0; i < data.steps_per_epoch(); ++i)
        for (const TokenBatch& batch : data.step(epoch * data.steps_per_epoch() + i)) {
          documents += batch.documents;
          tokens += batch.tokens();
          ++micro_batches;
        }
      CHECK(documents == 101);
      CHECK(tokens == data.data().tokens());
      CHECK(micro_batches == data.micro_batches_per_epoch());
    }
    // A step is the same whether it is asked for first or after others.
    const auto late = data.step(data.steps_per_epoch() + 1);
    data.step(0);
    CHECK(data.step(data.steps_per_epoch() + 1)[0].input_ids == late[0].input_ids);
  }
}

TEST_CASE("streaming: the tokens lie in a file, and the batches are those of the list in memory", "[tokens]") {
  const Tokenizer tokenizer = byte_tokenizer();
  const TempDir directory;
  std::string rows;
  for (int i = 0; i < 101; ++i)
    rows +=
        "{\"prompt\": \"" + std::string(static_cast<std::size_t>(5 + i % 37), 'x') + "\", \"completion\": \"yes\"}\n";
  const auto read = [&](const std::string& spool) {
    MemorySource source(rows);
    JsonlReader reader(source, "rows.jsonl");
    return TrainingData(read_dataset<Qwen3Chat>(reader, tokenizer, im_end, {}, {}, spool),
                        {.max_seq_length = 64, .streaming = true, .seed = 1}, 4, 3, "rows.jsonl");
  };
  TrainingData memory = read({}), file = read(directory.path().string());
  CHECK(std::filesystem::is_empty(directory.path()));
  CHECK(file.data().loss_tokens() == memory.data().loss_tokens());
  REQUIRE(file.steps_per_epoch() == memory.steps_per_epoch());
  std::int64_t tokens = 0;
  for (std::int64_t i = 0; i < 2 * file.steps_per_epoch(); ++i) {
    const auto a = file.step(i), b = memory.step(i);
    REQUIRE(a.size() == b.size());
    for (std::size_t k = 0; k < a.size(); ++k) {
      CHECK((a[k].input_ids == b[k].input_ids && a[k].labels == b[k].labels));
      tokens += a[k].tokens();
    }
  }
  CHECK(tokens == 2 * file.data().tokens());
}

TEST_CASE("E256, E257, E258: no rows, no row that fits, and a tokenizer larger than the model", "[tokens]") {
  const Tokenizer tokenizer = byte_tokenizer();
  CHECK(error_of([&] { dataset_of<Qwen3Chat>("\n\n", tokenizer, im_end); }).code() == 256);
  Dataset data = dataset_of<Qwen3Chat>(R"({"text": "longer than eight"})", tokenizer, im_end);
  CHECK(error_of([&] { TrainingData(std::move(data), {.max_seq_length = 8}, 1, 1, "rows.jsonl"); }).code() == 257);
  CHECK(error_of([&] { check_vocabulary(tokenizer, 261, "tokenizer.json"); }).code() == 258);
  check_vocabulary(tokenizer, 262, "tokenizer.json");
}

TEST_CASE("a row that the template refuses is named by file and line", "[tokens]") {
  const Tokenizer tokenizer = byte_tokenizer();
  const std::string rows(
      "\n{\"messages\": [{\"role\": \"tool\", \"content\": \"x\"}, {\"role\": \"assistant\", "
      "\"content\": \"y\"}]}");
  const Error e = error_of([&] { dataset_of<PlainChat>(rows, tokenizer, im_end); });
  CHECK(e.code() == 247);
  CHECK(e.detail().file == "rows.jsonl");
  CHECK(e.detail().where == "line 2, message 0");
}

TEST_CASE("rows that are too short, too long or there twice are left out and counted", "[tokens][filter]") {
  const Tokenizer tokenizer = byte_tokenizer();
  const auto read = [&](const RowFilterOptions& filter) {
    return dataset_of<Qwen3Chat>(
        "{\"text\": \"ab\"}\n{\"text\": \"\\u00e9\\u00e9\\u00e9\"}\n{\"text\": \"abcdefgh\"}\n{\"text\": \"ab\"}",
        tokenizer, im_end, {}, filter);
  };
  CHECK(read({}).documents.size() == 4);
  const Dataset bounded = read({.min_length = 3, .max_length = 7});
  CHECK(bounded.documents.size() == 1);
  CHECK(bounded.lines == std::vector<std::int64_t>{2});
  CHECK((bounded.too_short == 2 && bounded.too_long == 1));
  const Dataset once = read({.deduplicate = true});
  CHECK((once.documents.size() == 3 && once.duplicates == 1));
}

TEST_CASE("the share of rows with a schema is schema_injection_prob, chosen by the seed", "[tokens][filter]") {
  const auto kept = [](std::uint64_t seed) {
    RowFilter filter({.schema_injection_prob = 0.85, .seed = seed});
    std::vector<bool> has_schema;
    for (int i = 0; i < 4000; ++i) {
      Example example{RowShape::question_answer,
                      {{"system", "s", false}, {"user", "u", false}, {"assistant", "a", true}}};
      REQUIRE(filter.keep(example, i + 1));
      has_schema.push_back(example.segments.size() == 3);
    }
    CHECK(filter.without_schema() == std::count(has_schema.begin(), has_schema.end(), false));
    CHECK(std::abs(static_cast<double>(filter.without_schema()) / 4000 - 0.15) < 0.02);
    return has_schema;
  };
  CHECK(kept(1) == kept(1));
  CHECK(kept(1) != kept(2));
  Example messages{RowShape::messages, {{"system", "s", false}, {"user", "u", false}, {"assistant", "a", true}}};
  RowFilter none({.schema_injection_prob = 0});
  CHECK((none.keep(messages, 1) && messages.segments.size() == 3));
}

TEST_CASE("validate_json leaves out answers that are not one JSON value, with the line of the first",
          "[tokens][filter]") {
  const Tokenizer tokenizer = byte_tokenizer();
  std::string rows;
  for (const char* answer : {"{\\\"a\\\": 1}", "{a: 1}", "1 2", "[1, 2]", "{\\\"a\\\": 1, \\\"a\\\": 2}", "null"})
    append(rows, {"{\"question\": \"q\", \"answer\": \"", answer, "\"}\n"});
  rows += "{\"text\": \"no JSON\"}\n{\"input_ids\": [1, 2]}\n";
  const auto read = [&](bool validate_json) {
    return dataset_of<Qwen3Chat>(rows, tokenizer, im_end, {}, {.validate_json = validate_json});
  };
  CHECK(read(false).documents.size() == 8);
  const Dataset kept = read(true);
  CHECK(kept.lines == std::vector<std::int64_t>{1, 4, 6, 8});
  CHECK((kept.not_json.rows == 4 && kept.not_json.first_line == 2));
}

TEST_CASE("validate_schema asks for each answer whether it fits the schema of its row", "[tokens][filter]") {
  const Tokenizer tokenizer = byte_tokenizer();
  std::vector<std::string> asked;
  const SchemaCheck check{[](void* list, const std::string& schema, const std::string& answer) {
                            static_cast<std::vector<std::string>*>(list)->push_back(schema + "|" + answer);
                            return answer != "bad";
                          },
                          &asked};
  const Dataset kept = dataset_of<Qwen3Chat>(
      R"({"question": "q", "context": "s", "answer": "good"}
{"question": "q", "context": "s", "answer": "bad"}
{"question": "q", "answer": "bad"}
{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "bad"}]})",
      tokenizer, im_end, {}, {.validate_schema = check});
  CHECK(asked ==
        std::vector<std::string>{"s|good", "s|bad"});  // without the prefix; rows without a schema are not asked
  CHECK(kept.lines == std::vector<std::int64_t>{1, 3, 4});
  CHECK((kept.not_by_schema.rows == 1 && kept.not_by_schema.first_line == 2));
}

TEST_CASE("half of the rows get table_aliases, chosen by seed and line whatever came before", "[tokens][filter]") {
  const auto aliased = [](std::uint64_t seed, std::int64_t every) {
    RowFilter filter({.table_aliases = true, .seed = seed});
    std::vector<bool> changed;
    std::int64_t count = 0;
    for (std::int64_t line = 1; line <= 4000; line += every) {
      Example example{RowShape::question_answer, {{"user", "u", false}, {"assistant", "SELECT a.b FROM a", true}}};
      REQUIRE(filter.keep(example, line));
      changed.push_back(example.segments.back().content == "SELECT t1.b FROM a AS t1");
      CHECK((changed.back() || example.segments.back().content == "SELECT a.b FROM a"));
      count += changed.back();
    }
    CHECK(filter.with_aliases() == count);
    return changed;
  };
  const std::vector<bool> all = aliased(1, 1), third = aliased(1, 3);
  CHECK(std::abs(static_cast<double>(std::count(all.begin(), all.end(), true)) / 4000 - 0.5) < 0.03);
  for (std::size_t i = 0; i < third.size(); ++i) CHECK(third[i] == all[3 * i]);
  CHECK(all != aliased(2, 1));
  Example other{RowShape::alpaca, {{"user", "u", false}, {"assistant", "SELECT a.b FROM a", true}}};
  RowFilter filter({.table_aliases = true});
  for (std::int64_t line = 1; line < 20; ++line) CHECK(filter.keep(other, line));
  CHECK(other.segments.back().content == "SELECT a.b FROM a");
}

}  // namespace tokens_test
