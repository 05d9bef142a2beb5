// The two ways of rows into a batch: packed, and one document a row with padding (tokens.hpp). Same loss, same
// gradient.
#include <cmath>

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/policy/assemble.hpp"
#include "expert/tokens.hpp"
#include "expert/trainer.hpp"
#include "small_model.hpp"

namespace row_paths_test {
using namespace expert;

namespace {

using tests::SmallModel;
using Small = Expert<SmallModel, Compute<f32>, Packing<32>, Batch<2>, DoRA<4>>;
const std::string model_directory = std::string(EXPERT_SOURCE_DIR) + "/tests/parity/data/model";

// 9 documents of 3 to 13 tokens; about half of the tokens bear loss.
Dataset documents() {
  const RandomStream random(5, Purpose::augment);
  Dataset data;
  std::uint64_t draw = 0;
  for (std::int64_t d = 0; d < 9; ++d) {
    std::vector<std::int32_t> ids;
    std::vector<std::uint8_t> loss;
    const std::uint32_t length = 3 + random.below(draw++, 11);
    for (std::uint32_t i = 0; i < length; ++i) {
      ids.push_back(static_cast<std::int32_t>(random.below(draw++, 512)));
      loss.push_back(i + 1 == length || random.below(draw++, 2) == 0);
    }
    data.documents.add(ids, loss);
    data.lines.push_back(d + 1);
  }
  data.shapes[static_cast<std::size_t>(RowShape::text)] = 9;
  return data;
}

// The whole epoch as one optimizer step.
TrainingData one_step(const Dataset& data, bool packed) {
  return TrainingData(data, {.max_seq_length = 32, .packed = packed, .seed = 3}, 2, 100, "rows.jsonl");
}

struct Step {
  double loss = 0;
  std::vector<float> gradients;
};
Step step_of(const std::vector<TokenBatch>& batches) {
  CpuDevice device(1);
  const auto weights = load_weights<Small>(model_directory, device);
  Trainer<Small> trainer(device, weights, {});
  const RandomStream random(11, Purpose::init_lora_a);  // B starts at zero, where many gradients vanish
  for (std::int64_t i = 0; i < trainable_parameters<Small>; ++i)
    trainer.parameters()[i] += 0.05f * (2 * random.uniform(static_cast<std::uint64_t>(i)) - 1);
  trainer.parameters_changed();
  std::int64_t labels = 0;
  for (const TokenBatch& batch : batches) labels += batch.loss_tokens();
  Step step;
  trainer.clear_gradients();
  for (const TokenBatch& batch : batches)
    step.loss += trainer.accumulate(batch, 1 / static_cast<float>(labels)) / static_cast<double>(labels);
  step.gradients.assign(trainer.gradients(), trainer.gradients() + trainable_parameters<Small>);
  return step;
}

// |a - b| / |b| over all gradients.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = a[i], y = b[i];
    difference += (x - y) * (x - y);
    norm += y * y;
  }
  REQUIRE(norm > 0);
  return std::sqrt(difference / norm);
}

// The rectangle that transformers' padding collator makes: every row as long as the longest, pads at the right, which
// see and are seen by nobody and bear no loss.
TokenBatch padded(const TokenBatch& batch) {
  std::int64_t width = 0;
  for (std::int64_t row = 0; row < batch.rows(); ++row)
    width = std::max(
        width, batch.row_begin[static_cast<std::size_t>(row) + 1] - batch.row_begin[static_cast<std::size_t>(row)]);
  TokenBatch out;
  out.documents = batch.documents;
  out.row_begin.push_back(0);
  for (std::int64_t row = 0; row < batch.rows(); ++row) {
    const auto begin = batch.row_begin[static_cast<std::size_t>(row)];
    const auto length = batch.row_begin[static_cast<std::size_t>(row) + 1] - begin;
    const auto start = static_cast<std::int32_t>(out.tokens());
    for (std::int64_t i = 0; i < width; ++i) {
      const auto from = static_cast<std::size_t>(begin + i), at = static_cast<std::size_t>(out.tokens());
      const bool pad = i >= length;
      const auto position = static_cast<std::int32_t>(i), here = static_cast<std::int32_t>(at);
      out.input_ids.push_back(pad ? 0 : batch.input_ids[from]);
      out.labels.push_back(pad ? ignore_index : batch.labels[from]);
      out.positions.push_back(position);
      out.keys.push_back({0, 0, pad ? here : start, here + 1});
    }
    out.row_begin.push_back(out.tokens());
  }
  return out;
}

Dataset read(const std::string& rows, const Tokenizer& tokenizer) {
  MemorySource source(rows);
  JsonlReader reader(source, "rows.jsonl");
  return read_dataset<Qwen3Chat>(reader, tokenizer, std::nullopt);
}

