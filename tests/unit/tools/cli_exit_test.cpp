// tools/cli/common.hpp: what an error makes of the exit code and of --json. cli_test.py runs the program itself.
#include "cli/common.hpp"
#include "sql_worker.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "catch.hpp"

namespace cli_exit_test {
using namespace expert;

TEST_CASE(
    "E400, E401, E403, E406: refused input exits with 2; a full disk, a run that blew up, E404, E405 and E410 with 1",
    "[cli]") {
  for (const ErrorCode code :
       {cli::unknown_flag, cli::bad_command_line, cli::weights_not_pinned_ones, cli::query_refused})
    CHECK(cli::exit_code_of(Error(code, {})) == 2);
  CHECK(cli::exit_code_of(Error({221, "a header is not valid"}, {})) == 2);
  for (const int number : {203, 303, 312, 404, 405, 410})
    CHECK(cli::exit_code_of(Error({number, "no fault of the input"}, {})) == 1);
}

TEST_CASE("an error as JSON keeps its parts, also where a file name is not UTF-8", "[cli]") {
  const Json json = cli::to_json(
      Error(cli::bad_command_line, {.file = "a\xFF", .where = "line 3", .expected = "x", .got = "y", .fix = "z"}));
  CHECK(json.find("code")->as_string() == "EXPERT-E401");
  CHECK(json.find("where")->as_string() == "line 3");
  CHECK(json.find("file")->as_string() == "a\xEF\xBF\xBD");
  CHECK(!json.dump().empty());
}

TEST_CASE("rows appear under their name when all are written, and not before", "[cli]") {
  const auto path = std::filesystem::temp_directory_path() / "expert_cli_exit_test.jsonl";
  std::filesystem::remove(path);
  {
    cli::RowWriter writer(path);
    writer.write(Json::object().set("a", 1));
  }
  CHECK(!std::filesystem::exists(path));
  cli::RowWriter writer(path);
  for (int i = 0; i < 3; ++i) writer.write(Json::object().set("a", i));
  CHECK(!std::filesystem::exists(path));
  writer.commit();
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  CHECK(text.str() == "{\"a\":0}\n{\"a\":1}\n{\"a\":2}\n");
  std::filesystem::remove(path);
}

}  // namespace cli_exit_test
