"""The masks of xgrammar, llguidance and llama.cpp along the texts of make_texts.py, in the form of grammar_bench: microseconds per
mask, one thread. Usage: run_peers.py TOKENIZER_JSON TEXTS_DIR [seconds per engine and grammar]. Engines that are not
installed are left out."""
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
VOCABULARY = 151936
BUDGET = float(sys.argv[3]) if len(sys.argv) > 3 else 60.0


def percentile(values, q):
    return sorted(values)[int(q * (len(values) - 1))]


def report(engine, grammar, compile_ms, cold, warm, accept):
    row = {"engine": engine, "grammar": grammar, "compile_ms": round(compile_ms, 2), "masks": len(cold)}
    for name, times in (("cold", cold), ("warm", warm), ("accept", accept)):
        if times:
            row |= {f"{name}_{k}_us": round(percentile(times, q), 1) for k, q in (("median", .5), ("p90", .9), ("p99", .99))}
    print(json.dumps(row), flush=True)


def follow(ids, mask, accept, mask_times, accept_times):
    """All of a text; false where the engine refuses a token."""
    for token in ids:
        start = time.perf_counter_ns()
        mask()
        masked = time.perf_counter_ns()
        allowed = accept(token)
        mask_times.append((masked - start) / 1e3)
        accept_times.append((time.perf_counter_ns() - masked) / 1e3)
        if not allowed:
            return False
    return True


def run(engine, grammar, texts, compile_grammar, new_matcher):
    """Cold: each text with a grammar compiled anew where that takes less than 50 ms; warm: one compiled grammar."""
    start = time.perf_counter()
    compiled = compile_grammar()
    compile_ms = (time.perf_counter() - start) * 1e3
    cold, warm, accept, refused = [], [], [], 0
    for times in (cold, warm):
        began = time.perf_counter()
        for ids in texts:
            if time.perf_counter() - began > BUDGET:
                break
            if times is cold and compile_ms < 50:
                compiled = compile_grammar()
            mask, take = new_matcher(compiled)
            refused += not follow(ids, mask, take, times, accept)
    if refused:
        print(f"{engine} {grammar}: {refused} texts were refused", file=sys.stderr)
    report(engine, grammar, compile_ms, cold, warm, accept)


def main():
    folder = Path(sys.argv[2])
    texts = {name: [json.loads(line)["ids"] for line in open(folder / f"{name}.jsonl", encoding="utf-8")]
             for name in ("select", "json", "schema")}
    gbnf = {name: (HERE / f"{name}.gbnf").read_text(encoding="utf-8") for name in ("select", "json")}
    schema = (HERE / "schema.json").read_text(encoding="utf-8")
    for engine in (llguidance_runs, xgrammar_runs, llama_runs):
        try:
            engine(texts, gbnf, schema)
        except ImportError as error:
            print(f"{engine.__name__}: {error}", file=sys.stderr)


def llguidance_runs(texts, gbnf, schema):
    import llguidance
    import llguidance.numpy as masks
    from llguidance.gbnf_to_lark import any_to_lark

    tokenizer = llguidance.LLTokenizer(sys.argv[1], n_vocab=VOCABULARY)
    bitmask = masks.allocate_token_bitmask(1, VOCABULARY)
    of = llguidance.LLMatcher
    grammars = [("object.json", "json", of.grammar_from_json_schema('{"type": "object"}')),
                ("json.gbnf", "json", of.grammar_from_lark(any_to_lark(gbnf["json"]))),
                ("schema.json", "schema", of.grammar_from_json_schema(schema)),
                ("select.gbnf", "select", of.grammar_from_lark(any_to_lark(gbnf["select"]))),
                ("select.lark", "select", of.grammar_from_lark((HERE / "select.lark").read_text()))]
    for name, text, grammar in grammars:
        def compile_grammar():
            matcher = of(tokenizer, grammar, log_level=0)
            if matcher.is_error():
                raise RuntimeError(matcher.get_error())
            return matcher

        def new_matcher(compiled):
            matcher = compiled.deep_copy()
            return lambda: masks.fill_next_token_bitmask(matcher, bitmask, 0), matcher.consume_token
        run(f"llguidance {version('llguidance')}", name, texts[text],
            compile_grammar, new_matcher)


