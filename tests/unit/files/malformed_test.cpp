// Broken input for every reader of files, one row each: the number that it must raise and the place that the message
// must name. Inputs are made here from valid ones, so that each row shows what is wrong with it.
#include <cstring>
#include <set>

#include "catch.hpp"
#include "error_of.hpp"
#include "expert/io/checkpoint_dir.hpp"
#include "expert/io/hf_config.hpp"
#include "expert/io/peft_config.hpp"
#include "expert/io/safetensors.hpp"
#include "expert/json/json.hpp"
#include "temp_dir.hpp"

namespace malformed_test {
using namespace expert;

namespace {

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  if (at == text.npos) FAIL("the valid input has no " << from);
  return text.replace(at, from.size(), to);
}

// An edit of a valid text and what must come of it.
struct Edit {
  const char *from, *to;
  ErrorCode code;
  const char* place;  // must be part of the message
};

struct Text {
  std::string text;
  ErrorCode code;
  const char* place;
};

std::string safetensors(const std::string& header, std::size_t data_bytes) {
  std::string text(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(text.data(), &length, 8);
  return text + header + std::string(data_bytes, '\0');
}

void expect(const Error& error, const ErrorCode& code, const std::string& place, const std::string& file) {
  INFO(error.what());
  CHECK(error.code() == code.number);
  CHECK(contains(error.what(), place));
  CHECK(contains(error.what(), file));
}

std::string repeat(const std::string& text, std::size_t n) {
  std::string out;
  while (n-- > 0) out += text;
  return out;
}

}  // namespace

TEST_CASE("malformed JSON files", "[malformed]") {
  const std::string s(1, '\0');
  const Text rows[] = {
      {"", json_syntax, "offset 0"},
      {" \n ", json_syntax, "line 2, column 2"},
      {"{", json_syntax, "offset 1"},
      {"{\"a\"", json_syntax, "offset 4"},
      {"{\"a\":", json_syntax, "offset 5"},
      {"{\"a\":1", json_syntax, "offset 6"},
      {"{\"a\":1,", json_syntax, "offset 7"},
      {"{\"a\":1,}", json_syntax, "offset 7"},
      {"{\"a\":1 \"b\":2}", json_syntax, "offset 7"},
      {"{1:2}", json_syntax, "offset 1"},
      {"{a:1}", json_syntax, "offset 1"},
      {"{'a':1}", json_syntax, "offset 1"},
      {"[1,2", json_syntax, "offset 4"},
      {"[1,,2]", json_syntax, "offset 3"},
      {"[1;2]", json_syntax, "offset 2"},
      {"[1,2]]", json_syntax, "offset 5"},
      {"[1}", json_syntax, "offset 2"},
      {"{]", json_syntax, "offset 1"},
      {"nan", json_syntax, "offset 0"},
      {"[Infinity]", json_syntax, "offset 1"},
      {"[-Infinity]", json_syntax, "offset 2"},
      {"[tru]", json_syntax, "offset 1"},
      {"[TRUE]", json_syntax, "offset 1"},
      {"[undefined]", json_syntax, "offset 1"},
      {"[+1]", json_syntax, "offset 1"},
      {"[.5]", json_syntax, "offset 1"},
      {"[5.]", json_syntax, "offset 3"},
      {"[00]", json_syntax, "offset 2"},
      {"[-01]", json_syntax, "offset 3"},
      {"[1e]", json_syntax, "offset 3"},
      {"[1e+]", json_syntax, "offset 4"},
      {"[0x1]", json_syntax, "offset 2"},
      {"[1 000]", json_syntax, "offset 3"},
      {"[\"a]", json_syntax, "offset 1"},
      {"[\"\\a\"]", json_syntax, "offset 2"},
      {"[\"\\u00g0\"]", json_syntax, "offset 2"},
      {"[\"\\u00", json_syntax, "offset 2"},
      {"[\"line\nbreak\"]", json_syntax, "line 1, column 7"},
      {"[\"" + s + "\"]", json_syntax, "offset 2"},
      {"{}" + s, json_syntax, "offset 2"},
      {"{} {}", json_syntax, "offset 3"},
      {"{}//", json_syntax, "offset 2"},
      {"/**/{}", json_syntax, "offset 0"},
      {"#\n{}", json_syntax, "offset 0"},
      {"\xef\xbb\xbf{}", json_encoding, "byte order mark"},
      {"\xff\xfe{\0}\0", json_syntax, "offset 0"},
      {"[\"\xff\"]", json_encoding, "offset 2"},
      {"[\"ok\xc3\"]", json_encoding, "offset 4"},
      {"[\"\xc0\x80\"]", json_encoding, "offset 2"},
      {"[\"\xed\xbf\xbf\"]", json_encoding, "offset 2"},
      {"[\"\\ud83d\"]", json_encoding, "lone high surrogate"},
      {"[\"\\ude00\\ud83d\"]", json_encoding, "lone low surrogate"},
      {"{\"\xf5\x80\x80\x80\":1}", json_encoding, "offset 2"},
      {repeat("[", 65), json_too_deep, "offset 64"},
      {repeat("{\"a\":", 65), json_too_deep, "offset 320"},
      {repeat("[", 100000), json_too_deep, "Limits::json_depth"},
      {"{\"a\":1,\"b\":2,\"a\":3}", json_duplicate_key, "\"a\""},
      {"{\"a\":{\"x\":1,\"\\u0078\":2}}", json_duplicate_key, "\"x\""},
      {"{\"\":1,\"\":2}", json_duplicate_key, "offset 9"},
      {"[1e309]", json_number_range, "\"1e309\""},
      {"[-1e309]", json_number_range, "offset 1"},
      {"[1e-999]", json_number_range, "offset 1"},
      {"[" + repeat("9", 310) + "]", json_number_range, "offset 1"},
      {repeat(" ", 1001), json_too_large, "at most 1000 bytes"},
  };
  const TempDir dir;
  for (const Text& row : rows) {
    INFO(row.text.substr(0, 80));
    const std::int64_t cap = row.code == json_too_large ? 1000 : 1 << 20;
    expect(error_of([&] { parse_json(row.text, "bad.json", cap); }), row.code, row.place, "bad.json");
  }
}

TEST_CASE("malformed safetensors headers", "[malformed]") {
  const std::string valid =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})";
  const TempDir dir;
  CHECK(SafetensorsFile(dir.write("good", safetensors(valid, 32))).tensors().size() == 2);
  const Edit edits[] = {
      {"{\"__", "[\"__", safetensors_header, "offset 8"},
      {"{\"__", " {\"__", safetensors_header, "offset 8"},
      {"}}", "}", json_syntax, "(header)"},
      {"}}", "}},", json_syntax, "(header)"},
      {"\"w\":{", "\"b\":{", json_duplicate_key, "\"b\""},
      {"\"dtype\":\"F32\",", "\"dtype\":\"F32\",\"dtype\":\"F32\",", json_duplicate_key, "\"dtype\""},
      {"{\"format\":\"pt\"}", "[]", safetensors_metadata, "/__metadata__"},
      {"{\"format\":\"pt\"}", "null", safetensors_metadata, "/__metadata__"},
      {"\"pt\"", "1", safetensors_metadata, "\"format\""},
      {"\"pt\"", "{\"a\":\"b\"}", safetensors_metadata, "\"format\""},
      {"\"w\":", "\"\":", safetensors_entry, "\"\""},
      {"\"w\":", "\"w\\u0000\":", safetensors_entry, "\"w\\x00\""},
      {"{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}", "[]", safetensors_entry, "tensor \"w\""},
      {"{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}", "{}", safetensors_entry, "no dtype"},
      {"\"dtype\":\"F32\",", "", safetensors_entry, "no dtype"},
      {"\"shape\":[2,3],", "", safetensors_entry, "no shape"},
      {",\"data_offsets\":[0,24]", "", safetensors_entry, "no data_offsets"},
      {"\"shape\":[2,3]", "\"shape\":[2,3],\"strides\":[3,1]", safetensors_entry, "\"strides\""},
      {"\"shape\":[2,3]", "\"Shape\":[2,3]", safetensors_entry, "\"Shape\""},
      {"\"F32\"", "32", safetensors_dtype, "tensor \"w\""},
      {"\"F32\"", "\"f32\"", safetensors_dtype, "\"f32\""},
      {"\"F32\"", "\"float32\"", safetensors_dtype, "\"float32\""},
      {"\"F32\"", "\"\"", safetensors_dtype, "tensor \"w\""},
      {"\"F32\"", "\"F4\"", safetensors_dtype, "\"F4\""},
      {"[2,3]", "6", safetensors_shape, "tensor \"w\""},
      {"[2,3]", "[2,-3]", safetensors_shape, "-3"},
      {"[2,3]", "[2.0,3]", safetensors_shape, "2.0"},
      {"[2,3]", "[2,1.5]", safetensors_shape, "1.5"},
      {"[2,3]", "[\"2\",3]", safetensors_shape, "\"2\""},
      {"[2,3]", "[2,null]", safetensors_shape, "null"},
      {"[2,3]", "[[2],3]", safetensors_shape, "an array"},
      {"[2,3]", "[1,1,1,1,1,1,1,2,3]", safetensors_shape, "Limits::safetensors_rank"},
      {"[2,3]", "[4611686018427387904,4]", safetensors_shape, "2^63"},
      {"[2,3]", "[4294967296,4294967296]", safetensors_shape, "2^63"},
      {"[2,3]", "[0,4611686018427387904,4]", safetensors_shape, "2^63"},
      {"[2,3]", "[9223372036854775808]", safetensors_shape, "9223372036854775808.0"},
      {"[2,3]", "[2,4]", safetensors_offsets, "32 bytes"},
      {"[2,3]", "[2,2]", safetensors_offsets, "16 bytes"},
      {"[2,3]", "[0]", safetensors_offsets, "0 bytes"},
      {"[2,3]", "[]", safetensors_offsets, "4 bytes"},
      {"\"F32\"", "\"F64\"", safetensors_offsets, "48 bytes"},
      {"[0,24]", "[0,23]", safetensors_offsets, "[0,23]"},
      {"[0,24]", "[24,0]", safetensors_offsets, "[24,0]"},
      {"[0,24]", "[-24,0]", safetensors_offsets, "[-24,0]"},
      {"[0,24]", "[0]", safetensors_offsets, "[0]"},
      {"[0,24]", "[0,24,48]", safetensors_offsets, "[0,24,48]"},
      {"[0,24]", "[0.0,24.0]", safetensors_offsets, "[0.0,24.0]"},
      {"[0,24]", "{\"begin\":0}", safetensors_offsets, "an object"},
      {"[0,24]", "[9223372036854775784,9223372036854775807]", safetensors_offsets, "tensor \"w\""},
      {"[0,24]", "[9223372036854775783,9223372036854775807]", safetensors_short, "tensor \"w\""},
      {"[0,24]", "[18446744073709551592,18446744073709551616]", safetensors_offsets, "tensor \"w\""},
      {"[0,24]", "[9,33]", safetensors_short, "tensor \"w\""},
      {"[24,32]", "[32,40]", safetensors_short, "tensor \"b\""},
      {"[0,24]", "[8,32]", safetensors_layout, "tensor \"w\""},
      {"[24,32]", "[0,8]", safetensors_layout, "tensor \"w\""},
      {"[24,32]", "[20,28]", safetensors_layout, "tensor \"b\""},
      {",\"b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]}", "", safetensors_layout, "8 more bytes"},
      {"\"shape\":[4],\"data_offsets\":[24,32]", "\"shape\":[0],\"data_offsets\":[4,4]", safetensors_layout,
       "tensor \"b\""},
  };
  for (const Edit& edit : edits) {
    INFO(edit.from << " -> " << edit.to);
    const auto path = dir.write("bad.safetensors", safetensors(replaced(valid, edit.from, edit.to), 32));
    expect(error_of([&] { SafetensorsFile{path}; }), edit.code, edit.place, "bad.safetensors");
  }

  std::string huge_length = safetensors(valid, 32), top_bit = huge_length;
  huge_length.replace(0, 8, std::string("\x01\0\0\x01\0\0\0\0", 8));  // 16 MiB + 1
  top_bit.replace(0, 8, std::string(8, '\xff'));
  const Text files[] = {
      {"", safetensors_short, "at least 8 bytes"},
      {std::string(7, '\0'), safetensors_short, "at least 8 bytes"},
      {std::string(8, '\0'), safetensors_header, "offset 8"},
      {safetensors(valid, 32).substr(0, 20), safetensors_short, "offset 0"},
      {safetensors(valid, 31), safetensors_short, "tensor \"b\""},
      {safetensors(valid, 33), safetensors_layout, "1 more bytes"},
      {safetensors(valid, 4096), safetensors_layout, "after the last tensor"},
      {safetensors("{}", 8), safetensors_layout, "8 more bytes"},
      {safetensors("null", 0), safetensors_header, "offset 8"},
      {safetensors(valid + std::string(1, '\0'), 32), json_syntax, "(header)"},
      {huge_length, safetensors_header_size, "16777217"},
      {top_bit, safetensors_header_size, "18446744073709551615"},
      {"PK\x03\x04 a zip archive of pickles", safetensors_header_size, "Limits::safetensors_header_bytes"},
      {safetensors("{\"a\":" + repeat("[", 70), 0), json_too_deep, "(header)"},
      {safetensors("{\"\xff\":1}", 0), json_encoding, "(header)"},
  };
  for (const Text& row : files) {
    INFO(quoted(row.text, 40));
    const auto path = dir.write("bad.safetensors", row.text);
    expect(error_of([&] { SafetensorsFile{path}; }), row.code, row.place, "bad.safetensors");
  }
}

