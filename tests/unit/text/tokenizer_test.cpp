// Tokenizer against PyPI tokenizers 0.23.3 (recorded cases; all of shared/tokenizer where it lies beside the sources),
// its time on adversarial texts, and what it says about broken files.
#include "expert/text/tokenizer.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "catch.hpp"
#include "changed_words.hpp"
#include "error_of.hpp"
#include "expert/core/random.hpp"
#include "expert/data/jsonl.hpp"
#include "expert/io/gzip.hpp"
#include "expert/text/tokenizer_cache.hpp"
#include "temp_dir.hpp"

namespace tokenizer_test {
using namespace expert;

namespace {

const std::filesystem::path data = std::filesystem::path(EXPERT_SOURCE_DIR) / "tests/data/tokenizer";

std::vector<std::int32_t> ids_of(const Json& list) {
  std::vector<std::int32_t> ids;
  for (const Json& id : list.items()) ids.push_back(static_cast<std::int32_t>(id.as_int()));
  return ids;
}

const Tokenizer& fixture(const std::string& name) {
  static std::map<std::string, Tokenizer> loaded;
  const auto found = loaded.find(name);
  return found != loaded.end() ? found->second
                               : loaded.emplace(name, Tokenizer::load(data / (name + ".json"))).first->second;
}

std::string read_all(ByteSource& source) {
  std::string text(std::size_t{1} << 16, '\0'), all;
  while (const std::size_t n = source.read(text.data(), text.size())) all.append(text, 0, n);
  return all;
}

// A tokenizer.json of the 256 bytes, "ab" and "abc"; tests change parts of its text.
const std::string& small_file() {
  static const std::string text = [] {
    std::string vocab, spelling;
    for (std::size_t b = 0; b < 256; ++b) {
      spelling.clear();
      append_utf8(spelling, byte_alphabet()[b]);
      vocab += spelling == "\"" || spelling == "\\" ? "\"\\" : "\"";
      vocab += spelling;
      vocab += "\":" + std::to_string(b) + ",";
    }
    return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":258,"content":"<e>","single_word":)"
           R"(false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],"normalizer":{"type":"NFC"},)"
           R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},)"
           R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]},)"
           R"("post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,)"
           R"("use_regex":true},"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":)"
           R"(null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{)" +
           vocab + R"("ab":256,"abc":257},"merges":[["a","b"],["ab","c"]]}})";
  }();
  return text;
}
std::string with(const std::string& from, const std::string& to) {
  std::string text = small_file();
  const std::size_t at = text.find(from);
  if (at == std::string::npos) throw std::logic_error("the small file has no " + from);
  return text.replace(at, from.size(), to);
}

// Byte-pair encoding as it is defined: the lowest rank, the leftmost of equals, again and again.
std::vector<std::int32_t> merged_by_definition(std::vector<std::int32_t> ids,
                                               const std::vector<TokenizerFile::Merge>& merges) {
  for (;;) {
    std::size_t best = merges.size(), at = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i)
      for (std::size_t rank = 0; rank < best; ++rank)
        if (merges[rank].left == ids[i] && merges[rank].right == ids[i + 1]) {
          best = rank;
          at = i;
        }
    if (best == merges.size()) return ids;
    ids[at] = merges[best].result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

}  // namespace

TEST_CASE("recorded texts have the ids of PyPI tokenizers, in both modes, and decode as it decodes") {
  const std::string file = (data / "cases.jsonl.gz").string();
  const auto source = open_plain_or_gzip(file);
  JsonlReader reader(*source, file);
  std::map<std::string, int> rows;
  int wrong = 0;
  for (JsonRow row; reader.next(row);) {
    const Json& r = row.value;
    const std::string name = r.find("tokenizer")->as_string();
    const Tokenizer& tokenizer = fixture(name);
    const auto ids = ids_of(*r.find("ids"));
    const Json *text = r.find("text"), *decoded = r.find("decoded"), *skipped = r.find("skipped");
    const std::string want = decoded ? decoded->as_string() : text->as_string();
    bool same = tokenizer.decode(ids) == want;
    if (text) {
      const Json* as_text = r.find("as_text");
      same = same && tokenizer.encode(text->as_string(), SpecialTokens::parse) == ids &&
             tokenizer.encode(text->as_string(), SpecialTokens::as_text) == (as_text ? ids_of(*as_text) : ids) &&
             tokenizer.decode(ids, true) == (skipped ? skipped->as_string() : want);
    }
    if (!same && ++wrong <= 5) UNSCOPED_INFO(file << " line " << row.line);
    ++rows[name];
  }
  CHECK(wrong == 0);
  CHECK(rows == std::map<std::string, int>{{"digits", 860}, {"gpt2", 460}, {"qwen", 2060}, {"runs", 460}});
}

