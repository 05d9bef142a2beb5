#!/bin/sh
# Seeds -> the bundled base: generated text, a tokenizer learnt from it, random weights, every weight trained by this
# library. Under 30 minutes on 2 cores. Usage: make.sh BIN_DIR OUT_DIR; the result is OUT_DIR/base.
set -eu
bin=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"

python3 "$here/../../expert-sql/tiny/make_rows.py" base --out "$out/base.jsonl.gz"
python3 "$here/make_tokenizer.py" --rows "$out/base.jsonl.gz" --out "$out/tokenizer.json"
# <|im_end|> is 2041 and <|endoftext|> 2039 in that tokenizer.
"$bin/make_random_model" --out "$out/base0" --dtype bfloat16 --seed 1 --initializer-range 0.06 \
  --tokenizer "$out/tokenizer.json" --bos-token-id 2039 --pad-token-id 2039 --eos-token-id 2041 --eos-token-id 2039
"$bin/expert-cli" train --model "$out/base0" --manifest "$here/manifest.json" --data "$out/base.jsonl.gz" --out "$out/base"
