// Bounds of a number -> the decimal numbers between them, as a part of a grammar.
#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/grammar/syntax.hpp"

namespace expert {
inline namespace v0 {
namespace detail {

// A decimal without sign: digits before the point (no leading zeros, "0" at least) and behind it (no trailing zeros).
struct Decimal {
  std::string whole = "0", fraction = "";
  friend bool operator==(const Decimal&, const Decimal&) = default;
};
inline bool less(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size();
  const int order = a.whole.compare(b.whole);
  return order != 0 ? order < 0 : a.fraction.compare(b.fraction) < 0;
}
// |value|, exactly as its shortest decimal text.
inline Decimal decimal_of(double value) {
  char text[512];
  const char* end = std::to_chars(text, text + sizeof text, std::abs(value), std::chars_format::fixed).ptr;
  const std::string_view all(text, static_cast<std::size_t>(end - text));
  const std::size_t point = all.find('.');
  Decimal d{std::string(all.substr(0, point)), point == all.npos ? "" : std::string(all.substr(point + 1))};
  while (!d.fraction.empty() && d.fraction.back() == '0') d.fraction.pop_back();
  return d;
}

struct NumberBound {
  double value = 0;
  bool open = false;  // the bound itself is left out
};

// Builds into `syntax`. Numbers are written without exponents; integers without a point.
class NumberRange {
 public:
  NumberRange(GrammarSyntax& syntax, bool integer) : syntax_(syntax), integer_(integer) {}

  // Numbers from low to high; -1 where there is none.
  std::int32_t between(std::optional<NumberBound> low, std::optional<NumberBound> high) {
    if (integer_) round(low, high);
    std::vector<std::int32_t> choices;
    // Zero and above, written without a sign.
    if (!high || high->value > 0 || (high->value == 0 && !high->open)) {
      const bool from_zero = !low || low->value < 0;
      add(choices, from_zero ? Decimal{} : decimal_of(low->value), !from_zero && low->open, to_decimal(high),
          high && high->open);
    }
    if (!low || low->value < 0) {  // below zero: the mirror image behind a minus
      const bool to_zero = !high || high->value >= 0;
      std::vector<std::int32_t> mirrored;
      add(mirrored, to_zero ? Decimal{} : decimal_of(high->value), to_zero || high->open, to_decimal(low),
          low && low->open);
      if (!mirrored.empty())
        choices.push_back(syntax_.sequence({syntax_.text("-"), syntax_.choice(std::move(mirrored))}));
    }
    return choices.empty() ? -1 : syntax_.choice(std::move(choices));
  }

 private:
  // To the integers within; bounds become closed.
  static void round(std::optional<NumberBound>& low, std::optional<NumberBound>& high) {
    if (low) {
      const double up = std::ceil(low->value);
      low = NumberBound{low->open && up == low->value ? up + 1 : up, false};
    }
    if (high) {
      const double down = std::floor(high->value);
      high = NumberBound{high->open && down == high->value ? down - 1 : down, false};
    }
  }
  static std::optional<Decimal> to_decimal(const std::optional<NumberBound>& bound) {
    return bound ? std::optional(decimal_of(bound->value)) : std::nullopt;
  }

  // low <= x <= high, or < where a bound is open; no high: no bound.
  void add(std::vector<std::int32_t>& out, const Decimal& low, bool low_open, const std::optional<Decimal>& high,
           bool high_open) {
    if (high && (less(*high, low) || (*high == low && (low_open || high_open)))) return;
    if (integer_ && low_open) return add(out, {next(low.whole), ""}, false, high, high_open);  // only behind a minus
    if (high && low.whole == high->whole) {
      const std::int32_t fraction = fraction_between(low.fraction, low_open, high->fraction, high_open);
      if (fraction >= 0) out.push_back(syntax_.sequence({syntax_.text(low.whole), fraction}));
      return;
    }
    if (const std::int32_t f = fraction_above(low.fraction, low_open); f >= 0)
      out.push_back(syntax_.sequence({syntax_.text(low.whole), f}));
    whole_between(out, low.whole, high);
    if (high)
      if (const std::int32_t f = fraction_below(high->fraction, high_open); f >= 0)
        out.push_back(syntax_.sequence({syntax_.text(high->whole), f}));
  }

  // Whole parts above low and below high's, with any fraction.
  void whole_between(std::vector<std::int32_t>& out, const std::string& low, const std::optional<Decimal>& high) {
    const std::string from = next(low);
    std::vector<std::int32_t> wholes;
    const std::size_t last = high ? high->whole.size() : from.size();
    for (std::size_t size = from.size(); size <= last; ++size) {
      std::string least = from;
      if (size > from.size()) least.assign(size, '0').front() = '1';
      std::string most(size, '9');
      if (high && size == last) most = previous(high->whole);
      if (most.size() == size && least <= most) wholes.push_back(digits_between(least, most));
    }
    if (!high)
      wholes.push_back(syntax_.sequence(
          {digit('1', '9'), syntax_.repeat(any_digit(), static_cast<std::int64_t>(last), GrammarNode::unbounded)}));
    if (!wholes.empty()) out.push_back(syntax_.sequence({syntax_.choice(std::move(wholes)), any_fraction()}));
  }
  static std::string next(std::string whole) {
    std::size_t i = whole.size();
    while (i > 0 && whole[i - 1] == '9') whole[--i] = '0';
    if (i == 0) return "1" + whole;
    ++whole[i - 1];
    return whole;
  }
  static std::string previous(std::string whole) {  // of a number above 0
    std::size_t i = whole.size();
    while (whole[i - 1] == '0') whole[--i] = '9';
    --whole[i - 1];
    return whole.size() > 1 && whole[0] == '0' ? whole.substr(1) : whole;
  }
  // Two texts of equal length, the first not above the second.
  std::int32_t digits_between(std::string_view low, std::string_view high) {
    if (low.empty()) return syntax_.text("");
    if (low[0] == high[0])
      return syntax_.sequence({syntax_.text(low.substr(0, 1)), digits_between(low.substr(1), high.substr(1))});
    std::vector<std::int32_t> choices;
    const auto size = static_cast<std::int64_t>(low.size() - 1);
    char first = low[0], last = high[0];
    if (low.find_first_not_of('0', 1) != low.npos)
      choices.push_back(syntax_.sequence(
          {syntax_.text({&first, 1}), digits_between(low.substr(1), std::string(low.size() - 1, '9'))})),
          ++first;
    if (high.find_first_not_of('9', 1) != high.npos)
      choices.push_back(syntax_.sequence(
          {syntax_.text({&last, 1}), digits_between(std::string(high.size() - 1, '0'), high.substr(1))})),
          --last;
    if (first <= last)
      choices.push_back(syntax_.sequence({digit(first, last), syntax_.repeat(any_digit(), size, size)}));
    return syntax_.choice(std::move(choices));
  }

  // What may stand behind a whole part: "" or a point and digits. -1 where nothing may.
  std::int32_t any_fraction() { return integer_ ? syntax_.text("") : syntax_.optional(with_point(digits(1))); }
  std::int32_t fraction_above(std::string_view low, bool open) {
    if (integer_) return low.empty() && !open ? syntax_.text("") : -1;
    if (low.empty() && !open) return any_fraction();
    return with_point(digits_above(low, open));
  }
  std::int32_t fraction_below(std::string_view high, bool open) {
    if (high.empty() && open) return -1;
    if (integer_) return syntax_.text("");
    if (high.empty()) return syntax_.optional(with_point(zeros(1)));
    return syntax_.optional(with_point(digits_below(high, open)));
  }
  std::int32_t fraction_between(std::string_view low, bool low_open, std::string_view high, bool high_open) {
    if (integer_) return syntax_.text("");
    if (low == high) {  // one number, in all its spellings
      if (low.empty()) return fraction_below(low, false);
      return with_point(syntax_.sequence({syntax_.text(low), zeros(0)}));
    }
    std::size_t same = 0;
    while (same < low.size() && low[same] == high[same]) ++same;
    // Digits as far as both agree, then a digit between the bounds' own, or one of them and a rest that decides.
    const std::string_view low_rest = low.substr(same), high_rest = high.substr(same);
    const char low_digit = low_rest.empty() ? '0' : low_rest[0];
    std::vector<std::int32_t> choices;
    if (low_digit + 1 < high_rest[0])
      choices.push_back(
          syntax_.sequence({digit(static_cast<char>(low_digit + 1), static_cast<char>(high_rest[0] - 1)), digits(0)}));
    if (low_digit != high_rest[0]) {
      const std::int32_t rest = after_low(low_rest, low_open);
      choices.push_back(syntax_.sequence({digit(low_digit, low_digit), rest}));
      if (const std::int32_t below = after_high(high_rest.substr(1), high_open); below >= 0)
        choices.push_back(syntax_.sequence({digit(high_rest[0], high_rest[0]), below}));
    } else {  // low ends here and high goes on with zeros
      const std::int32_t rest = between_zeros(high_rest, low_open, high_open);
      if (rest >= 0) choices.push_back(rest);
    }
    const std::int32_t tail = syntax_.sequence({syntax_.text(low.substr(0, same)), syntax_.choice(std::move(choices))});
    const bool short_form = low_rest.empty() && !low_open;  // the bound itself, without more digits
    if (!short_form) return with_point(tail);
    if (same == 0) return syntax_.optional(with_point(tail));
    return with_point(syntax_.choice({tail, syntax_.text(low)}));
  }
  // Digits behind low's first differing one: at least low's rest.
  std::int32_t after_low(std::string_view low_rest, bool open) {
    const std::string_view rest = low_rest.empty() ? low_rest : low_rest.substr(1);
    if (rest.empty()) return open ? some_nonzero() : digits(0);
    return digits_above(rest, open);
  }
  std::int32_t after_high(std::string_view rest, bool open) {
    if (rest.empty()) return open ? -1 : zeros(0);
    return syntax_.optional(digits_below(rest, open));
  }
  // Fractions from 0 to `high`, which begins with zeros and has another digit.
  std::int32_t between_zeros(std::string_view high, bool low_open, bool high_open) {
    std::vector<std::int32_t> choices;
    const std::size_t zero_count = high.find_first_not_of('0');
    const std::string_view rest = high.substr(zero_count);
    std::vector<std::int32_t> tails;
    if (rest[0] > '1') tails.push_back(syntax_.sequence({digit('1', static_cast<char>(rest[0] - 1)), digits(0)}));
    if (const std::int32_t below = after_high(rest.substr(1), high_open); below >= 0)
      tails.push_back(syntax_.sequence({digit(rest[0], rest[0]), below}));
    tails.push_back(syntax_.sequence({digit('0', '0'), low_open ? some_nonzero() : digits(0)}));
    const std::string zero_text(zero_count, '0');
    choices.push_back(syntax_.sequence({syntax_.text(zero_text), syntax_.choice(std::move(tails))}));
    if (!low_open) choices.push_back(syntax_.repeat(digit('0', '0'), 1, static_cast<std::int64_t>(zero_count)));
    return syntax_.choice(std::move(choices));
  }

  // Digits behind the point of at least (more than, where open) `low`, which has one digit or more, or is empty.
  std::int32_t digits_above(std::string_view low, bool open) {
    std::vector<std::int32_t> choices;
    for (std::size_t i = 0; i < low.size(); ++i)
      if (low[i] < '9')
        choices.push_back(
            syntax_.sequence({syntax_.text(low.substr(0, i)), digit(static_cast<char>(low[i] + 1), '9'), digits(0)}));
    choices.push_back(syntax_.sequence({syntax_.text(low), open ? some_nonzero() : digits(0)}));
    return syntax_.choice(std::move(choices));
  }
  // Digits behind the point of at most (less than, where open) `high`, which has one digit or more.
  std::int32_t digits_below(std::string_view high, bool open) {
    std::vector<std::int32_t> choices;
    for (std::size_t i = 0; i < high.size(); ++i) {
      if (high[i] > '0')
        choices.push_back(
            syntax_.sequence({syntax_.text(high.substr(0, i)), digit('0', static_cast<char>(high[i] - 1)), digits(0)}));
      if (i > 0) choices.push_back(syntax_.text(high.substr(0, i)));
    }
    if (!open) choices.push_back(syntax_.sequence({syntax_.text(high), zeros(0)}));
    return syntax_.choice(std::move(choices));
  }

  std::int32_t digit(char low, char high) {
    return syntax_.chars({{static_cast<unsigned char>(low), static_cast<unsigned char>(high)}});
  }
  std::int32_t any_digit() { return digit('0', '9'); }
  std::int32_t digits(std::int64_t min) { return syntax_.repeat(any_digit(), min, GrammarNode::unbounded); }
  std::int32_t zeros(std::int64_t min) { return syntax_.repeat(digit('0', '0'), min, GrammarNode::unbounded); }
  std::int32_t some_nonzero() { return syntax_.sequence({zeros(0), digit('1', '9'), digits(0)}); }
  std::int32_t with_point(std::int32_t digits) { return syntax_.sequence({syntax_.text("."), digits}); }

  GrammarSyntax& syntax_;
  bool integer_;
};

}  // namespace detail
}  // namespace v0
}  // namespace expert