TEST_CASE("the real vocabulary: all of shared/tokenizer") {
  const auto shared = std::filesystem::path(EXPERT_SOURCE_DIR).parent_path() / "shared/tokenizer";
  if (!std::filesystem::exists(shared / "tokenizer.json.gz")) {
    WARN("SKIPPED: " << shared.string() << " is not there; the recorded cases of the small tokenizers ran");
    return;
  }
  const auto source = open_plain_or_gzip(shared / "tokenizer.json.gz");
  const Tokenizer tokenizer = Tokenizer::parse(read_all(*source), "tokenizer.json.gz");
  CHECK(tokenizer.size() == 151669);
  CHECK(tokenizer.id_of("<|im_end|>") == 151645);
  CHECK(tokenizer.id_of("\xc4\xa0the") == 279);
  CHECK(tokenizer.token_bytes(279) == " the");
  const auto cases = open_plain_or_gzip(shared / "cases.jsonl.gz");
  JsonlReader reader(*cases, "cases.jsonl.gz");
  int wrong = 0;
  for (JsonRow row; reader.next(row);) {
    const auto ids = ids_of(*row.value.find("ids"));
    wrong += tokenizer.encode(row.value.find("text")->as_string(), SpecialTokens::parse) != ids ||
             tokenizer.decode(ids) != row.value.find("decoded")->as_string();
  }
  CHECK(reader.rows() == 4000);
  CHECK(wrong == 0);
}

TEST_CASE("ids and bytes of tokens; ids that are no token decode to nothing") {
  const Tokenizer& t = fixture("qwen");
  const std::int32_t end = t.id_of("<|im_end|>").value();
  CHECK(t.is_special(end));
  CHECK(t.special_token("<|im_end|>") == end);
  CHECK_FALSE(t.special_token("<think>"));  // added, but not special
  CHECK(t.token_bytes(t.id_of("<think>").value()) == "<think>");
  CHECK_FALSE(t.id_of("no such token"));
  CHECK(t.token_bytes(-1).empty());
  CHECK(t.token_bytes(static_cast<std::int32_t>(t.size())).empty());
  const std::vector<std::int32_t> ids{-5, end, 1 << 30};
  CHECK(t.decode(ids) == "<|im_end|>");
  CHECK(t.decode(ids, true).empty());
  for (std::int32_t b = 0; b < 256; ++b) {
    std::string spelling;
    append_utf8(spelling, byte_alphabet()[static_cast<std::size_t>(b)]);
    CHECK(t.token_bytes(t.id_of(spelling).value()) == std::string(1, static_cast<char>(b)));
  }
}

TEST_CASE("a tokenizer that was moved, and one used by several threads, gives the same ids") {
  const std::string text = "SELECT count(*) FROM t WHERE name = 'Caf\xc3\xa9' -- it's <|im_end|>\n\n";
  Tokenizer first = Tokenizer::load(data / "qwen.json");
  const auto ids = first.encode(text, SpecialTokens::parse);
  const Tokenizer t = std::move(first);
  std::vector<std::thread> threads;
  std::vector<int> same(4);
  for (std::size_t k = 0; k < same.size(); ++k)
    threads.emplace_back([&, k] {
      for (int i = 0; i < 200; ++i) same[k] += t.encode(text, SpecialTokens::parse) == ids;
    });
  for (auto& thread : threads) thread.join();
  CHECK(same == std::vector<int>(4, 200));
}

