// The trainer apart from its parity: dropout, sub-batches, threads, the memory plan seen from outside, refused batches.
#include "expert/trainer.hpp"

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/policy/assemble.hpp"
#include "small_model.hpp"

namespace trainer_test {
using namespace expert;

namespace {

using tests::SmallModel;
const std::string model_directory = EXPERT_SOURCE_DIR "/tests/parity/data/model";

template <class... Ps>
using Small = With<Expert<SmallModel, Compute<f32>, Packing<32>, Batch<2>, DoRA<4>>, Ps...>;

// `rows` rows of 32 tokens: documents of 5 to 13 tokens, all but the first two of each bearing loss (or all of them).
TokenBatch batch_of_documents(std::int64_t rows, bool all_bear_loss = false) {
  const RandomStream random(7, Purpose::shuffle);
  TokenBatch batch;
  batch.row_begin.push_back(0);
  std::uint64_t draw = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    std::int32_t left = 32;
    while (left > 0) {
      const auto length = std::min<std::int32_t>(left, 5 + static_cast<std::int32_t>(random.below(draw++, 9)));
      const auto first = static_cast<std::int32_t>(batch.tokens());
      for (std::int32_t i = 0; i < length; ++i) {
        batch.input_ids.push_back(static_cast<std::int32_t>(random.below(draw++, 512)));
        batch.positions.push_back(i);
        batch.keys.push_back({0, 0, first, first + i + 1});
        const bool bears = all_bear_loss || (i >= 2 && i + 1 < length);
        batch.labels.push_back(bears ? static_cast<std::int32_t>(random.below(draw++, 512)) : ignore_index);
      }
      left -= length;
      ++batch.documents;
    }
    batch.row_begin.push_back(batch.tokens());
  }
  return batch;
}

// B starts at zero, where many gradients vanish: every parameter gets a value of its own.
template <class E>
void scatter(Trainer<E>& trainer, float size) {
  const RandomStream random(11, Purpose::init_lora_a);
  for (std::int64_t i = 0; i < trainable_parameters<E>; ++i)
    trainer.parameters()[i] += size * (2 * random.uniform(static_cast<std::uint64_t>(i)) - 1);
  trainer.parameters_changed();
}

template <class E>
double loss_at(Trainer<E>& trainer, const TokenBatch& batch) {
  trainer.clear_gradients();
  return trainer.accumulate(batch, 1 / static_cast<float>(batch.loss_tokens())) /
         static_cast<double>(batch.loss_tokens());
}

// The largest gradient of each tensor against the central difference of the loss. DoRA's norm is a constant in
// backward, so with DoRA only the magnitudes have a gradient that the loss shows.
template <class E>
void check_gradients(Trainer<E>& trainer, const TokenBatch& batch) {
  loss_at(trainer, batch);
  const std::vector<float> gradients(trainer.gradients(), trainer.gradients() + trainable_parameters<E>);
  for (const NamedSlice& slice : Trainer<E>::slices()) {
    if (E::adapter::is_dora && !slice.name.ends_with("magnitude_vector")) continue;
    const auto begin = gradients.begin() + slice.offset;
    const auto at =
        std::max_element(begin, begin + slice.size, [](float a, float b) { return std::abs(a) < std::abs(b); });
    float& p = trainer.parameters()[at - gradients.begin()];
    const float before = p, h = 4e-3f;
    p = before + h;
    trainer.parameters_changed();
    const double up = loss_at(trainer, batch);
    p = before - h;
    trainer.parameters_changed();
    const double down = loss_at(trainer, batch);
    p = before;
    trainer.parameters_changed();
    const double difference = (up - down) / (2 * double{h});
    INFO(slice.name << ": gradient " << *at << ", difference quotient " << difference);
    CHECK(std::abs(difference - double{*at}) <= 0.02 * std::abs(double{*at}) + 2e-4);
  }
}

}  // namespace

TEST_CASE("gradients with dropout are those of the loss with the same masks", "[trainer]") {
  CpuDevice device(2);
  const TokenBatch batch = batch_of_documents(2);
  const auto run = [&]<class E>(std::type_identity<E>, float dropout) {
    const auto weights = load_weights<E>(model_directory, device);
    TrainerOptions options;
    options.dropout = dropout;
    Trainer<E> trainer(device, weights, options);
    scatter(trainer, 0.05f);
    check_gradients(trainer, batch);
  };
  SECTION("LoRA on all seven targets") { run(std::type_identity<Small<LoRA<4, 8, AllSevenTargets>>>{}, 0.3f); }
  SECTION("DoRA with its second base product") {
    run(std::type_identity<Small<DoRAWithDropout<4, 8, AllSevenTargets>>>{}, 0.3f);
  }
  SECTION("without dropout") { run(std::type_identity<Small<LoRA<4, 8, AllSevenTargets>>>{}, 0.0f); }
  SECTION("the same policy at dropout 0") { run(std::type_identity<Small<DoRAWithDropout<4>>>{}, 0.0f); }
}