TEST_CASE("malformed config.json", "[malformed]") {
  const std::string valid = R"({"model_type":"qwen3","vocab_size":512,"hidden_size":64,"intermediate_size":128,)"
                            R"("num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":32,)"
                            R"("hidden_act":"silu","max_position_embeddings":128,"rms_norm_eps":1e-06,)"
                            R"("tie_word_embeddings":true,"rope_theta":1000000.0,"eos_token_id":2})";
  CHECK(parse_hf_config(parse_json(valid, "config.json", 1 << 20), "config.json").head_dim == 32);
  const Edit edits[] = {
      {"\"model_type\":\"qwen3\",", "", config_key_missing, "/model_type"},
      {"\"qwen3\"", "\"qwen2\"", config_unsupported, "\"qwen2\""},
      {"\"qwen3\"", "\"qwen3_moe\"", config_unsupported, "/model_type"},
      {"\"qwen3\"", "3", config_wrong_kind, "/model_type"},
      {"\"vocab_size\":512,", "", config_key_missing, "/vocab_size"},
      {"\"vocab_size\":512", "\"vocab_size\":\"512\"", config_wrong_kind, "/vocab_size"},
      {"\"vocab_size\":512", "\"vocab_size\":0", config_out_of_range, "/vocab_size"},
      {"\"vocab_size\":512", "\"vocab_size\":true", config_wrong_kind, "/vocab_size"},
      {"\"hidden_size\":64,", "", config_key_missing, "/hidden_size"},
      {"\"hidden_size\":64", "\"hidden_size\":-64", config_out_of_range, "/hidden_size"},
      {"\"hidden_size\":64", "\"hidden_size\":64.5", config_wrong_kind, "/hidden_size"},
      {"\"hidden_size\":64", "\"hidden_size\":null", config_wrong_kind, "/hidden_size"},
      {"\"hidden_size\":64", "\"hidden_size\":[64]", config_wrong_kind, "/hidden_size"},
      {"\"hidden_size\":64", "\"hidden_size\":2147483648", config_out_of_range, "/hidden_size"},
      {"\"hidden_size\":64", "\"hidden_size\":18446744073709551616", config_out_of_range, "/hidden_size"},
      {"\"hidden_size\":64", "\"hidden_size\":1e300", config_out_of_range, "/hidden_size"},
      {"\"hidden_size\":64", "\"hidden_size\":2147483647", config_out_of_range, "2^40 parameters"},
      {"\"intermediate_size\":128,", "", config_key_missing, "/intermediate_size"},
      {"\"intermediate_size\":128", "\"intermediate_size\":0", config_out_of_range, "/intermediate_size"},
      {"\"num_hidden_layers\":2,", "", config_key_missing, "/num_hidden_layers"},
      {"\"num_hidden_layers\":2", "\"num_hidden_layers\":1000000", config_out_of_range, "/num_hidden_layers"},
      {"\"num_attention_heads\":4,", "", config_key_missing, "/num_attention_heads"},
      {"\"num_attention_heads\":4", "\"num_attention_heads\":0", config_out_of_range, "/num_attention_heads"},
      {"\"num_attention_heads\":4", "\"num_attention_heads\":2000000000", config_out_of_range, "/head_dim"},
      {"\"num_key_value_heads\":2,", "", config_key_missing, "/num_key_value_heads"},
      {"\"num_key_value_heads\":2", "\"num_key_value_heads\":3", config_contradiction, "/num_key_value_heads"},
      {"\"num_key_value_heads\":2", "\"num_key_value_heads\":8", config_contradiction, "/num_key_value_heads"},
      {"\"head_dim\":32", "\"head_dim\":31", config_out_of_range, "/head_dim"},
      {"\"head_dim\":32", "\"head_dim\":0", config_out_of_range, "/head_dim"},
      {"\"head_dim\":32", "\"head_dim\":null", config_wrong_kind, "/head_dim"},
      {"\"head_dim\":32", "\"head_dims\":32", config_unsupported, "/head_dims"},
      {"\"silu\"", "\"gelu\"", config_unsupported, "/hidden_act"},
      {"\"hidden_act\":\"silu\",", "", config_key_missing, "/hidden_act"},
      {"\"max_position_embeddings\":128,", "", config_key_missing, "/max_position_embeddings"},
      {"\"max_position_embeddings\":128", "\"max_position_embeddings\":0", config_out_of_range,
       "/max_position_embeddings"},
      {"\"rms_norm_eps\":1e-06,", "", config_key_missing, "/rms_norm_eps"},
      {"1e-06", "\"1e-06\"", config_wrong_kind, "/rms_norm_eps"},
      {"1e-06", "0", config_out_of_range, "/rms_norm_eps"},
      {"1e-06", "-1e-06", config_out_of_range, "/rms_norm_eps"},
      {"1e-06", "1000000", config_out_of_range, "/rms_norm_eps"},
      {"\"tie_word_embeddings\":true", "\"tie_word_embeddings\":1", config_wrong_kind, "/tie_word_embeddings"},
      {"\"tie_word_embeddings\":true", "\"tie_word_embedding\":true", config_unsupported, "/tie_word_embedding"},
      {"\"rope_theta\":1000000.0,", "", config_key_missing, "/rope_theta"},
      {"\"rope_theta\":1000000.0", "\"rope_theta\":null", config_key_missing, "/rope_theta"},
      {"\"rope_theta\":1000000.0", "\"rope_tetha\":1000000.0", config_unsupported, "/rope_tetha"},
      {"\"rope_theta\":1000000.0", "\"rotary_base\":1000000.0", config_key_missing, "/rope_theta"},
      {"\"rope_theta\":1000000.0", "\"rope_theta\":\"1e6\"", config_wrong_kind, "/rope_theta"},
      {"\"rope_theta\":1000000.0", "\"rope_theta\":0", config_out_of_range, "/rope_theta"},
      {"\"rope_theta\":1000000.0", "\"rope_theta\":1e40", config_out_of_range, "/rope_theta"},
      {"\"eos_token_id\":2", "\"eos_token_id\":512", config_out_of_range, "/eos_token_id"},
      {"\"eos_token_id\":2", "\"eos_token_id\":[2,-1]", config_out_of_range, "/eos_token_id"},
      {"\"eos_token_id\":2", "\"eos_token_id\":[\"</s>\"]", config_wrong_kind, "/eos_token_id"},
      {"\"eos_token_id\":2", "\"eos_token_id\":\"</s>\"", config_wrong_kind, "/eos_token_id"},
      {"\"eos_token_id\":2", "\"pad_token_id\":-1", config_out_of_range, "/pad_token_id"},
      {"\"eos_token_id\":2", "\"attention_bias\":true", config_unsupported, "/attention_bias"},
      {"\"eos_token_id\":2", "\"attention_bias\":\"no\"", config_wrong_kind, "/attention_bias"},
      {"\"eos_token_id\":2", "\"attention_dropout\":0.1", config_unsupported, "/attention_dropout"},
      {"\"eos_token_id\":2", "\"use_sliding_window\":true", config_unsupported, "/use_sliding_window"},
      {"\"eos_token_id\":2", "\"quantization_config\":{\"bits\":4}", config_unsupported, "/quantization_config"},
      {"\"eos_token_id\":2", "\"layer_types\":[\"full_attention\"]", config_contradiction, "/layer_types"},
      {"\"eos_token_id\":2", "\"layer_types\":[\"full_attention\",\"sliding_attention\"]", config_unsupported,
       "/layer_types"},
      {"\"eos_token_id\":2", "\"layer_types\":\"full_attention\"", config_wrong_kind, "/layer_types"},
      {"\"eos_token_id\":2", "\"layer_types\":[1,2]", config_wrong_kind, "/layer_types"},
      {"\"eos_token_id\":2", "\"torch_dtype\":\"bfloat16\",\"dtype\":\"float32\"", config_contradiction,
       "/torch_dtype"},
      {"\"eos_token_id\":2", "\"torch_dtype\":\"int8\"", config_unsupported, "/torch_dtype"},
      {"\"eos_token_id\":2", "\"dtype\":16", config_wrong_kind, "/dtype"},
      {"\"eos_token_id\":2", "\"initializer_range\":-1", config_out_of_range, "/initializer_range"},
      {"\"eos_token_id\":2", "\"rope_parameters\":[]", config_wrong_kind, "/rope_parameters"},
      {"\"eos_token_id\":2", "\"rope_parameters\":{\"rope_theta\":10000.0}", config_contradiction,
       "/rope_parameters/rope_theta"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"type\":\"yarn-128k\",\"factor\":4}", config_unsupported,
       "/rope_scaling/type"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":\"ntk-by-parts\",\"factor\":8}", config_unsupported,
       "/rope_scaling/rope_type"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":\"\",\"factor\":8}", config_unsupported,
       "/rope_scaling/rope_type"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":\"dynamic yarn\",\"factor\":8}", config_unsupported,
       "/rope_scaling/rope_type"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":1}", config_wrong_kind, "/rope_scaling/rope_type"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":\"yarn\"}", config_key_missing, "/rope_scaling/factor"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"factor\":2}", config_unsupported, "/rope_scaling/factor"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":\"8\"}", config_wrong_kind,
       "/rope_scaling/factor"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":0.5}", config_out_of_range,
       "/rope_scaling/factor"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,\"beta_fast\":1,\"beta_slow\":32}",
       config_contradiction, "/rope_scaling/beta_fast"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,\"fine_grained\":true}",
       config_unsupported, "/rope_scaling/fine_grained"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,\"mscale\":1}", config_unsupported,
       "/rope_scaling/mscale"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,\"truncate\":false}",
       config_unsupported, "/rope_scaling/truncate"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2,\"beta_fast\":32}",
       config_unsupported, "/rope_scaling/beta_fast"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2}", config_key_missing,
       "/rope_scaling/low_freq_factor"},
      {"\"eos_token_id\":2",
       "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2,\"low_freq_factor\":4,\"high_freq_factor\":1}",
       config_contradiction, "/rope_scaling/high_freq_factor"},
      {"\"eos_token_id\":2", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"type\":\"linear\",\"factor\":2}",
       config_contradiction, "/rope_scaling/type"},
      {"\"eos_token_id\":2",
       "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},\"rope_parameters\":{\"rope_type\":\"default\"}",
       config_contradiction, "/rope_parameters"},
      {"\"eos_token_id\":2",
       "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":"
       "4}",
       config_contradiction, "/rope_scaling"},
      {"\"eos_token_id\":2", "\"rope_scalling\":{\"type\":\"linear\",\"factor\":2}", config_unsupported,
       "/rope_scalling"},
      {"\"eos_token_id\":2", "\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e6}}", config_unsupported,
       "/rope_parameters/full_attention"},
      {"\"eos_token_id\":2", "\"rope_parameters\":{\"partial_rotary_factor\":0.5}", config_unsupported,
       "/rope_parameters/partial_rotary_factor"},
      {"\"vocab_size\"", "\"hidden_size\"", json_duplicate_key, "\"hidden_size\""},
      {"{", "[", json_syntax, "offset"},
  };
  for (const Edit& edit : edits) {
    INFO(edit.from << " -> " << edit.to);
    const std::string text = replaced(valid, edit.from, edit.to);
    expect(error_of([&] { parse_hf_config(parse_json(text, "config.json", 1 << 20), "config.json"); }), edit.code,
           edit.place, "config.json");
  }
  expect(error_of([] { parse_hf_config(Json::array(), "config.json"); }), config_wrong_kind, "the whole file",
         "config.json");
}