TEST_CASE("bytes decoded after encoding are the NFC of the text") {
  const Tokenizer& t = fixture("qwen");
  for (const std::string text :
       {"e\xcc\x81 \xea\xb0\x80", "a\nb\r\n  c", "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7"})
    CHECK(t.decode(t.encode(text, SpecialTokens::parse)) == normalize_nfc(text));
}

TEST_CASE("merging follows its definition, also for merges in an order that no training gives") {
  const RandomStream random(3, Purpose::shuffle);
  std::uint64_t n = 0;
  const auto below = [&](std::size_t k) { return random.below(n++, static_cast<std::uint32_t>(k)); };
  std::array<std::int32_t, 256> byte_ids{};
  for (std::size_t b = 0; b < 256; ++b) byte_ids[b] = static_cast<std::int32_t>(b);
  for (int round = 0; round < 150; ++round) {
    std::vector<std::pair<std::string, std::int32_t>> tokens{{"a", 'a'}, {"b", 'b'}, {"c", 'c'}};
    std::vector<TokenizerFile::Merge> merges;
    const auto add = [&](std::size_t left, std::size_t right) {
      const std::string text = tokens[left].first + tokens[right].first;
      auto found = std::find_if(tokens.begin(), tokens.end(), [&](const auto& t) { return t.first == text; });
      const std::int32_t id = found != tokens.end() ? found->second : static_cast<std::int32_t>(300 + tokens.size());
      const TokenizerFile::Merge merge{tokens[left].second, tokens[right].second, id};
      for (const auto& m : merges)
        if (m.left == merge.left && m.right == merge.right) return;
      merges.push_back(merge);
      if (found == tokens.end()) tokens.emplace_back(text, id);
    };
    for (int k = 0; k < 30; ++k) add(below(tokens.size()), below(tokens.size()));
    if (round % 3 != 0)
      for (std::size_t i = merges.size(); i > 1; --i) std::swap(merges[i - 1], merges[below(i)]);
    Bpe bpe;
    bpe.reset(byte_ids, merges.size());
    for (const auto& m : merges) REQUIRE(bpe.add_merge(m.left, m.right, m.result));
    BpeScratch scratch;
    for (const std::size_t length : {2u, 17u, 127u, 128u, 129u, 300u, 130u}) {
      std::string text;
      const std::size_t letters = 1 + below(3);
      while (text.size() < length) text += static_cast<char>('a' + below(letters));
      std::vector<std::int32_t> ids;
      bpe.merge(text, scratch, ids);
      REQUIRE(ids == merged_by_definition({text.begin(), text.end()}, merges));
    }
  }
}

// Where time is quadratic, 4 MiB take hours and the test runs into its limit; no clock is read.
TEST_CASE("4 MiB of any kind of text are encoded, and decode to what they were") {
  const Tokenizer& t = fixture("qwen");
  constexpr std::size_t bytes = std::size_t{1} << 22;
  const auto repeated = [](const std::string& unit, std::size_t times) {
    std::string text;
    for (std::size_t i = 0; i < times; ++i) text += unit;
    return text;
  };
  const auto there_and_back = [&t](const std::string& text) { return t.decode(t.encode(text, SpecialTokens::parse)); };
  const std::pair<const char*, std::string> families[] = {
      {"one letter", "a"},
      {"spaces", " "},
      {"newlines and spaces", "\n "},
      {"one long word", "thequickbrownfoxjumpsoverthelazydogandrunsaway"},
      {"digits", "7"},
      {"punctuation", "=-"},
      {"apostrophes", "'l"},
      {"half a special token", "<|im_en"},
      {"special tokens", "<|im_end|>"},
      {"ideographs", "\xe4\xbd\xa0\xe5\xa5\xbd"},
      {"emoji with joiners", "\xf0\x9f\x91\xa9\xe2\x80\x8d"},
  };
  for (const auto& [name, unit] : families) {
    INFO(name);
    const std::string text = repeated(unit, bytes / unit.size());
    CHECK((there_and_back(text) == text));
  }
  // What NFC changes: letters become syllables, marks are sorted by their class.
  const std::string letters = "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", syllable = "\xea\xb0\x81";
  CHECK((there_and_back(repeated(letters, bytes / 9)) == repeated(syllable, bytes / 9)));
  const std::string above = "\xcc\x81", below = "\xcc\xa3", over = "\xcc\xb4";
  CHECK((there_and_back(repeated(above + below + over, bytes / 6)) ==
         repeated(over, bytes / 6) + repeated(below, bytes / 6) + repeated(above, bytes / 6)));
}

