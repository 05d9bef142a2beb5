// A GBNF file -> its rules as trees; sentences drawn from them; an Earley recogniser. Slow and simple: the second
// opinion on the grammars in experts/ and on the library's engine, with which it shares no code.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace gbnf {

constexpr int unbounded = -1;

struct Node {
  enum class Kind { characters, rule, sequence, choice, repetition };
  Kind kind = Kind::sequence;
  std::vector<std::pair<char32_t, char32_t>> ranges;  // characters
  bool negated = false;
  int rule = 0;
  std::vector<int> children;
  int min = 0, max = 0;  // repetition
  bool holds(char32_t c) const {
    bool in = false;
    for (const auto& [first, last] : ranges) in |= c >= first && c <= last;
    return in != negated;
  }
};

inline std::u32string decode(const std::string& text) {
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const int size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    char32_t code = size == 1 ? lead : lead & (0xffu >> (size + 1));
    for (int k = 1; k < size; ++k)
      code = code << 6 | (static_cast<unsigned char>(text.at(i + static_cast<std::size_t>(k))) & 0x3fu);
    out += code;
    i += static_cast<std::size_t>(size);
  }
  return out;
}
inline void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) return put(c);
  if (c < 0x800) return put(0xc0 | c >> 6), put(0x80 | (c & 0x3f));
  if (c < 0x10000) return put(0xe0 | c >> 12), put(0x80 | (c >> 6 & 0x3f)), put(0x80 | (c & 0x3f));
  put(0xf0 | c >> 18), put(0x80 | (c >> 12 & 0x3f)), put(0x80 | (c >> 6 & 0x3f)), put(0x80 | (c & 0x3f));
}

struct Grammar {
  std::vector<Node> nodes;
  std::vector<std::string> names;
  std::vector<int> bodies;  // of rule i: a node, -1 where it is only used
  int root = -1;
};

