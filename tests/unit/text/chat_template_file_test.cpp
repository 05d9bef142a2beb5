// Chat templates from files: which are known, and that no file of any form is more than refused.
#include "expert/text/chat_template_file.hpp"

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/policy/data.hpp"
#include "temp_dir.hpp"

namespace chat_template_file_test {
using namespace expert;

namespace {

const std::string plain =
    "{%- for message in messages %}\n{{- '<|' + message.role + '|>\\n' + message.content + '\\n' }}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- endif %}";

std::string with_crlf(std::string text) {
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2) text.insert(at, 1, '\r');
  return text;
}
std::string config_with(const Json& chat_template) {
  return Json::object().set("eos_token", "<|im_end|>").set("chat_template", chat_template).dump();
}
std::string kind_of(const std::string& file) {
  return std::string(known_chat_template(read_chat_template(file), file));
}

}  // namespace

TEST_CASE("a template is known by its text, however its lines end") {
  CHECK(known_chat_template(plain, "f") == "plain");
  CHECK(known_chat_template(plain + "\n", "f") == "plain");
  CHECK(known_chat_template(with_crlf(plain + "\n"), "f") == "plain");
  CHECK(known_chat_template(with_crlf(plain) + "\r", "f") == "plain");
  for (const std::string& other :
       {plain + " ", plain + "\n\n", plain + "\r\r\n", " " + plain, plain.substr(1), std::string("{{ 1 }}")}) {
    const Error e = error_of([&] { known_chat_template(other, "f.jinja"); });
    CHECK(e.error_code() == chat_template_unknown);  // EXPERT-E419
    CHECK(contains(e.what(), "f.jinja"));
    CHECK(contains(e.what(), "SHA-256"));
  }
  for (const KnownChatTemplate& known : known_chat_templates) {
    CHECK(known.sha256.size() == 64);
    CHECK((known.prompt_template == Qwen3Chat::prompt_template || known.prompt_template == PlainChat::prompt_template));
  }
}

TEST_CASE("a template stands in a file of its own or in tokenizer_config.json") {
  const TempDir dir;
  CHECK(kind_of(dir.write("chat_template.jinja", plain + "\n")) == "plain");
  CHECK(kind_of(dir.write("tokenizer_config.json", config_with(plain))) == "plain");
  const auto entry = [](const char* name, const std::string& text) {
    return Json::object().set("name", name).set("template", text);
  };
  const Json two = Json::array().push(entry("tool_use", "{{ tools }}")).push(entry("default", plain));
  CHECK(kind_of(dir.write("two.json", config_with(two))) == "plain");
  CHECK(error_of([&] { kind_of(dir.write("other.json", config_with("{{ messages }}"))); }).code() == 419);
}

TEST_CASE("what is no template is refused with its place", "[malformed]") {
  const TempDir dir;
  const auto code = [&](const char* name, const std::string& bytes) {
    return error_of([&] { kind_of(dir.write(name, bytes)); }).code();
  };
  CHECK(code("none.json", "{}") == 420);  // EXPERT-E420
  CHECK(code("list.json", "[]") == 420);
  CHECK(code("number.json", config_with(Json(1))) == 420);
  CHECK(code("null.json", config_with(Json())) == 420);
  CHECK(code("empty-list.json", config_with(Json::array())) == 420);
  CHECK(code("numbers.json", config_with(Json::array().push(1))) == 420);
  CHECK(code("nameless.json", config_with(Json::array().push(Json::object().set("template", plain)))) == 420);
  CHECK(code("untold.json", config_with(Json::array().push(Json::object().set("name", "default")))) == 420);
  CHECK(code("empty.jinja", "") == 420);
  CHECK(code("bytes.jinja", plain + "\xff") == 420);
  CHECK(code("bytes.json", "{\"chat_template\": \"\xff\"}") == 211);
  CHECK(code("deep.json", "{\"chat_template\": " + std::string(100'000, '[')) != 0);
  CHECK(code("large.jinja", std::string((1u << 20) + 1, 'x')) == 202);
  CHECK(code("large.json", std::string((1u << 20) + 1, ' ')) == 202);
  CHECK(code("program.jinja", "{{ ''.__class__.__mro__[1].__subclasses__() }}") == 419);
  CHECK(code("endless.jinja", "{%- for a in range(10**9) %}{%- for b in range(10**9) %}{% endfor %}{% endfor %}") ==
        419);
  CHECK(error_of([&] { kind_of((dir / "missing.jinja").string()); }).code() == 200);
}

}  // namespace chat_template_file_test
