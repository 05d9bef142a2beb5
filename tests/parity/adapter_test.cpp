// LoRA, rsLoRA and DoRA training against PEFT: logits, loss, first gradients, tensors after 1 and 10 steps, the
// trainer-like run, merged weights, and DoRA on an NF4 base.
#include "expert/adapter_file.hpp"
#include "support.hpp"

#include <filesystem>

namespace adapter_test {
using namespace parity;

namespace {

template <class E>
void run_fixture(const std::filesystem::path& base, const std::filesystem::path& adapter, const SafetensorsFile& file) {
  CpuDevice device(2);
  const auto weights = load_weights<E>(base, device);
  const TokenBatch batch = batch_of(file);
  const TrainerOptions options = fixture_options();
  Trainer<E> trainer(device, weights, options);
  set_adapter(trainer, adapter);
  check_close("logits", logits_of(device, trainer, batch).data(), floats(file, "logits"), f32_logits);
  CHECK(std::abs(trainer.evaluate(batch) - double{scalar(file, "loss")}) <= f32_loss);

  trainer.accumulate(batch, 1 / static_cast<float>(batch.loss_tokens()));
  compare_slices<E>(trainer.gradients(), file, "grad.", 0, first_gradients);
  trainer.clear_gradients();

  const auto losses = tensor(file, "losses").as<double>(), norms = tensor(file, "grad_norms").as<double>();
  for (std::size_t step = 0; step < losses.size(); ++step) {
    const StepResult result = trainer.step({&batch, 1}, options.optimizer.learning_rate);
    INFO("step " << step);
    CHECK(std::abs(result.loss - losses[step]) <= losses_of_10_steps);
    CHECK(std::abs(result.grad_norm - norms[step]) <= grad_norms * norms[step]);
    const std::string prefix = "step" + std::to_string(step + 1) + ".";
    const std::string first = prefix + fixture_name(Trainer<E>::slices().front().name);
    if (file.find(first) != nullptr) compare_after_steps<E>(trainer.parameters(), file, prefix, options.optimizer);
  }
  if (const TensorView* after = file.find("logits_after_10"))
    check_close("logits after 10 steps", logits_of(device, trainer, batch).data(), after->to_f32(), losses_of_10_steps);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("adapters train as in PEFT", "[parity]", parity_sets::ParitySets) {
  using Set = TestType;
  for_each_adapter<Set>([&]<class A>(const std::string& name, std::type_identity<A>) {
    if (name.starts_with("nf4dq")) return;
    SECTION(name) {
      if (const auto file = fixture<Set>("ref_" + name))
        run_fixture<On<Set, A>>(path_of(Set::directory, "model"), path_of(Set::directory, name), *file);
    }
  });
}

TEMPLATE_LIST_TEST_CASE("DoRA on a base of NF4 with double quantisation trains as in PEFT", "[parity]",
                        parity_sets::ParitySets) {
  using Set = TestType;
  if constexpr (requires { typename Set::nf4dq_dora_r12; }) {
    if (const auto file = fixture<Set>("ref_nf4dq_dora_r12"))
      run_fixture<On<Set, typename Set::nf4dq_dora_r12, Int4Quant>>(path_of(Set::directory, "model"),
                                                                    path_of(Set::directory, "nf4dq_dora_r12"), *file);
  } else {
    WARN("skipped: no nf4dq_dora_r12 in " << Set::directory);
  }
}

TEMPLATE_LIST_TEST_CASE("the base in NF4 with double quantisation gives bitsandbytes' logits", "[parity]",
                        parity_sets::ParitySets) {
  using Set = TestType;
  using E = On<Set, DoRA<1>, Int4Quant>;
  const auto opened = fixture<Set>("ref_nf4_dq_base");
  if (!opened) return;
  const SafetensorsFile& file = *opened;
  CpuDevice device(2);
  const auto weights = load_weights<E>(path_of(Set::directory, "model"), device);
  Trainer<E> trainer(device, weights, {});
  const TokenBatch batch = batch_of(file);
  check_close("logits", logits_of(device, trainer, batch).data(), floats(file, "logits"), f32_logits);
}

TEMPLATE_LIST_TEST_CASE("accumulation, clipping and the cosine schedule train as in PEFT", "[parity]",
                        parity_sets::ParitySets) {
  using Set = TestType;
  if constexpr (requires { typename Set::dora_r12; }) {
    using E = On<Set, typename Set::dora_r12>;
    const auto opened = fixture<Set>("ref_dora_r12");
    if (!opened || !has(*opened, "trainer_losses")) return;
    const SafetensorsFile& file = *opened;
    CpuDevice device(2);
    const auto weights = load_weights<E>(path_of(Set::directory, "model"), device);
    TrainerOptions options = fixture_options();
    options.optimizer.max_grad_norm = 0.5;
    options.optimizer.lr_scheduler = LrScheduler::cosine;
    options.optimizer.warmup_steps = 3;
    Trainer<E> trainer(device, weights, options);
    set_adapter(trainer, path_of(Set::directory, "dora_r12"));
    const auto losses = tensor(file, "trainer_losses").as<double>(),
               norms = tensor(file, "trainer_grad_norms").as<double>(),
               rates = tensor(file, "trainer_lrs").as<double>();
    const auto total = static_cast<std::int64_t>(losses.size());
    for (std::int64_t step = 0; step < total; ++step) {
      // The fixture takes the mean of the micro-batches' means, so each is scaled by its own number of labels.
      double loss = 0;
      const std::int64_t rows = tensor(file, "input_ids").shape[0];
      for (std::int64_t row = 0; row < rows; ++row) {
        const TokenBatch micro = batch_of(file, row, 1);
        const auto labels = static_cast<double>(rows * micro.loss_tokens());
        loss += trainer.accumulate(micro, static_cast<float>(1 / labels)) / labels;
      }
      const double rate = learning_rate_at(options.optimizer, step, total);
      const double norm = trainer.update(rate);
      const auto i = static_cast<std::size_t>(step);
      INFO("step " << step);
      CHECK(std::abs(loss - losses[i]) <= losses_of_10_steps);
      CHECK(std::abs(norm - norms[i]) <= grad_norms * norms[i]);
      CHECK(std::abs(rate - rates[i]) <= 1e-12);
    }
    compare_slices<E>(trainer.parameters(), file, "trainer10.", tensors_after_steps, 0);
  } else {
    WARN("skipped: no dora_r12 in " << Set::directory);
  }
}

TEMPLATE_LIST_TEST_CASE("merged weights and their logits equal merge_and_unload", "[parity]", parity_sets::ParitySets) {
  using Set = TestType;
  if constexpr (requires { typename Set::dora_r12; }) {
    using E = On<Set, typename Set::dora_r12>;
    using Base = On<Set, FullFineTune, NoAdapter>;
    const auto opened = fixture<Set>("ref_dora_r12");
    if (!opened || !has(*opened, "logits_merged")) return;
    const SafetensorsFile& file = *opened;
    CpuDevice device(2);
    const auto weights = load_weights<E>(path_of(Set::directory, "model"), device);
    const std::vector<float> adapter = load_adapter<E>(path_of(Set::directory, "dora_r12"));
    const std::vector<float> merged = merge_adapter<E>(device, weights, adapter);
    int compared = 0;
    for (const NamedSlice& slice : BaseLayout<E>::slices())
      if (const TensorView* t = file.find("merged." + slice.name)) {
        check_close("merged." + slice.name, merged.data() + slice.offset, t->to_f32(), merged_weights);
        ++compared;
      }
    CHECK(compared > 0);
    const TokenBatch batch = batch_of(file);
    const auto base_weights = load_weights<Base>(path_of(Set::directory, "model"), device);
    Trainer<Base> base(device, base_weights, {});
    std::copy(merged.begin(), merged.end(), base.parameters());
    base.parameters_changed();
    check_close("logits of the merged model", logits_of(device, base, batch).data(), floats(file, "logits_merged"),
                f32_logits);
  } else {
    WARN("skipped: no dora_r12 in " << Set::directory);
  }
}

}  // namespace adapter_test