TEST_CASE("malformed generation_config.json", "[malformed]") {
  const Text rows[] = {
      {"[]", config_wrong_kind, "the whole file"},
      {R"({"temperature": "0.1"})", config_wrong_kind, "/temperature"},
      {R"({"temperature": -1})", config_out_of_range, "/temperature"},
      {R"({"top_p": 1.5})", config_out_of_range, "/top_p"},
      {R"({"top_k": -1})", config_out_of_range, "/top_k"},
      {R"({"top_k": 2.5})", config_wrong_kind, "/top_k"},
      {R"({"min_p": -0.1})", config_out_of_range, "/min_p"},
      {R"({"repetition_penalty": 0})", config_out_of_range, "/repetition_penalty"},
      {R"({"do_sample": "yes"})", config_wrong_kind, "/do_sample"},
      {R"({"eos_token_id": -1})", config_out_of_range, "/eos_token_id"},
      {R"({"eos_token_id": [1, null]})", config_wrong_kind, "/eos_token_id"},
      {R"({"max_new_tokens": 0})", config_out_of_range, "/max_new_tokens"},
      {R"({"num_beams": 4})", config_unsupported, "/num_beams"},
      {R"({"no_repeat_ngram_size": 3})", config_unsupported, "/no_repeat_ngram_size"},
      {R"({"suppress_tokens": [1]})", config_unsupported, "/suppress_tokens"},
  };
  for (const Text& row : rows) {
    INFO(row.text);
    expect(error_of([&] { parse_generation_config(parse_json(row.text, "g.json", 1 << 20), "g.json"); }), row.code,
           row.place, "g.json");
  }
}

