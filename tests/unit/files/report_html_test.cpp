// include/expert/io/report_html.hpp and what it stands on: nothing that a run holds can break the page.
#include "expert/io/report_html.hpp"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"

namespace report_html_test {
using namespace expert;

namespace {

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++n;
  return n;
}
bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

// Every tag that is opened is closed, in order. Enough of a parser for a page without script.
void require_balanced(const std::string& html) {
  std::vector<std::string> open;
  for (std::size_t at = html.find('<'); at != html.npos; at = html.find('<', at)) {
    const std::size_t end = html.find('>', at);
    REQUIRE(end != html.npos);
    const std::string tag = html.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(tag[0] == '/', tag.find_first_of(" \n/", 1) - (tag[0] == '/'));
    at = end;
    if (tag[0] == '!' || tag.back() == '/' || name == "meta" || name == "br" || name == "wbr") continue;
    if (tag[0] != '/') {
      open.push_back(name);
      continue;
    }
    REQUIRE(!open.empty());
    REQUIRE(open.back() == name);
    open.pop_back();
  }
  REQUIRE(open.empty());
}

void require_sound(const std::string& html) {
  require_balanced(html);
  for (const char* word : {"nan", "inf%", "NaN", "<script", "http://", "https://", "src=", "url(", "@import"})
    REQUIRE(!has(html, word));
}

Json row(std::int64_t step, double loss) {
  return Json::object()
      .set("loss", loss)
      .set("grad_norm", 1.0)
      .set("learning_rate", 1e-3)
      .set("tokens_per_second", 1000.0)
      .set("step", step);
}
Json share(double p) {
  return Json::object().set("n", 10).set("count", 5).set("share", p).set("low", p / 2).set("high", p);
}

}  // namespace

TEST_CASE("html_escaped leaves nothing that a browser would read as markup", "[report]") {
  CHECK(html_escaped("a<b>&\"c'\n\td") == "a&lt;b&gt;&amp;&quot;c&#39;\n\td");
  CHECK(html_escaped(std::string("x\0y\x1b", 4)) == "x\xEF\xBF\xBDy\xEF\xBF\xBD");
  CHECK(html_escaped("größe") == "größe");
}

TEST_CASE("numbers are written as people read them", "[report]") {
  CHECK(grouped(0) == "0");
  CHECK(grouped(-1234567) == "-1,234,567");
  CHECK(grouped(999) == "999");
  CHECK(grouped(std::numeric_limits<std::int64_t>::min()) == "-9,223,372,036,854,775,808");
  CHECK(figure(0.43214) == "0.4321");
  CHECK(figure(12345.6) == "12,346");
  CHECK(figure(2e-5) == "2.00e-05");
  CHECK(figure(std::numeric_limits<double>::quiet_NaN()) == "–");
  CHECK(compact(3276800) == "3.28 M");
  CHECK(compact(42) == "42");
  CHECK(tick_text(12000) == "12k");
  CHECK(tick_text(1e-5) == "1e-5");
  CHECK(tick_text(0.30000000000000004) == "0.3");
  CHECK(bytes_text(1023) == "1023 B");
  CHECK(bytes_text(1536) == "1.50 KiB");
  CHECK(bytes_text(double{1 << 30} * 128) == "128 GiB");
  CHECK(duration_text(185) == "3 min 05 s");
  CHECK(duration_text(8040) == "2 h 14 min");
  CHECK(duration_text(-1) == "–");
}

TEST_CASE("ticks are round numbers within the axis", "[report]") {
  CHECK(linear_ticks(0, 10, 5) == std::vector<double>{0, 2, 4, 6, 8, 10});
  CHECK(linear_ticks(3, 3, 5) == std::vector<double>{3});
  CHECK(log_ticks(0.5, 5, 5) == std::vector<double>{0.5, 1, 2, 5});
  CHECK(log_ticks(1e-3, 1e3, 5) == std::vector<double>{1e-3, 1e-2, 1e-1, 1, 10, 100, 1000});
  for (const double tick : linear_ticks(-1e300, 1e300, 5)) CHECK(std::abs(tick) <= 1e300);
}

