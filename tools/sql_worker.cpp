// The messages between the child and its parent: strings with their lengths.
#include "sql_worker.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "sql_syntax.hpp"

namespace cli {
namespace {

class Writer {
 public:
  template <class T>
  Writer& number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Writer& text(std::string_view value) {
    number(value.size());
    bytes_.append(value);
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// Reads what Writer wrote. The child is not trusted: `ok` is false after anything that does not fit.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  template <class T>
  T number() {
    T value{};
    if (bytes_.size() < sizeof value) return ok_ = false, value;
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_.remove_prefix(sizeof value);
    return value;
  }
  std::string text() {
    const auto size = number<std::size_t>();
    if (!ok_ || size > bytes_.size()) return ok_ = false, std::string();
    const std::string value(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    return value;
  }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

void write_cell(Writer& out, const Cell& cell) {
  out.number(static_cast<std::uint8_t>(cell.index()));
  if (const auto* i = std::get_if<std::int64_t>(&cell)) out.number(*i);
  if (const auto* x = std::get_if<double>(&cell)) out.number(*x);
  if (const auto* text = std::get_if<std::string>(&cell)) out.text(*text);
  if (const auto* blob = std::get_if<Blob>(&cell)) out.text(blob->bytes);
}
Cell read_cell(Reader& in) {
  switch (in.number<std::uint8_t>()) {
    case 1:
      return in.number<std::int64_t>();
    case 2:
      return in.number<double>();
    case 3:
      return in.text();
    case 4:
      return Blob{in.text()};
    default:
      return std::monostate{};
  }
}

std::string answer(const std::string& request) {
  Reader in(request);
  Writer out;
  const char kind = in.number<char>();
  if (kind == 'p') {
    const SqlParse parse = parse_sql(in.text());
    out.number(static_cast<char>(parse.valid))
        .number(static_cast<char>(parse.ordered))
        .text(parse.canonical)
        .text(parse.message);
    return out.bytes();
  }
  if (kind == 'g' || kind == 'q') {
    const std::string text = in.text();
    const expert::SyntaxVerdict verdict = kind == 'g' ? postgres_syntax(text) : sqlite_syntax(text);
    out.number(static_cast<char>(verdict.valid)).number(verdict.offset).text(verdict.message);
    return out.bytes();
  }
  const std::string first = in.text();
  const SqlRun run = kind == 's' ? cli::run_script(first) : run_sql(first, in.text());
  const auto& rows = run.result.rows;
  out.number(static_cast<std::uint8_t>(run.status))
      .text(run.message)
      .number(rows.size())
      .number(rows.empty() ? 0 : rows.front().size());
  for (const ResultRow& row : rows)
    for (const Cell& cell : row) write_cell(out, cell);
  return out.bytes();
}

}  // namespace

void require_sql() {
  if (const std::string_view packages = missing_sql_packages(); !packages.empty())
    throw expert::Error(no_sql_libraries, {.expected = "libpg_query and SQLite",
                                           .got = "neither or one of them",
                                           .fix = "On Debian or Ubuntu: apt-get install " + std::string(packages) +
                                                  ", then configure and build again"});
}

SqlWorker::SqlWorker() : child_(&answer) {}

SqlParse SqlWorker::parse(const std::string& query) {
  SqlParse out;
  if (std::ssize(query) > sql_limits.text_bytes) return {false, false, {}, "the text is longer than 1 MiB"};
  const auto message = child_.ask(Writer().number('p').text(query).bytes());
  if (!message) return {false, false, {}, child_.why()};
  Reader in(*message);
  out.valid = in.number<char>() != 0;
  out.ordered = in.number<char>() != 0;
  out.canonical = in.text();
  out.message = in.text();
  return in.ok() ? out : SqlParse{false, false, {}, "the process gave no answer"};
}

expert::SyntaxVerdict SqlWorker::syntax(SqlDialect dialect, const std::string& text) {
  if (std::ssize(text) > sql_limits.text_bytes) return {false, "the text is longer than 1 MiB", 0};
  const auto message = child_.ask(Writer().number(dialect == SqlDialect::postgres ? 'g' : 'q').text(text).bytes());
  if (!message) return {false, child_.why(), 0};
  Reader in(*message);
  expert::SyntaxVerdict out;
  out.valid = in.number<char>() != 0;
  out.offset = in.number<std::size_t>();
  out.message = in.text();
  return in.ok() ? out : expert::SyntaxVerdict{false, "the process gave no answer", 0};
}

SqlRun SqlWorker::run(const std::string& setup, const std::string& query) {
  return ask_run(Writer().number('x').text(setup).text(query).bytes());
}

SqlRun SqlWorker::run_script(const std::string& script) { return ask_run(Writer().number('s').text(script).bytes()); }

SqlRun SqlWorker::ask_run(const std::string& request) {
  const auto message = child_.ask(request);
  if (!message) return {SqlStatus::crashed, child_.why(), {}};
  Reader in(*message);
  SqlRun out;
  const auto status = in.number<std::uint8_t>();
  out.status = static_cast<SqlStatus>(std::min<std::uint8_t>(status, static_cast<std::uint8_t>(SqlStatus::crashed)));
  out.message = in.text();
  const auto rows = in.number<std::size_t>(), columns = in.number<std::size_t>();
  for (std::size_t r = 0; columns > 0 && r < rows && in.ok(); ++r) {
    ResultRow row;
    for (std::size_t c = 0; c < columns && in.ok(); ++c) row.push_back(read_cell(in));
    out.result.rows.push_back(std::move(row));
  }
  return in.ok() ? out : SqlRun{SqlStatus::crashed, "the process gave no answer", {}};
}

}  // namespace cli
