// run.json, the rows of a training's log, samples and evaluations -> report.html: one file that fetches nothing.
// Not part of expert.hpp.
//
// Every input may lack every part (a run that has just begun has no results): what is not there is not shown.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/io/html.hpp"
#include "expert/io/report_style.hpp"
#include "expert/io/svg_chart.hpp"
#include "expert/json/value.hpp"

namespace expert {
inline namespace v0 {

struct ReportInput {
  Json run;                                         // run.json
  Json::Array log;                                  // metrics.jsonl
  Json samples;                                     // {note, rows: [{question, context, reference, group, answers}]},
                                                    // answers: [{system, output, eval: {metric: bool, message}}]
  std::vector<std::pair<std::string, Json>> evals;  // name -> what `expert-cli eval --json` prints
};

namespace detail {

// A value that may be absent: texts come escaped, numbers as NaN where there is none.
class Part {
 public:
  explicit Part(const Json& json) : json_(&json) {}
  Part(const Json& json, std::string_view pointer) : json_(json.at_pointer(pointer)) {}
  Part at(std::string_view pointer) const { return json_ == nullptr ? *this : Part(*json_, pointer); }
  bool exists() const { return json_ != nullptr && !json_->is_null(); }
  const Json* json() const { return json_; }
  double number(std::string_view pointer) const {
    const Json* value = at(pointer).json_;
    return value != nullptr && value->is_number() ? value->as_double() : std::numeric_limits<double>::quiet_NaN();
  }
  // 0 where there is none or it is no count.
  std::int64_t count(std::string_view pointer) const {
    const Json* value = at(pointer).json_;
    return value != nullptr && value->is_integer() ? value->as_int() : 0;
  }
  std::string text(std::string_view pointer) const {
    const Json* value = at(pointer).json_;
    if (value == nullptr || value->is_null()) return {};
    return html_escaped(value->is_string() ? value->as_string() : value->dump());
  }
  const Json::Array& items(std::string_view pointer) const {
    static const Json::Array none;
    const Json* value = at(pointer).json_;
    return value != nullptr && value->is_array() ? value->items() : none;
  }
  const Json::Members& members(std::string_view pointer) const {
    static const Json::Members none;
    const Json* value = at(pointer).json_;
    return value != nullptr && value->is_object() ? value->members() : none;
  }

 private:
  const Json* json_;
};

// Names of metrics and counts as people read them: execution_match -> execution match.
inline std::string spaced(std::string_view key) {
  std::string text = html_escaped(key);
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}
inline std::string percent_text(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f\u00a0%%", 100 * share);
  return std::isfinite(share) ? text : "–";
}

class ReportPage {
 public:
  explicit ReportPage(const ReportInput& input) : input_(input), run_(input.run), samples_(input.samples) {}

  std::string html() {
    const std::string name = run_.text("/expert/name");
    figures();
    curves();
    evaluation();
    samples();
    data();
    memory();
    configuration();
    machine();
    usage();
    std::string out = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>";
    out += (name.empty() ? "Training" : name) + ": training report</title>\n<style>";
    out += report_style;
    out += "</style>\n</head>\n<body>\n" + header(name) + out_;
    out += "<footer>Written by expert " + run_.text("/build/version");
    out += ". One file: no script, nothing is fetched.</footer>\n</body>\n</html>\n";
    return out;
  }

 private:
  std::string header(const std::string& name) const {
    std::string out = "<header>\n<p class=\"kicker\">expert · training report</p>\n<h1>";
    out += name.empty() ? "Training" : name;
    out += "</h1>\n";
    if (const std::string lede = run_.text("/expert/description"); !lede.empty())
      out += "<p class=\"lede\">" + lede + "</p>\n";
    std::string meta;
    const auto add = [&](const std::string& text) {
      if (!text.empty()) meta += (meta.empty() ? "" : " · ") + text;
    };
    add(run_.text("/status"));
    add(run_.text("/started"));
    if (const std::string cpu = run_.text("/machine/cpu"); !cpu.empty())
      add(run_.text("/machine/threads") + " threads of " + cpu + " (" + run_.text("/machine/isa") + ")");
    if (const std::string git = run_.text("/build/git"); !git.empty())
      add("expert " + run_.text("/build/version") + ", " + git.substr(0, 12));
    out += "<p class=\"meta\">" + meta + "</p>\n";
    if (const std::string type = run_.text("/expert/type"); !type.empty())
      out += "<pre class=\"block\">" + type + "</pre>\n";
    return out + "<nav>" + links_ + "</nav>\n</header>\n";
  }

  void section(const char* id, const char* title) {
    out_ += std::string("<h2 id=\"") + id + "\">" + title + "</h2>\n";
    links_ += std::string("<a href=\"#") + id + "\">" + title + "</a>";
  }

  void tile(const char* name, const std::string& value, const std::string& small = {}) {
    out_ += std::string("<div><dt>") + name + "</dt><dd>" + value;
    if (!small.empty()) out_ += "<small>" + small + "</small>";
    out_ += "</dd></div>\n";
  }

  const Json* last_with(std::string_view key) const {
    for (std::size_t i = input_.log.size(); i-- > 0;)
      if (const Json* value = input_.log[i].find(key); value != nullptr && value->is_number()) return &input_.log[i];
    return nullptr;
  }

  void figures() {
    out_ += "<dl class=\"figures\">\n";
    if (const Json* row = last_with("loss"))
      tile("training loss", figure(Part(*row).number("/loss")), "step " + Part(*row).text("/step"));
    const Json* best = nullptr;
    for (const Json& row : input_.log)
      if (const double loss = Part(row).number("/eval_loss"); std::isfinite(loss))
        if (best == nullptr || loss < Part(*best).number("/eval_loss")) best = &row;
    if (best != nullptr)
      tile("best evaluation loss", figure(Part(*best).number("/eval_loss")), "step " + Part(*best).text("/step"));
    const Part results = run_.at("/results");
    if (results.exists()) {
      tile("steps", grouped(results.count("/global_step")), "of " + grouped(run_.count("/training/max_steps")));
      tile("tokens", compact(results.number("/num_input_tokens_seen")),
           figure(results.number("/tokens_per_second")) + " a second");
      tile("time", duration_text(results.number("/train_runtime")));
    }
    if (const std::int64_t n = run_.count("/training/trainable_parameters"); n > 0)
      tile("trained parameters", compact(static_cast<double>(n)), grouped(n));
    if (const double fill = run_.number("/data/train/fill"); std::isfinite(fill))
      tile(run_.text("/data/train/row_path") == "padded" ? "padded, fill" : "packed, fill", percent_text(fill));
    if (const double peak = run_.number("/memory/rss_peak_bytes"); std::isfinite(peak))
      tile("peak memory", bytes_text(peak), "plan " + bytes_text(run_.number("/memory/planned_bytes")));
    out_ += "</dl>\n";
  }

  std::vector<ChartPoint> curve(std::string_view key) const {
    std::vector<ChartPoint> points;
    for (const Json& row : input_.log) {
      const Json *x = row.find("step"), *y = row.find(key);
      if (x != nullptr && y != nullptr && x->is_number() && y->is_number())
        points.push_back({x->as_double(), y->as_double()});
    }
    return points;
  }

  void curves() {
    const std::vector<ChartPoint> train = curve("loss"), eval = curve("eval_loss");
    if (train.empty() && eval.empty()) return;
    section("curves", "Training");
    double low = std::numeric_limits<double>::infinity(), high = 0;
    for (const auto& points : {train, eval})
      for (const ChartPoint& p : points) low = std::min(low, p.y), high = std::max(high, p.y);
    const bool log_scale = low > 0 && high / low >= 12;
    const std::size_t side = train.size() / 50;  // rows on either side of the one that is smoothed
    const bool smooth = train.size() >= 60;
    std::vector<ChartSeries> series;
    if (smooth) series.push_back({"", "s0 faint", train});
    series.push_back({"training", "s0", smooth ? smoothed(train, side) : train});
    series.push_back({"evaluation", "s1", eval, eval.size() <= 60});
    std::string caption = "Mean over the tokens that bear loss.";
    if (log_scale) caption += " Logarithmic scale.";
    if (smooth)
      caption += " Faint: every logged value; strong: the mean of " + std::to_string(2 * side + 1) + " of them.";
    out_ += "<figure><h3>Loss</h3>";
    out_ += svg_chart({.title = "Loss by optimizer step", .log_scale = log_scale, .height = 300}, std::move(series));
    out_ += "<figcaption>" + caption + "</figcaption></figure>\n<div class=\"trio\">\n";
    const auto small = [&](const char* title, const char* key, bool log_axis) {
      std::vector<ChartPoint> points = curve(key);
      if (points.empty()) return;
      out_ += std::string("<figure><h3>") + title + "</h3>";
      out_ += svg_chart({.title = std::string(title) + " by optimizer step",
                         .log_scale = log_axis,
                         .from_zero = !log_axis,
                         .height = 150,
                         .label_width = 62,
                         .ticks = 3,
                         .most = 400},
                        {{"", "s0", std::move(points)}});
      out_ += "</figure>\n";
    };
    small("Learning rate", "learning_rate", false);
    small("Gradient norm (log)", "grad_norm", true);
    small("Tokens a second", "tokens_per_second", false);
    out_ += "</div>\n";
  }

  // One row per system within each group; a cell is the share and its interval. The last metric is also drawn, and the
  // highest in its group is bold.
  void evaluation() {
    if (input_.evals.empty()) return;
    section("evaluation", "Evaluation");
    std::vector<std::string> columns, groups;
    const auto add = [](std::vector<std::string>& to, const std::string& name) {
      if (std::find(to.begin(), to.end(), name) == to.end()) to.push_back(name);
    };
    for (const auto& [name, eval] : input_.evals) {
      for (const auto& [key, value] : Part(eval).members(""))
        if (value.find("share") != nullptr || (value.is_number() && key != "n" && key != "exit_code"))
          add(columns, key);
      for (const auto& [group, value] : Part(eval).members("/groups")) add(groups, group);
    }
    std::string drawn;
    for (const std::string& column : columns)
      if (input_.evals.front().second.at_pointer("/" + column + "/share") != nullptr) drawn = column;
    out_ += "<p class=\"note\">Share of rows, with Wilson's 95 % interval";
    if (!drawn.empty()) out_ += "; on the right " + spaced(drawn);
    out_ += ".</p>\n<div class=\"box\"><table class=\"shares\">\n<tr><th></th><th class=\"n\">rows</th>";
    for (const std::string& column : columns) out_ += "<th class=\"n\">" + spaced(column) + "</th>";
    if (!drawn.empty()) out_ += "<th class=\"scale\"><span>0</span><span>100 %</span></th>";
    out_ += "</tr>\n";
    const auto block = [&](const std::string& title, const std::string* group) {
      if (!groups.empty())
        out_ +=
            "<tr class=\"group\"><th colspan=\"" + std::to_string(columns.size() + 3) + "\">" + title + "</th></tr>\n";
      std::vector<std::pair<std::string, Part>> rows;
      double best = 0;
      for (const auto& [name, eval] : input_.evals) {
        const Json* all = eval.find("groups");
        const Json* row = group == nullptr ? &eval : all == nullptr ? nullptr : all->find(*group);
        if (row == nullptr) continue;
        rows.emplace_back(name, Part(*row));
        const double share = rows.back().second.at("/" + drawn).number("/share");
        if (share > best) best = share;
      }
      for (const auto& [name, row] : rows) evaluation_row(name, row, columns, drawn, best);
    };
    block("all rows", nullptr);
    for (const std::string& group : groups) block(spaced(group), &group);
    out_ += "</table></div>\n";
  }

  void evaluation_row(const std::string& name, const Part& row, const std::vector<std::string>& columns,
                      const std::string& drawn, double best) {
    const Part headline = row.at("/" + drawn);
    out_ += headline.number("/share") == best ? "<tr class=\"best\"><td>" : "<tr><td>";
    out_ += html_escaped(name) + "</td><td class=\"n\">" + grouped(row.count("/n")) + "</td>";
    const auto ends = [](const Part& metric) {
      return std::pair(std::clamp(metric.number("/low"), 0.0, 1.0), std::clamp(metric.number("/high"), 0.0, 1.0));
    };
    for (const std::string& column : columns) {
      const Part metric = row.at("/" + column);
      out_ += "<td class=\"n\">";
      if (metric.exists() && metric.json()->is_number()) out_ += figure(metric.json()->as_double());
      if (metric.exists() && metric.json()->is_object()) {
        out_ += percent_text(metric.number("/share"));
        const auto [low, high] = ends(metric);
        char interval[48];
        std::snprintf(interval, sizeof interval, " <small>[%.1f, %.1f]</small>", 100 * low, 100 * high);
        if (std::isfinite(low) && std::isfinite(high)) out_ += interval;
      }
      out_ += "</td>";
    }
    if (drawn.empty()) return void(out_ += "</tr>\n");
    out_ += "<td class=\"scale\">";
    const auto [low, high] = ends(headline);
    if (const double share = headline.number("/share"); std::isfinite(share) && std::isfinite(low + high)) {
      out_ += "<svg width=\"100%\" height=\"14\" overflow=\"visible\" aria-hidden=\"true\">";
      for (const char* x : {"0", "50%", "100%"})
        out_ += std::string("<line class=\"grid\" x1=\"") + x + "\" x2=\"" + x + "\" y1=\"-6\" y2=\"20\"/>";
      out_ += "<line class=\"curve s0\" x1=\"" + percent(low) + "\" x2=\"" + percent(high) + "\" y1=\"7\" y2=\"7\"/>";
      out_ += "<circle cx=\"" + percent(std::clamp(share, 0.0, 1.0)) + "\" cy=\"7\" r=\"4\"/></svg>";
    }
    out_ += "</td></tr>\n";
  }

  void samples() {
    if (samples_.items("/rows").empty()) return;
    section("samples", "Samples");
    if (const std::string note = samples_.text("/note"); !note.empty()) out_ += "<p class=\"note\">" + note + "</p>\n";
    for (const Json& row : samples_.items("/rows")) {
      const Part sample(row);
      out_ += "<article class=\"sample\">";
      if (const std::string group = sample.text("/group"); !group.empty())
        out_ += "<span class=\"group\">" + spaced_text(group) + "</span>";
      out_ += "<p>" + sample.text("/question") + "</p>\n";
      if (const std::string context = sample.text("/context"); !context.empty())
        out_ += "<details><summary>context</summary><pre class=\"block\">" + context + "</pre></details>\n";
      out_ += "<div class=\"answers\">\n";
      if (const std::string reference = sample.text("/reference"); !reference.empty())
        out_ += "<div><h3>reference</h3><pre>" + reference + "</pre></div>\n";
      for (const Json& answer : sample.items("/answers")) answer_of(Part(answer));
      out_ += "</div></article>\n";
    }
  }

  // The first verdict that failed is named. Right is what gave the right result, or, where no result could be compared,
  // what has the reference's text.
  void answer_of(const Part& answer) {
    struct Verdict {
      const char *pointer, *passed, *failed;
    };
    constexpr Verdict verdicts[] = {{"/eval/parse_valid", "parses", "does not parse"},
                                    {"/eval/executes", "executes", "does not execute"},
                                    {"/eval/exact", "same text", "another text"},
                                    {"/eval/execution_match", "right result", "another result"}};
    const bool has_result = answer.at("/eval/execution_match").exists();
    std::string css, words;
    for (const Verdict& v : verdicts) {
      const Json* value = answer.at(v.pointer).json();
      const bool is_text = v.pointer == verdicts[2].pointer;
      if (value == nullptr || !value->is_bool() || (is_text && has_result)) continue;
      if (!value->as_bool()) css = "wrong";
      if (value->as_bool() && (is_text || v.pointer == verdicts[3].pointer)) css = "right";
      words = value->as_bool() ? v.passed : v.failed;
      if (css == "wrong") break;
    }
    out_ += "<div class=\"" + css + "\"><h3>" + answer.text("/system") + " <span>" + words + "</span></h3><pre>";
    const std::string output = answer.text("/output");
    out_ += (output.empty() ? "<i>nothing</i>" : output) + "</pre>";
    if (const std::string message = answer.text("/eval/message"); !message.empty()) out_ += "<p>" + message + "</p>";
    out_ += "</div>\n";
  }

  void data() {
    if (run_.members("/data").empty()) return;
    section("data", "Data");
    out_ += "<div class=\"pair\">\n";
    for (const auto& [name, set] : run_.members("/data")) {
      const Part part(set);
      out_ += "<div><h3>" + spaced(name) + "</h3>\n";
      if (const std::string path = part.text("/row_path"); !path.empty())
        out_ += "<p>Rows are <strong>" + path + "</strong>: " + part.text("/reason") + ". " +
                percent_text(part.number("/fill")) + " of the token places hold a token.</p>\n";
      out_ += "<div class=\"box\"><table>\n";
      const auto line = [&](const std::string& what, const Json& value) {
        if (value.is_int64())
          out_ += "<tr><td>" + what + "</td><td class=\"n\">" + grouped(value.as_int()) + "</td></tr>\n";
      };
      for (const auto& [key, value] : part.members("")) line(spaced(key), value);
      for (const auto& [shape, n] : part.members("/shapes")) line("rows of shape " + spaced(shape), n);
      out_ += "</table></div>\n";
      if (const std::string path = part.text("/path"), hash = part.text("/sha256"); !path.empty()) {
        out_ += "<p class=\"note\"><code>" + path + "</code>";
        if (!hash.empty()) out_ += "<br>SHA-256 <code>" + hash + "</code>";
        out_ += "</p>\n";
      }
      out_ += "</div>\n";
    }
    out_ += "</div>\n";
  }

  void memory() {
    std::vector<std::pair<std::int64_t, std::string>> buffers;
    for (const Json& buffer : run_.items("/memory/buffers"))
      if (const std::int64_t bytes = Part(buffer).count("/bytes"); bytes > 0)
        buffers.emplace_back(bytes, Part(buffer).text("/name"));
    if (buffers.empty()) return;
    section("memory", "Memory");
    std::stable_sort(buffers.begin(), buffers.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    const Part memory = run_.at("/memory");
    out_ += "<p>The plan of a step is part of the expert's type and was known before the program ran: ";
    out_ += bytes_text(memory.number("/planned_bytes")) + " in " + std::to_string(buffers.size()) + " buffers, for ";
    out_ += grouped(memory.count("/tokens_at_once")) + " tokens at once.";
    if (const double peak = memory.number("/rss_peak_bytes"); std::isfinite(peak))
      out_ += " The process peaked at " + bytes_text(peak) +
              " of resident memory, which also holds the base weights, the rows and the tokenizer.";
    out_ += "</p>\n<div class=\"box\"><table>\n<tr><th>buffer</th><th class=\"n\">bytes</th><th></th></tr>\n";
    for (const auto& [bytes, name] : buffers) {
      out_ += "<tr><td>" + name + "</td><td class=\"n\">" + grouped(bytes) + "</td><td class=\"bar\"><i style=\"width:";
      out_ += percent(static_cast<double>(bytes) / static_cast<double>(buffers.front().first)) + "\"></i></td></tr>\n";
    }
    out_ += "<tr class=\"total\"><td>planned</td><td class=\"n\">" + grouped(memory.count("/planned_bytes"));
    out_ += "</td><td></td></tr>\n";
    if (memory.at("/base_bytes").exists())
      out_ += "<tr><td>base weights, mapped</td><td class=\"n\">" + grouped(memory.count("/base_bytes")) +
              "</td><td></td></tr>\n";
    if (memory.at("/rss_peak_bytes").exists())
      out_ += "<tr><td>measured peak of the process</td><td class=\"n\">" + grouped(memory.count("/rss_peak_bytes")) +
              "</td><td></td></tr>\n";
    out_ += "</table></div>\n";
  }

  void configuration() {
    if (run_.items("/configuration").empty()) return;
    section("configuration", "Configuration");
    out_ +=
        "<p class=\"note\">Every value that the run used, and where it came from: the manifest, a flag, or the "
        "default.</p>\n";
    out_ += "<div class=\"box\"><table>\n<tr><th>field</th><th>value</th><th>from</th><th>compiled as</th></tr>\n";
    for (const Json& json : run_.items("/configuration")) {
      const Part row(json);
      const std::string origin = row.text("/origin");
      out_ += "<tr><td class=\"key mono\">" + breakable(row.text("/pointer")) + "</td><td class=\"long mono\">" +
              row.text("/value");
      out_ += "</td><td><span class=\"" + origin + "\">" + origin + "</span></td><td class=\"mono\">";
      out_ += row.text("/policy") + "</td></tr>\n";
    }
    out_ += "</table></div>\n";
  }

  void machine() {
    if (!run_.at("/machine").exists() && !run_.at("/build").exists()) return;
    section("run", "Machine and build");
    out_ += "<div class=\"box\"><table>\n";
    for (const char* block : {"/build", "/machine", "/base"})
      for (const auto& [key, value] : run_.members(block)) {
        if (value.is_object() || value.is_array()) continue;
        out_ += "<tr><td>" + std::string(block + 1) + ", " + spaced(key) + "</td><td class=\"long mono\">";
        out_ += Part(value).text("") + "</td></tr>\n";
      }
    out_ += "</table></div>\n";
    if (const std::string command = run_.text("/command_line"); !command.empty())
      out_ += "<h3>Command</h3>\n<pre class=\"block\">" + command + "</pre>\n";
  }

  void usage() {
    if (run_.items("/usage").empty()) return;
    section("use", "Use it");
    if (const std::string out = run_.text("/output"); !out.empty())
      out_ += "<p>The result lies in <code>" + out + "</code>.</p>\n";
    for (const Json& json : run_.items("/usage")) {
      const Part use(json);
      out_ += "<h3>" + use.text("/what") + "</h3>\n<pre class=\"block\">" + use.text("/command") + "</pre>\n";
    }
  }

  // A JSON pointer, escaped already, that may go on in the next line after each of its parts.
  static std::string breakable(const std::string& pointer) {
    std::string out;
    for (const char c : pointer) out += c == '/' && !out.empty() ? "<wbr>/" : std::string(1, c);
    return out;
  }
  static std::string spaced_text(std::string escaped) {
    std::replace(escaped.begin(), escaped.end(), '_', ' ');
    return escaped;
  }

  const ReportInput& input_;
  Part run_, samples_;
  std::string out_, links_;
};

}  // namespace detail

inline std::string report_html(const ReportInput& input) { return detail::ReportPage(input).html(); }

}  // namespace v0
}  // namespace expert
