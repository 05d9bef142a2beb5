// `ls`, `plan`, `validate` and `scaffold`: what can be said of an expert from its types and its manifest alone.
#pragma once
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../experts/expert-json/expert.hpp"
#include "../../experts/expert-neo4j/expert.hpp"
#include "../../experts/expert-sql/expert.hpp"
#include "../../experts/expert-typescript/expert.hpp"
#include "cli/common.hpp"
#include "cli/measured.hpp"
#include "cli/measured_plans.hpp"
#include "cli/model_options.hpp"
#include "cli/record_checks.hpp"
#include "cli/routing.hpp"
#include "cli/run_record.hpp"
#include "expert/core/sort.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/io/hf_config.hpp"
#include "expert/io/sha256.hpp"
#include "expert/manifest.hpp"
#include "expert/plan/cost.hpp"
#include "expert/plan/memory.hpp"
#include "expert/registry.hpp"
#include "expert/weights.hpp"

namespace cli {

// What is known by type: the experts of this repository, and those that this program can also train and run.
using RepositoryExperts = Registry<SqlExpert<>, TinySqlExpert, JsonExpert<>, TinyJsonExpert, TypeScriptExpert<>,
                                   TinyTypeScriptExpert, Neo4jExpert<>, TinyNeo4jExpert>;

template <class E, class... Es>
constexpr bool is_one_of(Registry<Es...>) {
  return (std::is_same_v<E, Es> || ...);
}
template <class... As>
constexpr auto merged(Registry<As...> all, Registry<>) {
  return all;
}
template <class... As, class B, class... Bs>
constexpr auto merged(Registry<As...> all, Registry<B, Bs...>) {
  if constexpr (is_one_of<B>(all))
    return merged(all, Registry<Bs...>{});
  else
    return merged(Registry<As..., B>{}, Registry<Bs...>{});
}
template <class Compiled>
using KnownExperts = decltype(merged(Compiled{}, RepositoryExperts{}));

template <class... Es, class Use>
void for_each_expert(Registry<Es...>, const Use& use) {
  (use(std::type_identity<Es>{}), ...);
}

// ---- ls

template <class E>
std::string stated_text(std::string_view pointer) {
  for (const DescribedPolicy& policy : describe<E>())
    for (const Field& field : policy.fields)
      if (field.pointer == pointer) return std::string(field.value.text);
  return {};
}

inline CLI::App* add_ls(CLI::App& app) {
  return app.add_subcommand("ls", "Lists the experts that this program knows, and which of them it can train and run");
}

template <class Compiled>
ExitCode run_ls(Compiled compiled, Report& report) {
  Json list = Json::array();
  for_each_expert(KnownExperts<Compiled>{}, [&]<class E>(std::type_identity<E>) {
    const bool is_compiled = is_one_of<E>(compiled);
    report.say(joined({is_compiled ? "train, generate  " : "contract only    ", type_name<E>()}));
    list.push(Json::object()
                  .set("type", type_name<E>())
                  .set("base_model", stated_text<E>("/base_models/0/name"))
                  .set("grammar", stated_text<E>("/training/decoding/grammar_type"))
                  .set("trainable_parameters", trainable_parameters<E>)
                  .set("compiled", is_compiled));
  });
  report.result().set("experts", std::move(list));
  return ok;
}

// ---- plan, validate, scaffold: of one manifest

struct ContractOptions {
  std::string manifest, model, output;
  std::vector<std::string> manifests;  // of validate
  std::vector<std::string> settings;
  std::int64_t context_length = 2048;
};

inline CLI::App* with_manifest_options(CLI::App* command, ContractOptions& options) {
  command->add_option("manifest", options.manifest, "manifest.json of an expert")->required();
  add_settings_option(*command, options.settings);
  return command;
}

inline CLI::App* add_plan(CLI::App& app, ContractOptions& options) {
  CLI::App* command = with_manifest_options(
      app.add_subcommand("plan", "Bytes by buffer of training and generation, and FLOP per token, from the type alone"),
      options);
  command->add_option("--context-length", options.context_length, "tokens of one sequence while generating")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20))
      ->capture_default_str();
  return command;
}