// Printable bytes stand for themselves: enough for ASCII text without spaces.
Tokenizer small_tokenizer() {
  Json vocabulary = Json::object();
  int next = 256;
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
  Json file = Json::object();
  file.set("version", "1.0")
      .set("added_tokens", Json::array())
      .set("normalizer", nullptr)
      .set("pre_tokenizer",
           Json::object().set("type", "ByteLevel").set("add_prefix_space", false).set("use_regex", false))
      .set("decoder", Json::object().set("type", "ByteLevel"))
      .set("model", Json::object().set("type", "BPE").set("vocab", std::move(vocabulary)).set("merges", Json::array()));
  return Tokenizer::parse(file.dump(), "tokenizer.json");
}

std::string ids_of(const std::string& text, const std::string& more = "") {
  std::string list;
  for (const char c : text) append(list, {list.empty() ? "" : ", ", static_cast<int>(static_cast<unsigned char>(c))});
  return joined({"{\"input_ids\": [", list, "]", more, "}\n"});
}

}  // namespace

TEST_CASE("packed, one document a row, and padded rectangles have the same loss and gradients", "[row_paths]") {
  const Dataset data = documents();
  TrainingData packed = one_step(data, true), alone = one_step(data, false);
  CHECK((packed.path() == RowPath::packed && alone.path() == RowPath::padded));
  CHECK((packed.packed().rows.size() < 5 && alone.packed().rows.size() == 9));
  CHECK((packed.steps_per_epoch() == 1 && alone.steps_per_epoch() == 1));
  std::vector<TokenBatch> rectangles;
  for (const TokenBatch& batch : alone.step(0)) rectangles.push_back(padded(batch));

  const Step a = step_of(packed.step(0)), b = step_of(alone.step(0)), c = step_of(rectangles);
  CAPTURE(a.loss, b.loss, c.loss);
  CHECK(std::abs(a.loss - b.loss) < 1e-6);
  CHECK(std::abs(c.loss - b.loss) < 1e-6);
  CHECK(distance(a.gradients, b.gradients) < 1e-5);
  CHECK(distance(c.gradients, b.gradients) < 1e-5);
  // The test can tell: documents that see their neighbours in the row have another loss.
  auto leaking = packed.step(0);
  for (TokenBatch& batch : leaking)
    for (std::size_t row = 0; row + 1 < batch.row_begin.size(); ++row)
      for (auto i = batch.row_begin[row]; i < batch.row_begin[row + 1]; ++i)
        batch.keys[static_cast<std::size_t>(i)].d0 = static_cast<std::int32_t>(batch.row_begin[row]);
  CHECK(std::abs(step_of(leaking).loss - a.loss) > 1e-3);
}

TEST_CASE("the fill of the padded path is the share of the rectangles that holds tokens", "[row_paths]") {
  const Dataset data = documents();
  TrainingData alone = one_step(data, false);
  double tokens = 0, places = 0;
  for (const TokenBatch& batch : alone.step(0)) {
    tokens += static_cast<double>(batch.tokens());
    places += static_cast<double>(padded(batch).tokens());
  }
  CHECK(alone.fill() == tokens / places);
  CHECK(alone.fill() < 1);
  TrainingData packed = one_step(data, true);
  CHECK(packed.fill() == tokens / static_cast<double>(32 * packed.packed().rows.size()));
}

TEST_CASE("rows of ids train as the same rows of text, one document a row", "[row_paths]") {
  const Tokenizer tokenizer = small_tokenizer();
  std::string text, ids;
  for (const char* line : {"abcdef", "SELECT", "gh", "x=1,y=2,z", "0123456789"}) {
    append(text, {"{\"text\": \"", line, "\"}\n"});
    ids += ids_of(line);
  }
  const Dataset from_text = read(text, tokenizer), from_ids = read(ids, tokenizer);
  CHECK(from_ids.documents.input_ids == from_text.documents.input_ids);
  CHECK(from_ids.shapes[static_cast<std::size_t>(RowShape::input_ids)] == 5);
  TrainingData a = one_step(from_text, true), b = one_step(from_ids, true);
  CHECK(a.path() == RowPath::packed);
  CHECK(a.path_reason() == "all rows have text");
  CHECK(b.path() == RowPath::padded);
  CHECK(b.path_reason() == "5 rows have input_ids and no text, the first in line 1");
  CHECK(b.packed().rows.size() == 5);
  const Step x = step_of(a.step(0)), y = step_of(b.step(0));
  CHECK(std::abs(x.loss - y.loss) < 1e-6);
  CHECK(distance(x.gradients, y.gradients) < 1e-5);
}

TEST_CASE("one row of ids sends its whole file down the padded path", "[row_paths]") {
  const Tokenizer tokenizer = small_tokenizer();
  TrainingData mixed = one_step(read("{\"text\": \"ab\"}\n\n{\"text\": \"cd\"}\n" + ids_of("ef"), tokenizer), true);
  CHECK(mixed.path() == RowPath::padded);
  CHECK(mixed.path_reason() == "1 rows have input_ids and no text, the first in line 4");
  CHECK(mixed.packed().rows.size() == 3);
  TrainingData both = one_step(read("{\"text\": \"ab\", \"input_ids\": [1, 2]}\n", tokenizer), true);
  CHECK(both.path() == RowPath::packed);  // where there is text, the text is tokenised
  CHECK(one_step(read("{\"text\": \"ab\"}\n", tokenizer), false).path_reason() == "the manifest says packing: false");
}

