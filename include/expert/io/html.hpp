// Text and figures -> HTML: escaping, and numbers as people read them. For the report; not part of expert.hpp.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

// Safe as text and inside a quoted attribute. Control characters, which HTML forbids, become U+FFFD; bytes above 0x7f
// pass, so the caller sees to UTF-8 (Json holds nothing else).
inline std::string html_escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) {
      out += "\xEF\xBF\xBD";
    } else {
      out += c;
    }
  }
  return out;
}

// 1234567 -> "1,234,567".
inline std::string grouped(std::int64_t value) {
  const std::string digits = std::to_string(value);
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && digits[i - 1] != '-' && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

// Four significant digits, grouped above 9999: 0.4321, 12.35, 1,234, 4.000e-05. What is not finite is a dash.
inline std::string figure(double value) {
  if (!std::isfinite(value)) return "–";
  const double size = std::abs(value);
  if (size >= 1000 && size < 1e15) return grouped(std::llround(value));
  char text[32];
  std::snprintf(text, sizeof text, size != 0 && size < 1e-3 ? "%.2e" : size < 1 ? "%.4f" : "%.4g", value);
  return text;
}

// As short as a tick of an axis should be: 0, 0.3, 250, 12k, 1e-5.
inline std::string tick_text(double value) {
  const double size = std::abs(value);
  char text[32];
  if (size >= 1e15 || (size != 0 && size < 1e-3)) {
    std::snprintf(text, sizeof text, "%.3g", value);
    std::string s = text;  // 1e-05 -> 1e-5
    const std::size_t zero = s.find("e-0");
    if (zero != s.npos) s.erase(zero + 2, 1);
    return s;
  }
  const char* unit = "";
  for (const char* larger : {"k", "M", "G", "T"}) {
    if (std::abs(value) < 1e4) break;
    value /= 1e3;
    unit = larger;
  }
  std::snprintf(text, sizeof text, "%.5g%s", value, unit);
  return text;
}

// Three significant digits: "3.28 M", "156 k", "42".
inline std::string compact(double value) {
  if (!std::isfinite(value)) return "–";
  const char* unit = "";
  for (const char* larger : {" k", " M", " G", " T"}) {
    if (std::abs(value) < 999.5) break;
    value /= 1000;
    unit = larger;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.3g%s", value, unit);
  return text;
}

// Binary units, three significant digits: "512 B", "1.21 MiB".
inline std::string bytes_text(double bytes) {
  if (!std::isfinite(bytes)) return "–";
  const char* unit = "B";
  for (const char* larger : {"KiB", "MiB", "GiB", "TiB"}) {
    if (bytes < 1024) break;
    bytes /= 1024;
    unit = larger;
  }
  char text[32];
  std::snprintf(text, sizeof text,
                *unit == 'B' || bytes >= 100 ? "%.0f %s"
                : bytes >= 10                ? "%.1f %s"
                                             : "%.2f %s",
                bytes, unit);
  return text;
}

// "42 s", "3 min 05 s", "2 h 14 min".
inline std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e15) return "–";
  char text[48];
  if (seconds < 10) {
    std::snprintf(text, sizeof text, "%.1f s", seconds);
    return text;
  }
  const auto s = static_cast<long long>(std::llround(seconds));
  if (s < 60) {
    std::snprintf(text, sizeof text, "%lld s", s);
  } else if (s < 3600) {
    std::snprintf(text, sizeof text, "%lld min %02lld s", s / 60, s % 60);
  } else {
    std::snprintf(text, sizeof text, "%lld h %02lld min", s / 3600, s / 60 % 60);
  }
  return text;
}

}  // namespace v0
}  // namespace expert