TEST_CASE("text that is not UTF-8, or too long, is refused") {
  const Tokenizer& t = fixture("qwen");
  const auto code_of = [&](std::string_view text) {
    try {
      t.encode(text, SpecialTokens::parse);
      return 0;
    } catch (const Error& e) {
      return e.code();
    }
  };
  CHECK(code_of("ok\xff") == 246);
  CHECK(code_of("\xed\xa0\x80") == 246);
  CHECK(code_of("\xe4\xbd") == 246);
  const char byte = 'a';  // the length is looked at before any byte
  CHECK(code_of(std::string_view(&byte, Tokenizer::max_text_bytes + 1)) == 249);
}

TEST_CASE("the small file loads, also in the other spellings that tokenizers writes") {
  const auto ids = [](const std::string& file, const char* text) {
    return Tokenizer::parse(file, "f").encode(text, SpecialTokens::parse);
  };
  using Ids = std::vector<std::int32_t>;
  CHECK(ids(small_file(), "abc<e>") == Ids{257, 258});
  CHECK(ids(with(R"([["a","b"],["ab","c"]])", R"(["a b","ab c"])"), "abc") == Ids{257});
  CHECK(ids(with(R"([["a","b"],["ab","c"]])", R"([["a","b"]])"), "abc") == Ids{256, 'c'});
  CHECK(ids(with(R"([["a","b"],["ab","c"]])", "[]"), "abc") == Ids{'a', 'b', 'c'});
  CHECK(ids(with(R"("ignore_merges":false)", R"("ignore_merges":true)"), "abc") == Ids{257});
  CHECK(ids(with(R"("dropout":null)", R"("dropout":0.0)"), "ab") == Ids{256});
  CHECK(ids(with(R"("continuing_subword_prefix":null)", R"("continuing_subword_prefix":"")"), "ab") == Ids{256});
  CHECK(ids(with(R"("unk_token":null)", R"("unk_token":"ab")"), "ab") == Ids{256});
  CHECK(ids(with(R"("normalizer":{"type":"NFC"})", R"("normalizer":null)"), "e\xcc\x81").size() == 3);
  CHECK(ids(with(R"({"type":"NFC"})", R"({"type":"NFC"})"), "e\xcc\x81").size() == 2);
  CHECK(ids(with(R"(,"use_regex":true}]})", "}]}"), "ab ab") == Ids{256, 32, 256});
}