TEST_CASE("DoRA with dropout computes PEFT's formula", "[trainer]") {
  using E = Small<DoRAWithDropout<4>>;
  CpuDevice device(2);
  const auto weights = load_weights<E>(model_directory, device);
  TrainerOptions options;
  options.dropout = 0.25f;
  Trainer<E> trainer(device, weights, options);
  scatter(trainer, 0.05f);
  const TokenBatch batch = batch_of_documents(1);
  trainer.forward(batch, 0, batch.tokens());
  const LayerBuffers<E> b = trainer.layer(0);
  const auto at = AdapterLayout<E>::at(0, Projection::q_proj);
  const float* p = trainer.parameters();
  const auto* w = static_cast<const float*>(weights.view().layers[0][Projection::q_proj].data);
  const AdapterView<E> seeds{.dropout = options.dropout, .seed = options.seed};
  const DropoutMask mask = detail::dropout_mask<E>(seeds, TokenView{}, 0, Projection::q_proj);
  double worst = 0;
  std::int64_t zeros = 0;
  for (std::int64_t t = 0; t < 5; ++t)
    for (std::int64_t i = 0; i < 128; ++i) {
      double base = 0, dropped = 0, norm = 0, low_rank = 0;
      for (std::int64_t j = 0; j < 64; ++j) {
        const double x = double{b.input_norm[t * 64 + j]}, x_d = x * double{mask(t, 64, j)};
        double ba = 0;
        for (std::int64_t r = 0; r < 4; ++r) ba += double{p[at.b + i * 4 + r]} * double{p[at.a + r * 64 + j]};
        zeros += x_d == 0;
        base += double{w[i * 64 + j]} * x;
        dropped += double{w[i * 64 + j]} * x_d;
        low_rank += 2 * ba * x_d;
        norm += (double{w[i * 64 + j]} + 2 * ba) * (double{w[i * 64 + j]} + 2 * ba);
      }
      const double c = double{p[at.magnitude + i]} / std::sqrt(norm);
      worst = std::max(worst, std::abs(base + (c - 1) * dropped + c * low_rank - double{b.q[t * 128 + i]}));
    }
  CHECK(worst < 1e-4);
  CHECK(zeros > 128 * 5 * 64 / 8);  // the mask is really there
  CHECK(zeros < 128 * 5 * 64 / 2);
}

TEST_CASE("dropout on DoRA without its policy is refused", "[trainer]") {
  CpuDevice device(1);
  const auto weights = load_weights<Small<>>(model_directory, device);
  TrainerOptions options;
  options.dropout = 0.1f;
  CHECK(error_of([&] { Trainer<Small<>> trainer(device, weights, options); }).code() == 304);
}

TEST_CASE("sub-batches give the gradient of the whole batch", "[trainer]") {
  using Whole = Small<Batch<4>>;
  using Rows = Small<Batch<4>, Budget<TrainingPlan<Whole>::bytes(2 * 32)>>;
  STATIC_REQUIRE(TrainingPlan<Whole>::sub_batch_rows == 4);
  STATIC_REQUIRE(TrainingPlan<Rows>::sub_batch_rows == 2);
  CpuDevice device(2);
  const TokenBatch batch = batch_of_documents(4);
  const auto weights = load_weights<Whole>(model_directory, device);
  const auto weights_of_rows = load_weights<Rows>(model_directory, device);
  Trainer<Whole> whole(device, weights, {});
  Trainer<Rows> rows(device, weights_of_rows, {});
  scatter(whole, 0.05f);
  scatter(rows, 0.05f);
  CHECK(loss_at(whole, batch) == Approx(loss_at(rows, batch)).epsilon(1e-7));
  float largest = 0, worst = 0;
  for (std::int64_t i = 0; i < trainable_parameters<Whole>; ++i) {
    largest = std::max(largest, std::abs(whole.gradients()[i]));
    worst = std::max(worst, std::abs(whole.gradients()[i] - rows.gradients()[i]));
  }
  CHECK(worst <= 1e-6f * largest);
}

