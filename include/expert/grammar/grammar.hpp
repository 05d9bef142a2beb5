// Constrained decoding in one header: a grammar and a vocabulary in, at each step the tokens that may come next out.
//
//   const GrammarAutomaton automaton(parse_gbnf(text, "my.gbnf"));          // or parse_json_schema(text, file)
//   const Vocabulary vocabulary(size, end_tokens, [&](std::int32_t id) { return bytes of token id; });
//   TokenMasks masks(automaton, vocabulary);                                // the memo, one for each thread
//   GrammarMatcher matcher(masks);                                          // one for each text
//   apply_mask(logits, size, matcher.mask().data());                        // then draw a token
//   matcher.accept(token);
//
// It needs no model and no tokenizer of this library: see examples/08_mask_logits.cpp.
#pragma once
#include "expert/grammar/automaton.hpp"
#include "expert/grammar/gbnf.hpp"
#include "expert/grammar/json_schema.hpp"
#include "expert/grammar/mask_kernels.hpp"
#include "expert/grammar/matcher.hpp"
#include "expert/grammar/token_masks.hpp"
#include "expert/grammar/vocabulary.hpp"