class Reader {
 public:
  explicit Reader(const std::string& file) {
    std::ifstream in(file);
    if (!in) throw std::runtime_error("cannot read " + file);
    std::stringstream bytes;
    bytes << in.rdbuf();
    text_ = decode(bytes.str());
    for (skip(); at_ < text_.size(); skip()) {
      const std::string name = word();
      skip();
      if (!take(U"::=")) fail("::= expected");
      const int rule = number(name);
      if (grammar_.bodies[static_cast<std::size_t>(rule)] >= 0) fail("rule " + name + " twice");
      const int body = choice();  // which may grow the list of bodies
      grammar_.bodies[static_cast<std::size_t>(rule)] = body;
    }
    for (std::size_t i = 0; i < grammar_.names.size(); ++i)
      if (grammar_.bodies[i] < 0) throw std::runtime_error("undefined rule " + grammar_.names[i]);
    grammar_.root = number("root");
  }
  Grammar take_grammar() { return std::move(grammar_); }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    std::size_t line = 1;
    for (std::size_t i = 0; i < at_ && i < text_.size(); ++i) line += text_[i] == '\n';
    throw std::runtime_error("line " + std::to_string(line) + ": " + what);
  }
  char32_t peek(std::size_t n = 0) const { return at_ + n < text_.size() ? text_[at_ + n] : U'\0'; }
  bool take(const std::u32string& token) {
    if (text_.compare(at_, token.size(), token) != 0) return false;
    at_ += token.size();
    return true;
  }
  void skip() {
    for (;; ++at_) {
      if (peek() == '#')
        while (at_ < text_.size() && peek() != '\n') ++at_;
      if (at_ >= text_.size() || (peek() != ' ' && peek() != '\t' && peek() != '\r' && peek() != '\n')) return;
    }
  }
  static bool in_word(char32_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  }
  std::string word() {
    std::string out;
    while (in_word(peek())) out += static_cast<char>(text_[at_++]);
    if (out.empty()) fail("a name expected");
    return out;
  }
  bool rule_begins() const {
    std::size_t n = 0;
    while (in_word(peek(n))) ++n;
    if (n == 0) return false;
    while (peek(n) == ' ' || peek(n) == '\t') ++n;
    return peek(n) == ':' && peek(n + 1) == ':' && peek(n + 2) == '=';
  }
  int number(const std::string& name) {
    const auto [it, is_new] = numbers_.try_emplace(name, static_cast<int>(grammar_.names.size()));
    if (is_new) {
      grammar_.names.push_back(name);
      grammar_.bodies.push_back(-1);
    }
    return it->second;
  }
  int add(Node node) {
    grammar_.nodes.push_back(std::move(node));
    return static_cast<int>(grammar_.nodes.size()) - 1;
  }
  int choice() {
    Node node;
    node.kind = Node::Kind::choice;
    do {
      skip();
      node.children.push_back(sequence());
      skip();
    } while (take(U"|"));
    return node.children.size() == 1 ? node.children[0] : add(node);
  }
  int sequence() {
    Node node;
    for (skip(); at_ < text_.size() && peek() != '|' && peek() != ')' && !rule_begins(); skip()) {
      if (peek() == '"') {
        ++at_;
        std::vector<int> characters;
        while (peek() != '"') characters.push_back(one(character()));
        ++at_;
        if (repeats() && characters.size() != 1) {
          Node literal;
          literal.children = characters;
          characters = {add(literal)};
        }
        node.children.insert(node.children.end(), characters.begin(), characters.end());
      } else if (peek() == '[') {
        node.children.push_back(set());
      } else if (peek() == '.') {
        ++at_;
        Node any;
        any.kind = Node::Kind::characters;
        any.negated = true;
        node.children.push_back(add(any));
      } else if (peek() == '(') {
        ++at_;
        node.children.push_back(choice());
        if (!take(U")")) fail("\")\" expected");
      } else {
        Node reference;
        reference.kind = Node::Kind::rule;
        reference.rule = number(word());
        node.children.push_back(add(reference));
      }
      if (repeats()) node.children.back() = repetition(node.children.back());
    }
    return node.children.size() == 1 ? node.children[0] : add(node);
  }
  bool repeats() const { return peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{'; }
  int repetition(int child) {
    Node node;
    node.kind = Node::Kind::repetition;
    node.children = {child};
    const char32_t c = text_[at_++];
    node.min = c == '+';
    node.max = c == '?' ? 1 : unbounded;
    if (c == '{') {
      const auto digits = [&] {
        std::string out;
        while (peek() >= '0' && peek() <= '9') out += static_cast<char>(text_[at_++]);
        return out;
      };
      node.min = std::stoi(digits());
      node.max = node.min;
      if (take(U",")) {
        const std::string most = digits();
        node.max = most.empty() ? unbounded : std::stoi(most);
      }
      if (!take(U"}")) fail("\"}\" expected");
    }
    return add(node);
  }
  int one(char32_t c) {
    Node node;
    node.kind = Node::Kind::characters;
    node.ranges = {{c, c}};
    return add(node);
  }
  int set() {
    Node node;
    node.kind = Node::Kind::characters;
    ++at_;
    node.negated = take(U"^");
    while (peek() != ']') {
      const char32_t first = character();
      const bool range = peek() == '-' && peek(1) != ']';
      if (range) ++at_;
      node.ranges.push_back({first, range ? character() : first});
    }
    ++at_;
    return add(node);
  }
  char32_t character() {
    if (at_ >= text_.size() || peek() == '\n') fail("a literal is not closed");
    const char32_t c = text_[at_++];
    if (c != '\\') return c;
    const char32_t e = text_[at_++];
    const int digits = e == 'x' ? 2 : e == 'u' ? 4 : e == 'U' ? 8 : 0;
    if (digits == 0) return e == 'n' ? U'\n' : e == 'r' ? U'\r' : e == 't' ? U'\t' : e;
    std::string hex;
    for (int i = 0; i < digits; ++i) hex += static_cast<char>(text_[at_++]);
    return static_cast<char32_t>(std::stoul(hex, nullptr, 16));
  }

  std::u32string text_;
  std::size_t at_ = 0;
  std::map<std::string, int> numbers_;
  Grammar grammar_;
};

// Random sentences. Alternatives that were drawn seldom are preferred; below a depth, or after a number of choices, the
// shortest way out is taken.
class Drawer {
 public:
  Drawer(const Grammar& grammar, std::uint64_t seed)
      : g_(grammar), random_(seed), heights_(g_.nodes.size(), too_high), counts_(g_.nodes.size()) {
    for (std::size_t i = 0; i < g_.nodes.size(); ++i)
      counts_[i].resize(g_.nodes[i].kind == Node::Kind::choice ? g_.nodes[i].children.size() : 2);
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = 0; i < g_.nodes.size(); ++i) {
        const int height = height_of(g_.nodes[i]);
        changed |= height < heights_[i];
        heights_[i] = std::min(heights_[i], height);
      }
    }
    if (heights_[body(g_.root)] == too_high) throw std::runtime_error("the root has no sentence");
  }

  std::string sentence() {
    begin();
    draw(g_.bodies[static_cast<std::size_t>(g_.root)], false);
    return out_;
  }

  // Sentences through each alternative that was drawn less than `least` times, to be called until it returns false. On
  // the way, and beside it, other such alternatives are preferred, the nearest ones first.
  bool rare_sentence(std::int64_t least, std::string& out) {
    for (; goal_ < g_.nodes.size(); ++goal_, goal_choice_ = 0) {
      if (!has_alternatives(goal_)) continue;
      for (; goal_choice_ < counts_[goal_].size(); ++goal_choice_, measured_ = too_many) {
        if (counts_[goal_][goal_choice_] >= least) continue;
        if (measured_ != goal_) distance_ = distances({measured_ = goal_});
        if (distance_[body(g_.root)] == too_high) continue;  // only rules that the root does not reach
        rare_below_ = least;
        to_rare_ = distances(rare_nodes());
        begin();
        draw(g_.bodies[static_cast<std::size_t>(g_.root)], true);
        rare_below_ = 0;
        out = out_;
        return true;
      }
    }
    return false;
  }

  struct Least {
    std::string rule;
    std::int64_t alternatives, least;
  };
  // Of each rule with alternatives: how many, with those of its groups, options and repetitions, and how often the
  // rarest was drawn.
  std::vector<Least> productions() const {
    std::vector<Least> out;
    for (std::size_t rule = 0; rule < g_.names.size(); ++rule) {
      Least least{g_.names[rule], 0, INT64_MAX};
      visit(g_.bodies[rule], least);
      if (least.alternatives > 0) out.push_back(least);
    }
    return out;
  }

 private:
  static constexpr int too_high = 1 << 20;
  std::size_t body(int rule) const { return static_cast<std::size_t>(g_.bodies[static_cast<std::size_t>(rule)]); }

  int height_of(const Node& node) const {
    const auto at = [&](int i) { return heights_[static_cast<std::size_t>(i)]; };
    int height = node.kind == Node::Kind::choice ? too_high : 0;
    switch (node.kind) {
      case Node::Kind::characters:
        return 0;
      case Node::Kind::rule:
        return std::min(too_high, heights_[body(node.rule)] + 1);
      case Node::Kind::repetition:
        return node.min == 0 ? 0 : at(node.children[0]);
      default:
        for (const int child : node.children)
          height = node.kind == Node::Kind::choice ? std::min(height, at(child)) : std::max(height, at(child));
        return height;
    }
  }
  void visit(int i, Least& least) const {
    const auto index = static_cast<std::size_t>(i);
    const Node& node = g_.nodes[index];
    if (node.kind == Node::Kind::choice || (node.kind == Node::Kind::repetition && node.min != node.max))
      for (const std::int64_t count : counts_[index]) {
        ++least.alternatives;
        least.least = std::min(least.least, count);
      }
    for (const int child : node.children) visit(child, least);
  }
  bool has_alternatives(std::size_t i) const {
    const Node& node = g_.nodes[i];
    return node.kind == Node::Kind::choice || (node.kind == Node::Kind::repetition && node.min != node.max);
  }
  void begin() {
    out_.clear();
    depth_ = 0;
    choices_ = 0;
    max_depth_ = 4 + static_cast<int>(random_() % 40);
    max_choices_ = 10 + static_cast<int>(random_() % 200);
  }
  bool is_rare(std::size_t node) const {
    return has_alternatives(node) && *std::min_element(counts_[node].begin(), counts_[node].end()) < rare_below_;
  }
  std::vector<std::size_t> rare_nodes() const {
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < g_.nodes.size(); ++i)
      if (is_rare(i)) out.push_back(i);
    return out;
  }
  // Steps from each node down to the nearest of `goals`.
  std::vector<int> distances(std::vector<std::size_t> goals) {
    if (parents_.empty()) {
      parents_.resize(g_.nodes.size());
      for (std::size_t i = 0; i < g_.nodes.size(); ++i) {
        const Node& node = g_.nodes[i];
        if (node.kind == Node::Kind::rule) parents_[body(node.rule)].push_back(i);
        for (const int child : node.children) parents_[static_cast<std::size_t>(child)].push_back(i);
      }
    }
    std::vector<int> out(g_.nodes.size(), too_high);
    for (const std::size_t goal : goals) out[goal] = 0;
    std::vector<std::size_t>& queue = goals;
    for (std::size_t k = 0; k < queue.size(); ++k)
      for (const std::size_t parent : parents_[queue[k]])
        if (out[parent] == too_high) {
          out[parent] = out[queue[k]] + 1;
          queue.push_back(parent);
        }
    return out;
  }
  int nearest(const std::vector<int>& children) const {
    return *std::min_element(children.begin(), children.end(), [&](int a, int b) {
      return distance_[static_cast<std::size_t>(a)] < distance_[static_cast<std::size_t>(b)];
    });
  }
  bool hurry() const { return depth_ > max_depth_ || choices_ > max_choices_; }
  bool chance(double p) { return std::uniform_real_distribution<double>()(random_) < p; }

  // `seek`: through the goal.
  void draw(int i, bool seek) {
    const auto index = static_cast<std::size_t>(i);
    const Node& node = g_.nodes[index];
    const bool here = seek && index == goal_;
    switch (node.kind) {
      case Node::Kind::characters:
        return append_utf8(out_, character(node));
      case Node::Kind::rule:
        ++depth_;
        draw(g_.bodies[static_cast<std::size_t>(node.rule)], seek);
        --depth_;
        return;
      case Node::Kind::sequence: {
        const int way = seek ? nearest(node.children) : 0;
        for (const int child : node.children) {
          draw(child, seek && child == way);
          seek = seek && child != way;
        }
        return;
      }
      case Node::Kind::choice: {
        const std::size_t k = here ? goal_choice_ : pick(node, counts_[index]);
        if (!seek || here) {
          ++counts_[index][k];
          return draw(node.children[k], false);
        }
        const int way = nearest(node.children);
        ++counts_[index][static_cast<std::size_t>(std::find(node.children.begin(), node.children.end(), way) -
                                                  node.children.begin())];
        return draw(way, true);
      }
      case Node::Kind::repetition:
        return repeat(node, counts_[index], here, seek && !here);
    }
  }
  // Nearer to something rare than the root is.
  bool is_near_rare(int node) const {
    return rare_below_ > 0 && to_rare_[static_cast<std::size_t>(node)] < to_rare_[body(g_.root)];
  }
  // Steps to what is rare by way of the k-th alternative.
  int cost(const Node& node, const std::vector<std::int64_t>& counts, std::size_t k) const {
    return counts[k] < rare_below_ ? 0 : to_rare_[static_cast<std::size_t>(node.children[k])] + 1;
  }
  std::size_t pick(const Node& node, const std::vector<std::int64_t>& counts) {
    ++choices_;
    std::vector<double> weights;
    int lowest = too_high;
    for (const int child : node.children) lowest = std::min(lowest, heights_[static_cast<std::size_t>(child)]);
    for (std::size_t k = 0; k < node.children.size(); ++k) {
      const int height = heights_[static_cast<std::size_t>(node.children[k])];
      weights.push_back(hurry() && height > lowest ? 0 : 1 / std::sqrt(1.0 + static_cast<double>(counts[k])));
    }
    if (rare_below_ > 0 && chance(0.8)) {
      int least = too_high;
      for (std::size_t k = 0; k < weights.size(); ++k)
        if (weights[k] > 0) least = std::min(least, cost(node, counts, k));
      for (std::size_t k = 0; k < weights.size(); ++k)
        if (cost(node, counts, k) > least) weights[k] = 0;
    }
    return std::discrete_distribution<std::size_t>(weights.begin(), weights.end())(random_);
  }
  // counts[0]: as few as possible, counts[1]: more.
  void repeat(const Node& node, std::vector<std::int64_t>& counts, bool here, bool seek) {
    int times = node.min;
    if (seek) times = std::max(times, 1);
    const bool leaf = g_.nodes[static_cast<std::size_t>(node.children[0])].kind == Node::Kind::characters;
    const double more = leaf ? 0.8 : 0.4;
    ++choices_;
    while ((node.max == unbounded || times < node.max) && (leaf || !hurry()) && chance(more)) ++times;
    if (counts[0] < rare_below_)
      times = std::max(node.min, seek ? 1 : 0);
    else if (counts[1] < rare_below_ || (is_near_rare(node.children[0]) && !hurry() && chance(0.95)))
      times = std::max(times, node.min + 1);
    if (here) times = node.min + static_cast<int>(goal_choice_);
    ++counts[times > node.min];
    for (int k = 0; k < times; ++k) draw(node.children[0], seek && k == 0);
  }
  char32_t character(const Node& node) {
    if (!node.negated) {
      const auto& [first, last] = node.ranges[random_() % node.ranges.size()];
      char32_t c = 0;
      do c = first + static_cast<char32_t>(random_() % (last - first + 1));
      while (c >= 0xd800 && c < 0xe000);
      return c;
    }
    static constexpr char32_t others[] = {U'\u00e9', U'\u4e2d', U'\U0001f600', U'\u2028', U'\u00a0',
                                          U'\ufeff', U'\u0301', U'\U0010ffff', U'\u0085'};
    for (;;) {
      const std::uint64_t kind = random_() % 10;
      const char32_t c = kind < 7   ? static_cast<char32_t>(0x20 + random_() % 0x5f)
                         : kind < 9 ? others[random_() % std::size(others)]
                                    : static_cast<char32_t>(random_() % 0x80);
      if (c != 0 && node.holds(c)) return c;
    }
  }

  const Grammar& g_;
  std::mt19937_64 random_;
  std::vector<int> heights_;
  std::vector<std::vector<std::int64_t>> counts_;
  static constexpr std::size_t too_many = SIZE_MAX;
  std::size_t goal_ = 0, goal_choice_ = 0, measured_ = too_many;
  std::vector<int> distance_, to_rare_;
  std::int64_t rare_below_ = 0;  // counts below it are preferred
  std::vector<std::vector<std::size_t>> parents_;
  std::string out_;
  int depth_ = 0, choices_ = 0, max_depth_ = 0, max_choices_ = 0;
};

