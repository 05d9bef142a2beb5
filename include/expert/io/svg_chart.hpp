// Curves -> one inline <svg> with axes, ticks and a label at the end of each curve. Not part of expert.hpp.
//
// The drawing has no fixed width: lines live in a nested <svg> that stretches (strokes do not), texts are placed by
// per cent and keep their size, so one file reads well on a phone and on a desk. Colours come from the page's CSS:
// classes s0, s1 for curves, faint for the raw values behind a smoothed one.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/io/html.hpp"

namespace expert {
inline namespace v0 {

struct ChartPoint {
  double x, y;
};
struct ChartSeries {
  std::string label;  // written at the last point; empty: none
  std::string style;  // CSS classes
  std::vector<ChartPoint> points;
  bool dots = false;  // mark the points: for few measurements
};
struct ChartOptions {
  std::string title = {};  // read aloud in place of the drawing
  std::string x_name = "step";
  bool log_scale = false;
  bool from_zero = false;
  int height = 240;        // pixels
  int label_width = 96;    // room to the right, pixels
  std::size_t ticks = 5;   // about so many on each axis
  std::size_t most = 800;  // points drawn of a curve
};

// What cannot be drawn is left out; of longer curves every bucket of x keeps its lowest and its highest point.
inline std::vector<ChartPoint> thinned(std::span<const ChartPoint> points, std::size_t most) {
  std::vector<ChartPoint> out;
  for (const ChartPoint& p : points)
    if (std::isfinite(p.x) && std::isfinite(p.y)) out.push_back(p);
  if (out.size() <= most || most < 4) return out;
  std::vector<ChartPoint> kept{out.front()};
  const std::size_t buckets = most / 2 - 1, inner = out.size() - 2;
  for (std::size_t b = 0; b < buckets; ++b) {
    const std::size_t first = 1 + b * inner / buckets, last = 1 + (b + 1) * inner / buckets;
    std::size_t low = first, high = first;
    for (std::size_t i = first; i < last; ++i) {
      if (out[i].y < out[low].y) low = i;
      if (out[i].y > out[high].y) high = i;
    }
    kept.push_back(out[std::min(low, high)]);
    if (low != high) kept.push_back(out[std::max(low, high)]);
  }
  kept.push_back(out.back());
  return kept;
}

// The mean of each point and `side` neighbours on either hand, fewer of both near an end: so it neither lags nor moves
// the ends.
inline std::vector<ChartPoint> smoothed(std::span<const ChartPoint> points, std::size_t side) {
  std::vector<ChartPoint> finite;
  std::vector<double> sums{0};
  for (const ChartPoint& p : points) {
    if (!std::isfinite(p.x) || !std::isfinite(p.y)) continue;
    finite.push_back(p);
    sums.push_back(sums.back() + p.y);
  }
  std::vector<ChartPoint> out;
  for (std::size_t i = 0; i < finite.size(); ++i) {
    const std::size_t n = std::min({side, i, finite.size() - 1 - i});
    out.push_back({finite[i].x, (sums[i + n + 1] - sums[i - n]) / static_cast<double>(2 * n + 1)});
  }
  return out;
}

// Multiples of 1, 2 or 5 times a power of ten within [low, high].
inline std::vector<double> linear_ticks(double low, double high, std::size_t about) {
  const double raw = (high - low) / static_cast<double>(std::max<std::size_t>(1, about));
  if (!(raw > 0) || !std::isfinite(raw)) return {low};
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double nice : {1.0, 2.0, 5.0})
    if (nice * power >= raw * 0.999) {
      step = nice * power;
      break;
    }
  std::vector<double> ticks;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + step * 1e-9 && ticks.size() < 50; ++i)
    ticks.push_back(i == 0 ? 0 : i * step);
  return ticks;
}

// 1, 2 and 5 of every decade, or the powers of ten alone where that would be too many; linear within half a decade.
inline std::vector<double> log_ticks(double low, double high, std::size_t about) {
  std::vector<double> all, powers;
  for (int e = static_cast<int>(std::floor(std::log10(low))); e <= static_cast<int>(std::ceil(std::log10(high))); ++e)
    for (const double nice : {1.0, 2.0, 5.0}) {
      const double tick = nice * std::pow(10.0, e);
      if (tick < low * (1 - 1e-9) || tick > high * (1 + 1e-9)) continue;
      all.push_back(tick);
      if (nice == 1) powers.push_back(tick);
    }
  if (all.size() < 3) return linear_ticks(low, high, about);
  return all.size() <= about + 3 || powers.size() < 2 ? all : powers;
}

namespace detail {

struct ChartAxis {
  double low = 0, high = 1;
  bool log_scale = false;