inline std::string mib(std::int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

template <class E>
void put_plan(const ContractOptions& options, Report& report) {
  using Training = TrainingPlan<E>;
  using Generation = GenerationPlan<E>;
  const auto training = Training::regions(Training::max_tokens);
  const std::int64_t training_bytes = total_bytes(training), context = options.context_length;
  constexpr std::int64_t batch_tokens = E::batch::batch_size * E::packing::max_seq_length;
  const std::int64_t at_once = Training::bytes(batch_tokens);
  const double flops = training_flops<E>(Training::max_tokens, Training::max_tokens, E::packing::max_seq_length) /
                       static_cast<double>(Training::max_tokens);
  report.say("expert: " + type_name<E>());
  report.say(joined({"training: ", mib(training_bytes), " for ", Training::sub_batch_rows, " of ", E::batch::batch_size,
                     " rows of ", E::packing::max_seq_length, " tokens at once; budget ", mib(E::budget::bytes),
                     "; the whole batch at once would take ", mib(at_once)}));
  for (const Region& region : training)
    if (region.bytes > 0) {
      char line[160];
      std::snprintf(line, sizeof line, "  %14lld  %.*s", static_cast<long long>(region.bytes),
                    static_cast<int>(region.name.size()), region.name.data());
      report.say(line);
    }
  Json measurements = Json::array();
  bool measured = false;
  for (const MeasuredPlan& row : measured_plans) {
    if (row.model != E::model::name || row.quantization != E::quant::quantization ||
        row.planned_bytes != Training::bytes(row.tokens))
      continue;
    measured = measured || row.tokens == Training::max_tokens;
    report.say(joined({"measured: ", row.tokens, " tokens at once, planned ", row.planned_bytes, ", peak ",
                       row.peak_bytes, " (", row.machine, ", ", row.date, ")"}));
    measurements.push(Json::object()
                          .set("tokens_at_once", row.tokens)
                          .set("planned_bytes", row.planned_bytes)
                          .set("peak_bytes", row.peak_bytes)
                          .set("machine", row.machine)
                          .set("date", row.date));
  }
  if (!measured) report.say("this plan was not measured: it is what the type says");
  report.say(joined({"base: ", mib(base_bytes<E>), " beside the plan"}));
  const auto generation = Generation::regions(1, context, std::min<std::int64_t>(context, 512), true);
  report.say(joined({"generation: ", mib(total_bytes(generation)), " for one sequence of ", context, " tokens, ",
                     mib(adapter_overhead_bytes<E>(context)), " of them for the adapter"}));
  char line[128];
  std::snprintf(line, sizeof line, "training arithmetic: %.4g FLOP per token where all tokens bear loss", flops);
  report.say(line);
  report.result()
      .set("expert", type_name<E>())
      .set("device", "cpu")
      .set("trainable_parameters", trainable_parameters<E>)
      .set("total_bytes", training_bytes)
      .set("budget_bytes", E::budget::bytes)
      .set("fits", training_bytes <= E::budget::bytes)
      .set("measured", measured)
      .set("measurements", std::move(measurements))
      .set("rows_at_once", Training::sub_batch_rows)
      .set("batch_size", std::int64_t{E::batch::batch_size})
      .set("max_seq_length", std::int64_t{E::packing::max_seq_length})
      .set("recompute", name_of(Training::recompute))
      .set("bytes_of_whole_batch", at_once)
      .set("base_bytes", base_bytes<E>)
      .set("flop_per_token", flops)
      .set("buffers", buffers_json(training))
      .set("generation", Json::object()
                             .set("total_bytes", total_bytes(generation))
                             .set("context_length", context)
                             .set("adapter_overhead_bytes", adapter_overhead_bytes<E>(context))
                             .set("buffers", buffers_json(generation)));
}

template <class Compiled>
ExitCode run_plan(Compiled, const ContractOptions& options, Report& report) {
  const Manifest manifest = load_with_settings(options);
  with_expert(KnownExperts<Compiled>{}, manifest,
              [&]<class E>(std::type_identity<E>) { put_plan<E>(options, report); });
  return ok;
}

inline CLI::App* add_validate(CLI::App& app, ContractOptions& options) {
  const char* about = "Compares a manifest with its schema, its expert and its files: all problems at once";
  CLI::App* command = app.add_subcommand("validate", about);
  command->add_option("manifest", options.manifests, "manifest.json of an expert; of several: also their /constraints")
      ->required();
  add_settings_option(*command, options.settings);
  command->add_option("--model", options.model, "Hugging Face directory of the base: its config.json and its hash");
  return command;
}

// What `validate` finds: problems make the manifest refused, notes are for people.
class Validation {
 public:
  explicit Validation(Manifest manifest) : manifest_(std::move(manifest)) {}

  // On its own and against the type.
  template <class E>
  void compare() {
    problems_ = all_problems<E>(manifest_.json);
  }
  // The rest reads values, so it is for manifests that are sound on their own.
  template <class E>
  void check_plan() {
    const Json* bound = manifest_.find("/perf/vram_mb_overhead");
    if (bound == nullptr) return;
    const auto planned = static_cast<double>(adapter_overhead_bytes<E>(E::packing::max_seq_length)) / 1e6;
    char text[64];
    std::snprintf(text, sizeof text, "%.2f", planned);
    note(joined({"/perf/vram_mb_overhead: planned ", text, ", declared ", shown(*bound)}));
    if (planned > bound->as_double())
      problem(manifest_mismatch, "/perf/vram_mb_overhead", bound, joined({"at least ", text, ", which the plan says"}),
              "Raise the bound, or lower the rank");
  }
  // Only what was measured on this device says anything about it.
  template <class E>
  void check_latency() {
    const char* pointer = "/perf/latency_ms_overhead";
    const Json* bound = manifest_.find(pointer);
    if (bound == nullptr) return;
    const Json rows = read_measured(measured_file(manifest_));
    const std::string device = device_name(best_isa(), static_cast<int>(std::thread::hardware_concurrency()));
    const Json* row = measured_on(rows, device, type_name<E>());
    if (row == nullptr) return note(joined({pointer, ": not measured here (", device, ")"}));
    const double measured = row->find("latency_ms_overhead")->as_double();
    char text[64];
    std::snprintf(text, sizeof text, "%.2f", measured);
    note(joined(
        {pointer, ": measured ", text, ", declared ", shown(*bound), " (", row->find("date")->as_string(), ")"}));
    if (measured > bound->as_double())
      problem(manifest_mismatch, pointer, bound, joined({"at least ", text, ", measured on ", device}),
              "Raise the bound, or measure again with expert-cli bench --write");
  }
  template <class E>
  void check_base(const std::string& directory) {
    const std::filesystem::path base(directory);
    const std::string config_file = (base / "config.json").string();
    for (const Error& e : check_config<E>(read_hf_config(config_file), config_file))
      problems_.push_back({manifest_mismatch, e.detail().file + ": " + e.detail().where, e.detail().got,
                           e.detail().expected, e.detail().fix, "config.json"});
    if (!is_pinned(manifest_)) note(not_pinned);
    if (const std::optional<Error> wrong = wrong_weights(directory, manifest_))
      problems_.push_back({wrong->error_code(),
                           wrong->detail().where,
                           shown(*manifest_.find("/base_models/0/sha256")),
                           wrong->detail().got,
                           wrong->detail().fix,
                           {}});
  }
  // Paths are relative to the manifest. A recorded adapter must be there and be the recorded one; rows may come later.
  void check_files() {
    for (const char* pointer : {"/training/dataset/path", "/training/dataset/validation_path"})
      if (const Json* path = manifest_.find(pointer); path != nullptr && !std::filesystem::exists(beside(*path)))
        note(joined({pointer, ": no such file yet: ", beside(*path).string()}));
    const std::string at = "/base_models/0/adapters/0";
    const Json* path = manifest_.find(at + "/path");
    if (path == nullptr) return;
    std::error_code failure;
    const auto bytes = std::filesystem::file_size(beside(*path), failure);
    if (failure)
      return problem(file_unreadable, at + "/path", path, "a file",
                     "Write the path relative to the manifest, or remove it");
    const Json* size = manifest_.find(at + "/size_bytes");
    if (size != nullptr && std::cmp_not_equal(size->as_int(), bytes))
      problem(manifest_mismatch, at + "/size_bytes", size, std::to_string(bytes), use_or_record);
    const Json* sha256 = manifest_.find(at + "/sha256");
    if (sha256 == nullptr || sha256->as_string().empty()) return;
    if (const std::string found = sha256_file(beside(*path)); found != sha256->as_string())
      problem(manifest_mismatch, at + "/sha256", sha256, found, use_or_record);
  }

  // Of training and evaluation; `model` may be empty.
  void check_records(const std::string& model) {
    for (Problem& found : record_problems(manifest_, model)) problems_.push_back(std::move(found));
  }

  void note(std::string text) { notes_.push_back(std::move(text)); }
  ExitCode finish(Report& report) {
    sort_list(problems_, [](const Problem& a, const Problem& b) { return a.pointer < b.pointer; });
    Json notes = Json::array();
    for (const std::string& text : notes_) {
      report.say(text);
      notes.push(Json(utf8_lossy(text)));
    }
    for (const Problem& p : problems_) report.say(as_error(manifest_.file, p).what());
    report.result().set("problems", to_json(manifest_.file, problems_)).set("notes", std::move(notes));
    if (problems_.empty()) {
      report.say(manifest_.file + ": ok");
      return ok;
    }
    const std::string type = expert_type_of(manifest_.json);
    report.say(joined({problems_.size(), problems_.size() == 1 ? " problem" : " problems",
                       ". Edit the manifest, or compile ", type}));
    report.result().set("compile", type);
    return refused;
  }

 private:
  static constexpr const char* use_or_record = "Use the file that was recorded, or record this one";

  std::filesystem::path beside(const Json& path) const {
    return std::filesystem::path(manifest_.file).parent_path() / path.as_string();
  }
  void problem(ErrorCode code, std::string pointer, const Json* value, std::string expected, std::string fix) {
    problems_.push_back({code, std::move(pointer), shown(*value), std::move(expected), std::move(fix), {}});
  }

  Manifest manifest_;
  std::vector<Problem> problems_;
  std::vector<std::string> notes_;
};

// Against the known expert with the fewest differences.
template <class Compiled>
ExitCode validate_one(Compiled compiled, const std::string& file, const ContractOptions& options, Report& report) {
  Manifest manifest{file, read_json(file, default_limits.manifest_bytes), {}};
  const bool sound = manifest_problems(manifest.json).empty();
  if (sound)
    for (const std::string& setting : options.settings) set_value(manifest, setting);
  const auto candidates = compare_all(KnownExperts<Compiled>{}, manifest);
  const std::size_t chosen = nearest(candidates)->index;
  Validation validation(std::move(manifest));
  std::size_t index = 0;
  for_each_expert(KnownExperts<Compiled>{}, [&]<class E>(std::type_identity<E>) {
    if (index++ != chosen) return;
    report.say("expert: " + type_name<E>());
    report.result().set("expert", type_name<E>());
    if (!is_one_of<E>(compiled)) validation.note("this program knows the type but cannot train or run it");
    validation.compare<E>();
    if (!sound) return;
    validation.check_plan<E>();
    validation.check_latency<E>();
    if (!options.model.empty()) validation.check_base<E>(options.model);
    validation.check_files();
    validation.check_records(options.model);
  });
  return validation.finish(report);
}

// Several manifests: each on its own, and their constraints where all of them are sound.
template <class Compiled>
ExitCode run_validate(Compiled compiled, const ContractOptions& options, Report& report) {
  if (options.manifests.size() == 1) return validate_one(compiled, options.manifests.front(), options, report);
  ExitCode code = ok;
  Json list = Json::array();
  std::vector<ExpertCard> cards;
  for (const std::string& file : options.manifests) {
    Report one(report.wants_json());
    if (validate_one(compiled, file, options, one) != ok) code = refused;
    list.push(Json::object().set("manifest", utf8_lossy(file)).set("result", std::move(one.result())));
    Manifest manifest{file, read_json(file, default_limits.manifest_bytes), {}};
    if (manifest_problems(manifest.json).empty()) cards.push_back(card_of(manifest));
  }
  report.result().set("manifests", std::move(list));
  if (cards.size() != options.manifests.size()) return code;
  const std::vector<Error> errors = chain_errors(cards);
  report.complain(errors);
  if (errors.empty()) report.say("these experts can be loaded together");
  return errors.empty() ? code : refused;
}

inline CLI::App* add_scaffold(CLI::App& app, ContractOptions& options) {
  CLI::App* command = with_manifest_options(
      app.add_subcommand("scaffold", "Prints a header with the C++ type that a manifest asks for"), options);
  command->add_option("--output", options.output, "the header's file; without it, stdout");
  return command;
}

// "expert-sql" -> "ExpertSql": the alias in the printed header.
inline std::string alias_of(const std::string& name) {
  std::string alias;
  bool upper = true;
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), digit = c >= '0' && c <= '9';
    if (!letter && !(digit && !alias.empty())) {
      upper = true;
      continue;
    }
    alias += upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    upper = false;
  }
  return alias.empty() ? "MyExpert" : alias;
}

inline ExitCode run_scaffold(const ContractOptions& options, Report& report) {
  const Manifest manifest = load_with_settings(options);
  const std::string& name = manifest.find("/name")->as_string();
  const std::string type = expert_type_of(manifest.json), alias = alias_of(name);
  const std::string header = joined({"// The type that the manifest of ", name, " asks for.\n",
                                     "#pragma once\n#include <expert/policy/assemble.hpp>\n\n",
                                     "namespace expert {\ninline namespace v0 {\n\nusing ", alias, " = ", type,
                                     ";\n\n}  // namespace v0\n}  // namespace expert\n"});
  report.result().set("alias", alias).set("type", type).set("header", header);
  if (!options.output.empty()) {
    AtomicFile file(options.output);
    file.write(header);
    file.commit();
  } else if (!report.wants_json()) {
    std::fputs(header.c_str(), stdout);
  }
  return ok;
}

}  // namespace cli