// J. Earley, "An efficient context-free parsing algorithm", 1970, with Aycock and Horspool's way with empty rules.
class Recogniser {
 public:
  explicit Recogniser(const Grammar& grammar) : g_(grammar) {
    of_rule_.resize(g_.names.size());
    for (int& symbol : of_rule_) symbol = new_symbol();
    for (std::size_t i = 0; i < g_.names.size(); ++i) alternatives(of_rule_[i], g_.bodies[i]);
    nullable_.resize(by_left_.size());
    for (bool changed = true; changed;) {
      changed = false;
      for (const Production& p : productions_) {
        bool empty = !nullable_[static_cast<std::size_t>(p.left)];
        for (const int s : p.right) empty = empty && s >= 0 && nullable_[static_cast<std::size_t>(s)];
        if (empty) nullable_[static_cast<std::size_t>(p.left)] = changed = true;
      }
    }
  }

  // The length of the longest prefix that some sentence begins with; all of the text and accepted: size + 1.
  std::size_t reach(const std::string& bytes) const {
    const std::u32string text = decode(bytes);
    std::vector<Set> sets(1);
    const int start = of_rule_[static_cast<std::size_t>(g_.root)];
    predict(sets[0], start, 0);
    for (std::size_t i = 0;; ++i) {
      close(sets, i);
      if (i == text.size()) {
        for (const Item& item : sets[i].items)
          if (item.origin == 0 && production(item).left == start && done(item)) return text.size() + 1;
        return text.size();
      }
      Set next;
      for (const Item& item : sets[i].items)
        if (!done(item) && symbol(item) < 0 && g_.nodes[static_cast<std::size_t>(-symbol(item) - 1)].holds(text[i]))
          add(next, {item.production, item.dot + 1, item.origin});
      if (next.items.empty()) return i;
      sets.push_back(std::move(next));
    }
  }
  bool accepts(const std::string& bytes) const { return reach(bytes) == decode(bytes).size() + 1; }