TEST_CASE("malformed adapter_config.json", "[malformed]") {
  const std::string valid = R"({"peft_type":"LORA","task_type":"CAUSAL_LM","bias":"none","r":12,"lora_alpha":24,)"
                            R"("lora_dropout":0.0,"use_dora":true,"target_modules":["q_proj","v_proj"]})";
  CHECK(parse_peft_config(parse_json(valid, "a.json", 1 << 20), "a.json").r == 12);
  const Edit edits[] = {
      {"\"peft_type\":\"LORA\",", "", adapter_key_missing, "/peft_type"},
      {"\"LORA\"", "\"IA3\"", adapter_unsupported, "/peft_type"},
      {"\"LORA\"", "null", adapter_wrong_kind, "/peft_type"},
      {"\"CAUSAL_LM\"", "\"SEQ_CLS\"", adapter_unsupported, "/task_type"},
      {"\"none\"", "\"all\"", adapter_unsupported, "/bias"},
      {"\"none\"", "true", adapter_wrong_kind, "/bias"},
      {"\"r\":12,", "", adapter_key_missing, "/r"},
      {"\"r\":12", "\"r\":0", adapter_out_of_range, "/r"},
      {"\"r\":12", "\"r\":-1", adapter_out_of_range, "/r"},
      {"\"r\":12", "\"r\":1e9", adapter_out_of_range, "/r"},
      {"\"r\":12", "\"r\":\"12\"", adapter_wrong_kind, "/r"},
      {"\"r\":12", "\"r\":true", adapter_wrong_kind, "/r"},
      {"\"lora_alpha\":24,", "", adapter_key_missing, "/lora_alpha"},
      {"\"lora_alpha\":24", "\"lora_alpha\":0", adapter_out_of_range, "/lora_alpha"},
      {"\"lora_alpha\":24", "\"lora_alpha\":-24", adapter_out_of_range, "/lora_alpha"},
      {"\"lora_alpha\":24", "\"lora_alpha\":null", adapter_wrong_kind, "/lora_alpha"},
      {"\"lora_dropout\":0.0", "\"lora_dropout\":1.0", adapter_out_of_range, "/lora_dropout"},
      {"\"lora_dropout\":0.0", "\"lora_dropout\":-0.1", adapter_out_of_range, "/lora_dropout"},
      {"\"lora_dropout\":0.0", "\"lora_dropout\":\"0\"", adapter_wrong_kind, "/lora_dropout"},
      {"\"use_dora\":true", "\"use_dora\":\"true\"", adapter_wrong_kind, "/use_dora"},
      {"\"use_dora\":true", "\"use_dorra\":true", adapter_unsupported, "/use_dorra"},
      {",\"target_modules\":[\"q_proj\",\"v_proj\"]", "", adapter_key_missing, "/target_modules"},
      {"[\"q_proj\",\"v_proj\"]", "null", adapter_wrong_kind, "/target_modules"},
      {"[\"q_proj\",\"v_proj\"]", "\"all-linear\"", adapter_unsupported, "/target_modules"},
      {"[\"q_proj\",\"v_proj\"]", "\".*_proj\"", adapter_unsupported, "/target_modules"},
      {"[\"q_proj\",\"v_proj\"]", "[]", adapter_target, "/target_modules"},
      {"\"v_proj\"", "1", adapter_wrong_kind, "/target_modules"},
      {"\"v_proj\"", "\"k_prj\"", adapter_target, "The nearest is k_proj"},
      {"\"v_proj\"", "\"Q_proj\"", adapter_target, "\"Q_proj\""},
      {"\"v_proj\"", "\"lm_head\"", adapter_target, "\"lm_head\""},
      {"\"v_proj\"", "\"\"", adapter_target, "/target_modules"},
      {"\"v_proj\"", "\"q_proj\"", adapter_target, "\"q_proj\" twice"},
      {"\"use_dora\":true", "\"rank_pattern\":{\"q_proj\":4}", adapter_unsupported, "/rank_pattern"},
      {"\"use_dora\":true", "\"alpha_pattern\":{\"q_proj\":4}", adapter_unsupported, "/alpha_pattern"},
      {"\"use_dora\":true", "\"modules_to_save\":[\"lm_head\"]", adapter_unsupported, "/modules_to_save"},
      {"\"use_dora\":true", "\"layers_to_transform\":[0]", adapter_unsupported, "/layers_to_transform"},
      {"\"use_dora\":true", "\"layers_to_transform\":0", adapter_unsupported, "/layers_to_transform"},
      {"\"use_dora\":true", "\"layers_pattern\":\"layers\"", adapter_unsupported, "/layers_pattern"},
      {"\"use_dora\":true", "\"layer_replication\":[[0,1]]", adapter_unsupported, "/layer_replication"},
      {"\"use_dora\":true", "\"fan_in_fan_out\":true", adapter_unsupported, "/fan_in_fan_out"},
      {"\"use_dora\":true", "\"lora_bias\":true", adapter_unsupported, "/lora_bias"},
      {"\"use_dora\":true", "\"use_qalora\":true", adapter_unsupported, "/use_qalora"},
      {"\"use_dora\":true", "\"exclude_modules\":[\"q_proj\"]", adapter_unsupported, "/exclude_modules"},
      {"\"use_dora\":true", "\"target_parameters\":[\"w\"]", adapter_unsupported, "/target_parameters"},
      {"\"use_dora\":true", "\"trainable_token_indices\":[1]", adapter_unsupported, "/trainable_token_indices"},
      {"\"use_dora\":true", "\"alora_invocation_tokens\":[1]", adapter_unsupported, "/alora_invocation_tokens"},
      {"\"use_dora\":true", "\"init_lora_weights\":\"pissa\"", adapter_unsupported, "/init_lora_weights"},
      {"\"use_dora\":true", "\"loftq_config\":{\"loftq_bits\":4}", adapter_unsupported, "/loftq_config"},
      {"\"use_dora\":true", "\"a_future_key\":1", adapter_unsupported, "/a_future_key"},
      {"\"use_dora\":true", "\"\\u00e9\\n\":1", adapter_unsupported, "/\"\\xc3\\xa9\\x0a\""},
      {"\"r\":12", "\"r\":12,\"r\":8", json_duplicate_key, "\"r\""},
  };
  for (const Edit& edit : edits) {
    INFO(edit.from << " -> " << edit.to);
    const std::string text = replaced(valid, edit.from, edit.to);
    expect(error_of([&] { parse_peft_config(parse_json(text, "a.json", 1 << 20), "a.json"); }), edit.code, edit.place,
           "a.json");
  }
}