TEST_CASE("broken and unsupported tokenizer files are refused with their code and place") {
  struct Case {
    int code;
    std::string from, to, where;  // what is changed in the small file; a part of the message
  };
  const std::string added = R"({"id":258,"content":"<e>","single_word":false,"lstrip":false,"rstrip":false,)"
                            R"("normalized":false,"special":true})";
  const std::string merges = R"([["a","b"],["ab","c"]])", type = R"("model":{"type":"BPE")";
  const auto added_with = [&](const std::string& from, const std::string& to) {
    std::string text = added;
    return text.replace(text.find(from), from.size(), to);
  };
  const std::vector<Case> cases = {
      {210, R"("version")", "version", "line 1"},
      {211, R"("<e>")", "\"\xff\"", "offset"},
      {213, R"("truncation":null)", R"("padding":null)", "offset"},
      {213, R"("abc":257)", R"("ab":257)", "offset"},
      // 240: missing, or of another kind
      {241, R"("model":{)", R"("Model":{)", "top level"},
      {240, type, R"("model":{"typ":"BPE")", "/model/type"},
      {240, type, R"("model":{"type":7)", "/model/type"},
      {240, R"("merges":[["a","b"],["ab","c"]])", R"("merges":{})", "/model/merges"},
      {240, R"("abc":257)", R"("abc":"257")", "token \"abc\""},
      {240, R"("abc":257)", R"("abc":256.5)", "token \"abc\""},
      {240, R"("fuse_unk":false)", R"("fuse_unk":"no")", "/model/fuse_unk"},
      {240, R"("unk_token":null)", R"("unk_token":1)", "/model/unk_token"},
      {240, R"("individual_digits":true)", R"("individual_digits":1)",
       "/pre_tokenizer/pretokenizers/0/individual_digits"},
      {240, R"(,"individual_digits":true)", "", "/pre_tokenizer/pretokenizers/0/individual_digits"},
      {240, R"("add_prefix_space":false,)", "", "/pre_tokenizer/pretokenizers/1/add_prefix_space"},
      {240, R"("pretokenizers":[)", R"("pretokenizers":[7,)", "/pre_tokenizer/pretokenizers/0"},
      {240, R"("normalizer":{"type":"NFC"})", R"("normalizer":["NFC"])", "/normalizer"},
      {240, R"("normalizer":{"type":"NFC"})", R"("normalizer":{})", "/normalizer/type"},
      {240, "[" + added + "]", "{}", "/added_tokens"},
      {240, added, "7", "/added_tokens/0"},
      {240, added, added_with(R"("id":258)", R"("id":"258")"), "/added_tokens/0/id"},
      {240, added, added_with(R"("id":258,)", ""), "/added_tokens/0/id"},
      {240, added, added_with(R"("lstrip":false,)", ""), "/added_tokens/0/lstrip"},
      {240, added, added_with(R"("special":true)", R"("special":1)"), "/added_tokens/0/special"},
      {240, added, added_with(R"("<e>")", "null"), "/added_tokens/0/content"},
      // 241: not supported
      {241, R"("version":"1.0")", R"("version":"2.0")", "/version"},
      {241, R"("truncation":null)", R"("truncation":{"max_length":3})", "/truncation"},
      {241, R"("padding":null)", R"("padding":{})", "/padding"},
      {241, R"("padding":null)", R"("paddings":null)", "paddings"},
      {241, type, R"("model":{"type":"WordPiece")", "/model/type"},
      {241, type, type + R"(,"cache":5)", "cache"},
      {241, R"("dropout":null)", R"("dropout":0.1)", "/model/dropout"},
      {241, R"("byte_fallback":false)", R"("byte_fallback":true)", "/model/byte_fallback"},
      {241, R"("end_of_word_suffix":null)", R"("end_of_word_suffix":"</w>")", "/model/end_of_word_suffix"},
      {241, R"({"type":"NFC"})", R"({"type":"NFKC"})", "/normalizer/type"},
      {241, R"({"type":"NFC"})", R"({"type":"NFC","x":1})", "/normalizer"},
      {241, R"({"type":"Digits")", R"({"type":"Whitespace")", "/pre_tokenizer/pretokenizers/0/type"},
      {241, R"({"type":"Digits","individual_digits":true})",
       R"({"type":"Split","pattern":{"Regex":"(a+)+$"},"behavior":"Isolated","invert":false})",
       "/pre_tokenizer/pretokenizers/0/pattern/Regex"},
      {241, R"({"type":"Digits","individual_digits":true})",
       R"({"type":"Split","pattern":{"String":"a"},"behavior":"Isolated","invert":false})",
       "/pre_tokenizer/pretokenizers/0/pattern"},
      {241, R"({"type":"ByteLevel","add_prefix_space":false,)", R"({"type":"Digits","add_prefix_space":false,)",
       "/pre_tokenizer/pretokenizers/1/type"},
      {241, R"("pre_tokenizer":{"type":"Sequence")", R"("pre_tokenizer":{"type":"Metaspace")", "/pre_tokenizer/type"},
      {241, R"("post_processor":null)", R"("post_processor":{"type":"TemplateProcessing"})", "/post_processor/type"},
      {241, R"("decoder":{"type":"ByteLevel")", R"("decoder":{"type":"WordPiece")", "/decoder/type"},
      {241, added, added_with(R"("special")", R"("score":1,"special")"), "/added_tokens/0"},
      // 242: vocabulary
      {242, R"("abc":257)", R"("abc":259)", "token \"abc\""},
      {242, R"("abc":257)", R"("abc":256)", "token \"abc\""},
      {242, R"("abc":257)", R"("abc":-1)", "token \"abc\""},
      {242, R"("abc":257)", R"("abc":4294967296)", "token \"abc\""},
      {242, R"("abc":257)", R"("":257)", "token \"\""},
      {242, R"("unk_token":null)", R"("unk_token":"<unk>")", "/model/unk_token"},
      // 243: a byte without a token
      {243, R"("z":122,)", R"("zz":122,)", "byte 122"},
      {243, "\"\xc4\x80\":0,", R"("zz":0,)", "byte 0"},
      // 244: merges
      {244, merges, R"([["a","b"],["ab","x"]])", "/model/merges/1"},
      {244, merges, R"([["a","\n"]])", "/model/merges/0"},
      {244, merges, R"([["q q","b"]])", "/model/merges/0"},
      {244, merges, R"([["a","b","c"]])", "/model/merges/0"},
      {244, merges, R"([["a"]])", "/model/merges/0"},
      {244, merges, R"(["a b","ab  c"])", "/model/merges/1"},
      {244, merges, R"(["ab"])", "/model/merges/0"},
      {244, merges, R"([["a","b"],"ab c"])", "/model/merges/1"},
      {244, merges, R"([["a","b"],["ab","c"],["a","b"]])", "\"a\" and \"b\" twice"},
      {244, merges, "[3]", "/model/merges/0"},
      // 245: added tokens
      {245, added, added_with("258", "259"), "/added_tokens/0/id"},
      {245, added, added_with("258", "7"), "/added_tokens/0/id"},
      {245, added, added_with("258", "-1"), "/added_tokens/0/id"},
      {245, added, added_with("258", "4294967554"), "/added_tokens/0/id"},
      {245, added, added_with("\"<e>\"", "\"abc\""), "/added_tokens/0/id"},
      {245, added, added_with("\"<e>\"", "\"\""), "/added_tokens/0/content"},
      {245, added, added + "," + added, "/added_tokens/1"},
  };
  for (const Case& c : cases) {
    INFO(c.code << ": " << c.from << " -> " << c.to);
    try {
      Tokenizer::parse(with(c.from, c.to), "t.json");
      FAIL_CHECK("it loaded");
    } catch (const Error& e) {
      INFO(e.what());
      CHECK(e.code() == c.code);
      CHECK(std::string(e.what()).find(c.where) != std::string::npos);
      CHECK(std::string(e.what()).find("t.json") != std::string::npos);
    }
  }
}