 private:
  struct Production {
    int left;
    std::vector<int> right;  // a nonterminal, or -1 - the node of a set of characters
  };
  struct Item {
    int production, dot, origin;
  };
  struct Set {
    std::vector<Item> items;
    std::unordered_set<std::uint64_t> seen;
    std::unordered_map<int, std::vector<int>> waiting;  // for a nonterminal: items of this set
    std::unordered_set<int> predicted;
  };

  int new_symbol() {
    by_left_.emplace_back();
    return static_cast<int>(by_left_.size()) - 1;
  }
  void produce(int left, std::vector<int> right) {
    by_left_[static_cast<std::size_t>(left)].push_back(static_cast<int>(productions_.size()));
    productions_.push_back({left, std::move(right)});
  }
  void alternatives(int left, int i) {
    const Node& node = g_.nodes[static_cast<std::size_t>(i)];
    if (node.kind == Node::Kind::choice)
      for (const int child : node.children) produce(left, symbols(child));
    else
      produce(left, symbols(i));
  }
  std::vector<int> symbols(int i) {
    const Node& node = g_.nodes[static_cast<std::size_t>(i)];
    std::vector<int> out;
    switch (node.kind) {
      case Node::Kind::characters:
        return {-i - 1};
      case Node::Kind::rule:
        return {of_rule_[static_cast<std::size_t>(node.rule)]};
      case Node::Kind::sequence:
        for (const int child : node.children) {
          const std::vector<int> part = symbols(child);
          out.insert(out.end(), part.begin(), part.end());
        }
        return out;
      case Node::Kind::choice:
        out = {new_symbol()};
        alternatives(out[0], i);
        return out;
      case Node::Kind::repetition:
        break;
    }
    const std::vector<int> part = symbols(node.children[0]);
    for (int k = 0; k < node.min; ++k) out.insert(out.end(), part.begin(), part.end());
    if (node.max == unbounded) {  // more: nothing, or more and one
      const int more = new_symbol();
      produce(more, {});
      std::vector<int> right{more};
      right.insert(right.end(), part.begin(), part.end());
      produce(more, right);
      out.push_back(more);
    } else {
      int rest = -1;
      for (int k = node.min; k < node.max; ++k) {
        const int one_more = new_symbol();
        produce(one_more, {});
        std::vector<int> right = part;
        if (rest >= 0) right.push_back(rest);
        produce(one_more, right);
        rest = one_more;
      }
      if (rest >= 0) out.push_back(rest);
    }
    return out;
  }

