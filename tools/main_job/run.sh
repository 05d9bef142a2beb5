#!/bin/sh
# The main job on real rows, with nothing but these programs: tokenizer and base from scratch, the SQL expert on top of it,
# answers of both. Usage: run.sh SQL_ROWS_DIR OUT_DIR [BIN_DIR]. Needs Python with PyPI `tokenizers` as $PYTHON.
set -eu
sql=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
bin=${3:-$here/../../build/release/bin}
python=${PYTHON:-python3}
tiny=$here/../../experts/expert-sql/tiny/manifest.json
base=$here/base_manifest.json
mkdir -p "$out"

"$python" "$here/train_tokenizer.py" --rows "$sql/train.jsonl.gz" --out "$out/tokenizer.json"
"$python" "$here/make_rows.py" --sql "$sql" --out "$out/rows"
# <|im_end|> is 2041 and <|endoftext|> 2039 in that tokenizer.
"$bin/make_random_model" --out "$out/base0" --dtype float32 --seed 1 --tokenizer "$out/tokenizer.json" \
  --bos-token-id 2039 --pad-token-id 2039 --eos-token-id 2041 --eos-token-id 2039

"$bin/expert-cli" train --model "$out/base0" --manifest "$base" --data "$out/rows/base.jsonl.gz" --out "$out/base"
"$bin/expert-cli" train --model "$out/base" --manifest "$tiny" --data "$out/rows/expert.jsonl.gz" --out "$out/expert" \
  --set training.config.max_steps="${EXPERT_STEPS:-200}"

answer() {
  "$bin/expert-cli" generate --model "$out/base" --manifest "$tiny" --greedy --max-new-tokens 128 "$@"
}
answer --adapter none --input "$out/rows/valid.jsonl" --output "$out/base_answers.jsonl"
answer --adapter none --input "$out/rows/valid_base.jsonl" --output "$out/base_native_answers.jsonl"
answer --adapter "$out/expert" --input "$out/rows/valid.jsonl" --output "$out/expert_answers.jsonl"
for answers in base_answers base_native_answers expert_answers; do
  echo "$answers"
  "$bin/expert-cli" eval --manifest "$tiny" --input "$out/$answers.jsonl" --group source
done