TEST_CASE("files that are no tokenizer, cut anywhere, or too large are refused") {
  const auto code_of = [](const std::string& text, const Limits& limits = default_limits) {
    try {
      Tokenizer::parse(text, "t.json", limits);
      return 0;
    } catch (const Error& e) {
      return e.code();
    }
  };
  CHECK(code_of("") == 210);
  CHECK(code_of("[]") == 240);
  CHECK(code_of("null") == 240);
  CHECK(code_of("{}") == 240);
  CHECK(code_of(R"({"model":null})") == 240);
  CHECK(code_of(R"({"model":{"type":"BPE","vocab":[],"merges":[]}})") == 240);
  CHECK(code_of(R"({"model":{"type":"BPE","vocab":{},"merges":[]}})") == 243);
  CHECK(code_of(R"({"model":{"type":"BPE","vocab":{"a":0}}})") == 243);
  CHECK(code_of("\xef\xbb\xbf" + small_file()) == 211);
  CHECK(code_of(small_file() + "x") == 210);
  CHECK(code_of(std::string(70, '[')) == 212);
  Limits limits;
  limits.tokenizer_bytes = 100;
  CHECK(code_of(small_file(), limits) == 215);
  for (std::size_t n = 0; n < small_file().size(); n += 7) REQUIRE(code_of(small_file().substr(0, n)) != 0);
  CHECK_THROWS_AS(Tokenizer::load(data / "absent.json"), Error);
}

namespace {

std::string image_of(const Tokenizer& tokenizer) {
  ImageWriter image;
  detail::TokenizerImage::save(tokenizer, image);
  return {reinterpret_cast<const char*>(image.bytes().data()), image.bytes().size()};
}

}  // namespace