TEST_CASE("padding is dropped; labels, completion_mask and attention_mask say what bears loss", "[row_paths]") {
  const Tokenizer tokenizer = small_tokenizer();
  const auto loss_of = [&](const std::string& more) {
    const Dataset data = read(ids_of("abcd", more), tokenizer);
    std::string marks;
    for (std::size_t i = 0; i < data.documents.input_ids.size(); ++i) {
      const char c = static_cast<char>(data.documents.input_ids[i]);
      marks += data.documents.bears_loss[i] ? static_cast<char>(c - 'a' + 'A') : c;
    }
    return marks;
  };
  CHECK(loss_of("") == "ABCD");
  CHECK(loss_of(R"(, "labels": null, "attention_mask": [1, 1, 1, 1])") == "ABCD");
  CHECK(loss_of(R"(, "labels": [-100, -100, 99, 100])") == "abCD");
  CHECK(loss_of(R"(, "completion_mask": [0, 1, 1, 1])") == "aBCD");
  CHECK(loss_of(R"(, "completion_mask": [0, 0, 1, 1], "labels": [97, 98, 99, -100])") == "abCd");
  CHECK(loss_of(R"(, "attention_mask": [1, 1, 1, 0])") == "ABC");
  CHECK(loss_of(R"(, "attention_mask": [0, 1, 1, 0], "labels": [-100, 98, -100, 100])") == "Bc");
}

TEST_CASE("E255: ids, labels and masks that cannot be used are named by file, line and field", "[row_paths]") {
  const Tokenizer tokenizer = small_tokenizer();
  for (const auto& [row, where] : {
           std::pair<const char*, const char*>{R"({"input_ids": "abc"})", "/input_ids"},
           {R"({"input_ids": []})", "/input_ids"},
           {R"({"input_ids": null})", "/input_ids"},
           {R"({"input_ids": [1, -1]})", "/input_ids/1"},
           {R"({"input_ids": [1, 2.0]})", "/input_ids/1"},
           {R"({"input_ids": [1, 2.5]})", "/input_ids/1"},
           {R"({"input_ids": [1, "2"]})", "/input_ids/1"},
           {R"({"input_ids": [[1]]})", "/input_ids/0"},
           {R"({"input_ids": [256]})", "/input_ids/0"},
           {R"({"input_ids": [99999999999]})", "/input_ids/0"},
           {R"({"input_ids": [1, 2], "labels": [1]})", "/labels"},
           {R"({"input_ids": [1, 2], "labels": [1, 2, 3]})", "/labels"},
           {R"({"input_ids": [1, 2], "labels": [1, -101]})", "/labels/1"},
           {R"({"input_ids": [1, 2], "labels": [1, 3]})", "/labels/1"},
           {R"({"input_ids": [1, 2], "labels": [1, true]})", "/labels/1"},
           {R"({"input_ids": [1, 2], "attention_mask": [1, 2]})", "/attention_mask/1"},
           {R"({"input_ids": [1, 2], "attention_mask": [0, 0]})", "/input_ids"},
           {R"({"input_ids": [1, 2, 3], "attention_mask": [1, 0, 1]})", "/attention_mask/1"},
           {R"({"input_ids": [1, 2], "completion_mask": [1, -1]})", "/completion_mask/1"},
           {R"({"input_ids": [1, 2], "completion_mask": {}})", "/completion_mask"},
       }) {
    CAPTURE(row);
    const std::string rows = joined({"{\"text\": \"x\"}\n", row, "\n"});
    const Error e = error_of([&] { read(rows, tokenizer); });
    CHECK(e.code() == 255);
    CHECK(e.detail().file == "rows.jsonl");
    CHECK(e.detail().where == joined({"line 2, ", where}));
  }
}

TEST_CASE("rows of ids that are too long are counted with their lines, and filtered only for being there twice",
          "[row_paths]") {
  const Tokenizer tokenizer = small_tokenizer();
  const std::string rows = ids_of("abc") + ids_of(std::string(33, 'x')) + ids_of(std::string(32, 'y')) + ids_of("abc");
  TrainingData data = one_step(read(rows, tokenizer), true);
  REQUIRE(data.packed().over_long.size() == 1);
  CHECK(data.data().lines[static_cast<std::size_t>(data.packed().over_long[0])] == 2);
  CHECK(data.packed().tokens == 3 + 32 + 3);
  MemorySource source(rows);
  JsonlReader reader(source, "rows.jsonl");
  const Dataset once =
      read_dataset<Qwen3Chat>(reader, tokenizer, std::nullopt, {}, {.min_length = 10, .deduplicate = true});
  CHECK((once.documents.size() == 3 && once.duplicates == 1 && once.too_short == 0));
}

TEST_CASE("ids without one that bears loss cannot be trained on: E257", "[row_paths]") {
  const Tokenizer tokenizer = small_tokenizer();
  Dataset data = read(ids_of("ab", ", \"labels\": [-100, -100]"), tokenizer);
  CHECK(error_of([&] { one_step(data, true); }).code() == 257);
}

}  // namespace row_paths_test