TEST_CASE("thinning keeps the ends and every extreme of a long curve", "[report]") {
  std::vector<ChartPoint> points;
  for (int i = 0; i < 100'000; ++i) points.push_back({double(i), i == 54'321 ? 9.0 : i == 77 ? -9.0 : 0.0});
  points.push_back({100'000, std::numeric_limits<double>::infinity()});
  const auto kept = thinned(points, 500);
  REQUIRE(kept.size() <= 500);
  CHECK(kept.front().x == 0);
  CHECK(kept.back().x == 99'999);
  const auto has_y = [&](double y) {
    return std::any_of(kept.begin(), kept.end(), [&](const ChartPoint& p) { return p.y == y; });
  };
  CHECK(has_y(9));
  CHECK(has_y(-9));
  CHECK(std::is_sorted(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.x < b.x; }));
}

TEST_CASE("smoothing neither moves the ends nor lags behind a straight line", "[report]") {
  std::vector<ChartPoint> line;
  for (int i = 0; i < 50; ++i) line.push_back({double(i), 3.0 * i});
  const auto smooth = smoothed(line, 5);
  REQUIRE(smooth.size() == line.size());
  for (std::size_t i = 0; i < line.size(); ++i) CHECK(smooth[i].y == Approx(line[i].y));
  CHECK(smoothed(std::vector<ChartPoint>{{0, 0}, {1, 3}, {2, 0}}, 1)[1].y == Approx(1));
}

TEST_CASE("a chart without a point is empty, and one point is a dot in the middle", "[report]") {
  CHECK(svg_chart({}, {}).empty());
  CHECK(svg_chart({.log_scale = true}, {{"a", "s0", {{1, 0}, {2, -1}}}}).empty());
  const std::string one = svg_chart({}, {{"a", "s0", {{5, 2}}}});
  CHECK(has(one, "class=\"dots s0\" d=\"M500.0 500.0h0\""));
  CHECK(!has(one, "nan"));
}

TEST_CASE("a report of nothing is a page", "[report]") {
  const std::string html = report_html({});
  require_sound(html);
  CHECK(has(html, "<title>Training: training report</title>"));
  CHECK(count(html, "<h2") == 0);
}

TEST_CASE("a report whose parts are of the wrong kind is a page", "[report]") {
  for (const Json& wrong : {Json(), Json(3), Json("text"), Json::array().push(1).push(Json::array()), Json(true)}) {
    ReportInput input;
    input.run = wrong;
    input.log = {wrong, Json::object().set("step", wrong).set("loss", wrong)};
    input.samples = Json::object().set("rows", Json::array().push(wrong).push(Json::object().set("answers", wrong)));
    input.evals = {{"a", wrong}, {"b", Json::object().set("exact", share(0.5)).set("groups", wrong)}};
    require_sound(report_html(input));
    Json run = Json::object();
    for (const char* key : {"expert", "build", "machine", "base", "training", "results", "data", "memory",
                            "configuration", "usage", "command_line", "status"})
      run.set(key, wrong);
    input.run = run;
    require_sound(report_html(input));
    run.set("data", Json::object().set("train", wrong)).set("memory", Json::object().set("buffers", wrong));
    input.run = run;
    require_sound(report_html(input));
  }
}

TEST_CASE("every text of a run is escaped", "[report]") {
  const std::string evil = "<script>alert(1)</script><img src=x onerror=\"y\">'&\x01";
  ReportInput input;
  const auto text = [&] { return Json(evil); };
  input.run = Json::object()
                  .set("expert", Json::object().set("name", text()).set("description", text()).set("type", text()))
                  .set("status", text())
                  .set("started", text())
                  .set("output", text())
                  .set("command_line", text())
                  .set("build", Json::object().set("version", text()).set("git", text()).set(evil, text()))
                  .set("machine", Json::object().set("cpu", text()).set("threads", text()).set("isa", text()))
                  .set("usage", Json::array().push(Json::object().set("what", text()).set("command", text())));
  input.run.set("data", Json::object().set(evil, Json::object()
                                                     .set("row_path", text())
                                                     .set("reason", text())
                                                     .set("path", text())
                                                     .set("sha256", text())
                                                     .set(evil, 3)
                                                     .set("shapes", Json::object().set(evil, 3))));
  input.run.set("memory",
                Json::object().set("buffers", Json::array().push(Json::object().set("name", text()).set("bytes", 5))));
  Json field = Json::object();
  for (const char* key : {"pointer", "value", "origin", "policy"}) field.set(key, text());
  input.run.set("configuration", Json::array().push(std::move(field)));
  Json answer = Json::object().set("system", text()).set("output", text());
  answer.set("eval", Json::object().set("parse_valid", false).set("message", text()));
  Json sample = Json::object();
  for (const char* key : {"question", "context", "reference", "group"}) sample.set(key, text());
  sample.set("answers", Json::array().push(std::move(answer)));
  input.samples = Json::object().set("note", text()).set("rows", Json::array().push(std::move(sample)));
  Json eval = Json::object().set(evil, share(0.5));
  input.evals = {{evil, Json(eval).set("groups", Json::object().set(evil, eval))}};
  const std::string html = report_html(input);
  require_balanced(html);
  CHECK(!has(html, "<script"));
  CHECK(!has(html, "<img"));
  CHECK(!has(html, "\x01"));
  CHECK(count(html, "&lt;script&gt;alert(1)&lt;/script&gt;") >= 28);
}

TEST_CASE("one logged row gives charts with one dot and no infinite number", "[report]") {
  ReportInput input;
  input.log = {row(1, 0.0)};
  const std::string html = report_html(input);
  require_sound(html);
  CHECK(count(html, "<svg class=\"chart\"") == 4);
}

TEST_CASE("a run of 100,000 rows gives a page below 1 MB", "[report]") {
  ReportInput input;
  for (int i = 1; i <= 100'000; ++i) {
    input.log.push_back(row(i, 1.0 + 1.0 / i));
    if (i % 10 == 0) input.log.push_back(Json::object().set("eval_loss", 1.0 + 2.0 / i).set("step", i));
  }
  const std::string html = report_html(input);
  require_sound(html);
  CHECK(html.size() < 1'000'000);
}

TEST_CASE("the evaluation table has a row per system and group, and the best share is bold", "[report]") {
  ReportInput input;
  for (const auto& [name, p] : {std::pair{"base", 0.1}, std::pair{"expert", 0.75}})
    input.evals.emplace_back(
        name, Json::object()
                  .set("n", 1200)
                  .set("parse_valid", share(0.9))
                  .set("execution_match", share(p))
                  .set("loss", 1.25)
                  .set("exit_code", 0)
                  .set("groups", Json::object().set("new_schemas", Json::object().set("execution_match", share(p)))));
  const std::string html = report_html(input);
  require_sound(html);
  CHECK(count(html, "<td>base</td>") == 2);
  CHECK(count(html, "<tr class=\"best\"><td>expert</td>") == 2);
  CHECK(count(html, "<tr class=\"best\">") == 2);
  CHECK(has(html, "execution match</th>"));
  CHECK(has(html, "new schemas</th>"));
  CHECK(has(html, "1,200"));
  CHECK(has(html, "75.0\u00a0% <small>[37.5, 75.0]</small>"));
  CHECK(has(html, "1.25"));
  CHECK(!has(html, "exit code"));
}

TEST_CASE("an answer is judged by its result, and by its text where no result was compared", "[report]") {
  const auto judged = [](Json eval) {
    ReportInput input;
    Json answer = Json::object().set("system", "expert").set("output", "SELECT 1").set("eval", std::move(eval));
    input.samples = Json::object().set(
        "rows", Json::array().push(Json::object().set("question", "q").set("answers", Json::array().push(answer))));
    const std::string html = report_html(input);
    const std::size_t at = html.find("<div class=\"", html.find("class=\"answers\"") + 1) + 5;
    return html.substr(at, html.find("</h3>", at) - at);
  };
  CHECK(judged(Json::object()) == "class=\"\"><h3>expert <span></span>");
  CHECK(judged(Json::object().set("parse_valid", true)) == "class=\"\"><h3>expert <span>parses</span>");
  CHECK(judged(Json::object().set("parse_valid", false).set("executes", false)) ==
        "class=\"wrong\"><h3>expert <span>does not parse</span>");
  CHECK(judged(Json::object().set("parse_valid", true).set("exact", false).set("execution_match", true)) ==
        "class=\"right\"><h3>expert <span>right result</span>");
  CHECK(judged(Json::object().set("exact", true).set("execution_match", nullptr)) ==
        "class=\"right\"><h3>expert <span>same text</span>");
  CHECK(judged(Json::object().set("executes", true).set("without_databases", true)) ==
        "class=\"\"><h3>expert <span>executes</span>");
}

}  // namespace report_html_test