TEST_CASE("the same bits at 1, 2, 3 and 8 threads", "[trainer]") {
  const auto trained = [](int threads) {
    CpuDevice device(threads);
    const auto weights = load_weights<Small<>>(model_directory, device);
    Trainer<Small<>> trainer(device, weights, {});
    const TokenBatch batch = batch_of_documents(2);
    for (int step = 0; step < 5; ++step) trainer.step({&batch, 1}, 1e-3);
    return std::vector<float>(trainer.parameters(), trainer.parameters() + trainable_parameters<Small<>>);
  };
  const std::vector<float> one = trained(1);
  for (const int threads : {2, 3, 8}) CHECK(trained(threads) == one);
}

TEST_CASE("every instruction set trains to the same losses", "[trainer]") {
  const TokenBatch batch = batch_of_documents(2);
  const auto last_loss = [&](Isa isa) {
    CpuDevice device(2, isa);
    const auto weights = load_weights<Small<>>(model_directory, device);
    Trainer<Small<>> trainer(device, weights, {});
    double loss = 0;
    for (int step = 0; step < 10; ++step) loss = trainer.step({&batch, 1}, 1e-3).loss;
    return loss;
  };
  const double scalar = last_loss(Isa::Scalar);
  for (const Isa isa : {Isa::Avx2, Isa::Avx512}) {
    if (!supports(cpu_features(), isa)) {
      WARN("skipped: this machine has no " << name_of(isa));
      continue;
    }
    CHECK(std::abs(last_loss(isa) - scalar) <= 1e-5 * scalar);
  }
}

TEST_CASE("the memory plan is what a step touches, to the last byte of every buffer", "[trainer][plan]") {
  const TokenBatch batch = batch_of_documents(2, true);
  const auto prove = [&]<class E>(std::type_identity<E>, float dropout) {
    using Plan = TrainingPlan<E>;
    CpuDevice device(2);
    const auto weights = load_weights<E>(model_directory, device);
    TrainerOptions options;
    options.dropout = dropout;
    Trainer<E> guarded(device, weights, options, Arena::Layout::guarded), packed(device, weights, options);
    scatter(guarded, 0.05f);
    scatter(packed, 0.05f);
    for (int step = 0; step < 2; ++step) {
      const StepResult a = guarded.step({&batch, 1}, 1e-3), b = packed.step({&batch, 1}, 1e-3);
      CHECK(a.loss == b.loss);  // nothing was read before it was written: the guarded arena starts as NaN
      CHECK(a.grad_norm == b.grad_norm);
    }
    const auto regions = Plan::regions(Plan::max_tokens);
    for (std::size_t i = 0; i < regions.size(); ++i) {
      INFO(regions[i].name);
      const bool unused = dropout == 0 && (i == Plan::dropped || i == Plan::dropped_rest || i == Plan::d_branch);
      CHECK(guarded.arena().touched_bytes(i) == (unused ? 0 : regions[i].bytes));
    }
  };
  SECTION("DoRA") { prove(std::type_identity<Small<>>{}, 0); }
  SECTION("LoRA with dropout") { prove(std::type_identity<Small<LoRA<4, 8, AllSevenTargets>>>{}, 0.1f); }
  SECTION("DoRA with dropout") { prove(std::type_identity<Small<DoRAWithDropout<4>>>{}, 0.1f); }
  SECTION("full fine-tuning") { prove(std::type_identity<Small<NoAdapter, FullFineTune>>{}, 0); }
  SECTION("full fine-tuning with Muon") { prove(std::type_identity<Small<NoAdapter, FullFineTune, Muon>>{}, 0); }
  SECTION("DoRA with Muon") { prove(std::type_identity<Small<Muon>>{}, 0); }
  SECTION("bf16") { prove(std::type_identity<Small<Compute<bf16>>>{}, 0); }
  SECTION("NF4 base") { prove(std::type_identity<Small<Int4Quant>>{}, 0); }
}