TEST_CASE("a tokenizer from the cache is the one that was read", "[cache]") {
  const TempDir temp;
  const std::string cache = temp / "deep/cache",
                    text = "SELECT 12, x FROM <|im_start|> Caf\xc3\xa9 e\xcc\x81\n\n  it's<|im_end|>";
  for (const char* name : {"qwen.json", "gpt2.json", "digits.json", "runs.json"}) {
    const Tokenizer read = Tokenizer::load(data / name);
    const CachedTokenizer first = cached_tokenizer(data / name, cache);
    CHECK(first.note == "tokenizer: read and kept in " + cache);
    const CachedTokenizer second = cached_tokenizer(data / name, cache);
    CHECK(second.note.empty());
    for (const SpecialTokens mode : {SpecialTokens::parse, SpecialTokens::as_text}) {
      const auto ids = read.encode(text, mode);
      CHECK(second.tokenizer.encode(text, mode) == ids);
      CHECK(second.tokenizer.decode(ids) == read.decode(ids));
    }
    CHECK(second.tokenizer.size() == read.size());
    CHECK(second.tokenizer.id_of("a") == read.id_of("a"));
    CHECK(second.tokenizer.special_token("<|im_end|>") == read.special_token("<|im_end|>"));
    CHECK(image_of(second.tokenizer) == image_of(read));
  }
  CHECK(cached_files(cache).size() == 4);
}

TEST_CASE("a changed tokenizer.json is read anew, a bad one is refused as ever", "[cache]") {
  const TempDir temp;
  const std::string file = temp / "tokenizer.json", cache = temp / "cache";
  write_file(file, small_file());
  cached_tokenizer(file, cache);
  std::string other = small_file();
  other.replace(other.find("<e>"), 3, "<f>");
  write_file(file, other);
  CHECK(cached_tokenizer(file, cache).tokenizer.special_token("<f>").has_value());
  CHECK(cached_files(cache).size() == 2);
  write_file(file, "{");
  CHECK(error_of([&] { cached_tokenizer(file, cache); }).code() == error_of([&] { Tokenizer::load(file); }).code());
  CHECK(error_of([&] { cached_tokenizer(temp / "absent", cache); }).code() == 200);
  CHECK(cached_files(cache).size() == 2);
  CHECK(cached_tokenizer(data / "gpt2.json", "").note.empty());
}

TEST_CASE("a damaged tokenizer of the cache is said, and read again", "[cache]") {
  const TempDir temp;
  const std::string cache = temp / "cache";
  cached_tokenizer(data / "gpt2.json", cache);
  const std::string path = cached_files(cache).front(), whole = read_file(path, 1 << 26);
  for (const std::size_t at : {std::size_t{3}, std::size_t{70}, whole.size() / 2, whole.size() - 1}) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 16);
    write_file(path, bytes);
    const CachedTokenizer again = cached_tokenizer(data / "gpt2.json", cache);
    CHECK(again.note.find("tokenizer: read again, because EXPERT-E204") != std::string::npos);
    CHECK(image_of(again.tokenizer) == image_of(Tokenizer::load(data / "gpt2.json")));
    CHECK(read_file(path, 1 << 26) == whole);
  }
}

// The checksum is no guard here: whatever the words of an image are, it is refused or encodes within its bounds.
TEST_CASE("images of any content are refused or harmless", "[cache]") {
  const std::string image = image_of(Tokenizer::parse(small_file(), "small.json"));
  std::mt19937_64 random(7);
  std::int64_t refused = 0, taken = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::vector<std::uint64_t> bytes = changed_words(image, random, 300);
    const auto tokenizer = detail::TokenizerImage::load(ImageReader(std::as_bytes(std::span(bytes))), MappedFile());
    (tokenizer ? taken : refused) += 1;
    if (!tokenizer) continue;
    const auto ids = tokenizer->encode("abc <e> 12 abcabc" + std::string(150, 'a') + "<e>", SpecialTokens::parse);
    for (const std::int32_t id : ids) REQUIRE((id >= 0 && id < tokenizer->size()));
    tokenizer->decode(ids);
    tokenizer->id_of("abc");
  }
  CHECK(refused > 2000);
  CHECK(taken > 0);
}

}  // namespace tokenizer_test
