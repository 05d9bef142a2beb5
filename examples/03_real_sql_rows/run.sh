#!/bin/sh
# The same binary on real rows: schemas, questions and statements of your own instead of generated ones. A base of
# ExpertTiny's size is trained from random numbers on the rows' schemas and questions, never in the expert's prompt; the
# SQL expert is trained on top of it; both answer the validation rows and are judged. About 40 minutes on 2 cores.
#
# Usage: run.sh SQL_ROWS_DIR OUT_DIR [BIN_DIR]. SQL_ROWS_DIR holds train.jsonl.gz and valid.jsonl.gz with rows
# {question, context, answer, pg_ok, dbs}: pg_ok says that PostgreSQL runs the answer, dbs are INSERT scripts to judge by.
# Environment: EXPERT_VALID_ROWS (400), EXPERT_BASE_ROWS (all: one text for each row), EXPERT_STEPS of the adapter (600).
set -eu
sql=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
bin=${3:-$root/build/release/bin}
expert=$root/experts/expert-sql/tiny recipe=$root/experts/tiny-base/recipe
mkdir -p "$out"

python3 "$here/make_rows.py" --sql "$sql" --out "$out" --valid-rows "${EXPERT_VALID_ROWS:-400}" \
  ${EXPERT_BASE_ROWS:+--base-rows "$EXPERT_BASE_ROWS"}
python3 "$recipe/make_tokenizer.py" --rows "$out/base.jsonl.gz" --out "$out/tokenizer.json"
# <|im_end|> is 2041 and <|endoftext|> 2039 in that tokenizer.
"$bin/make_random_model" --out "$out/base0" --dtype bfloat16 --seed 1 --initializer-range 0.06 \
  --tokenizer "$out/tokenizer.json" --bos-token-id 2039 --pad-token-id 2039 --eos-token-id 2041 --eos-token-id 2039

"$bin/expert-cli" train --model "$out/base0" --manifest "$recipe/manifest.json" --data "$out/base.jsonl.gz" --out "$out/base"
"$bin/expert-cli" train --model "$out/base" --manifest "$expert/manifest.json" --data "$out/expert.jsonl.gz" \
  --out "$out/expert" --max-steps "${EXPERT_STEPS:-600}" --samples 0

judge() {  # judge NAME generate's flags...
  name=$1
  shift
  "$bin/expert-cli" generate --model "$out/base" --manifest "$expert/manifest.json" --greedy --max-new-tokens 128 \
    --output "$out/$name.answers.jsonl" "$@"
  "$bin/expert-cli" eval --manifest "$expert/manifest.json" --input "$out/$name.answers.jsonl" --group source \
    --output "$out/$name.judged.jsonl" --json >"$out/$name.eval.json"
}
judge base_expert_prompt --adapter none --input "$out/valid.jsonl"
judge base_own_prompt --adapter none --input "$out/valid_base.jsonl"
judge expert --adapter "$out/expert" --input "$out/valid.jsonl"
python3 "$expert/compare.py" "base, the expert's prompt=$out/base_expert_prompt.eval.json" \
  "base, its own prompt=$out/base_own_prompt.eval.json" "expert=$out/expert.eval.json"