  // 0 at low, 1 at high.
  double place(double value) const {
    const double p = log_scale ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
    return std::clamp(p, -0.05, 1.05);
  }
  std::vector<double> ticks(std::size_t about) const {
    return log_scale ? log_ticks(low, high, about) : linear_ticks(low, high, about);
  }
};

inline std::string percent(double share) {
  char text[24];
  std::snprintf(text, sizeof text, "%.2f%%", 100 * share);
  return text;
}

inline ChartAxis axis_over(double low, double high, const ChartOptions& options) {
  if (options.log_scale) {
    const double room = low < high ? std::pow(high / low, 0.04) : 1.5;
    return {low / room, high * room, true};
  }
  if (options.from_zero) low = std::min(low, 0.0);
  const double room = low < high ? (high - low) * 0.06 : std::max(std::abs(low) * 0.1, 1e-9);
  return {options.from_zero && low == 0 ? 0 : low - room, high + room, false};
}

// The d of a <path> in a box of 1000 x 1000; a dotted curve is a line of length 0 with a round cap at every point.
inline std::string chart_path(const std::vector<ChartPoint>& points, const ChartAxis& x, const ChartAxis& y,
                              bool as_dots) {
  std::string d;
  char text[48];
  for (const ChartPoint& p : points) {
    std::snprintf(text, sizeof text,
                  as_dots     ? "M%.1f %.1fh0"
                  : d.empty() ? "M%.1f %.1f"
                              : "L%.1f %.1f",
                  1000 * x.place(p.x), 1000 * (1 - y.place(p.y)));
    d += text;
  }
  return d;
}

}  // namespace detail

// Empty text where no point can be drawn. Points that are not finite, or not above 0 on a log scale, are left out.
inline std::string svg_chart(const ChartOptions& options, std::vector<ChartSeries> series) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  double x_low = infinity, x_high = -infinity, y_low = infinity, y_high = -infinity;
  for (ChartSeries& s : series) {
    if (options.log_scale) std::erase_if(s.points, [](const ChartPoint& p) { return !(p.y > 0); });
    s.points = thinned(s.points, options.most);
    for (const ChartPoint& p : s.points) {
      x_low = std::min(x_low, p.x), x_high = std::max(x_high, p.x);
      y_low = std::min(y_low, p.y), y_high = std::max(y_high, p.y);
    }
  }
  std::erase_if(series, [](const ChartSeries& s) { return s.points.empty(); });
  if (series.empty()) return {};
  if (x_low == x_high) x_low -= 1, x_high += 1;
  const detail::ChartAxis x{x_low, x_high, false}, y = detail::axis_over(y_low, y_high, options);

  std::string out, lines, labels;
  std::size_t widest = 1;
  for (const double tick : y.ticks(options.ticks)) {
    const std::string at = detail::percent(1 - y.place(tick)), text = tick_text(tick);
    widest = std::max(widest, text.size());
    lines += "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"" + at + "\" y2=\"" + at + "\"/>";
    labels += "<text class=\"tick\" x=\"0\" dx=\"-8\" y=\"" + at + "\" dy=\".32em\" text-anchor=\"end\">" + text;
    labels += "</text>";
  }
  lines += "<line class=\"axis\" x1=\"0\" x2=\"100%\" y1=\"100%\" y2=\"100%\"/>";
  for (const double tick : x.ticks(options.ticks)) {
    const std::string at = detail::percent(x.place(tick));
    lines += "<line class=\"axis\" x1=\"" + at + "\" x2=\"" + at + "\" y1=\"98%\" y2=\"100%\"/>";
    labels += "<text class=\"tick\" x=\"" + at + "\" y=\"100%\" dy=\"18\" text-anchor=\"middle\">" + tick_text(tick);
    labels += "</text>";
  }
  labels +=
      "<text class=\"tick\" x=\"100%\" y=\"100%\" dx=\"22\" dy=\"18\">" + html_escaped(options.x_name) + "</text>";

  std::string curves;
  std::vector<std::pair<double, const ChartSeries*>> ends;  // where each label would like to stand
  for (const ChartSeries& s : series) {
    const bool dots = s.dots || s.points.size() == 1;
    curves += "<path class=\"curve " + s.style + "\" d=\"" + detail::chart_path(s.points, x, y, false) + "\"/>";
    if (dots) curves += "<path class=\"dots " + s.style + "\" d=\"" + detail::chart_path(s.points, x, y, true) + "\"/>";
    if (!s.label.empty()) ends.emplace_back(1 - y.place(s.points.back().y), &s);
  }
  std::stable_sort(ends.begin(), ends.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const double line_height = 34.0 / options.height;  // name and value
  for (std::size_t i = 1; i < ends.size(); ++i)
    ends[i].first = std::max(ends[i].first, ends[i - 1].first + line_height);
  for (std::size_t i = ends.size(); i-- > 0;)
    ends[i].first =
        std::min(ends[i].first, (i + 1 < ends.size() ? ends[i + 1].first : 1.0 + line_height / 2) - line_height);
  for (const auto& [at, s] : ends) {
    const std::string y_text = detail::percent(at);
    labels += "<text class=\"label " + s->style + "\" x=\"100%\" dx=\"10\" y=\"" + y_text + "\" dy=\"-.1em\">";
    labels += html_escaped(s->label) + "</text><text class=\"label " + s->style + "\" x=\"100%\" dx=\"10\" y=\"";
    labels += y_text + "\" dy=\"1.1em\">" + figure(s->points.back().y) + "</text>";
  }

  const int left = 14 + 7 * static_cast<int>(widest);
  out += "<svg class=\"chart\" role=\"img\" aria-label=\"" + html_escaped(options.title) + "\" height=\"";
  out += std::to_string(options.height) + "\" style=\"margin:10px " + std::to_string(options.label_width) + "px 30px ";
  out += std::to_string(left) + "px;width:calc(100% - " + std::to_string(left + options.label_width) + "px)\">";
  out += lines + "<svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" width=\"100%\" height=\"100%\" ";
  out += "overflow=\"visible\">" + curves + "</svg>" + labels + "</svg>";
  return out;
}

}  // namespace v0
}  // namespace expert