TEMPLATE_TEST_CASE("other documents of a row change no bit of a document's loss or gradients", "[trainer]", Small<>,
                   Small<Compute<bf16>>) {
  CpuDevice device(2);
  const auto weights = load_weights<TestType>(model_directory, device);
  Trainer<TestType> trainer(device, weights, {});
  scatter(trainer, 0.05f);
  const RandomStream random(21, Purpose::shuffle);
  std::uint64_t draw = 0;
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int32_t>(random.below(draw++, static_cast<std::uint32_t>(n)));
  };
  int unequal = 0, unmoved = 0;
  for (int trial = 0; trial < 500; ++trial) {
    std::vector<std::int32_t> begins{0};
    for (std::int32_t end = 0; end < 32; begins.push_back(end)) end = std::min(32, end + 1 + below(12));
    const auto document = static_cast<std::size_t>(below(std::ssize(begins) - 1));
    const std::int32_t begin = begins[document], end = begins[document + 1];
    if (end - begin < 2 || end - begin == 32) continue;
    TokenBatch batch;
    for (std::size_t d = 0; d + 1 < begins.size(); ++d)
      for (std::int32_t t = begins[d]; t < begins[d + 1]; ++t) {
        batch.input_ids.push_back(below(512));
        batch.positions.push_back(t - begins[d]);
        batch.keys.push_back({0, 0, begins[d], t + 1});
        batch.labels.push_back(d == document && t + 1 < end ? below(512) : ignore_index);
      }
    batch.row_begin = {0, 32};
    const auto gradients = [&](double& loss) {
      loss = loss_at(trainer, batch);
      return std::vector<float>(trainer.gradients(), trainer.gradients() + trainable_parameters<TestType>);
    };
    double loss, perturbed_loss, moved_loss;
    const std::vector<float> before = gradients(loss);
    for (std::int32_t t = 0; t < 32; ++t)
      if (t < begin || t >= end) batch.input_ids[static_cast<std::size_t>(t)] = below(512);
    unequal += gradients(perturbed_loss) != before || perturbed_loss != loss;
    batch.input_ids[static_cast<std::size_t>(begin)] ^= 1;
    unmoved += gradients(moved_loss) == before || moved_loss == loss;
  }
  CHECK(unequal == 0);
  CHECK(unmoved == 0);
}

TEST_CASE("training lowers the loss under every tuning, compute type and quantisation", "[trainer]") {
  const TokenBatch batch = batch_of_documents(2);
  const auto falls = [&]<class E>(std::type_identity<E>) {
    CpuDevice device(2);
    const auto weights = load_weights<E>(model_directory, device);
    Trainer<E> trainer(device, weights, {});
    const double before = trainer.evaluate(batch);
    for (int step = 0; step < 10; ++step) trainer.step({&batch, 1}, 2e-3);
    CHECK(trainer.evaluate(batch) < before - 0.2);
  };
  falls(std::type_identity<Small<Compute<bf16>>>{});
  falls(std::type_identity<Small<Int8Quant>>{});
  falls(std::type_identity<Small<Int4Affine<32>, Compute<bf16>>>{});
  falls(std::type_identity<Small<NoAdapter, FullFineTune>>{});
  falls(std::type_identity<Small<NoAdapter, FullFineTune, Muon>>{});
  falls(std::type_identity<Small<Muon>>{});
  falls(std::type_identity<Small<NoAdapter, FullFineTune, Compute<bf16>>>{});
}

TEST_CASE("batches that cannot be trained on are refused and change nothing", "[trainer]") {
  CpuDevice device(1);
  const auto weights = load_weights<Small<>>(model_directory, device);
  Trainer<Small<>> trainer(device, weights, {});
  const std::vector<float> before(trainer.parameters(), trainer.parameters() + trainable_parameters<Small<>>);
  const auto code_of = [&](const TokenBatch& batch) {
    return error_of([&] { trainer.step({&batch, 1}, 1e-3); }).code();
  };

  TokenBatch batch = batch_of_documents(2);
  batch.row_begin = {0, batch.tokens()};
  CHECK(code_of(batch) == 301);
  batch = batch_of_documents(1);
  batch.input_ids[3] = 512;
  CHECK(code_of(batch) == 302);
  batch = batch_of_documents(1);
  batch.labels[3] = -7;
  CHECK(code_of(batch) == 302);
  batch = batch_of_documents(1);
  batch.positions[3] = 32;
  CHECK(code_of(batch) == 302);
  batch = batch_of_documents(1);
  batch.keys[3].d1 = 33;
  CHECK(code_of(batch) == 302);
  batch = batch_of_documents(1);
  for (std::int32_t& label : batch.labels) label = ignore_index;
  CHECK(code_of(batch) == 309);
  CHECK(std::equal(before.begin(), before.end(), trainer.parameters()));

  trainer.parameters()[0] = std::numeric_limits<float>::quiet_NaN();
  trainer.parameters_changed();
  batch = batch_of_documents(1);
  const Error error = error_of([&] { trainer.step({&batch, 1}, 1e-3); });
  CHECK(error.code() == 303);
  CHECK(std::equal(before.begin() + 1, before.end(), trainer.parameters() + 1));
}

}  // namespace trainer_test
