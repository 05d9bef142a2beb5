# Fixture folders -> one header with a C++ type for every base model and every adapter in them.
#
# expert_parity_header(OUTPUT folder...): each folder has model/config.json and any number of <name>/adapter_config.json.
# The header holds, in namespace parity_sets, for folder i
#   struct ParitySet<i> {
#     static constexpr std::string_view directory;   // absolute
#     struct model;                                  // a policy of slot `model`, sizes and constants of config.json
#     using <name> = ...;                            // the policy of slot `adapter`, for each adapter folder that exists
#     using adapters = std::tuple<NamedAdapter...>;  // the same: struct { static constexpr std::string_view name; using type; }
#   };
# and `using ParitySets = std::tuple<ParitySet0, ...>`. A test asks `requires { typename Set::lora_r4; }` for what may be absent.

# The literal of a number as the file has it: string(JSON) would print 1e-06 with 17 digits.
function(parity_number out text key)
  if(NOT text MATCHES "\"${key}\"[ \t\r\n]*:[ \t\r\n]*([-+0-9.eE]+)")
    message(FATAL_ERROR "${parity_file}: no number \"${key}\".")
  endif()
  set(${out} ${CMAKE_MATCH_1} PARENT_SCOPE)
endfunction()

function(parity_integers out text)
  set(values)
  foreach(key IN LISTS ARGN)
    parity_number(value "${text}" ${key})
    if(NOT value MATCHES "^[0-9]+$")
      message(FATAL_ERROR "${parity_file}: \"${key}\" is ${value}, not a whole number.")
    endif()
    list(APPEND values ${value})
  endforeach()
  list(JOIN values ", " values)
  set(${out} "${values}" PARENT_SCOPE)
endfunction()

# A JSON boolean as C++ spells it; absent is false, as in transformers and PEFT.
function(parity_bool out text key)
  string(JSON value ERROR_VARIABLE error GET "${text}" ${key})
  if(value STREQUAL "ON")
    set(${out} true PARENT_SCOPE)
  else()
    set(${out} false PARENT_SCOPE)
  endif()
endfunction()

function(parity_model out parity_file)
  file(READ ${parity_file} text)
  string(JSON architecture GET "${text}" architectures 0)
  if(NOT architecture STREQUAL "Qwen3ForCausalLM")
    message(FATAL_ERROR "${parity_file}: the architecture is ${architecture}, not Qwen3ForCausalLM.")
  endif()
  foreach(rope IN ITEMS rope_parameters rope_scaling)  # transformers 5.x, 4.x
    string(JSON rope_type ERROR_VARIABLE error GET "${text}" ${rope} rope_type)
    if(NOT error AND NOT rope_type STREQUAL "default")
      message(FATAL_ERROR "${parity_file}: ${rope} has the type ${rope_type}; only \"default\" is generated.")
    endif()
  endforeach()
  parity_integers(sizes "${text}" hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim
                  intermediate_size vocab_size)
  parity_integers(positions "${text}" max_position_embeddings)
  parity_bool(tied "${text}" tie_word_embeddings)
  parity_number(eps "${text}" rms_norm_eps)
  parity_number(theta "${text}" rope_theta)
  set(${out} "\
  struct model : expert::HfDecoder<${sizes}, ${tied}, ${positions}> {
    static constexpr double rms_norm_eps = ${eps}, rope_theta = ${theta};
  };
" PARENT_SCOPE)
endfunction()

function(parity_adapter out parity_file)
  file(READ ${parity_file} text)
  parity_integers(rank_and_alpha "${text}" r lora_alpha)
  parity_number(dropout "${text}" lora_dropout)
  parity_bool(dora "${text}" use_dora)
  parity_bool(rslora "${text}" use_rslora)
  string(JSON count LENGTH "${text}" target_modules)
  set(targets)
  math(EXPR last "${count} - 1")
  foreach(i RANGE ${last})
    string(JSON target GET "${text}" target_modules ${i})
    list(APPEND targets expert::Projection::${target})
  endforeach()
  list(SORT targets)
  list(JOIN targets ", " targets)
  set(targets "expert::Targets<${targets}>")
  if(count EQUAL 7)
    set(targets expert::AllSevenTargets)
  elseif(count EQUAL 6 AND NOT targets MATCHES gate_proj)
    set(targets expert::SixTargets)
  endif()
  if(dora AND rslora)
    message(FATAL_ERROR "${parity_file}: DoRA with rsLoRA's scaling has no policy.")
  elseif(dora AND dropout GREATER 0)
    set(type DoRAWithDropout)
  elseif(dora)
    set(type DoRA)
  elseif(rslora)
    set(type RsLoRA)
  else()
    set(type LoRA)
  endif()
  set(${out} "expert::${type}<${rank_and_alpha}, ${targets}>" PARENT_SCOPE)
endfunction()

function(expert_parity_header output)
  set(code)
  set(sets)
  set(index 0)
  foreach(folder IN LISTS ARGN)
    cmake_path(ABSOLUTE_PATH folder BASE_DIRECTORY ${PROJECT_SOURCE_DIR} NORMALIZE)
    set(config ${folder}/model/config.json)
    if(NOT EXISTS ${config})
      message(FATAL_ERROR "EXPERT_PARITY_DIRS: ${config} does not exist. Each folder of the list is a fixture set.")
    endif()
    parity_model(model ${config})
    set(aliases)
    set(named)
    file(GLOB adapter_files ${folder}/*/adapter_config.json)
    foreach(file IN LISTS adapter_files)
      cmake_path(GET file PARENT_PATH name)
      cmake_path(GET name FILENAME name)
      string(MAKE_C_IDENTIFIER ${name} identifier)
      parity_adapter(type ${file})
      string(APPEND aliases "  using ${identifier} = ${type};
  struct ${identifier}_named {
    static constexpr std::string_view name = \"${name}\";
    using type = ${identifier};
  };\n")
      list(APPEND named ${identifier}_named)
    endforeach()
    list(JOIN named ", " named)
    string(APPEND code "struct ParitySet${index} {
  static constexpr std::string_view directory = R\"(${folder})\";
${model}${aliases}  using adapters = std::tuple<${named}>;
};\n\n")
    list(APPEND sets ParitySet${index})
    math(EXPR index "${index} + 1")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${config} ${adapter_files})
  endforeach()
  list(JOIN sets ", " sets)
  file(CONFIGURE OUTPUT ${output} @ONLY CONTENT "\
// Generated by tests/parity/generate.cmake from the config.json and adapter_config.json of each fixture set.
#pragma once
#include <string_view>
#include <tuple>

#include \"expert/policy/adapter.hpp\"
#include \"expert/policy/model.hpp\"

namespace parity_sets {

@code@using ParitySets = std::tuple<@sets@>;

}  // namespace parity_sets
")
endfunction()
