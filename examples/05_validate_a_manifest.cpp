// Why: a manifest is only worth what is checked. Every field that a policy states is compared with the compiled type,
// all differences are reported at once, and the type that would agree is printed ready to paste.
#include <cstdio>
#include <expert/manifest.hpp>
#include <expert/registry.hpp>

#include "../experts/expert-sql/expert.hpp"

using namespace expert;

int main() {
  Manifest manifest = load_manifest("experts/expert-sql/manifest.json");
  std::printf("as it stands: %zu mismatches\n", check_manifest<SqlExpert<>>(manifest).size());

  set_value(manifest, "base_models.0.adapters.0.r=16");
  set_value(manifest, "training.config.max_seq_length=4096");
  const std::vector<Mismatch> mismatches = check_manifest<SqlExpert<>>(manifest);
  std::printf("%s", mismatch_report(manifest, mismatches).c_str());
  return mismatches.size() == 2 ? 0 : 1;
}