TEST_CASE("malformed indexes of sharded checkpoints", "[malformed]") {
  const std::string one = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  const std::string two = R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const std::string valid = R"({"metadata":{"total_size":12},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})";
  const TempDir dir;
  dir.write("1.safetensors", safetensors(one, 4));
  dir.write("2.safetensors", safetensors(two, 8));
  dir.write("model.safetensors.index.json", valid);
  CHECK(Checkpoint::open(dir.path()).tensors().size() == 2);
  const Edit edits[] = {
      {"\"weight_map\"", "\"weights\"", model_files, "/weight_map"},
      {"{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}", "{}", model_files, "/weight_map"},
      {"{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}", "[]", model_files, "/weight_map"},
      {"\"1.safetensors\"", "1", model_files, "tensor \"a\""},
      {"\"1.safetensors\"", "\"\"", model_files, "tensor \"a\""},
      {"\"1.safetensors\"", "\"/etc/passwd\"", model_files, "tensor \"a\""},
      {"\"1.safetensors\"", "\"/tmp/1.safetensors\"", model_files, "tensor \"a\""},
      {"\"1.safetensors\"", "\"../1.safetensors\"", model_files, "tensor \"a\""},
      {"\"1.safetensors\"", "\"./1.safetensors\"", model_files, "tensor \"a\""},
      {"\"1.safetensors\"", "\"sub/1.safetensors\"", model_files, "tensor \"a\""},
      {"\"1.safetensors\"", "\"..\\\\1.safetensors\"", model_files, "tensor \"a\""},
      {"\"1.safetensors\"", "\"1.safetensors\\u0000.safetensors\"", model_files, "tensor \"a\""},
      {"\"1.safetensors\"", "\".safetensors\"", model_files, "tensor \"a\""},
      {"\"1.safetensors\"", "\"pytorch_model.bin\"", model_files, "never opened"},
      {"\"1.safetensors\"", "\"missing.safetensors\"", file_unreadable, "missing.safetensors"},
      {"\"1.safetensors\"", "\"2.safetensors\"", model_files, "tensor \"a\""},
      {"\"a\":\"1.safetensors\",", "", model_files, "total_size"},
      {"\"a\":\"1.safetensors\",", "\"a\":\"1.safetensors\",\"c\":\"1.safetensors\",", model_files, "tensor \"c\""},
      {"\"a\":\"1.safetensors\"", "\"x\":\"1.safetensors\"", model_files, "tensor \"x\""},
      {"\"b\":\"2.safetensors\"", "\"a\":\"2.safetensors\"", json_duplicate_key, "\"a\""},
      {"12}", "13}", model_files, "/metadata/total_size"},
      {"12}", "\"12\"}", model_files, "/metadata/total_size"},
      {"12}", "12", json_syntax, "index.json"},
  };
  for (const Edit& edit : edits) {
    INFO(edit.from << " -> " << edit.to);
    dir.write("model.safetensors.index.json", replaced(valid, edit.from, edit.to));
    expect(error_of([&] { Checkpoint::open(dir.path()); }), edit.code, edit.place, "");
  }
  dir.write("model.safetensors.index.json", valid);
  dir.write("1.safetensors", safetensors(replaced(one, "\"a\"", "\"b\""), 4));
  expect(error_of([&] { Checkpoint::open(dir.path()); }), model_files, "tensor \"a\"", "index.json");
  dir.write("1.safetensors", safetensors(one, 3));
  expect(error_of([&] { Checkpoint::open(dir.path()); }), safetensors_short, "tensor \"a\"", "1.safetensors");
}

}  // namespace malformed_test