def xgrammar_runs(texts, gbnf, schema):
    import torch
    import xgrammar
    from tokenizers import Tokenizer

    torch.set_num_threads(1)
    vocabulary = Tokenizer.from_file(sys.argv[1]).get_vocab()
    tokens = [""] * VOCABULARY
    for token, i in vocabulary.items():
        tokens[i] = token
    info = xgrammar.TokenizerInfo(tokens, xgrammar.VocabType.BYTE_LEVEL, vocab_size=VOCABULARY, stop_token_ids=[151645])
    compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
    bitmask = xgrammar.allocate_token_bitmask(1, VOCABULARY)
    as_ebnf = gbnf["json"].replace("ws ::= |", 'ws ::= "" |')  # it refuses an empty first alternative
    grammars = [("object.json", "json", lambda: compiler.compile_json_schema('{"type": "object"}')),
                ("built-in JSON", "json", compiler.compile_builtin_json_grammar),
                ("json.gbnf", "json", lambda: compiler.compile_grammar(as_ebnf)),
                ("schema.json", "schema", lambda: compiler.compile_json_schema(schema)),
                ("select.gbnf", "select", lambda: compiler.compile_grammar(gbnf["select"]))]
    for name, text, compile_grammar in grammars:
        def new_matcher(compiled):
            matcher = xgrammar.GrammarMatcher(compiled)
            return lambda: matcher.fill_next_token_bitmask(bitmask), matcher.accept_token
        run(f"xgrammar {version('xgrammar')}", name, texts[text], compile_grammar, new_matcher)
    logits = torch.zeros(1, VOCABULARY)
    times = []
    for _ in range(200):
        start = time.perf_counter_ns()
        xgrammar.apply_token_bitmask_inplace(logits, bitmask)
        times.append((time.perf_counter_ns() - start) / 1e3)
    print(json.dumps({"engine": "xgrammar", "apply_mask_median_us": round(percentile(times, .5), 1)}))


def vocabulary_file(path):
    """The tokenizer as a model of llama.cpp that has nothing else."""
    from gguf import GGUFWriter, TokenType

    tokenizer = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tokens, types = [f"[PAD{i}]" for i in range(VOCABULARY)], [TokenType.UNUSED] * VOCABULARY
    for token, i in tokenizer["model"]["vocab"].items():
        tokens[i], types[i] = token, TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]], types[added["id"]] = added["content"], TokenType.CONTROL
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    writer = GGUFWriter(path, "qwen3")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(151645)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_runs(texts, gbnf, schema):
    """Its sampler walks all tokens for each mask; what it makes of logits of 0 is that mask."""
    import ctypes
    import os
    import tempfile

    import llama_cpp as llama

    quiet = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(quiet, None)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "vocabulary.gguf")
        vocabulary_file(path)
        parameters = llama.llama_model_default_params()
        parameters.vocab_only = True
        model = llama.llama_model_load_from_file(path.encode(), parameters)
    vocabulary = llama.llama_model_get_vocab(model)
    fresh = (llama.llama_token_data * VOCABULARY)(*[llama.llama_token_data(i, 0.0, 0.0) for i in range(VOCABULARY)])
    candidates = (llama.llama_token_data * VOCABULARY)()
    for name in ("json", "select"):
        def compile_grammar():
            sampler = llama.llama_sampler_init_grammar(vocabulary, gbnf[name].encode(), b"root")
            if not sampler:
                raise RuntimeError(f"{name}.gbnf is refused")
            return sampler

        def new_matcher(compiled):
            sampler = llama.llama_sampler_clone(compiled)

            def mask():
                ctypes.memmove(candidates, fresh, ctypes.sizeof(fresh))
                array = llama.llama_token_data_array(candidates, VOCABULARY, -1, False)
                llama.llama_sampler_apply(sampler, ctypes.byref(array))

            def accept(token):
                allowed = candidates[token].logit == 0
                if allowed:
                    llama.llama_sampler_accept(sampler, token)
                return allowed
            return mask, accept
        run(f"llama.cpp of llama-cpp-python {llama.__version__}", f"{name}.gbnf", texts[name], compile_grammar, new_matcher)


if __name__ == "__main__":
    main()
