// `migrate OLD`: a manifest of another system or of an older form -> the same as this library reads it, and a list of
// what was changed or dropped, with the reason. The old file is not touched.
#pragma once
#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/common.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/manifest.hpp"

namespace cli {

struct MigrateOptions {
  std::string input, output;
};

inline CLI::App* add_migrate(CLI::App& app, MigrateOptions& options) {
  CLI::App* command =
      app.add_subcommand("migrate", "Rewrites an old manifest and lists what it changed, dropped and why");
  command->add_option("manifest", options.input, "the old manifest")->required();
  command->add_option("--output", options.output, "where the new one goes; without it, to stdout");
  return command;
}

struct Migrated {
  std::string pointer, what, before;
};

class Migration {
 public:
  Json run(const Json& old) {
    if (!old.is_object()) return old;
    Json manifest = object_of(old, "");
    if (const Json* version = manifest.find("schema_version");
        version == nullptr || !version->is_string() || version->as_string() != "2.0") {
      note("/schema_version", "set to \"2.0\"", version);
      manifest.set("schema_version", "2.0");
    }
    return manifest;
  }
  const std::vector<Migrated>& changes() const { return changes_; }

 private:
  void note(std::string_view pointer, std::string what, const Json* before) {
    changes_.push_back({std::string(pointer), std::move(what), before == nullptr ? "(absent)" : shown(*before)});
  }

  Json value_of(const Json& value, const std::string& pointer) {
    if (pointer == "/base_models/0/rope_scaling" && value.is_string()) return rope_of(value, pointer);
    if (pointer == "/base_models/0/name" && value.is_string()) return name_of_model(value, pointer);
    if (pointer == "/training/config/fp16" && value.is_bool() && value.as_bool()) {
      note(pointer, "set to false: half precision needs loss scaling, bf16 does not", &value);
      return Json(false);
    }
    if (expert::detail::find_field(pointer) == nullptr || pointer == "/base_models" ||
        pointer == "/base_models/0/adapters")
      return value.is_object() ? object_of(value, pointer) : value.is_array() ? list_of(value, pointer) : value;
    return value;
  }

  Json list_of(const Json& value, const std::string& pointer) {
    Json list = Json::array();
    for (std::size_t i = 0; i < value.items().size(); ++i) {
      const std::string at = pointer + "/" + std::to_string(i);
      const Json& item = value.items()[i];
      list.push(item.is_object() ? object_of(item, at) : item);
    }
    return list;
  }

  Json object_of(const Json& object, const std::string& pointer) {
    Json out = Json::object();
    for (const auto& [key, member] : object.members()) {
      const std::string at = expert::detail::child_pointer(pointer, key);
      const ManifestField* field = expert::detail::find_field(at);
      if (field != nullptr && field->field_class == FieldClass::refused) {
        note(at, "dropped: " + std::string(field->note), &member);
      } else if (key.starts_with('_') || field != nullptr || expert::detail::is_section(at)) {
        out.set(key, key.starts_with('_') ? member : value_of(member, at));
      } else {
        note(at, "kept as the comment _" + key + ": nothing reads it", &member);
        out.set("_" + key, member);
      }
    }
    return out;
  }

  // The old form named a scheme; the only one that manifests in use meant is the mission's.
  Json rope_of(const Json& value, const std::string& pointer) {
    const std::string& text = value.as_string();
    if (text.empty() || text == "none" || text == "default") {
      note(pointer, "written as an object: the model's own RoPE", &value);
      return Json::object().set("type", "default");
    }
    note(pointer, "written as an object: ntk-by-parts, 8192 to 32768, factor 8; check that this is what was meant",
         &value);
    return Json::object()
        .set("type", "ntk-by-parts")
        .set("factor", 8.0)
        .set("max_position_embeddings", 32768)
        .set("original_max_position_embeddings", 8192)
        .set("fine_grained", true);
  }

  Json name_of_model(const Json& value, const std::string& pointer) {
    const std::string& text = value.as_string();
    const std::size_t slash = text.find_last_of("/\\");
    if (slash == text.npos || slash + 1 == text.size()) return value;
    note(pointer, "a path is no name: its last part is kept; give the directory with --model", &value);
    return Json(text.substr(slash + 1));
  }

  std::vector<Migrated> changes_;
};

// 0 where the result is sound; 2 where people must still decide, with each of those places named.
inline ExitCode run_migrate(const MigrateOptions& options, Report& report) {
  const Json old = read_json(options.input, default_limits.manifest_bytes);
  Migration migration;
  const Json manifest = migration.run(old);
  Json changes = Json::array();
  for (const Migrated& change : migration.changes()) {
    report.say(joined({shown_pointer(change.pointer), ": ", change.what, " (was ", change.before, ")"}));
    changes.push(Json::object()
                     .set("pointer", utf8_lossy(change.pointer))
                     .set("what", utf8_lossy(change.what))
                     .set("before", change.before));
  }
  const std::vector<Problem> problems = manifest_problems(manifest);
  for (const Problem& problem : problems) report.say(as_error(options.input, problem).what());
  report.result().set("changes", std::move(changes)).set("problems", to_json(options.input, problems));
  const std::string text = manifest.dump(2) + "\n";
  if (!options.output.empty()) {
    AtomicFile file(options.output);
    file.write(text);
    file.commit();
  } else if (report.wants_json()) {
    report.result().set("manifest", manifest);
  } else {
    std::fputs(text.c_str(), stdout);
  }
  report.say(joined({migration.changes().size(), " changes, ", problems.size(), " places left to decide"}));
  return problems.empty() ? ok : refused;
}

}  // namespace cli
