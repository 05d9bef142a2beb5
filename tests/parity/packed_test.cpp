// Packed rows against transformers on the documents one by one, with the contaminated row as negative control.
#include "support.hpp"

namespace packed_test {
using namespace parity;

namespace {

// One row of several documents: positions restart and nobody sees another document. `contaminated`: one document of
// all.
TokenBatch packed_batch(const SafetensorsFile& file, bool contaminated) {
  const auto ids = tensor(file, "input_ids").as<std::int64_t>(), labels = tensor(file, "labels").as<std::int64_t>();
  const auto starts = tensor(file, "cu_seqlens").as<std::int32_t>();
  TokenBatch batch;
  const auto n = static_cast<std::int32_t>(ids.size());
  std::size_t document = 0;
  for (std::int32_t t = 0; t < n; ++t) {
    const auto i = static_cast<std::size_t>(t);
    while (document + 1 < starts.size() && t >= starts[document + 1]) ++document;
    const std::int32_t first = contaminated ? 0 : starts[document];
    const bool last = t + 1 == n || (t + 1 == starts[document + 1]);
    batch.input_ids.push_back(static_cast<std::int32_t>(ids[i]));
    batch.positions.push_back(t - first);
    batch.labels.push_back(last ? ignore_index : static_cast<std::int32_t>(labels[i + 1]));
    batch.keys.push_back({0, 0, first, t + 1});
  }
  batch.row_begin = {0, n};
  batch.documents = static_cast<std::int64_t>(starts.size()) - 1;
  return batch;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("a packed row gives the logits of its documents; a contaminated one does not", "[parity]",
                        parity_sets::ParitySets) {
  using Set = TestType;
  using E = On<Set, DoRA<1>>;
  const auto opened = fixture<Set>("ref_packed");
  if (!opened) return;
  const SafetensorsFile& file = *opened;
  CpuDevice device(2);
  const auto weights = load_weights<E>(path_of(Set::directory, "model"), device);
  Trainer<E> trainer(device, weights, {});
  const std::vector<float> packed = logits_of(device, trainer, packed_batch(file, false)),
                           naive = logits_of(device, trainer, packed_batch(file, true)),
                           reference = floats(file, "logits_unpacked_concat");
  check_close("packed", packed.data(), floats(file, "logits_packed"), f32_logits);
  check_close("packed against unpacked", packed.data(), reference, f32_logits);
  check_close("the contaminated row", naive.data(), floats(file, "logits_naive_contaminated"), f32_logits);
  CHECK(max_abs_difference(naive, reference) >
        1);  // the control: without the mask the second document's logits are far off
}

TEMPLATE_LIST_TEST_CASE("DoRA's loss and gradients on a packed row equal PEFT's", "[parity]", parity_sets::ParitySets) {
  using Set = TestType;
  if constexpr (requires { typename Set::dora_r12; }) {
    using E = On<Set, typename Set::dora_r12>;
    const auto opened = fixture<Set>("ref_packed");
    if (!opened || !has(*opened, "dora_r12.loss")) return;
    const SafetensorsFile& file = *opened;
    CpuDevice device(2);
    const auto weights = load_weights<E>(path_of(Set::directory, "model"), device);
    Trainer<E> trainer(device, weights, {});
    set_adapter(trainer, path_of(Set::directory, "dora_r12"));
    const TokenBatch batch = packed_batch(file, false);
    check_close("logits", logits_of(device, trainer, batch).data(), floats(file, "dora_r12.logits_packed"), f32_logits);
    const auto labels = static_cast<double>(batch.loss_tokens());
    const double loss = trainer.accumulate(batch, static_cast<float>(1 / labels)) / labels;
    CHECK(std::abs(loss - double{scalar(file, "dora_r12.loss")}) <= f32_loss);
    compare_slices<E>(trainer.gradients(), file, "dora_r12.grad.", 0, first_gradients);
  } else {
    WARN("skipped: no dora_r12 in " << Set::directory);
  }
}

}  // namespace packed_test
