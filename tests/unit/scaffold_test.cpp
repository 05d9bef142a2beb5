// What expert_add_expert writes from the experts' manifests at build time is the type that the experts' headers
// declare.
#include <type_traits>

#include "catch.hpp"
#include "experts/expert-json/expert.hpp"
#include "experts/expert-neo4j/expert.hpp"
#include "experts/expert-sql/expert.hpp"
#include "experts/expert-typescript/expert.hpp"
#include "scaffold_json.hpp"
#include "scaffold_json_tiny.hpp"
#include "scaffold_neo4j.hpp"
#include "scaffold_neo4j_tiny.hpp"
#include "scaffold_sql.hpp"
#include "scaffold_sql_tiny.hpp"
#include "scaffold_typescript.hpp"
#include "scaffold_typescript_tiny.hpp"

using namespace expert;

TEST_CASE("each manifest scaffolds its expert's type", "[scaffold]") {
  CHECK((std::is_same_v<ExpertSql, SqlExpert<>> && std::is_same_v<ExpertSqlTiny, TinySqlExpert>));
  CHECK((std::is_same_v<ExpertJson, JsonExpert<>> && std::is_same_v<ExpertJsonTiny, TinyJsonExpert>));
  CHECK((std::is_same_v<ExpertTypescript, TypeScriptExpert<>> &&
         std::is_same_v<ExpertTypescriptTiny, TinyTypeScriptExpert>));
  CHECK((std::is_same_v<ExpertNeo4j, Neo4jExpert<>> && std::is_same_v<ExpertNeo4jTiny, TinyNeo4jExpert>));
}