  const Production& production(const Item& item) const {
    return productions_[static_cast<std::size_t>(item.production)];
  }
  bool done(const Item& item) const { return static_cast<std::size_t>(item.dot) == production(item).right.size(); }
  int symbol(const Item& item) const { return production(item).right[static_cast<std::size_t>(item.dot)]; }

  static void add(Set& set, Item item) {
    const auto key = static_cast<std::uint64_t>(item.production) << 40 | static_cast<std::uint64_t>(item.dot) << 24 |
                     static_cast<std::uint64_t>(item.origin);
    if (set.seen.insert(key).second) set.items.push_back(item);
  }
  void predict(Set& set, int nonterminal, int origin) const {
    if (!set.predicted.insert(nonterminal).second) return;
    for (const int p : by_left_[static_cast<std::size_t>(nonterminal)]) add(set, {p, 0, origin});
  }
  void close(std::vector<Set>& sets, std::size_t i) const {
    Set& set = sets[i];
    for (std::size_t k = 0; k < set.items.size(); ++k) {
      const Item item = set.items[k];
      if (done(item)) {
        const Set& before = sets[static_cast<std::size_t>(item.origin)];
        const auto found = before.waiting.find(production(item).left);
        if (found == before.waiting.end()) continue;
        const std::vector<int> waiting = found->second;  // a copy: the set may be this one, and grow
        for (const int w : waiting) {
          const Item& waiter = before.items[static_cast<std::size_t>(w)];
          add(set, {waiter.production, waiter.dot + 1, waiter.origin});
        }
      } else if (const int s = symbol(item); s >= 0) {
        set.waiting[s].push_back(static_cast<int>(k));
        predict(set, s, static_cast<int>(i));
        if (nullable_[static_cast<std::size_t>(s)]) add(set, {item.production, item.dot + 1, item.origin});
      }
    }
  }

  const Grammar& g_;
  std::vector<int> of_rule_;
  std::vector<Production> productions_;
  std::vector<std::vector<int>> by_left_;
  std::vector<bool> nullable_;
};

}  // namespace gbnf
